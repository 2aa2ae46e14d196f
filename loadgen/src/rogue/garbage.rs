//! Bytes that no handset sends, each with the code that PROTOCOL section 2 has a gateway close them with.

use everline_protocol::ErrorCode;

/// Far more than a line may be, and more than a gateway should wait for before it says so.
const TOO_LONG: usize = 64 * 1024;

/// One of the repertoire; `random` is a fresh uniform 64-bit number.
pub(crate) fn pick(random: u64) -> (Vec<u8>, ErrorCode) {
    let fixed = |text: &str, code| (text.as_bytes().to_vec(), code);
    match random % 8 {
        0 => fixed("HELLO everline=1\r\n", ErrorCode::UnknownVerb),
        1 => fixed("WAITING\r\n", ErrorCode::UnexpectedVerb),
        2 => (vec![b'A'; TOO_LONG], ErrorCode::LineTooLong),
        3 => (like_tls(random), ErrorCode::BadLine),
        4 => fixed(
            "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            ErrorCode::BadLine,
        ),
        5 => fixed("CONNECT version=1 version=1\r\n", ErrorCode::BadLine),
        6 => fixed("\r\n", ErrorCode::BadLine),
        _ => fixed(
            "DATA id=00000000000000000000000000000000\r\n",
            ErrorCode::UnexpectedVerb,
        ),
    }
}

/// A record that begins as a TLS ClientHello does and goes on at random, with an end of line to be judged by.
fn like_tls(random: u64) -> Vec<u8> {
    let mut bytes = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01];
    let mut word = random;
    for _ in 0..64 {
        word = word
            .wrapping_mul(0x5851_F42D_4C95_7F2D)
            .wrapping_add(0x1405_7B7E_F767_814F);
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use everline_protocol::{Beat, Millis, Rules, Session, SessionEvent, SessionOutput};

    use super::*;

    #[test]
    fn the_protocol_itself_closes_each_with_the_code_that_is_said_here() {
        let rules = Rules {
            timeout_s: 10..=3600,
            connect_limit: Millis(10_000),
            grace_max: Millis(30_000),
            beat: Beat::default(),
        };
        for random in 0..400 {
            let (bytes, code) = pick(random);
            let mut session = Session::new(Millis(0), &rules);
            let mut out = SessionOutput::default();
            session.input(&bytes, Millis(0), &rules, &mut out);
            assert_eq!(out.events, [SessionEvent::Broken(code)], "{random}");
        }
    }
}
