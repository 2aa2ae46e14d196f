//! `Prefer: respond-async` (RFC 7240): who would rather not wait for the owner is answered with a task.
//!
//! Only asking takes time here: a request that needs no asking is answered as ever. Once the owner's screen shows the
//! prompt, the caller gets 202 and the task's URL, and the request goes on by itself. What it is answered waits at
//! `/tasks/7/response`, for a while and in bounds. A caller without the preference who goes away takes the prompt along.
//!
//! Who sends a file waits all the same: nothing of it is read before the owner has permitted it, and once a request is
//! answered, its gateway sends no more of it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName, LOCATION};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::authentication::Caller;
use super::consent::Asking;
use super::events::stream::EVENTS;
use super::handset::Handset;
use super::idempotency::user;
use super::prefix;
use super::problem::{self, Kind, Problem};
use super::representation::Format;
use super::resource::{Action, Resource};
use super::store::StoreError;
use super::tasks::{self, About, End, Slot, State as TaskState, Tasks};

/// Responses that are kept at a time.
pub const RESPONSES_MAX: usize = 32;

/// Bytes of all kept responses together; a longer one is not held in memory, and can be read once.
pub const RESPONSES_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// For how long a response is kept.
pub const KEPT: Duration = Duration::from_secs(10 * 60);

const PREFER: HeaderName = HeaderName::from_static("prefer");
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const RESPOND_ASYNC: HeaderValue = HeaderValue::from_static("respond-async");

/// Told when the owner is being asked about the request that carries it.
#[derive(Debug, Clone)]
pub struct Asked(pub Arc<Asking>);

/// What handlers put into an act: who is to be told when the owner is asked.
pub fn asked(extensions: &http::Extensions) -> Option<Arc<Asking>> {
    extensions.get::<Asked>().map(|asked| Arc::clone(&asked.0))
}

/// The layer. It stands behind the authentication, and before the managers.
pub async fn layer(
    State((handset, resources)): State<(Handset, &'static [&'static Resource])>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if !prefers(request.headers()) {
        return Ok(next.run(request).await);
    }
    let headers = request.headers().clone();
    // Of the task. Who accepts only what was asked for, a picture, is not refused it for having the preference.
    let format = Format::wanted(&headers).unwrap_or(Format::Json);
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        return Ok(next.run(request).await);
    };
    let Some(about) = about(&request, &caller, resources) else {
        return Ok(next.run(request).await);
    };
    let asked = Arc::<Asking>::default();
    request.extensions_mut().insert(Asked(Arc::clone(&asked)));
    let mut running = Box::pin(async move { next.run(request).await });
    tokio::select! {
        biased;
        response = &mut running => return Ok(response),
        () = asked.begun() => {}
    }
    let going_on = Background {
        slot: handset.tasks.slot(&about.user)?,
        handset: handset.clone(),
        about,
        asked,
        problems: Format::of_problem(&headers),
    };
    // On a task of its own from here on: the caller may be gone before there is a row.
    let (begun, id) = oneshot::channel();
    tokio::spawn(going_on.run(running, begun));
    let id = match id.await {
        Ok(begun) => begun?,
        Err(_) => return Err(Problem::new(Kind::Internal, "The request broke off.")),
    };
    let user = user(&caller);
    let shown = handset
        .store
        .run(move |db| tasks::one(db.connection(), &user, id));
    let mut response = match shown.await? {
        Some(task) => tasks::routes::told(&headers, StatusCode::ACCEPTED, task, format),
        // It has ended already, and went with the oldest.
        None => StatusCode::ACCEPTED.into_response(),
    };
    let at = HeaderValue::try_from(format!("{}/tasks/{id}", prefix(&headers)));
    if let Ok(at) = at {
        response.headers_mut().insert(LOCATION, at);
    }
    response.headers_mut().insert(APPLIED, RESPOND_ASYNC);
    Ok(response)
}

/// Whether the caller prefers a task. Other preferences are somebody else's.
fn prefers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER);
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next())
        .any(|name| name.trim().eq_ignore_ascii_case("respond-async"))
}

/// What a request asks of which resource, as far as its URL tells; `None`: of none, or nothing that goes on alone.
fn about(
    request: &Request,
    caller: &Caller,
    resources: &'static [&'static Resource],
) -> Option<About> {
    let path = request.uri().path().trim_start_matches('/');
    // A stream of events would be kept for somebody who may never come.
    let kept = resources.iter().filter(|r| r.name != EVENTS.name);
    let resource = kept.copied().find(|resource| {
        let rest = path.strip_prefix(resource.path().as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })?;
    if *request.method() == Method::POST && resource.content.is_some() {
        return None;
    }
    let whole = path.len() == resource.path().len();
    let action = match *request.method() {
        Method::POST if resource.has(Action::Execute) => Action::Execute,
        Method::POST => Action::Add,
        Method::DELETE if whole => Action::DeleteAll,
        Method::DELETE => Action::Delete,
        _ if whole && resource.has(Action::List) => Action::List,
        _ => Action::Get,
    };
    Some(About {
        user: user(caller),
        resource: resource.name,
        action,
    })
}

/// A request that goes on without its caller.
struct Background {
    handset: Handset,
    about: About,
    asked: Arc<Asking>,
    problems: Format,
    slot: Slot,
}

impl Background {
    async fn run(
        self,
        running: impl Future<Output = Response>,
        begun: oneshot::Sender<Result<i64, StoreError>>,
    ) {
        let Self {
            handset,
            about,
            asked,
            problems,
            slot,
        } = self;
        let first = about.clone();
        let row = handset
            .store
            .run(move |db| tasks::begin(db.connection(), &first, TaskState::Asking, None));
        let id = match row.await {
            Ok(id) => id,
            // The request ends with this, and its prompt.
            Err(error) => return drop(begun.send(Err(error))),
        };
        let stop = handset.tasks.revocable(id, &asked);
        let tasks = &handset.tasks;
        tasks.tell(id, &about, TaskState::Asking, &End::default());
        let _ = begun.send(Ok(id));
        let mut running = std::pin::pin!(running);
        let response = loop {
            tokio::select! {
                biased;
                response = &mut running => break response,
                () = stop.notified() => {}
            }
            // What is permitted is being done, and can't be taken back by halves; and an agent that ends tells who waits
            // for the owner what there is to tell.
            if !asked.is_permitted() && !handset.events.is_closed() {
                let told = (
                    "withdrawn".to_owned(),
                    "Its caller took it back.".to_owned(),
                );
                let end = End {
                    problem: Some(told),
                    ..End::default()
                };
                let state = TaskState::Interrupted;
                return tasks.end(&handset.store, id, &about, state, end).await;
            }
        };
        let mut end = match response.extensions().get::<Problem>() {
            Some(problem) => End::problem(problem),
            None => End::default(),
        };
        let status = response.status();
        end.status = Some(status.as_u16());
        let made = response.headers().get(LOCATION);
        let made = made.and_then(|at| at.to_str().ok());
        end.result = made.map(|at| unprefixed(at).to_owned());
        let state = match status {
            StatusCode::FORBIDDEN => TaskState::Denied,
            status if status.is_client_error() || status.is_server_error() => TaskState::Failed,
            _ => TaskState::Done,
        };
        keep(&handset.tasks, id, problem::render(response, problems)).await;
        handset
            .tasks
            .end(&handset.store, id, &about, state, end)
            .await;
        drop(slot);
    }
}

/// Without the gateway's prefix: `/contacts/7` of `/34600000001/contacts/7`.
fn unprefixed(location: &str) -> &str {
    let rest = location.strip_prefix('/').unwrap_or_default();
    match rest.split_once('/') {
        Some((number, _)) if number.bytes().all(|b| b.is_ascii_digit()) => {
            location.get(number.len() + 1..).unwrap_or(location)
        }
        _ => location,
    }
}

/// Keeps a response: in memory if it is short, otherwise as the body that nobody has read yet.
async fn keep(tasks: &Tasks, id: i64, response: Response) {
    let (parts, body) = response.into_parts();
    let bytes = body.size_hint().upper();
    let body = match bytes.filter(|bytes| *bytes <= RESPONSES_BYTES_MAX / 8) {
        // A body that breaks off is one that nobody can be given.
        Some(_) => match body.collect().await {
            Ok(whole) => Kept::Short(whole.to_bytes()),
            Err(_) => return,
        },
        None => Kept::Long(body),
    };
    tasks.responses().put(id, parts, body);
}

/// Responses that wait for those who did not; a clone is the same ones.
#[derive(Clone, Default)]
pub struct Responses(Arc<Mutex<VecDeque<Waiting>>>);

struct Waiting {
    task: i64,
    parts: Parts,
    body: Kept,
    until: Instant,
}

enum Kept {
    Short(Bytes),
    Long(Body),
}

impl Kept {
    fn bytes(&self) -> u64 {
        match self {
            Self::Short(bytes) => bytes.len() as u64,
            Self::Long(_) => 0,
        }
    }
}

impl Responses {
    fn put(&self, task: i64, parts: Parts, body: Kept) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        kept.retain(|waiting| waiting.until > now);
        kept.push_back(Waiting {
            task,
            parts,
            body,
            until: now + KEPT,
        });
        let bytes = |kept: &VecDeque<Waiting>| kept.iter().map(|w| w.body.bytes()).sum::<u64>();
        while kept.len() > RESPONSES_MAX || bytes(&kept) > RESPONSES_BYTES_MAX {
            kept.pop_front();
        }
    }

    /// The response of this task, if it is still there; its head alone leaves a long one where it is.
    pub fn of(&self, task: i64, head: bool) -> Option<Response> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        kept.retain(|waiting| waiting.until > now);
        let at = kept.iter().position(|waiting| waiting.task == task)?;
        let waiting = kept.get(at)?;
        let body = match &waiting.body {
            Kept::Short(bytes) => Some(Body::from(bytes.clone())),
            Kept::Long(_) => head.then(Body::empty),
        };
        if let Some(body) = body {
            let mut response = Response::from_parts(waiting.parts.clone(), body);
            if let (Kept::Long(long), true) = (&waiting.body, head)
                && let Some(bytes) = long.size_hint().exact()
            {
                response.headers_mut().insert(CONTENT_LENGTH, bytes.into());
            }
            return Some(response);
        }
        let Waiting {
            parts,
            body: Kept::Long(body),
            ..
        } = kept.remove(at)?
        else {
            return None;
        };
        Some(Response::from_parts(parts, body))
    }
}

/// What was answered to somebody is personal data.
impl fmt::Debug for Responses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responses(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(status: StatusCode) -> Parts {
        let mut response = Response::new(());
        *response.status_mut() = status;
        response.into_parts().0
    }

    #[tokio::test]
    async fn r53_a_long_response_is_given_once_and_its_head_does_not_take_it() {
        let responses = Responses::default();
        let long = Bytes::from(vec![7; 9]);
        responses.put(1, parts(StatusCode::CREATED), Kept::Long(Body::from(long)));
        for _ in 0..2 {
            let head = responses.of(1, true).unwrap();
            assert_eq!(head.status(), StatusCode::CREATED);
            assert_eq!(head.headers()[CONTENT_LENGTH], "9");
        }
        let whole = responses.of(1, false).unwrap().into_body().collect().await;
        assert_eq!(whole.unwrap().to_bytes().len(), 9);
        assert!(responses.of(1, false).is_none() && responses.of(1, true).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn r53_responses_are_bounded_in_number_in_bytes_and_in_time() {
        let responses = Responses::default();
        let put = |task, bytes: usize| {
            let body = Kept::Short(Bytes::from(vec![7; bytes]));
            responses.put(task, parts(StatusCode::OK), body);
        };
        let there = |task| responses.of(task, true).is_some();
        for task in 0..=RESPONSES_MAX as i64 {
            put(task, 1);
        }
        assert!(!there(0) && there(1), "the oldest went");
        let most = usize::try_from(RESPONSES_BYTES_MAX).unwrap();
        put(100, most / 2);
        put(101, most / 2 + 1);
        assert!(!there(1) && !there(100) && there(101));
        tokio::time::advance(KEPT - Duration::from_secs(1)).await;
        assert!(there(101));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!there(101));
    }
}
