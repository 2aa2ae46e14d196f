//! The personal data manager (R15): list, show, add and delete, for every resource alike (R27 to R30), in the phone's
//! memory and on the SIM card (R31).
//!
//! [`routes`] turns a description into its URLs. Each action asks the notifier first, with what there is to know of the
//! act, and goes on with its permit. What comes in is read and held against the description before anybody is asked.

mod add;
pub(super) mod body;
mod delete;
mod list;
mod memory;
pub(super) mod query;
mod show;
mod upload;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION, VARY};
use http::{Extensions, HeaderValue, StatusCode};

use super::authentication::Caller;
use super::conditional;
use super::consent::{Act, Detail, Permit};
use super::handset::Handset;
use super::problem::{Kind, Problem};
use super::representation::Shown;
use super::resource::{Action, Item, Resource, Value};
use super::respond_async::asked;
use super::store::{StoreError, Stored, items};

pub(super) use body::{collect, read, unread};
pub(super) use query::paging;

/// Items of one page at most, and if the caller does not say.
pub const PAGE_ITEMS_MAX: u32 = 1_000;

/// Bytes of one page's items at most, as they are kept; a longer page ends earlier.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    /// In the order of their ids, or against it.
    pub items: Vec<Stored>,
    /// Where the next page is; `None` on the last.
    pub next: Option<String>,
}

/// A resource and the handset that has its items.
struct Collection {
    resource: &'static Resource,
    handset: Handset,
}

type Shared = State<Arc<Collection>>;

/// The URLs of one resource.
pub fn routes(resource: &'static Resource, handset: &Handset) -> Router {
    let has = |action| resource.has(action);
    let mut list = MethodRouter::new();
    let mut item = MethodRouter::new();
    if has(Action::List) {
        list = list.get(list::list);
    }
    if has(Action::Add) {
        list = match resource.content {
            Some(_) => list.post(upload::upload),
            None => list.post(add::add),
        };
    }
    if has(Action::DeleteAll) {
        list = list.delete(delete::delete_all);
    }
    if has(Action::Get) {
        item = item.get(show::show);
    }
    if has(Action::Delete) {
        item = item.delete(delete::delete);
    }
    let lists = allowed(resource, &[Action::List, Action::Add, Action::DeleteAll]);
    let items = allowed(resource, &[Action::Get, Action::Delete]);
    Router::new()
        .route(
            &format!("/{}", resource.path()),
            list.options(|| options(lists)),
        )
        .route(
            &format!("/{}/{{id}}", resource.path()),
            item.options(|| options(items)),
        )
        .with_state(Arc::new(Collection {
            resource,
            handset: handset.clone(),
        }))
}

/// The methods of a URL, for `Allow`.
fn allowed(resource: &Resource, actions: &[Action]) -> HeaderValue {
    let methods: String = actions
        .iter()
        .filter(|action| resource.has(**action))
        .map(|action| match action {
            Action::List | Action::Get => "GET, HEAD, ",
            Action::Add | Action::Execute => "POST, ",
            Action::Delete | Action::DeleteAll => "DELETE, ",
        })
        .chain(["OPTIONS"])
        .collect();
    HeaderValue::try_from(methods).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

async fn options(methods: HeaderValue) -> Response {
    (StatusCode::NO_CONTENT, [(ALLOW, methods)]).into_response()
}

/// Who sends the request.
pub fn caller(extensions: &Extensions) -> Caller {
    extensions.get().cloned().unwrap_or(Caller(None))
}

/// What a request wants to do, for the notifier.
pub fn act(
    extensions: &Extensions,
    resource: &'static Resource,
    action: Action,
    content: Vec<Detail>,
) -> Act {
    Act {
        caller: caller(extensions),
        resource: resource.name,
        action,
        content,
        asked: asked(extensions),
    }
}

/// What the owner is told of an item, whole: the notifier cuts it to what a screen can show.
pub fn details(resource: &Resource, item: &Item) -> Vec<Detail> {
    let told = resource.fields.iter().zip(item.values());
    let told = told.filter(|(field, _)| field.told);
    told.filter_map(|(field, value)| {
        let text = match value.as_ref()? {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::Lines(lines) => lines.join(", "),
            Value::Entries(entries) => {
                let values: Vec<_> = entries.iter().map(|entry| &*entry.value).collect();
                values.join(", ")
            }
        };
        Some(Detail {
            name: field.name,
            text,
        })
    })
    .collect()
}

/// An item that a path names, as it is before anybody is asked.
pub(super) async fn named(
    handset: &Handset,
    resource: &'static Resource,
    path: &str,
) -> Result<Option<Stored>, StoreError> {
    let Some(id) = query::id(path) else {
        return Ok(None);
    };
    let read = handset
        .store
        .run(move |db| items::item(db.connection(), resource, id));
    read.await
}

/// What the owner is told of an item that is there, beside its id. Of one that is not there the id alone: whether it is
/// there is told to no one who may not read it.
pub(super) fn details_of(resource: &Resource, path: &str, stored: Option<&Stored>) -> Vec<Detail> {
    let segment = path.rsplit('/').next().unwrap_or_default();
    let mut content = vec![Detail {
        name: "id",
        text: segment.to_owned(),
    }];
    content.extend(stored.map_or(Vec::new(), |s| details(resource, &s.item)));
    content
}

/// Ends an act, and writes down how.
pub fn done(permit: Permit, answer: Result<Response, Problem>) -> Result<Response, Problem> {
    match &answer {
        Ok(response) => {
            let status = response.status().as_u16();
            let location = response.headers().get(LOCATION);
            match location.and_then(|location| location.to_str().ok()) {
                Some(location) => permit.done(&format!("{status} {location}")),
                None => permit.done(&status.to_string()),
            }
        }
        Err(problem) => permit.done(&failed(problem)),
    }
    answer
}

fn failed(problem: &Problem) -> String {
    let (status, slug, _) = problem.kind().told();
    format!("{} {slug}", status.as_u16())
}

/// An answer in this form, with the tag of what it tells.
fn represented(
    status: StatusCode,
    shown: Shown,
    state: &conditional::State,
    body: Vec<u8>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let (Ok(content_type), true) = (
        HeaderValue::try_from(shown.content_type()),
        status != StatusCode::NOT_MODIFIED,
    ) {
        headers.insert(CONTENT_TYPE, content_type);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(ETAG, state.tag(shown.media_type()));
    response
}

/// The caller has it already.
fn not_modified(shown: Shown, state: &conditional::State) -> Response {
    represented(StatusCode::NOT_MODIFIED, shown, state, Vec::new())
}

pub(super) fn no_such_item(resource: &Resource) -> Problem {
    let detail = format!(
        "There is no {} of this id. It may have been deleted.",
        resource.item
    );
    Problem::new(Kind::NotFound, detail)
}
