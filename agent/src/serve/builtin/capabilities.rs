//! `GET /capabilities`: what this handset's hardware can do, so that a caller need not try.
//!
//! Nothing personal is in it, so the owner is not asked.

use std::fmt::Write;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderMap, StatusCode};

use super::answer;
use super::handset::Handset;
use super::problem::Problem;
use super::representation::Format;
use crate::device::Capabilities;

/// Its one URL.
pub fn routes(handset: &Handset) -> Router {
    let options = || async { (StatusCode::NO_CONTENT, [(ALLOW, "GET, HEAD, OPTIONS")]) };
    Router::new()
        .route("/capabilities", get(show).options(options))
        .with_state(handset.clone())
}

async fn show(State(handset): State<Handset>, headers: HeaderMap) -> Result<Response, Problem> {
    let format = answer::wanted(&headers)?;
    let told = handset.device.capabilities();
    let body = match format {
        // Flags and a number always serialize.
        Format::Json => serde_json::to_string(&told).unwrap_or_default(),
        Format::Xml => xml(&told),
    };
    let headers = [
        (CONTENT_TYPE, format.content_type()),
        (CACHE_CONTROL, "no-store"),
        (VARY, "Accept"),
    ];
    Ok((headers, Body::from(body)).into_response())
}

/// The same names and values as in JSON, one element for each.
fn xml(told: &Capabilities) -> String {
    let mut body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<capabilities>".to_owned();
    if let Ok(serde_json::Value::Object(members)) = serde_json::to_value(told) {
        for (name, value) in members {
            // Writing into a string does not fail.
            let _ = write!(body, "<{name}>{value}</{name}>");
        }
    }
    body.push_str("</capabilities>\n");
    body
}
