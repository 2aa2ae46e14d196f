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
use crate::serve::builtin::resource::{BODY_BYTES_MAX, Form, Item, Resource};
use crate::serve::builtin::{json, xml};

/// How long the body of an added item may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Memory of all bodies that are held at a time, in KiB; what comes beyond waits. The longest one that is read fits.
const BODIES_KIB_MAX: usize = 32 * 1024;

/// How long a body that came in part waits for more memory. It holds what it has meanwhile: if nobody gave up, those that
/// have a part each would wait for one another.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

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

/// Bytes of a body in this form at most. Only what is kept as it came may be long, as a message with what hangs on it:
/// fields say no more than fits into the usual body, and take many times their bytes while they are read.
pub(super) fn bytes_max(resource: &Resource, sent: Option<Sent>) -> usize {
    match sent {
        Some(Sent::Form(form)) if form.kept => resource.body_bytes_max,
        _ => resource.body_bytes_max.min(BODY_BYTES_MAX),
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
    let room = tokio::time::timeout(ROOM_TIMEOUT, BODIES.acquire_many(kib)).await;
    // Never closed; and without room nothing is read.
    room.ok().and_then(Result::ok).ok_or_else(|| {
        let detail =
            "Others send much at the same time. Nothing was kept; send it again in a moment.";
        Problem::new(Kind::Busy, detail)
    })
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

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// So many MiB, one after the other, while others send too.
    fn sent(mib: usize) -> Body {
        Body::from_stream(stream::unfold(0, move |came| async move {
            tokio::task::yield_now().await;
            let piece = Bytes::from(vec![b'x'; MIB]);
            (came < mib).then(|| (Ok::<_, std::io::Error>(piece), came + 1))
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn r17_r29_long_bodies_that_come_at_once_do_not_keep_each_other_out() {
        let one = || async { collect(sent(14), 16 * MIB).await.map(drop) };
        let ends: [_; 4] = tokio::join!(one(), one(), one(), one()).into();
        let taken = ends.iter().filter(|end| end.is_ok()).count();
        assert!(taken >= 2, "{taken} of 4");
        for problem in ends.into_iter().filter_map(Result::err) {
            assert_eq!(problem.kind(), Kind::Busy);
        }
        assert!(
            collect(sent(16), 16 * MIB).await.is_ok(),
            "all room is back"
        );
    }
}
