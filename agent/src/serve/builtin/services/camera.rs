//! The camera (R45, R46): a photograph becomes an image, a recording a video, with the bytes that the device made.

use std::time::Duration;

use super::job::{Job, done, keep};
use crate::device::Recorded;
use crate::serve::builtin::descriptions::{IMAGES, VIDEOS, now};
use crate::serve::builtin::media::describe;
use crate::serve::builtin::resource::{Resource, Value};

/// Takes a photograph.
pub async fn photograph(job: Job, title: Option<String>) {
    match job.handset.device.photograph().await {
        Ok(recorded) => keep_recorded(job, &IMAGES, recorded, title).await,
        Err(error) => job.failed(error.into(), None).await,
    }
}

/// Records a video for this long, or until its user stops it by deleting the task.
pub async fn record(job: Job, length: Duration, title: Option<String>) {
    let stop = job.handset.tasks.stoppable(job.id);
    if let Err(error) = job.handset.device.start_video(length).await {
        return job.failed(error.into(), None).await;
    }
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        () = stop.notified() => {}
    }
    match job.handset.device.stop_video().await {
        Ok(recorded) => keep_recorded(job, &VIDEOS, recorded, title).await,
        Err(error) => job.failed(error.into(), None).await,
    }
}

async fn keep_recorded(
    job: Job,
    resource: &'static Resource,
    recorded: Recorded,
    title: Option<String>,
) {
    let taken = now();
    let stamp: String = taken.chars().filter(char::is_ascii_digit).collect();
    let ending = recorded.media_type.rsplit('/').next().unwrap_or_default();
    let file_name = format!("{}-{stamp}.{ending}", resource.item);
    let (media_type, bytes) = (recorded.media_type, &recorded.bytes);
    let mut item = describe(
        resource,
        media_type,
        bytes,
        Some(&file_name),
        title.as_deref(),
    );
    resource.put(&mut item, "taken", Value::Text(taken));
    job.finish(move |connection| {
        let bytes = (recorded.media_type, recorded.bytes.as_slice());
        let id = keep(connection, resource, item, Some(bytes))?;
        Ok(done(format!("/{}/{id}", resource.path())))
    })
    .await;
}
