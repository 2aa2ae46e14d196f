//! \[2\] Who is reachable, and where: MSISDN → one [`Place`] word. RAM is the truth; a restart begins empty.
//!
//! Shards write it at registration and departure, workers read it once a request. The value is one Copy word, so
//! no guard outlives a lookup; a directory shared by many gateways can take this one's place behind the same calls.

use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use everline_protocol::Msisdn;
use everline_uring::SocketKey;

/// All that a request must know of a session, in 64 bits: shard 12, slot 20, generation 24, linger 8.
///
/// Equal places are the same session: the generation tells apart the successive uses of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place(u64);

/// Shards that a [`Place`] can tell apart.
pub const SHARDS_MAX: usize = 1 << 12;
/// Slots of one shard that a [`Place`] can tell apart; also the kernel's own bound on a ring's file table.
pub const SLOTS_MAX: u32 = 1 << 20;
/// Longest linger that a [`Place`] can hold, seconds.
pub const LINGER_S_MAX: u32 = u8::MAX as u32;

const GENERATION_MASK: u32 = (1 << 24) - 1;

impl Place {
    /// Packs the four; a longer linger is cut to [`LINGER_S_MAX`].
    pub fn new(shard: u16, socket: SocketKey, linger_s: u32) -> Self {
        debug_assert!(usize::from(shard) < SHARDS_MAX && socket.slot < SLOTS_MAX);
        Self(
            u64::from(shard) << 52
                | u64::from(socket.slot) << 32
                | u64::from(socket.generation & GENERATION_MASK) << 8
                | u64::from(linger_s.min(LINGER_S_MAX)),
        )
    }

    /// Which shard's mailbox to write to.
    pub fn shard(self) -> u16 {
        (self.0 >> 52) as u16
    }

    /// Which slot of that shard.
    pub fn slot(self) -> u32 {
        (self.0 >> 32) as u32 & (SLOTS_MAX - 1)
    }

    /// Whether `socket` is the one that was packed, as far as 24 bits of its generation tell.
    pub fn is(self, socket: SocketKey) -> bool {
        self.slot() == socket.slot
            && (self.0 >> 8) as u32 & GENERATION_MASK == socket.generation & GENERATION_MASK
    }

    /// Seconds for which this handset keeps an idle data channel; 0: never.
    pub fn linger_s(self) -> u32 {
        (self.0 & 0xff) as u32
    }
}

/// MSISDN → [`Place`] for every registered handset.
#[derive(Debug, Default)]
pub struct Directory {
    places: DashMap<Msisdn, Place>,
    sessions: AtomicUsize,
}

impl Directory {
    /// Where the handset is, if it is reachable.
    pub fn lookup(&self, msisdn: Msisdn) -> Option<Place> {
        self.places.get(&msisdn).map(|place| *place)
    }

    /// Enters a new session unless that would make more than `sessions_max`; tells the place it replaced, if any.
    /// Replacing is always allowed.
    pub fn enter(
        &self,
        msisdn: Msisdn,
        place: Place,
        sessions_max: usize,
    ) -> Result<Option<Place>, Full> {
        match self.places.entry(msisdn) {
            Entry::Occupied(mut entry) => Ok(Some(entry.insert(place))),
            Entry::Vacant(entry) => {
                if self.sessions.fetch_add(1, Ordering::Relaxed) >= sessions_max {
                    self.sessions.fetch_sub(1, Ordering::Relaxed);
                    return Err(Full);
                }
                entry.insert(place);
                Ok(None)
            }
        }
    }

    /// Removes the session if it is still this one; `false` if it was replaced meanwhile.
    pub fn leave(&self, msisdn: Msisdn, place: Place) -> bool {
        let removed = self
            .places
            .remove_if(&msisdn, |_, current| *current == place)
            .is_some();
        if removed {
            self.sessions.fetch_sub(1, Ordering::Relaxed);
        }
        removed
    }

    /// Registered handsets.
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }
}

/// As many sessions as the gateway may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

#[cfg(test)]
mod tests {
    use super::*;

    fn msisdn(number: u64) -> Msisdn {
        Msisdn::from_u64(number).expect("a valid number")
    }

    fn place(slot: u32, generation: u32) -> Place {
        Place::new(3, SocketKey { slot, generation }, 5)
    }

    #[test]
    fn a_place_gives_back_what_was_packed() {
        let socket = SocketKey {
            slot: SLOTS_MAX - 1,
            generation: 0xABCD_EF12,
        };
        let packed = Place::new(4095, socket, 300);
        assert_eq!(
            (packed.shard(), packed.slot(), packed.linger_s()),
            (4095, SLOTS_MAX - 1, LINGER_S_MAX)
        );
        assert!(packed.is(socket));
        assert!(!packed.is(SocketKey {
            generation: socket.generation + 1,
            ..socket
        }));
    }

    #[test]
    fn a_replaced_session_cannot_remove_its_successor() {
        let directory = Directory::default();
        let (old, new) = (place(1, 1), place(1, 2));
        assert_eq!(directory.enter(msisdn(34_600_000_001), old, 1), Ok(None));
        assert_eq!(
            directory.enter(msisdn(34_600_000_001), new, 1),
            Ok(Some(old)),
            "replacing needs no room"
        );
        assert!(!directory.leave(msisdn(34_600_000_001), old));
        assert_eq!(directory.lookup(msisdn(34_600_000_001)), Some(new));
        assert!(directory.leave(msisdn(34_600_000_001), new));
        assert_eq!(directory.sessions(), 0);
    }

    #[test]
    fn the_bound_on_sessions_holds() {
        let directory = Directory::default();
        assert_eq!(
            directory.enter(msisdn(34_600_000_001), place(1, 0), 1),
            Ok(None)
        );
        assert_eq!(
            directory.enter(msisdn(34_600_000_002), place(2, 0), 1),
            Err(Full)
        );
        assert_eq!(directory.sessions(), 1);
        assert_eq!(directory.lookup(msisdn(34_600_000_002)), None);
    }
}
