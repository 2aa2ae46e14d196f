//! Bodies and queries of the owner's API: bounded, and wrong ones told by field.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{StatusCode, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::resource::FieldError;

/// Bytes of a body at most.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The body's JSON.
pub(super) async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let whole = to_bytes(request.into_body(), BODY_BYTES_MAX);
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, whole).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let detail = format!("A body has {BODY_BYTES_MAX} bytes at most, and comes whole.");
            return Err(Problem::new(Kind::TooLarge, detail));
        }
        Err(_) => {
            let detail = format!("It may take {} seconds.", BODY_TIMEOUT.as_secs());
            return Err(Problem::new(Kind::BodyTimeout, detail));
        }
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(Kind::BadItem, format!("The body does not fit: {error}")))
}

/// A field that does not fit.
pub(super) fn wrong(field: &str, fault: impl Into<String>) -> Problem {
    FieldError::new(field, fault).into()
}

/// The pairs of a query, decoded.
pub(super) fn pairs(uri: &Uri) -> Vec<(String, String)> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .into_owned()
        .collect()
}

/// A number of a query, within its range.
pub(super) fn number<T>(key: &str, text: &str, least: T, most: T) -> Result<T, Problem>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let number = text.parse().ok();
    number
        .filter(|number| least <= *number && *number <= most)
        .ok_or_else(|| {
            let detail = format!("{key}: must be a number from {least} to {most}.");
            Problem::new(Kind::BadQuery, detail)
        })
}

/// A pair that no query here has.
pub(super) fn unknown(key: &str, known: &str) -> Problem {
    let detail = format!("{key:?} is not known here; there are {known}.");
    Problem::new(Kind::BadQuery, detail)
}

/// An id of a path.
pub(super) fn id<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, Problem> {
    text.parse().map_err(|_not_a_number| gone(what))
}

/// What is not there (any more).
pub(super) fn gone(what: &str) -> Problem {
    let detail = format!("There is no such {what}. It may be gone.");
    Problem::new(Kind::NotFound, detail)
}

/// JSON as a response.
pub(super) fn told(status: StatusCode, json: &impl Serialize) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    // Text, numbers and lists of them always serialize.
    let body = serde_json::to_vec(json).unwrap_or_default();
    (status, headers, Body::from(body)).into_response()
}
