//! How other threads speak to a shard: one bounded queue of letters, one wake a batch.
//!
//! Workers, the admin and other shards post; only the shard reads, between two turns of its ring.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_queue::SegQueue;
use everline_protocol::{ErrorCode, HostPort, RequestId, SessionId};
use everline_uring::Wake;
use tokio::sync::oneshot;

use crate::directory::Place;

/// What a shard can be asked. A letter to a place that has been recycled is dropped and counted.
#[derive(Debug)]
pub enum Letter {
    /// Send REQUESTPENDING.
    Signal {
        /// To whom.
        place: Place,
        /// What it names.
        id: RequestId,
    },
    /// The handset opened a data channel for this session: its timer starts anew.
    DataChannelOpened {
        /// Whose.
        place: Place,
        /// When: the letter may be read much later, and the handset counts from here.
        at: Instant,
    },
    /// End the session with an ERROR line: `replaced` or `revoked`.
    End {
        /// Whose.
        place: Place,
        /// Why.
        code: ErrorCode,
    },
    /// Tell the admin about a session.
    Describe {
        /// Which.
        place: Place,
        /// Dropped unanswered if the place is stale.
        answer: oneshot::Sender<Summary>,
    },
    /// Send RECONNECT to every session, spread over this time, and refuse new ones as `draining`.
    Drain {
        /// Over which the `after` values are spread.
        spread: Duration,
        /// Where to.
        to: Option<HostPort>,
    },
    /// Close everything and end the thread.
    Stop,
}

/// What a shard knows of one session.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Its id on the wire.
    pub session: SessionId,
    /// When CONNREGISTERED was sent.
    pub since: SystemTime,
    /// When its last line or data channel came.
    pub last_seen: SystemTime,
    /// Keep-alive timeout in force, seconds.
    pub timeout_s: u32,
    /// Seconds for which it keeps an idle data channel.
    pub linger_s: u32,
    /// Whether its first WAITING has come.
    pub ready: bool,
}

/// One shard's mailbox; clones share it.
#[derive(Clone)]
pub struct Mailbox(Arc<Inner>);

struct Inner {
    // Grows and shrinks with what is in it: a ring of the bound's size for each of fifty shards would be 18 MB of nothing.
    letters: SegQueue<Letter>,
    letters_max: usize,
    // Set by the first letter of a batch, cleared by the shard before it reads: whoever sets it wakes.
    woken: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("letters", &self.0.letters.len())
            .finish_non_exhaustive()
    }
}

/// The mailbox holds as many letters as it may: the shard is behind, the letter was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shard's mailbox is full")]
pub struct MailboxFull;

impl Mailbox {
    /// For the ring that `waker` wakes.
    pub fn new(letters_max: usize, waker: impl Wake) -> Self {
        Self(Arc::new(Inner {
            letters: SegQueue::new(),
            letters_max: letters_max.max(1),
            woken: AtomicBool::new(false),
            wake: Box::new(move || waker.wake()),
        }))
    }

    /// Leaves a letter; wakes the shard unless it has been woken already. The bound is passed at most by as many letters
    /// as threads post at the same moment.
    pub fn post(&self, letter: Letter) -> Result<(), MailboxFull> {
        let posted = self.put(letter);
        self.wake();
        posted
    }

    fn wake(&self) {
        if !self.0.woken.swap(true, Ordering::AcqRel) {
            (self.0.wake)();
        }
    }

    /// Leaves a letter that can wait for the shard's next wake or timer; one in a mailbox that is half full cannot.
    pub fn leave(&self, letter: Letter) -> Result<(), MailboxFull> {
        if self.0.letters.len() >= self.0.letters_max / 2 {
            return self.post(letter);
        }
        self.put(letter)
    }

    fn put(&self, letter: Letter) -> Result<(), MailboxFull> {
        if self.0.letters.len() >= self.0.letters_max {
            return Err(MailboxFull);
        }
        self.0.letters.push(letter);
        Ok(())
    }

    /// The shard's side, after a wake: from here on a new letter wakes again. Then [`Mailbox::take`] until `None`.
    pub fn begin(&self) {
        // A swap, not a store: it reads what the last poster swapped in, so that poster's letter is seen by the takes
        // that follow.
        self.0.woken.swap(false, Ordering::AcqRel);
    }

    /// The next letter.
    pub fn take(&self) -> Option<Letter> {
        self.0.letters.pop()
    }
}

/// Every shard's mailbox, by the shard's number.
#[derive(Debug, Clone, Default)]
pub struct Shards(Arc<[Mailbox]>);

impl Shards {
    /// In the order of the shards' numbers.
    pub fn new(mailboxes: Vec<Mailbox>) -> Self {
        Self(mailboxes.into())
    }

    /// Posts to the shard that a place names.
    pub fn post(&self, place: Place, letter: Letter) -> Result<(), MailboxFull> {
        self.0
            .get(usize::from(place.shard()))
            .map_or(Err(MailboxFull), |mailbox| mailbox.post(letter))
    }

    /// As [`Shards::post`], for a letter that can wait: see [`Mailbox::leave`].
    pub fn leave(&self, place: Place, letter: Letter) -> Result<(), MailboxFull> {
        self.0
            .get(usize::from(place.shard()))
            .map_or(Err(MailboxFull), |mailbox| mailbox.leave(letter))
    }

    /// Posts one letter to each shard; tells how many took it.
    pub fn post_all(&self, letter: impl Fn() -> Letter) -> usize {
        self.0
            .iter()
            .filter(|mailbox| mailbox.post(letter()).is_ok())
            .count()
    }

    /// Wakes shard `number` to look at what has changed beside its letters.
    pub fn wake(&self, number: u16) {
        if let Some(mailbox) = self.0.get(usize::from(number)) {
            mailbox.wake();
        }
    }

    /// How many shards there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none: before the start.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
