//! The simulated handset: a [`super::Device`] without hardware, for tests, for trying the API, and for the owner's screen.
//!
//! It is deterministic: the same seed, and the same calls at the same times of tokio's clock, give the same behaviour.
//! What happens later is an entry of one agenda, and one task sleeps until the next of them; without entries there is
//! no task, and battery and radio follow from the time that passed when somebody asks. Its public methods beside the
//! trait are what befalls a handset, and what its owner does: they are behind the buttons of the owner's screen.

mod agenda;
mod as_device;
mod battery;
mod calls;
mod camera;
mod chance;
mod config;
mod messages;
mod network;
mod radio;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;

use super::{
    Battery, CallId, Coverage, DeviceError, DivertReason, Doing, EVENTS_MAX, Event, Mode, Number,
    SimCard,
};
use agenda::{Agenda, Due};
use battery::Charge;
use calls::Calls;
use camera::Camera;
use messages::{Messages, Sent};
use radio::Radio;

use crate::gsm::sms::{self, ComposeError};

pub use config::SimulatedConfig;

/// What its SIM card has room for: a common card of 64 KB.
pub const SIM_CARD: SimCard = SimCard {
    contacts_max: 250,
    name_octets_max: 18,
    digits_max: 20,
    sms_max: 30,
};

/// The technologies that its radio knows.
pub const TECHNOLOGIES: [&str; 4] = ["gsm", "umts", "lte", "nr"];

/// What became of a call to this handset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// It rings.
    Rings(CallId),
    /// The network takes it elsewhere, and the handset hears nothing of it.
    Diverted(Diverted),
    /// The handset is engaged.
    Busy,
    /// The handset is out of coverage.
    Unreachable,
}

/// Where a call went, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diverted {
    /// Which diversion took it.
    pub reason: DivertReason,
    /// The number that gets it.
    pub to: Number,
}

/// A handset without hardware.
#[derive(Debug)]
pub struct Simulated {
    shared: Arc<Shared>,
    /// Where the agenda's task runs.
    runtime: tokio::runtime::Handle,
    send: Duration,
    log: Option<PathBuf>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Rung when the agenda has something that may come before what its task sleeps for.
    decided: Arc<Notify>,
    events: broadcast::Sender<Event>,
}

/// All that changes.
#[derive(Debug)]
struct State {
    config: SimulatedConfig,
    charge: Charge,
    radio: Radio,
    mode: Mode,
    sim: bool,
    calls: Calls,
    messages: Messages,
    camera: Camera,
    agenda: Agenda,
    started: Instant,
    started_at: OffsetDateTime,
    /// Whether the agenda has its task.
    driven: bool,
    /// Who wants to hear of levels that change by themselves.
    reporting: usize,
    /// What was told last of them.
    told: Option<(Battery, Coverage)>,
    events: broadcast::Sender<Event>,
}

impl Simulated {
    /// A handset that was just switched on. It needs a tokio runtime, and keeps to its clock.
    pub fn new(config: SimulatedConfig) -> Arc<Self> {
        let now = Instant::now();
        let events = broadcast::Sender::new(EVENTS_MAX);
        let (send, log) = (config.send, config.log.clone());
        let state = State {
            charge: Charge::new(config.battery_percent, config.drain, config.charge, now),
            radio: Radio::new(config.seed, now),
            mode: Mode::Normal,
            sim: true,
            calls: Calls::default(),
            messages: Messages::default(),
            camera: Camera::default(),
            agenda: Agenda::default(),
            started: now,
            started_at: config.starts_at.unwrap_or_else(OffsetDateTime::now_utc),
            driven: false,
            reporting: 0,
            told: None,
            events: events.clone(),
            config,
        };
        Arc::new(Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                decided: Arc::new(Notify::new()),
                events,
            }),
            runtime: tokio::runtime::Handle::current(),
            send,
            log,
        })
    }

    /// Plugs the charger in, or pulls it out.
    pub fn plug(&self, charging: bool) {
        self.change(|state, now| {
            state.charge.set_charging(charging, now);
            state.tell(Event::Battery(state.charge.at(now)));
        });
    }

    /// Makes the battery as full as this.
    pub fn set_battery(&self, percent: u8) {
        self.change(|state, now| {
            state.charge.set_percent(percent, now);
            state.tell(Event::Battery(state.charge.at(now)));
        });
    }

    /// Carries the handset into coverage, or out of it: then a call breaks, and what is sent to it waits.
    pub fn set_covered(&self, covered: bool) {
        self.change(|state, now| {
            state.radio.set_covered(covered);
            state.radio_changed(now);
        });
    }

    /// Has the network work as one of [`TECHNOLOGIES`]; `false`: it is none of them.
    pub fn set_technology(&self, technology: &str) -> bool {
        let Some(known) = TECHNOLOGIES.into_iter().find(|t| *t == technology) else {
            return false;
        };
        self.change(|state, now| {
            state.radio.set_technology(known);
            state.radio_changed(now);
        });
        true
    }

    /// Puts the SIM card in, or takes it out: then there is no network either.
    pub fn set_sim(&self, inside: bool) {
        self.change(|state, now| {
            state.sim = inside;
            state.radio_changed(now);
        });
    }

    /// Sets how the handset calls for attention.
    pub fn set_mode(&self, mode: Mode) {
        self.change(|state, _| {
            state.mode = mode;
            state.tell(Event::Mode(mode));
        });
    }

    /// Somebody calls; `None`: their number is withheld.
    pub fn receive_call(&self, from: Option<Number>) -> Incoming {
        self.change(|state, now| state.call_comes(from, now))
    }

    /// The owner takes the call that rings; `false`: it does not ring any more.
    pub fn answer(&self, call: CallId) -> bool {
        self.change(|state, now| state.answer(call, now))
    }

    /// Somebody sends an SMS, in as many parts as it takes. `from` is a number, or a name as companies have.
    pub fn receive_sms(&self, from: &str, text: &str) -> Result<bool, ComposeError> {
        self.change(|state, now| {
            let reference = state.next_parted();
            let parts = sms::deliver(from, text, reference, state.wall(now))?;
            let kept = parts
                .into_iter()
                .filter(|part| !state.arrives(Event::Sms(part.clone())));
            Ok(kept.count() == 0)
        })
    }

    /// An SMS-DELIVER comes as it is, whatever it holds.
    pub fn receive_tpdu(&self, tpdu: Vec<u8>) -> bool {
        self.change(|state, _| state.arrives(Event::Sms(tpdu)))
    }

    /// A multimedia message comes, as a MIME message.
    pub fn receive_mms(&self, message: Vec<u8>) -> bool {
        self.change(|state, _| state.arrives(Event::Mms(message)))
    }

    /// An email comes, in the form of RFC 5322.
    pub fn receive_email(&self, message: Vec<u8>) -> bool {
        self.change(|state, _| state.arrives(Event::Email(message)))
    }

    /// Sends something: the network takes its time, and may be gone before it has it.
    async fn on_air<T>(
        &self,
        send: impl FnOnce(&mut State, Instant) -> Result<Sent<T>, DeviceError>,
    ) -> Result<T, DeviceError> {
        self.change(|state, _| state.can_send())?;
        tokio::time::sleep(self.send).await;
        let sent = self.change(send)?;
        self.write_down(&sent.line)?;
        Ok(sent.answer)
    }

    /// Adds a line to the log of what went on the air.
    fn write_down(&self, line: &str) -> Result<(), DeviceError> {
        let Some(path) = &self.log else {
            return Ok(());
        };
        append(path, line).map_err(|error| {
            DeviceError::Failed(format!("{} can't be written: {error}", path.display()))
        })
    }

    /// Does something now, after all that was due before it, and sees to what it brings.
    fn change<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = Instant::now();
        let mut state = self.shared.lock();
        state.catch_up(now);
        let done = act(&mut state, now);
        if state.next(now).is_some() {
            if state.driven {
                self.shared.decided.notify_one();
            } else {
                state.driven = true;
                let decided = Arc::clone(&self.shared.decided);
                self.runtime
                    .spawn(drive(Arc::downgrade(&self.shared), decided));
            }
        }
        done
    }

    /// The same for a method of the trait, whose answer is ready at once.
    fn doing<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State, Instant) -> Result<T, DeviceError>,
    ) -> Doing<'_, T> {
        let done = self.change(act);
        Box::pin(std::future::ready(done))
    }
}

/// In one write, so that a reader never sees half a line.
fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

impl Shared {
    /// A panic of somebody who held it is told by itself; the handset goes on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets happen what is due, as long as there is anything to come, and the handset.
async fn drive(shared: Weak<Shared>, decided: Arc<Notify>) {
    loop {
        let next = {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let now = Instant::now();
            let mut state = shared.lock();
            state.catch_up(now);
            match state.next(now) {
                Some(next) => next,
                None => {
                    state.driven = false;
                    return;
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = decided.notified() => {}
        }
    }
}

impl State {
    fn tell(&self, event: Event) {
        // Nobody listening is no fault: then nobody wants to know.
        let _ = self.events.send(event);
    }

    fn needs_network(&self) -> Result<(), DeviceError> {
        match self.radio.is_registered(self.sim) {
            true => Ok(()),
            false => Err(DeviceError::NoCoverage),
        }
    }

    fn radio_changed(&mut self, now: Instant) {
        self.tell(Event::Coverage(self.radio.at(self.sim, now)));
        match self.needs_network() {
            Ok(()) => self.deliver_waiting(),
            Err(_) => self.call_breaks(now),
        }
    }

    /// All that is due by now, in its order; then what changed by itself, if somebody wants to hear of it.
    fn catch_up(&mut self, now: Instant) {
        while let Some((at, due)) = self.agenda.take(now) {
            match due {
                Due::Report(report) => {
                    // A network that keeps too much already drops it, as networks do.
                    self.arrives(Event::Delivery(report));
                }
                call => self.call_due(&call, at),
            }
        }
        if self.reporting == 0 {
            self.told = None;
            return;
        }
        let (battery, coverage) = (self.charge.at(now), self.radio.at(self.sim, now));
        if let Some((told_battery, told_coverage)) = self.told.take() {
            if told_battery != battery {
                self.tell(Event::Battery(battery));
            }
            if told_coverage != coverage {
                self.tell(Event::Coverage(coverage.clone()));
            }
        }
        self.told = Some((battery, coverage));
    }

    /// When something happens next.
    fn next(&self, now: Instant) -> Option<Instant> {
        let levels = (self.reporting > 0).then(|| {
            let radio = self.radio.changes(now);
            self.charge
                .changes(now)
                .map_or(radio, |battery| battery.min(radio))
        });
        self.agenda.next().into_iter().chain(levels).min()
    }
}
