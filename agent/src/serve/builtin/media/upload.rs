//! A file on its way onto the handset: the bytes themselves, streamed to the disk, of whatever length.
//!
//! What they are has to be what the request says. Nothing is held but a chunk, and nothing is bounded in time but the
//! standstill: a film over a slow network may take as long as it goes on.

use std::time::Duration;

use axum::body::Body;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::probe::{self, Probed, Source};
use super::{Said, disposition, sniff};
use crate::serve::builtin::blobs::stream::{Loose, Writer};
use crate::serve::builtin::blobs::{self, Blob};
use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::resource::{Content, Item, Resource};
use crate::serve::builtin::store::Store;

/// Within this time [`PROGRESS_BYTES`] have to come, or the end.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(60);

/// What a caller on the slowest network brings over within [`PROGRESS_TIMEOUT`].
const PROGRESS_BYTES: u64 = 16 * 1024;

/// What the head of a request says of the file that comes behind it.
#[derive(Debug)]
pub struct Upload {
    resource: &'static Resource,
    content: &'static Content,
    media_type: String,
    file_name: Option<String>,
    title: Option<String>,
    bytes: Option<u64>,
}

impl Upload {
    /// `None`: items of this resource are not files. A file that would be refused is refused before it is sent.
    pub fn of(resource: &'static Resource, headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(content) = &resource.content else {
            return Ok(None);
        };
        let said = headers.get(CONTENT_TYPE).and_then(|t| t.to_str().ok());
        let media_type = sniff::canonical(said.unwrap_or_default());
        if !content.media_types.contains(&media_type.as_str()) {
            let detail = format!(
                "Send the file itself, with what it is in Content-Type: {}.",
                content.media_types.join(", ")
            );
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
        let bytes = headers.get(CONTENT_LENGTH).and_then(|l| l.to_str().ok());
        let bytes = bytes.and_then(|bytes| bytes.parse().ok());
        let title = disposition::slug(headers);
        let upload = Self {
            resource,
            content,
            media_type,
            file_name: disposition::file_name(headers).or_else(|| title.clone()),
            title,
            bytes,
        };
        match bytes.filter(|bytes| *bytes > content.bytes_max) {
            Some(_) => Err(upload.too_large()),
            None => Ok(Some(upload)),
        }
    }

    /// What is known of it before it comes: what the owner is asked about.
    pub fn announced(&self) -> Item {
        self.item(self.bytes, Probed::default())
    }

    /// How long it says that it is.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Takes it, and puts it onto the disk. It is there for good once an item has it; until then the last value keeps it.
    pub async fn take(self, store: &Store, body: Body) -> Result<(Item, Blob, Loose), Problem> {
        let written = self.write(store, body).await?;
        let (blob, loose) = written.finish().await?;
        let (id, bytes, media_type) = (blob.id, blob.bytes, self.media_type.clone());
        let probed = store
            .run(move |database| {
                let db = database.connection();
                // What can't be read now is not told; the bytes themselves are there.
                let mut fetch = |offset| blobs::read(db, id, offset).unwrap_or_default();
                let mut source = Source::new(bytes, &mut fetch);
                Ok(probe::probe(&media_type, &mut source))
            })
            .await?;
        Ok((self.item(Some(blob.bytes), probed), blob, loose))
    }

    async fn write(&self, store: &Store, mut body: Body) -> Result<Writer, Problem> {
        let mut head = Vec::new();
        let mut writer = None;
        let (mut deadline, mut due) = (Instant::now() + PROGRESS_TIMEOUT, PROGRESS_BYTES);
        let mut came = 0_u64;
        loop {
            let Ok(frame) = tokio::time::timeout_at(deadline, body.frame()).await else {
                let detail = "Nothing of it came for too long. Nothing was kept; send it again.";
                return Err(Problem::new(Kind::BodyTimeout, detail));
            };
            let Some(frame) = frame else { break };
            let Ok(frame) = frame else {
                let detail = "The body ended too early. Nothing was kept; send it again.";
                return Err(Problem::new(Kind::BadItem, detail));
            };
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            came += bytes.len() as u64;
            if came > self.content.bytes_max {
                return Err(self.too_large());
            }
            match &mut writer {
                Some(writer) => Writer::push(writer, &bytes).await?,
                None => {
                    head.extend_from_slice(&bytes);
                    if head.len() >= sniff::HEAD_BYTES {
                        writer = Some(self.begin(store, &head).await?);
                    }
                }
            }
            if came >= due {
                due = came + PROGRESS_BYTES;
                deadline = Instant::now() + PROGRESS_TIMEOUT;
            }
        }
        match writer {
            Some(writer) => Ok(writer),
            None => self.begin(store, &head).await,
        }
    }

    /// Begins to keep it, if it begins like what it is said to be.
    async fn begin(&self, store: &Store, head: &[u8]) -> Result<Writer, Problem> {
        if !sniff::is(&self.media_type, head) {
            let told = match sniff::told_by(head) {
                _ if head.is_empty() => "There are none".to_owned(),
                Some(told) => format!("They look like {told}"),
                None => "They look like nothing that is known here".to_owned(),
            };
            let fault = format!("The bytes are not {}: {told}.", self.media_type);
            return Err(Problem::new(Kind::BadItem, fault));
        }
        let mut writer = Writer::begin(store, self.media_type.clone()).await?;
        writer.push(head).await?;
        Ok(writer)
    }

    fn too_large(&self) -> Problem {
        let (item, bytes_max) = (self.resource.item, self.content.bytes_max);
        let detail = format!("A file of one {item} has {bytes_max} bytes at most.");
        Problem::new(Kind::TooLarge, detail)
    }

    fn item(&self, bytes: Option<u64>, probed: Probed) -> Item {
        let said = Said {
            media_type: &self.media_type,
            file_name: self.file_name.as_deref(),
            title: self.title.as_deref(),
            bytes,
        };
        said.item(self.resource, probed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::stream;

    use super::super::super::resource::ALL;
    use super::*;

    fn upload() -> Upload {
        let resource = ALL.iter().find(|resource| resource.name == "images");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, "image/jpeg".parse().unwrap())]);
        Upload::of(resource.unwrap(), &headers).unwrap().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn r17_r21_a_file_that_stands_still_is_given_up_and_one_that_trickles_too() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("db"), ALL).unwrap();
        let still = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let drop_by_drop = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"\xff")), ()))
        });
        for body in [still, Body::from_stream(drop_by_drop)] {
            let begun = Instant::now();
            let problem = upload().take(&store, body).await.unwrap_err();
            assert_eq!(problem.kind(), Kind::BodyTimeout);
            assert_eq!(begun.elapsed(), PROGRESS_TIMEOUT);
        }
    }
}
