//! Where an HTTP/1.1 request's head ends, and what it says of its body.
//!
//! `head_gate` asks it, so that every head of a connection is judged before hyper sees it. hyper frames the body again
//! for itself and its word counts; what is refused here is what hyper would let pass in silence or refuse without a
//! word to the caller. RFC 9112, sections 2.2, 3.2 and 6.

use std::mem::MaybeUninit;

use everline_protocol::BodyFraming;

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

    proptest! {
        #[test]
        fn a_head_is_found_whatever_its_fragments(cut in 0usize..40) {
            let whole = b"GET / HTTP/1.1\r\nHost: example\r\n\r\nbehind";
            prop_assert!(cut >= 33 || head_len(whole.get(..cut).expect("in range"), 0).is_none());
            prop_assert_eq!(head_len(whole, cut.min(32)), Some(33));
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = head_len(&bytes, 0);
            let _ = judge(&bytes, 8);
        }
    }
}
