//! `GET /audit`: what a remote user wanted, and what became of it. Each sees the own part alone, so nobody is asked.
//!
//! Of an item that is on the handset a line tells the owner what it says, also where reading it was denied. The user is
//! told no more than the request said.

use std::fmt::Write;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LINK, VARY};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use quick_xml::escape::escape;
use serde_json::json;

use super::log::{Filter, Part, Told, Whose};
use super::{Gate, Moment};
use crate::serve::builtin::answer::wanted;
use crate::serve::builtin::authentication::Caller;
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::prefix;
use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::representation::Format;
use crate::serve::builtin::resource::Action;

/// Lines of a page at most.
pub const PAGE_MAX: u32 = 1_000;

/// Lines of a page if the caller does not say.
pub const PAGE_DEFAULT: u32 = 100;

/// Parts by which a request names what it is about; they come first.
const NAMING: [&str; 3] = ["id", "store", "reason"];

/// The URL.
pub fn routes(handset: &Handset) -> Router {
    let options = || async { (StatusCode::NO_CONTENT, [(ALLOW, "GET, HEAD, OPTIONS")]) };
    Router::new()
        .route("/audit", get(list).options(options))
        .with_state(handset.gate.clone())
}

async fn list(
    State(gate): State<Gate>,
    Extension(Caller(user)): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let format = wanted(&headers)?;
    let (before, limit) = paging(uri.query().unwrap_or_default())?;
    let filter = Filter {
        whose: user.map_or(Whose::Nobody, |user| Whose::Own(user.as_ref().to_owned())),
        ..Filter::default()
    };
    let (lines, more) = match gate.notifier() {
        Some(notifier) => notifier.audit_page(filter, before, limit).await?,
        None => (Vec::new(), false),
    };
    let next = lines.last().filter(|_| more).map(|last| {
        let prefix = prefix(&headers);
        format!("{prefix}/audit?before={}&limit={limit}", last.id)
    });
    let body = match format {
        Format::Json => {
            let lines: Vec<_> = lines.iter().map(line).collect();
            json!({"audit": lines, "next": next}).to_string()
        }
        Format::Xml => xml(&lines, next.as_deref()),
    };
    let told = [
        (CONTENT_TYPE, format.content_type()),
        (CACHE_CONTROL, "no-store"),
        (VARY, "Accept"),
    ];
    let mut response = (told, Body::from(body)).into_response();
    let link = next.and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok());
    if let Some(link) = link {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// `limit` and `before`. Other keys are left to whoever put them there.
fn paging(query: &str) -> Result<(i64, u32), Problem> {
    let (mut before, mut limit) = (i64::MAX, PAGE_DEFAULT);
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("limit", value)) => {
                let number = value.parse().ok();
                limit = number
                    .filter(|limit| (1..=PAGE_MAX).contains(limit))
                    .ok_or_else(|| {
                        let detail = format!("limit: must be a number from 1 to {PAGE_MAX}.");
                        Problem::new(Kind::BadQuery, detail)
                    })?;
            }
            Some(("before", value)) => {
                let number = value.parse().ok();
                before = number.filter(|before| *before > 0).ok_or_else(|| {
                    Problem::new(Kind::BadQuery, "before: must be what a page's `next` says.")
                })?;
            }
            _ => {}
        }
    }
    Ok((before, limit))
}

/// What the request said: all of what it adds or executes; of what it reads or deletes, which one it names.
fn said(told: &Told) -> &[Part] {
    let all = [Action::Add, Action::Execute].map(Action::name);
    match told.content.first() {
        _ if all.contains(&&*told.action) => &told.content,
        Some(first) if NAMING.contains(&&*first.name) => std::slice::from_ref(first),
        _ => &[],
    }
}

/// A line, without the user: it is the caller.
fn line(told: &Told) -> serde_json::Value {
    json!({
        "id": told.id.to_string(),
        "at": told.at.rfc3339(),
        "resource": told.resource,
        "action": told.action,
        "content": said(told),
        "decision": told.decision(),
        "by": told.by,
        "outcome": told.outcome,
        "ended": told.ended.map(Moment::rfc3339),
        "times": told.times,
    })
}

fn xml(lines: &[Told], next: Option<&str>) -> String {
    let mut body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<audit".to_owned();
    // Writing into a String never fails.
    if let Some(next) = next {
        let _ = write!(body, " next=\"{}\"", escape(next));
    }
    body.push_str(">\n");
    for told in lines {
        let _ = write!(
            body,
            "<line id=\"{}\" at=\"{}\" resource=\"{}\" action=\"{}\" decision=\"{}\" by=\"{}\"",
            told.id,
            told.at.rfc3339(),
            escape(&told.resource),
            escape(&told.action),
            told.decision(),
            escape(&told.by),
        );
        if let Some(ended) = told.ended {
            let _ = write!(body, " ended=\"{}\"", ended.rfc3339());
        }
        let _ = write!(body, " times=\"{}\">", told.times);
        for part in said(told) {
            let (name, text) = (escape(&part.name), escape(&part.text));
            let _ = write!(body, "<content name=\"{name}\">{text}</content>");
        }
        if let Some(outcome) = &told.outcome {
            let _ = write!(body, "<outcome>{}</outcome>", escape(outcome));
        }
        body.push_str("</line>\n");
    }
    body.push_str("</audit>\n");
    body
}
