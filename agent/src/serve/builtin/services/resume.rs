//! What the last run of the agent left open, at the start of the next one.
//!
//! A message that was acknowledged, and of which the hardware had not heard yet, goes now: it would be lost otherwise, and
//! can't have gone before. Everything else is broken off: a call is not made hours later, what waited for the owner has no
//! caller any more, and of what the hardware had in hand nobody knows how far it came.

use rusqlite::Connection;

use super::descriptions::{SEND_EMAIL, SEND_MMS, SEND_SMS};
use super::job::{Draft, Job, set_state};
use super::order::Order;
use super::{message, sms};
use crate::serve::builtin::descriptions::{EMAILS, MMS, SMS};
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::resource::{Action, Resource};
use crate::serve::builtin::store::StoreError;
use crate::serve::builtin::tasks::{self, About, Left};

/// A message that goes now.
struct Unsent {
    left: Left,
    service: &'static Resource,
    draft: (&'static Resource, i64),
    /// What an SMS says; `None`: another message, which is kept as it goes.
    order: Option<Order>,
}

/// Breaks off what has to be, and lets go what can. Before anything is answered.
pub async fn resume(handset: &Handset) -> Result<(), StoreError> {
    let work = handset.store.run(|db| {
        db.transaction(|transaction| {
            let mut unsent = Vec::new();
            for left in tasks::left(transaction)? {
                let draft = left.result.as_deref().and_then(draft);
                let kept = match (draft, service(&left.resource)) {
                    (Some(draft), Some(service)) if !left.handed => {
                        order(transaction, draft)?.map(|order| (draft, service, order))
                    }
                    _ => None,
                };
                if let Some((draft, service, order)) = kept {
                    unsent.push(Unsent {
                        left,
                        service,
                        draft,
                        order,
                    });
                    continue;
                }
                if let Some((resource, id)) = draft {
                    set_state(transaction, resource, id, "interrupted", None)?;
                }
                tasks::interrupt(transaction, left.id)?;
            }
            Ok(unsent)
        })
    });
    for unsent in work.await? {
        send(handset, unsent);
    }
    Ok(())
}

/// What a kept message says, as far as that is needed; outside, `None`: it can't go any more.
fn order(
    connection: &Connection,
    (resource, id): (&Resource, i64),
) -> Result<Option<Option<Order>>, StoreError> {
    if resource.name != SMS.name {
        return Ok(Some(None));
    }
    let kept = sms::kept(connection, id)?;
    Ok(kept.map(|(to, text)| Some(Order::Sms(to, text))))
}

fn send(handset: &Handset, unsent: Unsent) {
    let Unsent {
        left,
        service,
        draft,
        order,
    } = unsent;
    // As many as one user may have going on were going on: there is room for each.
    let Ok(slot) = handset.tasks.slot(&left.user) else {
        return tracing::error!(
            task = left.id,
            "there is no room for a task of the last run"
        );
    };
    let about = About {
        user: left.user,
        resource: service.name,
        action: Action::Execute,
    };
    let job = Job {
        handset: handset.clone(),
        about,
        id: left.id,
        permit: None,
        slot,
    };
    let draft: Draft = Some(draft);
    tokio::spawn(async move {
        match order {
            Some(order) => job.run(order, draft).await,
            // One that was deleted meanwhile is found missing there.
            None => message::run(job, draft).await,
        }
    });
}

/// The message at this URL.
fn draft(url: &str) -> Option<(&'static Resource, i64)> {
    [&SMS, &MMS, &EMAILS].into_iter().find_map(|resource| {
        let id = url.strip_prefix(&format!("/{}/", resource.path()))?;
        Some((resource, id.parse().ok()?))
    })
}

fn service(name: &str) -> Option<&'static Resource> {
    let all = [&SEND_SMS, &SEND_MMS, &SEND_EMAIL];
    all.into_iter().find(|service| service.name == name)
}
