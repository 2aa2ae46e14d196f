//! The services manager (R15, R40 to R46): what the handset does, as the personal data manager has what it holds.
//!
//! All services go one way: the request is read and held against its description, the owner is asked, then one
//! transaction writes the task, the idempotency key and the message that is to go, and only then the hardware is told.
//! The caller gets 202 and the task's URL; what comes of it becomes data, and the task says where. Whoever hangs up
//! meanwhile ends nothing: from the permit on, the work has a task of its own.

pub mod call;
pub mod camera;
pub mod descriptions;
pub mod divert;
pub mod job;
pub mod message;
pub mod order;
pub mod resume;
pub mod sms;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{ALLOW, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::oneshot;

pub use job::{keep, message_event, set_state};
pub use resume::resume;
pub use sms::{SCHEMA, Settled, settle};

use super::answer::wanted;
use super::authentication::Caller;
use super::consent::{Detail, Permit};
use super::handset::Handset;
use super::idempotency::{Seen, user};
use super::personal_data::{act, caller, collect, details, read, unread};
use super::prefix;
use super::problem::{Kind, Problem};
use super::representation::{Format, Sent};
use super::resource::{Action, Item, Resource};
use super::store::Store;
use super::tasks::{self, About, routes::told};
use job::Job;
use order::Order;

/// The URL of one service.
pub fn routes(resource: &'static Resource, handset: &Handset) -> Router {
    if resource.has(Action::Get) {
        return divert::routes(resource, handset);
    }
    let execute = move |State(handset), request| execute(resource, handset, request);
    let options = || async { (StatusCode::NO_CONTENT, [(ALLOW, "POST, OPTIONS")]) };
    Router::new()
        .route(
            &format!("/{}", resource.path()),
            post(execute).options(options),
        )
        .with_state(handset.clone())
}

/// POST on a service.
async fn execute(
    resource: &'static Resource,
    handset: Handset,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let format = wanted(&parts.headers)?;
    let caller = caller(&parts.extensions);
    let claim = handset.keys.claim(&caller, &parts)?;
    let body = collect(body, resource.body_bytes_max).await?;
    let item = sent(resource, &parts.headers, &body)?;
    let keyed = match claim.look(&handset.store, &body).await? {
        Seen::First(keyed) => keyed,
        Seen::Again(outcome) => {
            let task = outcome.location.as_deref().and_then(task_id);
            return again(&handset, &caller, &parts.headers, task, format).await;
        }
    };
    let order = Order::read(resource, &item)?;
    order.supported(&handset.device.capabilities())?;
    let slot = handset.tasks.slot(&user(&caller))?;
    let permit = permitted(&handset, resource, &item, &order, &parts).await?;
    let about = About {
        user: user(&caller),
        resource: resource.name,
        action: Action::Execute,
    };
    // From here on it is done, whether the caller stays or not: the permit counts from now.
    let (begun, id) = oneshot::channel();
    let job = Job {
        handset: handset.clone(),
        about,
        id: 0,
        permit: Some(permit),
        slot,
    };
    tokio::spawn(async move {
        match job.begin(&order, keyed).await {
            Ok((job, draft)) => {
                let _ = begun.send(Ok(job.id));
                job.run(order, draft).await;
            }
            Err(problem) => drop(begun.send(Err(problem))),
        }
    });
    let id = match id.await {
        Ok(begun) => begun?,
        Err(_) => return Err(Problem::new(Kind::Internal, "The service broke off.")),
    };
    again(&handset, &caller, &parts.headers, Some(id), format).await
}

/// The permit for what is asked, after those for what goes with it: who may send may not therefore read everything.
async fn permitted(
    handset: &Handset,
    resource: &'static Resource,
    item: &Item,
    order: &Order,
    parts: &Parts,
) -> Result<Permit, Problem> {
    for (attached, id) in order.attachments() {
        let text = id.to_string();
        let content = vec![Detail { name: "id", text }];
        let act = act(&parts.extensions, attached, Action::Get, content);
        let permit = handset.gate.permit(act).await?;
        permit.done("attached to a message");
    }
    let content = details(resource, item);
    let act = act(&parts.extensions, resource, Action::Execute, content);
    handset.gate.permit(act).await
}

/// What a body says, held against the description. No body at all says nothing, which is enough for a photograph.
fn sent(resource: &'static Resource, headers: &HeaderMap, body: &[u8]) -> Result<Item, Problem> {
    if body.is_empty() {
        return Ok(resource.check(resource.blank())?);
    }
    let sent = Sent::of(resource, headers).ok_or_else(|| unread(resource))?;
    read(resource, sent, body)
}

/// 202 with the task, now or again.
async fn again(
    handset: &Handset,
    caller: &Caller,
    headers: &HeaderMap,
    id: Option<i64>,
    format: Format,
) -> Result<Response, Problem> {
    let Some(id) = id else {
        return Ok(StatusCode::ACCEPTED.into_response());
    };
    let task = task(&handset.store, caller, id).await?;
    let mut response = match task {
        Some(task) => told(headers, StatusCode::ACCEPTED, task, format),
        None => StatusCode::ACCEPTED.into_response(),
    };
    if let Ok(at) = HeaderValue::try_from(format!("{}/tasks/{id}", prefix(headers))) {
        response.headers_mut().insert(LOCATION, at);
    }
    Ok(response)
}

async fn task(store: &Store, caller: &Caller, id: i64) -> Result<Option<tasks::Task>, Problem> {
    let user = user(caller);
    let work = store.run(move |db| tasks::one(db.connection(), &user, id));
    Ok(work.await?)
}

fn task_id(location: &str) -> Option<i64> {
    location.strip_prefix("/tasks/")?.parse().ok()
}
