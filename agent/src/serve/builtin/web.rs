//! The embedded web server's URLs (R12 to R17): who is calling, then which manager, and every error in one form.
//!
//! It knows no connection: [`super::Builtin`] feeds it the requests of a data channel.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http::StatusCode};
use http::HeaderMap;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, VARY};
use quick_xml::escape::escape;
use serde::Serialize;

use super::authentication::{AUTHENTICATION_INFO, Admitted, Asked, Authentication, Caller};
use super::capabilities;
use super::consent;
use super::events;
use super::handset::Handset;
use super::openapi;
use super::personal_data;
use super::prefix;
use super::problem::{self, Kind, Problem};
use super::representation::Format;
use super::resource::{Manager, Resource};
use super::{media, parts};
use super::{respond_async, services, state, tasks};

/// Everything that the handset offers.
pub fn router(
    resources: &'static [&'static Resource],
    handset: &Handset,
    authentication: Authentication,
) -> Router {
    let menu = move |headers, caller| menu(resources, headers, caller);
    let root = get(menu).options(|| async {
        (StatusCode::NO_CONTENT, [(ALLOW, "GET, HEAD, OPTIONS")]).into_response()
    });
    let mut router = Router::new().route("/", root);
    for resource in resources {
        let routes = match resource.manager {
            Manager::PersonalData if resource.is_collection() => {
                personal_data::routes(resource, handset)
                    .merge(media::routes(resource, handset))
                    .merge(parts::routes(resource, handset))
            }
            // Its URL is not made from its description.
            Manager::PersonalData => continue,
            Manager::State => state::routes(resource, handset),
            Manager::Service => services::routes(resource, handset),
        };
        router = router.merge(routes);
    }
    router = router
        .merge(tasks::routes::routes(handset))
        .merge(events::stream::routes(handset))
        .merge(openapi::routes(
            resources,
            matches!(authentication, Authentication::On(_)),
        ))
        .merge(capabilities::routes(handset))
        .merge(consent::own::routes(handset));
    // The last layer is the outermost: a problem of the authentication is rendered like any other.
    router
        .method_not_allowed_fallback(|| async {
            Problem::new(
                Kind::MethodNotAllowed,
                "The Allow header lists what it has.",
            )
        })
        .fallback(|| async {
            Problem::new(Kind::NotFound, "GET / lists what this handset offers.")
        })
        .layer(from_fn_with_state(
            (handset.clone(), resources),
            respond_async::layer,
        ))
        .layer(from_fn_with_state(Arc::new(authentication), authenticate))
        .layer(from_fn(tell_problems))
}

async fn authenticate(
    State(authentication): State<Arc<Authentication>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Admitted { caller, info } = authentication.caller(Asked::of(&request)).await?;
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
    if let Some(info) = info {
        response.headers_mut().insert(AUTHENTICATION_INFO, info);
    }
    Ok(response)
}

async fn tell_problems(request: Request, next: Next) -> Response {
    let format = Format::of_problem(request.headers());
    let method = request.method().clone();
    let response = problem::render(next.run(request).await, format);
    tracing::debug!(%method, status = response.status().as_u16(), "answered");
    response
}

/// `GET /` in JSON.
#[derive(Serialize)]
struct Menu<'a> {
    user: Option<&'a str>,
    resources: Vec<Link>,
}

#[derive(Serialize)]
struct Link {
    name: &'static str,
    href: String,
}

/// `GET /`: who the handset takes the caller for, and what it offers.
async fn menu(
    resources: &'static [&'static Resource],
    headers: HeaderMap,
    Extension(Caller(user)): Extension<Caller>,
) -> Result<Response, Problem> {
    let format = Format::wanted(&headers).ok_or_else(|| {
        Problem::new(
            Kind::NotAcceptable,
            "Accept application/json or application/xml.",
        )
    })?;
    let prefix = prefix(&headers);
    let links = resources
        .iter()
        .map(|resource| (resource.name, format!("{prefix}/{}", resource.path())));
    let body = match format {
        Format::Json => {
            let resources = links.map(|(name, href)| Link { name, href }).collect();
            let user = user.as_deref();
            // Text always serializes.
            serde_json::to_string(&Menu { user, resources }).unwrap_or_default()
        }
        Format::Xml => {
            let user = user.map_or(String::new(), |user| {
                format!(" user=\"{}\"", escape(&*user))
            });
            let links: String = links
                .map(|(name, href)| {
                    format!("<resource name=\"{name}\" href=\"{}\"/>", escape(&href))
                })
                .collect();
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<handset{user}>{links}</handset>\n"
            )
        }
    };
    let headers = [
        (CONTENT_TYPE, format.content_type()),
        (CACHE_CONTROL, "no-store"),
        (VARY, "Accept"),
    ];
    Ok((headers, Body::from(body)).into_response())
}
