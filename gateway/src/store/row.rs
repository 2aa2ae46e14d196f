//! The rows of the two databases and their bytes on disk: fixed sizes, a version byte first, numbers big-endian.
//!
//! | database | key | value |
//! |---|---|---|
//! | mobile terminal sessions (G3) | MSISDN, 8 bytes | 32 bytes: version, cause, 6 zero bytes, session, since, last seen |
//! | incoming connections sessions (G4) | request id, 16 bytes | 24 bytes: version, 7 zero bytes, MSISDN, since |
//!
//! Times are milliseconds since 1970. A row of another version or length is unreadable: skipped and counted by the
//! caller, never guessed at.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use everline_protocol::{Msisdn, RequestId, SessionId};

/// The first byte of every value.
pub const VERSION: u8 = 1;

/// Why a registered session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The handset said BYE.
    Bye,
    /// It did not answer KEEPALIVE.
    Dead,
    /// Its connection was closed or reset, or the gateway went away under it.
    Lost,
    /// It registered anew.
    Replaced,
    /// An operator ended its session.
    Revoked,
    /// The gateway drained.
    Drained,
    /// It broke the protocol, flooded, or did not take what was sent to it.
    Broken,
}

impl Cause {
    /// Every cause, in the order of their codes on disk, which begin at 1.
    pub const ALL: [Self; 7] = [
        Self::Bye,
        Self::Dead,
        Self::Lost,
        Self::Replaced,
        Self::Revoked,
        Self::Drained,
        Self::Broken,
    ];

    /// As logs and the admin name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::Dead => "dead",
            Self::Lost => "lost",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
            Self::Drained => "drained",
            Self::Broken => "broken",
        }
    }

    /// Whether a request is worth holding for this handset: one that left on purpose or was thrown out is not
    /// expected back, and a replaced one never left.
    pub fn may_come_back(self) -> bool {
        matches!(self, Self::Dead | Self::Lost | Self::Drained | Self::Broken)
    }

    fn code(self) -> u8 {
        match self {
            Self::Bye => 1,
            Self::Dead => 2,
            Self::Lost => 3,
            Self::Replaced => 4,
            Self::Revoked => 5,
            Self::Drained => 6,
            Self::Broken => 7,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.code() == code)
    }
}

/// What is known of one handset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its newest session.
    pub session: SessionId,
    /// When that registered, to the millisecond.
    pub since: SystemTime,
    /// When it registered or left, whichever was later: keep-alives are not written.
    pub last_seen: SystemTime,
    /// How it left; `None`: it is connected, or was when the gateway last ended.
    pub left: Option<Cause>,
}

/// Size of a value in *mobile terminal sessions*.
pub const ROW_BYTES: usize = 32;
/// Size of a value in *incoming connections sessions*.
pub const REQUEST_BYTES: usize = 24;

impl Row {
    /// The value on disk.
    pub fn encode(&self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        let head = [VERSION, self.left.map_or(0, Cause::code), 0, 0, 0, 0, 0, 0];
        let fields = [
            head,
            self.session.0.to_be_bytes(),
            millis(self.since).to_be_bytes(),
            millis(self.last_seen).to_be_bytes(),
        ];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field);
        }
        bytes
    }

    /// The inverse; `None` for bytes that this version did not write.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ROW_BYTES] = bytes.try_into().ok()?;
        let [VERSION, cause, 0, 0, 0, 0, 0, 0, rest @ ..] = bytes else {
            return None;
        };
        let left = match cause {
            0 => None,
            code => Some(Cause::from_code(*code)?),
        };
        let mut numbers = rest.chunks_exact(8).filter_map(word);
        Some(Self {
            session: SessionId(numbers.next()?),
            since: time(numbers.next()?)?,
            last_seen: time(numbers.next()?)?,
            left,
        })
    }
}

/// The key of a handset's row.
pub fn msisdn_key(msisdn: Msisdn) -> [u8; 8] {
    msisdn.as_u64().to_be_bytes()
}

/// The inverse.
pub fn msisdn_of(key: &[u8]) -> Option<Msisdn> {
    Msisdn::from_u64(word(key)?).ok()
}

/// The key of a request's row.
pub fn request_key(id: RequestId) -> [u8; 16] {
    id.0.to_be_bytes()
}

/// The value of a request's row.
pub fn request_value(msisdn: Msisdn, since: SystemTime) -> [u8; REQUEST_BYTES] {
    let mut bytes = [0; REQUEST_BYTES];
    let fields = [
        [VERSION, 0, 0, 0, 0, 0, 0, 0],
        msisdn_key(msisdn),
        millis(since).to_be_bytes(),
    ];
    for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
        place.copy_from_slice(&field);
    }
    bytes
}

fn word(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

fn time(millis: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_row_comes_back_as_it_was_written() {
        for left in Cause::ALL.map(Some).into_iter().chain([None]) {
            let row = Row {
                session: SessionId(0x4d2),
                since: UNIX_EPOCH + Duration::from_millis(1_795_000_000_123),
                last_seen: UNIX_EPOCH + Duration::from_millis(1_795_000_300_456),
                left,
            };
            assert_eq!(Row::decode(&row.encode()), Some(row));
        }
    }

    #[test]
    fn the_bytes_are_the_ones_documented() {
        let row = Row {
            session: SessionId(0x0102_0304_0506_0708),
            since: UNIX_EPOCH + Duration::from_millis(1),
            last_seen: UNIX_EPOCH + Duration::from_millis(2),
            left: Some(Cause::Bye),
        };
        let mut expected = vec![1, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        expected.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(row.encode().as_slice(), expected.as_slice());
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_or_mean_what_they_say(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(row) = Row::decode(&bytes) {
                let encoded = row.encode();
                prop_assert_eq!(encoded.as_slice(), bytes.as_slice());
            }
        }
    }
}
