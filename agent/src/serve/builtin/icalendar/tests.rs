//! Zones, lengths and bounds; what goes in and out as a whole is held in `tests/foreign_calendars.rs`.

use proptest::prelude::*;

use super::super::descriptions::CALENDAR;
use super::zone::{self, When, duration_s};
use super::*;

fn object(zone: &str) -> Component {
    let text = format!("BEGIN:VCALENDAR\r\n{zone}END:VCALENDAR\r\n");
    objects(text.as_bytes()).unwrap().remove(0)
}

fn told(object: &Component, zone: &str, value: &str) -> String {
    let property = Property::raw("DTSTART", value).with("TZID", zone);
    When::of(&property, object).unwrap().text().unwrap()
}

/// Rules of New York as they were from 1967 on, with the dates at which each was given up.
const NEW_YORK: &str = "BEGIN:VTIMEZONE\r\nTZID:Somewhere\r\n\
    BEGIN:DAYLIGHT\r\nDTSTART:19670430T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=4;BYDAY=-1SU;UNTIL=20060402T070000Z\r\n\
    TZOFFSETFROM:-0500\r\nTZOFFSETTO:-0400\r\nEND:DAYLIGHT\r\n\
    BEGIN:STANDARD\r\nDTSTART:19671029T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU;UNTIL=20061029T060000Z\r\n\
    TZOFFSETFROM:-0400\r\nTZOFFSETTO:-0500\r\nEND:STANDARD\r\n\
    BEGIN:DAYLIGHT\r\nDTSTART:20070311T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=8,9,10,11,12,13,14;BYDAY=SU\r\n\
    TZOFFSETFROM:-0500\r\nTZOFFSETTO:-0400\r\nEND:DAYLIGHT\r\n\
    BEGIN:STANDARD\r\nDTSTART:20071104T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU\r\n\
    TZOFFSETFROM:-0400\r\nTZOFFSETTO:-0500\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n";

#[test]
fn r20_the_rules_that_came_with_an_entry_are_followed() {
    let object = object(NEW_YORK);
    for (value, wanted) in [
        ("19600101T120000", "1960-01-01T12:00:00-05:00"),
        ("19980430T120000", "1998-04-30T12:00:00-04:00"),
        ("20061201T120000", "2006-12-01T12:00:00-05:00"),
        ("20260307T120000", "2026-03-07T12:00:00-05:00"),
        ("20260308T015959", "2026-03-08T01:59:59-05:00"),
        // The clock skips this hour: it is counted by what was before.
        ("20260308T023000", "2026-03-08T02:30:00-05:00"),
        ("20260308T030000", "2026-03-08T03:00:00-04:00"),
        // It shows this hour twice: the first is meant.
        ("20261101T013000", "2026-11-01T01:30:00-04:00"),
        ("20261101T020000", "2026-11-01T02:00:00-05:00"),
    ] {
        assert_eq!(told(&object, "Somewhere", value), wanted);
    }
}

#[test]
fn r20_names_of_zones_are_known_with_prefixes_and_in_the_words_of_windows() {
    let object = object("");
    for (name, wanted) in [
        ("Europe/Madrid", "2026-03-29T02:30:00+01:00"),
        (
            "/freeassociation.sourceforge.net/Tzfile/Europe/Madrid",
            "2026-03-29T02:30:00+01:00",
        ),
        (
            "America/Argentina/Buenos_Aires",
            "2026-03-29T02:30:00-03:00",
        ),
        ("Romance Standard Time", "2026-03-29T02:30:00+01:00"),
        ("Asia/Kathmandu", "2026-03-29T02:30:00+05:45"),
    ] {
        assert_eq!(told(&object, name, "20260329T023000"), wanted, "{name}");
    }
    let unknown = Property::raw("DTSTART", "20260329T023000").with("TZID", "Customized Time Zone");
    let when = When::of(&unknown, &object).unwrap();
    assert_eq!(when.zone.as_deref(), Some("Customized Time Zone"));
    assert_eq!(
        told(&object, "Europe/Madrid", "20260329T000000Z"),
        "2026-03-29T00:00:00Z"
    );
}

#[test]
fn r20_the_rules_that_are_written_are_those_of_the_zone() {
    let zone = zone::zone("Europe/Madrid").unwrap();
    let around = "2026-06-01T00:00:00Z".parse().unwrap();
    let mut object = object("");
    object.components.push(zone::rules(&zone, "Here", around));
    for value in [
        "20260115T120000",
        "20260715T120000",
        "20300715T120000",
        "20261025T023000",
    ] {
        assert_eq!(
            told(&object, "Here", value),
            told(&object, "Europe/Madrid", value)
        );
    }
}

#[test]
fn r20_every_name_of_windows_leads_to_a_zone() {
    for (name, _) in zone::WINDOWS {
        assert!(zone::zone(name).is_some(), "{name}");
    }
    assert!(zone::zone("EST5EDT nowhere").is_none());
}

#[test]
fn r20_what_no_clock_and_no_zone_has_is_left_out_and_stops_nothing() {
    let entry = |zone: &str| {
        format!(
            "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\nSUMMARY:\u{fffe}A\nDTSTART;TZID={zone}:20261123T120000\n\
             DTEND;TZID={zone}:20261123T110000\nBEGIN:VALARM\nTRIGGER;RELATED=END:-PT9223372036854775807S\nEND:VALARM\n\
             END:VEVENT\nEND:VCALENDAR\n"
        )
    };
    for zone in ["UTC".to_owned(), "a/".repeat(300_000) + "a"] {
        let item = (CALENDAR_FORM.read.unwrap())(&CALENDAR, entry(&zone).as_bytes()).unwrap();
        let item = CALENDAR.check(CALENDAR.fit(item)).unwrap();
        assert_eq!(CALENDAR.text(&item, "title"), Some("A"));
        assert!(CALENDAR.value(&item, "begins").is_some());
        assert_eq!(CALENDAR.value(&item, "alarm_min"), None);
    }
}

#[test]
fn r20_lengths_are_read() {
    for (text, wanted) in [
        ("PT15M", Some(900)),
        ("-P1DT2H", Some(-93_600)),
        ("+P2W", Some(1_209_600)),
        ("-P0DT0H10M0S", Some(-600)),
        ("PT0S", Some(0)),
        ("P", None),
        ("PT", None),
        ("PT5", None),
        ("15M", None),
        ("P99999999999999999999W", None),
        ("P9999999999999999W", None),
    ] {
        assert_eq!(duration_s(text), wanted, "{text}");
    }
}

proptest! {
    #[test]
    fn r20_any_bytes_are_read_or_told(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = objects(&bytes);
        let file = [b"BEGIN:VCALENDAR\n".as_slice(), &bytes, b"\nEND:VCALENDAR\n"].concat();
        let _ = objects(&file);
    }

    #[test]
    fn r20_any_moment_is_read_or_told(
        value in "([0-9]{8}(T[0-9]{6}Z?)?|[0-9TZ]{0,20})",
        rule in "(FREQ=YEARLY;(BYMONTH=[0-9-]{1,3};)?(BYDAY=[0-9+-]{0,3}(SU|MO|XX))?(;BYMONTHDAY=[0-9,-]{0,6})?(;UNTIL=[0-9TZ]{0,16})?|[ -~]{0,30})",
        offset in "[+-][0-9]{4,6}",
    ) {
        let text = format!(
            "BEGIN:VTIMEZONE\r\nTZID:Somewhere\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nRRULE:{rule}\r\n\
             TZOFFSETFROM:{offset}\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
        );
        let object = object(&text);
        let property = Property::raw("DTSTART", value).with("TZID", "Somewhere");
        if let Some(when) = When::of(&property, &object) {
            let _ = (when.text(), when.unix_s(), when.after(i64::MAX));
        }
    }

    #[test]
    fn r20_any_object_comes_back(
        names in prop::collection::vec("[A-Z][A-Z-]{0,10}", 1..6),
        text in "[ -~à-ÿ\n]{0,200}",
    ) {
        let mut inner = Component::new("VEVENT");
        for name in names {
            if name != "BEGIN" && name != "END" {
                inner.properties.push(Property::of_text(&name, &text));
            }
        }
        let whole = Component { components: vec![inner], ..Component::new("VCALENDAR") };
        let mut out = Vec::new();
        whole.write(&mut out);
        let mut back = objects(&out).unwrap().remove(0);
        back.line = 0;
        back.components[0].line = 0;
        back.components[0].properties.iter_mut().for_each(|p| p.line = 0);
        prop_assert_eq!(back, whole);
    }
}
