//! Blobs that are longer than memory should hold: written as they come, read as they go, a chunk at a time.
//!
//! Who writes waits for the disk and who reads waits for the caller, so neither can run ahead of the other.

use std::ops::Range;

use axum::body::Body;
use blake2::{Blake2s256, Digest};
use bytes::Bytes;
use futures_util::stream::unfold;
use rusqlite::Connection;

use super::{Blob, CHUNK_BYTES, append, begin, finish, read};
use crate::serve::builtin::store::{Store, StoreError, full};

/// A blob that is being written. Dropped before [`Writer::finish`], what was written is cleared away.
#[derive(Debug)]
pub struct Writer {
    loose: Loose,
    chunk: Vec<u8>,
    hash: Blake2s256,
    bytes: u64,
}

/// A blob that belongs to nothing yet. Dropped before an item has it ([`super::join`]), it is cleared away.
#[derive(Debug)]
pub struct Loose {
    store: Store,
    id: i64,
}

impl Writer {
    /// Begins a blob of this media type.
    pub async fn begin(store: &Store, media_type: String) -> Result<Self, StoreError> {
        let id = store
            .run(move |database| begin(database.connection(), &media_type))
            .await?;
        let store = store.clone();
        Ok(Self {
            loose: Loose { store, id },
            chunk: Vec::new(),
            hash: Blake2s256::new(),
            bytes: 0,
        })
    }

    /// How many bytes came so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes bytes, however many; waits for the disk once a chunk is full.
    pub async fn push(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let fits = bytes.len().min(CHUNK_BYTES - self.chunk.len());
            let (now, later) = bytes.split_at(fits);
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == CHUNK_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Ends it. The blob is an item's once that is added; until then whoever holds the second value keeps it.
    pub async fn finish(mut self) -> Result<(Blob, Loose), StoreError> {
        if !self.chunk.is_empty() {
            self.flush().await?;
        }
        let Self { loose, hash, .. } = self;
        let (id, digest) = (loose.id, hash.finalize());
        let blob = loose
            .store
            .run(move |database| finish(database.connection(), id, &digest))
            .await?;
        Ok((blob, loose))
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        let (id, chunk) = (self.loose.id, std::mem::take(&mut self.chunk));
        let run = self.loose.store.run(move |database| {
            let db = database.connection();
            db.pragma_update(None, "synchronous", "NORMAL")?;
            let appended = append_whole(db, id, &chunk);
            db.pragma_update(None, "synchronous", "FULL")?;
            appended.map(|()| chunk)
        });
        // The same memory takes the next chunk.
        self.chunk = run.await?;
        self.chunk.clear();
        Ok(())
    }
}

/// In a transaction of its own, that need not be on the disk when it is done: the item's, which comes last, waits for the
/// whole log to be there.
fn append_whole(db: &mut Connection, id: i64, chunk: &[u8]) -> Result<(), StoreError> {
    let transaction = db.transaction()?;
    append(&transaction, id, chunk)?;
    transaction.commit().map_err(full)
}

impl Drop for Loose {
    fn drop(&mut self) {
        let (store, id) = (self.store.clone(), self.id);
        // Jobs are done in the order in which they were handed in, so one that joins it comes before this one.
        let clear = async move {
            let clear = store.run(move |database| drop_if_loose(database.connection(), id));
            if let Err(error) = clear.await {
                tracing::debug!(%error, "bytes that nobody has are left to the next start");
            }
        };
        // Without a runtime the agent is ending: the next start clears it away.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(clear);
        }
    }
}

fn drop_if_loose(db: &Connection, id: i64) -> Result<(), StoreError> {
    let sql = "UPDATE blobs SET state = 'dropped' WHERE id = ?1 AND state = 'loose'";
    db.prepare_cached(sql)?.execute([id]).map_err(full)?;
    Ok(())
}

/// These bytes of a blob as a body, read when the caller takes them. A blob that is deleted meanwhile ends it early,
/// which the caller notices: it was told how many bytes come.
pub fn body(store: &Store, id: i64, range: Range<u64>) -> Body {
    let store = store.clone();
    let chunks = unfold(Some(range), move |rest| {
        let store = store.clone();
        async move {
            let rest = rest.filter(|rest| !rest.is_empty())?;
            let offset = rest.start;
            let chunk = store
                .run(move |database| read(database.connection(), id, offset))
                .await;
            let mut chunk = match chunk {
                Ok(chunk) if chunk.is_empty() => return Some((Err(Ended::Deleted), None)),
                Ok(chunk) => chunk,
                Err(error) => return Some((Err(Ended::Store(error)), None)),
            };
            let wanted = usize::try_from(rest.end - rest.start).unwrap_or(usize::MAX);
            chunk.truncate(wanted);
            let next = rest.start + chunk.len() as u64..rest.end;
            Some((Ok(Bytes::from(chunk)), Some(next)))
        }
    });
    Body::from_stream(chunks)
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the item was deleted meanwhile")]
    Deleted,
    #[error(transparent)]
    Store(StoreError),
}
