//! The store's database on disk: sled, one tree for each of the patent's two databases.
//!
//! Called by the store's thread only, which contains sled's panics. It sorts nothing and retries nothing: rows come
//! sorted, and what fails is given again by the caller.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use everline_protocol::{Msisdn, RequestId};

use super::backend::{Backend, StoreError};
use super::buffer::{RequestChange, SessionChange};
use super::row::{self, Row};

/// The files by which a directory is known to be sled's.
const SLED_FILES: [&str; 2] = ["conf", "db"];
/// What every database of ours holds: sled opens files of mere garbage as an empty database, and we would not notice.
const MARK: (&[u8], &[u8]) = (b"format", &[row::VERSION]);

/// An open database.
pub struct Disk {
    db: sled::Db,
    sessions: sled::Tree,
    requests: sled::Tree,
}

impl Disk {
    /// Opens the database in the directory `path`, which is made if it is missing; only its owner may look inside, for
    /// it holds phone numbers. May panic where sled does, on files that are not its own.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let fresh = prepare(path)
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
        // Flushing is ours to time: the thread flushes at the end of each write.
        let db = sled::Config::default()
            .path(path)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None)
            .mode(sled::Mode::LowSpace)
            .open()?;
        let (key, version) = MARK;
        match db.get(key)? {
            Some(found) if found == version => {}
            Some(_) => {
                return Err(StoreError::Damaged(
                    "it was written by another version of the gateway".into(),
                ));
            }
            None if fresh => {
                db.insert(key, version)?;
                db.flush()?;
            }
            None => return Err(StoreError::Damaged("what was in it is gone".into())),
        }
        let sessions = db.open_tree("mobile_terminal_sessions")?;
        let requests = db.open_tree("incoming_connections_sessions")?;
        Ok(Self {
            db,
            sessions,
            requests,
        })
    }

    /// The row that a change makes of the one on disk; `None`: a newer session is there, the change is too late.
    fn merged(&self, msisdn: Msisdn, change: &SessionChange) -> Result<Option<Row>, StoreError> {
        let since = match (change.since, change.left) {
            (Some(since), _) => since,
            (None, None) => change.seen,
            (None, Some(_)) => match self.read(msisdn)? {
                Some(known) if known.session == change.session => known.since,
                Some(known) if known.left.is_none() => return Ok(None),
                _ => change.seen,
            },
        };
        Ok(Some(Row {
            session: change.session,
            since,
            last_seen: change.seen,
            left: change.left,
        }))
    }

    fn read(&self, msisdn: Msisdn) -> Result<Option<Row>, StoreError> {
        Ok(self
            .sessions
            .get(row::msisdn_key(msisdn))?
            .and_then(|bytes| Row::decode(&bytes)))
    }
}

impl Backend for Disk {
    fn load(&mut self, each: &mut dyn FnMut(Msisdn, Row)) -> Result<u64, StoreError> {
        let mut unreadable = 0;
        for entry in &self.sessions {
            let (key, value) = entry?;
            match (row::msisdn_of(&key), Row::decode(&value)) {
                (Some(msisdn), Some(row)) => each(msisdn, row),
                _ => unreadable += 1,
            }
        }
        Ok(unreadable)
    }

    fn clear_requests(&mut self) -> Result<u64, StoreError> {
        let mut cleared = 0;
        for key in self.requests.iter().keys() {
            self.requests.remove(key?)?;
            cleared += 1;
        }
        Ok(cleared)
    }

    // Row by row, not in sled's batches: a batch keeps all garbage of its rows until it ends, which came to 1.5 GB for
    // a million rows in batches of a thousand, against 0.1 GB this way, and in no less time. No row needs another.
    fn write(
        &mut self,
        sessions: &[(Msisdn, SessionChange)],
        requests: &[(RequestId, RequestChange)],
        replaced: &mut dyn FnMut(Row, &SessionChange),
    ) -> Result<(), StoreError> {
        for (msisdn, change) in sessions {
            if let Some(row) = self.merged(*msisdn, change)? {
                let key = row::msisdn_key(*msisdn);
                let before = self.sessions.insert(key, &row.encode())?;
                if let Some(before) = before.and_then(|bytes| Row::decode(&bytes)) {
                    replaced(before, change);
                }
            }
        }
        for (id, change) in requests {
            let key = row::request_key(*id);
            match change {
                RequestChange::Arrived { msisdn, since } => {
                    self.requests
                        .insert(key, &row::request_value(*msisdn, *since))?;
                }
                RequestChange::Ended => {
                    self.requests.remove(key)?;
                }
            }
        }
        self.db.flush()?;
        Ok(())
    }

    fn row(&mut self, msisdn: Msisdn) -> Result<Option<Row>, StoreError> {
        self.read(msisdn)
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        match &error {
            sled::Error::Io(io) if matches!(io.kind(), InvalidData | UnexpectedEof) => {
                Self::Damaged(error.to_string())
            }
            sled::Error::Io(_) => Self::Unavailable(error.to_string()),
            _ => Self::Damaged(error.to_string()),
        }
    }
}

/// Makes the directory, private to its owner, and tells whether it was empty. A directory with someone else's files in
/// it is left alone.
fn prepare(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => {
            let empty = entries.next().is_none();
            if !empty && !SLED_FILES.iter().any(|file| path.join(file).exists()) {
                return Err(io::Error::other(
                    "the directory holds files, and none of them is a database",
                ));
            }
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
            Ok(empty)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::DirBuilder::new().mode(0o700).create(path)?;
            Ok(true)
        }
        Err(error) => Err(error),
    }
}
