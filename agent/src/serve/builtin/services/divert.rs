//! Diverting incoming calls (R41): set by POST like any service, read back for all four reasons, and cancelled.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::ALLOW;
use http::{StatusCode, Uri};

use super::execute;
use super::job::{Job, done};
use super::order::reason;
use crate::device::{DeviceError, Diversion, DivertReason};
use crate::serve::builtin::answer::{self, wanted};
use crate::serve::builtin::consent::Detail;
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::idempotency::Seen;
use crate::serve::builtin::personal_data::{Page, act, caller};
use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::resource::{Action, Item, Resource, Value};
use crate::serve::builtin::services::descriptions::DIVERT;
use crate::serve::builtin::store::Stored;

/// The URL.
pub fn routes(resource: &'static Resource, handset: &Handset) -> Router {
    let execute = move |State(handset), request| execute(resource, handset, request);
    let options = || async {
        let methods = "GET, HEAD, POST, DELETE, OPTIONS";
        (StatusCode::NO_CONTENT, [(ALLOW, methods)])
    };
    let all = get(show).post(execute).delete(cancel).options(options);
    Router::new()
        .route(&format!("/{}", resource.path()), all)
        .with_state(handset.clone())
}

/// Tells the network where to.
pub async fn run(job: Job, reason: DivertReason, diversion: Diversion) {
    let diverted = job.handset.device.divert(reason, Some(&diversion)).await;
    match diverted {
        Ok(()) => {
            let result = format!("/{}", DIVERT.path());
            job.finish(move |_| Ok(done(result))).await;
        }
        Err(error) => job.failed(error.into(), None).await,
    }
}

/// All four reasons, as the network has them now.
async fn show(State(handset): State<Handset>, request: Request) -> Result<Response, Problem> {
    let format = wanted(request.headers())?;
    supported(&handset)?;
    let act = act(request.extensions(), &DIVERT, Action::Get, Vec::new());
    let permit = handset.gate.permit(act).await?;
    let mut items = Vec::new();
    for reason in DivertReason::ALL {
        let to = match handset.device.diversion(reason).await {
            Ok(to) => to,
            Err(error) => {
                permit.done("failed");
                return Err(error.into());
            }
        };
        items.push(Stored {
            id: 0,
            store: String::new(),
            item: item(reason, to),
            content: None,
        });
    }
    permit.done("200");
    let page = Page { items, next: None };
    Ok(answer::list(&DIVERT, &page, format))
}

fn item(reason: DivertReason, diversion: Option<Diversion>) -> Item {
    let mut item = DIVERT.blank();
    let name = reason.name().to_owned();
    DIVERT.put(&mut item, "reason", Value::Text(name));
    if let Some(Diversion { to, after_s }) = diversion {
        DIVERT.put(&mut item, "to", Value::Text(to.to_string()));
        let after_s = after_s.map(|after| Value::Number(after.into()));
        DIVERT.put(&mut item, "after_s", after_s);
    }
    item
}

/// DELETE cancels the diversion of one reason, `?reason=busy`, or of all.
async fn cancel(State(handset): State<Handset>, request: Request) -> Result<Response, Problem> {
    let reasons = reasons(request.uri())?;
    supported(&handset)?;
    let (parts, _) = request.into_parts();
    let claim = handset.keys.claim(&caller(&parts.extensions), &parts)?;
    let Seen::First(keyed) = claim.look(&handset.store, b"").await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let (action, content) = match reasons.as_slice() {
        [one] => {
            let text = one.name().to_owned();
            let name = "reason";
            (Action::Delete, vec![Detail { name, text }])
        }
        _ => (Action::DeleteAll, Vec::new()),
    };
    let act = act(&parts.extensions, &DIVERT, action, content);
    let permit = handset.gate.permit(act).await?;
    // The network may have heard of it when its caller goes: then it is done to the end, and written down.
    let cancelled = tokio::spawn(async move {
        for reason in reasons {
            if let Err(error) = handset.device.divert(reason, None).await {
                permit.done("failed");
                return Err(error.into());
            }
        }
        permit.done("204");
        let remember = handset
            .store
            .run(move |db| keyed.remember(db.connection(), StatusCode::NO_CONTENT, None));
        remember.await?;
        Ok::<_, Problem>(StatusCode::NO_CONTENT.into_response())
    });
    let broken = |_| Problem::new(Kind::Internal, "The service broke off.");
    cancelled.await.map_err(broken)?
}

fn reasons(uri: &Uri) -> Result<Vec<DivertReason>, Problem> {
    let query = uri.query().unwrap_or_default();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(name, _)| *name == "reason");
    match named.next() {
        None => Ok(DivertReason::ALL.to_vec()),
        Some((_, name)) => reason(name).map(|one| vec![one]).ok_or_else(|| {
            let names: Vec<_> = DivertReason::ALL.iter().map(|r| r.name()).collect();
            let detail = format!("reason: must be one of {}.", names.join(", "));
            Problem::new(Kind::BadQuery, detail)
        }),
    }
}

fn supported(handset: &Handset) -> Result<(), Problem> {
    match handset.device.capabilities().diversion {
        true => Ok(()),
        false => Err(DeviceError::Unsupported("diversion").into()),
    }
}
