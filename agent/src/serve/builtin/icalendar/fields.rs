//! What an entry of a calendar says to the fields of an item, and the fields to an entry.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::zone::{self, When};
use super::{Component, refuse};
use crate::serve::builtin::content_line::Property;
use crate::serve::builtin::resource::{FieldError, Item, Resource, Shape, Value};
use crate::serve::builtin::store::Stored;

/// Who wrote an object that is made of fields.
const PRODID: &str = "-//Everline//Agent//EN";

/// What an entry is called that has no words of its own.
const UNTITLED: &str = "Untitled";

/// Alarms of an entry that are looked at, at most: each may take a look at all the rules of a zone.
const ALARMS_MAX: usize = 16;

const DAY_S: i64 = 86_400;

/// The item of an event or a task.
pub fn entry(
    resource: &Resource,
    object: &Component,
    main: &Component,
) -> Result<Item, FieldError> {
    let mut item = resource.blank();
    let mut put = |name: &str, value: Value| put(resource, &mut item, name, value);
    let is_task = main.name == "VTODO";
    put("kind", text(if is_task { "task" } else { "event" }));
    put("title", text(&title(main)));
    for (name, property) in [
        ("location", "LOCATION"),
        ("description", "DESCRIPTION"),
        ("uid", "UID"),
    ] {
        if let Some(property) = main.first(property) {
            put(name, text(&property.text()));
        }
    }
    if let Some(rule) = main.first("RRULE") {
        put("recurrence", text(&rule.value));
    }
    let words: Vec<_> = main
        .properties
        .iter()
        .filter(|p| p.name == "ATTENDEE")
        .map(attendee)
        .collect();
    if !words.is_empty() {
        put("attendees", Value::Lines(words));
    }
    if let Some(status) = main.first("STATUS") {
        put("status", text(&status.text().trim().to_ascii_lowercase()));
    }
    let begins = moment(main, object, "DTSTART")?;
    let ends = moment(main, object, if is_task { "DUE" } else { "DTEND" })?;
    let lasts = main
        .first("DURATION")
        .and_then(|p| zone::duration_s(&p.value));
    let ends = match (&begins, ends, lasts) {
        (_, Some(ends), _) => Some(ends),
        (Some(begins), None, Some(seconds)) => begins.after(seconds),
        // An event of a day that says no end lasts that day (RFC 5545, 3.6.1).
        (Some(begins), None, None) if begins.is_day && !is_task => begins.after(DAY_S),
        _ => None,
    };
    if let Some(minutes) = alarm_min(main, object, begins.as_ref(), ends.as_ref()) {
        put("alarm_min", Value::Number(minutes));
    }
    if begins
        .as_ref()
        .or(ends.as_ref())
        .is_some_and(|when| when.is_day)
    {
        put("all_day", Value::Flag(true));
    }
    if let Some(zone) = begins
        .as_ref()
        .or(ends.as_ref())
        .and_then(|when| when.zone.as_deref())
    {
        put("zone", text(zone));
    }
    for (name, when) in [("begins", begins), ("ends", ends)] {
        if let Some(told) = when.and_then(|when| when.text()) {
            put(name, text(&told));
        }
    }
    Ok(item)
}

/// The item of a journal entry.
pub fn note(resource: &Resource, object: &Component, main: &Component) -> Result<Item, FieldError> {
    let mut item = resource.blank();
    let mut put = |name: &str, value: Value| put(resource, &mut item, name, value);
    if let Some(summary) = main.first("SUMMARY") {
        put("title", text(&summary.text()));
    }
    let texts = main.properties.iter().filter(|p| p.name == "DESCRIPTION");
    let texts: Vec<_> = texts.map(Property::text).collect();
    put("text", text(&texts.join("\n\n")));
    if let Some(uid) = main.first("UID") {
        put("uid", text(&uid.text()));
    }
    for name in ["DTSTART", "CREATED", "DTSTAMP"] {
        if let Some(at) = moment(main, object, name)?.and_then(|when| when.text()) {
            put("at", text(&at));
            break;
        }
    }
    Ok(item)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Sets a field that the description has. One of a single line shows the lines of a longer text one behind the other;
/// a word that a choice does not have is in the kept form alone.
fn put(resource: &Resource, item: &mut Item, name: &str, value: Value) {
    let Some((position, field)) = resource.field(name) else {
        return;
    };
    let odd = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    let one_line = |text: &str| {
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        lines.join(" ").replace(odd, " ")
    };
    let value = match (&field.shape, value) {
        (Shape::Line { .. }, Value::Text(text)) => Value::Text(one_line(&text)),
        (Shape::Text { .. }, Value::Text(text)) => {
            let odd = |c: char| odd(c) && !matches!(c, '\n' | '\t');
            Value::Text(text.replace("\r\n", "\n").replace(odd, " "))
        }
        (Shape::Choice(words), Value::Text(text)) if !words.contains(&text.as_str()) => return,
        (Shape::Number(least, most), Value::Number(n)) if !(*least..=*most).contains(&n) => return,
        (_, value) => value,
    };
    match &value {
        Value::Text(text) if text.trim().is_empty() => {}
        _ => drop(item.set(position, value)),
    }
}

/// A calendar may hold what has no summary; then its other words name it.
fn title(main: &Component) -> String {
    let mut names = ["SUMMARY", "LOCATION", "DESCRIPTION"].into_iter();
    let told = names.find_map(|name| {
        let text = main.first(name)?.text();
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        let whole = name == "SUMMARY";
        Some(if whole {
            text.clone()
        } else {
            line.chars().take(80).collect()
        })
    });
    told.unwrap_or_else(|| UNTITLED.to_owned())
}

fn attendee(property: &Property) -> String {
    let said = property.text();
    let address = match said.split_at_checked(7) {
        Some((scheme, address)) if scheme.eq_ignore_ascii_case("mailto:") => address,
        _ => said.as_str(),
    };
    address
        .replace(
            |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'),
            " ",
        )
        .trim()
        .to_owned()
}

fn moment(main: &Component, object: &Component, name: &str) -> Result<Option<When>, FieldError> {
    let Some(property) = main.first(name) else {
        return Ok(None);
    };
    match When::of(property, object) {
        Some(when) => Ok(Some(when)),
        None => refuse(format!(
            "can't be read: line {}: {name} is no date and no time",
            property.line
        )),
    }
}

/// Minutes from the first alarm to the beginning.
fn alarm_min(
    main: &Component,
    object: &Component,
    begins: Option<&When>,
    ends: Option<&When>,
) -> Option<i64> {
    let mut triggers = main
        .all("VALARM")
        .filter_map(|alarm| alarm.first("TRIGGER"))
        .take(ALARMS_MAX);
    triggers.find_map(|trigger| {
        // A task that only is due begins, for its alarm, when it is due.
        let begins_s = begins.or(ends).and_then(When::unix_s);
        let before_s = match zone::duration_s(&trigger.value) {
            Some(seconds) if trigger.says("RELATED", "END") => {
                begins_s?.checked_sub(ends?.unix_s()?.checked_add(seconds)?)?
            }
            Some(seconds) => -seconds,
            None => begins_s? - When::of(trigger, object)?.unix_s()?,
        };
        (before_s >= 0).then_some(before_s / 60)
    })
}

/// An object that says what the fields of a calendar's entry say.
pub fn entry_object(resource: &Resource, stored: &Stored) -> Component {
    let item = &stored.item;
    let said = |name: &str| resource.text(item, name).filter(|text| !text.is_empty());
    let is_task = said("kind") == Some("task");
    let mut main = Component::new(if is_task { "VTODO" } else { "VEVENT" });
    let all_day = matches!(resource.value(item, "all_day"), Some(Value::Flag(true)));
    let zone = said("zone").filter(|_| said("recurrence").is_some() && !all_day);
    let zone = zone.and_then(|name| Some((name, zone::zone(name)?)));
    let stamp = said("begins").or(said("ends"));
    head(&mut main, said("uid"), stamp, stored);
    for (field, property) in [
        ("title", "SUMMARY"),
        ("location", "LOCATION"),
        ("description", "DESCRIPTION"),
    ] {
        if let Some(text) = said(field) {
            main.properties.push(Property::of_text(property, text));
        }
    }
    for (field, property) in [
        ("begins", "DTSTART"),
        ("ends", if is_task { "DUE" } else { "DTEND" }),
    ] {
        let property = said(field).and_then(|text| when(property, text, all_day, zone.as_ref()));
        main.properties.extend(property);
    }
    if let Some(rule) = said("recurrence") {
        main.properties.push(Property::raw("RRULE", rule));
    }
    if let Some(Value::Lines(attendees)) = resource.value(item, "attendees") {
        for attendee in attendees {
            let uri = match attendee.contains('@') && !attendee.contains(':') {
                true => format!("mailto:{attendee}"),
                false => attendee.clone(),
            };
            main.properties.push(Property::raw("ATTENDEE", uri));
        }
    }
    if let Some(status) = said("status") {
        main.properties
            .push(Property::raw("STATUS", status.to_ascii_uppercase()));
    }
    if let Some(Value::Number(minutes)) = resource.value(item, "alarm_min") {
        main.components.push(Component {
            properties: vec![
                Property::raw("ACTION", "DISPLAY"),
                Property::of_text("DESCRIPTION", said("title").unwrap_or(UNTITLED)),
                Property::raw("TRIGGER", format!("-PT{minutes}M")),
            ],
            ..Component::new("VALARM")
        });
    }
    let begins = stamp.and_then(|text| text.parse::<Timestamp>().ok());
    let rules =
        zone.map(|(name, zone)| zone::rules(&zone, name, begins.unwrap_or(Timestamp::UNIX_EPOCH)));
    object(rules, main)
}

/// An object that says what the fields of a note say.
pub fn note_object(resource: &Resource, stored: &Stored) -> Component {
    let said = |name: &str| {
        resource
            .text(&stored.item, name)
            .filter(|text| !text.is_empty())
    };
    let mut main = Component::new("VJOURNAL");
    head(&mut main, said("uid"), said("at"), stored);
    for (field, property) in [("title", "SUMMARY"), ("text", "DESCRIPTION")] {
        if let Some(text) = said(field) {
            main.properties.push(Property::of_text(property, text));
        }
    }
    if let Some(at) = said("at") {
        main.properties.extend(when("DTSTART", at, false, None));
    }
    object(None, main)
}

fn object(rules: Option<Component>, main: Component) -> Component {
    Component {
        properties: vec![
            Property::raw("VERSION", "2.0"),
            Property::raw("PRODID", PRODID),
        ],
        components: rules.into_iter().chain([main]).collect(),
        ..Component::new("VCALENDAR")
    }
}

/// UID and DTSTAMP, which every component has. An item never changes, so its stamp is a moment of its own.
fn head(main: &mut Component, uid: Option<&str>, at: Option<&str>, stored: &Stored) {
    let uid = match uid {
        Some(uid) => uid.to_owned(),
        None => format!("item-{}", stored.id),
    };
    main.properties.push(Property::of_text("UID", &uid));
    let stamp = when("DTSTAMP", at.unwrap_or("1970-01-01T00:00:00Z"), false, None);
    main.properties.extend(stamp);
}

/// A moment: as the day that it is in, by the clock of a zone, or in UTC.
fn when(name: &str, text: &str, day: bool, zone: Option<&(&str, TimeZone)>) -> Option<Property> {
    if day {
        let day: String = text.get(..10)?.chars().filter(|c| *c != '-').collect();
        return Some(Property::raw(name, day).with("VALUE", "DATE"));
    }
    let moment: Timestamp = text.parse().ok()?;
    Some(match zone {
        Some((zone, rules)) => {
            let local = rules
                .to_datetime(moment)
                .strftime("%Y%m%dT%H%M%S")
                .to_string();
            Property::raw(name, local).with("TZID", *zone)
        }
        None => Property::raw(name, moment.strftime("%Y%m%dT%H%M%SZ").to_string()),
    })
}
