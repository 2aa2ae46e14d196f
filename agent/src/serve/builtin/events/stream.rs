//! `GET /events`: server-sent events, for a remote user who may know what happens on the handset.
//!
//! A listener holds a data channel, so there are few of them, and each ends after a while: then the permission is asked
//! for again. Nothing is queued for a slow one: it reads from the events that are kept, and hears if it lost some.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::Value as Json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::{Events, Next};
use crate::device::Reporting;
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::idempotency::user;
use crate::serve::builtin::personal_data::{act, caller};
use crate::serve::builtin::prefix;
use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::resource::{Action, BODY_BYTES_MAX, Manager, Resource};

/// Listeners at a time.
pub const LISTENERS_MAX: usize = 16;

/// Silence after which a comment says that the stream still lives.
const ALIVE: Duration = Duration::from_secs(30);

/// For how long one permission lets somebody listen.
pub const LISTEN_MAX: Duration = Duration::from_secs(15 * 60);

/// What everybody is told first: how long to wait before coming back.
const FIRST: &str = "retry: 3000\n\n";

/// What the access list calls it.
pub static EVENTS: Resource = Resource {
    name: "events",
    item: "event",
    manager: Manager::PersonalData,
    actions: &[Action::Get],
    memories: &[],
    fields: &[],
    forms: &[],
    content: None,
    complete: None,
    body_bytes_max: BODY_BYTES_MAX,
};

#[derive(Clone)]
struct Listening {
    handset: Handset,
    room: Arc<Semaphore>,
}

/// The URL.
pub fn routes(handset: &Handset) -> Router {
    let listening = Listening {
        handset: handset.clone(),
        room: Arc::new(Semaphore::new(LISTENERS_MAX)),
    };
    let options = || async { (StatusCode::NO_CONTENT, [(ALLOW, "GET, HEAD, OPTIONS")]) };
    Router::new()
        .route("/events", get(listen).options(options))
        .with_state(listening)
}

async fn listen(State(listening): State<Listening>, request: Request) -> Result<Response, Problem> {
    let headers = request.headers();
    if !takes_events(headers) {
        return Err(Problem::new(
            Kind::NotAcceptable,
            "Accept text/event-stream.",
        ));
    }
    let Listening { handset, room } = listening;
    let caller = caller(request.extensions());
    let room = room.try_acquire_owned().map_err(|_full| {
        let detail = format!("{LISTENERS_MAX} callers listen already.");
        Problem::new(Kind::TooManyListeners, detail)
    })?;
    let known = headers.get("last-event-id").map(|id| {
        let id = id.to_str().unwrap_or_default();
        handset.events.number(id)
    });
    let act = act(request.extensions(), &EVENTS, Action::Get, Vec::new());
    handset.gate.permit(act).await?.done("200");
    let numbers = handset.events.numbers();
    let listener = Listener {
        number: match known {
            Some(Some(number)) => number,
            _ => *numbers.borrow(),
        },
        lost: known == Some(None),
        user: user(&caller),
        numbers,
        alive: Instant::now() + ALIVE,
        until: Instant::now() + LISTEN_MAX,
        first: true,
        prefix: prefix(headers).to_owned(),
        events: handset.events.clone(),
        _levels: handset.device.report_levels(),
        _room: room,
    };
    let body = Body::from_stream(unfold(listener, Listener::next));
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, body).into_response())
}

fn takes_events(headers: &HeaderMap) -> bool {
    let mut values = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .peekable();
    values.peek().is_none()
        || values.any(|range| matches!(range.trim(), "text/event-stream" | "text/*" | "*/*"))
}

/// One who listens.
struct Listener {
    events: Events,
    numbers: watch::Receiver<u64>,
    /// The last event that was told, or passed over.
    number: u64,
    /// Whether it asked for events that are not kept.
    lost: bool,
    first: bool,
    user: Arc<str>,
    /// What stands before the paths that this listener sees.
    prefix: String,
    alive: Instant,
    until: Instant,
    /// Battery and coverage are watched only while somebody wants to know.
    _levels: Reporting,
    _room: OwnedSemaphorePermit,
}

impl Listener {
    /// What is told next, when there is something; `None` when the time is over.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if std::mem::take(&mut self.first) {
            return Some((Ok(Bytes::from_static(FIRST.as_bytes())), self));
        }
        let text = loop {
            if Instant::now() >= self.until || self.events.is_closed() {
                return None;
            }
            if std::mem::take(&mut self.lost) {
                break self.lost();
            }
            match self.events.after(self.number) {
                Next::Event(number, event) => {
                    self.number = number;
                    let ours = event.user.as_ref().is_none_or(|user| *user == self.user);
                    if ours {
                        let id = self.events.id(number);
                        let data = self.linked(event.data);
                        // JSON has no line break of its own.
                        break format!("id: {id}\nevent: {}\ndata: {data}\n\n", event.kind);
                    }
                }
                Next::Lost(number) => {
                    self.number = number;
                    break self.lost();
                }
                Next::Nothing => {
                    let wait = self.alive.min(self.until);
                    match timeout_at(wait, self.numbers.changed()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_gone)) => return None,
                        Err(_) => break ": alive\n\n".to_owned(),
                    }
                }
            }
        };
        self.alive = Instant::now() + ALIVE;
        Some((Ok(Bytes::from(text)), self))
    }

    /// With links as this listener's gateway takes them.
    fn linked(&self, mut data: Json) -> Json {
        for name in ["href", "result"] {
            if let Some(Json::String(link)) = data.get_mut(name) {
                link.insert_str(0, &self.prefix);
            }
        }
        data
    }

    fn lost(&self) -> String {
        let id = self.events.id(self.number);
        format!("id: {id}\nevent: lost\ndata: {{}}\n\n")
    }
}
