//! One service being done: its task from the first row to the last, and the permit that it was given.

use http::StatusCode;
use rusqlite::Connection;
use serde_json::json;

use super::order::Order;
use super::{call, camera, divert, message, sms};
use crate::serve::builtin::consent::Permit;
use crate::serve::builtin::descriptions::{EMAILS, MMS, SMS};
use crate::serve::builtin::events::Event;
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::idempotency::Keyed;
use crate::serve::builtin::problem::Problem;
use crate::serve::builtin::resource::{Item, Resource, Value};
use crate::serve::builtin::store::{StoreError, items};
use crate::serve::builtin::tasks::{self, About, End, Slot, State};

/// A service being done.
#[derive(Debug)]
pub struct Job {
    /// What it is done with.
    pub handset: Handset,
    /// Whose it is, and what.
    pub about: About,
    /// Its task.
    pub id: i64,
    /// Its right; `None`: the last run of the agent had it.
    pub permit: Option<Permit>,
    /// Its room.
    pub slot: Slot,
}

/// How a task ended, and what is told besides.
pub type Ended = (State, End, Option<Event>);

/// The message that is to go, as it is kept: its description and its id.
pub type Draft = Option<(&'static Resource, i64)>;

impl Job {
    /// Writes the task, the key, and the message that is to go. Nothing was told to the hardware before, so what fails
    /// here left nothing behind.
    pub async fn begin(mut self, order: &Order, keyed: Keyed) -> Result<(Self, Draft), Problem> {
        let draft = match order {
            Order::Sms(to, text) => Some((&SMS, sms::draft(to, text)?, None)),
            Order::Mms(message) => {
                let composed = message::compose(&self.handset, message, &MMS).await?;
                Some((&MMS, composed.item.clone(), Some(composed)))
            }
            Order::Email(message) => {
                let composed = message::compose(&self.handset, message, &EMAILS).await?;
                Some((&EMAILS, composed.item.clone(), Some(composed)))
            }
            _ => None,
        };
        let about = self.about.clone();
        let work = self.handset.store.run(move |db| {
            db.transaction(|transaction| {
                let draft = match draft {
                    Some((resource, item, composed)) => {
                        let bytes = composed
                            .as_ref()
                            .map(|c| ("message/rfc822", c.bytes.as_slice()));
                        let id = keep(transaction, resource, item, bytes)?;
                        Some((resource, id))
                    }
                    None => None,
                };
                // Whoever waits for the task can look at the message meanwhile, and a restart finds it.
                let result = draft.map(url);
                let id = tasks::begin(transaction, &about, State::Running, result.as_deref())?;
                let location = format!("/tasks/{id}");
                keyed.remember(transaction, StatusCode::ACCEPTED, Some(&location))?;
                Ok((id, draft))
            })
        });
        let (id, draft) = work.await?;
        self.id = id;
        let begun = End {
            result: draft.map(url),
            ..End::default()
        };
        let Self { handset, about, .. } = &self;
        handset.tasks.tell(id, about, State::Running, &begun);
        Ok((self, draft))
    }

    /// Says that the hardware is about to be told. What can't be written down is not begun: after a kill it would be
    /// done again.
    pub async fn hand_over(&self) -> Result<(), Problem> {
        let id = self.id;
        let work = self
            .handset
            .store
            .run(move |db| tasks::hand_over(db.connection(), id));
        Ok(work.await?)
    }

    /// Has the hardware do it, and writes what came of it.
    pub async fn run(self, order: Order, draft: Draft) {
        match order {
            Order::Call(number) => call::run(self, &number).await,
            Order::Divert(reason, diversion) => divert::run(self, reason, diversion).await,
            Order::Sms(to, text) => sms::run(self, &to, &text, draft).await,
            Order::Mms(_) | Order::Email(_) => message::run(self, draft).await,
            Order::Photograph(title) => camera::photograph(self, title).await,
            Order::Video(length, title) => camera::record(self, length, title).await,
        }
    }

    /// It was not done; the message that was to go says so, too.
    pub async fn failed(self, problem: Problem, draft: Draft) {
        let mut end = End::problem(&problem);
        end.result = draft.map(url);
        self.finish(move |connection| {
            let mut event = None;
            if let Some((resource, id)) = draft {
                let why = problem.detail();
                set_state(connection, resource, id, "failed", Some(why))?;
                event = Some(message_event(resource, id, "failed"));
            }
            Ok((State::Failed, end, event))
        })
        .await;
    }

    /// Writes in one transaction what came of it and how the task ended.
    pub async fn finish(
        self,
        write: impl FnOnce(&Connection) -> Result<Ended, StoreError> + Send + 'static,
    ) {
        let Self {
            handset,
            about,
            id,
            permit,
            slot,
        } = self;
        let work = handset.store.run(move |db| {
            db.transaction(|transaction| {
                let (state, end, event) = write(transaction)?;
                tasks::finish(transaction, id, state, &end)?;
                Ok((state, end, event))
            })
        });
        let (state, end) = match work.await {
            Ok((state, end, event)) => {
                handset.tasks.tell(id, &about, state, &end);
                if let Some(event) = event {
                    handset.events.tell(event);
                }
                (state, end)
            }
            Err(error) => {
                // It was done, but there is no room for what came of it: that much can be written.
                let end = End::problem(&error.into());
                let tasks = &handset.tasks;
                let written = end.clone();
                tasks
                    .end(&handset.store, id, &about, State::Failed, written)
                    .await;
                (State::Failed, end)
            }
        };
        let outcome = match (&end.problem, &end.result) {
            (Some((slug, _)), _) => format!("{}: {slug}", state.name()),
            (None, Some(result)) => format!("{} {result}", state.name()),
            (None, None) => state.name().to_owned(),
        };
        if let Some(permit) = permit {
            permit.done(&outcome);
        }
        drop(slot);
    }
}

/// Keeps an item that the handset itself made, with its bytes; gives its id.
pub fn keep(
    connection: &Connection,
    resource: &'static Resource,
    item: Item,
    bytes: Option<(&str, &[u8])>,
) -> Result<i64, StoreError> {
    let Some(memory) = resource.memories.first() else {
        return Err(StoreError::Full);
    };
    let blob = match bytes {
        Some((media_type, bytes)) => {
            Some(crate::serve::builtin::blobs::keep(connection, media_type, bytes)?.id)
        }
        None => None,
    };
    let items_max = memory.items_max(None);
    Ok(items::add(connection, resource, memory, items_max, item, blob)?.id)
}

/// Tells that a message came or changed: where it is, and nothing of what it says.
pub fn message_event(resource: &Resource, id: i64, state: &str) -> Event {
    let kind = match resource.name {
        "emails" => "email",
        "mms" => "mms",
        _ => "sms",
    };
    Event {
        kind,
        data: json!({"href": format!("/{}/{id}", resource.path()), "state": state}),
        user: None,
    }
}

/// Sets a message's state, and why it failed.
pub fn set_state(
    connection: &Connection,
    resource: &Resource,
    id: i64,
    state: &str,
    error: Option<&str>,
) -> Result<(), StoreError> {
    items::set(
        connection,
        resource,
        id,
        "state",
        Value::Text(state.to_owned()),
    )?;
    if let Some(error) = error {
        let short: String = error.chars().take(256).collect();
        items::set(connection, resource, id, "error", Value::Text(short))?;
    }
    Ok(())
}

/// Where an item can be read.
pub fn url((resource, id): (&'static Resource, i64)) -> String {
    format!("/{}/{id}", resource.path())
}

/// What is told of a job that ended well, with its result.
pub fn done(result: String) -> Ended {
    (State::Done, End::with(result), None)
}
