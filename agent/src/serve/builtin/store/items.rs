//! The tables of items, one for each resource: what the manager of personal data and the handset itself do with them.
//!
//! Functions on a connection, so that an item can share a transaction with what belongs to it: its bytes, the key of the
//! request that adds it, the task that waits for it. Nobody's permit is asked for here; that is the managers' part.
//! How many items a memory holds, and how often a list changed, is kept by triggers: neither is ever counted.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::blobs;
use super::super::json;
use super::super::resource::{Item, Memory, Resource, Value};
use super::{StoreError, Stored, full};

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
        let select = format!("SELECT 1 FROM pragma_table_info('{name}') WHERE name = 'blob'");
        let has_blob = db.query_row(&select, [], |_| Ok(())).optional()?.is_some();
        if !has_blob {
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
mod tests {
    use std::path::Path;

    use super::super::super::descriptions::{CONTACTS, INCOMING_CALLS, SMS};
    use super::super::super::resource::{ALL, PHONE, SIM};
    use super::super::Database;
    use super::*;

    fn open(path: &Path) -> Database {
        Database::open(path, ALL).unwrap()
    }

    fn named(name: &str) -> Item {
        let mut item = CONTACTS.blank();
        CONTACTS.put(&mut item, "name", Value::Text(name.to_owned()));
        item
    }

    fn phone(resource: &Resource) -> &'static Memory {
        resource.memory(PHONE).unwrap()
    }

    fn add_contact(db: &Connection, name: &str) -> i64 {
        add(db, &CONTACTS, phone(&CONTACTS), 9, named(name), None)
            .unwrap()
            .id
    }

    fn page(after: Option<i64>, items_max: u32) -> Wanted {
        Wanted {
            store: None,
            after,
            newest_first: false,
            items_max,
            bytes_max: usize::MAX,
            with_blobs: false,
        }
    }

    fn ids(found: &Found) -> Vec<i64> {
        found.items.iter().map(|stored| stored.id).collect()
    }

    #[test]
    fn r14_items_are_there_after_a_reopen_and_ids_are_never_given_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handset.db");
        let mut database = open(&path);
        let db = database.connection();
        assert_eq!((add_contact(db, "Ada"), add_contact(db, "Bob")), (1, 2));
        assert!(delete(db, &CONTACTS, 2).unwrap());
        assert!(!delete(db, &CONTACTS, 2).unwrap());
        drop(database);
        let mut database = open(&path);
        let db = database.connection();
        assert_eq!(add_contact(db, "Cy"), 3);
        let shown = item(db, &CONTACTS, 3).unwrap().unwrap();
        assert_eq!((shown.item, shown.store.as_str()), (named("Cy"), PHONE));
        assert!(item(db, &CONTACTS, 2).unwrap().is_none());
        assert_eq!(count(db, &CONTACTS, PHONE).unwrap(), 2);
    }

    #[test]
    fn r27_r31_a_list_comes_in_parts_in_either_order_and_of_one_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = open(&dir.path().join("db"));
        let db = database.connection();
        for name in ["a", "b", "c", "d"] {
            add_contact(db, name);
        }
        db.execute("UPDATE contacts SET store = 'sim' WHERE id IN (2, 4)", [])
            .unwrap();
        let found = list(db, &CONTACTS, &page(None, 3)).unwrap();
        assert_eq!((ids(&found), found.next), (vec![1, 2, 3], Some(3)));
        let found = list(db, &CONTACTS, &page(Some(3), 3)).unwrap();
        assert_eq!((ids(&found), found.next), (vec![4], None));
        let sim = Wanted {
            store: Some(SIM),
            ..page(None, 1)
        };
        let found = list(db, &CONTACTS, &sim).unwrap();
        assert_eq!((ids(&found), found.next), (vec![2], Some(2)));
        let newest = Wanted {
            newest_first: true,
            ..page(None, 2)
        };
        let found = list(db, &CONTACTS, &newest).unwrap();
        assert_eq!((ids(&found), found.next), (vec![4, 3], Some(3)));
        let newest = Wanted {
            after: found.next,
            ..newest
        };
        let found = list(db, &CONTACTS, &newest).unwrap();
        assert_eq!((ids(&found), found.next), (vec![2, 1], None));
        let narrow = Wanted {
            bytes_max: 1,
            ..page(None, 3)
        };
        let found = list(db, &CONTACTS, &narrow).unwrap();
        assert_eq!((ids(&found), found.next), (vec![1], Some(1)));
    }

    #[test]
    fn r27_a_part_of_a_list_is_read_by_an_index_and_never_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = open(&dir.path().join("db"));
        let db = database.connection();
        for (store, newest_first) in [
            (None, false),
            (None, true),
            (Some(SIM), false),
            (Some(SIM), true),
        ] {
            let wanted = Wanted {
                store,
                newest_first,
                ..page(None, 9)
            };
            let plan = format!("EXPLAIN QUERY PLAN {}", select(&SMS, &wanted));
            let mut plan = db.prepare(&plan).unwrap();
            let steps = plan
                .query_map(params![1, store], |row| row.get::<_, String>(3))
                .unwrap();
            for step in steps.map(Result::unwrap) {
                assert!(step.starts_with("SEARCH sms USING"), "{step}");
                assert_eq!(step.contains("sms by store"), store.is_some(), "{step}");
            }
        }
    }

    #[test]
    fn r17_a_full_memory_refuses_and_a_log_lets_its_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = open(&dir.path().join("db"));
        let db = database.connection();
        let two = |item| add(db, &CONTACTS, phone(&CONTACTS), 2, item, None);
        assert!(two(named("Ada")).is_ok() && two(named("Bob")).is_ok());
        assert!(matches!(two(named("Cy")), Err(StoreError::Full)));
        assert!(delete(db, &CONTACTS, 1).unwrap());
        assert!(two(named("Cy")).is_ok());
        let log = phone(&INCOMING_CALLS);
        for _ in 0..3 {
            add(db, &INCOMING_CALLS, log, 2, INCOMING_CALLS.blank(), None).unwrap();
        }
        let found = list(db, &INCOMING_CALLS, &page(None, 9)).unwrap();
        assert_eq!(ids(&found), [2, 3]);
        assert_eq!(delete_all(db, &INCOMING_CALLS, None).unwrap(), 2);
        assert_eq!(count(db, &INCOMING_CALLS, PHONE).unwrap(), 0);
    }

    #[test]
    fn r30_an_items_bytes_come_and_go_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = open(&dir.path().join("db"));
        let keep = |db: &Connection| blobs::keep(db, "text/vcard", b"card").unwrap().id;
        let with = |db: &Connection, blob| {
            let stored = add(db, &CONTACTS, phone(&CONTACTS), 9, named("Ada"), Some(blob)).unwrap();
            assert_eq!(stored.content.as_ref().unwrap().id, blob);
            assert_eq!(
                item(db, &CONTACTS, stored.id).unwrap(),
                Some(stored.clone())
            );
            stored.id
        };
        let db = database.connection();
        let (one, other) = (keep(db), keep(db));
        let id = with(db, one);
        with(db, other);
        assert!(delete(db, &CONTACTS, id).unwrap());
        assert_eq!(blobs::find(db, one).unwrap(), None);
        assert!(blobs::find(db, other).unwrap().is_some());
        assert_eq!(delete_all(db, &CONTACTS, Some(PHONE)).unwrap(), 1);
        assert_eq!(blobs::find(db, other).unwrap(), None);
    }

    #[test]
    fn r24_every_change_makes_another_version() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut database = open(&path);
        let db = database.connection();
        let mut seen = vec![version(db, &SMS, None).unwrap()];
        let mut message = SMS.blank();
        SMS.put(&mut message, "number", Value::Text("1".to_owned()));
        let id = add(db, &SMS, phone(&SMS), 9, message, None).unwrap().id;
        seen.push(version(db, &SMS, None).unwrap());
        let sent = set(db, &SMS, id, "state", Value::Text("sent".to_owned())).unwrap();
        assert_eq!(SMS.text(&sent.unwrap().item, "state"), Some("sent"));
        seen.push(version(db, &SMS, Some(PHONE)).unwrap());
        delete(db, &SMS, id).unwrap();
        assert_eq!(set(db, &SMS, id, "state", None).unwrap(), None);
        seen.push(version(db, &SMS, None).unwrap());
        seen.push(version(database.connection(), &CONTACTS, None).unwrap());
        drop(database);
        let again = version(open(&path).connection(), &SMS, None).unwrap();
        assert_eq!(again, seen[3]);
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn a_file_of_layout_1_keeps_its_contacts_and_their_ids() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(
            "CREATE TABLE imported (hash BLOB PRIMARY KEY) WITHOUT ROWID, STRICT;
             CREATE TABLE contacts (id INTEGER PRIMARY KEY AUTOINCREMENT, store TEXT NOT NULL, content TEXT NOT NULL) STRICT;
             INSERT INTO contacts VALUES (3, 'phone', '{\"name\":\"Ada\",\"phones\":[],\"emails\":[]}');
             INSERT INTO contacts VALUES (8, 'phone', '{\"name\":\"Bob\"}');
             DELETE FROM contacts WHERE id = 8;
             PRAGMA user_version = 1;",
        )
        .unwrap();
        drop(old);
        let mut database = open(&path);
        let db = database.connection();
        let ada = item(db, &CONTACTS, 3).unwrap().unwrap();
        assert_eq!((ada.item, ada.content), (named("Ada"), None));
        assert_eq!(count(db, &CONTACTS, PHONE).unwrap(), 1);
        assert_eq!(add_contact(db, "Cy"), 9);
        drop(database);
        assert_eq!(
            count(open(&path).connection(), &CONTACTS, PHONE).unwrap(),
            2
        );
    }

    #[test]
    fn a_row_that_does_not_fit_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = open(&dir.path().join("db"));
        let db = database.connection();
        for content in ["{", "{\"colour\":1}", "{\"name\":\"Ada\"}"] {
            let sql = "INSERT INTO contacts (store, content) VALUES ('phone', ?1)";
            db.execute(sql, [content]).unwrap();
        }
        let found = list(db, &CONTACTS, &page(None, 2)).unwrap();
        assert_eq!((ids(&found), found.next), (vec![], Some(2)));
        let found = list(db, &CONTACTS, &page(found.next, 2)).unwrap();
        assert_eq!((ids(&found), found.next), (vec![3], None));
    }
}
