//! Stands before the owner's screen: only its own page, at its own address, with the owner's secret, gets through.
//!
//! Other programs and web pages on the owner's machine can reach loopback too. Against them: `Host` has to be this address
//! (a name that resolves to loopback is refused), `Origin` and `Sec-Fetch-Site` this page, and the cookie is out of
//! scripts' reach. Cookies do not tell ports apart, so the cookie's name has the port: two handsets, two cookies.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, LOCATION,
    ORIGIN, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use tokio::time::Instant;

use super::page;
use super::secret::{COOKIE_LIFE_S, Secret};

/// Wrong secrets that are taken in a row before they are slowed.
const ATTEMPTS_MAX: u32 = 10;

/// How long it takes until one more is taken then.
const ATTEMPT_EVERY: Duration = Duration::from_secs(3);

/// Bytes of a sign-in form at most.
const FORM_BYTES_MAX: usize = 1_024;

/// How long a sign-in form may take.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything comes from here, nothing is inline, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// What each response of the owner's screen carries.
const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_FRAME_OPTIONS, "DENY"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not no-referrer: under it a browser sends `Origin: null` with its own sign-in form.
    (REFERRER_POLICY, "same-origin"),
    (CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// What it knows of its address and its secret; a clone is the same one.
#[derive(Debug, Clone)]
pub(super) struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    secret: Secret,
    /// What `Host` may say.
    hosts: Vec<String>,
    cookie_name: String,
    attempts: Mutex<Attempts>,
}

impl Guard {
    pub(super) fn new(secret: Secret, address: SocketAddr) -> Self {
        let port = address.port();
        let mut hosts = vec![address.to_string(), format!("localhost:{port}")];
        if port == 80 {
            let bare = |host: &String| host.trim_end_matches(":80").to_owned();
            hosts.extend(hosts.iter().map(bare).collect::<Vec<_>>());
        }
        Self(Arc::new(Inner {
            secret,
            hosts,
            cookie_name: format!("everline_owner_{port}"),
            attempts: Mutex::new(Attempts::new(Instant::now())),
        }))
    }

    /// `open` for everybody who comes by the right address, `api` for the owner alone.
    pub(super) fn stand_before(self, open: Router, api: Router) -> Router {
        let api = api.fallback(|| async {
            let detail = "docs/owner-api.md lists what the owner's API has.";
            refused(StatusCode::NOT_FOUND, "not-found", detail)
        });
        let api = api.layer(from_fn_with_state(self.clone(), signed_in));
        let sign_in = Router::new()
            .route("/", get(front))
            .route("/sign-in", post(sign_in))
            .route("/sign-out", post(sign_out))
            .with_state(self.clone());
        open.merge(sign_in)
            .fallback_service(api)
            .layer(from_fn_with_state(self, same_page))
    }

    /// Whether the request has the owner's cookie.
    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(COOKIE).iter();
        let mut pairs = cookies
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        pairs
            .any(|(name, value)| name == self.0.cookie_name && self.0.secret.admits(value, now_s()))
    }

    /// Whether the secret is right; `Err`: too many wrong ones came, and when the next is looked at.
    fn try_secret(&self, offered: &str) -> Result<bool, Duration> {
        let now = Instant::now();
        // A poisoned count is a count all the same.
        let mut attempts = self
            .0
            .attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        attempts.left(now)?;
        let right = self.0.secret.is(offered);
        if !right {
            attempts.spend();
            tracing::warn!("a wrong secret came to the owner's screen");
        }
        Ok(right)
    }

    fn set_cookie(&self, value: &str, life_s: u64) -> HeaderValue {
        let cookie = format!(
            "{}={value}; Path=/; Max-Age={life_s}; HttpOnly; SameSite=Strict",
            self.0.cookie_name
        );
        // Digits, letters and hyphens: a name and a value that are made here.
        HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static(""))
    }

    /// Signs the browser in, and takes the secret out of its address bar.
    fn welcome(&self) -> Response {
        let cookie = self.set_cookie(&self.0.secret.cookie(now_s()), COOKIE_LIFE_S);
        let headers = [
            (SET_COOKIE, cookie),
            (LOCATION, HeaderValue::from_static("/")),
        ];
        (StatusCode::SEE_OTHER, headers).into_response()
    }

    fn answer_secret(&self, offered: &str) -> Response {
        match self.try_secret(offered) {
            Ok(true) => self.welcome(),
            Ok(false) => (StatusCode::FORBIDDEN, page::sign_in(page::WRONG)).into_response(),
            Err(wait) => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                (status, retry_after(wait), page::sign_in(page::SLOWED)).into_response()
            }
        }
    }
}

/// First of all: the right address, and no other page's request. Last of all: the headers of every response.
async fn same_page(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let checked = check_host(&guard, request.uri(), request.headers())
        .and_then(|host| check_origin(host, request.uri(), request.method(), request.headers()));
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(refusal) => *refusal,
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn check_host<'a>(
    guard: &Guard,
    uri: &Uri,
    headers: &'a HeaderMap,
) -> Result<&'a str, Box<Response>> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    let known = |host: &&str| guard.0.hosts.iter().any(|h| h.eq_ignore_ascii_case(host));
    let absolute = uri.authority().is_some();
    host.filter(known).filter(|_| !absolute).ok_or_else(|| {
        let detail =
            "The owner's screen is at the address in the agent's log, and at no other name.";
        Box::new(refused(
            StatusCode::MISDIRECTED_REQUEST,
            "wrong-host",
            detail,
        ))
    })
}

fn check_origin(
    host: &str,
    uri: &Uri,
    method: &Method,
    headers: &HeaderMap,
) -> Result<(), Box<Response>> {
    let no = |detail| {
        Err(Box::new(refused(
            StatusCode::FORBIDDEN,
            "wrong-origin",
            detail,
        )))
    };
    let origin = headers
        .get(ORIGIN)
        .map(|origin| origin.to_str().unwrap_or(""));
    let ours = |origin: &str| origin.strip_prefix("http://") == Some(host);
    if origin.is_some_and(|origin| !ours(origin)) {
        return no("Another page sent this request; use the owner's screen itself.");
    }
    // A browser says where a request comes from; following a link here from elsewhere is no harm, anything else is.
    let site = headers
        .get("sec-fetch-site")
        .map_or("none", |site| site.to_str().unwrap_or(""));
    let visit = method == Method::GET && uri.path() == "/" && uri.query().is_none();
    if !matches!(site, "none" | "same-origin") && !visit {
        return no("Another page sent this request; use the owner's screen itself.");
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if !reads && origin.is_none() && bearer(headers).is_none() {
        return no("Send the Origin of the owner's screen, or the secret as a bearer token.");
    }
    Ok(())
}

/// Before the API: a cookie, or the secret itself from a script.
async fn signed_in(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if guard.has_cookie(headers) {
        return next.run(request).await;
    }
    match bearer(headers).map(|secret| guard.try_secret(secret)) {
        Some(Ok(true)) => next.run(request).await,
        Some(Err(wait)) => {
            let detail = "Too many wrong secrets came; wait as Retry-After says.";
            let status = StatusCode::TOO_MANY_REQUESTS;
            (
                retry_after(wait),
                refused(status, "too-many-attempts", detail),
            )
                .into_response()
        }
        None | Some(Ok(false)) => {
            let detail = "Sign in with the owner's secret; its file is named in the agent's log.";
            refused(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        }
    }
}

/// `GET /`: the page, or the way in.
async fn front(State(guard): State<Guard>, request: Request) -> Response {
    let secret = request
        .uri()
        .query()
        .and_then(|query| query.strip_prefix("secret="));
    if let Some(secret) = secret {
        return guard.answer_secret(secret);
    }
    match guard.has_cookie(request.headers()) {
        true => page::screen(),
        false => page::sign_in(""),
    }
}

/// `POST /sign-in`: the form with the secret.
async fn sign_in(State(guard): State<Guard>, request: Request) -> Response {
    let body = to_bytes(request.into_body(), FORM_BYTES_MAX);
    let body = match tokio::time::timeout(FORM_TIMEOUT, body).await {
        Ok(Ok(body)) => body,
        _ => return (StatusCode::BAD_REQUEST, page::sign_in(page::WRONG)).into_response(),
    };
    // What a secret is made of stands in a form as it is; what a hand adds to it around the edges does not count.
    let form = str::from_utf8(&body).unwrap_or_default();
    let secret = form.strip_prefix("secret=").unwrap_or_default();
    let trimmed = secret.trim_matches('+').trim_end_matches("%0D%0A");
    guard.answer_secret(trimmed)
}

/// `POST /sign-out`: this browser forgets its cookie.
async fn sign_out(State(guard): State<Guard>) -> Response {
    let headers = [
        (SET_COOKIE, guard.set_cookie("", 0)),
        (LOCATION, HeaderValue::from_static("/")),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

fn retry_after(wait: Duration) -> [(HeaderName, HeaderValue); 1] {
    [(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1))]
}

fn refused(status: StatusCode, slug: &str, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": format!("urn:everline:agent:{slug}"),
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    let headers = [(CONTENT_TYPE, "application/problem+json")];
    (status, headers, Body::from(body.to_string())).into_response()
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// How many wrong secrets are still taken: so many at once, and then one at a time.
#[derive(Debug)]
struct Attempts {
    left: u32,
    /// When the first of those that are spent comes back.
    since: Instant,
}

impl Attempts {
    fn new(now: Instant) -> Self {
        Self {
            left: ATTEMPTS_MAX,
            since: now,
        }
    }

    /// `Err`: none is, for so long.
    fn left(&mut self, now: Instant) -> Result<(), Duration> {
        while self.left < ATTEMPTS_MAX && now >= self.since + ATTEMPT_EVERY {
            self.left += 1;
            self.since += ATTEMPT_EVERY;
        }
        if self.left == ATTEMPTS_MAX {
            self.since = now;
        }
        match self.left {
            0 => Err((self.since + ATTEMPT_EVERY).saturating_duration_since(now)),
            _ => Ok(()),
        }
    }

    fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r53_wrong_secrets_are_slowed_and_time_gives_them_back() {
        let mut now = Instant::now();
        let mut attempts = Attempts::new(now);
        for _ in 0..ATTEMPTS_MAX {
            assert_eq!(attempts.left(now), Ok(()));
            attempts.spend();
        }
        assert_eq!(attempts.left(now), Err(ATTEMPT_EVERY));
        now += ATTEMPT_EVERY;
        assert_eq!(attempts.left(now), Ok(()));
        attempts.spend();
        assert_eq!(attempts.left(now), Err(ATTEMPT_EVERY));
        now += ATTEMPT_EVERY * 100;
        assert_eq!(attempts.left(now), Ok(()));
        assert_eq!(attempts.left, ATTEMPTS_MAX);
    }
}
