//! What an operation says of itself in `user_data`: its kind, and the socket or buffer it belongs to, in 64 bits.

use crate::SocketKey;

/// The kinds of operations that a [`crate::Ring`] has in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Nobody waits for it: a cancellation.
    Ignore = 0,
    /// The eventfd's read.
    Wake = 1,
    /// An accept; the index is its address record's.
    Accept = 2,
    /// The multishot poll of an idle socket.
    Watch = 3,
    /// A poll for room to send.
    Writable = 4,
    /// A receive or send; the index is its buffer's.
    Receive = 5,
    /// See `Receive`.
    Send = 6,
    /// One step of a connect: socket, option, bind, connect.
    Connect = 7,
    /// Reads and drops what the peer sent before a close, so that the close is no reset.
    Discard = 8,
    /// The linger option before a reset.
    Linger = 9,
    /// The close of a slot.
    Close = 10,
}

const KINDS: [Kind; 11] = [
    Kind::Ignore,
    Kind::Wake,
    Kind::Accept,
    Kind::Watch,
    Kind::Writable,
    Kind::Receive,
    Kind::Send,
    Kind::Connect,
    Kind::Discard,
    Kind::Linger,
    Kind::Close,
];

/// Kind in the top 4 bits, index (slot, buffer or record) in the next 28, generation in the low 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag(u64);

/// Indices that a tag can hold.
pub(crate) const INDEX_MAX: u32 = (1 << 28) - 1;

impl Tag {
    pub(crate) fn of_socket(kind: Kind, socket: SocketKey) -> Self {
        Self::new(kind, socket.slot, socket.generation)
    }

    pub(crate) fn of_index(kind: Kind, index: u32) -> Self {
        Self::new(kind, index, 0)
    }

    fn new(kind: Kind, index: u32, generation: u32) -> Self {
        debug_assert!(index <= INDEX_MAX);
        Self((kind as u64) << 60 | u64::from(index) << 32 | u64::from(generation))
    }

    pub(crate) fn from_user_data(user_data: u64) -> Self {
        Self(user_data)
    }

    pub(crate) fn user_data(self) -> u64 {
        self.0
    }

    /// `None` for a tag that this crate never made.
    pub(crate) fn kind(self) -> Option<Kind> {
        KINDS.get((self.0 >> 60) as usize).copied()
    }

    pub(crate) fn index(self) -> u32 {
        (self.0 >> 32) as u32 & INDEX_MAX
    }

    pub(crate) fn socket(self) -> SocketKey {
        SocketKey {
            slot: self.index(),
            generation: self.0 as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_gives_back_what_it_was_made_of() {
        for (number, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(
                kind as usize, number,
                "the table is in the order of the discriminants"
            );
            let socket = SocketKey {
                slot: INDEX_MAX,
                generation: u32::MAX,
            };
            let tag = Tag::from_user_data(Tag::of_socket(kind, socket).user_data());
            assert_eq!((tag.kind(), tag.socket()), (Some(kind), socket));
        }
        assert_eq!(Tag::from_user_data(u64::MAX).kind(), None);
    }
}
