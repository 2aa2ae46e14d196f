//! The personal data manager (R15): list, show, add and delete, for every resource alike (R27 to R30).
//!
//! [`routes`] turns a description into its URLs. What a request may do is decided before it comes here.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, VARY};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::problem::{Kind, Problem};
use super::representation::{Format, Sent};
use super::resource::{Item, Resource};
use super::store::{Store, Stored};
use super::{json, prefix, xml};

/// Items of one page at most, and if the caller does not say.
pub const PAGE_ITEMS_MAX: u32 = 1_000;

/// Bytes of a body at most: a vCard with a photograph fits.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How long the body of an added item may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

const COLLECTION_METHODS: &str = "GET, HEAD, POST, OPTIONS";
const ITEM_METHODS: &str = "GET, HEAD, DELETE, OPTIONS";

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    /// In the order of their ids.
    pub items: Vec<Stored>,
    /// Where the next page is; `None` on the last.
    pub next: Option<String>,
}

/// A resource and where its items are.
struct Collection {
    resource: &'static Resource,
    store: Store,
}

type Shared = State<Arc<Collection>>;

/// The URLs of one resource.
pub fn routes(resource: &'static Resource, store: &Store) -> Router {
    let collection = get(list).post(add).options(|| options(COLLECTION_METHODS));
    let item = get(show).delete(delete).options(|| options(ITEM_METHODS));
    Router::new()
        .route(&format!("/{}", resource.path()), collection)
        .route(&format!("/{}/{{id}}", resource.path()), item)
        .with_state(Arc::new(Collection {
            resource,
            store: store.clone(),
        }))
}

/// R27.
async fn list(
    State(collection): Shared,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let resource = collection.resource;
    let format = wanted(&headers)?;
    let (limit, after) = paging(uri.query().unwrap_or_default())?;
    let (items, more) = collection
        .store
        .run(move |db| db.list(resource, after, limit))
        .await?;
    let next = items.last().filter(|_| more).map(|last| {
        let prefix = prefix(&headers);
        format!("{prefix}/{}?after={}&limit={limit}", resource.name, last.id)
    });
    let page = Page { items, next };
    let body = match format {
        Format::Json => json::list(resource, &page),
        Format::Xml => xml::list(resource, &page),
    };
    Ok(represented(StatusCode::OK, format, body))
}

/// R28.
async fn show(
    State(collection): Shared,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let resource = collection.resource;
    let format = wanted(&headers)?;
    let id = item_id(resource, &uri)?;
    let stored = collection
        .store
        .run(move |db| db.item(resource, id))
        .await?;
    let stored = stored.ok_or_else(|| no_such_item(resource))?;
    Ok(represented(
        StatusCode::OK,
        format,
        one(resource, &stored, format),
    ))
}

/// R29. The form of the answer is settled first: an item whose adding could not be told must not be added.
async fn add(State(collection): Shared, request: Request) -> Result<Response, Problem> {
    let resource = collection.resource;
    let (parts, body) = request.into_parts();
    let format = wanted(&parts.headers)?;
    let sent = Sent::of(resource, &parts.headers).ok_or_else(|| unread(resource))?;
    let item = read(resource, sent, &collect(body).await?)?;
    let stored = collection
        .store
        .run(move |db| db.add(resource, item))
        .await?;
    let mut response = represented(StatusCode::CREATED, format, one(resource, &stored, format));
    let location = format!("{}/{}/{}", prefix(&parts.headers), resource.name, stored.id);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// R30.
async fn delete(State(collection): Shared, uri: Uri) -> Result<Response, Problem> {
    let resource = collection.resource;
    let id = item_id(resource, &uri)?;
    match collection
        .store
        .run(move |db| db.delete(resource, id))
        .await?
    {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(no_such_item(resource)),
    }
}

async fn options(methods: &'static str) -> Response {
    (StatusCode::NO_CONTENT, [(ALLOW, methods)]).into_response()
}

fn wanted(headers: &HeaderMap) -> Result<Format, Problem> {
    Format::wanted(headers).ok_or_else(|| {
        Problem::new(
            Kind::NotAcceptable,
            "Accept application/json or application/xml.",
        )
    })
}

fn represented(status: StatusCode, format: Format, body: Vec<u8>) -> Response {
    let headers = [
        (CONTENT_TYPE, format.content_type()),
        (CACHE_CONTROL, "no-store"),
        (VARY, "Accept"),
    ];
    (status, headers, Body::from(body)).into_response()
}

fn one(resource: &Resource, stored: &Stored, format: Format) -> Vec<u8> {
    match format {
        Format::Json => json::item(resource, stored),
        Format::Xml => xml::item(resource, stored),
    }
}

/// The id in the path's last segment. Ids are the store's positive integers; anything else names nothing.
fn item_id(resource: &Resource, uri: &Uri) -> Result<i64, Problem> {
    let segment = uri.path().rsplit('/').next().unwrap_or_default();
    let digits = segment.bytes().all(|b| b.is_ascii_digit()) && !segment.starts_with('0');
    let id = segment.parse().ok().filter(|_| digits);
    id.ok_or_else(|| no_such_item(resource))
}

fn no_such_item(resource: &Resource) -> Problem {
    let detail = format!(
        "There is no {} of this id. It may have been deleted.",
        resource.item
    );
    Problem::new(Kind::NotFound, detail)
}

/// `limit` and `after`. Other keys are left to whoever put them there.
fn paging(query: &str) -> Result<(u32, i64), Problem> {
    let (mut limit, mut after) = (PAGE_ITEMS_MAX, 0);
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("limit", value)) => {
                limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=PAGE_ITEMS_MAX).contains(limit))
                    .ok_or_else(|| {
                        let detail = format!("limit: must be a number from 1 to {PAGE_ITEMS_MAX}.");
                        Problem::new(Kind::BadQuery, detail)
                    })?;
            }
            Some(("after", value)) => {
                after = value
                    .parse()
                    .ok()
                    .filter(|after| *after >= 0)
                    .ok_or_else(|| {
                        Problem::new(Kind::BadQuery, "after: must be what a page's `next` says.")
                    })?;
            }
            _ => {}
        }
    }
    Ok((limit, after))
}

async fn collect(body: Body) -> Result<Bytes, Problem> {
    let whole = Limited::new(body, BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIMEOUT, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("An item has {BODY_BYTES_MAX} bytes at most.");
            Err(Problem::new(Kind::TooLarge, detail))
        }
        Ok(Err(_)) => Err(Problem::new(Kind::BadItem, "The body ended too early.")),
        Err(_) => {
            let detail = format!("It may take {} seconds.", BODY_TIMEOUT.as_secs());
            Err(Problem::new(Kind::BodyTimeout, detail))
        }
    }
}

fn unread(resource: &Resource) -> Problem {
    let forms = resource.forms.iter().filter(|form| form.read.is_some());
    let forms: String = forms.map(|form| format!(", {}", form.media_type)).collect();
    let detail = format!("Send UTF-8 as application/json, application/xml{forms}.");
    Problem::new(Kind::UnsupportedMediaType, detail)
}

/// The item that a body says, held against the description.
fn read(resource: &Resource, sent: Sent, body: &[u8]) -> Result<Item, Problem> {
    match sent {
        Sent::Json => Ok(resource.check(json::decode(resource, body)?)?),
        Sent::Xml => Ok(resource.check(xml::decode(resource, body)?)?),
        Sent::Form(form) => {
            let read = form.read.ok_or_else(|| unread(resource))?;
            Ok(resource.check(read(resource, body)?)?)
        }
    }
}
