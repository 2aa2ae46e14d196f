//! The tables of items, on a file of their own.

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
