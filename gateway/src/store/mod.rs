//! The session store: what is known of each handset, and which requests were under way, for the time after a restart.
//!
//! It holds the patent's two databases: *mobile terminal sessions* (G3) and *incoming connections sessions* (G4).
//! Shards and workers note changes through a [`StoreHandle`], which never blocks on a disk: changes meet in a bounded
//! [`buffer`] that keeps the newest row of each key, and the store's own [`thread`] writes them through a
//! [`backend::Backend`]. It never routes: RAM is the truth of who is reachable, and a gateway without its store serves
//! as well as one with it.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use everline_protocol::{Msisdn, RequestId, SessionId};
use tokio::sync::oneshot;

mod aside;
pub mod backend;
pub mod buffer;
pub mod departures;
pub mod disk;
pub mod row;
pub mod thread;

pub use row::{Cause, Row};

use buffer::Buffer;
use departures::Departures;
use thread::Question;
pub use thread::StoreThread;

/// How long the admin waits for a row from the disk.
const ROW_TIMEOUT: Duration = Duration::from_secs(2);

/// What the store needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory of the database; `None`: nothing is written.
    pub path: Option<PathBuf>,
    /// From a change to the disk.
    pub flush_interval: Duration,
    /// Rows of each database that may wait to be written.
    pub pending_rows_max: usize,
    /// The database's own cache, bytes.
    pub cache_bytes: u64,
    /// How long a departure is remembered in memory; zero: not at all (nobody asks when nothing is held).
    pub recent: Duration,
    /// Departures that are remembered in memory.
    pub departures_max: usize,
}

/// Where changes are noted; clones share one store. No method waits for the disk except [`StoreHandle::row`].
#[derive(Clone)]
pub struct StoreHandle(Option<Arc<Inner>>);

pub(crate) struct Inner {
    /// `None` if nothing is written.
    buffer: Option<Mutex<Buffer>>,
    departures: Departures,
    questions: std::sync::mpsc::SyncSender<Question>,
    expected: AtomicU64,
    returned: AtomicU64,
    leftover: AtomicU64,
    up: AtomicBool,
}

impl fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHandle")
            .field("kept", &self.0.is_some())
            .field("up", &self.up())
            .finish_non_exhaustive()
    }
}

impl StoreHandle {
    /// A store that keeps nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// Starts the store's thread and waits a bounded time for its database to open; a database that can't be opened
    /// costs the gateway its store, never its start. Fails only if no thread can be started.
    pub fn start(options: Options) -> std::io::Result<(Self, StoreThread)> {
        thread::start(options)
    }

    /// A handset registered (G3).
    pub fn registered(&self, msisdn: Msisdn, session: SessionId) {
        let Some(inner) = &self.0 else { return };
        inner.departures.forget(msisdn);
        if let Some(mut buffer) = inner.buffer() {
            buffer.registered(msisdn, session, SystemTime::now());
        }
    }

    /// A registered session ended. Ignored if a newer session of this handset is known.
    pub fn left(&self, msisdn: Msisdn, session: SessionId, cause: Cause) {
        let Some(inner) = &self.0 else { return };
        if cause.may_come_back() {
            inner.departures.note(msisdn);
        }
        if let Some(mut buffer) = inner.buffer() {
            buffer.left(msisdn, session, cause, SystemTime::now());
        }
    }

    /// A request was admitted and waits for its handset (G4).
    pub fn request_arrived(&self, id: RequestId, msisdn: Msisdn) {
        if let Some(mut buffer) = self.0.as_ref().and_then(|inner| inner.buffer()) {
            buffer.request_arrived(id, msisdn, SystemTime::now());
        }
    }

    /// That request ended, however it did. If it ends before the next flush, nothing of it touches the disk.
    pub fn request_ended(&self, id: RequestId) {
        if let Some(mut buffer) = self.0.as_ref().and_then(|inner| inner.buffer()) {
            buffer.request_ended(id);
        }
    }

    /// Whether this handset left (not on purpose, and not revoked) less than `within` ago. Handsets that the store knew
    /// as connected when the gateway started count as having left at that moment. Answered from memory.
    pub fn left_recently(&self, msisdn: Msisdn, within: Duration) -> bool {
        self.0
            .as_ref()
            .is_some_and(|inner| inner.departures.within(msisdn, within))
    }

    /// Handsets that the store knew as connected when the gateway started.
    pub fn expected(&self) -> u64 {
        self.0
            .as_ref()
            .map_or(0, |inner| inner.expected.load(Ordering::Relaxed))
    }

    /// How many of the expected have registered since. It follows the writing: as late as [`StoreHandle::lag`] says.
    pub fn returned(&self) -> u64 {
        self.0
            .as_ref()
            .map_or(0, |inner| inner.returned.load(Ordering::Relaxed))
    }

    /// Requests that were under way when the previous run ended without finishing them.
    pub fn leftover_requests(&self) -> u64 {
        self.0
            .as_ref()
            .map_or(0, |inner| inner.leftover.load(Ordering::Relaxed))
    }

    /// Whether rows are being written: `false` without a store, or while it can't be opened or written.
    pub fn up(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|inner| inner.up.load(Ordering::Relaxed))
    }

    /// Age of the oldest change that waits to be written.
    pub fn lag(&self) -> Duration {
        let buffer = self.0.as_ref().and_then(|inner| inner.buffer());
        buffer
            .and_then(|buffer| buffer.oldest())
            .map_or(Duration::ZERO, |oldest| oldest.elapsed())
    }

    /// What is known of a handset, for the admin; `None` also if the store does not answer in time.
    pub async fn row(&self, msisdn: Msisdn) -> Option<Row> {
        let inner = self.0.as_ref()?;
        let (answer, row) = oneshot::channel();
        inner
            .questions
            .try_send(Question::Row { msisdn, answer })
            .ok()?;
        tokio::time::timeout(ROW_TIMEOUT, row)
            .await
            .ok()?
            .ok()
            .flatten()
    }
}

impl Inner {
    fn buffer(&self) -> Option<MutexGuard<'_, Buffer>> {
        // A panic while the lock was held leaves whole rows behind: they are as good as before.
        Some(
            self.buffer
                .as_ref()?
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}
