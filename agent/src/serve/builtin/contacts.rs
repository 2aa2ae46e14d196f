//! How a card becomes a contact (R18), and a contact a card.
//!
//! The fields are what a list and a handset's screen show of a card. The card itself is kept beside them, so what has no
//! field here is not lost.

pub use super::descriptions::CONTACTS;

use super::content_line::{Property, escape, split_escaped, unescape};
use super::resource::{
    Entry, FieldError, Item, LABEL_CHARS_MAX, LABEL_DEFAULT, Resource, Shape, Value,
};
use super::store::Stored;
use super::vcard::{Card, upgrade};

/// Types of vCard that say what a number or an address is for; the first that a property has becomes its label.
const LABELS: &[&str] = &["cell", "fax", "pager", "home", "work", "main", "car"];

/// How a property is read into a field.
type Told = fn(&Property) -> String;

/// Fields of which a card has one, with the property that holds each.
const FIELDS: &[(&str, &str, Told)] = &[
    ("name", "FN", Property::text),
    ("given_name", "N", |n| part(n, 1)),
    ("family_name", "N", |n| part(n, 0)),
    ("nickname", "NICKNAME", |p| present(&p.list(), ", ")),
    ("organization", "ORG", |p| present(&p.components(), ", ")),
    ("title", "TITLE", Property::text),
    ("birthday", "BDAY", birthday),
    ("url", "URL", Property::text),
    ("note", "NOTE", Property::text),
];

/// The contact that a card of any version tells of: of each field the first property that has something in it.
pub fn from_card(card: &Card) -> Result<Item, FieldError> {
    let upgraded;
    let card = match card.is_version("4.0") {
        true => card,
        false => {
            upgraded = upgrade::card(card);
            &upgraded
        }
    };
    let mut item = CONTACTS.blank();
    for (field, name, read) in FIELDS {
        let mut told = card.properties.iter().filter(|p| p.name == *name).map(read);
        if let Some(text) = told.find(|text| !text.trim().is_empty()) {
            put(&mut item, field, text);
        }
    }
    for property in &card.properties {
        match property.name.as_str() {
            "TEL" => {
                let text = property.text();
                let number = text.strip_prefix("tel:").unwrap_or(&text);
                push(&mut item, card, "phones", property, number);
            }
            "EMAIL" => push(&mut item, card, "emails", property, &property.text()),
            "ADR" => push(&mut item, card, "addresses", property, &address(property)),
            _ => {}
        }
    }
    // A card may carry only the structured name, or an FN that is empty; then who they work for names them.
    if CONTACTS.value(&item, "name").is_none() {
        put(&mut item, "name", spoken(card).unwrap_or_default());
    }
    CONTACTS.check(CONTACTS.fit(item))
}

/// What a contact is called whose card has no FN.
pub fn spoken(card: &Card) -> Option<String> {
    let mut names = ["N", "NICKNAME", "ORG"].into_iter();
    names.find_map(|name| {
        let name = spoken_name(card.first(name)?);
        (!name.is_empty()).then_some(name)
    })
}

/// `N:family;given;additional;prefixes;suffixes` in the order in which it is spoken.
fn spoken_name(property: &Property) -> String {
    if property.name != "N" {
        return present(&property.components(), ", ");
    }
    let parts = [3, 1, 2, 0, 4].map(|at| part(property, at));
    present(&parts, " ")
}

/// One component, the entries of its list one behind the other.
fn part(property: &Property, at: usize) -> String {
    let component = split_escaped(&property.value, ';').nth(at);
    let entries = split_escaped(component.unwrap_or_default(), ',').map(unescape);
    present(&entries.collect::<Vec<_>>(), " ")
}

fn present(parts: &[String], between: &str) -> String {
    let parts: Vec<_> = parts
        .iter()
        .map(|p| p.trim())
        .filter(|p| !p.is_empty())
        .collect();
    parts.join(between)
}

/// `19850412` as it is written elsewhere: `1985-04-12`. Anything else as it stands.
fn birthday(property: &Property) -> String {
    let said = property.text();
    let (year, rest) = match said.strip_prefix("--") {
        Some(rest) => ("-", rest),
        None => said.split_at_checked(4).unwrap_or_default(),
    };
    let (month, day) = rest.split_at_checked(2).unwrap_or_default();
    let plain = [month, day]
        .iter()
        .all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()));
    match plain && !property.says("VALUE", "text") {
        true => format!("{year}-{month}-{day}"),
        false => said,
    }
}

/// The parts of an address on one line; of one that has no parts, what its label says.
fn address(property: &Property) -> String {
    let parts: Vec<_> = (0..7).map(|at| part(property, at)).collect();
    match present(&parts, ", ") {
        parts if parts.is_empty() => property.param("LABEL").unwrap_or_default().to_owned(),
        parts => parts,
    }
}

/// A field of one line shows the lines of a longer text one behind the other.
fn put(item: &mut Item, field: &str, text: String) {
    let Some((position, described)) = CONTACTS.field(field) else {
        return;
    };
    let text = match described.shape {
        Shape::Text { .. } => plain(&text.replace("\r\n", "\n"), &['\n', '\t']),
        _ => one_line(&text),
    };
    if !text.trim().is_empty() {
        item.set(position, Value::Text(text));
    }
}

fn one_line(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    plain(&lines.join(", "), &[])
}

/// Signs that no field may hold are in the card that is kept; here white space stands for them.
fn plain(text: &str, but: &[char]) -> String {
    let odd = |c: char| c.is_control() && !but.contains(&c) || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.replace(odd, " ")
}

fn push(item: &mut Item, card: &Card, field: &str, property: &Property, value: &str) {
    let value = one_line(value);
    let Some((position, _)) = CONTACTS.field(field) else {
        return;
    };
    if !value.trim().is_empty() {
        let label = label(card, property);
        item.push(position, Entry { label, value });
    }
}

/// What an entry is for: its type, or the words that some address books give to its group.
fn label(card: &Card, property: &Property) -> String {
    let types = property.types();
    if let Some(label) = LABELS.iter().find(|l| types.iter().any(|t| t == *l)) {
        return (*label).to_owned();
    }
    let own = label_of_group(card, property).map(|label| one_line(&label));
    match own.filter(|label| !label.trim().is_empty()) {
        Some(label) => label.chars().take(LABEL_CHARS_MAX).collect(),
        None => LABEL_DEFAULT.to_owned(),
    }
}

/// What `item1.X-ABLabel` says of `item1.TEL`. Labels that Apple knows itself stand between signs of their own.
pub fn label_of_group(card: &Card, property: &Property) -> Option<String> {
    let group = property.group.as_deref()?;
    let mut labels = card.properties.iter().filter(|p| p.name == "X-ABLABEL");
    let label = labels.find(|p| p.group.as_deref() == Some(group))?.text();
    let known = label
        .strip_prefix("_$!<")
        .and_then(|l| l.strip_suffix(">!$_"));
    Some(known.unwrap_or(&label).to_owned())
}

/// A card of 4.0 that says what the fields say.
pub fn to_card(resource: &Resource, stored: &Stored) -> Card {
    let item = &stored.item;
    let text = |name: &str| resource.text(item, name).unwrap_or_default();
    let mut properties = vec![
        Property::raw("VERSION", "4.0"),
        Property::of_text("FN", text("name")),
    ];
    let (given, family) = (text("given_name"), text("family_name"));
    if !given.is_empty() || !family.is_empty() {
        let value = format!("{};{};;;", escape(family), escape(given));
        properties.push(Property::raw("N", value));
    }
    for (field, name) in [
        ("nickname", "NICKNAME"),
        ("organization", "ORG"),
        ("title", "TITLE"),
        ("note", "NOTE"),
    ] {
        if !text(field).is_empty() {
            properties.push(Property::of_text(name, text(field)));
        }
    }
    let url = text("url");
    if !url.is_empty() {
        properties.push(Property::raw("URL", url));
    }
    let birthday = text("birthday");
    if !birthday.is_empty() {
        properties.push(match upgrade::basic(birthday) {
            Some(date) => Property::raw("BDAY", date),
            None => Property::of_text("BDAY", birthday).with("VALUE", "text"),
        });
    }
    let mut groups = 0;
    for (field, name) in [("phones", "TEL"), ("emails", "EMAIL"), ("addresses", "ADR")] {
        let Some(Value::Entries(entries)) = resource.value(item, field) else {
            continue;
        };
        for entry in entries {
            let property = match name {
                // What is known of it is one line, and which part of it is what is not known.
                "ADR" => Property::raw("ADR", format!(";;{};;;;", escape(&entry.value))),
                _ => Property::of_text(name, &entry.value),
            };
            labelled(&mut properties, property, &entry.label, &mut groups);
        }
    }
    Card {
        line: 0,
        properties,
    }
}

/// A label that vCard knows becomes its type, any other one the words of its group.
fn labelled(properties: &mut Vec<Property>, property: Property, label: &str, groups: &mut usize) {
    let known = label.to_ascii_lowercase();
    if label == LABEL_DEFAULT {
        properties.push(property);
    } else if LABELS.contains(&known.as_str()) {
        properties.push(property.with("TYPE", known));
    } else {
        *groups += 1;
        let group = Some(format!("item{groups}"));
        properties.push(Property {
            group: group.clone(),
            ..property
        });
        properties.push(Property {
            group,
            ..Property::of_text("X-ABLabel", label)
        });
    }
}
