//! What comes to the handset by itself: device events become data in the store, and events for those who listen.
//!
//! One task listens for as long as the agent runs; it sleeps while nothing happens. Calls go into the logs, messages
//! into `/sms`, `/mms` and `/emails`, status reports to the messages that they are about.

mod calls;
mod messages;
mod parts;
mod waiting;

use std::collections::HashMap;

use serde_json::Value as Json;
use tokio::sync::broadcast::error::RecvError;

use super::descriptions::{EMAILS, MMS};
use super::events::Event as Told;
use super::handset::Handset;
use super::state;
use crate::device::Event;

/// Its tables.
pub const SCHEMAS: [&str; 2] = [parts::SCHEMA, waiting::SCHEMA];

/// Listens from now on.
pub fn start(handset: &Handset) {
    let events = handset.device.events();
    let handset = handset.clone();
    tokio::spawn(async move {
        let mut events = events;
        let mut state = HashMap::new();
        // Those that waited when the agent was ended: there may be more room now.
        waiting::take_in(&handset).await;
        messages::late(&handset).await;
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = handset.store.freed() => {
                    waiting::take_in(&handset).await;
                    continue;
                }
            };
            match event {
                Ok(event) => take(&handset, event, &mut state).await,
                Err(RecvError::Lagged(lost)) => {
                    tracing::warn!(
                        lost,
                        "events of the device came faster than they were taken"
                    );
                    calls::look_again(&handset).await;
                }
                Err(RecvError::Closed) => return,
            }
        }
    });
}

/// What was told last of each piece of state: a device may say the same twice.
type LastTold = HashMap<&'static str, Json>;

async fn take(handset: &Handset, event: Event, last: &mut LastTold) {
    match event {
        Event::Call(call) => calls::take(handset, &call).await,
        Event::Sms(tpdu) => messages::sms(handset, tpdu).await,
        Event::Delivery(tpdu) => messages::report(handset, &tpdu).await,
        Event::Mms(message) => messages::came(handset, &MMS, message).await,
        Event::Email(message) => messages::came(handset, &EMAILS, message).await,
        Event::Battery(_) | Event::Coverage(_) | Event::Mode(_) => {
            let told = state::told(&event);
            let news = told.filter(|(kind, data)| last.get(kind) != Some(data));
            if let Some((kind, data)) = news {
                last.insert(kind, data.clone());
                handset.events.tell(Told {
                    kind,
                    data,
                    user: None,
                });
            }
        }
    }
}
