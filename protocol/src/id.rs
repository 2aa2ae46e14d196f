//! The two identifiers on the wire: a session's (64 bits) and a pending request's (128 random bits).

use std::fmt;

/// Names one registration of one handset: 16 lower-case hex digits on the wire. Not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl SessionId {
    /// Parses exactly 16 hex digits of either case.
    pub fn parse(text: &[u8]) -> Option<Self> {
        hex::<16>(text)
            .and_then(|n| u64::try_from(n).ok())
            .map(Self)
    }
}

/// Names one pending request: 32 hex digits on the wire, valid for one use (PROTOCOL 3.3).
///
/// Whoever holds it can take the request, so `Debug` shows only its first 8 digits; `Display` is the wire form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u128);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({:08x}…)", self.0 >> 96)
    }
}

impl RequestId {
    /// Parses exactly 32 hex digits of either case.
    pub fn parse(text: &[u8]) -> Option<Self> {
        hex::<32>(text).map(Self)
    }
}

fn hex<const DIGITS: usize>(text: &[u8]) -> Option<u128> {
    let digits: &[u8; DIGITS] = text.try_into().ok()?;
    digits.iter().try_fold(0u128, |number, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_exactly_their_hex_digits() {
        assert_eq!(SessionId::parse(b"00000000000004d2"), Some(SessionId(1234)));
        assert_eq!(
            SessionId::parse(b"FFFFFFFFFFFFFFFF"),
            Some(SessionId(u64::MAX))
        );
        assert_eq!(RequestId::parse(&[b'f'; 32]), Some(RequestId(u128::MAX)));
        for bad in [
            "",
            "4d2",
            "00000000000004d",
            "00000000000004d2a",
            "+0000000000004d2",
            "00000000000004g2",
        ] {
            assert_eq!(SessionId::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(RequestId::parse(&[b'f'; 31]), None);
        assert_eq!(RequestId::parse(&[b'f'; 33]), None);
    }

    #[test]
    fn a_request_id_in_a_log_is_no_key_to_the_request() {
        let id = RequestId(0x9f86_d081_884c_7d65_9a2f_eaa0_c55a_d015);
        assert_eq!(format!("{id:?}"), "RequestId(9f86d081…)");
        assert_eq!(id.to_string(), "9f86d081884c7d659a2feaa0c55ad015");
    }
}
