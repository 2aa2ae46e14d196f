//! What went wrong with a request, and the one place where that becomes a status and a body (RFC 9457).
//!
//! Handlers return a [`Problem`]; [`render`] turns it into JSON or XML once the caller's `Accept` is at hand.

use std::fmt::Write;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderName, HeaderValue, StatusCode};
use quick_xml::escape::escape;
use serde::Serialize;

use super::representation::Format;
use super::resource::FieldError;
use super::store::StoreError;
use crate::device::DeviceError;

/// An error that a caller is told.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: Kind,
    detail: String,
    field: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Every kind of problem: `docs/agent-api.md` lists them, and a test holds the two against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A body that does not fit the resource.
    BadItem,
    /// A query that can't be read.
    BadQuery,
    /// No identity, or a wrong password.
    Unauthorized,
    /// Too many attempts failed, or come at once.
    TooManyAttempts,
    /// No resource of this name, or no item of this id.
    NotFound,
    /// A method that this URL does not have.
    MethodNotAllowed,
    /// `Accept` names no form that there is.
    NotAcceptable,
    /// `Range` asks for bytes behind the last one.
    RangeNotSatisfiable,
    /// An item of which there is no small picture.
    NoThumbnail,
    /// What it takes is in use by other requests.
    Busy,
    /// The body did not come in time.
    BodyTimeout,
    /// The body is larger than an item may be.
    TooLarge,
    /// `Content-Type` names no form that is read.
    UnsupportedMediaType,
    /// The handset's fault: its log tells more.
    Internal,
    /// The store has no room.
    StoreFull,
    /// The owner denied it for good.
    Denied,
    /// The owner denied it this time.
    DeniedNow,
    /// The owner was asked, and did not answer in time.
    NoAnswer,
    /// The owner is asked too much already.
    TooManyPrompts,
    /// It is not what the caller read before (`If-Match`).
    Changed,
    /// The memory that was chosen can't hold it.
    DoesNotFit,
    /// There is no SIM card in the handset.
    NoSim,
    /// An `Idempotency-Key` that is none.
    BadKey,
    /// An `Idempotency-Key` that came with another request before.
    KeyReused,
    /// The first request with this `Idempotency-Key` is not done yet.
    InProgress,
    /// As many tasks are running as may be.
    TooManyTasks,
    /// As many callers listen to events as may.
    TooManyListeners,
    /// The response to an asynchronous request is no longer kept.
    ResponseGone,
    /// A task that can't be ended early.
    NotStoppable,
    /// The hardware can't do it, ever.
    UnsupportedByDevice,
    /// The hardware is in use.
    DeviceBusy,
    /// There is no radio network.
    NoCoverage,
    /// The radio network did not take it.
    RefusedByNetwork,
    /// The hardware failed.
    DeviceFailed,
    /// There is no video to end.
    NotRecording,
}

impl Kind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::BadItem,
        Self::BadQuery,
        Self::Unauthorized,
        Self::TooManyAttempts,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RangeNotSatisfiable,
        Self::NoThumbnail,
        Self::Busy,
        Self::BodyTimeout,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Internal,
        Self::StoreFull,
        Self::Denied,
        Self::DeniedNow,
        Self::NoAnswer,
        Self::TooManyPrompts,
        Self::Changed,
        Self::DoesNotFit,
        Self::NoSim,
        Self::BadKey,
        Self::KeyReused,
        Self::InProgress,
        Self::TooManyTasks,
        Self::TooManyListeners,
        Self::ResponseGone,
        Self::NotStoppable,
        Self::NotRecording,
        Self::UnsupportedByDevice,
        Self::DeviceBusy,
        Self::NoCoverage,
        Self::RefusedByNetwork,
        Self::DeviceFailed,
    ];

    /// Status, slug and title.
    pub fn told(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadItem => (
                StatusCode::BAD_REQUEST,
                "bad-item",
                "The item can't be read",
            ),
            Self::BadQuery => (
                StatusCode::BAD_REQUEST,
                "bad-query",
                "The query can't be read",
            ),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "A user name and a password are needed",
            ),
            Self::TooManyAttempts => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-attempts",
                "Too many attempts to sign in",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is nothing here"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This URL does not have that method",
            ),
            Self::NotAcceptable => (
                StatusCode::NOT_ACCEPTABLE,
                "not-acceptable",
                "There is no such representation",
            ),
            Self::RangeNotSatisfiable => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range-not-satisfiable",
                "There are no such bytes",
            ),
            Self::NoThumbnail => (
                StatusCode::NOT_FOUND,
                "no-thumbnail",
                "There is no small picture of this",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "The handset has too much to do at once",
            ),
            Self::BodyTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "body-timeout",
                "The body did not come in time",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The body is too large",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Bodies of this type are not read",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "The handset failed",
            ),
            Self::StoreFull => (
                StatusCode::INSUFFICIENT_STORAGE,
                "store-full",
                "The handset has no room for it",
            ),
            Self::Denied => (
                StatusCode::FORBIDDEN,
                "denied",
                "The owner does not permit it",
            ),
            Self::DeniedNow => (
                StatusCode::FORBIDDEN,
                "denied-now",
                "The owner does not permit it now",
            ),
            Self::NoAnswer => (
                StatusCode::FORBIDDEN,
                "no-answer",
                "The owner did not answer",
            ),
            Self::TooManyPrompts => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-prompts",
                "The owner is asked too much already",
            ),
            Self::Changed => (
                StatusCode::PRECONDITION_FAILED,
                "changed",
                "It has changed meanwhile",
            ),
            Self::DoesNotFit => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "does-not-fit",
                "It does not fit into that memory",
            ),
            Self::NoSim => (
                StatusCode::CONFLICT,
                "no-sim",
                "There is no SIM card in the handset",
            ),
            Self::BadKey => (
                StatusCode::BAD_REQUEST,
                "bad-key",
                "The Idempotency-Key can't be read",
            ),
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "key-reused",
                "The Idempotency-Key belongs to another request",
            ),
            Self::InProgress => (
                StatusCode::CONFLICT,
                "in-progress",
                "The first request with this key is not done yet",
            ),
            Self::TooManyTasks => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-tasks",
                "The handset is doing as much as it can",
            ),
            Self::TooManyListeners => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too-many-listeners",
                "As many callers listen as may",
            ),
            Self::NotStoppable => (
                StatusCode::CONFLICT,
                "not-stoppable",
                "The task can't be ended now",
            ),
            Self::ResponseGone => (
                StatusCode::GONE,
                "response-gone",
                "The response is no longer kept",
            ),
            Self::UnsupportedByDevice => (
                StatusCode::NOT_IMPLEMENTED,
                "unsupported-by-device",
                "This handset can't do that",
            ),
            Self::DeviceBusy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "device-busy",
                "The handset is in use",
            ),
            Self::NoCoverage => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no-coverage",
                "The handset has no coverage",
            ),
            Self::RefusedByNetwork => (
                StatusCode::BAD_GATEWAY,
                "refused-by-network",
                "The radio network did not take it",
            ),
            Self::DeviceFailed => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "device-failed",
                "The handset's hardware failed",
            ),
            Self::NotRecording => (
                StatusCode::CONFLICT,
                "not-recording",
                "No video is being recorded",
            ),
        }
    }
}

impl Problem {
    /// A problem of this kind; `detail` says what the caller can do about it.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            field: None,
            headers: Vec::new(),
        }
    }

    /// A problem with one field of an item.
    pub fn of_field(kind: Kind, error: FieldError) -> Self {
        Self {
            field: Some(error.field.clone()),
            ..Self::new(kind, error.to_string())
        }
    }

    /// The same with a header of its own: a challenge, a `Retry-After`.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// What the caller can do about it.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self {
            kind: Kind::BadItem,
            detail: error.to_string(),
            field: Some(error.field),
            headers: Vec::new(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if let StoreError::Full = error {
            return Self::new(Kind::StoreFull, "Delete something, then add it again.");
        }
        tracing::error!(%error, "a request failed");
        Self::new(
            Kind::Internal,
            "Its store could not be used; nothing was changed.",
        )
    }
}

impl From<DeviceError> for Problem {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::Unsupported(what) => Self::new(
                Kind::UnsupportedByDevice,
                format!("It has no {what}. GET /capabilities says what it has."),
            ),
            DeviceError::Busy(why) => Self::new(
                Kind::DeviceBusy,
                format!("Nothing was done: {why}. Try again when that is over."),
            ),
            DeviceError::NoCoverage => Self::new(
                Kind::NoCoverage,
                "Nothing was sent. Try again when GET /state/coverage shows a network.",
            ),
            DeviceError::NotRecording => Self::new(
                Kind::NotRecording,
                "Begin one by POST /services/record-video.",
            ),
            DeviceError::Refused(why) => {
                Self::new(Kind::RefusedByNetwork, format!("The network said: {why}."))
            }
            // What hardware says of itself may name files and parts of the handset: it is the owner's to read.
            DeviceError::Failed(why) => {
                tracing::error!(%why, "the hardware failed");
                Self::new(Kind::DeviceFailed, "The agent's log says why.")
            }
        }
    }
}

impl IntoResponse for Problem {
    /// The status alone, with the problem kept beside it for [`render`].
    fn into_response(self) -> Response {
        let mut response = self.kind.told().0.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives a response that carries a problem its headers and its body.
pub fn render(mut response: Response, format: Format) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(format.problem_type()),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    match problem.kind {
        Kind::Internal => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("10"));
        }
        Kind::InProgress | Kind::Busy => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Kind::TooManyTasks | Kind::TooManyListeners | Kind::DeviceBusy | Kind::NoCoverage => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("30"));
        }
        // `Allow` comes from the router, which knows the methods.
        _ => {}
    }
    for (name, value) in &problem.headers {
        headers.append(name, value.clone());
    }
    let body = match format {
        Format::Json => problem.json(),
        Format::Xml => problem.xml(),
    };
    *response.body_mut() = Body::from(body);
    response
}

/// The members in the order in which a person reads them.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl Problem {
    fn json(&self) -> String {
        let (status, slug, title) = self.kind.told();
        let body = Told {
            kind: format!("urn:everline:agent:{slug}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            field: self.field.as_deref(),
        };
        // Text and a number always serialize.
        serde_json::to_string(&body).unwrap_or_default()
    }

    fn xml(&self) -> String {
        let (status, slug, title) = self.kind.told();
        let mut body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<problem xmlns=\"urn:ietf:rfc:7807\">\
             <type>urn:everline:agent:{slug}</type><title>{}</title><status>{}</status><detail>{}</detail>",
            escape(title),
            status.as_u16(),
            escape(shown(&self.detail))
        );
        if let Some(field) = &self.field {
            let _ = write!(body, "<field>{}</field>", escape(shown(field)));
        }
        body.push_str("</problem>\n");
        body
    }
}

/// Text that may repeat what a caller sent, without the characters that no XML may hold (XML 1.0, 2.2).
fn shown(text: &str) -> String {
    let held = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.replace(|c| !held(c), "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r17_a_problem_in_xml_repeats_nothing_that_xml_can_not_hold() {
        let error = FieldError::new("a\u{fffe}b", "no\u{1}thing <&>");
        let xml = Problem::from(error).xml();
        assert!(xml.contains("<field>a\u{fffd}b</field>"), "{xml}");
        assert!(xml.contains("no\u{fffd}thing &lt;&amp;&gt;"), "{xml}");
    }
}
