//! Calls: each event into the call book, each end into the log of its direction (R32, R34).

use serde_json::json;

use crate::device::{Call, CallEnd, CallState};
use crate::serve::builtin::call_book::{Known, News, outcome};
use crate::serve::builtin::descriptions::{INCOMING_CALLS, OUTGOING_CALLS};
use crate::serve::builtin::events::Event;
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::resource::{Item, Resource, Value};
use crate::serve::builtin::services::keep;

/// Takes what the device told.
pub(super) async fn take(handset: &Handset, call: &Call) {
    match handset.calls.told(call) {
        News::Nothing => {}
        News::GoesOn => {
            let state = match call.state {
                CallState::Dialing => "dialing",
                CallState::Ringing => "ringing",
                _ => "active",
            };
            tell(handset, call.incoming, state, None);
        }
        News::Ended(known) => write(handset, known).await,
    }
}

/// Events were lost: a call that the device no longer has is over, however it ended.
pub(super) async fn look_again(handset: &Handset) {
    let Ok(calls) = handset.device.calls().await else {
        return;
    };
    for known in handset.calls.open() {
        if calls.iter().any(|call| call.id == known.id) {
            continue;
        }
        let ended = Call {
            id: known.id,
            incoming: known.incoming,
            number: known.number,
            state: CallState::Ended(CallEnd::Failed),
        };
        take(handset, &ended).await;
    }
}

async fn write(handset: &Handset, known: Known) {
    let resource: &'static Resource = match known.incoming {
        true => &INCOMING_CALLS,
        false => &OUTGOING_CALLS,
    };
    let item = entry(resource, &known);
    let work = handset.store.run(move |db| {
        db.transaction(|transaction| {
            let id = keep(transaction, resource, item, None)?;
            Ok(id)
        })
    });
    let written = match work.await {
        Ok(id) => Some(id),
        Err(error) => {
            tracing::error!(%error, "a call can't be written into its log");
            None
        }
    };
    handset.calls.written(known.id, written);
    let href = written.map(|id| format!("/{}/{id}", resource.path()));
    tell(handset, known.incoming, "ended", href);
}

fn entry(resource: &'static Resource, known: &Known) -> Item {
    let (how, length_s) = outcome(known.end.unwrap_or(CallEnd::Failed));
    let mut item = resource.blank();
    let number = known.number.as_ref();
    let number = number.map(|number| Value::Text(number.to_string()));
    resource.put(&mut item, "number", number);
    resource.put(&mut item, "at", Value::Text(known.at.clone()));
    resource.put(&mut item, "outcome", Value::Text(how.to_owned()));
    let length_s = i64::try_from(length_s).unwrap_or(i64::MAX);
    resource.put(&mut item, "length_s", Value::Number(length_s));
    item
}

fn tell(handset: &Handset, incoming: bool, state: &str, href: Option<String>) {
    let direction = if incoming { "in" } else { "out" };
    handset.events.tell(Event {
        kind: "call",
        data: json!({"direction": direction, "state": state, "href": href}),
        user: None,
    });
}
