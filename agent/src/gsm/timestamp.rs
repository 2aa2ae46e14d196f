//! Times in a TPDU (TS 23.040, 9.2.3.11): seven octets of swapped decimal digits, the last the time zone.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// A time as it travels; what a network writes there need not be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(pub [u8; 7]);

/// Bit of the time zone's first digit that says that it is west of Greenwich.
const WEST: u8 = 0x08;

/// Seconds in the unit of time zones.
const QUARTER_S: i32 = 15 * 60;

impl Timestamp {
    /// This moment, in whole seconds and quarters of an hour of time zone.
    pub fn of(moment: OffsetDateTime) -> Self {
        let quarters = moment.offset().whole_seconds() / QUARTER_S;
        let moment = UtcOffset::from_whole_seconds(quarters * QUARTER_S)
            .map_or(moment, |offset| moment.to_offset(offset));
        let year = u8::try_from(moment.year().rem_euclid(100)).unwrap_or_default();
        let quarters_octet = swapped(u8::try_from(quarters.unsigned_abs()).unwrap_or_default());
        let west = if quarters < 0 { WEST } else { 0 };
        Self([
            swapped(year),
            swapped(moment.month().into()),
            swapped(moment.day()),
            swapped(moment.hour()),
            swapped(moment.minute()),
            swapped(moment.second()),
            quarters_octet | west,
        ])
    }

    /// The moment that it says, in this century; `None`: it says none.
    pub fn moment(self) -> Option<OffsetDateTime> {
        let [year, month, day, hour, minute, second, zone] = self.0;
        let year = 2000 + i32::from(plain(year)?);
        let month = Month::try_from(plain(month)?).ok()?;
        let date = Date::from_calendar_date(year, month, plain(day)?).ok()?;
        let time = Time::from_hms(plain(hour)?, plain(minute)?, plain(second)?).ok()?;
        let quarters = i32::from(plain(zone & !WEST)?);
        let quarters = if zone & WEST != 0 {
            -quarters
        } else {
            quarters
        };
        let offset = UtcOffset::from_whole_seconds(quarters * QUARTER_S).ok()?;
        Some(PrimitiveDateTime::new(date, time).assume_offset(offset))
    }
}

/// Two decimal digits, the first in the low half.
fn swapped(value: u8) -> u8 {
    ((value % 10) << 4) | (value / 10 % 10)
}

fn plain(octet: u8) -> Option<u8> {
    let (tens, units) = (octet & 0x0f, octet >> 4);
    (tens < 10 && units < 10).then_some(tens * 10 + units)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r24_a_known_time_is_read_and_a_broken_one_is_none() {
        // 1999 is read as 2099: the two digits say no century.
        let read = Timestamp([0x99, 0x30, 0x92, 0x51, 0x61, 0x95, 0x80]);
        assert_eq!(
            read.moment().unwrap().to_string(),
            "2099-03-29 15:16:59.0 +02:00:00"
        );
        let west = Timestamp([0x62, 0x11, 0x32, 0x80, 0x00, 0x00, 0x29]);
        assert_eq!(
            west.moment().unwrap().to_string(),
            "2026-11-23 8:00:00.0 -03:00:00"
        );
        assert_eq!(Timestamp([0xff; 7]).moment(), None);
        assert_eq!(Timestamp([0; 7]).moment(), None);
    }

    proptest! {
        #[test]
        fn r24_what_is_written_is_read(seconds in 946_684_800_i64 + 86_400..4_102_444_800 - 86_400, quarters in -48..=56) {
            let offset = UtcOffset::from_whole_seconds(quarters * QUARTER_S).unwrap();
            let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap().to_offset(offset);
            let read = Timestamp::of(moment).moment().unwrap();
            prop_assert_eq!((read, read.offset()), (moment, offset));
        }

        #[test]
        fn r24_any_octets_are_read(octets: [u8; 7]) {
            Timestamp(octets).moment();
        }
    }
}
