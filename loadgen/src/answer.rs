//! What a handset answers, and the check of it: both sides of the agreement between handsets and callers stand here.
//!
//! Every good answer begins with a line that names the handset, the request and how much of an upload came, and goes
//! on with bytes that only this answer has. So an answer, or an upload, that was crossed with another, doubled, cut
//! or never given by a handset of this program is found, whatever its size. Sans-io.

use std::borrow::Cow;
use std::io::Write as _;

use everline_protocol::{Msisdn, RequestId};

use crate::filling::Filling;
use crate::http::Request;

/// The field of a request that asks for an answer of so many bytes.
pub const ANSWER_BYTES_FIELD: &str = "loadgen-answer-bytes";
/// The field of an answer to HEAD that holds the line with which its body would have begun.
pub const ANSWER_LINE_FIELD: &str = "loadgen-answer";
/// The largest answer that a handset gives, and the largest upload: 1 TiB.
pub const ANSWER_BYTES_MAX: u64 = 1 << 40;

const LINE_BEGINS: &[u8] = b"msisdn=";

/// An answer: what to send, and what it goes on with.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Head and beginning of the body.
    pub start: Vec<u8>,
    /// The rest of the body.
    pub filling: Filling,
    /// Length of the whole body.
    pub body_bytes: u64,
}

impl Answer {
    /// The 200 that the handset `msisdn` gives: a body of as many bytes as the request asks for, else of `body_bytes`,
    /// and in any case of its whole first line. A request without an id of its own is answered with the one that it
    /// was signalled by.
    pub fn new(
        request: &Request,
        signalled: RequestId,
        msisdn: Msisdn,
        body_bytes: u64,
        keep_alive: bool,
    ) -> Self {
        let mut line = Vec::with_capacity(96);
        let (id, is_ours) = match &request.id {
            Some(id) => (Cow::from(id), request.is_ours),
            None => (Cow::from(signalled.to_string()), true),
        };
        write_line(&mut line, msisdn, &id, request.body_bytes, is_ours);
        let length = body_length(&line, request.answer_bytes.unwrap_or(body_bytes));
        let mut start = Vec::with_capacity(256);
        // Writing to a Vec does not fail.
        let _ = write!(
            start,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n"
        );
        if !keep_alive {
            start.extend_from_slice(b"Connection: close\r\n");
        }
        if request.head_only {
            let _ = write!(start, "{ANSWER_LINE_FIELD}: ");
            start.extend_from_slice(line.trim_ascii_end());
            start.extend_from_slice(b"\r\n\r\n");
            return Self {
                start,
                filling: Filling::default(),
                body_bytes: 0,
            };
        }
        start.extend_from_slice(b"\r\n");
        start.extend_from_slice(&line);
        Self {
            start,
            filling: Filling::new(&line, length - line.len() as u64),
            body_bytes: length,
        }
    }
}

/// Holds an answer against the one that the request must have.
#[derive(Debug)]
pub struct Expected {
    line: Vec<u8>,
    /// Where in the line the length of the upload stands.
    upload_at: usize,
    length: u64,
    seen: u64,
    /// The first byte of the line that is another one, and which.
    differs: Option<(usize, u8)>,
    filling: Filling,
    filling_differs: bool,
}

impl Expected {
    /// The answer of `msisdn` to the request `id` that had a body of `upload_bytes` and is to have one of `answer_bytes`.
    pub fn new(msisdn: Msisdn, id: &str, upload_bytes: u64, answer_bytes: u64) -> Self {
        let mut line = Vec::with_capacity(96);
        let upload_at = write_line(&mut line, msisdn, id, upload_bytes, true);
        let length = body_length(&line, answer_bytes);
        Self {
            filling: Filling::new(&line, length - line.len() as u64),
            line,
            upload_at,
            length,
            seen: 0,
            differs: None,
            filling_differs: false,
        }
    }

    /// The next bytes of the body.
    pub fn take(&mut self, bytes: &[u8]) {
        let at = usize::try_from(self.seen).unwrap_or(usize::MAX);
        let line = self.line.get(at..).unwrap_or_default();
        let (of_line, rest) = bytes.split_at(line.len().min(bytes.len()));
        if self.differs.is_none() && of_line != &line[..of_line.len()] {
            let first = of_line.iter().zip(line).position(|(is, must)| is != must);
            self.differs = first.map(|first| (at + first, of_line[first]));
        }
        // Once it differs there is nothing more to learn, and `matches` would go on from a wrong place.
        self.filling_differs = self.filling_differs || !self.filling.matches(rest);
        self.seen += bytes.len() as u64;
    }

    /// The head of an answer to HEAD: the line, and the length that the body would have had.
    pub fn take_head(&mut self, line: &[u8], length: Option<u64>) {
        self.take(line);
        self.take(b"\n");
        self.filling_differs = false;
        self.seen = length.unwrap_or(0);
    }

    /// What is wrong with the whole answer, if something is.
    pub fn fault(&self) -> Option<&'static str> {
        let newline = self.line.len() - 1;
        match self.differs {
            Some((at, _)) if at < LINE_BEGINS.len() => Some("body-foreign"),
            Some((at, _)) if at < self.upload_at => Some("body-crossed"),
            // Behind the right length stands in place of the newline that the bytes were not those of this request.
            Some((at, b' ')) if at == newline => Some("upload-crossed"),
            Some(_) => Some("upload-length"),
            None if self.seen != self.length => Some("body-length"),
            None if self.filling_differs => Some("body-crossed"),
            None => None,
        }
    }
}

/// Appends the first line of an answer, and returns where in it the length of the upload stands.
fn write_line(
    line: &mut Vec<u8>,
    msisdn: Msisdn,
    id: &str,
    upload_bytes: u64,
    upload_is_ours: bool,
) -> usize {
    let other = if upload_is_ours { "" } else { " other" };
    let digits = msisdn.digits();
    // Writing to a Vec does not fail.
    let _ = write!(line, "msisdn={digits} request={id} upload=");
    let upload_at = line.len();
    let _ = writeln!(line, "{upload_bytes}{other}");
    upload_at
}

/// The length of a body that begins with `line` where `asked` bytes were asked for.
fn body_length(line: &[u8], asked: u64) -> u64 {
    asked.max(line.len() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OTHER_UPLOAD: &str = "upload-crossed";

    fn msisdn(number: u64) -> Msisdn {
        Msisdn::from_u64(number).unwrap()
    }

    fn request(id: &str, upload: u64, answer: u64) -> Request {
        Request {
            keep_alive: true,
            head_only: false,
            id: Some(id.into()),
            body_bytes: upload,
            is_ours: true,
            answer_bytes: Some(answer),
        }
    }

    /// Head and whole body of the answer of handset 34700000001.
    fn answered(request: &Request) -> (String, Vec<u8>) {
        let answer = Answer::new(request, RequestId(7), msisdn(34_700_000_001), 100, true);
        let at = answer.start.windows(4).position(|end| end == b"\r\n\r\n");
        let (head, body) = answer.start.split_at(at.unwrap() + 4);
        let (mut body, mut filling) = (body.to_vec(), answer.filling);
        while filling.left() > 0 {
            let piece = filling.piece(1000);
            body.extend_from_slice(piece);
            filling.skip(piece.len() as u64);
        }
        assert_eq!(body.len() as u64, answer.body_bytes);
        (String::from_utf8(head.to_vec()).unwrap(), body)
    }

    fn fault(body: &[u8], piece: usize, answer_bytes: u64) -> Option<&'static str> {
        let mut expected = Expected::new(msisdn(34_700_000_001), "r-1", 5, answer_bytes);
        body.chunks(piece).for_each(|bytes| expected.take(bytes));
        expected.fault()
    }

    proptest! {
        #[test]
        fn a_wrong_answer_is_found_at_any_size_and_in_any_fragmentation(
            size in prop_oneof![Just(0), 0u64..200, 0u64..150_000],
            piece in 1usize..70_000,
        ) {
            let (_, good) = answered(&request("r-1", 5, size));
            prop_assert_eq!(fault(&good, piece, size), None);
            let text = String::from_utf8(good.clone()).unwrap();
            let changed = |from: &str, to: &str| text.replacen(from, to, 1).into_bytes();
            prop_assert_eq!(fault(&changed("01 ", "02 "), piece, size), Some("body-crossed"));
            prop_assert_eq!(fault(&answered(&request("r-2", 5, size)).1, piece, size), Some("body-crossed"));
            prop_assert_eq!(fault(&good.repeat(2), piece, size), Some("body-length"));
            prop_assert_eq!(fault(&good[..good.len() - 1], piece, size), Some("body-length"));
            prop_assert_eq!(fault(b"", piece, size), Some("body-length"));
            prop_assert_eq!(fault(b"<html>it works</html>", piece, size), Some("body-foreign"));
            for (upload, kind) in [("4", "upload-length"), ("50", "upload-length"), ("5 other", OTHER_UPLOAD)] {
                let told = changed("upload=5", &format!("upload={upload}"));
                prop_assert_eq!(fault(&told, piece, size), Some(kind));
            }
        }

        #[test]
        fn an_answer_that_goes_on_as_another_is_found(
            at in 60usize..9_900,
            length in 16usize..1000,
            piece in 1usize..20_000,
        ) {
            let (_, mut body) = answered(&request("r-1", 5, 10_000));
            let (_, other) = answered(&request("r-2", 5, 10_000));
            let to = (at + length).min(body.len());
            body[at..to].copy_from_slice(&other[at..to]);
            prop_assert_eq!(fault(&body, piece, 10_000), Some("body-crossed"));
        }
    }

    #[test]
    fn an_answer_has_the_size_that_was_asked_for_or_the_fleets() {
        let (head, body) = answered(&request("r-1", 0, 3000));
        assert!(head.contains("Content-Length: 3000\r\n") && !head.contains("Connection"));
        assert!(body.starts_with(b"msisdn=34700000001 request=r-1 upload=0\n"));
        let unasked = Request {
            id: None,
            answer_bytes: None,
            ..request("", 0, 0)
        };
        let (_, body) = answered(&unasked);
        assert_eq!(body.len(), 100);
        let line = format!("msisdn=34700000001 request={} upload=0\n", RequestId(7));
        assert!(body.starts_with(line.as_bytes()));
    }

    #[test]
    fn an_answer_to_head_is_verified_by_its_head() {
        let asked = Request {
            head_only: true,
            ..request("r-1", 0, 3000)
        };
        let answer = Answer::new(&asked, RequestId(7), msisdn(34_700_000_001), 100, false);
        let text = String::from_utf8(answer.start).unwrap();
        assert!(
            text.ends_with("Content-Length: 3000\r\nConnection: close\r\nloadgen-answer: msisdn=34700000001 request=r-1 upload=0\r\n\r\n"),
            "{text}"
        );
        assert_eq!((answer.filling.left(), answer.body_bytes), (0, 0));
        let line = b"msisdn=34700000001 request=r-1 upload=0";
        for (line, length, fault) in [
            (&line[..], Some(3000), None),
            (line, Some(2999), Some("body-length")),
            (line, None, Some("body-length")),
            (
                b"msisdn=34700000002 request=r-1 upload=0",
                Some(3000),
                Some("body-crossed"),
            ),
            (b"", Some(3000), Some("body-foreign")),
        ] {
            let mut expected = Expected::new(msisdn(34_700_000_001), "r-1", 0, 3000);
            expected.take_head(line, length);
            assert_eq!(expected.fault(), fault);
        }
    }
}
