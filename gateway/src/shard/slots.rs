//! The table of a shard's connections, indexed by the ring's slots. A stale key or place finds nothing.
//!
//! It is where a million sessions live, so a slot is counted in bytes: what only a few connections need at a time
//! (bytes to be sent, a PROXY header half read) is kept elsewhere, and the table grows with the highest slot in use.

use everline_protocol::{Millis, Msisdn, Session};
use everline_uring::SocketKey;

use crate::directory::Place;
use crate::shard::outbox::OutboxId;

/// One connection.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) session: Session,
    /// Who it is, once registered.
    pub(super) registered: Option<Registered>,
    pub(super) generation: u32,
    /// Seconds since the clock's epoch of the last line or data channel.
    pub(super) last_seen_s: u32,
    /// Bytes on their way to the handset; none between two lines.
    pub(super) outbox: Option<OutboxId>,
    pub(super) stage: Stage,
    /// A receive is under way.
    pub(super) receiving: bool,
    /// The socket became readable during that receive.
    pub(super) again: bool,
}

/// A registered handset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Registered {
    pub(super) msisdn: Msisdn,
    /// Seconds since the clock's epoch.
    pub(super) since_s: u32,
    /// As its [`Place`] has it.
    pub(super) linger_s: u8,
    /// It was told to reconnect: that it goes then is our doing.
    pub(super) told_to_leave: bool,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A PROXY header comes first.
    ProxyHeader,
    /// The session reads its lines.
    Open,
    /// The session is over and counted; last bytes go out, what still comes in is thrown away.
    Leaving,
}

impl Slot {
    pub(super) fn new(session: Session, generation: u32, stage: Stage, now: Millis) -> Self {
        Self {
            session,
            registered: None,
            generation,
            last_seen_s: whole_seconds(now),
            outbox: None,
            stage,
            receiving: false,
            again: false,
        }
    }
}

/// Seconds since the clock's epoch: 136 years fit.
pub(super) fn whole_seconds(at: Millis) -> u32 {
    u32::try_from(at.0 / 1000).unwrap_or(u32::MAX)
}

/// All of a shard's connections.
#[derive(Debug)]
pub(super) struct Slots {
    table: Vec<Option<Slot>>,
    open: usize,
}

impl Slots {
    /// A table for a ring of `slots`; memory is touched only as far as slots get used.
    pub(super) fn new(slots: u32) -> Self {
        Self {
            table: Vec::with_capacity(slots as usize),
            open: 0,
        }
    }

    /// Enters a connection that the ring has just opened.
    pub(super) fn open(&mut self, slot: u32, connection: Slot) {
        let index = slot as usize;
        if index >= self.table.len() {
            self.table.resize_with(index + 1, || None);
        }
        if let Some(entry) = self.table.get_mut(index) {
            assert!(entry.is_none(), "the ring opened a slot that is in use");
            *entry = Some(connection);
            self.open += 1;
        }
    }

    /// Forgets a connection that is being closed.
    pub(super) fn close(&mut self, key: SocketKey) -> Option<Slot> {
        let entry = self.table.get_mut(key.slot as usize)?;
        let closed = entry.take_if(|slot| slot.generation == key.generation)?;
        self.open -= 1;
        Some(closed)
    }

    pub(super) fn get(&self, key: SocketKey) -> Option<&Slot> {
        let slot = self.table.get(key.slot as usize)?.as_ref()?;
        (slot.generation == key.generation).then_some(slot)
    }

    pub(super) fn get_mut(&mut self, key: SocketKey) -> Option<&mut Slot> {
        let slot = self.table.get_mut(key.slot as usize)?.as_mut()?;
        (slot.generation == key.generation).then_some(slot)
    }

    /// The connection that uses a slot now.
    pub(super) fn key_at(&self, slot: u32) -> Option<SocketKey> {
        let generation = self.table.get(slot as usize)?.as_ref()?.generation;
        Some(SocketKey { slot, generation })
    }

    /// The registered session that a place names, if it has not ended.
    pub(super) fn at(&self, place: Place) -> Option<SocketKey> {
        let key = self.key_at(place.slot()).filter(|key| place.is(*key))?;
        self.get(key)
            .is_some_and(|slot| slot.registered.is_some())
            .then_some(key)
    }

    /// One more than the highest slot that was ever used.
    pub(super) fn reach(&self) -> u32 {
        u32::try_from(self.table.len()).unwrap_or(u32::MAX)
    }

    /// Connections that are open.
    pub(super) fn len(&self) -> usize {
        self.open
    }
}
