//! Where personal data is kept: one SQLite file, on a thread of its own, behind a bounded queue.
//!
//! What [`Store::run`] has answered is on the disk: a write-ahead log, synced at each commit, so that neither a kill
//! nor a flat battery takes back an added item. The thread sleeps while nobody asks.

use std::collections::{HashMap, HashSet};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use tokio::sync::{mpsc, oneshot};

use super::consent::{access, log};
use super::blobs::{self, Blob};
use super::{idempotency, json};
use super::resource::{Item, Resource};

/// Layout of the file; a higher one was written by a newer agent, and is left alone.
const LAYOUT: i64 = 1;

/// The tables that modules keep beside the items. Each makes its own if they are not there, and changes what an older
/// agent left; they are laid out in this order, before the items' tables.
const SCHEMAS: &[&str] = &[
    SCHEMA,
    blobs::SCHEMA,
    idempotency::SCHEMA,
    access::SCHEMA,
    log::SCHEMA,
];

/// Files that were imported.
const SCHEMA: &str =
    "CREATE TABLE IF NOT EXISTS imported (hash BLOB PRIMARY KEY) WITHOUT ROWID, STRICT;";

/// Jobs that wait for the thread at most; who comes then waits to hand in theirs.
const JOBS_MAX: usize = 32;

/// How long another process may hold the file before a job fails.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// One item as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Names the item for good: an id is never given twice.
    pub id: i64,
    /// Which of the resource's stores holds it.
    pub store: String,
    /// What it says.
    pub item: Item,
    /// The bytes that it is about, or that it was sent as; `None`: there are none.
    pub content: Option<Blob>,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// As many items as the resource may have, or no room on the disk.
    #[error("the store is full")]
    Full,
    /// SQLite failed; nothing of the job was done.
    #[error("the store failed: {0}")]
    Broken(#[from] rusqlite::Error),
    /// The file was written by a newer agent.
    #[error("the file has layout {0}; this agent knows layout {LAYOUT} at most: use a newer agent")]
    Newer(i64),
    /// The file can't be made or opened.
    #[error("the file can't be opened for writing: {0}")]
    File(#[from] std::io::Error),
    /// The store's thread has ended.
    #[error("the store has stopped")]
    Stopped,
}

type Job = Box<dyn FnOnce(&mut Database) + Send>;

/// A handle on the store's thread; the thread ends with the last of them.
#[derive(Debug, Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
}

impl Store {
    /// Opens or makes the file, and starts the thread. Blocks: call it before serving.
    pub fn open(path: &Path, resources: &'static [&'static Resource]) -> Result<Self, StoreError> {
        let mut database = Database::open(path, resources)?;
        let (jobs, mut queue) = mpsc::channel::<Job>(JOBS_MAX);
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                while let Some(job) = database.next(&mut queue) {
                    job(&mut database);
                }
            })?;
        Ok(Self { jobs })
    }

    /// Runs `work` on the store's thread.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |database| {
            // Whoever asked may be gone; what was done stays done.
            let _ = answer.send(work(database));
        });
        if self.jobs.send(job).await.is_err() {
            return Err(StoreError::Stopped);
        }
        answered.await.unwrap_or(Err(StoreError::Stopped))
    }
}

/// The open file. Used on the store's thread alone.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    /// Items of each resource, so that the limit costs no counting.
    counts: HashMap<&'static str, u64>,
}

/// What an import did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Items that were added.
    pub added: u64,
    /// Items that were there already, word for word.
    pub known: u64,
}

impl Database {
    fn open(path: &Path, resources: &[&'static Resource]) -> Result<Self, StoreError> {
        // Made here, and not by SQLite, so that nobody else on the handset may read it; its log inherits the mode.
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)?;
        let connection = Connection::open(path)?;
        connection.busy_timeout(LOCK_WAIT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let layout = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if layout > LAYOUT {
            return Err(StoreError::Newer(layout));
        }
        let mut database = Self {
            connection,
            counts: HashMap::new(),
        };
        database.lay_out(resources)?;
        blobs::drop_loose(&database.connection)?;
        Ok(database)
    }

    /// The next job; while there is none, what was deleted is cleared away. `None`: nobody is left to ask.
    fn next(&mut self, queue: &mut mpsc::Receiver<Job>) -> Option<Job> {
        loop {
            match queue.try_recv() {
                Ok(job) => return Some(job),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
            match blobs::sweep(&mut self.connection) {
                Ok(true) => {}
                Ok(false) => return queue.blocking_recv(),
                Err(error) => {
                    tracing::warn!(%error, "what was deleted can't be cleared away now");
                    return queue.blocking_recv();
                }
            }
        }
    }

    /// The open connection, for the modules that keep rows of their own. What belongs together goes into one
    /// [`Connection::transaction`], and is on the disk when that has committed.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// One table for each resource. Names come from the descriptions, never from a caller.
    fn lay_out(&mut self, resources: &[&'static Resource]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        for schema in SCHEMAS {
            transaction.execute_batch(schema)?;
        }
        for resource in resources {
            transaction.execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS \"{}\" (
                    id INTEGER PRIMARY KEY AUTOINCREMENT,
                    store TEXT NOT NULL,
                    content TEXT NOT NULL
                ) STRICT;",
                resource.name
            ))?;
            let sql = format!("SELECT count(*) FROM \"{}\"", resource.name);
            let count: i64 = transaction.query_row(&sql, [], |row| row.get(0))?;
            self.counts
                .insert(resource.name, u64::try_from(count).unwrap_or_default());
        }
        transaction.pragma_update(None, "user_version", LAYOUT)?;
        transaction.commit()?;
        Ok(())
    }

    /// At most `limit` items behind the id `after`, in the order of their ids, and whether there are more.
    pub fn list(
        &self,
        resource: &Resource,
        after: i64,
        limit: u32,
    ) -> Result<(Vec<Stored>, bool), StoreError> {
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT id, store, content FROM \"{}\" WHERE id > ?1 ORDER BY id LIMIT ?2",
            resource.name
        ))?;
        let rows = select.query_map(params![after, i64::from(limit) + 1], row)?;
        let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let items = rows
            .into_iter()
            .filter_map(|row| stored(resource, row))
            .collect();
        Ok((items, more))
    }

    /// The item of this id.
    pub fn item(&self, resource: &Resource, id: i64) -> Result<Option<Stored>, StoreError> {
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT id, store, content FROM \"{}\" WHERE id = ?1",
            resource.name
        ))?;
        let row = select.query_row([id], row).optional()?;
        Ok(row.and_then(|row| stored(resource, row)))
    }

    /// Adds an item to the resource's first store; it is on the disk when this returns.
    pub fn add(&mut self, resource: &Resource, item: Item) -> Result<Stored, StoreError> {
        let Some(memory) = resource.memories.first() else {
            return Err(StoreError::Full);
        };
        let store = memory.name;
        let count = self.counts.entry(resource.name).or_default();
        if *count >= memory.items_max {
            return Err(StoreError::Full);
        }
        let sql = format!(
            "INSERT INTO \"{}\" (store, content) VALUES (?1, ?2)",
            resource.name
        );
        let content = json::content(resource, &item);
        self.connection
            .prepare_cached(&sql)?
            .execute(params![store, content])
            .map_err(full)?;
        *count += 1;
        Ok(Stored {
            id: self.connection.last_insert_rowid(),
            store: store.to_owned(),
            item,
            content: None,
        })
    }

    /// Deletes the item of this id; `false` if there is none.
    pub fn delete(&mut self, resource: &Resource, id: i64) -> Result<bool, StoreError> {
        let sql = format!("DELETE FROM \"{}\" WHERE id = ?1", resource.name);
        let deleted = self
            .connection
            .prepare_cached(&sql)?
            .execute([id])
            .map_err(full)?;
        if let (1, Some(count)) = (deleted, self.counts.get_mut(resource.name)) {
            *count = count.saturating_sub(1);
        }
        Ok(deleted == 1)
    }

    /// Whether a file with this hash was imported before.
    pub fn is_imported(&self, hash: &[u8]) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM imported WHERE hash = ?1";
        Ok(self
            .connection
            .query_row(sql, [hash], |_| Ok(()))
            .optional()?
            .is_some())
    }

    /// Adds the items of a file and remembers its hash: all of it, or nothing. Items that are there already, word
    /// for word, are not doubled: a file that grew brings in only what is new.
    pub fn import(
        &mut self,
        resource: &Resource,
        hash: &[u8],
        items: &[Item],
    ) -> Result<Imported, StoreError> {
        let Some(memory) = resource.memories.first() else {
            return Err(StoreError::Full);
        };
        let store = memory.name;
        let count = self.counts.entry(resource.name).or_default();
        let transaction = self.connection.transaction()?;
        let mut known = HashSet::new();
        {
            let mut select =
                transaction.prepare(&format!("SELECT content FROM \"{}\"", resource.name))?;
            for content in select.query_map([], |row| row.get::<_, String>(0))? {
                known.insert(content?);
            }
        }
        let mut told = Imported::default();
        {
            let sql = format!(
                "INSERT INTO \"{}\" (store, content) VALUES (?1, ?2)",
                resource.name
            );
            let mut insert = transaction.prepare(&sql)?;
            for item in items {
                let content = json::content(resource, item);
                if known.contains(&content) {
                    told.known += 1;
                    continue;
                }
                if *count + told.added >= memory.items_max {
                    return Err(StoreError::Full);
                }
                insert.execute(params![store, content]).map_err(full)?;
                known.insert(content);
                told.added += 1;
            }
        }
        transaction
            .execute("INSERT INTO imported (hash) VALUES (?1)", [hash])
            .map_err(full)?;
        transaction.commit().map_err(full)?;
        *count += told.added;
        Ok(told)
    }
}

type Row = (i64, String, String);

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

/// A row that some other program wrote may not fit: it is told and passed over, so that it can't hide the others.
fn stored(resource: &Resource, (id, store, content): Row) -> Option<Stored> {
    match json::decode(resource, content.as_bytes()) {
        Ok(item) => Some(Stored {
            id,
            store,
            item,
            content: None,
        }),
        Err(error) => {
            tracing::warn!(resource = resource.name, id, field = %error.field, "an item can't be read, and is passed over");
            None
        }
    }
}

/// What a failed write means: no room on the disk is told as such.
pub(super) fn full(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Broken(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::contacts::CONTACTS;
    use super::super::resource::{ALL, Memory, Value};
    use super::*;

    fn named(name: &str) -> Item {
        let mut item = CONTACTS.blank();
        item.set(0, Value::Text(name.to_owned()));
        item
    }

    fn open(path: &Path) -> Database {
        Database::open(path, ALL).unwrap()
    }

    #[test]
    fn items_are_there_after_a_reopen_and_ids_are_never_given_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handset.db");
        let mut database = open(&path);
        assert_eq!(database.add(&CONTACTS, named("Ada")).unwrap().id, 1);
        assert_eq!(database.add(&CONTACTS, named("Bob")).unwrap().id, 2);
        assert!(database.delete(&CONTACTS, 2).unwrap());
        assert!(!database.delete(&CONTACTS, 2).unwrap());
        drop(database);
        let mut database = open(&path);
        assert_eq!(database.add(&CONTACTS, named("Cy")).unwrap().id, 3);
        let (items, more) = database.list(&CONTACTS, 0, 1).unwrap();
        assert_eq!((items[0].id, more), (1, true));
        let (items, more) = database.list(&CONTACTS, 1, 1).unwrap();
        assert_eq!((items[0].id, more), (3, false));
        assert_eq!(
            database.item(&CONTACTS, 3).unwrap().unwrap().item,
            named("Cy")
        );
        assert!(database.item(&CONTACTS, 2).unwrap().is_none());
    }

    #[test]
    fn only_the_owner_can_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handset.db");
        let mut database = open(&path);
        database.add(&CONTACTS, named("Ada")).unwrap();
        for name in ["handset.db", "handset.db-wal"] {
            let mode = std::fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_full_store_refuses_and_an_import_is_all_or_nothing() {
        static TINY: Resource = Resource {
            name: "tiny",
            item: "tiny",
            memories: &[Memory {
                name: "phone",
                items_max: 2,
                fits: None,
            }],
            fields: CONTACTS.fields,
            manager: CONTACTS.manager,
            actions: CONTACTS.actions,
            forms: &[],
            content: None,
        };
        let dir = tempfile::tempdir().unwrap();
        let mut database = Database::open(&dir.path().join("db"), &[&TINY]).unwrap();
        let items = [named("Ada"), named("Ada"), named("Bob"), named("Cy")];
        assert!(matches!(
            database.import(&TINY, b"1", &items),
            Err(StoreError::Full)
        ));
        assert_eq!(database.list(&TINY, 0, 9).unwrap().0.len(), 0);
        assert!(!database.is_imported(b"1").unwrap());
        let told = database.import(&TINY, b"1", &items[..3]).unwrap();
        assert_eq!(told, Imported { added: 2, known: 1 });
        assert!(database.is_imported(b"1").unwrap());
        assert!(matches!(
            database.add(&TINY, named("Dee")),
            Err(StoreError::Full)
        ));
        assert!(database.delete(&TINY, 1).unwrap());
        assert!(database.add(&TINY, named("Dee")).is_ok());
    }

    #[test]
    fn a_file_of_a_newer_agent_and_one_that_is_no_database_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        drop(open(&path));
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 2).unwrap();
        drop(connection);
        assert!(matches!(
            Database::open(&path, ALL),
            Err(StoreError::Newer(2))
        ));
        let junk = dir.path().join("junk");
        std::fs::write(&junk, vec![7; 4096]).unwrap();
        assert!(matches!(
            Database::open(&junk, ALL),
            Err(StoreError::Broken(_))
        ));
        assert_eq!(std::fs::read(&junk).unwrap(), vec![7; 4096]);
    }
}
