//! Which bytes a caller asked for: `Range`, `If-Range` and `If-None-Match` of RFC 9110, 13 and 14.
//!
//! One range is given; several at once are answered with everything, as a server may.

use std::ops::Range;

use http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method};

/// What of some bytes is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The caller has them already.
    Nothing,
    /// All.
    All,
    /// These.
    Part(Range<u64>),
    /// What is not there.
    Beyond,
}

/// What a request wants of bytes with this strong `ETag`.
pub fn wanted(method: &Method, headers: &HeaderMap, etag: &HeaderValue, bytes: u64) -> Wanted {
    if has_already(headers, etag) {
        return Wanted::Nothing;
    }
    // Of other methods a range says nothing (RFC 9110, 14.2).
    let range = headers.get(RANGE).filter(|_| method == Method::GET);
    let Some(range) = range.and_then(|range| range.to_str().ok()) else {
        return Wanted::All;
    };
    // A date is no match: the bytes of an item never change, so nothing keeps one for them.
    let is_current = headers.get(IF_RANGE).is_none_or(|known| known == etag);
    if is_current {
        parse(range, bytes)
    } else {
        Wanted::All
    }
}

/// Whether `If-None-Match` names it. The comparison is the weak one.
fn has_already(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let mut known = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    known.any(|known| {
        known == "*" || known.strip_prefix("W/").unwrap_or(known).as_bytes() == etag.as_bytes()
    })
}

/// A header that can't be read says nothing: then all is sent (RFC 9110, 14.2).
fn parse(range: &str, bytes: u64) -> Wanted {
    let Some((unit, set)) = range.split_once('=') else {
        return Wanted::All;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Wanted::All;
    }
    let Some((first, last)) = set.trim().split_once('-') else {
        return Wanted::All;
    };
    match (position(first), position(last)) {
        (Position::None, Position::At(suffix)) => match suffix.min(bytes) {
            0 => Wanted::Beyond,
            suffix => Wanted::Part(bytes - suffix..bytes),
        },
        (Position::At(first), Position::None) if first < bytes => Wanted::Part(first..bytes),
        (Position::At(first), Position::At(last)) if first > last => Wanted::All,
        (Position::At(first), Position::At(last)) if first < bytes => {
            Wanted::Part(first..last.saturating_add(1).min(bytes))
        }
        (Position::At(_), Position::None | Position::At(_)) => Wanted::Beyond,
        _ => Wanted::All,
    }
}

enum Position {
    None,
    At(u64),
    Wrong,
}

fn position(text: &str) -> Position {
    let text = text.trim();
    if text.is_empty() {
        return Position::None;
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Position::Wrong;
    }
    // More digits than fit lie behind the last byte anyway.
    Position::At(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn asked(method: Method, headers: &[(HeaderName, &str)]) -> Wanted {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect();
        wanted(&method, &headers, &HeaderValue::from_static("\"e\""), 1000)
    }

    #[test]
    fn r21_r23_ranges_are_those_of_the_rfc() {
        let cases = [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=0-499", Wanted::Part(0..500)),
            ("bytes=500-999", Wanted::Part(500..1000)),
            ("bytes=500-", Wanted::Part(500..1000)),
            ("bytes=999-", Wanted::Part(999..1000)),
            ("bytes=500-1000", Wanted::Part(500..1000)),
            ("bytes=500-99999999999999999999999", Wanted::Part(500..1000)),
            ("bytes=-500", Wanted::Part(500..1000)),
            ("bytes=-1000", Wanted::Part(0..1000)),
            ("bytes=-9999", Wanted::Part(0..1000)),
            ("BYTES = 1 - 2 ", Wanted::Part(1..3)),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=1000-", Wanted::Beyond),
            ("bytes=1000-1001", Wanted::Beyond),
            ("bytes=99999999999999999999999-", Wanted::Beyond),
            ("bytes=2-1", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=", Wanted::All),
            ("bytes=5", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("bytes=--1", Wanted::All),
            ("items=0-1", Wanted::All),
            ("bytes", Wanted::All),
            ("", Wanted::All),
        ];
        for (range, wanted) in cases {
            assert_eq!(asked(Method::GET, &[(RANGE, range)]), wanted, "{range:?}");
            assert_eq!(asked(Method::HEAD, &[(RANGE, range)]), Wanted::All);
        }
        assert_eq!(parse("bytes=0-", 0), Wanted::Beyond);
        assert_eq!(parse("bytes=-1", 0), Wanted::Beyond);
    }

    #[test]
    fn r21_r23_what_the_caller_has_decides_first() {
        let range = (RANGE, "bytes=0-0");
        let part = Wanted::Part(0..1);
        let cases = [
            ((IF_RANGE, "\"e\""), part.clone()),
            ((IF_RANGE, "W/\"e\""), Wanted::All),
            ((IF_RANGE, "\"f\""), Wanted::All),
            ((IF_RANGE, "Mon, 23 Nov 2026 12:00:00 GMT"), Wanted::All),
            ((IF_NONE_MATCH, "\"e\""), Wanted::Nothing),
            ((IF_NONE_MATCH, "\"f\", W/\"e\""), Wanted::Nothing),
            ((IF_NONE_MATCH, "*"), Wanted::Nothing),
            ((IF_NONE_MATCH, "\"f\""), part),
        ];
        for (known, wanted) in cases {
            let told = format!("{known:?}");
            assert_eq!(
                asked(Method::GET, &[range.clone(), known]),
                wanted,
                "{told}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn r21_r23_no_header_gives_bytes_that_are_not_there(range in "(bytes=)?[0-9, -]{0,30}", bytes: u64) {
            if let Wanted::Part(part) = parse(&range, bytes) {
                assert!(part.start < part.end && part.end <= bytes);
            }
        }
    }
}
