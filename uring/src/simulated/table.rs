//! The slots and buffers of a [`super::SimulatedRing`], and the checks that their owner uses them as promised.

use super::net::PeerId;
use crate::{Lease, SocketKey};

/// What a slot is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Free,
    /// An armed accept will put its connection here.
    Promised,
    Connecting,
    Open,
    Closing,
}

/// What a send was given, kept until its owner has been told: a close in between still brings it to the peer.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) bytes: Vec<u8>,
    pub(super) taken: usize,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) used_for: Use,
    pub(super) connection: Option<PeerId>,
    pub(super) watching: bool,
    /// Told ends of the watch that the owner has not answered with another.
    pub(super) watch_ends_told: u32,
    pub(super) receiving: bool,
    pub(super) sending: Option<Sending>,
    pub(super) awaiting_writable: bool,
}

/// The table of sockets.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Table {
    pub(super) fn new(slots: u32) -> Table {
        let slot = |_| Slot {
            generation: 0,
            used_for: Use::Free,
            connection: None,
            watching: false,
            watch_ends_told: 0,
            receiving: false,
            sending: None,
            awaiting_writable: false,
        };
        Table {
            slots: (0..slots).map(slot).collect(),
            free: (0..slots).collect(),
        }
    }

    pub(super) fn size(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(super) fn free(&self) -> u32 {
        self.free.len() as u32
    }

    pub(super) fn in_use(&self, used_for: Use) -> u32 {
        self.slots
            .iter()
            .filter(|slot| slot.used_for == used_for)
            .count() as u32
    }

    /// Takes a free slot; `pick` chooses among as many as there are, at least one.
    pub(super) fn take(
        &mut self,
        used_for: Use,
        pick: impl FnOnce(usize) -> usize,
    ) -> Option<SocketKey> {
        if self.free.is_empty() {
            return None;
        }
        let chosen = pick(self.free.len());
        let slot = self.free.swap_remove(chosen);
        let entry = &mut self.slots[slot as usize];
        entry.used_for = used_for;
        Some(SocketKey {
            slot,
            generation: entry.generation,
        })
    }

    /// Makes a slot free; every key to it is stale from now on.
    pub(super) fn give_back(&mut self, socket: SocketKey) {
        let slot = &mut self.slots[socket.slot as usize];
        *slot = Slot {
            generation: slot.generation.wrapping_add(1),
            used_for: Use::Free,
            connection: None,
            watching: false,
            watch_ends_told: 0,
            receiving: false,
            sending: None,
            awaiting_writable: false,
        };
        self.free.push(socket.slot);
    }

    /// The slot, unless the key is stale or was never given out.
    pub(super) fn slot(&mut self, socket: SocketKey) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(socket.slot as usize)?;
        (slot.generation == socket.generation && slot.used_for != Use::Free).then_some(slot)
    }

    /// The connections of all slots.
    pub(super) fn connections(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.slots.iter().filter_map(|slot| slot.connection)
    }
}

/// The pool of receive buffers.
#[derive(Debug)]
pub(super) struct Pool {
    bytes: Vec<Box<[u8]>>,
    idle: Vec<u32>,
    is_out: Vec<bool>,
    /// Leases that the owner holds; the ring's own, in completions not yet told, are not counted.
    told: u32,
}

impl Pool {
    pub(super) fn new(buffers: u32, buffer_bytes: usize) -> Pool {
        Pool {
            bytes: (0..buffers).map(|_| vec![0; buffer_bytes].into()).collect(),
            idle: (0..buffers).collect(),
            is_out: vec![false; buffers as usize],
            told: 0,
        }
    }

    pub(super) fn idle(&self) -> u32 {
        self.idle.len() as u32
    }

    /// Takes an idle buffer and lets `fill` write into it; it returns the length, or `None` to leave the buffer idle.
    pub(super) fn lease(&mut self, fill: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<Lease> {
        let buffer = *self.idle.last()?;
        let len = fill(&mut self.bytes[buffer as usize])?;
        self.idle.pop();
        self.is_out[buffer as usize] = true;
        Some(Lease {
            buffer,
            len: len as u32,
            more: false,
        })
    }

    pub(super) fn tell(&mut self) {
        self.told += 1;
    }

    pub(super) fn told(&self) -> u32 {
        self.told
    }

    pub(super) fn bytes(&self, lease: &Lease) -> &[u8] {
        assert!(
            self.is_out.get(lease.buffer as usize) == Some(&true),
            "{lease:?} is not out of this ring's pool"
        );
        &self.bytes[lease.buffer as usize][..lease.len as usize]
    }

    /// The owner gives a lease back.
    pub(super) fn release(&mut self, lease: Lease) {
        self.take_back(lease);
        self.told -= 1;
    }

    /// A lease that the owner was never told of goes back.
    pub(super) fn take_back(&mut self, lease: Lease) {
        let is_out = self.is_out.get_mut(lease.buffer as usize);
        assert!(
            is_out.as_deref() == Some(&true),
            "{lease:?} is not out of this ring's pool: released twice, or to the wrong ring"
        );
        is_out.into_iter().for_each(|out| *out = false);
        // What is read from a buffer after its release must not look like what was in it.
        self.bytes[lease.buffer as usize].fill(0xdd);
        self.idle.push(lease.buffer);
    }
}
