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
use http::StatusCode;
use http::header::ALLOW;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::blobs;
use super::conditional::State as Tags;
use super::handset::Handset;
use super::media::file::File;
use super::media::{number, outcome, permitted};
use super::mime::{self, Part};
use super::problem::{Kind, Problem};
use super::resource::{Form, Resource};

const METHODS: &str = "GET, HEAD, OPTIONS";

/// Parts that are in memory at a time, until the last byte of each was sent.
const HELD_MAX: usize = 4;

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

/// R25, R26.
async fn show(
    State(messages): State<Arc<Messages>>,
    Path((id, segment)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let Messages { resource, handset } = &*messages;
    let (parts, _) = request.into_parts();
    let (stored, permit) = permitted(handset, resource, &id, &parts).await?;
    let wanted = number(&segment).and_then(|n| usize::try_from(n).ok());
    let blob = stored.content.as_ref();
    let blob = blob.filter(|blob| blob.media_type == mime::MEDIA_TYPE);
    let (Some(blob), Some(wanted)) = (blob, wanted) else {
        permit.done("not-found");
        return Err(no_such_part(resource));
    };
    let Ok(Ok(room)) = tokio::time::timeout(WAIT_TIMEOUT, ROOM.acquire()).await else {
        permit.done("busy");
        let detail = "Other attachments are being sent. Ask for it again in a moment.";
        return Err(Problem::new(Kind::Busy, detail));
    };
    let (id, bytes_max) = (blob.id, resource.body_bytes_max as u64);
    let message = handset
        .store
        .run(move |db| blobs::whole(db.connection(), id, bytes_max.max(MESSAGE_BYTES_MAX)))
        .await?;
    let read = tokio::task::spawn_blocking(move || mime::part(&message?, wanted));
    let Ok(Some(part)) = read.await else {
        permit.done("not-found");
        return Err(no_such_part(resource));
    };
    let Part {
        media_type,
        name,
        bytes,
    } = part;
    let bytes = Bytes::from_owner(Sent { bytes, _room: room });
    let etag = Tags::of_item(resource, &stored).tag(&format!("part-{wanted}"));
    let file = File::in_memory(media_type, bytes, etag).named(name);
    let response = file.answer(&parts.method, &parts.headers);
    permit.done(&outcome(Some(&response)));
    Ok(response)
}

/// Bytes of a message that came over the air, and is read for a part of it, at most.
const MESSAGE_BYTES_MAX: u64 = 32 * 1024 * 1024;

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
