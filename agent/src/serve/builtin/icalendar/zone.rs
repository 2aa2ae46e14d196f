//! Which moment a date and time of iCalendar is (RFC 5545, 3.3.5 and 3.6.5).
//!
//! A clock somewhere is read by the rules that came with it (VTIMEZONE), else by the time zone database under the name
//! that it has there. A name that nobody knows, and a time that names no clock, is taken for the handset's own.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::Component;
use crate::serve::builtin::content_line::Property;

/// Names of Windows for zones of the time zone database: those by which calendars of Exchange come without rules.
pub(super) const WINDOWS: &[(&str, &str)] = &[
    ("AUS Eastern Standard Time", "Australia/Sydney"),
    ("Alaskan Standard Time", "America/Anchorage"),
    ("Arab Standard Time", "Asia/Riyadh"),
    ("Arabian Standard Time", "Asia/Dubai"),
    ("Argentina Standard Time", "America/Buenos_Aires"),
    ("Atlantic Standard Time", "America/Halifax"),
    ("Bangladesh Standard Time", "Asia/Dhaka"),
    ("Canada Central Standard Time", "America/Regina"),
    ("Cen. Australia Standard Time", "Australia/Adelaide"),
    ("Central Europe Standard Time", "Europe/Budapest"),
    ("Central European Standard Time", "Europe/Warsaw"),
    ("Central Standard Time", "America/Chicago"),
    ("Central Standard Time (Mexico)", "America/Mexico_City"),
    ("China Standard Time", "Asia/Shanghai"),
    ("E. Africa Standard Time", "Africa/Nairobi"),
    ("E. Australia Standard Time", "Australia/Brisbane"),
    ("E. Europe Standard Time", "Europe/Chisinau"),
    ("E. South America Standard Time", "America/Sao_Paulo"),
    ("Eastern Standard Time", "America/New_York"),
    ("Egypt Standard Time", "Africa/Cairo"),
    ("FLE Standard Time", "Europe/Kiev"),
    ("GMT Standard Time", "Europe/London"),
    ("GTB Standard Time", "Europe/Bucharest"),
    ("Greenwich Standard Time", "Atlantic/Reykjavik"),
    ("Hawaiian Standard Time", "Pacific/Honolulu"),
    ("India Standard Time", "Asia/Calcutta"),
    ("Iran Standard Time", "Asia/Tehran"),
    ("Israel Standard Time", "Asia/Jerusalem"),
    ("Korea Standard Time", "Asia/Seoul"),
    ("Middle East Standard Time", "Asia/Beirut"),
    ("Morocco Standard Time", "Africa/Casablanca"),
    ("Mountain Standard Time", "America/Denver"),
    ("Nepal Standard Time", "Asia/Katmandu"),
    ("New Zealand Standard Time", "Pacific/Auckland"),
    ("Pacific SA Standard Time", "America/Santiago"),
    ("Pacific Standard Time", "America/Los_Angeles"),
    ("Pakistan Standard Time", "Asia/Karachi"),
    ("Romance Standard Time", "Europe/Paris"),
    ("Russian Standard Time", "Europe/Moscow"),
    ("SA Pacific Standard Time", "America/Bogota"),
    ("SA Western Standard Time", "America/La_Paz"),
    ("SE Asia Standard Time", "Asia/Bangkok"),
    ("Singapore Standard Time", "Asia/Singapore"),
    ("South Africa Standard Time", "Africa/Johannesburg"),
    ("Taipei Standard Time", "Asia/Taipei"),
    ("Tokyo Standard Time", "Asia/Tokyo"),
    ("Turkey Standard Time", "Europe/Istanbul"),
    ("US Eastern Standard Time", "America/Indianapolis"),
    ("US Mountain Standard Time", "America/Phoenix"),
    ("UTC", "UTC"),
    ("Venezuela Standard Time", "America/Caracas"),
    ("W. Australia Standard Time", "Australia/Perth"),
    ("W. Central Africa Standard Time", "Africa/Lagos"),
    ("W. Europe Standard Time", "Europe/Berlin"),
    ("West Asia Standard Time", "Asia/Tashkent"),
];

/// Bytes of a zone's name that is looked for, prefixes included: each of these is tried without the ones before it.
const NAME_BYTES_MAX: usize = 255;

/// A date and time with its offset, or a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// As the clock there shows it.
    pub local: DateTime,
    /// Seconds east of Greenwich.
    pub offset_s: i32,
    /// Whether it is a day, and no time.
    pub is_day: bool,
    /// The zone: its name in the database if there is one, else as it was sent.
    pub zone: Option<String>,
}

impl When {
    /// What a property says; `None` if it is no date and no time.
    pub fn of(property: &Property, object: &Component) -> Option<Self> {
        let value = property.value.trim();
        if property.says("VALUE", "DATE") || !value.contains('T') {
            return Some(Self {
                local: date(value)?.to_datetime(Time::midnight()),
                offset_s: 0,
                is_day: true,
                zone: None,
            });
        }
        let (local, utc) = date_time(value)?;
        let tzid = property.param("TZID").filter(|_| !utc);
        let (offset_s, zone) = match tzid {
            _ if utc => (0, None),
            None => (offset_in(&TimeZone::system(), local), None),
            Some(tzid) => named(tzid, local, object),
        };
        Some(Self {
            local,
            offset_s,
            is_day: false,
            zone,
        })
    }

    /// The same so many seconds later; a day stays a day.
    pub fn after(&self, seconds: i64) -> Option<Self> {
        let local = self
            .local
            .checked_add(SignedDuration::from_secs(seconds))
            .ok()?;
        Some(Self {
            local,
            ..self.clone()
        })
    }

    /// Seconds since 1970.
    pub fn unix_s(&self) -> Option<i64> {
        let offset = Offset::from_seconds(self.offset_s).ok()?;
        Some(offset.to_timestamp(self.local).ok()?.as_second())
    }

    /// As RFC 3339 has it. An offset with seconds, of times before there were zones, is told as UTC.
    pub fn text(&self) -> Option<String> {
        let (local, offset_s) = match self.offset_s % 60 {
            0 => (self.local, self.offset_s),
            _ => {
                let moment = Timestamp::from_second(self.unix_s()?).ok()?;
                (Offset::UTC.to_datetime(moment), 0)
            }
        };
        let local = local.strftime("%Y-%m-%dT%H:%M:%S");
        let (sign, minutes) = (
            "+-".chars().nth(usize::from(offset_s < 0))?,
            offset_s.abs() / 60,
        );
        Some(match offset_s {
            0 => format!("{local}Z"),
            _ => format!("{local}{sign}{:02}:{:02}", minutes / 60, minutes % 60),
        })
    }
}

/// The zone of the database that a name means: as it stands, behind the prefixes that some calendars put before it, or
/// in the words of Windows.
pub fn zone(name: &str) -> Option<TimeZone> {
    let name = name.trim().trim_matches('"');
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    if let Some((_, known)) = WINDOWS.iter().find(|(windows, _)| *windows == name) {
        return TimeZone::get(known).ok();
    }
    let mut rest = name.trim_start_matches('/');
    while !rest.is_empty() {
        if let Ok(zone) = TimeZone::get(rest) {
            return Some(zone);
        }
        // `/mozilla.org/20050126_1/Europe/Madrid`; one word alone is not tried: too many things are called `EST`.
        rest = rest.split_once('/')?.1;
        if !rest.contains('/') {
            return None;
        }
    }
    None
}

fn named(tzid: &str, local: DateTime, object: &Component) -> (i32, Option<String>) {
    let known = zone(tzid);
    let name = known.as_ref().and_then(TimeZone::iana_name);
    let name = Some(name.unwrap_or(tzid).to_owned());
    let is_it = |c: &&Component| c.first("TZID").is_some_and(|p| p.value.trim() == tzid);
    let rules = object.all("VTIMEZONE").find(is_it);
    let offset_s = rules.and_then(|rules| offset_by(rules, local));
    let offset_s = offset_s.unwrap_or_else(|| match &known {
        Some(zone) => offset_in(zone, local),
        None => offset_in(&TimeZone::system(), local),
    });
    (offset_s, name)
}

/// The offset of a clock that shows this. In the hour that a clock skips, the one before it; in the hour that it shows
/// twice, the first (RFC 5545, 3.3.5, as jiff does it too).
fn offset_in(zone: &TimeZone, local: DateTime) -> i32 {
    let as_utc = Offset::UTC.to_timestamp(local).map(Timestamp::as_second);
    match (zone.to_timestamp(local), as_utc) {
        (Ok(moment), Ok(as_utc)) => i32::try_from(as_utc - moment.as_second()).unwrap_or_default(),
        _ => 0,
    }
}

/// The offset by the rules that came with the entry: that of the observance whose onset is the latest before.
fn offset_by(rules: &Component, local: DateTime) -> Option<i32> {
    let mut latest: Option<(DateTime, i32)> = None;
    let mut earliest: Option<(DateTime, i32)> = None;
    let observances = rules.components.iter();
    for observance in observances.filter(|c| c.name == "STANDARD" || c.name == "DAYLIGHT") {
        let offset = |name: &str| utc_offset(observance.first(name)?.value.trim());
        let (Some(from), Some(to)) = (offset("TZOFFSETFROM"), offset("TZOFFSETTO")) else {
            continue;
        };
        let (start, _) = date_time(observance.first("DTSTART")?.value.trim())?;
        if earliest.is_none_or(|(onset, _)| start < onset) {
            earliest = Some((start, from));
        }
        // A time that is skipped is still of the offset before.
        let skipped = SignedDuration::from_secs(i64::from((to - from).max(0)));
        let Ok(local) = local.checked_sub(skipped) else {
            continue;
        };
        if let Some(onset) = last_onset(observance, start, from, local)
            && latest.is_none_or(|(known, _)| onset > known)
        {
            latest = Some((onset, to));
        }
    }
    latest.or(earliest).map(|(_, offset_s)| offset_s)
}

/// The latest onset of an observance up to `local`.
fn last_onset(
    observance: &Component,
    start: DateTime,
    from_s: i32,
    local: DateTime,
) -> Option<DateTime> {
    let mut onsets = vec![start];
    for dates in observance.properties.iter().filter(|p| p.name == "RDATE") {
        onsets.extend(
            dates
                .value
                .split(',')
                .filter_map(|d| Some(date_time(d.trim())?.0)),
        );
    }
    if let Some(rule) = observance
        .first("RRULE")
        .and_then(|p| Yearly::parse(&p.value, from_s))
    {
        for year in [local.year().saturating_sub(1), local.year()] {
            let onset = rule.onset(start, year);
            onsets.extend(
                onset.filter(|onset| {
                    *onset >= start && rule.until.is_none_or(|until| *onset <= until)
                }),
            );
        }
    }
    onsets.into_iter().filter(|onset| *onset <= local).max()
}

/// The rule of an observance: once a year, on a day of a month, or on a weekday counted in it.
#[derive(Debug)]
struct Yearly {
    month: Option<i8>,
    weekday: Option<(i8, Weekday)>,
    days: Vec<i8>,
    until: Option<DateTime>,
}

impl Yearly {
    fn parse(rule: &str, from_s: i32) -> Option<Self> {
        let part = |name: &str| {
            let mut parts = rule.split(';').filter_map(|part| part.split_once('='));
            parts
                .find(|(n, _)| n.trim().eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
        };
        if !part("FREQ")?.eq_ignore_ascii_case("YEARLY") {
            return None;
        }
        let until = part("UNTIL")
            .and_then(date_time)
            .and_then(|(until, utc)| match utc {
                // Told in UTC, while onsets are told by the clock before them.
                true => until
                    .checked_add(SignedDuration::from_secs(from_s.into()))
                    .ok(),
                false => Some(until),
            });
        let days = part("BYMONTHDAY").unwrap_or_default();
        Some(Self {
            month: part("BYMONTH").and_then(|month| month.parse().ok()),
            weekday: part("BYDAY").and_then(weekday),
            days: days
                .split(',')
                .filter_map(|day| day.trim().parse().ok())
                .collect(),
            until,
        })
    }

    fn onset(&self, start: DateTime, year: i16) -> Option<DateTime> {
        let month = self.month.unwrap_or(start.month());
        let first = Date::new(year, month, 1).ok()?;
        let last = first.days_in_month();
        let day = |day: i8| if day < 0 { last + 1 + day } else { day };
        let date = match (self.weekday, self.days.as_slice()) {
            (Some((0, weekday)), days) => {
                let days = days.iter().map(|d| Date::new(year, month, day(*d)).ok());
                days.flatten().find(|date| date.weekday() == weekday)?
            }
            (Some((nth, weekday)), _) => first.nth_weekday_of_month(nth, weekday).ok()?,
            (None, [only, ..]) => Date::new(year, month, day(*only)).ok()?,
            (None, []) => Date::new(year, month, start.day()).ok()?,
        };
        Some(date.to_datetime(start.time()))
    }
}

/// `-1SU`: the count, 0 if there is none, and the day.
fn weekday(text: &str) -> Option<(i8, Weekday)> {
    let text = text.split(',').next()?.trim();
    let (count, day) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let day = match day.to_ascii_uppercase().as_str() {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return None,
    };
    let count = match count.trim_start_matches('+') {
        "" => 0,
        count => count
            .parse()
            .ok()
            .filter(|count| (-5..=5).contains(count))?,
    };
    Some((count, day))
}

/// `20261123`.
pub fn date(text: &str) -> Option<Date> {
    let plain = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
    if !plain {
        return None;
    }
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i16>().ok();
    let small = |n: i16| i8::try_from(n).ok();
    Date::new(part(0, 4)?, small(part(4, 6)?)?, small(part(6, 8)?)?).ok()
}

/// `20261123T120000`, and whether a `Z` stands behind it.
fn date_time(text: &str) -> Option<(DateTime, bool)> {
    let (day, time) = text.split_once('T')?;
    let (time, utc) = match time.strip_suffix('Z') {
        Some(time) => (time, true),
        None => (time, false),
    };
    if time.len() != 6 || !time.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| time.get(from..to)?.parse::<i8>().ok();
    // A leap second is the one before it here.
    let second = part(4, 6)?.min(59);
    let time = Time::new(part(0, 2)?, part(2, 4)?, second, 0).ok()?;
    Some((date(day)?.to_datetime(time), utc))
}

/// `+0100` in seconds.
fn utc_offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let plain = [4, 6].contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let part = |from: usize, to: usize| {
        digits
            .get(from..to)
            .map_or(Some(0), |d| d.parse::<i32>().ok())
    };
    let seconds = part(0, 2)? * 3600 + part(2, 4)? * 60 + part(4, 6)?;
    plain.then_some(sign * seconds)
}

/// `-PT15M`, `P1DT2H`, `P2W` in seconds.
pub fn duration_s(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_uppercase();
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let mut rest = rest.strip_prefix('P')?;
    let mut seconds = 0_i64;
    let mut some = false;
    while !rest.is_empty() {
        rest = rest.strip_prefix('T').unwrap_or(rest);
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (count, unit) = rest.split_at_checked(end)?;
        let mut signs = unit.chars();
        let unit = match signs.next()? {
            'W' => 604_800,
            'D' => 86_400,
            'H' => 3_600,
            'M' => 60,
            'S' => 1,
            _ => return None,
        };
        let count: i64 = count.parse().ok()?;
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
        some = true;
        rest = signs.as_str();
    }
    some.then(|| sign * seconds)
}

/// The rules of a zone from a year before this moment to ten years behind it, as a VTIMEZONE.
pub fn rules(zone: &TimeZone, name: &str, around: Timestamp) -> Component {
    const BEFORE: SignedDuration = SignedDuration::from_hours(24 * 366);
    const BEHIND: SignedDuration = SignedDuration::from_hours(24 * 3_653);
    let from = around.checked_sub(BEFORE).unwrap_or(Timestamp::MIN);
    let to = around.checked_add(BEHIND).unwrap_or(Timestamp::MAX);
    let mut component = Component::new("VTIMEZONE");
    component.properties.push(Property::raw("TZID", name));
    let mut before = zone.to_offset(from);
    let first = Offset::to_datetime(before, from);
    component
        .components
        .push(observance("STANDARD", first, before, before));
    for change in zone
        .following(from)
        .take_while(|change| change.timestamp() < to)
    {
        let kind = if change.dst().is_dst() {
            "DAYLIGHT"
        } else {
            "STANDARD"
        };
        let onset = Offset::to_datetime(before, change.timestamp());
        component
            .components
            .push(observance(kind, onset, before, change.offset()));
        before = change.offset();
    }
    component
}

fn observance(kind: &str, onset: DateTime, from: Offset, to: Offset) -> Component {
    let offset = |offset: Offset| {
        let (seconds, sign) = (
            offset.seconds().abs(),
            if offset.seconds() < 0 { '-' } else { '+' },
        );
        let seconds_of_minute = match seconds % 60 {
            0 => String::new(),
            rest => format!("{rest:02}"),
        };
        format!(
            "{sign}{:02}{:02}{seconds_of_minute}",
            seconds / 3600,
            seconds / 60 % 60
        )
    };
    Component {
        properties: vec![
            Property::raw("DTSTART", onset.strftime("%Y%m%dT%H%M%S").to_string()),
            Property::raw("TZOFFSETFROM", offset(from)),
            Property::raw("TZOFFSETTO", offset(to)),
        ],
        ..Component::new(kind)
    }
}
