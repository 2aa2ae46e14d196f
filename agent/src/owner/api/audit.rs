//! The audit log for the owner: pages for the screen, and all of it as a file to keep.
//!
//! A file is read from the store part by part while it is sent, so its size costs no memory and nobody waits for it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream::try_unfold;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{StatusCode, Uri};
use serde_json::{Value as Json, json};

use super::body::{number, pairs, told, unknown};
use super::{Owner, Shared};
use crate::serve::builtin::consent::Moment;
use crate::serve::builtin::consent::log::{Filter, Told, Whose};
use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::store::StoreError;

/// Lines of a page at most.
const PAGE_MAX: u32 = 1_000;

/// Lines of a page if nothing is said.
const PAGE_DEFAULT: u32 = 100;

/// Lines of a file that are read at a time.
const PART: u32 = 500;

/// The columns of the CSV file.
const COLUMNS: &str = "id,at,user,resource,action,content,decision,by,outcome,ended,times\r\n";

/// `GET /api/audit`.
pub(super) async fn page(State(owner): Shared, uri: Uri) -> Result<Response, Problem> {
    let mut kept = Vec::new();
    let (mut filter, mut before, mut limit) = (Filter::default(), i64::MAX, PAGE_DEFAULT);
    for (key, value) in pairs(&uri) {
        match key.as_str() {
            "before" => before = number("before", &value, 1, i64::MAX)?,
            "limit" => limit = number("limit", &value, 1, PAGE_MAX)?,
            key => {
                filtered(&mut filter, key, &value)?;
                kept.push((key.to_owned(), value));
            }
        }
    }
    let (lines, more) = owner.notifier.audit_page(filter, before, limit).await?;
    let next = lines.last().filter(|_| more).map(|last| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(kept);
        query.append_pair("before", &last.id.to_string());
        query.append_pair("limit", &limit.to_string());
        format!("/api/audit?{}", query.finish())
    });
    let lines: Vec<_> = lines.iter().map(line).collect();
    Ok(told(StatusCode::OK, &json!({"audit": lines, "next": next})))
}

fn filtered(filter: &mut Filter, key: &str, value: &str) -> Result<(), Problem> {
    match key {
        "user" => filter.whose = Whose::User(value.to_owned()),
        "resource" => filter.resource = Some(value.to_owned()),
        "action" => filter.action = Some(value.to_owned()),
        "decision" => {
            filter.permitted = Some(match value {
                "allowed" => true,
                "denied" => false,
                _ => {
                    let detail = "decision: must be allowed or denied.";
                    return Err(Problem::new(Kind::BadQuery, detail));
                }
            });
        }
        key => {
            let known = "user, resource, action, decision, and for a page limit and before";
            return Err(unknown(key, known));
        }
    }
    Ok(())
}

/// A line as JSON.
fn line(told: &Told) -> Json {
    json!({
        "id": told.id.to_string(),
        "at": told.at.rfc3339(),
        "user": told.user,
        "resource": told.resource,
        "action": told.action,
        "content": told.content,
        "decision": told.decision(),
        "by": told.by,
        "outcome": told.outcome,
        "ended": told.ended.map(Moment::rfc3339),
        "times": told.times,
    })
}

/// `GET /api/audit.jsonl`.
pub(super) async fn json_lines(State(owner): Shared, uri: Uri) -> Result<Response, Problem> {
    let written = |told: &Told| format!("{}\n", line(told));
    file(
        &owner,
        &uri,
        ("application/jsonl", "audit.jsonl"),
        "",
        written,
    )
}

/// `GET /api/audit.csv`: RFC 4180.
pub(super) async fn csv(State(owner): Shared, uri: Uri) -> Result<Response, Problem> {
    let form = ("text/csv; charset=utf-8; header=present", "audit.csv");
    file(&owner, &uri, form, COLUMNS, row)
}

fn file(
    owner: &Owner,
    uri: &Uri,
    (media_type, name): (&'static str, &str),
    head: &'static str,
    written: fn(&Told) -> String,
) -> Result<Response, Problem> {
    let mut filter = Filter::default();
    for (key, value) in pairs(uri) {
        filtered(&mut filter, &key, &value)?;
    }
    let notifier = Arc::clone(&owner.notifier);
    let parts = try_unfold(Some((head.to_owned(), 0)), move |state| {
        let (notifier, filter) = (Arc::clone(&notifier), filter.clone());
        async move {
            let Some((mut part, after)) = state else {
                return Ok::<_, StoreError>(None);
            };
            let (lines, more) = notifier.audit_file(filter, after, PART).await?;
            part.extend(lines.iter().map(written));
            let next = lines.last().filter(|_| more);
            Ok(Some((part, next.map(|last| (String::new(), last.id)))))
        }
    });
    let headers = [
        (CONTENT_TYPE, media_type.to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(parts)).into_response())
}

fn row(told: &Told) -> String {
    let content: Vec<_> = told
        .content
        .iter()
        .map(|part| format!("{}: {}", part.name, part.text))
        .collect();
    let cells = [
        told.id.to_string(),
        told.at.rfc3339(),
        told.user.clone().unwrap_or_default(),
        told.resource.clone(),
        told.action.clone(),
        content.join("; "),
        told.decision().to_owned(),
        told.by.clone(),
        told.outcome.clone().unwrap_or_default(),
        told.ended.map(Moment::rfc3339).unwrap_or_default(),
        told.times.to_string(),
    ];
    let cells: Vec<_> = cells.into_iter().map(cell).collect();
    format!("{}\r\n", cells.join(","))
}

/// A cell that a spreadsheet would take for a formula gets a quote before it: remote users choose what stands here.
fn cell(mut text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        text.insert(0, '\'');
    }
    if text.contains([',', '"', '\r', '\n']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_one_cell_and_is_no_formula() {
        for (text, written) in [
            ("alice", "alice"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"\r\n", "\"say \"\"hi\"\"\r\n\""),
            ("=1+1", "'=1+1"),
            ("+34,5", "\"'+34,5\""),
            ("", ""),
        ] {
            assert_eq!(cell(text.to_owned()), written);
        }
    }
}
