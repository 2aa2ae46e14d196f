//! The tables of items, one for each resource: what the manager of personal data and the handset itself do with them.
//!
//! Functions on a connection, so that an item can share a transaction with what belongs to it: its bytes, the key of the
//! request that adds it, the task that waits for it. Nobody's permit is asked for here; that is the managers' part.
//! How many items a memory holds, and how often a list changed, is kept by triggers: neither is ever counted.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::blobs;
use super::super::json;
use super::super::resource::{Item, Memory, Resource, Value};
use super::{StoreError, Stored, full, has_column};

/// Items and changes of each memory. `version` begins at random, so that a file that was made anew is not taken for the
/// old one.
const LISTS: &str = "
    CREATE TABLE IF NOT EXISTS lists (
        resource TEXT NOT NULL,
        store TEXT NOT NULL,
        items INTEGER NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (resource, store)
    ) WITHOUT ROWID, STRICT;";

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Of one memory alone; `None`: of each.
    pub store: Option<&'static str>,
    /// Behind the item of this id; `None`: from the first.
    pub after: Option<i64>,
    /// The newest first.
    pub newest_first: bool,
    /// Items at most.
    pub items_max: u32,
    /// Bytes at most, of the items as they are kept; the first item comes whatever it has.
    pub bytes_max: usize,
    /// Whether the bytes of blobs count among them.
    pub with_blobs: bool,
}

/// A part of a list.
#[derive(Debug)]
pub struct Found {
    /// In the order of their ids, or against it.
    pub items: Vec<Stored>,
    /// Where to go on; `None`: that was all.
    pub next: Option<i64>,
}

/// Makes the tables that are not there. Names come from the descriptions, never from a caller.
pub(super) fn lay_out(db: &Connection, resources: &[&Resource]) -> Result<(), StoreError> {
    db.execute_batch(LISTS)?;
    for resource in resources.iter().filter(|r| r.is_collection()) {
        let name = resource.name;
        db.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS \"{name}\" (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                store TEXT NOT NULL,
                content TEXT NOT NULL,
                blob INTEGER
            ) STRICT;"
        ))?;
        if !has_column(db, name, "blob")? {
            // Layout 1.
            db.execute_batch(&format!("ALTER TABLE \"{name}\" ADD COLUMN blob INTEGER;"))?;
        }
        db.execute_batch(&format!(
            "CREATE INDEX IF NOT EXISTS \"{name} by store\" ON \"{name}\" (store);
             CREATE TRIGGER IF NOT EXISTS \"{name} added\" AFTER INSERT ON \"{name}\" BEGIN
                UPDATE lists SET items = items + 1, version = version + 1
                WHERE resource = '{name}' AND store = new.store;
             END;
             CREATE TRIGGER IF NOT EXISTS \"{name} changed\" AFTER UPDATE ON \"{name}\" BEGIN
                UPDATE lists SET version = version + 1 WHERE resource = '{name}' AND store = new.store;
             END;
             CREATE TRIGGER IF NOT EXISTS \"{name} deleted\" AFTER DELETE ON \"{name}\" BEGIN
                UPDATE lists SET items = items - 1, version = version + 1
                WHERE resource = '{name}' AND store = old.store;
             END;"
        ))?;
        for memory in resource.memories {
            db.execute(
                &format!(
                    "INSERT OR IGNORE INTO lists VALUES (?1, ?2,
                        (SELECT count(*) FROM \"{name}\" WHERE store = ?2), abs(random() % 4294967296))"
                ),
                params![name, memory.name],
            )?;
        }
    }
    Ok(())
}

/// How often the list changed, of one memory or of all: another number is another list.
pub fn version(
    db: &Connection,
    resource: &Resource,
    store: Option<&str>,
) -> Result<i64, StoreError> {
    let sql = "SELECT coalesce(sum(version), 0) FROM lists
               WHERE resource = ?1 AND (?2 IS NULL OR store = ?2)";
    let mut select = db.prepare_cached(sql)?;
    Ok(select.query_row(params![resource.name, store], |row| row.get(0))?)
}

/// How many items a memory holds.
pub fn count(db: &Connection, resource: &Resource, store: &str) -> Result<u64, StoreError> {
    let sql = "SELECT items FROM lists WHERE resource = ?1 AND store = ?2";
    let items: Option<i64> = db
        .prepare_cached(sql)?
        .query_row([resource.name, store], |row| row.get(0))
        .optional()?;
    Ok(items
        .and_then(|items| u64::try_from(items).ok())
        .unwrap_or_default())
}

/// A part of a list, read by its index alone, however long the list is.
pub fn list(db: &Connection, resource: &Resource, wanted: &Wanted) -> Result<Found, StoreError> {
    let after = wanted.after.unwrap_or(match wanted.newest_first {
        true => i64::MAX,
        false => 0,
    });
    let mut select = db.prepare_cached(&select(resource, wanted))?;
    let mut rows = select.query(params![after, wanted.store])?;
    let mut found = Found {
        items: Vec::new(),
        next: None,
    };
    let (mut last, mut items, mut bytes) = (after, 0, 0_u64);
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let length = row.get_ref(2)?.as_str().map_or(0, str::len);
        let stored = stored(db, resource, row)?;
        bytes = bytes.saturating_add(length as u64);
        if let (true, Some(blob)) = (
            wanted.with_blobs,
            stored.as_ref().and_then(|s| s.content.as_ref()),
        ) {
            bytes = bytes.saturating_add(blob.bytes);
        }
        if items > 0 && (items == wanted.items_max || bytes > wanted.bytes_max as u64) {
            found.next = Some(last);
            break;
        }
        found.items.extend(stored);
        items += 1;
        last = id;
    }
    Ok(found)
}

/// Goes along an index: of the ids, or of the ids of one memory.
fn select(resource: &Resource, wanted: &Wanted) -> String {
    let (behind, order) = match wanted.newest_first {
        true => ("<", "DESC"),
        false => (">", "ASC"),
    };
    let in_store = match wanted.store {
        Some(_) => "store = ?2 AND",
        None => "?2 IS NULL AND",
    };
    format!(
        "SELECT id, store, content, blob FROM \"{}\" WHERE {in_store} id {behind} ?1 ORDER BY id {order}",
        resource.name
    )
}

/// The item of this id.
pub fn item(db: &Connection, resource: &Resource, id: i64) -> Result<Option<Stored>, StoreError> {
    let mut select = db.prepare_cached(&format!(
        "SELECT id, store, content, blob FROM \"{}\" WHERE id = ?1",
        resource.name
    ))?;
    let mut rows = select.query([id])?;
    match rows.next()? {
        Some(row) => stored(db, resource, row),
        None => Ok(None),
    }
}

/// Adds an item to a memory that holds `items_max` at most. Its blob, if it has one, was kept or joined in the same
/// transaction.
pub fn add(
    db: &Connection,
    resource: &Resource,
    memory: &Memory,
    items_max: u64,
    item: Item,
    blob: Option<i64>,
) -> Result<Stored, StoreError> {
    if count(db, resource, memory.name)? >= items_max {
        match memory.rolls {
            true => delete_oldest(db, resource, memory.name)?,
            false => return Err(StoreError::Full),
        }
    }
    let sql = format!(
        "INSERT INTO \"{}\" (store, content, blob) VALUES (?1, ?2, ?3)",
        resource.name
    );
    let content = json::content(resource, &item);
    db.prepare_cached(&sql)?
        .execute(params![memory.name, content, blob])
        .map_err(full)?;
    Ok(Stored {
        id: db.last_insert_rowid(),
        store: memory.name.to_owned(),
        item,
        content: match blob {
            Some(blob) => blobs::find(db, blob)?,
            None => None,
        },
    })
}

/// Sets a field that the handset gives, as the delivery of a message; `None` empties it. Gives the item as it is then,
/// `None` if it was deleted meanwhile.
pub fn set(
    db: &Connection,
    resource: &Resource,
    id: i64,
    field: &str,
    value: impl Into<Option<Value>>,
) -> Result<Option<Stored>, StoreError> {
    let Some(mut stored) = item(db, resource, id)? else {
        return Ok(None);
    };
    resource.put(&mut stored.item, field, value);
    let sql = format!(
        "UPDATE \"{}\" SET content = ?2 WHERE id = ?1",
        resource.name
    );
    let content = json::content(resource, &stored.item);
    db.prepare_cached(&sql)?
        .execute(params![id, content])
        .map_err(full)?;
    Ok(Some(stored))
}

/// Deletes the item of this id and its bytes; `false` if there is none.
pub fn delete(db: &Connection, resource: &Resource, id: i64) -> Result<bool, StoreError> {
    let sql = format!(
        "DELETE FROM \"{}\" WHERE id = ?1 RETURNING blob",
        resource.name
    );
    let blob: Option<Option<i64>> = db
        .prepare_cached(&sql)?
        .query_row([id], |row| row.get(0))
        .optional()
        .map_err(full)?;
    if let Some(Some(blob)) = blob {
        blobs::delete(db, blob)?;
    }
    Ok(blob.is_some())
}

/// Deletes every item, of one memory or of all, and tells how many there were.
pub fn delete_all(
    db: &Connection,
    resource: &Resource,
    store: Option<&str>,
) -> Result<u64, StoreError> {
    let name = resource.name;
    let theirs = format!(
        "SELECT blob FROM \"{name}\" WHERE (?1 IS NULL OR store = ?1) AND blob IS NOT NULL"
    );
    let mut select = db.prepare_cached(&theirs)?;
    let mut rows = select.query([store])?;
    while let Some(row) = rows.next()? {
        blobs::delete(db, row.get(0)?)?;
    }
    let sql = format!("DELETE FROM \"{name}\" WHERE ?1 IS NULL OR store = ?1");
    let deleted = db.prepare_cached(&sql)?.execute([store]).map_err(full)?;
    Ok(deleted as u64)
}

fn delete_oldest(db: &Connection, resource: &Resource, store: &str) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT id FROM \"{}\" WHERE store = ?1 ORDER BY id LIMIT 1",
        resource.name
    );
    let oldest: Option<i64> = db
        .prepare_cached(&sql)?
        .query_row([store], |row| row.get(0))
        .optional()?;
    if let Some(id) = oldest {
        delete(db, resource, id)?;
    }
    Ok(())
}

/// A row that some other program wrote may not fit: it is told and passed over, so that it can't hide the others.
fn stored(
    db: &Connection,
    resource: &Resource,
    row: &Row<'_>,
) -> Result<Option<Stored>, StoreError> {
    let id = row.get(0)?;
    let item = match json::restore(
        resource,
        row.get_ref(2)?.as_str().unwrap_or_default().as_bytes(),
    ) {
        Ok(item) => item,
        Err(error) => {
            tracing::warn!(resource = resource.name, id, field = %error.field, "an item can't be read, and is passed over");
            return Ok(None);
        }
    };
    let content = match row.get(3)? {
        Some(blob) => blobs::find(db, blob)?,
        None => None,
    };
    Ok(Some(Stored {
        id,
        store: row.get(1)?,
        item,
        content,
    }))
}

#[cfg(test)]
mod tests;
