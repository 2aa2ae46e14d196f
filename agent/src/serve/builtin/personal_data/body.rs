//! Bodies of added items: taken in whole, in bounds, and read in the form in which they were sent.

use std::ops::Deref;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::representation::Sent;
use crate::serve::builtin::resource::{Form, Item, Resource};
use crate::serve::builtin::{json, xml};

/// How long the body of an added item may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Memory of all bodies that are held at a time, in KiB; what comes beyond waits. The longest one that is read fits.
const BODIES_KIB_MAX: usize = 32 * 1024;

static BODIES: Semaphore = Semaphore::const_new(BODIES_KIB_MAX);

/// A body, and the right to the memory that it takes.
#[derive(Debug)]
pub(in crate::serve::builtin) struct Held {
    bytes: Bytes,
    _room: SemaphorePermit<'static>,
}

impl Deref for Held {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// Takes a body in.
pub(in crate::serve::builtin) async fn collect(
    body: Body,
    bytes_max: usize,
) -> Result<Held, Problem> {
    let announced = body.size_hint().upper();
    let announced = announced.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large(bytes_max));
    }
    let whole = tokio::time::timeout(BODY_TIMEOUT, held(body, bytes_max)).await;
    whole.unwrap_or_else(|_| Err(late()))
}

/// Takes room as the bytes come: who announces much and sends little keeps nobody else out.
async fn held(mut body: Body, bytes_max: usize) -> Result<Held, Problem> {
    let mut bytes = BytesMut::new();
    let mut room = take(0).await?;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Problem::new(Kind::BadItem, "The body ended too early."));
        };
        let Ok(came) = frame.into_data() else {
            continue;
        };
        let length = bytes.len().saturating_add(came.len());
        if length > bytes_max {
            return Err(too_large(bytes_max));
        }
        let kib = length.div_ceil(1024);
        room.merge(take(kib.saturating_sub(room.num_permits())).await?);
        bytes.extend_from_slice(&came);
    }
    Ok(Held {
        bytes: bytes.freeze(),
        _room: room,
    })
}

async fn take(kib: usize) -> Result<SemaphorePermit<'static>, Problem> {
    let kib = u32::try_from(kib).unwrap_or(u32::MAX);
    // Never closed; and without room nothing is read.
    BODIES.acquire_many(kib).await.ok().ok_or_else(late)
}

fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("An item has {bytes_max} bytes at most.");
    Problem::new(Kind::TooLarge, detail)
}

fn late() -> Problem {
    let detail = format!("It may take {} seconds.", BODY_TIMEOUT.as_secs());
    Problem::new(Kind::BodyTimeout, detail)
}

/// The item that a body says, held against the description.
pub(in crate::serve::builtin) fn read(
    resource: &Resource,
    sent: Sent,
    body: &[u8],
) -> Result<Item, Problem> {
    let item = match sent {
        Sent::Json => json::decode(resource, body)?,
        Sent::Xml => xml::decode(resource, body)?,
        Sent::Form(form) => form.read.ok_or_else(|| unread(resource))?(resource, body)?,
    };
    let item = match sent {
        Sent::Form(form) if form.kept => resource.fit(item),
        _ => item,
    };
    let mut item = resource.check(item)?;
    if let Some(complete) = resource.complete {
        complete(resource, &mut item)?;
    }
    Ok(item)
}

/// There is no such form to send an item in.
pub(in crate::serve::builtin) fn unread(resource: &Resource) -> Problem {
    let read = |form: &&Form| form.read.is_some();
    let forms = resource.forms.iter().filter(read);
    let forms: String = forms.map(|form| format!(", {}", form.media_type)).collect();
    let detail = format!("Send UTF-8 as application/json, application/xml{forms}.");
    Problem::new(Kind::UnsupportedMediaType, detail)
}
