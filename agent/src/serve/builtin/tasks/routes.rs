//! The URLs of tasks: those of the caller's own, one of them to wait for, its end, and the response that waits there.

use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http::StatusCode};
use http::header::{ALLOW, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Uri};
use tokio::time::Instant;

use super::{TASKS, Task, list, one};
use crate::serve::builtin::answer::{self, wanted};
use crate::serve::builtin::authentication::Caller;
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::idempotency::user;
use crate::serve::builtin::personal_data::query;
use crate::serve::builtin::personal_data::{Page, paging};
use crate::serve::builtin::prefix;
use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::representation::Format;

/// For how long a caller may wait at a task's URL.
pub const WAIT_MAX: Duration = Duration::from_secs(50);

/// When to ask again for a task that goes on.
const AGAIN_S: HeaderValue = HeaderValue::from_static("2");

/// The URLs.
pub fn routes(handset: &Handset) -> Router {
    let allow = |methods: &'static str| async move { (StatusCode::NO_CONTENT, [(ALLOW, methods)]) };
    Router::new()
        .route(
            "/tasks",
            get(all).options(move || allow("GET, HEAD, OPTIONS")),
        )
        .route(
            "/tasks/{id}",
            get(show)
                .delete(end)
                .options(move || allow("GET, HEAD, DELETE, OPTIONS")),
        )
        .route(
            "/tasks/{id}/response",
            get(response).options(move || allow("GET, HEAD, OPTIONS")),
        )
        .with_state(handset.clone())
}

async fn all(
    State(handset): State<Handset>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let format = wanted(&headers)?;
    let (limit, after) = paging(uri.query().unwrap_or_default())?;
    let user = user(&caller);
    let (tasks, more) = handset
        .store
        .run(move |db| list(db.connection(), &user, after, limit))
        .await?;
    let prefix = prefix(&headers);
    let next = tasks.last().filter(|_| more);
    let next = next.map(|last| format!("{prefix}/tasks?after={}&limit={limit}", last.id));
    let items = tasks.into_iter().map(|task| task.stored(prefix)).collect();
    Ok(answer::list(&TASKS, &Page { items, next }, format))
}

/// Waits, if the caller says so, until the task is further than it was.
async fn show(
    State(handset): State<Handset>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let format = wanted(&headers)?;
    let deadline = Instant::now() + wait(uri.query().unwrap_or_default())?;
    let mut changes = handset.tasks.changes();
    let first = own(&handset, &caller, &id).await?;
    let (was, mut task) = (first.state, first);
    let place = handset.tasks.place();
    while place.is_some() && task.state.is_open() && task.state == was {
        // Only a change can be waited for: without one, this is all there is to tell.
        match tokio::time::timeout_at(deadline, changes.changed()).await {
            Ok(Ok(())) if !handset.events.is_closed() => {
                task = own(&handset, &caller, &id).await?;
            }
            _ => break,
        }
    }
    Ok(told(&headers, StatusCode::OK, task, format))
}

/// Ends the task early: hangs up, stops the recording, takes back what the owner is still asked.
async fn end(
    State(handset): State<Handset>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let task = own(&handset, &caller, &id).await?;
    if task.state.is_open() && !handset.tasks.stop(task.id) {
        return Err(Problem::new(
            Kind::NotStoppable,
            "It is being done already. GET tells how it ends.",
        ));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn response(
    State(handset): State<Handset>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    method: Method,
) -> Result<Response, Problem> {
    let task = own(&handset, &caller, &id).await?;
    if task.state.is_open() {
        let detail = "There is no response yet: the task still goes on.";
        return Err(Problem::new(Kind::NotFound, detail).with_header(RETRY_AFTER, AGAIN_S));
    }
    let head = method == Method::HEAD;
    handset.tasks.responses().of(task.id, head).ok_or_else(|| {
        Problem::new(
            Kind::ResponseGone,
            "A response is kept for a while, and a long one is given once. The task tells what became of the request.",
        )
    })
}

/// A task with its status and headers.
pub fn told(headers: &HeaderMap, status: StatusCode, task: Task, format: Format) -> Response {
    let open = task.state.is_open();
    let mut response = answer::item(&TASKS, &task.stored(prefix(headers)), status, format);
    if open {
        response.headers_mut().insert(RETRY_AFTER, AGAIN_S);
    }
    response
}

/// The task of this id if it is the caller's. Somebody else's is not there.
async fn own(handset: &Handset, caller: &Caller, id: &str) -> Result<Task, Problem> {
    let gone = || Problem::new(Kind::NotFound, "You have no task of this id (any more).");
    let id = query::id(id).ok_or_else(gone)?;
    let user = user(caller);
    let found = handset
        .store
        .run(move |db| one(db.connection(), &user, id))
        .await?;
    found.ok_or_else(gone)
}

/// `wait_s`, from 1 on.
fn wait(query: &str) -> Result<Duration, Problem> {
    let values = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut waits = values.filter(|(name, _)| *name == "wait_s");
    let Some((_, value)) = waits.next() else {
        return Ok(Duration::ZERO);
    };
    let wait = value.parse().ok().map(Duration::from_secs);
    wait.filter(|wait| (Duration::from_secs(1)..=WAIT_MAX).contains(wait))
        .ok_or_else(|| {
            let detail = format!("wait_s: must be a number from 1 to {}.", WAIT_MAX.as_secs());
            Problem::new(Kind::BadQuery, detail)
        })
}
