//! Images, sounds and videos (R21 to R23): files that come, and files that go, whole or in part.
//!
//! Their descriptions, lists and items are those of every resource; this is what only they have. The bytes come to
//! [`upload::Upload`], and go by [`content`], which the manager of personal data calls for a caller that prefers them to
//! their description. Here are the URLs that have nothing but bytes: `/images/3/content` and `/images/3/thumbnail`.

pub mod apart;
pub mod disposition;
pub mod file;
pub mod probe;
pub mod range;
pub mod sniff;
pub mod thumbnail;
pub mod upload;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::ALLOW;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use super::blobs::{Blob, CHUNK_BYTES};
use super::conditional::State as Tags;
use super::consent::Permit;
use super::handset::Handset;
use super::personal_data::{act, details_of, done, named, no_such_item};
use super::problem::{Kind, Problem};
use super::resource::{Action, Item, Manager, Resource, Value};
use super::store::{Store, Stored};
use file::File;
use probe::{Probed, Source};

const METHODS: &str = "GET, HEAD, OPTIONS";

/// Where the files of one resource are.
struct Files {
    resource: &'static Resource,
    handset: Handset,
}

/// The URLs of one resource's files; none for a resource that has no files.
pub fn routes(resource: &'static Resource, handset: &Handset) -> Router {
    if resource.content.is_none() || resource.manager != Manager::PersonalData {
        return Router::new();
    }
    let options = || async { (StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into_response() };
    let path = resource.path();
    Router::new()
        .route(
            &format!("/{path}/{{id}}/content"),
            get(whole).options(options),
        )
        .route(
            &format!("/{path}/{{id}}/thumbnail"),
            get(small).options(options),
        )
        .with_state(Arc::new(Files {
            resource,
            handset: handset.clone(),
        }))
}

/// The bytes of an item as the answer to a GET or a HEAD; `None`: it has none.
pub fn content(
    store: &Store,
    resource: &Resource,
    stored: &Stored,
    method: &Method,
    headers: &HeaderMap,
) -> Option<Response> {
    let blob = stored.content.as_ref()?;
    let file_name = resource.text(&stored.item, "file_name");
    let etag = Tags::of_item(resource, stored).tag(&blob.media_type);
    let file = File::of_blob(store, blob, etag).named(file_name.map(str::to_owned));
    Some(file.answer(method, headers))
}

/// The item of a file that is at hand, as one that the handset's own camera made.
pub fn describe(
    resource: &'static Resource,
    media_type: &str,
    bytes: &[u8],
    file_name: Option<&str>,
    title: Option<&str>,
) -> Item {
    let mut fetch = |offset| {
        let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..));
        let rest = rest.unwrap_or_default();
        rest.get(..CHUNK_BYTES.min(rest.len()))
            .unwrap_or_default()
            .to_vec()
    };
    let mut source = Source::new(bytes.len() as u64, &mut fetch);
    let said = Said {
        media_type,
        file_name,
        title,
        bytes: Some(bytes.len() as u64),
    };
    said.item(resource, probe::probe(media_type, &mut source))
}

/// What is said of a file from outside.
struct Said<'a> {
    media_type: &'a str,
    file_name: Option<&'a str>,
    title: Option<&'a str>,
    bytes: Option<u64>,
}

impl Said<'_> {
    /// With what the file says of itself.
    fn item(&self, resource: &Resource, probed: Probed) -> Item {
        let number = |value: u64| Value::Number(i64::try_from(value).unwrap_or(i64::MAX));
        let text = |value: &str| Value::Text(value.to_owned());
        let mut item = resource.blank();
        let fields = [
            ("title", self.title.map(text)),
            ("file_name", self.file_name.map(text)),
            ("media_type", Some(text(self.media_type))),
            ("bytes", self.bytes.map(number)),
            ("width", probed.width.map(|w| number(w.into()))),
            ("height", probed.height.map(|h| number(h.into()))),
            ("length_ms", probed.length_ms.map(number)),
        ];
        for (name, value) in fields {
            if let (Some((position, _)), Some(value)) = (resource.field(name), value) {
                item.set(position, value);
            }
        }
        item
    }
}

/// R21 to R23: the bytes, whatever the caller accepts.
async fn whole(
    State(files): State<Arc<Files>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let Files { resource, handset } = &*files;
    let (parts, _) = request.into_parts();
    let (permit, stored) = permitted(handset, resource, &id, &parts).await?;
    let (store, method, headers) = (&handset.store, &parts.method, &parts.headers);
    let response = stored.and_then(|s| content(store, resource, &s, method, headers));
    done(permit, response.ok_or_else(|| no_such_item(resource)))
}

/// A small picture of a large one.
async fn small(
    State(files): State<Arc<Files>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let Files { resource, handset } = &*files;
    let (parts, _) = request.into_parts();
    let (permit, stored) = permitted(handset, resource, &id, &parts).await?;
    let answer = async {
        let stored = stored.ok_or_else(|| no_such_item(resource))?;
        let blob = stored.content.as_ref();
        let blob = blob.ok_or_else(|| no_such_item(resource))?;
        let jpeg = thumbnail::thumbnail(&handset.store, blob).await?;
        let jpeg = jpeg.ok_or_else(|| no_thumbnail(resource, blob))?;
        let etag = Tags::of_item(resource, &stored).tag("thumbnail");
        let file = File::in_memory("image/jpeg".to_owned(), Bytes::from(jpeg), etag);
        Ok(file.answer(&parts.method, &parts.headers))
    };
    done(permit, answer.await)
}

/// The right to read the item that a path names, and the item, if it is there.
pub(super) async fn permitted(
    handset: &Handset,
    resource: &'static Resource,
    id: &str,
    parts: &Parts,
) -> Result<(Permit, Option<Stored>), Problem> {
    let before = named(handset, resource, id).await?;
    let content = details_of(resource, id, before.as_ref());
    let act = act(&parts.extensions, resource, Action::Get, content);
    let permit = handset.gate.permit(act).await?;
    // The owner may have taken a while.
    Ok((permit, named(handset, resource, id).await?))
}

fn no_thumbnail(resource: &Resource, blob: &Blob) -> Problem {
    let detail = match blob.media_type.starts_with("image/") {
        true => format!(
            "This {} is too large or too broken for a small picture of it. Its bytes are at content.",
            resource.item
        ),
        false => format!("There are no small pictures of {}.", resource.name),
    };
    Problem::new(Kind::NoThumbnail, detail)
}
