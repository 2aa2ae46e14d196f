//! The site: which path leads to which page, and what holds for all of them (headers, limits, log).

use std::any::Any;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use tower_http::catch_panic::CatchPanicLayer;

use crate::layout::{STYLE, style_name};
use crate::refusal::plain;
use crate::state::Portal;
use crate::{icon, menu, resource_page, sign_in};

/// No script at all, nothing from elsewhere, no frame around it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                                       base-uri 'none'; frame-ancestors 'none'";

/// All pages.
pub fn router(portal: Portal) -> Router {
    Router::new()
        .route("/", get(menu::show))
        .route("/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/{resource}", get(resource_page::list))
        .route(
            "/{resource}/add",
            get(resource_page::add_form).post(resource_page::add),
        )
        .route(
            "/{resource}/delete",
            get(resource_page::delete_form).post(resource_page::delete),
        )
        .route("/{resource}/outcome", get(resource_page::outcome))
        .route("/assets/{file}", get(asset))
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(portal.clone(), admit))
        // Above the limit: a portal that is busy is still a portal that lives.
        .route(
            "/healthz",
            get(async || ([(header::CACHE_CONTROL, "no-store")], "ok\n")),
        )
        .layer(CatchPanicLayer::custom(|_: Box<dyn Any + Send>| {
            tracing::error!("a page panicked");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong in this web site.\n",
            )
                .into_response()
        }))
        .layer(middleware::from_fn_with_state(portal.clone(), guard))
        .with_state(portal)
}

async fn admit(State(portal): State<Portal>, request: Request, next: Next) -> Response {
    let Ok(_permit) = portal.requests.try_acquire() else {
        return portal.busy();
    };
    next.run(request).await
}

/// Sets the headers that every response has, and writes the one log line that a request gets: no address, no query.
async fn guard(State(portal): State<Portal>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let page = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if portal.config.exposure.tls_in_front {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
    let page = page.as_ref().map_or("none", MatchedPath::as_str);
    let (status, took_ms) = (response.status().as_u16(), started.elapsed().as_millis());
    tracing::info!(%method, page, status, took_ms, "served");
    response
}

async fn asset(
    State(portal): State<Portal>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Response {
    let (kind, contents, keep) = match file.as_str() {
        name if name == style_name() => (
            "text/css; charset=utf-8",
            STYLE,
            "public, max-age=31536000, immutable",
        ),
        "icon.svg" => ("image/svg+xml", icon::FAVICON, "public, max-age=86400"),
        _ => return portal.not_found(portal.viewer(&headers), ""),
    };
    (
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)],
        contents,
    )
        .into_response()
}

async fn nowhere(State(portal): State<Portal>, uri: Uri, headers: HeaderMap) -> Response {
    portal.not_found(portal.viewer(&headers), uri.path())
}

async fn wrong_method(State(portal): State<Portal>, headers: HeaderMap) -> Response {
    let words = "This address does not take what your browser sent. Nothing was done.";
    plain(
        StatusCode::METHOD_NOT_ALLOWED,
        portal.viewer(&headers),
        "That does not work here",
        words,
    )
}
