//! Calendars and journals of other software go in, and come out again with all that they hold: R19, R20, R29.
//!
//! The files in `foreign/` are written as Google, Apple, Outlook and Thunderbird write them.

mod support;

use everline_agent::serve::builtin::icalendar::zone::When;
use everline_agent::serve::builtin::icalendar::{self, Component};
use everline_agent::serve::builtin::jscontact::{self, from_card};
use everline_agent::serve::builtin::vcard::{self, upgrade};
use proptest::prelude::*;
use serde_json::json;
use support::foreign::{CALENDAR, CARDS, ENTRIES, Handset, file};

#[tokio::test]
async fn r20_r29_calendars_of_other_software_go_out_word_for_word() {
    let mut handset = Handset::start().await;
    let mut sent = Vec::new();
    for name in ENTRIES {
        let text = file(name);
        let (url, _) = handset.add("/calendar", CALENDAR, &text).await;
        let answer = handset.get(&url, "text/calendar").await;
        assert_eq!(
            answer.header("content-type"),
            "text/calendar; charset=utf-8"
        );
        assert_eq!(unlined(&answer.body), unlined(&text), "{name}");
        assert!(
            answer.body.split("\r\n").all(|line| line.len() <= 75),
            "{name}"
        );
        sent.extend(unlined(&text));
    }
    let list = handset.get("/calendar", "text/calendar").await;
    assert_eq!(unlined(&list.body), sent, "objects in a row are a file");
}

/// The objects of a file, without the lines that they stood on.
fn unlined(text: &str) -> Vec<Component> {
    fn strip(component: &mut Component) {
        component.line = 0;
        component.properties.iter_mut().for_each(|p| p.line = 0);
        component.components.iter_mut().for_each(strip);
    }
    let mut objects = icalendar::objects(text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"));
    objects.iter_mut().for_each(strip);
    objects
}

#[tokio::test]
async fn r20_r29_the_fields_of_a_foreign_entry_are_moments_by_the_clock_of_its_zone() {
    let mut handset = Handset::start().await;
    for (name, fields) in [
        (
            "google.ics",
            json!({
                "kind": "event", "title": "Reunión semanal ☕", "begins": "2026-07-06T09:30:00+02:00",
                "ends": "2026-07-06T10:15:00+02:00", "zone": "Europe/Madrid", "location": "Sala 4, Calle Real 1",
                "description": "Orden del día:\n- puerto, muelle; grúa\n<a href=\"https://example.com/?a=1\">acta</a>",
                "recurrence": "FREQ=WEEKLY;WKST=MO;UNTIL=20261231T225959Z;BYDAY=MO",
                "attendees": ["marta@example.com", "tom@example.com"], "alarm_min": 10, "status": "confirmed",
                "uid": "7k2m3n4p5q@google.com",
            }),
        ),
        (
            "apple.ics",
            json!({
                "kind": "event", "title": "Kräftskiva", "begins": "2026-08-14T00:00:00Z", "ends": "2026-08-17T00:00:00Z",
                "all_day": true, "location": "Bryggan Åre", "attendees": [], "alarm_min": 900,
                "uid": "1A2B3C4D-0000-4000-8000-ABCDEFABCDEF",
            }),
        ),
        (
            "outlook.ics",
            json!({
                "kind": "event", "title": "Quartalsgespräch", "begins": "2026-11-25T14:30:00+01:00",
                "ends": "2026-11-25T16:00:00+01:00", "zone": "Europe/Berlin", "location": "Mühle, Raum 2",
                "description": "Bitte Zahlen mitbringen.", "attendees": ["kurz@example.de"], "alarm_min": 15,
                "uid": "040000008200E00074C5B7101A82E00800000000B0C1D2E3F4A5DC0100000000000000001000000055AA55AA",
            }),
        ),
        (
            "thunderbird.ics",
            json!({
                "kind": "task", "title": "Dijk inspecteren", "begins": "2026-10-01T09:00:00+02:00",
                "ends": "2026-10-01T12:00:00+02:00", "zone": "Europe/Amsterdam",
                "description": "Neem mee:\n- laarzen, lamp", "recurrence": "FREQ=MONTHLY;BYMONTHDAY=1",
                "attendees": [], "status": "in-process", "uid": "c0ffee00-1234-4321-8888-123412341234",
            }),
        ),
    ] {
        let (_, mut shown) = handset.add("/calendar", CALENDAR, &file(name)).await;
        for given in ["id", "store"] {
            shown.as_object_mut().unwrap().remove(given);
        }
        assert_eq!(shown, fields, "{name}");
    }
}

#[tokio::test]
async fn r20_r29_an_entry_of_fields_goes_out_as_icalendar_and_comes_back_the_same() {
    let mut handset = Handset::start().await;
    let json_type = "Content-Type: application/json\r\n";
    for body in [
        json!({
            "title": "Ruderabend; Steg, 3", "begins": "2026-05-05T18:00:00+02:00", "ends": "2026-05-05T20:00:00+02:00",
            "zone": "Europe/Berlin", "recurrence": "FREQ=WEEKLY;BYDAY=TU", "location": "Steg", "alarm_min": 30,
            "attendees": ["eva@example.de"], "status": "tentative", "description": "Boot\nmitbringen",
        }),
        json!({"title": "Ferien", "begins": "2026-08-01T00:00:00Z", "ends": "2026-08-15T00:00:00Z", "all_day": true}),
        json!({"title": "Steuer", "kind": "task", "ends": "2026-12-31T23:00:00Z"}),
    ] {
        let (url, shown) = handset.add("/calendar", json_type, &body.to_string()).await;
        let out = handset.get(&url, "text/calendar").await.body;
        let (_, mut again) = handset.add("/calendar", CALENDAR, &out).await;
        again["id"] = shown["id"].clone();
        for moment in ["begins", "ends"] {
            let (was, is) = (shown[moment].as_str(), again[moment].as_str());
            assert_eq!(was.map(instant), is.map(instant), "{out}");
            if let Some(is) = is.map(str::to_owned) {
                again[moment] = shown[moment].clone();
                let by_the_clock = is.ends_with(if body["zone"].is_string() {
                    "+02:00"
                } else {
                    "Z"
                });
                assert!(by_the_clock, "{is}");
            }
        }
        assert_eq!(again, shown, "{out}");
    }
}

fn instant(text: &str) -> i64 {
    use time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(text, &Rfc3339)
        .unwrap()
        .unix_timestamp()
}

#[tokio::test]
async fn r19_r29_a_journal_entry_is_a_note_and_a_note_a_journal_entry() {
    let mut handset = Handset::start().await;
    let sent = file("journal.ics");
    let (url, shown) = handset.add("/notes", CALENDAR, &sent).await;
    assert_eq!(shown["title"], "Gespräch mit dem Vermieter");
    assert_eq!(
        shown["text"],
        "Erstens: die Heizung, zweitens: das Dach.\nEr kommt am Dienstag vorbei.\n\nNachtrag: er kam nicht."
    );
    assert_eq!(shown["at"], "2026-05-17T00:00:00Z");
    let out = handset.get(&url, "text/calendar").await.body;
    assert_eq!(unlined(&out), unlined(&sent));
    let json_type = "Content-Type: application/json\r\n";
    let body = json!({"title": "Liste", "text": "Brot\nMilch; Käse, \\ alles", "at": "2026-11-23T10:00:00Z"});
    let (url, shown) = handset.add("/notes", json_type, &body.to_string()).await;
    let out = handset.get(&url, "text/calendar").await.body;
    let (_, mut again) = handset.add("/notes", CALENDAR, &out).await;
    again["id"] = shown["id"].clone();
    assert_eq!(again, shown, "{out}");
}

#[tokio::test]
async fn r17_r20_r29_what_is_no_entry_is_told_by_line() {
    let mut handset = Handset::start().await;
    let google = file("google.ics");
    let event = "BEGIN:VEVENT\r\nUID:1\r\nSUMMARY:A\r\nDTSTART:20260101T000000Z\r\nEND:VEVENT\r\n";
    let object =
        |inner: &str| format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{inner}END:VCALENDAR\r\n");
    for (body, told) in [
        (String::new(), "holds no VCALENDAR"),
        (
            google.replace("END:VCALENDAR\r\n", ""),
            "line 1: this VCALENDAR has no END:VCALENDAR",
        ),
        (google.repeat(2), "one VCALENDAR at a time"),
        (
            google.replace("VERSION:2.0", "VERSION:1.0"),
            "is vCalendar 1.0",
        ),
        (
            object(event).replace("20260101T000000Z", "tomorrow"),
            "line 6: DTSTART is no date and no time",
        ),
        (
            object(event).replace("SUMMARY:A", "SUMMARY"),
            "line 5: there is no `:`",
        ),
        (
            object(&event.replace("END:VEVENT", "END:VTODO")),
            "expected END:VEVENT, of the BEGIN on line 3",
        ),
        (object(""), "holds no VEVENT and no VTODO, but nothing"),
        (file("journal.ics"), "but VJOURNAL"),
        (
            object(&format!("{event}{}", event.replace("UID:1", "UID:2"))),
            "different UIDs",
        ),
        (object(&event.repeat(2)), "there is another on line 8"),
        (
            object(&"BEGIN:X\r\n".repeat(20)),
            "line 10: more than 8 components within each other",
        ),
    ] {
        let detail = handset.refused("/calendar", CALENDAR, &body).await;
        assert!(detail.contains(told), "{told}: {detail}");
    }
    let list = handset.get("/calendar", "application/json").await;
    assert_eq!(list.json()["calendar"], json!([]));
}

/// Moments, too, are found or not in whatever an object holds.
fn moments(object: &Component, component: &Component) {
    for property in &component.properties {
        if let Some(when) = When::of(property, object) {
            let _found = (when.text(), when.unix_s());
        }
    }
    component
        .components
        .iter()
        .for_each(|inner| moments(object, inner));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn r18_r20_r29_a_damaged_file_is_read_or_told(
        which in 0..CARDS.len() + ENTRIES.len() + 1,
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let names: Vec<_> = CARDS.iter().chain(ENTRIES).copied().chain(["jscontact.json"]).collect();
        let mut bytes = file(names[which]).into_bytes();
        for (from, to, byte) in damages {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            match byte % 4 {
                0 => bytes[from] = byte,
                1 => drop(bytes.drain(from.min(to)..from.min(to) + from.abs_diff(to).min(40))),
                2 => bytes.insert(from, b":;,=\\\"^\n"[usize::from(byte / 4) % 8]),
                _ => bytes.swap(from, to),
            }
            if bytes.is_empty() {
                break;
            }
        }
        for read in vcard::cards(&bytes).flatten() {
            let mut out = Vec::new();
            upgrade::card(&read).write(&mut out);
            let again = vcard::only(&out).unwrap_or_else(|e| panic!("{e} {}", String::from_utf8_lossy(&out)));
            prop_assert!(again.is_version("4.0"));
            let js = from_card::json(&again, String::new);
            prop_assert!(jscontact::to_card(js.to_string().as_bytes()).is_ok());
        }
        if let Ok(read) = jscontact::to_card(&bytes) {
            let mut out = Vec::new();
            read.write(&mut out);
            prop_assert!(vcard::only(&out).is_ok());
        }
        if let Ok(objects) = icalendar::objects(&bytes) {
            let mut out = Vec::new();
            for object in &objects {
                moments(object, object);
                object.write(&mut out);
            }
            prop_assert_eq!(icalendar::objects(&out).unwrap().len(), objects.len());
        }
    }
}
