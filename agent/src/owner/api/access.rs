//! The list manager (R66): entries of the access list are shown, added, changed and deleted.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::Shared;
use super::body::{gone, id, number, pairs, read, told, unknown, wrong};
use super::prompts::{moment, number_of_times};
use crate::serve::builtin::consent::Moment;
use crate::serve::builtin::consent::access::{ANY, Access, Entry, Kind, Subject};
use crate::serve::builtin::problem::Problem;
use crate::serve::builtin::resource::{self, Resource};

/// Entries of one page at most, and if nothing is said.
const PAGE_MAX: u32 = 1_000;

/// `GET /api/access`.
pub(super) async fn list(State(owner): Shared, uri: Uri) -> Result<Response, Problem> {
    let (mut user, mut after, mut limit) = (None, 0, PAGE_MAX);
    for (key, value) in pairs(&uri) {
        match key.as_str() {
            "user" => user = Some(value),
            "after" => after = number("after", &value, 0, i64::MAX)?,
            "limit" => limit = number("limit", &value, 1, PAGE_MAX)?,
            key => return Err(unknown(key, "user, after and limit")),
        }
    }
    let (entries, more) = owner.notifier.entries(user.clone(), after, limit).await?;
    let next = entries.last().filter(|_| more).map(|last| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(user.map(|user| ("user", user)));
        query.append_pair("after", &last.id.to_string());
        query.append_pair("limit", &limit.to_string());
        format!("/api/access?{}", query.finish())
    });
    let now = Moment::now();
    let entries: Vec<_> = entries.iter().map(|known| entry(known, now)).collect();
    Ok(told(
        StatusCode::OK,
        &json!({"access": entries, "next": next}),
    ))
}

fn entry(entry: &Entry, now: Moment) -> Json {
    json!({
        "id": entry.id.to_string(),
        "user": entry.subject.user,
        "resource": entry.subject.resource,
        "action": entry.subject.action,
        "kind": entry.kind.name(),
        "until": entry.until.map(Moment::rfc3339),
        "uses_left": entry.uses_left,
        "since": entry.since.rfc3339(),
        "expired": entry.is_expired(now),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    user: String,
    resource: String,
    action: String,
    kind: String,
    seconds: Option<i64>,
    until: Option<String>,
    times: Option<i64>,
}

/// `POST /api/access`.
pub(super) async fn add(State(owner): Shared, request: Request) -> Result<Response, Problem> {
    let Added {
        user,
        resource,
        action,
        kind,
        seconds,
        until,
        times,
    } = read(request).await?;
    let users = owner.authentication.users();
    if users.is_none_or(|users| users.list().iter().all(|known| known.name != user)) {
        return Err(wrong("user", "is no remote user"));
    }
    if resource != ANY && resource::ALL.iter().all(|known| known.name != resource) {
        return Err(wrong("resource", "is none; /api/resources lists them"));
    }
    if action != ANY && !has(&resource, &action) {
        let fault = "is none that the resource has; /api/resources lists them";
        return Err(wrong("action", fault));
    }
    let access = access(&kind, seconds, until.as_deref(), times)?;
    let subject = Subject {
        user,
        resource,
        action,
    };
    let (put, new) = owner.notifier.put(subject, access).await?;
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(told(status, &entry(&put, Moment::now())))
}

/// Whether there is such an action on it; an entry for another would never count.
fn has(resource: &str, action: &str) -> bool {
    let named = |known: &&&Resource| resource == ANY || known.name == resource;
    let mut actions = resource::ALL.iter().filter(named).flat_map(|r| r.actions);
    actions.any(|known| known.name() == action)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    kind: String,
    seconds: Option<i64>,
    until: Option<String>,
    times: Option<i64>,
}

/// `PUT /api/access/{id}`.
pub(super) async fn change(
    State(owner): Shared,
    Path(known): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let known = id(&known, "entry")?;
    let Changed {
        kind,
        seconds,
        until,
        times,
    } = read(request).await?;
    let access = access(&kind, seconds, until.as_deref(), times)?;
    let changed = owner.notifier.change(known, access).await?;
    let changed = changed.ok_or_else(|| gone("entry"))?;
    Ok(told(StatusCode::OK, &entry(&changed, Moment::now())))
}

/// `DELETE /api/access/{id}`.
pub(super) async fn delete(
    State(owner): Shared,
    Path(known): Path<String>,
) -> Result<StatusCode, Problem> {
    match owner.notifier.delete(id(&known, "entry")?).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(gone("entry")),
    }
}

fn access(
    kind: &str,
    seconds: Option<i64>,
    until: Option<&str>,
    times: Option<i64>,
) -> Result<Access, Problem> {
    let kind = Kind::named(kind).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::name).join(", ");
        wrong("kind", format!("must be one of {known}"))
    })?;
    if kind != Kind::Temporary && (seconds.is_some() || until.is_some()) {
        return Err(wrong("seconds", "goes with temporary alone"));
    }
    if kind != Kind::NumberOfTimes && times.is_some() {
        return Err(wrong("times", "goes with number-of-times alone"));
    }
    Ok(match kind {
        Kind::Unlimited => Access::Unlimited,
        Kind::Temporary => Access::Temporary(moment(seconds, until)?),
        Kind::NumberOfTimes => Access::NumberOfTimes(number_of_times(times)?),
        Kind::OneTime => Access::OneTime,
        Kind::OnceDenied => Access::OnceDenied,
        Kind::PermanentlyDenied => Access::PermanentlyDenied,
    })
}
