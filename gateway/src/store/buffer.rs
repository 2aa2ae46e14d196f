//! Changes on their way to the disk: the newest row of each key and no more than a bounded number of them.
//!
//! Shards and workers write it under a lock that is held for one table operation; the store's thread takes all of it
//! at once. A request that arrived and ended between two takes leaves nothing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::time::{Instant, SystemTime};

use everline_protocol::{Msisdn, RequestId, SessionId};

use super::row::Cause;

/// The newest change of one handset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionChange {
    /// Which session.
    pub session: SessionId,
    /// When it registered; `None`: that was written earlier, the row on disk tells.
    pub since: Option<SystemTime>,
    /// When the change happened.
    pub seen: SystemTime,
    /// How it left; `None`: it registered.
    pub left: Option<Cause>,
}

/// The newest change of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestChange {
    /// It waits for its handset.
    Arrived {
        /// Which handset.
        msisdn: Msisdn,
        /// Since when.
        since: SystemTime,
    },
    /// Its row, which is on disk, is to go.
    Ended,
}

/// What one take brings.
#[derive(Debug, Default)]
pub struct Changes {
    /// By handset.
    pub sessions: HashMap<Msisdn, SessionChange>,
    /// By request.
    pub requests: HashMap<RequestId, RequestChange>,
    /// When the oldest of them happened.
    pub oldest: Option<Instant>,
}

impl Changes {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.sessions.len() + self.requests.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The buffer.
#[derive(Debug)]
pub struct Buffer {
    changes: Changes,
    /// The oldest of what was taken and is being written.
    writing: Option<Instant>,
    rows_max: usize,
    dropped: u64,
}

impl Buffer {
    /// Holds at most `rows_max` rows of each database.
    pub fn new(rows_max: usize) -> Self {
        Self {
            changes: Changes::default(),
            writing: None,
            rows_max,
            dropped: 0,
        }
    }

    /// A session began: it is the newest of its handset, whatever was there.
    pub fn registered(&mut self, msisdn: Msisdn, session: SessionId, now: SystemTime) {
        let change = SessionChange {
            session,
            since: Some(now),
            seen: now,
            left: None,
        };
        self.noted(|changes, rows_max| {
            put(&mut changes.sessions, rows_max, msisdn, |_| Some(change))
        });
    }

    /// A session ended; nothing changes if a newer one waits here.
    pub fn left(&mut self, msisdn: Msisdn, session: SessionId, cause: Cause, now: SystemTime) {
        self.noted(|changes, rows_max| {
            put(
                &mut changes.sessions,
                rows_max,
                msisdn,
                |known| match known {
                    Some(known) if known.session != session => None,
                    known => {
                        let since = known.and_then(|known| known.since);
                        Some(SessionChange {
                            session,
                            since,
                            seen: now,
                            left: Some(cause),
                        })
                    }
                },
            )
        });
    }

    /// A request began to wait.
    pub fn request_arrived(&mut self, id: RequestId, msisdn: Msisdn, now: SystemTime) {
        let change = RequestChange::Arrived { msisdn, since: now };
        self.noted(|changes, rows_max| put(&mut changes.requests, rows_max, id, |_| Some(change)));
    }

    /// A request ended.
    pub fn request_ended(&mut self, id: RequestId) {
        if matches!(
            self.changes.requests.get(&id),
            Some(RequestChange::Arrived { .. })
        ) {
            self.changes.requests.remove(&id);
        } else {
            self.noted(|changes, rows_max| {
                put(&mut changes.requests, rows_max, id, |_| {
                    Some(RequestChange::Ended)
                })
            });
        }
    }

    /// How many rows were dropped since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Everything. To be followed by [`Buffer::written`] or
    /// [`Buffer::give_back`].
    pub fn take(&mut self) -> Changes {
        self.writing = self.oldest();
        std::mem::take(&mut self.changes)
    }

    /// What was taken is on disk.
    pub fn written(&mut self) {
        self.writing = None;
    }

    /// Takes back what could not be written; what happened meanwhile is newer and wins.
    pub fn give_back(&mut self, changes: Changes) {
        self.writing = None;
        let rows_max = self.rows_max;
        for (msisdn, older) in changes.sessions {
            self.dropped += u64::from(!put(
                &mut self.changes.sessions,
                rows_max,
                msisdn,
                |newer| match newer {
                    // A departure that came after the take did not know when its session began; the older row does.
                    Some(newer) if newer.session == older.session && newer.since.is_none() => {
                        Some(SessionChange {
                            since: older.since,
                            ..newer
                        })
                    }
                    Some(_) => None,
                    None => Some(older),
                },
            ));
        }
        for (id, older) in changes.requests {
            self.dropped +=
                u64::from(!put(
                    &mut self.changes.requests,
                    rows_max,
                    id,
                    |newer| match newer {
                        Some(_) => None,
                        None => Some(older),
                    },
                ));
        }
        self.changes.oldest = changes.oldest.or(self.changes.oldest);
    }

    /// When the oldest change that is not on disk happened.
    pub fn oldest(&self) -> Option<Instant> {
        self.writing
            .or(self.changes.oldest.filter(|_| !self.changes.is_empty()))
    }

    fn noted(&mut self, change: impl FnOnce(&mut Changes, usize) -> bool) {
        if self.changes.is_empty() {
            self.changes.oldest = Some(Instant::now());
        }
        self.dropped += u64::from(!change(&mut self.changes, self.rows_max));
    }
}

/// Puts what `change` makes of the known value (`None`: leave it); `false` if the table is full.
fn put<K: Eq + Hash, V: Copy>(
    table: &mut HashMap<K, V>,
    rows_max: usize,
    key: K,
    change: impl FnOnce(Option<V>) -> Option<V>,
) -> bool {
    let full = table.len() >= rows_max;
    match table.entry(key) {
        Entry::Occupied(mut entry) => {
            if let Some(value) = change(Some(*entry.get())) {
                entry.insert(value);
            }
            true
        }
        Entry::Vacant(_) if full => false,
        Entry::Vacant(entry) => {
            if let Some(value) = change(None) {
                entry.insert(value);
            }
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn handset(number: u64) -> Msisdn {
        Msisdn::from_u64(number).expect("a valid number")
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn only_the_newest_row_of_a_handset_waits() {
        let mut buffer = Buffer::new(10);
        buffer.registered(handset(34_600_000_001), SessionId(1), at(1));
        buffer.registered(handset(34_600_000_001), SessionId(2), at(2));
        buffer.left(
            handset(34_600_000_001),
            SessionId(1),
            Cause::Replaced,
            at(3),
        );
        let (dropped, changes) = (buffer.take_dropped(), buffer.take());
        let newest = SessionChange {
            session: SessionId(2),
            since: Some(at(2)),
            seen: at(2),
            left: None,
        };
        assert_eq!(
            changes.sessions,
            HashMap::from([(handset(34_600_000_001), newest)])
        );
        assert_eq!(dropped, 0);
        assert!(buffer.take().is_empty());
    }

    #[test]
    fn g4_a_request_that_ends_before_the_flush_leaves_nothing() {
        let mut buffer = Buffer::new(10);
        buffer.request_arrived(RequestId(1), handset(34_600_000_001), at(1));
        buffer.request_ended(RequestId(1));
        assert!(buffer.take().is_empty());
        buffer.request_arrived(RequestId(2), handset(34_600_000_001), at(1));
        buffer.take();
        buffer.request_ended(RequestId(2));
        assert_eq!(
            buffer.take().requests,
            HashMap::from([(RequestId(2), RequestChange::Ended)])
        );
    }

    #[test]
    fn a_full_buffer_drops_other_handsets_and_counts_them() {
        let mut buffer = Buffer::new(1);
        buffer.registered(handset(34_600_000_001), SessionId(1), at(1));
        buffer.registered(handset(34_600_000_002), SessionId(2), at(1));
        buffer.left(handset(34_600_000_001), SessionId(1), Cause::Bye, at(2));
        let (dropped, changes) = (buffer.take_dropped(), buffer.take());
        assert_eq!((changes.len(), dropped), (1, 1));
        assert_eq!(
            changes
                .sessions
                .values()
                .next()
                .and_then(|change| change.left),
            Some(Cause::Bye)
        );
    }

    #[test]
    fn what_could_not_be_written_waits_behind_what_is_newer() {
        let mut buffer = Buffer::new(10);
        buffer.registered(handset(34_600_000_001), SessionId(1), at(1));
        buffer.registered(handset(34_600_000_002), SessionId(2), at(1));
        let failed = buffer.take();
        buffer.left(handset(34_600_000_001), SessionId(1), Cause::Lost, at(5));
        buffer.registered(handset(34_600_000_002), SessionId(3), at(6));
        buffer.give_back(failed);
        let changes = buffer.take();
        let first = changes.sessions.get(&handset(34_600_000_001));
        assert_eq!(
            first.map(|change| (change.since, change.left)),
            Some((Some(at(1)), Some(Cause::Lost)))
        );
        assert_eq!(
            changes
                .sessions
                .get(&handset(34_600_000_002))
                .map(|change| change.session),
            Some(SessionId(3))
        );
    }
}
