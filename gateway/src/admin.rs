//! The operator's port: health, readiness, metrics, one session, drain, revoke. Its own small thread; never on the way
//! of a request.
//!
//! It speaks without a password, so it listens on loopback (`config_file` sees to that) and refuses what a web page in a
//! browser on the same machine could make it do: requests under a foreign Host name (DNS rebinding) and requests that
//! change something and come from another origin.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Path, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use everline_protocol::{ErrorCode, Msisdn};
use http_body::Body as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::drain::DrainRequest;
use crate::metrics::scrape;
use crate::shard::mailbox::Letter;
use crate::shared::{Phase, Shared};

/// Connections that are served at once; one more waits.
pub const CONNECTIONS_MAX: usize = 64;
/// From one byte of a request's head to its end.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// For one connection: a peer that does not read its answer is cut off in the end.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a shard may take to describe a session.
const SHARD_TIMEOUT: Duration = Duration::from_secs(2);
/// Nothing here takes a body; this much is read and forgotten.
const BODY_BYTES_MAX: u64 = 16 * 1024;
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What the handlers share.
#[derive(Clone)]
pub struct Admin {
    /// The gateway.
    pub shared: Arc<Shared>,
    /// Begins the drain.
    pub drain: DrainRequest,
    /// The numbers.
    pub recorder: PrometheusHandle,
}

/// Serves until its future is dropped.
pub async fn serve(listener: TcpListener, admin: Admin) {
    let router = router(admin);
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((socket, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    // Whether the peer left, was too slow or broke HTTP changes nothing here.
                    let _ = timeout(CONNECTION_TIMEOUT, connection(socket, router)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin port can't accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(socket: TcpStream, router: Router) -> hyper::Result<()> {
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router))
        .await
}

fn router(admin: Admin) -> Router {
    let guard = middleware::from_fn_with_state(admin.clone(), guard);
    Router::new()
        .route("/", get(listing))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(numbers))
        .route("/sessions/{msisdn}", get(session).delete(revoke))
        .route("/drain", axum::routing::post(drain))
        .fallback(|| async {
            problem(
                StatusCode::NOT_FOUND,
                "not-found",
                "GET / lists what there is",
            )
        })
        .method_not_allowed_fallback(|| async {
            problem(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "GET / lists what there is",
            )
        })
        .layer(guard)
        .with_state(admin)
}

/// Keeps web pages out (see the top of this file), and bodies small.
async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let Some(host) = host_of(&request) else {
        return problem(
            StatusCode::BAD_REQUEST,
            "bad-host",
            "the request names no valid Host",
        );
    };
    if !is_ours(host.host(), &admin.shared.config.admin.hosts) {
        let detail =
            "ask for this port by an address, as localhost, or by a name listed in admin.hosts";
        return problem(StatusCode::MISDIRECTED_REQUEST, "foreign-host", detail);
    }
    if !request.method().is_safe() && !same_origin(request.headers(), &host) {
        let detail = "a request that changes something must not come from another web site";
        return problem(StatusCode::FORBIDDEN, "cross-origin", detail);
    }
    if request.body().size_hint().lower() > BODY_BYTES_MAX {
        return problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "nothing here takes a body",
        );
    }
    let late = |_elapsed| problem(StatusCode::GATEWAY_TIMEOUT, "timeout", "no answer in time");
    timeout(ANSWER_TIMEOUT, next.run(request))
        .await
        .unwrap_or_else(late)
}

/// The authority that the request is for: in its target if that is absolute, else in Host.
fn host_of(request: &Request) -> Option<Authority> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.clone());
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next()?;
    if hosts.next().is_some() {
        return None;
    }
    Authority::try_from(host.as_bytes()).ok()
}

/// An address can't be rebound by DNS; a name must be known.
fn is_ours(host: &str, names: &[String]) -> bool {
    let name = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .trim_end_matches('.')
        .to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || names.contains(&name)
}

fn same_origin(headers: &HeaderMap, host: &Authority) -> bool {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    let fetched_here = site.is_none_or(|site| matches!(site, b"same-origin" | b"none"));
    let origin = headers.get(header::ORIGIN).map(|origin| origin.as_bytes());
    let from_here = origin
        .is_none_or(|origin| origin.eq_ignore_ascii_case(format!("http://{host}").as_bytes()));
    fetched_here && from_here
}

async fn listing() -> Response {
    let listing = "\
        GET    /healthz            the process is alive\n\
        GET    /readyz             200 while it takes handsets and requests, else 503 and why\n\
        GET    /status             sessions, the share that is back after a restart, the store\n\
        GET    /metrics            Prometheus\n\
        GET    /sessions/{msisdn}  one handset's session, or what is known of it\n\
        DELETE /sessions/{msisdn}  end it: the handset is told `revoked`\n\
        POST   /drain              leave in order, as SIGTERM does\n";
    listing.into_response()
}

async fn ready(State(admin): State<Admin>) -> Response {
    let phase = admin.shared.phase.now();
    let reason = (phase != Phase::Serving).then(|| phase.name());
    let status = if reason.is_none() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let reasons: Vec<_> = reason.into_iter().collect();
    (
        status,
        Json(json!({ "ready": reasons.is_empty(), "reasons": reasons })),
    )
        .into_response()
}

/// What an operator asks first after a restart: who is back.
async fn status(State(admin): State<Admin>) -> Response {
    let (shared, store) = (&admin.shared, &admin.shared.store);
    let (expected, returned) = (store.expected(), store.returned());
    let share = (expected > 0).then(|| returned as f64 / expected as f64);
    Json(json!({
        "phase": shared.phase.now().name(),
        "sessions": shared.directory.sessions(),
        "expected": expected,
        "returned": returned,
        "returned_share": share,
        "requests_waiting": shared.pending.waiting(),
        "store_up": store.up(),
        "store_lag_s": store.lag().as_secs_f64(),
    }))
    .into_response()
}

async fn numbers(State(admin): State<Admin>) -> Response {
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (kind, scrape(&admin.recorder, &admin.shared)).into_response()
}

async fn session(State(admin): State<Admin>, Path(msisdn): Path<String>) -> Response {
    let Ok(msisdn) = Msisdn::parse(msisdn.as_bytes()) else {
        return bad_msisdn();
    };
    if let Some(place) = admin.shared.directory.lookup(msisdn) {
        let (answer, summary) = oneshot::channel();
        if admin
            .shared
            .shards
            .post(place, Letter::Describe { place, answer })
            .is_err()
        {
            return problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "the handset's shard is behind; try again",
            );
        }
        match timeout(SHARD_TIMEOUT, summary).await {
            Ok(Ok(summary)) => {
                return Json(json!({
                    "msisdn": msisdn.digits().to_string(),
                    "session": summary.session.to_string(),
                    "since": rfc3339(summary.since),
                    "last_seen": rfc3339(summary.last_seen),
                    "timeout_s": summary.timeout_s,
                    "linger_s": summary.linger_s,
                    "ready": summary.ready,
                    "shard": place.shard(),
                    "requests_waiting": admin.shared.pending.of(msisdn).len(),
                }))
                .into_response();
            }
            // It left between the lookup and the answer.
            Ok(Err(_)) => {}
            Err(_) => {
                return problem(
                    StatusCode::GATEWAY_TIMEOUT,
                    "timeout",
                    "the handset's shard does not answer",
                );
            }
        }
    }
    gone(&admin.shared, msisdn).await
}

async fn gone(shared: &Shared, msisdn: Msisdn) -> Response {
    let known = shared.store.row(msisdn).await.map(|row| {
        json!({
            "session": row.session.to_string(),
            "since": rfc3339(row.since),
            "last_seen": rfc3339(row.last_seen),
            "left": row.left.map(|cause| cause.name()),
        })
    });
    let status = StatusCode::NOT_FOUND;
    let body = json!({
        "type": "urn:everline:no-session",
        "title": "the handset is not connected",
        "status": status.as_u16(),
        "known": known,
    });
    problem_json(status, &body)
}

async fn revoke(State(admin): State<Admin>, Path(msisdn): Path<String>) -> Response {
    let Ok(msisdn) = Msisdn::parse(msisdn.as_bytes()) else {
        return bad_msisdn();
    };
    let Some(place) = admin.shared.directory.lookup(msisdn) else {
        return gone(&admin.shared, msisdn).await;
    };
    if admin
        .shared
        .shards
        .post(
            place,
            Letter::End {
                place,
                code: ErrorCode::Revoked,
            },
        )
        .is_err()
    {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "the handset's shard is behind; try again",
        );
    }
    tracing::info!(handset = %shown(msisdn, admin.shared.config.log.msisdns_in_full), "an operator revoked a session");
    StatusCode::NO_CONTENT.into_response()
}

async fn drain(State(admin): State<Admin>) -> Response {
    if admin.drain.leave() {
        tracing::info!("an operator asked for the drain");
    }
    (
        StatusCode::ACCEPTED,
        Json(json!({ "draining": true, "sessions": admin.shared.directory.sessions() })),
    )
        .into_response()
}

fn shown(msisdn: Msisdn, in_full: bool) -> String {
    if in_full {
        msisdn.digits().to_string()
    } else {
        msisdn.masked().to_string()
    }
}

fn bad_msisdn() -> Response {
    problem(
        StatusCode::BAD_REQUEST,
        "bad-msisdn",
        "an MSISDN is 5 to 15 digits without `+`, not starting with 0",
    )
}

/// RFC 9457, as the callers' port has it.
fn problem(status: StatusCode, slug: &str, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "type": format!("urn:everline:{slug}"), "title": title, "status": status.as_u16(), "detail": detail });
    problem_json(status, &body)
}

fn problem_json(status: StatusCode, body: &serde_json::Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

/// `2026-11-23T06:00:00.123Z`. Days to a date as Howard Hinnant's civil_from_days counts them, for years from 1970 on.
fn rfc3339(time: SystemTime) -> String {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Counted from March, so that the leap day is the last of its year.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = (
        era * 400 + year_of_era + u64::from(month >= 10),
        if month < 10 { month + 3 } else { month - 9 },
    );
    let (hour, minute, second, millis) = (
        second / 3_600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis(),
    );
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Binds the port; its error is the start's.
pub fn bind(listen: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn times_are_written_as_people_read_them() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (1_795_413_600_000, "2026-11-23T06:00:00.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_name_that_dns_can_point_here_is_not_ours() {
        let names = ["gateway-1.example.net".to_owned()];
        for (host, ours) in [
            ("127.0.0.1", true),
            ("[::1]", true),
            ("localhost", true),
            ("LOCALHOST.", true),
            ("gateway-1.example.net", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
        ] {
            assert_eq!(is_ours(host, &names), ours, "{host}");
        }
    }
}
