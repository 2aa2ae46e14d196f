//! What the store asks of a database. [`super::disk`] answers with sled; another can take its place behind this trait.

use everline_protocol::{Msisdn, RequestId};

use super::buffer::{RequestChange, SessionChange};
use super::row::Row;

/// A database that holds the two tables. Only the store's thread calls it; a call may block, and may panic: the thread
/// contains both.
pub trait Backend: Send {
    /// Reads every handset's row into `each`, and tells how many rows it could not read.
    fn load(&mut self, each: &mut dyn FnMut(Msisdn, Row)) -> Result<u64, StoreError>;

    /// Removes every request's row: how many there were.
    fn clear_requests(&mut self) -> Result<u64, StoreError>;

    /// Writes the newest change of each key and puts them on disk; both slices are sorted by key. `replaced` is told
    /// each handset's row that a change took the place of.
    /// After an error some may have been written and others not; the caller gives them again.
    fn write(
        &mut self,
        sessions: &[(Msisdn, SessionChange)],
        requests: &[(RequestId, RequestChange)],
        replaced: &mut dyn FnMut(Row, &SessionChange),
    ) -> Result<(), StoreError>;

    /// One handset's row.
    fn row(&mut self, msisdn: Msisdn) -> Result<Option<Row>, StoreError>;
}

/// Why the database does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// What is on disk is not a database of ours, or is damaged: a fresh one may take its place.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// It can't be reached now, and may be later: no room, no permission, held by another process.
    #[error("the database can't be used: {0}")]
    Unavailable(String),
}
