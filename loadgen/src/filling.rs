//! What bodies are filled with: bytes that are not the same for two requests, made and checked in constant memory.
//!
//! They are a piece of one fixed table, begun at a place that the request's name decides. So a body that was mixed
//! with another's, or lost, repeated or swapped a piece of its own, is seen at the first byte that is out of place.

/// Prime: a piece that is repeated or left out is seen whatever power of two its length is.
const TABLE_BYTES: usize = 65_521;
static TABLE: [u8; TABLE_BYTES] = table();

/// Longer bodies are not made.
const LEFT_MAX: u64 = u64::MAX >> 16;

/// The bytes of one body, or what is left of them.
///
/// In one word, since every idle handset has one: 48 bits of how many are left, 16 of the place in the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filling(u64);

impl Filling {
    /// The `bytes` bytes that `name` decides.
    pub fn new(name: &[u8], bytes: u64) -> Self {
        // FNV-1a: any hash will do that all processes of a run agree on.
        let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::at(hash % TABLE_BYTES as u64, bytes.min(LEFT_MAX))
    }

    /// How many bytes are left.
    pub fn left(&self) -> u64 {
        self.0 >> 16
    }

    /// The next bytes: at least one while any are left, at most `limit`.
    pub fn piece(&self, limit: usize) -> &'static [u8] {
        let table = &TABLE[self.place() as usize..];
        let length = usize::try_from(self.left())
            .map_or(table.len(), |left| left.min(table.len()))
            .min(limit);
        &table[..length]
    }

    /// Leaves out the next `bytes`, or all there are.
    pub fn skip(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left());
        let place = (self.place() + bytes) % TABLE_BYTES as u64;
        *self = Self::at(place, self.left() - bytes);
    }

    /// Leaves out as many as `bytes` has, and tells whether these were they. What goes on behind the end is not the same.
    pub fn matches(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let piece = self.piece(bytes.len());
            if piece.is_empty() || piece != &bytes[..piece.len()] {
                return false;
            }
            bytes = &bytes[piece.len()..];
            self.skip(piece.len() as u64);
        }
        true
    }

    fn at(place: u64, left: u64) -> Self {
        Self(left << 16 | place)
    }

    fn place(self) -> u64 {
        self.0 & 0xFFFF
    }
}

/// Letters and digits, so that a body can be looked at.
const fn table() -> [u8; TABLE_BYTES] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0; TABLE_BYTES];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut index = 0;
    while index < TABLE_BYTES {
        // Xorshift: what matters is only that no piece of the table is like another.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes[index] = alphabet[(state >> 58) as usize];
        index += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(mut filling: Filling, piece: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while filling.left() > 0 {
            let next = filling.piece(piece);
            bytes.extend_from_slice(next);
            filling.skip(next.len() as u64);
        }
        bytes
    }

    proptest! {
        #[test]
        fn the_same_name_gives_the_same_bytes_in_any_pieces(
            size in 0u64..200_000,
            pieces in (1usize..100_000, 1usize..100_000),
        ) {
            let filling = Filling::new(b"r-1", size);
            let bytes = whole(filling, pieces.0);
            prop_assert_eq!(bytes.len() as u64, size);
            let mut expected = filling;
            prop_assert!(bytes.chunks(pieces.1).all(|piece| expected.matches(piece)));
            prop_assert_eq!(expected.left(), 0);
            prop_assert!(!expected.matches(b"x"));
        }

        #[test]
        fn a_piece_out_of_place_is_seen(
            at in 0usize..100_000,
            length in 20usize..70_000,
            repeated in any::<bool>(),
        ) {
            let filling = Filling::new(b"r-1", 200_000);
            let mut bytes = whole(filling, usize::MAX);
            if repeated {
                let piece = bytes[at..at + length].to_vec();
                bytes.splice(at..at, piece);
            } else {
                bytes.drain(at..at + length);
            }
            bytes.resize(200_000, b'?');
            prop_assume!(length != TABLE_BYTES);
            let mut expected = filling;
            prop_assert!(!expected.matches(&bytes[..(at + length + 100).min(199_000)]));
        }
    }

    #[test]
    fn names_that_differ_little_give_other_bytes() {
        let one = whole(Filling::new(b"msisdn=34700000001 request=r-1", 64), 64);
        let other = whole(Filling::new(b"msisdn=34700000001 request=r-2", 64), 64);
        assert_ne!(one, other);
    }
}
