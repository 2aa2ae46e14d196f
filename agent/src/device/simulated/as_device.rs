//! The simulated handset as the managers see it: the trait, over the state that the other files change.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use super::camera::{self, VIDEO_MAX};
use super::{SIM_CARD, Simulated};
use crate::device::{
    Battery, Call, CallId, Capabilities, Coverage, Device, Diversion, DivertReason, Doing, Event,
    Mode, Number, Recorded, Reporting, SimCard,
};

impl Device for Simulated {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            battery: true,
            coverage: true,
            mode: true,
            calls: true,
            diversion: true,
            sms: true,
            mms: true,
            email: true,
            camera: true,
            video: true,
            video_s_max: VIDEO_MAX.as_secs(),
            sim: true,
        }
    }

    fn battery(&self) -> Doing<'_, Battery> {
        self.doing(|state, now| Ok(state.charge.at(now)))
    }

    fn coverage(&self) -> Doing<'_, Coverage> {
        self.doing(|state, now| Ok(state.radio.at(state.sim, now)))
    }

    fn mode(&self) -> Doing<'_, Mode> {
        self.doing(|state, _| Ok(state.mode))
    }

    fn dial(&self, number: &Number) -> Doing<'_, CallId> {
        let dialled = self.change(|state, now| state.dial(number, now));
        let written = dialled.and_then(|call| {
            self.write_down(&format!("dial {number}"))?;
            Ok(call)
        });
        Box::pin(std::future::ready(written))
    }

    fn hang_up(&self, call: CallId) -> Doing<'_, ()> {
        self.doing(|state, now| {
            state.hang_up(call, now);
            Ok(())
        })
    }

    fn calls(&self) -> Doing<'_, Vec<Call>> {
        self.doing(|state, _| Ok(state.calls.list()))
    }

    fn diversion(&self, reason: DivertReason) -> Doing<'_, Option<Diversion>> {
        self.doing(|state, _| {
            state.needs_network()?;
            Ok(state.calls.diversion(reason).cloned())
        })
    }

    fn divert(&self, reason: DivertReason, to: Option<&Diversion>) -> Doing<'_, ()> {
        self.doing(|state, _| {
            state.needs_network()?;
            state.calls.divert(reason, to.cloned());
            Ok(())
        })
    }

    fn send_sms(&self, tpdu: &[u8]) -> Doing<'_, u8> {
        let tpdu = tpdu.to_vec();
        Box::pin(self.on_air(move |state, now| state.send_sms(&tpdu, now)))
    }

    fn send_mms(&self, message: &[u8]) -> Doing<'_, String> {
        let message = message.to_vec();
        Box::pin(self.on_air(move |state, _| state.send_mms(&message)))
    }

    fn send_email(&self, message: &[u8]) -> Doing<'_, ()> {
        let message = message.to_vec();
        Box::pin(self.on_air(move |state, _| state.send_email(&message)))
    }

    fn photograph(&self) -> Doing<'_, Recorded> {
        Box::pin(async {
            let shot = self.change(|state, now| state.shoot(now))?;
            camera::develop(move || camera::photograph(&shot)).await
        })
    }

    fn start_video(&self, length: Duration) -> Doing<'_, ()> {
        self.doing(|state, now| state.start_film(length, now))
    }

    fn stop_video(&self) -> Doing<'_, Recorded> {
        Box::pin(async {
            let (shot, length) = self.change(|state, now| state.end_film(now))?;
            camera::develop(move || Ok(camera::video(&shot, length))).await
        })
    }

    fn sim(&self) -> Doing<'_, Option<SimCard>> {
        self.doing(|state, _| Ok(state.sim.then_some(SIM_CARD)))
    }

    fn report_levels(&self) -> Reporting {
        self.change(|state, _| state.reporting += 1);
        let shared = Arc::downgrade(&self.shared);
        Reporting::until_dropped(move || {
            if let Some(shared) = shared.upgrade() {
                let mut state = shared.lock();
                state.reporting = state.reporting.saturating_sub(1);
            }
        })
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }
}
