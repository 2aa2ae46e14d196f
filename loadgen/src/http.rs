//! The handset's side of HTTP/1.1 on a data channel: reads a request, counts its body and throws it away. What it
//! answers is in `answer`.
//!
//! Sans-io: [`RequestReader`] takes bytes in any fragmentation. It reads no more than one request at a time and
//! keeps at most [`HEAD_BYTES_MAX`] of it.

use everline_protocol::ErrorCode;

use crate::answer::{ANSWER_BYTES_FIELD, ANSWER_BYTES_MAX};
use crate::filling::Filling;

/// A request head, or a chunked body's trailers, may have this many bytes.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 128;
/// A chunk's size line, extensions included.
const CHUNK_LINE_BYTES_MAX: usize = 1024;
/// An X-Request-Id longer than this is answered as if it were absent.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// A request that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whether the channel may carry another one.
    pub keep_alive: bool,
    /// HEAD: the answer has no body.
    pub head_only: bool,
    /// `X-Request-Id`, if it has one that is fit to be repeated.
    pub id: Option<String>,
    /// Length of the body that was thrown away.
    pub body_bytes: u64,
    /// Whether the body was the one that a caller of this program sends with this id, as far as it went.
    pub is_ours: bool,
    /// How large an answer it asks for.
    pub answer_bytes: Option<u64>,
}

/// How far a [`RequestReader`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// All bytes were used, and the request is not whole.
    More,
    /// The head is whole and asks for `100 Continue` before it sends the body.
    ExpectsContinue,
    /// The request is whole; the reader is ready for the next one.
    Whole(Request),
}

/// What came is not a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRequest {
    /// The gateway refused the data channel with an ERROR line.
    Refused(ErrorCode),
    /// More than [`HEAD_BYTES_MAX`].
    HeadTooLarge,
    /// Not HTTP/1.x, or ambiguous about its length.
    Malformed,
}

/// Reads requests, one after the other.
#[derive(Debug, Default)]
pub struct RequestReader {
    head: Vec<u8>,
    request: Option<Request>,
    body: Body,
    /// What a caller of this program sends as the rest of the body.
    filling: Filling,
}

#[derive(Debug, Default, Clone, Copy)]
enum Body {
    #[default]
    None,
    Sized(u64),
    Chunked(Chunked),
}

/// Where in a chunked body the next byte stands. `size` and `line` are what was read of a line so far.
#[derive(Debug, Clone, Copy)]
enum Chunked {
    Size { size: u64, digits: u8, line: usize },
    Extension { size: u64, line: usize },
    Data(u64),
    DataEnd,
    Trailer { line: usize, total: usize },
}

impl RequestReader {
    /// Takes bytes as they arrived. Returns how many it used, and how far it is; call again with the rest.
    pub fn input(&mut self, bytes: &[u8]) -> (usize, Result<Progress, BadRequest>) {
        let mut used = 0;
        if self.request.is_none() {
            let (taken, step) = self.take_head(bytes);
            used += taken;
            match step {
                Ok(true) => {}
                Ok(false) => return (used, Ok(Progress::More)),
                Err(bad) => return (used, Err(bad)),
            }
            match self.parse_head() {
                Ok(true) => return (used, Ok(Progress::ExpectsContinue)),
                Ok(false) => {}
                Err(bad) => return (used, Err(bad)),
            }
        }
        let (taken, step) = self.take_body(bytes.get(used..).unwrap_or_default());
        used += taken;
        match step {
            Ok(false) => (used, Ok(Progress::More)),
            Ok(true) => match self.request.take() {
                Some(request) => (used, Ok(Progress::Whole(request))),
                None => (used, Err(BadRequest::Malformed)),
            },
            Err(bad) => (used, Err(bad)),
        }
    }

    /// Whether a request has begun and is not whole.
    pub fn is_midway(&self) -> bool {
        !self.head.is_empty() || self.request.is_some()
    }

    /// Copies up to the empty line that ends the head; `true` when that is there.
    fn take_head(&mut self, bytes: &[u8]) -> (usize, Result<bool, BadRequest>) {
        for (index, byte) in bytes.iter().enumerate() {
            if self.head.is_empty() && matches!(byte, b'\r' | b'\n') {
                continue; // RFC 9112, 2.2: empty lines before a request are skipped.
            }
            if self.head.len() == HEAD_BYTES_MAX {
                return (index, Err(BadRequest::HeadTooLarge));
            }
            self.head.push(*byte);
            if *byte == b'\n' {
                if self.head.ends_with(b"\n\r\n") || self.head.ends_with(b"\n\n") {
                    return (index + 1, Ok(true));
                }
                if let Some(code) = refusal(&self.head) {
                    return (index + 1, Err(BadRequest::Refused(code)));
                }
            }
        }
        (bytes.len(), Ok(false))
    }

    /// Reads the head that is whole now; `true` if it expects `100 Continue`.
    fn parse_head(&mut self) -> Result<bool, BadRequest> {
        let head = std::mem::take(&mut self.head);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(&head) {
            Ok(httparse::Status::Complete(_)) => {}
            Err(httparse::Error::TooManyHeaders) => return Err(BadRequest::HeadTooLarge),
            _ => return Err(BadRequest::Malformed),
        }
        let mut length: Option<u64> = None;
        let mut chunked = false;
        let mut keep_alive = parsed.version == Some(1);
        let mut expects = false;
        let (mut id, mut answer_bytes) = (None, None);
        for header in parsed.headers.iter() {
            let (name, value) = (header.name, header.value.trim_ascii());
            if name.eq_ignore_ascii_case("content-length") {
                let value = decimal(value).ok_or(BadRequest::Malformed)?;
                if length.is_some_and(|length| length != value) {
                    return Err(BadRequest::Malformed);
                }
                length = Some(value);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadRequest::Malformed);
                }
                chunked = true;
            } else if name.eq_ignore_ascii_case("connection") {
                keep_alive = keep_alive_after(value, keep_alive);
            } else if name.eq_ignore_ascii_case("expect") {
                expects = value.eq_ignore_ascii_case(b"100-continue");
            } else if name.eq_ignore_ascii_case("x-request-id") {
                id = repeatable(value);
            } else if name.eq_ignore_ascii_case(ANSWER_BYTES_FIELD) {
                answer_bytes = decimal(value).filter(|bytes| *bytes <= ANSWER_BYTES_MAX);
            }
        }
        self.body = match (length, chunked) {
            (Some(_), true) => return Err(BadRequest::Malformed),
            (None, true) => Body::Chunked(Chunked::Size {
                size: 0,
                digits: 0,
                line: 0,
            }),
            (None | Some(0), false) => Body::None,
            (Some(length), false) => Body::Sized(length),
        };
        let head_only = parsed.method == Some("HEAD");
        self.filling = Filling::new(id.as_deref().unwrap_or_default().as_bytes(), u64::MAX);
        self.request = Some(Request {
            keep_alive,
            head_only,
            id,
            body_bytes: 0,
            is_ours: true,
            answer_bytes,
        });
        Ok(expects && !matches!(self.body, Body::None))
    }

    /// Throws the body away, as far as it is there; `true` at its end.
    fn take_body(&mut self, bytes: &[u8]) -> (usize, Result<bool, BadRequest>) {
        let Some(request) = &mut self.request else {
            return (0, Err(BadRequest::Malformed));
        };
        match &mut self.body {
            Body::None => (0, Ok(true)),
            Body::Sized(left) => {
                let taken = up_to(bytes.len(), *left);
                *left -= taken as u64;
                request.count(&bytes[..taken], &mut self.filling);
                (taken, Ok(*left == 0))
            }
            Body::Chunked(state) => {
                let mut used = 0;
                while let Some(byte) = bytes.get(used) {
                    if let Chunked::Data(left) = state {
                        let taken = up_to(bytes.len() - used, *left);
                        request.count(&bytes[used..used + taken], &mut self.filling);
                        used += taken;
                        *left -= taken as u64;
                        if *left == 0 {
                            *state = Chunked::DataEnd;
                        }
                        continue;
                    }
                    used += 1;
                    match state.after(*byte) {
                        Some(Some(next)) => *state = next,
                        Some(None) => return (used, Ok(true)),
                        None => return (used, Err(BadRequest::Malformed)),
                    }
                }
                (used, Ok(false))
            }
        }
    }
}

impl Request {
    /// Takes account of more of the body.
    fn count(&mut self, bytes: &[u8], filling: &mut Filling) {
        self.body_bytes += bytes.len() as u64;
        self.is_ours = self.is_ours && filling.matches(bytes);
    }
}

impl Chunked {
    /// The state after a byte that is not data: `Some(None)` at the end of the body, `None` if it is malformed.
    fn after(self, byte: u8) -> Option<Option<Self>> {
        let next = match self {
            Self::Size { size, digits, line } => match (byte, char::from(byte).to_digit(16)) {
                (_, Some(digit)) if digits < 15 => Self::Size {
                    size: size << 4 | u64::from(digit),
                    digits: digits + 1,
                    line: line + 1,
                },
                (b'\r', _) if digits > 0 => self,
                (b'\n', _) if digits > 0 => Self::sized(size),
                (b';' | b' ' | b'\t', _) if digits > 0 => Self::Extension { size, line },
                _ => return None,
            },
            Self::Extension { size, .. } if byte == b'\n' => Self::sized(size),
            Self::Extension { line, .. } if line >= CHUNK_LINE_BYTES_MAX => return None,
            Self::Extension { size, line } => Self::Extension {
                size,
                line: line + 1,
            },
            Self::DataEnd => match byte {
                b'\r' => self,
                b'\n' => Self::Size {
                    size: 0,
                    digits: 0,
                    line: 0,
                },
                _ => return None,
            },
            Self::Trailer { line: 0, .. } if byte == b'\n' => return Some(None),
            Self::Trailer { total, .. } if total >= HEAD_BYTES_MAX => return None,
            Self::Trailer { total, .. } if byte == b'\n' => Self::Trailer {
                line: 0,
                total: total + 1,
            },
            Self::Trailer { line, total } if byte == b'\r' => Self::Trailer {
                line,
                total: total + 1,
            },
            Self::Trailer { line, total } => Self::Trailer {
                line: line + 1,
                total: total + 1,
            },
            Self::Data(_) => return None,
        };
        Some(Some(next))
    }

    fn sized(size: u64) -> Self {
        if size == 0 {
            Self::Trailer { line: 0, total: 0 }
        } else {
            Self::Data(size)
        }
    }
}

fn up_to(have: usize, wanted: u64) -> usize {
    usize::try_from(wanted).map_or(have, |wanted| wanted.min(have))
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn keep_alive_after(connection: &[u8], before: bool) -> bool {
    connection
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .fold(before, |keep, option| {
            if option.eq_ignore_ascii_case(b"close") {
                false
            } else {
                keep || option.eq_ignore_ascii_case(b"keep-alive")
            }
        })
}

fn repeatable(id: &[u8]) -> Option<String> {
    let fit =
        !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.iter().all(u8::is_ascii_graphic);
    fit.then(|| String::from_utf8_lossy(id).into_owned())
}

/// The code of `ERROR code=… …`, with which a gateway answers a DATA line that it does not take (PROTOCOL 5.1).
fn refusal(line: &[u8]) -> Option<ErrorCode> {
    let rest = line.strip_prefix(b"ERROR ")?;
    let code = rest
        .split(u8::is_ascii_whitespace)
        .find_map(|word| word.strip_prefix(b"code="));
    Some(ErrorCode::parse(code.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `bytes` in pieces of the given sizes, round and round, as a channel does.
    fn read(bytes: &[u8], pieces: &[usize]) -> Result<Vec<Request>, BadRequest> {
        let mut reader = RequestReader::default();
        let (mut at, mut requests) = (0, Vec::new());
        for piece in pieces.iter().cycle() {
            if at == bytes.len() {
                break;
            }
            let mut segment = &bytes[at..bytes.len().min(at + piece)];
            at += segment.len();
            loop {
                let (used, progress) = reader.input(segment);
                segment = &segment[used..];
                match progress? {
                    Progress::More => break,
                    Progress::ExpectsContinue => {}
                    Progress::Whole(request) => requests.push(request),
                }
                if segment.is_empty() && !reader.is_midway() {
                    break;
                }
            }
        }
        Ok(requests)
    }

    const TWO: &[u8] =
        b"GET /a HTTP/1.1\r\nHost: x\r\nX-Request-Id: r-1\r\nLoadgen-Answer-Bytes: 70000\r\n\r\n\
        POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: Close\r\n\r\n\
        5;x=y\r\nhello\r\n0A\r\n0123456789\r\n0\r\nT: 1\r\n\r\n";

    fn two() -> Vec<Request> {
        let first = Request {
            keep_alive: true,
            head_only: false,
            id: Some("r-1".into()),
            body_bytes: 0,
            is_ours: true,
            answer_bytes: Some(70_000),
        };
        vec![
            first,
            Request {
                keep_alive: false,
                head_only: false,
                id: None,
                body_bytes: 15,
                is_ours: false,
                answer_bytes: None,
            },
        ]
    }

    #[test]
    fn a_sized_body_is_counted_and_http_1_0_closes() {
        let request = read(b"PUT / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", &[1000])
            .unwrap()
            .remove(0);
        assert_eq!(
            request,
            Request {
                keep_alive: false,
                head_only: false,
                id: None,
                body_bytes: 3,
                is_ours: false,
                answer_bytes: None,
            }
        );
    }

    #[test]
    fn a_body_that_is_not_its_requests_is_told_apart() {
        let mut filling = Filling::new(b"r-1", 100_000);
        let mut body = Vec::new();
        while filling.left() > 0 {
            body.extend_from_slice(filling.piece(usize::MAX));
            filling.skip(filling.piece(usize::MAX).len() as u64);
        }
        let is_ours = |id: &str, body: &[u8]| {
            let head =
                format!("PUT / HTTP/1.1\r\nX-Request-Id: {id}\r\nContent-Length: 100000\r\n\r\n");
            let all = [head.as_bytes(), body].concat();
            read(&all, &[1000, 7]).unwrap().remove(0).is_ours
        };
        assert!(is_ours("r-1", &body));
        assert!(!is_ours("r-2", &body));
        body.swap(99_000, 99_001);
        assert!(!is_ours("r-1", &body));
    }

    #[test]
    fn a_size_that_is_no_size_is_not_asked_for() {
        for bad in ["", "-1", "1e3", "1099511627777", "99999999999999999999"] {
            let head = format!("GET / HTTP/1.1\r\nLoadgen-Answer-Bytes: {bad}\r\n\r\n");
            let request = read(head.as_bytes(), &[1000]).unwrap().remove(0);
            assert_eq!(request.answer_bytes, None, "{bad}");
        }
    }

    #[test]
    fn a_body_that_waits_for_it_is_asked_for() {
        let mut reader = RequestReader::default();
        let head = b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
        assert_eq!(
            reader.input(head),
            (head.len(), Ok(Progress::ExpectsContinue))
        );
        assert_eq!(reader.input(b""), (0, Ok(Progress::More)));
        assert!(matches!(reader.input(b"x"), (1, Ok(Progress::Whole(_)))));
    }

    #[test]
    fn the_gateways_refusal_is_no_request() {
        let refused = read(b"ERROR code=unknown-request\r\n", &[3]);
        assert_eq!(refused, Err(BadRequest::Refused(ErrorCode::UnknownRequest)));
    }

    #[test]
    fn ambiguous_and_malformed_requests_are_refused() {
        for bad in [
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert_eq!(
                read(bad.as_bytes(), &[7]),
                Err(BadRequest::Malformed),
                "{bad}"
            );
        }
    }

    #[test]
    fn heads_and_trailers_without_end_are_refused() {
        let endless = vec![b'a'; HEAD_BYTES_MAX + 1];
        assert_eq!(read(&endless, &[1000]), Err(BadRequest::HeadTooLarge));
        let mut trailers = b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n".to_vec();
        trailers.extend_from_slice(&endless);
        assert_eq!(read(&trailers, &[1000]), Err(BadRequest::Malformed));
    }

    proptest! {
        #[test]
        fn fragmentation_changes_nothing(pieces in proptest::collection::vec(1usize..40, 1..20)) {
            prop_assert_eq!(read(TWO, &pieces), Ok(two()));
        }

        #[test]
        fn no_bytes_make_it_panic_or_read_beyond_them(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            prefix in prop_oneof![Just(&b""[..]), Just(&TWO[..80]), Just(&TWO[..140])],
            pieces in proptest::collection::vec(1usize..40, 1..20),
        ) {
            let all = [prefix, &bytes].concat();
            prop_assert_eq!(read(&all, &pieces), read(&all, &[usize::MAX >> 1]));
        }
    }
}
