//! Where a body ends, under any bytes: at the same byte whatever the fragments, and where a second reading of RFC 9112,
//! section 7.1, which goes line by line over the whole, finds it.
#![no_main]

use everline_protocol::{BodyFraming, Follower};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(([length, cut], bytes)) = data.split_first_chunk() else {
        return;
    };
    let whole = follow(BodyFraming::Chunked, bytes, bytes.len().max(1));
    assert_eq!(whole.1, chunks_end(bytes).is_some());
    if let Some(end) = chunks_end(bytes) {
        assert_eq!(whole.0, end);
    }
    let cut = usize::from(*cut).max(1);
    assert_eq!(follow(BodyFraming::Chunked, bytes, cut), whole);

    let (taken, ended) = follow(BodyFraming::Length(u64::from(*length)), bytes, cut);
    assert_eq!(taken, bytes.len().min(usize::from(*length)));
    assert_eq!(ended, taken == usize::from(*length));
});

/// How many of the bytes belong to the body, and whether it has ended.
fn follow(framing: BodyFraming, bytes: &[u8], fragment: usize) -> (usize, bool) {
    let mut follower = Follower::new(framing);
    let mut taken = 0;
    for fragment in bytes.chunks(fragment) {
        let of_it = follower.advance(fragment);
        taken += of_it;
        assert!(!(follower.is_end() && follower.is_lost()));
        if of_it < fragment.len() {
            assert!(follower.is_end() || follower.is_lost());
            assert_eq!(follower.advance(b"0\r\n\r\n"), 0, "it takes nothing more");
            break;
        }
    }
    (taken, follower.is_end())
}

/// Behind the last byte of the chunks and their trailers, if they are well-formed and there to their end.
fn chunks_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = line(&bytes[at..])?;
        at += line.len() + 2;
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (digits, behind) = line.split_at(digits);
        let spaces = behind.iter().take_while(|byte| b" \t".contains(byte));
        if !matches!(behind.get(spaces.count()), None | Some(b';')) {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        at = at.checked_add(usize::try_from(size).ok()?)?;
        if bytes.get(at..)?.get(..2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    loop {
        let trailer = line(&bytes[at..])?;
        at += trailer.len() + 2;
        if trailer.is_empty() {
            return Some(at);
        }
    }
}

/// What stands before the first line ending, if that is CRLF.
fn line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| b"\r\n".contains(byte))?;
    bytes[end..].starts_with(b"\r\n").then(|| &bytes[..end])
}
