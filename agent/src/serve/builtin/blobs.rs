//! Bytes that items are about: pictures, films, messages as they travelled, forms kept word for word.
//!
//! A blob lies in the store's file in chunks, so that neither writing nor reading one ever holds it in memory whole. It is
//! begun, appended to and finished by itself, then joined to an item in the transaction that adds the item: so an item
//! never has half of its bytes, and bytes that no item has are cleared away, at the next start if not before.
//! [`stream`] writes what a caller sends and reads what a caller gets; this file holds the tables, on the store's thread.

pub mod stream;

use blake2::{Blake2s256, Digest};
use rusqlite::{Connection, OptionalExtension, params};

use super::store::{StoreError, full};

/// Bytes of a chunk; only the last one of a blob is shorter.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Chunks that one blob may have: the low bits of a chunk's key count them.
const CHUNKS_MAX: i64 = 1 << 20;

/// Chunks that one step of [`sweep`] takes away: what comes meanwhile waits for no more than that.
const SWEPT_CHUNKS_MAX: i64 = 32;

/// Pages that stay in the file for what comes next; what is free beyond them is given back to the disk.
const FREE_PAGES_MAX: i64 = 4_096;

/// Pages that one step of [`sweep`] gives back: more than it frees.
const RETURNED_PAGES_MAX: i64 = 3_072;

/// Its tables. A chunk's key is `blob * 2^20 + number`: the chunks of a blob lie in a row, without an index of their own.
/// The triggers keep the sum in the same transaction as what it sums, whatever becomes of that.
pub const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS blobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        media_type TEXT NOT NULL,
        bytes INTEGER NOT NULL DEFAULT 0,
        digest BLOB,
        state TEXT NOT NULL DEFAULT 'loose'
    ) STRICT;
    CREATE INDEX IF NOT EXISTS blobs_dropped ON blobs (id) WHERE state = 'dropped';
    CREATE TABLE IF NOT EXISTS chunks (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS content_room (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        bytes INTEGER NOT NULL,
        bytes_max INTEGER NOT NULL
    ) STRICT;
    INSERT OR IGNORE INTO content_room VALUES (1, 0, 9223372036854775807);
    CREATE TRIGGER IF NOT EXISTS blobs_grow AFTER UPDATE OF bytes ON blobs BEGIN
        UPDATE content_room SET bytes = bytes + new.bytes - old.bytes;
    END;
    CREATE TRIGGER IF NOT EXISTS blobs_go AFTER DELETE ON blobs BEGIN
        UPDATE content_room SET bytes = bytes - old.bytes;
    END;";

/// What is known of an item's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Names it in the store.
    pub id: i64,
    /// What the bytes are.
    pub media_type: String,
    /// How many there are.
    pub bytes: u64,
    /// BLAKE2s-256 of them: bytes that are the same have the same.
    pub digest: Vec<u8>,
}

/// Says how many bytes all blobs may have together. What is there already stays, even if it is more.
pub fn limit(db: &Connection, bytes_max: u64) -> Result<(), StoreError> {
    let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
    let sql = "UPDATE content_room SET bytes_max = ?1 WHERE bytes_max <> ?1";
    db.prepare_cached(sql)?.execute([bytes_max]).map_err(full)?;
    Ok(())
}

/// Bytes of all blobs together, those included that are not cleared away yet; and how many there may be.
pub fn room(db: &Connection) -> Result<(u64, u64), StoreError> {
    let sql = "SELECT bytes, bytes_max FROM content_room";
    let (bytes, bytes_max) = db.query_row(sql, [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    })?;
    let count = |bytes: i64| u64::try_from(bytes).unwrap_or_default();
    Ok((count(bytes), count(bytes_max)))
}

/// Keeps bytes that are at hand. Belongs into the transaction of the item that has them.
pub fn keep(db: &Connection, media_type: &str, bytes: &[u8]) -> Result<Blob, StoreError> {
    let id = begin(db, media_type)?;
    for chunk in bytes.chunks(CHUNK_BYTES) {
        append(db, id, chunk)?;
    }
    let blob = finish(db, id, &digest(bytes))?;
    join(db, id)?;
    Ok(blob)
}

/// What [`Blob::digest`] is of these bytes.
pub fn digest(bytes: &[u8]) -> Vec<u8> {
    Blake2s256::digest(bytes).to_vec()
}

/// Begins a blob that belongs to nothing yet.
pub fn begin(db: &Connection, media_type: &str) -> Result<i64, StoreError> {
    db.prepare_cached("INSERT INTO blobs (media_type) VALUES (?1)")?
        .execute([media_type])
        .map_err(full)?;
    Ok(db.last_insert_rowid())
}

/// Appends a chunk to a blob that is not finished. Each but the last has [`CHUNK_BYTES`] bytes.
pub fn append(db: &Connection, id: i64, chunk: &[u8]) -> Result<(), StoreError> {
    assert!(chunk.len() <= CHUNK_BYTES, "a chunk is a chunk");
    let (used, used_max) = room(db)?;
    if used.saturating_add(chunk.len() as u64) > used_max {
        return Err(StoreError::Full);
    }
    let bytes: i64 = db
        .prepare_cached("SELECT bytes FROM blobs WHERE id = ?1 AND digest IS NULL")?
        .query_row([id], |row| row.get(0))?;
    let chunk_bytes = CHUNK_BYTES as i64;
    assert_eq!(bytes % chunk_bytes, 0, "only the last chunk is shorter");
    let number = bytes / chunk_bytes;
    if number >= CHUNKS_MAX {
        return Err(StoreError::Full);
    }
    db.prepare_cached("INSERT INTO chunks (id, bytes) VALUES (?1, ?2)")?
        .execute(params![id * CHUNKS_MAX + number, chunk])
        .map_err(full)?;
    db.prepare_cached("UPDATE blobs SET bytes = bytes + ?2 WHERE id = ?1")?
        .execute(params![id, chunk.len() as i64])
        .map_err(full)?;
    Ok(())
}

/// Ends a blob: nothing more comes.
pub fn finish(db: &Connection, id: i64, digest: &[u8]) -> Result<Blob, StoreError> {
    db.prepare_cached("UPDATE blobs SET digest = ?2 WHERE id = ?1")?
        .execute(params![id, digest])
        .map_err(full)?;
    find(db, id)?.ok_or_else(|| rusqlite::Error::QueryReturnedNoRows.into())
}

/// Gives a finished blob to an item, in the transaction that adds it. A blob belongs to one item.
pub fn join(db: &Connection, id: i64) -> Result<(), StoreError> {
    let sql =
        "UPDATE blobs SET state = 'joined' WHERE id = ?1 AND state = 'loose' AND digest NOT NULL";
    match db.prepare_cached(sql)?.execute([id]).map_err(full)? {
        1 => Ok(()),
        _ => Err(rusqlite::Error::QueryReturnedNoRows.into()),
    }
}

/// A finished blob.
pub fn find(db: &Connection, id: i64) -> Result<Option<Blob>, StoreError> {
    let sql = "SELECT media_type, bytes, digest FROM blobs
        WHERE id = ?1 AND digest NOT NULL AND state <> 'dropped'";
    let blob = db.prepare_cached(sql)?.query_row([id], |row| {
        Ok(Blob {
            id,
            media_type: row.get(0)?,
            bytes: u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default(),
            digest: row.get(2)?,
        })
    });
    Ok(blob.optional()?)
}

/// What there is from `offset` to the end of the chunk in which it lies: empty behind the last byte, and once the blob was
/// deleted.
pub fn read(db: &Connection, id: i64, offset: u64) -> Result<Vec<u8>, StoreError> {
    let (number, within) = (offset / CHUNK_BYTES as u64, offset % CHUNK_BYTES as u64);
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    if number >= CHUNKS_MAX {
        return Ok(Vec::new());
    }
    let mut select = db.prepare_cached("SELECT bytes FROM chunks WHERE id = ?1")?;
    let chunk: Option<Vec<u8>> = select
        .query_row([id * CHUNKS_MAX + number], |row| row.get(0))
        .optional()?;
    let mut chunk = chunk.unwrap_or_default();
    let within = usize::try_from(within)
        .unwrap_or(CHUNK_BYTES)
        .min(chunk.len());
    chunk.drain(..within);
    Ok(chunk)
}

/// All of a blob that has `bytes_max` bytes at most; `None` for a longer one, and one that is not there.
pub fn whole(db: &Connection, id: i64, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(blob) = find(db, id)?.filter(|blob| blob.bytes <= bytes_max) else {
        return Ok(None);
    };
    let mut bytes = Vec::with_capacity(usize::try_from(blob.bytes).unwrap_or_default());
    loop {
        let chunk = read(db, id, bytes.len() as u64)?;
        if chunk.is_empty() {
            return Ok((bytes.len() as u64 == blob.bytes).then_some(bytes));
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// Takes a blob from its item, in the transaction that deletes that. Its bytes go in the steps of [`sweep`]: a long film
/// would hold up everybody else.
pub fn delete(db: &Connection, id: i64) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE blobs SET state = 'dropped' WHERE id = ?1")?
        .execute([id])
        .map_err(full)?;
    Ok(())
}

/// Drops what was begun before the agent was ended, and never joined. Once, at start.
pub fn drop_loose(db: &Connection) -> Result<(), StoreError> {
    let sql = "UPDATE blobs SET state = 'dropped' WHERE state = 'loose'";
    db.execute(sql, []).map_err(full)?;
    Ok(())
}

/// Clears away some of the bytes of blobs that were deleted. `true`: there may be more.
pub fn sweep(db: &mut Connection) -> Result<bool, StoreError> {
    let dropped = "SELECT id FROM blobs WHERE state = 'dropped' ORDER BY id LIMIT 1";
    let dropped: Option<i64> = db
        .prepare_cached(dropped)?
        .query_row([], |row| row.get(0))
        .optional()?;
    let Some(id) = dropped else {
        return give_back(db);
    };
    let transaction = db.transaction()?;
    let (first, behind) = (id * CHUNKS_MAX, (id + 1) * CHUNKS_MAX);
    let sql = "DELETE FROM chunks WHERE id IN
        (SELECT id FROM chunks WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3)";
    let gone = transaction
        .prepare_cached(sql)?
        .execute(params![first, behind, SWEPT_CHUNKS_MAX])
        .map_err(full)?;
    if (gone as i64) < SWEPT_CHUNKS_MAX {
        transaction
            .prepare_cached("DELETE FROM blobs WHERE id = ?1")?
            .execute([id])
            .map_err(full)?;
    }
    transaction.commit().map_err(full)?;
    // At once, and not when all is free: SQLite looks for each page in the list of the free ones.
    give_back(db)?;
    Ok(true)
}

/// `false`: there is nothing to give back, or it is a file of an older agent, which keeps what it has.
fn give_back(db: &Connection) -> Result<bool, StoreError> {
    let free = || db.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0));
    let before = free()?;
    if before <= FREE_PAGES_MAX {
        return Ok(false);
    }
    let pages = RETURNED_PAGES_MAX.min(before - FREE_PAGES_MAX);
    let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut returned = vacuum.query([])?;
    // Each row is a page.
    while returned.next().map_err(full)?.is_some() {}
    let after = free()?;
    if after <= FREE_PAGES_MAX {
        // The file itself gets shorter once the log has been written into it.
        db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    }
    Ok(after < before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r30_the_disk_gets_back_what_was_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let mut db = Connection::open(directory.path().join("db")).unwrap();
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL")
            .unwrap();
        db.pragma_update(None, "journal_mode", "WAL").unwrap();
        db.execute_batch(SCHEMA).unwrap();
        let pages = |db: &Connection| {
            db.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))
                .unwrap()
        };
        let transaction = db.transaction().unwrap();
        let film = keep(&transaction, "a/b", &bytes(40 << 20)).unwrap();
        // What lies behind it is moved.
        let small = keep(&transaction, "a/b", &bytes(1 << 20)).unwrap();
        transaction.commit().unwrap();
        assert!(pages(&db) > 10_000);
        delete(&db, film.id).unwrap();
        let mut steps = 0;
        while sweep(&mut db).unwrap() {
            steps += 1;
        }
        assert!(steps < 20, "{steps}");
        assert!(pages(&db) < FREE_PAGES_MAX + 1_000, "{}", pages(&db));
        assert_eq!(whole(&db, small.id, 1 << 20).unwrap(), Some(bytes(1 << 20)));
    }

    fn open() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(SCHEMA).unwrap();
        db
    }

    fn chunks(db: &Connection) -> i64 {
        db.query_row("SELECT count(*) FROM chunks", [], |row| row.get(0))
            .unwrap()
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn r21_r23_bytes_come_back_from_every_offset() {
        let db = open();
        for count in [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 7] {
            let bytes = bytes(count);
            let blob = keep(&db, "video/mp4", &bytes).unwrap();
            assert_eq!(
                (blob.bytes, &blob.media_type[..]),
                (count as u64, "video/mp4")
            );
            assert_eq!(blob.digest, digest(&bytes));
            assert_eq!(find(&db, blob.id).unwrap(), Some(blob.clone()));
            assert_eq!(
                whole(&db, blob.id, count as u64).unwrap(),
                Some(bytes.clone())
            );
            for offset in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, count] {
                let read = read(&db, blob.id, offset as u64).unwrap();
                let end = (offset / CHUNK_BYTES + 1) * CHUNK_BYTES;
                let expected = bytes.get(offset..end.min(count)).unwrap_or_default();
                assert_eq!(read, expected, "{count} {offset}");
            }
            assert!(read(&db, blob.id, u64::MAX).unwrap().is_empty());
        }
        assert_eq!(whole(&db, 2, 0).unwrap(), None);
    }

    #[test]
    fn r30_deleted_bytes_go_in_steps_and_give_their_room_back() {
        let mut db = open();
        let small = keep(&db, "a/b", &bytes(9)).unwrap();
        let id = begin(&db, "a/b").unwrap();
        for _ in 0..=SWEPT_CHUNKS_MAX {
            append(&db, id, &bytes(CHUNK_BYTES)).unwrap();
        }
        finish(&db, id, b"x").unwrap();
        join(&db, id).unwrap();
        assert!(!sweep(&mut db).unwrap());
        delete(&db, id).unwrap();
        assert_eq!(find(&db, id).unwrap(), None);
        assert_eq!(whole(&db, id, u64::MAX).unwrap(), None);
        assert!(sweep(&mut db).unwrap());
        assert_eq!(chunks(&db), 2);
        assert!(sweep(&mut db).unwrap());
        assert!(!sweep(&mut db).unwrap());
        assert_eq!((chunks(&db), room(&db).unwrap().0), (1, 9));
        assert!(find(&db, small.id).unwrap().is_some());
    }

    #[test]
    fn r29_what_was_begun_and_not_joined_is_gone_after_a_start() {
        let mut db = open();
        let kept = keep(&db, "a/b", b"kept").unwrap();
        let begun = begin(&db, "a/b").unwrap();
        append(&db, begun, b"begun").unwrap();
        assert_eq!(find(&db, begun).unwrap(), None);
        assert!(join(&db, begun).is_err());
        drop_loose(&db).unwrap();
        while sweep(&mut db).unwrap() {}
        assert_eq!((chunks(&db), room(&db).unwrap().0), (1, 4));
        assert_eq!(find(&db, kept.id).unwrap(), Some(kept));
    }

    #[test]
    fn r17_more_than_there_is_room_for_is_refused_and_leaves_nothing() {
        let mut db = open();
        limit(&db, 10).unwrap();
        let transaction = db.transaction().unwrap();
        assert!(keep(&transaction, "a/b", b"ten bytes.").is_ok());
        transaction.commit().unwrap();
        let transaction = db.transaction().unwrap();
        assert!(matches!(
            keep(&transaction, "a/b", b"1"),
            Err(StoreError::Full)
        ));
        drop(transaction);
        assert_eq!((chunks(&db), room(&db).unwrap()), (1, (10, 10)));
        // The room that there is may shrink below what lies there: that stays.
        limit(&db, 5).unwrap();
        assert_eq!(whole(&db, 1, 10).unwrap(), Some(b"ten bytes.".to_vec()));
        assert!(matches!(append(&db, 1, b""), Err(StoreError::Full)));
    }

    #[test]
    fn r17_a_full_disk_is_told_and_leaves_nothing() {
        let db = open();
        let pages: i64 = db
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .unwrap();
        db.pragma_update(None, "max_page_count", pages + 8).unwrap();
        let id = begin(&db, "a/b").unwrap();
        let refused = append(&db, id, &bytes(CHUNK_BYTES));
        assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
        assert_eq!((chunks(&db), room(&db).unwrap().0), (0, 0));
    }
}
