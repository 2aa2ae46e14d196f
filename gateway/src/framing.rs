//! Where an HTTP/1.1 request ends: finds the end of its head, judges the head, follows its body.
//!
//! `head_gate` asks it, so that every head of a connection is judged before hyper sees it. hyper frames the body again
//! for itself and its word counts; what is refused here is what hyper would let pass in silence or refuse without a
//! word to the caller. RFC 9112, sections 2.2, 3.2, 6 and 7.1.

use std::mem::MaybeUninit;

use crate::problem::Problem;

/// Up to this many fields, judging a head takes no memory from the heap.
const FEW_FIELDS: usize = 128;

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its body.
    pub body: BodyFraming,
    /// Whether the method is HEAD, whose answer has no body.
    pub is_head_method: bool,
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    /// This many bytes.
    Length(u64),
    /// As its chunks say.
    Chunked,
}

/// A head that must not go on, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What the caller is told.
    pub problem: Problem,
    /// Whether the method is HEAD, whose answer has no body.
    pub is_head_method: bool,
}

/// Bytes of the head at the start of `bytes`, its empty line included; `None` if it is not whole. Lines before the
/// request line count to the head. `seen` is how many bytes of it an earlier call has looked at.
pub fn head_len(bytes: &[u8], seen: usize) -> Option<usize> {
    let begin = bytes
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let mut at = seen.saturating_sub(3).max(begin);
    while let Some(rest) = bytes.get(at..) {
        let feed = at + rest.iter().position(|byte| *byte == b'\n')?;
        match (bytes.get(feed + 1), bytes.get(feed + 2)) {
            (Some(b'\n'), _) => return Some(feed + 2),
            (Some(b'\r'), Some(b'\n')) => return Some(feed + 3),
            _ => at = feed + 1,
        }
    }
    None
}

/// Judges a whole head.
pub fn judge(head: &[u8], headers_max: usize) -> Result<Head, Refused> {
    // Most bounds fit on the stack, and nothing of it is written beyond the fields that are there.
    let mut few = [const { MaybeUninit::uninit() }; FEW_FIELDS];
    let mut many = Vec::new();
    let fields = match few.get_mut(..headers_max) {
        Some(few) => few,
        None => {
            many.resize_with(headers_max, MaybeUninit::uninit);
            many.as_mut_slice()
        }
    };
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(head, fields);
    let is_head_method = request.method == Some("HEAD");
    let verdict = match parsed {
        Ok(httparse::Status::Complete(_)) if !is_uri(request.path) => {
            Err(Problem::BadRequest("its target is malformed"))
        }
        Ok(httparse::Status::Complete(_)) => {
            body_framing(request.version == Some(1), request.headers)
        }
        Ok(httparse::Status::Partial) => Err(Problem::BadRequest("its head is not whole")),
        Err(httparse::Error::TooManyHeaders) => Err(Problem::HeadersTooLarge),
        Err(httparse::Error::Version) => {
            Err(Problem::BadRequest("its HTTP version is not 1.0 or 1.1"))
        }
        Err(httparse::Error::Token) => Err(Problem::BadRequest("its request line is malformed")),
        Err(_malformed) => Err(Problem::BadRequest("a header field is malformed")),
    };
    match verdict {
        Ok(body) => Ok(Head {
            body,
            is_head_method,
        }),
        Err(problem) => Err(Refused {
            problem,
            is_head_method,
        }),
    }
}

/// httparse takes more for a target than hyper does, and hyper would refuse it without a word.
fn is_uri(target: Option<&str>) -> bool {
    target.is_some_and(|target| target.parse::<http::Uri>().is_ok())
}

fn body_framing(is_http_11: bool, fields: &[httparse::Header<'_>]) -> Result<BodyFraming, Problem> {
    let values = |name: &'static str| {
        fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    };
    match values("host").count() {
        0 if is_http_11 => return Err(Problem::BadRequest("it has no Host")),
        0 | 1 => {}
        _ => return Err(Problem::BadRequest("it has more than one Host")),
    }
    let mut lengths = values("content-length");
    let mut codings = values("transfer-encoding");
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(BodyFraming::Length(0)),
        (Some(_), Some(_)) => Err(Problem::BadRequest(
            "it has both Content-Length and Transfer-Encoding",
        )),
        (Some(length), None) if lengths.next().is_none() => content_length(length)
            .map(BodyFraming::Length)
            .ok_or(Problem::BadRequest("its Content-Length is no number")),
        (Some(_), None) => Err(Problem::BadRequest("it has more than one Content-Length")),
        (None, Some(_)) if !is_http_11 => {
            Err(Problem::BadRequest("HTTP/1.0 has no Transfer-Encoding"))
        }
        (None, Some(coding))
            if codings.next().is_none() && coding.eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(BodyFraming::Chunked)
        }
        (None, Some(_)) => Err(Problem::BadRequest(
            "its Transfer-Encoding is not chunked alone",
        )),
    }
}

fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
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

    fn problem(head: &str) -> Option<&'static str> {
        judge(head.as_bytes(), 16)
            .err()
            .map(|refused| refused.problem.row().slug)
    }

    #[test]
    fn an_ambiguous_head_is_refused() {
        for fields in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "Content-Length: 3, 3\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Host: b\r\n",
            " folded\r\n",
            "no colon\r\n",
        ] {
            assert_eq!(
                problem(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")),
                Some("bad-request"),
                "{fields}"
            );
        }
        assert_eq!(
            problem("GET / HTTP/1.1\r\n\r\n"),
            Some("bad-request"),
            "no Host"
        );
        assert_eq!(
            problem("GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
            Some("bad-request")
        );
        assert_eq!(
            problem("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
            Some("bad-request")
        );
        assert_eq!(
            problem("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Some("bad-request")
        );
        assert_eq!(
            problem(&format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "a: b\r\n".repeat(16)
            )),
            Some("headers-too-large")
        );
    }

    #[test]
    fn a_sound_head_tells_its_body() {
        let framing = |head: &str| judge(head.as_bytes(), 16).map(|head| head.body).ok();
        assert_eq!(
            framing("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            Some(BodyFraming::Length(0))
        );
        assert_eq!(framing("GET / HTTP/1.0\n\n"), Some(BodyFraming::Length(0)));
        assert_eq!(
            framing("PUT / HTTP/1.1\r\nHost: a\r\ncontent-length: 12\r\n\r\n"),
            Some(BodyFraming::Length(12))
        );
        assert_eq!(
            framing("PUT / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: Chunked\r\n\r\n"),
            Some(BodyFraming::Chunked)
        );
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        assert_eq!(head_len(b"GET / HTTP/1.1\r\na: b\r\n\r\nrest", 0), Some(24));
        assert_eq!(head_len(b"\r\n\r\nGET / HTTP/1.1\n\nrest", 0), Some(20));
        assert_eq!(head_len(b"\r\n\r\n\r\n", 0), None);
        assert_eq!(head_len(b"GET / HTTP/1.1\r\n\r", 0), None);
    }

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
        fn a_head_is_found_whatever_its_fragments(cut in 0usize..40) {
            let whole = b"GET / HTTP/1.1\r\nHost: example\r\n\r\nbehind";
            prop_assert!(cut >= 33 || head_len(whole.get(..cut).expect("in range"), 0).is_none());
            prop_assert_eq!(head_len(whole, cut.min(32)), Some(33));
        }

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
            let _ = head_len(&bytes, 0);
            let _ = judge(&bytes, 8);
            let mut follower = Follower::new(BodyFraming::Chunked);
            prop_assert!(follower.advance(&bytes) <= bytes.len());
        }
    }
}
