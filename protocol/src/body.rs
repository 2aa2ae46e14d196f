//! Where the body of an HTTP/1.1 message ends: what a data channel carries behind a head (RFC 9112, sections 6 and 7.1).
//!
//! The gateway follows callers' requests with it, so that no body is taken for the next request; the agent follows its
//! web server's responses, so that their connection can serve another one. Heads are theirs to read.

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    /// This many bytes.
    Length(u64),
    /// As its chunks say.
    Chunked,
}

/// Follows a body through whatever fragments it arrives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follower(State);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// This many bytes to the body's end.
    Length(u64),
    /// In the line that says a chunk's size.
    Size(u64, SizeLine),
    /// This many bytes of the chunk, then its line ending.
    Chunk(u64),
    /// At the CR of the line ending after a chunk, and at its LF.
    ChunkCr,
    ChunkLf,
    /// At the beginning of a line of the trailers, inside one, and at its LF.
    TrailerStart,
    Trailer,
    TrailerLf,
    /// At the last LF of all.
    EndLf,
    /// Behind the body.
    End,
    /// The chunks are malformed: nothing after this is a body or a request.
    Lost,
}

/// Where in the line of a chunk's size. Its first digit must be there; an extension is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SizeLine {
    Start,
    Digits,
    Space,
    Extension,
    Lf,
}

impl Follower {
    /// At the first byte behind the head.
    pub fn new(framing: BodyFraming) -> Self {
        Self(match framing {
            BodyFraming::Length(0) => State::End,
            BodyFraming::Length(bytes) => State::Length(bytes),
            BodyFraming::Chunked => State::Size(0, SizeLine::Start),
        })
    }

    /// Whether the body has ended.
    pub fn is_end(self) -> bool {
        self.0 == State::End
    }

    /// Whether the chunks turned out to be none: the byte behind those that [`Follower::advance`] took is the first
    /// that cannot be. Lines end with CRLF and nothing else, as hyper has it: were they followed more generously than
    /// hyper reads them, the two would take different bytes for the next request.
    pub fn is_lost(self) -> bool {
        self.0 == State::Lost
    }

    /// Takes the next bytes, and tells how many of them still belong to the body.
    pub fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while let Some((first, tail)) = rest.split_first() {
            match self.0 {
                State::End | State::Lost => break,
                State::Length(left) | State::Chunk(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    rest = rest.get(taken..).unwrap_or_default();
                    let left = left.saturating_sub(taken as u64);
                    self.0 = match (self.0, left) {
                        (State::Length(_), 0) => State::End,
                        (State::Length(_), _) => State::Length(left),
                        (_, 0) => State::ChunkCr,
                        _ => State::Chunk(left),
                    };
                }
                _ => {
                    self.0 = self.0.after(*first);
                    if self.0 != State::Lost {
                        rest = tail;
                    }
                }
            }
        }
        bytes.len() - rest.len()
    }
}

impl State {
    /// One byte of the chunks' own notation.
    fn after(self, byte: u8) -> Self {
        use SizeLine::{Digits, Extension, Lf, Space, Start};
        match (self, byte) {
            (Self::Size(0, Lf), b'\n') => Self::TrailerStart,
            (Self::Size(size, Lf), b'\n') => Self::Chunk(size),
            (Self::Size(size, Digits | Space | Extension), b'\r') => Self::Size(size, Lf),
            (Self::Size(size, Digits | Space), b' ' | b'\t') => Self::Size(size, Space),
            (Self::Size(size, Digits | Space), b';') => Self::Size(size, Extension),
            (Self::Size(size, Extension), byte) if byte != b'\n' => Self::Size(size, Extension),
            (Self::Size(size, Start | Digits), byte) => match char::from(byte).to_digit(16) {
                Some(digit) if size >> 60 == 0 => Self::Size(size << 4 | u64::from(digit), Digits),
                _ => Self::Lost,
            },
            (Self::ChunkCr, b'\r') => Self::ChunkLf,
            (Self::ChunkLf, b'\n') => Self::Size(0, Start),
            (Self::TrailerStart, b'\r') => Self::EndLf,
            (Self::Trailer, b'\r') => Self::TrailerLf,
            (Self::TrailerStart | Self::Trailer, byte) if byte != b'\n' => Self::Trailer,
            (Self::TrailerLf, b'\n') => Self::TrailerStart,
            (Self::EndLf, b'\n') => Self::End,
            _ => Self::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn chunks_that_are_none_are_lost_at_their_first_byte() {
        for (sound, lost) in [
            ("", "\r\n"),
            ("", ";a\r\n"),
            ("", "-3\r\n"),
            ("0", "x3\r\n"),
            ("3", "\nabc"),
            ("3;a", "\nabc"),
            ("3;a\r", "b\r\nabc"),
            ("3 ", "4\r\n"),
            ("ffffffffffffffff", "f\r\n"),
            ("3\r\nabc", "\n"),
            ("3\r\nabc", "X\r\n"),
            ("3\r\nabc\r", "X"),
            ("0\r\n", "\nGET / HTTP/1.1\r\n\r\n"),
            ("0\r\n\r", "GET / HTTP/1.1\r\n\r\n"),
            ("0\r\nx: y", "\n\r\n"),
            ("0\r\nx: y\r", "z\r\n\r\n"),
        ] {
            let mut follower = Follower::new(BodyFraming::Chunked);
            let taken = follower.advance(format!("{sound}{lost}").as_bytes());
            assert_eq!(
                (taken, follower.is_lost()),
                (sound.len(), true),
                "{sound:?} {lost:?}"
            );
            assert_eq!(follower.advance(b"0\r\n\r\n"), 0, "it stays lost");
        }
    }

    proptest! {
        #[test]
        fn a_body_is_followed_whatever_its_fragments(
            chunks in proptest::collection::vec(1usize..40, 0..5),
            trailer in any::<bool>(),
            cuts in proptest::collection::vec(1usize..9, 1..60),
        ) {
            let mut body = String::new();
            for size in chunks {
                body.push_str(&format!("{size:X};ext=\"\\n\"\r\n{}\r\n", "\n".repeat(size)));
            }
            body.push_str(if trailer { "0\r\nx: y\r\n\r\n" } else { "0\r\n\r\n" });
            let whole = format!("{body}GET / HTTP/1.1");
            let mut follower = Follower::new(BodyFraming::Chunked);
            let (mut at, mut cuts) = (0, cuts.into_iter().cycle());
            while !follower.is_end() {
                let end = (at + cuts.next().unwrap_or(1)).min(whole.len());
                at += follower.advance(whole.as_bytes().get(at..end).expect("in range"));
                prop_assert!(at < whole.len(), "the body's end was passed");
            }
            prop_assert_eq!(at, body.len());
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut follower = Follower::new(BodyFraming::Chunked);
            prop_assert!(follower.advance(&bytes) <= bytes.len());
        }
    }
}
