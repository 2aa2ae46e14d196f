//! What hangs on a message: `/emails/3/parts/1`, the bytes of its first attachment as they were before they travelled.
//!
//! A part is read out of the message that is kept word for word. That is held in memory meanwhile, so a few at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::ALLOW;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::blobs::{self, Blob};
use super::conditional::State as Tags;
use super::handset::Handset;
use super::media::file::File;
use super::media::permitted;
use super::mime::{self, Part};
use super::personal_data::{done, no_such_item, query};
use super::problem::{Kind, Problem};
use super::resource::{Form, Resource};
use super::store::{Store, Stored};

const METHODS: &str = "GET, HEAD, OPTIONS";

/// Parts that are in memory at a time, until the last byte of each was sent.
const HELD_MAX: usize = 4;

/// Bytes of a message that is read for a part of it, at most.
const MESSAGE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// How long a request waits until there is memory for its part.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

static ROOM: Semaphore = Semaphore::const_new(HELD_MAX);

/// Where the messages of one resource are.
struct Messages {
    resource: &'static Resource,
    handset: Handset,
}

/// The URLs of the parts of one resource's messages; none for a resource without messages.
pub fn routes(resource: &'static Resource, handset: &Handset) -> Router {
    let is_message = |form: &Form| form.media_type == mime::MEDIA_TYPE && form.kept;
    if !resource.forms.iter().any(is_message) {
        return Router::new();
    }
    let options = || async { (StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into_response() };
    let path = format!("/{}/{{id}}/parts/{{number}}", resource.path());
    Router::new()
        .route(&path, get(show).options(options))
        .with_state(Arc::new(Messages {
            resource,
            handset: handset.clone(),
        }))
}

/// A message as it came, streamed: it may be longer than memory should hold. `None`: it did not come as one.
pub fn message(
    store: &Store,
    resource: &Resource,
    stored: &Stored,
    method: &Method,
    headers: &HeaderMap,
) -> Option<Response> {
    let blob = stored.content.as_ref();
    let blob = blob.filter(|blob| blob.media_type == mime::MEDIA_TYPE)?;
    let etag = Tags::of_item(resource, stored).tag(mime::MEDIA_TYPE);
    Some(File::of_blob(store, blob, etag).answer(method, headers))
}

/// R25, R26.
async fn show(
    State(messages): State<Arc<Messages>>,
    Path((id, segment)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let Messages { resource, handset } = &*messages;
    let (parts, _) = request.into_parts();
    let (permit, stored) = permitted(handset, resource, &id, &parts).await?;
    let answer = async {
        let stored = stored.ok_or_else(|| no_such_item(resource))?;
        let number = query::id(&segment).and_then(|n| usize::try_from(n).ok());
        let number = number.ok_or_else(|| no_such_part(resource))?;
        let (part, room) = part(handset, resource, &stored, number).await?;
        let Part {
            media_type,
            name,
            bytes,
        } = part;
        let bytes = Bytes::from_owner(Sent { bytes, _room: room });
        let etag = Tags::of_item(resource, &stored).tag(&format!("part-{number}"));
        let file = File::in_memory(media_type, bytes, etag).named(name);
        Ok(file.answer(&parts.method, &parts.headers))
    };
    done(permit, answer.await)
}

/// The part of this number, and the room that it takes.
async fn part(
    handset: &Handset,
    resource: &Resource,
    stored: &Stored,
    number: usize,
) -> Result<(Part, SemaphorePermit<'static>), Problem> {
    let message = |blob: &&Blob| blob.media_type == mime::MEDIA_TYPE;
    let blob = stored.content.as_ref().filter(message);
    let id = blob.ok_or_else(|| no_such_part(resource))?.id;
    let Ok(Ok(room)) = tokio::time::timeout(WAIT_TIMEOUT, ROOM.acquire()).await else {
        let detail = "Other attachments are being sent. Ask for it again in a moment.";
        return Err(Problem::new(Kind::Busy, detail));
    };
    let message = handset
        .store
        .run(move |db| blobs::whole(db.connection(), id, MESSAGE_BYTES_MAX))
        .await?;
    let read = tokio::task::spawn_blocking(move || mime::part(&message?, number));
    match read.await {
        Ok(Some(part)) => Ok((part, room)),
        _ => Err(no_such_part(resource)),
    }
}

/// A part on its way: its room is free when the last byte was sent.
struct Sent {
    bytes: Vec<u8>,
    _room: SemaphorePermit<'static>,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn no_such_part(resource: &Resource) -> Problem {
    let detail = format!(
        "This {} has no such part. Its attachments are counted from 1.",
        resource.item
    );
    Problem::new(Kind::NotFound, detail)
}
