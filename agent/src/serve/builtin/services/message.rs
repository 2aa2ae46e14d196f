//! Sending an MMS or an email (R43, R44): one MIME message, with the handset's own files attached.
//!
//! It is kept as it goes, in `/mms` or `/emails`, before the hardware hears of it; what is handed over is read from there.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::job::{Draft, Job, message_event, set_state, url};
use super::order::{Attached, Message};
use crate::serve::builtin::blobs;
use crate::serve::builtin::descriptions::now;
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::mime::{self, Attachment};
use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::resource::{FieldError, Item, Resource, Value};
use crate::serve::builtin::store::{StoreError, items};
use crate::serve::builtin::tasks::{End, State};

/// Bytes of everything attached to one MMS: what operators take at most.
const MMS_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of everything attached to one email: what mail servers take once it is encoded.
const EMAIL_BYTES_MAX: u64 = 12 * 1024 * 1024;

/// Messages that are in memory whole at a time; the next one waits.
static WHOLE: Semaphore = Semaphore::const_new(2);

/// A message ready to be kept, and the right to the memory that it takes.
pub struct Composed {
    /// What it says.
    pub item: Item,
    /// As it goes.
    pub bytes: Vec<u8>,
    _room: SemaphorePermit<'static>,
}

/// Puts a message together, as an item of this resource.
pub async fn compose(
    handset: &Handset,
    message: &Message,
    kept: &'static Resource,
) -> Result<Composed, Problem> {
    let room = room().await?;
    let bytes_max = bytes_max(kept);
    let mut attachments = Vec::new();
    let mut bytes = 0;
    for (at, attached) in message.attachments.iter().enumerate() {
        let attachment = attachment(handset, *attached, bytes_max).await?;
        let attachment = attachment.ok_or_else(|| {
            let fault = format!("is not there, or has more than {bytes_max} bytes");
            FieldError::new(format!("attach[{at}]"), fault)
        })?;
        bytes += attachment.bytes.len() as u64;
        if bytes > bytes_max {
            let fault = format!("has more than {bytes_max} bytes together");
            return Err(FieldError::new("attach", fault).into());
        }
        attachments.push(attachment);
    }
    let mut item = kept.blank();
    for name in ["to", "cc", "bcc", "subject", "text"] {
        let value = message.resource.value(&message.item, name);
        if let Some(value) = value {
            kept.put(&mut item, name, value.clone());
        }
    }
    kept.put(&mut item, "at", Value::Text(now()));
    let bytes = mime::message(kept, &item, &attachments);
    // What is kept says what goes, and not what was meant.
    let mut item = mime::read(kept, &bytes)?;
    kept.put(&mut item, "direction", Value::Text("out".to_owned()));
    kept.put(&mut item, "state", Value::Text("sending".to_owned()));
    Ok(Composed {
        item,
        bytes,
        _room: room,
    })
}

/// Hands it over.
pub async fn run(job: Job, draft: Draft) {
    let Some((resource, id)) = draft else {
        return;
    };
    let sent = send(&job, resource, id).await;
    let message_id = match sent {
        Ok(message_id) => message_id,
        Err(problem) => return job.failed(problem, draft).await,
    };
    job.finish(move |connection| {
        set_state(connection, resource, id, "sent", None)?;
        if let Some(message_id) = message_id {
            items::set(
                connection,
                resource,
                id,
                "message_id",
                Value::Text(message_id),
            )?;
        }
        let event = message_event(resource, id, "sent");
        Ok((State::Done, End::with(url((resource, id))), Some(event)))
    })
    .await;
}

async fn send(job: &Job, resource: &'static Resource, id: i64) -> Result<Option<String>, Problem> {
    let _room = room().await?;
    // Base64 and the head add to what is attached.
    let bytes_max = 2 * bytes_max(resource) + 1024 * 1024;
    let read = job.handset.store.run(move |db| {
        let stored = items::item(db.connection(), resource, id)?;
        match stored.and_then(|stored| stored.content) {
            Some(blob) => blobs::whole(db.connection(), blob.id, bytes_max),
            None => Ok(None),
        }
    });
    let Some(message) = read.await? else {
        let detail = "It was deleted before it went.";
        return Err(Problem::new(Kind::NotFound, detail));
    };
    job.hand_over().await?;
    let device = &job.handset.device;
    match resource.name {
        "mms" => Ok(Some(device.send_mms(&message).await?)),
        _ => {
            device.send_email(&message).await?;
            Ok(None)
        }
    }
}

async fn attachment(
    handset: &Handset,
    (resource, id): Attached,
    bytes_max: u64,
) -> Result<Option<Attachment>, StoreError> {
    let read = handset.store.run(move |db| {
        let Some(stored) = items::item(db.connection(), resource, id)? else {
            return Ok(None);
        };
        let Some(blob) = &stored.content else {
            return Ok(None);
        };
        let bytes = blobs::whole(db.connection(), blob.id, bytes_max)?;
        Ok(bytes.map(|bytes| (stored, bytes)))
    });
    let read = read.await?;
    Ok(read.map(|(stored, bytes)| {
        let name = resource.text(&stored.item, "file_name");
        let name = name.map_or_else(|| format!("{}-{id}", resource.item), str::to_owned);
        let media_type = stored.content.map(|blob| blob.media_type);
        Attachment {
            media_type: media_type.unwrap_or_default(),
            name,
            bytes,
        }
    }))
}

fn bytes_max(resource: &Resource) -> u64 {
    match resource.name {
        "mms" => MMS_BYTES_MAX,
        _ => EMAIL_BYTES_MAX,
    }
}

async fn room() -> Result<SemaphorePermit<'static>, Problem> {
    // It is never closed.
    let room = WHOLE.acquire().await;
    room.map_err(|_closed| Problem::new(Kind::Internal, "The service broke off."))
}
