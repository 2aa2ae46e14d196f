//! Every way in which a request can fail, mapped in this one place to status, slug, fault and retry (PROTOCOL 5.4).
//!
//! Stages return a [`Problem`]; `respond` writes it as `application/problem+json` (RFC 9457) and counts its slug.

use std::time::Duration;

use http::StatusCode;

/// Why a request did not end in the handset's response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Malformed or ambiguous HTTP; the text says what.
    #[error("the request is not well formed: {0}")]
    BadRequest(&'static str),
    /// The Host or path names no MSISDN in a domain of this gateway.
    #[error("neither the host nor the path names a handset of this gateway")]
    NoSuchHost,
    /// CONNECT, which no handset serves.
    #[error("the method CONNECT is not served")]
    MethodNotAllowed,
    /// No session, and none came back in time.
    #[error("the handset is not connected")]
    HandsetOffline {
        /// When to try again.
        retry_after: Duration,
    },
    /// Over the limit of requests in flight for one handset.
    #[error("the handset already has as many requests in flight as it may")]
    HandsetBusy,
    /// Over the limit of requests in flight for one caller address.
    #[error("this caller already has as many requests in flight as it may")]
    CallerLimited,
    /// The data channel closed early or spoke bad HTTP; the text says what.
    #[error("the handset's answer broke off: {0}")]
    HandsetBroke(&'static str),
    /// The gateway sheds load.
    #[error("the gateway is overloaded")]
    Overloaded,
    /// The gateway is leaving.
    #[error("the gateway is draining")]
    Draining,
    /// No data channel within the wake timeout.
    #[error("the handset did not answer its wake-up")]
    HandsetSilent,
    /// No response head within the response timeout.
    #[error("the handset took the request and did not answer in time")]
    ResponseTimeout,
    /// The request's body is larger than the gateway passes on.
    #[error("the request's body is too large")]
    TooLarge,
    /// The request's header fields are larger or more than the gateway passes on.
    #[error("the request's header fields are too large or too many")]
    HeadersTooLarge,
    /// The request did not arrive whole in time.
    #[error("the request did not arrive in time")]
    RequestTimeout,
}

/// Whose fault a problem is, for the log and the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller's.
    Caller,
    /// The handset's, or its network's.
    Handset,
    /// Ours.
    Gateway,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The HTTP status.
    pub status: StatusCode,
    /// `type` is `urn:everline:<slug>`; also the metric's label.
    pub slug: &'static str,
    /// Whose fault it is.
    pub fault: Fault,
}

/// Every slug, for the metrics that are described before they first count.
pub const SLUGS: [&str; 14] = [
    "bad-request",
    "no-such-host",
    "method-not-allowed",
    "handset-offline",
    "handset-busy",
    "caller-limited",
    "handset-broke",
    "overloaded",
    "draining",
    "handset-silent",
    "response-timeout",
    "too-large",
    "headers-too-large",
    "request-timeout",
];

impl Problem {
    /// The one mapping.
    pub fn row(&self) -> Row {
        use Fault::{Caller, Gateway, Handset};
        let (status, slug, fault) = match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad-request", Caller),
            Self::NoSuchHost => (StatusCode::NOT_FOUND, "no-such-host", Caller),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", Caller)
            }
            Self::HandsetOffline { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "handset-offline", Handset)
            }
            Self::HandsetBusy => (StatusCode::TOO_MANY_REQUESTS, "handset-busy", Caller),
            Self::CallerLimited => (StatusCode::TOO_MANY_REQUESTS, "caller-limited", Caller),
            Self::HandsetBroke(_) => (StatusCode::BAD_GATEWAY, "handset-broke", Handset),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", Gateway),
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining", Gateway),
            Self::HandsetSilent => (StatusCode::GATEWAY_TIMEOUT, "handset-silent", Handset),
            Self::ResponseTimeout => (StatusCode::GATEWAY_TIMEOUT, "response-timeout", Handset),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", Caller),
            Self::HeadersTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers-too-large",
                Caller,
            ),
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "request-timeout", Caller),
        };
        Row {
            status,
            slug,
            fault,
        }
    }

    /// What `Retry-After` says, for the rows that carry it.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::HandsetOffline { retry_after } => Some(*retry_after),
            Self::HandsetBusy | Self::CallerLimited => Some(Duration::from_secs(1)),
            Self::Overloaded | Self::Draining => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}
