//! What changes, as server-sent events, for a screen that is open.
//!
//! Prompts are sent as a whole and not change by change: nothing can be missed, and a flood of requests costs the screen a
//! few messages a second and no more.

use std::convert::Infallible;
use std::fmt::Write;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::json;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::prompts::snapshot;
use super::{Owner, Shared};
use crate::serve::builtin::events::Event;
use crate::serve::builtin::problem::{Kind, Problem};

/// Screens that are told at a time.
pub const STREAMS_MAX: usize = 8;

/// At least this long between two messages about the same thing.
const GAP: Duration = Duration::from_millis(200);

/// A comment is sent when there was nothing else for so long, so that a screen that is gone is noticed.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// `GET /api/stream`.
pub(super) async fn stream(State(owner): Shared) -> Result<Response, Problem> {
    let place = Arc::clone(&owner.streams)
        .try_acquire_owned()
        .map_err(|_full| {
            let detail = format!("{STREAMS_MAX} screens are open already; close one.");
            Problem::new(Kind::TooManyListeners, detail)
        })?;
    let listener = Listener::new(owner, place);
    let messages = unfold(listener, |mut listener| async move {
        let message = listener.next().await;
        Some((Ok::<_, Infallible>(message), listener))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(messages)).into_response())
}

struct Listener {
    owner: Arc<Owner>,
    prompts: watch::Receiver<()>,
    access: watch::Receiver<()>,
    users: watch::Receiver<()>,
    events: broadcast::Receiver<Event>,
    prompts_paced: Paced,
    access_paced: Paced,
    messages: u64,
    _place: OwnedSemaphorePermit,
}

/// Messages about one thing, which are not sent more often than a screen can follow.
struct Paced {
    /// When the next one is sent; `None`: nothing has changed.
    due: Option<Instant>,
    sent: Instant,
}

impl Paced {
    fn new(due: Option<Instant>) -> Self {
        let sent = Instant::now();
        Self { due, sent }
    }

    fn changed(&mut self) {
        self.due = Some(self.sent + GAP);
    }

    /// Waits until a message is due; for good if nothing has changed.
    async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }

    fn sent(&mut self) {
        *self = Self::new(None);
    }
}

impl Listener {
    fn new(owner: Arc<Owner>, place: OwnedSemaphorePermit) -> Self {
        Self {
            prompts: owner.notifier.prompt_changes(),
            access: owner.notifier.list_changes(),
            users: owner.users_changed.subscribe(),
            events: owner.handset.events.listen(),
            prompts_paced: Paced::new(Some(Instant::now())),
            access_paced: Paced::new(None),
            messages: 0,
            owner,
            _place: place,
        }
    }

    /// The next message; the senders live as long as `owner`, so none of the waits below ends by itself.
    async fn next(&mut self) -> String {
        loop {
            tokio::select! {
                () = self.prompts_paced.due() => {
                    self.prompts_paced.sent();
                    let prompts = snapshot(&self.owner).to_string();
                    return self.message("prompts", &prompts);
                }
                () = self.access_paced.due() => {
                    self.access_paced.sent();
                    return self.message("access", "{}");
                }
                _ = self.prompts.changed(), if self.prompts_paced.due.is_none() => self.prompts_paced.changed(),
                _ = self.access.changed(), if self.access_paced.due.is_none() => self.access_paced.changed(),
                _ = self.users.changed() => return self.message("users", "{}"),
                event = self.events.recv() => match event {
                    Ok(event) => {
                        let event = json!({"kind": event.kind, "data": event.data});
                        return self.message("handset", &event.to_string());
                    }
                    Err(RecvError::Lagged(_)) => return self.message("lost", "{}"),
                    Err(RecvError::Closed) => return ":\n\n".to_owned(),
                },
                () = sleep(SILENCE_MAX) => return ":\n\n".to_owned(),
            }
        }
    }

    fn message(&mut self, event: &str, data: &str) -> String {
        self.messages += 1;
        let mut message = String::with_capacity(data.len() + 64);
        // Writing into a String never fails. JSON has no line break outside of its strings, and none within.
        let _ = write!(
            message,
            "id: {}\nevent: {event}\ndata: {data}\n\n",
            self.messages
        );
        message
    }
}
