//! Bytes on their way to handsets: lent to a connection only while some are, because a million are idle.
//!
//! The ring takes what it can and tells how much that was, so the bytes stay here until it has told.

use everline_protocol::Millis;

/// An outbox keeps its memory for the next connection up to this size, bytes.
const KEPT_BYTES_MAX: usize = 1024;
/// Spare outboxes that are kept.
const SPARE_MAX: usize = 1024;

/// Names a lent outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OutboxId(std::num::NonZeroU32);

/// What one connection has to send.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// In order, from the first byte that the kernel has not taken.
    pub(super) bytes: Vec<u8>,
    /// How many of them a send is under way with.
    pub(super) in_flight: usize,
    /// Until when the peer must take more, or have taken all.
    pub(super) deadline: Option<Millis>,
    /// The socket takes nothing until it is writable again.
    pub(super) stalled: bool,
}

impl Outbox {
    /// Whether all has been taken.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The kernel took `count` bytes of those in flight. Tells whether it was all of them.
    pub(super) fn taken(&mut self, count: usize) -> bool {
        let all = count >= self.in_flight;
        let count = count.min(self.in_flight).min(self.bytes.len());
        self.bytes.drain(..count);
        self.in_flight = 0;
        all
    }
}

/// All outboxes of a shard.
#[derive(Debug, Default)]
pub(super) struct Outboxes {
    all: Vec<Outbox>,
    free: Vec<OutboxId>,
}

impl Outboxes {
    /// Lends an empty one.
    pub(super) fn lend(&mut self) -> OutboxId {
        if let Some(id) = self.free.pop() {
            return id;
        }
        self.all.push(Outbox::default());
        // As many as there are slots at most, and those are fewer than 2^20.
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        OutboxId(std::num::NonZeroU32::new(number).unwrap_or(std::num::NonZeroU32::MIN))
    }

    /// Takes one back, whatever it holds.
    pub(super) fn give_back(&mut self, id: OutboxId) {
        let spare = self.free.len() < SPARE_MAX;
        if let Some(outbox) = self.get_mut(id) {
            outbox.bytes.clear();
            outbox
                .bytes
                .shrink_to(if spare { KEPT_BYTES_MAX } else { 0 });
            *outbox = Outbox {
                bytes: std::mem::take(&mut outbox.bytes),
                ..Outbox::default()
            };
            self.free.push(id);
        }
    }

    pub(super) fn get(&self, id: OutboxId) -> Option<&Outbox> {
        self.all.get(id.0.get() as usize - 1)
    }

    pub(super) fn get_mut(&mut self, id: OutboxId) -> Option<&mut Outbox> {
        self.all.get_mut(id.0.get() as usize - 1)
    }

    /// Lent ones.
    #[cfg(test)]
    pub(super) fn lent(&self) -> usize {
        self.all.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_taken_stays_in_order() {
        let mut outbox = Outbox {
            bytes: b"KEEPALIVE\r\n".to_vec(),
            in_flight: 11,
            ..Outbox::default()
        };
        assert!(!outbox.taken(4));
        assert_eq!(outbox.bytes, b"ALIVE\r\n");
        outbox.in_flight = 7;
        assert!(outbox.taken(7) && outbox.is_empty());
    }

    #[test]
    fn an_outbox_given_back_is_lent_again_empty() {
        let mut outboxes = Outboxes::default();
        let id = outboxes.lend();
        if let Some(outbox) = outboxes.get_mut(id) {
            outbox.bytes.resize(100_000, 0);
            outbox.stalled = true;
        }
        outboxes.give_back(id);
        assert_eq!(outboxes.lend(), id);
        let outbox = outboxes.get(id).expect("it is lent");
        assert!(outbox.is_empty() && !outbox.stalled && outbox.bytes.capacity() <= KEPT_BYTES_MAX);
        assert_eq!(outboxes.lent(), 1);
    }
}
