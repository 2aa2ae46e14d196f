//! `GET /events`: server-sent events, for a remote user who may know what happens on the handset.
//!
//! A listener holds a data channel, so there are few of them, and each ends after a while: then the permission is asked
//! for again. It ends at once when the owner takes the permission back, and of what the owner denied to the user for good
//! it hears nothing. Nothing is queued for a slow one: it reads from the events that are kept, and hears if it lost some.

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

use super::{Event, Events, Next};
use crate::device::Reporting;
use crate::serve::builtin::authentication::Caller;
use crate::serve::builtin::consent::{Gate, Moment, Standing};
use crate::serve::builtin::descriptions::{EMAILS, INCOMING_CALLS, MMS, OUTGOING_CALLS, SMS};
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::idempotency::user;
use crate::serve::builtin::personal_data::{act, caller};
use crate::serve::builtin::prefix;
use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::resource::{Action, BODY_BYTES_MAX, Manager, Resource};
use crate::serve::builtin::state::{BATTERY, COVERAGE, MODE};
use crate::serve::builtin::store::StoreError;

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
    // Who still waits for the owner takes no place: those who may listen need them.
    if room.available_permits() == 0 {
        return Err(full());
    }
    let known = headers.get("last-event-id").map(|id| {
        let id = id.to_str().unwrap_or_default();
        handset.events.number(id)
    });
    let act = act(request.extensions(), &EVENTS, Action::Get, Vec::new());
    let permit = handset.gate.permit(act).await?;
    let Ok(room) = room.try_acquire_owned() else {
        permit.done("503 too-many-listeners");
        return Err(full());
    };
    permit.done("200");
    let rights = Rights::of(&handset.gate, caller.clone()).await?;
    let numbers = handset.events.numbers();
    let listener = Listener {
        number: match known {
            Some(Some(number)) => number,
            _ => *numbers.borrow(),
        },
        lost: known == Some(None),
        user: user(&caller),
        rights,
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

fn full() -> Problem {
    let detail = format!("{LISTENERS_MAX} callers listen already.");
    Problem::new(Kind::TooManyListeners, detail)
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
    rights: Rights,
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
            let last = self.until.min(self.rights.until);
            if Instant::now() >= last || self.events.is_closed() || !self.rights.hold().await {
                return None;
            }
            if std::mem::take(&mut self.lost) {
                break self.lost();
            }
            match self.events.after(self.number) {
                Next::Event(number, event) => {
                    self.number = number;
                    let ours = event.user.as_ref().is_none_or(|user| *user == self.user);
                    if ours && self.rights.allow(&event) {
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
                    let wait = self.alive.min(last);
                    tokio::select! {
                        told = timeout_at(wait, self.numbers.changed()) => match told {
                            Ok(Ok(())) => {}
                            Ok(Err(_gone)) => return None,
                            Err(_) => break ": alive\n\n".to_owned(),
                        },
                        () = self.rights.decided() => {}
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

/// What one who listens may hear, as the owner's decisions have it now.
struct Rights {
    gate: Gate,
    caller: Caller,
    /// `None`: nothing is decided here.
    decisions: Option<watch::Receiver<()>>,
    /// Whether something was decided since it looked.
    news: bool,
    /// Whether it was an entry of the access list that permitted it: without that it ends.
    lasting: bool,
    /// How long that entry permits it.
    until: Instant,
    /// Resources of which the user is denied everything that is told here.
    denied: Vec<&'static str>,
}

/// Resources of which events tell.
static TOLD: [&Resource; 8] = [
    &BATTERY,
    &COVERAGE,
    &MODE,
    &SMS,
    &MMS,
    &EMAILS,
    &INCOMING_CALLS,
    &OUTGOING_CALLS,
];

impl Rights {
    async fn of(gate: &Gate, caller: Caller) -> Result<Self, StoreError> {
        let mut rights = Self {
            // Before it looks: what is decided meanwhile is looked at again.
            decisions: gate.decisions(),
            gate: gate.clone(),
            caller,
            news: false,
            lasting: false,
            until: Instant::now() + LISTEN_MAX,
            denied: Vec::new(),
        };
        rights.lasting = matches!(rights.look().await?, Standing::Permitted(_));
        Ok(rights)
    }

    /// What the access list says to listening itself; what it denies of the rest is noted.
    async fn look(&mut self) -> Result<Standing, StoreError> {
        let acts = [&EVENTS].into_iter().chain(TOLD);
        let acts = acts.map(|resource| (resource.name, Action::Get)).collect();
        let mut standings = self.gate.standings(&self.caller, acts).await?.into_iter();
        let own = standings.next().unwrap_or(Standing::Nothing);
        let told = TOLD.iter().zip(standings);
        let denied = told.filter(|(_, standing)| *standing == Standing::Denied);
        self.denied = denied.map(|(resource, _)| resource.name).collect();
        let left = match own {
            Standing::Permitted(Some(until)) => {
                let left = u64::try_from(until.0 - Moment::now().0).unwrap_or_default();
                Duration::from_millis(left).min(LISTEN_MAX)
            }
            _ => LISTEN_MAX,
        };
        self.until = Instant::now() + left;
        Ok(own)
    }

    /// Looks again if something was decided; `false`: the owner took it back.
    async fn hold(&mut self) -> bool {
        if let Some(decisions) = &mut self.decisions {
            self.news |= decisions.has_changed().unwrap_or_default();
            decisions.mark_unchanged();
        }
        if !std::mem::take(&mut self.news) {
            return true;
        }
        match self.look().await {
            Ok(Standing::Permitted(_)) => true,
            Ok(Standing::Nothing) => !self.lasting,
            // Who can't be told from somebody who may not hears nothing.
            Ok(Standing::Denied) | Err(_) => false,
        }
    }

    /// Waits until something is decided.
    async fn decided(&mut self) {
        let told = match &mut self.decisions {
            Some(decisions) => decisions.changed().await.is_ok(),
            None => false,
        };
        if !told {
            std::future::pending::<()>().await;
        }
        self.news = true;
    }

    /// Whether the user may hear of this.
    fn allow(&self, event: &Event) -> bool {
        let resource = match event.kind {
            "email" => EMAILS.name,
            "call" if event.data["direction"] == "in" => INCOMING_CALLS.name,
            "call" => OUTGOING_CALLS.name,
            kind => kind,
        };
        !self.denied.contains(&resource)
    }
}
