//! Moments of the wall clock, as the access list and the audit log keep them: milliseconds since 1970.
//!
//! The wall clock and no other, because an entry's time goes on while the handset is switched off.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// This one.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(since.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        }))
    }

    /// So much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(time))
    }

    /// `2026-11-23T12:00:00Z`, with milliseconds if there are any.
    pub fn rfc3339(self) -> String {
        let nanos = i128::from(self.0) * 1_000_000;
        let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos);
        // Beyond the year 9999, which no API takes in.
        let moment = moment.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        moment.format(&Rfc3339).unwrap_or_default()
    }

    /// Reads what RFC 3339 writes; `None`: it is not that.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let nanos = moment.to_offset(UtcOffset::UTC).unix_timestamp_nanos();
        i64::try_from(nanos / 1_000_000).ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_and_read() {
        for (text, moment) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-23T12:00:00.125Z", 1_795_435_200_125),
        ] {
            assert_eq!(Moment(moment).rfc3339(), text);
            assert_eq!(Moment::parse(text), Some(Moment(moment)));
        }
        assert_eq!(Moment::parse("1970-01-01T01:00:00+01:00"), Some(Moment(0)));
        assert_eq!(Moment::parse("tomorrow"), None);
        assert_eq!(Moment(i64::MAX).rfc3339(), "1970-01-01T00:00:00Z");
    }
}
