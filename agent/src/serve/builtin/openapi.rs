//! `GET /openapi.json`: what the REST API has, in OpenAPI 3.1, for programs that write callers (R12, R14).
//!
//! It is made from the descriptions that the routes, the forms and the store are made from. A test holds it against the
//! router, both ways: nothing is told that is not there, and nothing is there that is not told.

pub mod operation;
pub mod operations;
pub mod schema;

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value as Json, json};

use super::prefix;
use super::problem::Kind;
use super::resource::Resource;
use super::tasks::TASKS;
use operation::{Answer, Operation};

/// Where it is.
pub const PATH: &str = "/openapi.json";

/// The URL. `authenticated`: whether callers have to say who they are.
pub fn routes(resources: &'static [&'static Resource], authenticated: bool) -> Router {
    let show = move |headers: HeaderMap| async move {
        let document = document(resources, prefix(&headers), authenticated);
        let headers = [
            (CONTENT_TYPE, "application/json"),
            (CACHE_CONTROL, "no-store"),
            (VARY, "Accept"),
        ];
        (headers, Body::from(document.to_string())).into_response()
    };
    let options = || async { (StatusCode::NO_CONTENT, [(ALLOW, "GET, HEAD, OPTIONS")]) };
    Router::new().route(PATH, get(show).options(options))
}

/// The whole description; `prefix` is what a gateway put before every path.
pub fn document(resources: &[&'static Resource], prefix: &str, authenticated: bool) -> Json {
    let mut paths: BTreeMap<String, Map<String, Json>> = BTreeMap::new();
    for operation in operations::all(resources) {
        let told = told(&operation, authenticated);
        let path = paths.entry(operation.path).or_default();
        path.insert(operation.method.to_owned(), told);
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Everline handset",
            "description": "What one handset has and does: its data, its state and its services.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{"url": if prefix.is_empty() { "/" } else { prefix }}],
        "paths": paths,
        "components": {"schemas": schemas(resources)},
    });
    if authenticated {
        document["security"] = json!([{"basic": []}, {"digest": []}]);
        document["components"]["securitySchemes"] = json!({
            "basic": {"type": "http", "scheme": "basic"},
            "digest": {"type": "http", "scheme": "digest"},
        });
    }
    document
}

fn schemas(resources: &[&'static Resource]) -> Map<String, Json> {
    let mut schemas = Map::new();
    schemas.insert("problem".to_owned(), schema::problem());
    schemas.insert("menu".to_owned(), schema::menu());
    schemas.insert("capabilities".to_owned(), schema::capabilities());
    schemas.insert("audit".to_owned(), schema::audit());
    let tasks = [&TASKS].into_iter();
    for resource in tasks.chain(resources.iter().copied()) {
        schemas.extend(schema::of(resource));
    }
    schemas
}

/// One operation as OpenAPI has it.
fn told(operation: &Operation, authenticated: bool) -> Json {
    let mut responses = Map::new();
    for answer in &operation.answers {
        responses.insert(answer.status.as_str().to_owned(), response(answer));
    }
    for (status, kinds) in problems(operation, authenticated) {
        responses.insert(status, problem(&kinds));
    }
    let mut told = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": responses,
    });
    if !operation.parameters.is_empty() {
        told["parameters"] = json!(operation.parameters);
    }
    if !operation.bodies.is_empty() {
        told["requestBody"] = json!({
            "required": operation.body_required,
            "content": content(&operation.bodies),
        });
    }
    told
}

fn response(answer: &Answer) -> Json {
    let mut told = json!({"description": answer.description});
    if !answer.content.is_empty() {
        told["content"] = content(&answer.content);
    }
    if answer.located {
        told["headers"] = json!({
            "Location": {"required": true, "schema": {"type": "string", "format": "uri-reference"}},
        });
    }
    told
}

fn content(forms: &[(String, Json)]) -> Json {
    let forms = forms.iter().map(|(media_type, schema)| {
        let told = match schema {
            Json::Null => json!({}),
            schema => json!({"schema": schema}),
        };
        (media_type.clone(), told)
    });
    Json::Object(forms.collect())
}

/// The problems that an operation may have, by status: those of every request, and its own.
fn problems(operation: &Operation, authenticated: bool) -> BTreeMap<String, Vec<Kind>> {
    let mut kinds = vec![Kind::Internal];
    if authenticated {
        kinds.extend([Kind::Unauthorized, Kind::TooManyAttempts]);
    }
    for kind in &operation.problems {
        if !kinds.contains(kind) {
            kinds.push(*kind);
        }
    }
    let mut problems: BTreeMap<String, Vec<Kind>> = BTreeMap::new();
    for kind in kinds {
        let status = kind.told().0.as_str().to_owned();
        problems.entry(status).or_default().push(kind);
    }
    problems
}

fn problem(kinds: &[Kind]) -> Json {
    let slugs: Vec<_> = kinds
        .iter()
        .map(|kind| format!("`{}`", kind.told().1))
        .collect();
    json!({
        "description": slugs.join(", "),
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/problem"}},
            "application/problem+xml": {},
        },
    })
}

#[cfg(test)]
mod tests;
