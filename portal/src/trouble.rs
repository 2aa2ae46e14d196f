//! What can come between a remote user and the handset, and what a page says about it: one table (R76).
//!
//! Each trouble becomes a status, what happened, and what to do. The handset's own words are kept beside it.

use http::StatusCode;
use serde_json::Value;

/// Longest of the handset's own words that a page shows, in characters.
const SAID_CHARS_MAX: usize = 500;

/// Why the handset did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing answers at the gateway's address.
    GatewayAway,
    /// No answer within the portal's own limit.
    TooSlow,
    /// The gateway said why it has no answer (PROTOCOL 5.4).
    Gateway(Told),
    /// The handset does not accept the user's name and password.
    Credentials,
    /// The handset's owner does not allow it.
    Denied(Told),
    /// The handset has no such item or resource.
    Missing(Told),
    /// The handset does not want what it was sent.
    Refused(Told),
    /// The handset failed.
    Failed(Told),
    /// The answer is not what the API promises.
    Nonsense,
    /// The answer is over the portal's limit.
    TooLarge,
}

/// What an error answer said of itself (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its status.
    pub status: StatusCode,
    /// The last part of a `urn:everline:…` type; empty for any other.
    pub slug: String,
    /// Its title and detail, cut to a decent length.
    pub said: Option<String>,
    /// Seconds to wait before the next attempt.
    pub retry_after: Option<u32>,
    /// The gateway's name for the request, for whoever looks into its log.
    pub request_id: Option<String>,
}

/// A trouble, ready for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explained {
    /// The page's status.
    pub status: StatusCode,
    /// The heading.
    pub title: &'static str,
    /// What happened.
    pub happened: &'static str,
    /// What to do about it.
    pub advice: &'static str,
    /// For the log.
    pub slug: &'static str,
}

impl Told {
    /// Reads an error answer; a body that is no problem document leaves just the status.
    pub fn read(
        status: StatusCode,
        retry_after: Option<u32>,
        is_problem: bool,
        body: &[u8],
    ) -> Self {
        let json = if is_problem {
            serde_json::from_slice(body).unwrap_or(Value::Null)
        } else {
            Value::Null
        };
        let text = |name: &str| {
            json.get(name)
                .and_then(Value::as_str)
                .map(str::trim)
                .filter(|text| !text.is_empty())
        };
        let said = match (text("title"), text("detail")) {
            (Some(title), Some(detail)) if title != detail => Some(format!("{title}: {detail}")),
            (title, detail) => title.or(detail).map(str::to_owned),
        };
        let slug = text("type")
            .and_then(|kind| kind.strip_prefix("urn:everline:"))
            .unwrap_or_default();
        let request_id = text("request_id")
            .filter(|id| id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic()));
        Self {
            status,
            slug: slug.chars().take(64).collect(),
            said: said.map(|said| said.chars().take(SAID_CHARS_MAX).collect()),
            retry_after: retry_after.filter(|seconds| *seconds <= 86_400),
            request_id: request_id.map(str::to_owned),
        }
    }

    /// Says which trouble it is: the gateway's where it names itself, otherwise the handset's, by status.
    pub fn into_trouble(self) -> Trouble {
        // The gateway always names the request (PROTOCOL 5.4); a handset may use the same slugs for its own errors.
        if self.request_id.is_some() && gateway_explains(&self.slug).is_some() {
            return Trouble::Gateway(self);
        }
        match self.status {
            StatusCode::UNAUTHORIZED => Trouble::Credentials,
            StatusCode::FORBIDDEN => Trouble::Denied(self),
            StatusCode::NOT_FOUND | StatusCode::GONE => Trouble::Missing(self),
            status if status.is_client_error() => Trouble::Refused(self),
            status if status.is_server_error() => Trouble::Failed(self),
            _ => Trouble::Nonsense,
        }
    }
}

impl Trouble {
    /// What the page says.
    pub(crate) fn explain(&self) -> Explained {
        match self {
            Self::GatewayAway => GATEWAY_AWAY,
            Self::TooSlow => TOO_SLOW,
            Self::Gateway(told) => gateway_explains(&told.slug).unwrap_or(FAILED),
            Self::Credentials => CREDENTIALS,
            Self::Denied(_) => DENIED,
            Self::Missing(_) => MISSING,
            Self::Refused(told) => REFUSED.with(told.status),
            Self::Failed(told) if told.status == StatusCode::INSUFFICIENT_STORAGE => NO_ROOM,
            // A handset's own failure is, for the browser, that of a server behind this one.
            Self::Failed(told) if told.status == StatusCode::INTERNAL_SERVER_ERROR => FAILED,
            Self::Failed(told) => FAILED.with(told.status),
            Self::Nonsense => NONSENSE,
            Self::TooLarge => TOO_LARGE,
        }
    }

    /// Whether an action that ended like this may have been done all the same.
    pub(crate) fn is_uncertain(&self) -> bool {
        match self {
            Self::TooSlow | Self::Nonsense | Self::TooLarge => true,
            Self::Gateway(told) => {
                matches!(told.slug.as_str(), "handset-broke" | "response-timeout")
            }
            _ => false,
        }
    }

    /// What the answer said of itself, when there was one.
    pub fn told(&self) -> Option<&Told> {
        match self {
            Self::Gateway(told)
            | Self::Denied(told)
            | Self::Missing(told)
            | Self::Refused(told)
            | Self::Failed(told) => Some(told),
            Self::GatewayAway
            | Self::TooSlow
            | Self::Credentials
            | Self::Nonsense
            | Self::TooLarge => None,
        }
    }
}

impl Explained {
    const fn new(
        status: StatusCode,
        slug: &'static str,
        [title, happened, advice]: [&'static str; 3],
    ) -> Self {
        Self {
            status,
            title,
            happened,
            advice,
            slug,
        }
    }

    fn with(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

const TRY_LATER: &str = "Try again in a moment.";
const LOOK_FIRST: &str = "Look whether it was done before you try again.";

const GATEWAY_AWAY: Explained = Explained::new(
    StatusCode::BAD_GATEWAY,
    "gateway-away",
    [
        "The gateway can't be reached",
        "This web site could not connect to the gateway that handsets are reached through.",
        "This is not about your handset. Try again in a few minutes; if it stays, tell whoever runs this site.",
    ],
);
const TOO_SLOW: Explained = Explained::new(
    StatusCode::GATEWAY_TIMEOUT,
    "too-slow",
    [
        "The handset took too long",
        "There was no answer in time. It may still be at work, or have poor coverage.",
        LOOK_FIRST,
    ],
);
const CREDENTIALS: Explained = Explained::new(
    StatusCode::UNAUTHORIZED,
    "credentials",
    [
        "The handset did not accept your sign-in",
        "The handset does not know this user name and password, or no longer accepts them.",
        "Sign in again. User names and passwords are set by the owner, in the handset.",
    ],
);
const DENIED: Explained = Explained::new(
    StatusCode::FORBIDDEN,
    "denied",
    [
        "The handset's owner did not allow it",
        "You are signed in, but this is not allowed to you, or nobody was there to allow it.",
        "Ask whoever carries the handset to give you access, then try again.",
    ],
);
const MISSING: Explained = Explained::new(
    StatusCode::NOT_FOUND,
    "missing",
    [
        "The handset does not have this",
        "What you asked for is not there; it may have been deleted, or this handset does not offer it.",
        "Go back and look at what there is now.",
    ],
);
const REFUSED: Explained = Explained::new(
    StatusCode::BAD_REQUEST,
    "refused",
    [
        "The handset did not take it",
        "The handset answered, but refused what it was asked for.",
        "See what it says, change what is wrong, and try again.",
    ],
);
const NO_ROOM: Explained = Explained::new(
    StatusCode::INSUFFICIENT_STORAGE,
    "no-room",
    [
        "The handset is full",
        "The handset has no room for more.",
        "Delete what is no longer needed, then try again.",
    ],
);
const FAILED: Explained = Explained::new(
    StatusCode::BAD_GATEWAY,
    "handset-failed",
    [
        "Something went wrong in the handset",
        "The handset was reached, but could not do what it was asked for.",
        TRY_LATER,
    ],
);
const NONSENSE: Explained = Explained::new(
    StatusCode::BAD_GATEWAY,
    "nonsense",
    [
        "The handset's answer can't be read",
        "An answer came back, but not one that this page understands. The handset's software may be of another version.",
        TRY_LATER,
    ],
);
const TOO_LARGE: Explained = Explained::new(
    StatusCode::BAD_GATEWAY,
    "too-large",
    [
        "The handset's answer is too large",
        "The handset sent more than this page can show.",
        "If it stays like this, tell whoever runs this site.",
    ],
);

const OFFLINE: Explained = Explained::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "handset-offline",
    [
        "The handset is offline",
        "It is switched off, out of coverage, or its Everline agent is not running.",
        "Switch it on or wait until it has coverage, then try again. It comes back by itself.",
    ],
);
const SILENT: Explained = Explained::new(
    StatusCode::GATEWAY_TIMEOUT,
    "handset-silent",
    [
        "The handset does not answer",
        "It is known to be connected, but did not answer in time. It may have just lost its coverage.",
        "Try again in a minute.",
    ],
);
const BROKE: Explained = Explained::new(
    StatusCode::BAD_GATEWAY,
    "handset-broke",
    [
        "The connection to the handset broke",
        "The handset began to answer and then was gone.",
        LOOK_FIRST,
    ],
);
const NO_RESPONSE: Explained = Explained::new(
    StatusCode::GATEWAY_TIMEOUT,
    "response-timeout",
    [
        "The handset took too long",
        "It took the request but did not answer it in time.",
        LOOK_FIRST,
    ],
);
const HANDSET_BUSY: Explained = Explained::new(
    StatusCode::TOO_MANY_REQUESTS,
    "handset-busy",
    [
        "The handset is busy",
        "It is answering as many requests as it can.",
        TRY_LATER,
    ],
);
const GATEWAY_BUSY: Explained = Explained::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "gateway-busy",
    [
        "Too much is going on",
        "The gateway has more to do than it can take at this moment.",
        TRY_LATER,
    ],
);
const NO_SUCH_HOST: Explained = Explained::new(
    StatusCode::BAD_GATEWAY,
    "no-such-host",
    [
        "The gateway does not know this handset's address",
        "The gateway serves other domains than the one that this web site is set to.",
        "Tell whoever runs this site to look at its `domain` setting.",
    ],
);
const GATEWAY_REFUSED: Explained = Explained::new(
    StatusCode::BAD_GATEWAY,
    "gateway-refused",
    [
        "The gateway did not take the request",
        "It did not understand what this web site sent.",
        "Tell whoever runs this site.",
    ],
);
const REQUEST_TOO_LARGE: Explained = Explained::new(
    StatusCode::PAYLOAD_TOO_LARGE,
    "request-too-large",
    [
        "That is too large",
        "The gateway does not pass on a request of this size.",
        "Make it shorter and try again.",
    ],
);

/// The rows of PROTOCOL 5.4; `None` for a slug that is not the gateway's.
fn gateway_explains(slug: &str) -> Option<Explained> {
    Some(match slug {
        "handset-offline" => OFFLINE,
        "handset-silent" => SILENT,
        "handset-broke" => BROKE,
        "response-timeout" => NO_RESPONSE,
        "handset-busy" => HANDSET_BUSY,
        "caller-limited" | "overloaded" | "draining" => GATEWAY_BUSY,
        "no-such-host" => NO_SUCH_HOST,
        "bad-request" | "method-not-allowed" | "headers-too-large" | "request-timeout" => {
            GATEWAY_REFUSED
        }
        "too-large" => REQUEST_TOO_LARGE,
        _ => return None,
    })
}
