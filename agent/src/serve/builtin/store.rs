//! Where personal data is kept: one SQLite file, on a thread of its own, behind a bounded queue.
//!
//! What [`Store::run`] has answered is on the disk: a write-ahead log, synced at each commit, so that neither a kill
//! nor a flat battery takes back an added item. The thread sleeps while nobody asks. [`items`] has the tables of items.

pub mod items;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{Notify, mpsc, oneshot};

use super::authentication::users;
use super::blobs::{self, Blob};
use super::consent::{access, log};
use super::media::thumbnail;
use super::resource::{Item, Resource};
use super::{idempotency, import, inbox, services, tasks};

/// Layout of the file; a higher one was written by a newer agent, and is left alone.
const LAYOUT: i64 = 2;

/// The tables that modules keep beside the items. Each makes its own if they are not there, and changes what an older
/// agent left; they are laid out in this order, before the items' tables.
const SCHEMAS: &[&str] = &[
    import::SCHEMA,
    blobs::SCHEMA,
    thumbnail::SCHEMA,
    idempotency::SCHEMA,
    tasks::SCHEMA,
    services::SCHEMA,
    inbox::SCHEMAS[0],
    inbox::SCHEMAS[1],
    users::SCHEMA,
    access::SCHEMA,
    log::SCHEMA,
];

/// Columns that tables got after files had been made with them: an older file is given what it lacks.
const COLUMNS: &[Column] = &[Column {
    table: "tasks",
    name: "handed",
    kind: "INTEGER NOT NULL DEFAULT 0",
    // Nobody knows of these, and nothing may go twice.
    then: "UPDATE tasks SET handed = 1;",
}];

/// A column that was not there from the beginning.
struct Column {
    table: &'static str,
    name: &'static str,
    kind: &'static str,
    /// What becomes of the rows that are there.
    then: &'static str,
}

/// Jobs that wait for the thread at most; who comes then waits to hand in theirs.
const JOBS_MAX: usize = 32;

/// Statements that are kept prepared.
const STATEMENTS_MAX: usize = 64;

/// What the write-ahead log keeps of the disk between two bursts of writing.
const LOG_BYTES_MAX: i64 = 4 * 1024 * 1024;

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
    freed: Arc<Notify>,
}

impl Store {
    /// Opens or makes the file, and starts the thread. Blocks: call it before serving.
    pub fn open(path: &Path, resources: &'static [&'static Resource]) -> Result<Self, StoreError> {
        let mut database = Database::open(path, resources)?;
        let freed = Arc::clone(&database.freed);
        let (jobs, mut queue) = mpsc::channel::<Job>(JOBS_MAX);
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                while let Some(job) = database.next(&mut queue) {
                    job(&mut database);
                }
            })?;
        Ok(Self { jobs, freed })
    }

    /// Waits until there is more room than before, for the one who has something to put into it.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Says that something was deleted. Of bytes the store itself says so, once they are cleared away.
    pub fn deleted(&self) {
        self.freed.notify_one();
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
    /// Rung when bytes that were deleted have been cleared away.
    freed: Arc<Notify>,
    /// Whether some were since it was rung.
    cleared: bool,
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
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        // Of a file that is made now: what was deleted is given back to the disk.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
        let layout = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if layout > LAYOUT {
            return Err(StoreError::Newer(layout));
        }
        let mut database = Self {
            connection,
            freed: Arc::new(Notify::new()),
            cleared: false,
        };
        database.lay_out(resources)?;
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
                Ok(true) => self.cleared = true,
                Ok(false) => {
                    if std::mem::take(&mut self.cleared) {
                        self.freed.notify_one();
                    }
                    return queue.blocking_recv();
                }
                Err(error) => {
                    tracing::warn!(%error, "what was deleted can't be cleared away now");
                    return queue.blocking_recv();
                }
            }
        }
    }

    /// The open connection, for [`items`] and for the modules that keep rows of their own.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Does all of `work` or, if it fails, nothing of it; it is on the disk when this returns.
    pub fn transaction<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        // Written to in any case: a lock that is asked for later could find the file changed meanwhile.
        let begun = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(begun);
        let transaction = transaction.map_err(StoreError::from)?;
        let done = work(&transaction)?;
        transaction.commit().map_err(full)?;
        Ok(done)
    }

    fn lay_out(&mut self, resources: &[&'static Resource]) -> Result<(), StoreError> {
        self.transaction(|db| {
            for schema in SCHEMAS {
                db.execute_batch(schema)?;
            }
            for Column {
                table,
                name,
                kind,
                then,
            } in COLUMNS
            {
                if !has_column(db, table, name)? {
                    let alter = format!("ALTER TABLE {table} ADD COLUMN {name} {kind};{then}");
                    db.execute_batch(&alter)?;
                }
            }
            items::lay_out(db, resources)?;
            blobs::drop_loose(db)?;
            db.pragma_update(None, "user_version", LAYOUT)?;
            Ok(())
        })
    }
}

/// Whether a table has this column.
fn has_column(db: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2)";
    db.query_row(select, [table, column], |row| row.get(0))
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
    use super::super::resource::ALL;
    use super::*;

    fn open(path: &Path) -> Result<Database, StoreError> {
        Database::open(path, ALL)
    }

    #[test]
    fn only_the_owner_can_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handset.db");
        let _database = open(&path).unwrap();
        for name in ["handset.db", "handset.db-wal"] {
            let mode = std::fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_transaction_is_all_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = open(&dir.path().join("db")).unwrap();
        let insert = "INSERT INTO imported (hash) VALUES (x'01')";
        let failed: Result<(), StoreError> = database.transaction(|db| {
            db.execute(insert, [])?;
            Err(StoreError::Full)
        });
        assert!(matches!(failed, Err(StoreError::Full)));
        let done: Result<usize, StoreError> =
            database.transaction(|db| Ok(db.execute(insert, [])?));
        assert_eq!(done.unwrap(), 1, "nothing of the first is there");
    }

    #[test]
    fn a_file_of_an_older_agent_is_given_what_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let older = Connection::open(&path).unwrap();
        // Layout 1, as the first release made it.
        older
            .execute_batch(
                r#"CREATE TABLE imported (hash BLOB PRIMARY KEY) WITHOUT ROWID, STRICT;
                CREATE TABLE contacts (id INTEGER PRIMARY KEY AUTOINCREMENT, store TEXT NOT NULL, content TEXT NOT NULL) STRICT;
                INSERT INTO contacts VALUES (4, 'phone', '{"name":"Ada","phones":[{"type":"cell","number":"+34600123456"}],"emails":[],"note":"x"}');
                INSERT INTO imported VALUES (x'01');
                PRAGMA user_version = 1;"#,
            )
            .unwrap();
        // Tasks, as they were before it was written down whether the hardware had heard of one.
        older
            .execute_batch(
                "CREATE TABLE tasks (id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, resource TEXT NOT NULL,
                    action TEXT NOT NULL, state TEXT NOT NULL, status INTEGER, result TEXT, problem TEXT, detail TEXT,
                    began TEXT NOT NULL, changed TEXT NOT NULL) STRICT;
                INSERT INTO tasks (user, resource, action, state, began, changed) VALUES ('a', 'call', 'execute', 'running', '', '');",
            )
            .unwrap();
        drop(older);
        for _ in 0..2 {
            let mut database = open(&path).unwrap();
            let db = database.connection();
            let ada = items::item(db, &CONTACTS, 4).unwrap().unwrap();
            assert_eq!(
                (CONTACTS.text(&ada.item, "name"), ada.content),
                (Some("Ada"), None)
            );
            assert_eq!(items::count(db, &CONTACTS, "phone").unwrap(), 1);
            let left = tasks::left(db).unwrap();
            assert_eq!((left.len(), left[0].handed), (1, true), "it may have gone");
            let layout: i64 = db
                .pragma_query_value(None, "user_version", |row| row.get(0))
                .unwrap();
            assert_eq!(layout, LAYOUT);
        }
    }

    #[test]
    fn a_file_of_a_newer_agent_and_one_that_is_no_database_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        drop(open(&path).unwrap());
        let connection = Connection::open(&path).unwrap();
        let newer = LAYOUT + 1;
        connection
            .pragma_update(None, "user_version", newer)
            .unwrap();
        drop(connection);
        assert!(matches!(open(&path), Err(StoreError::Newer(layout)) if layout == newer));
        let junk = dir.path().join("junk");
        std::fs::write(&junk, vec![7; 4096]).unwrap();
        assert!(matches!(open(&junk), Err(StoreError::Broken(_))));
        assert_eq!(std::fs::read(&junk).unwrap(), vec![7; 4096]);
    }
}
