//! Responses with an item or a list that no collection keeps: state, tasks, what a service tells.
//!
//! They look like those of the personal data: JSON or XML by `Accept`, from the same descriptions.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use blake2::{Blake2s256, Digest};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::personal_data::Page;
use super::problem::{Kind, Problem};
use super::representation::Format;
use super::resource::Resource;
use super::store::Stored;
use super::{json, xml};

/// The form that the caller likes best.
pub fn wanted(headers: &HeaderMap) -> Result<Format, Problem> {
    Format::wanted(headers).ok_or_else(|| {
        Problem::new(
            Kind::NotAcceptable,
            "Accept application/json or application/xml.",
        )
    })
}

/// One item.
pub fn item(resource: &Resource, stored: &Stored, status: StatusCode, format: Format) -> Response {
    let body = match format {
        Format::Json => json::item(resource, stored),
        Format::Xml => xml::item(resource, stored),
    };
    represented(status, format, body)
}

/// One page of a list.
pub fn list(resource: &Resource, page: &Page, format: Format) -> Response {
    let body = match format {
        Format::Json => json::list(resource, page),
        Format::Xml => xml::list(resource, page),
    };
    represented(StatusCode::OK, format, body)
}

/// One item with the tag of what it says now; nothing but that for a caller who has it.
pub fn tagged(
    resource: &Resource,
    stored: &Stored,
    headers: &HeaderMap,
    format: Format,
) -> Response {
    let body = match format {
        Format::Json => json::item(resource, stored),
        Format::Xml => xml::item(resource, stored),
    };
    let digest = Blake2s256::digest(&body);
    let digits: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let tag = format!("\"{digits}\"");
    let known = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == tag || known == "*");
    let mut response = match known {
        true => represented(StatusCode::NOT_MODIFIED, format, Vec::new()),
        false => represented(StatusCode::OK, format, body),
    };
    if known {
        response.headers_mut().remove(CONTENT_TYPE);
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

fn represented(status: StatusCode, format: Format, body: Vec<u8>) -> Response {
    let headers = [
        (CONTENT_TYPE, format.content_type()),
        (CACHE_CONTROL, "no-store"),
        (VARY, "Accept"),
    ];
    (status, headers, Body::from(body)).into_response()
}
