//! The slots of a ring's file table: which are free, what each is doing, and how often each was used before.

use crate::SocketKey;

/// What a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing.
    Free,
    /// An armed accept will put a socket here.
    Promised,
    /// A connect is under way.
    Connecting,
    /// Its owner uses it.
    Open,
    /// Closing in order: waits for its operations to complete.
    Closing,
}

/// What the multishot poll of a slot does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    /// It is not armed.
    Off,
    /// It is armed.
    On,
    /// It is armed, and has told that the peer has ended the connection.
    Ended,
}

impl Watch {
    pub(crate) fn is_on(self) -> bool {
        self != Self::Off
    }
}

/// Bytes that a socket in use costs in its ring's table, the kernel's share aside.
pub const SLOT_BYTES: usize = 8;

/// One slot: a million of them are held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) generation: u32,
    /// Operations in flight whose last completion has not come; the slot is closed only at 0.
    pub(crate) in_flight: u8,
    pub(crate) state: State,
    pub(crate) watch: Watch,
    /// A reset was asked for, not a close.
    pub(crate) reset: bool,
}

/// All slots of a ring; memory is touched only as far as slots have been used.
#[derive(Debug)]
pub(crate) struct Table {
    /// Those that were used before.
    slots: Vec<Slot>,
    /// Those of them that are free.
    free: Vec<u32>,
    /// How many slots there are.
    len: u32,
}

const FRESH: Slot = Slot {
    generation: 0,
    in_flight: 0,
    state: State::Free,
    watch: Watch::Off,
    reset: false,
};

impl Table {
    pub(crate) fn new(slots: u32) -> Self {
        Self {
            slots: Vec::with_capacity(slots as usize),
            free: Vec::new(),
            len: slots,
        }
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn free(&self) -> u32 {
        self.len - self.slots.len() as u32 + self.free.len() as u32
    }

    /// Takes a free slot into `state`.
    pub(crate) fn take(&mut self, state: State) -> Option<SocketKey> {
        let slot = self.free_slot()?;
        let entry = &mut self.slots[slot as usize];
        debug_assert_eq!(entry.state, State::Free);
        entry.state = state;
        Some(SocketKey {
            slot,
            generation: entry.generation,
        })
    }

    /// The slot that was used last, for its memory is warm; else one that was never used.
    fn free_slot(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        let fresh = self.slots.len() as u32;
        (fresh < self.len).then(|| {
            self.slots.push(FRESH);
            fresh
        })
    }

    /// The slot of a key, unless the slot has been used again since, or is free.
    pub(crate) fn slot(&mut self, socket: SocketKey) -> Option<&mut Slot> {
        self.slots
            .get_mut(socket.slot as usize)
            .filter(|slot| slot.generation == socket.generation && slot.state != State::Free)
    }

    /// The slot of a key whose owner may use it.
    pub(crate) fn open(&mut self, socket: SocketKey) -> Option<&mut Slot> {
        self.slot(socket).filter(|slot| slot.state == State::Open)
    }

    /// Frees the slot for its next use, under the next generation.
    pub(crate) fn release(&mut self, socket: SocketKey) {
        let slot = &mut self.slots[socket.slot as usize];
        assert!(
            slot.generation == socket.generation && slot.in_flight == 0,
            "a slot is released once, at rest"
        );
        *slot = Slot {
            generation: slot.generation.wrapping_add(1),
            ..FRESH
        };
        self.free.push(socket.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_comes_back_under_a_new_generation() {
        let mut table = Table::new(1);
        let first = table.take(State::Open).expect("one is free");
        assert!(table.take(State::Open).is_none());
        table.release(first);
        let second = table.take(State::Open).expect("it is free again");
        assert_eq!(second.slot, first.slot);
        assert!(table.slot(first).is_none() && table.slot(second).is_some());
    }

    #[test]
    fn every_slot_is_given_once_and_counted() {
        let mut table = Table::new(3);
        let taken: Vec<_> = std::iter::from_fn(|| table.take(State::Open)).collect();
        assert_eq!((taken.len(), table.len(), table.free()), (3, 3, 0));
        table.release(taken[1]);
        assert_eq!(table.free(), 1);
        let again = table.take(State::Open).expect("one is free");
        assert_eq!((again.slot, again.generation), (taken[1].slot, 1));
    }

    #[test]
    fn a_slot_costs_what_is_said() {
        assert_eq!(size_of::<Slot>(), SLOT_BYTES);
    }
}
