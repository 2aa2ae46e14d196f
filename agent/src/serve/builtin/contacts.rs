//! The contacts of the handset (R18): their description, and how a vCard becomes one.

use super::resource::{
    Action, Entry, Field, FieldError, Form, Item, LABEL_DEFAULT, Manager, Memory, Resource, Shape,
    Value,
};
use super::store::Stored;
use super::vcard::{self, Card, Property};

/// R18. The phone's memory is the only store until a SIM card's is there (R31).
pub static CONTACTS: Resource = Resource {
    name: "contacts",
    item: "contact",
    manager: Manager::PersonalData,
    actions: &[Action::List, Action::Get, Action::Add, Action::Delete],
    memories: &[Memory {
        name: "phone",
        items_max: 50_000,
        fits: None,
    }],
    fields: &[
        Field::new("name", Shape::Line { chars_max: 256 })
            .required()
            .told(),
        Field::new(
            "phones",
            Shape::Labelled {
                element: "phone",
                label: "type",
                value: "number",
                entries_max: 32,
                chars_max: 64,
            },
        )
        .told(),
        Field::new(
            "emails",
            Shape::Labelled {
                element: "email",
                label: "type",
                value: "address",
                entries_max: 32,
                chars_max: 254,
            },
        )
        .told(),
        Field::new("organization", Shape::Line { chars_max: 256 }),
        Field::new("note", Shape::Text { chars_max: 4_096 }),
    ],
    forms: &[Form {
        media_type: "text/vcard",
        parameters: "; charset=utf-8",
        also_read: &["text/x-vcard"],
        read: Some(read_vcard),
        write: write_vcard,
        list: Some(("", "", "")),
        kept: true,
    }],
    content: None,
};

const NAME: usize = 0;
const PHONES: usize = 1;
const EMAILS: usize = 2;
const ORGANIZATION: usize = 3;
const NOTE: usize = 4;

/// Types of vCard that say what a number or an address is for; the first that a property has becomes its label.
const LABELS: &[&str] = &["cell", "fax", "pager", "home", "work", "main", "car"];

/// One card of vCard 2.1, 3.0 or 4.0.
fn read_vcard(_: &Resource, body: &[u8]) -> Result<Item, FieldError> {
    let refuse = |fault: String| FieldError::new("body", fault);
    let mut cards = vcard::cards(body);
    match (cards.next(), cards.next()) {
        (Some(Ok(card)), None) => from_vcard(&card),
        (Some(Err(error)), _) => Err(refuse(format!("can't be read: {error}"))),
        (Some(Ok(_)), Some(_)) => Err(refuse("must be one card at a time".to_owned())),
        (None, _) => Err(refuse("holds no card".to_owned())),
    }
}

/// What was sent, word for word; of an item that came otherwise, what its fields say.
fn write_vcard(_: &Resource, stored: &Stored, kept: Option<(&str, &[u8])>) -> Vec<u8> {
    match kept {
        Some((_, bytes)) => bytes.to_vec(),
        None => {
            let name = match stored.item.values().first() {
                Some(Some(Value::Text(name))) => name.as_str(),
                _ => "",
            };
            format!("BEGIN:VCARD\r\nVERSION:4.0\r\nFN:{name}\r\nEND:VCARD\r\n").into_bytes()
        }
    }
}

/// Of each field the first property that has something in it; what a contact has no field for is left out.
pub fn from_vcard(card: &Card) -> Result<Item, FieldError> {
    let mut item = CONTACTS.blank();
    for property in &card.properties {
        match property.name.as_str() {
            "FN" => set(&mut item, NAME, property.text()),
            "ORG" => set(
                &mut item,
                ORGANIZATION,
                present(&property.components(), ", "),
            ),
            "NOTE" => set(&mut item, NOTE, property.text()),
            "TEL" => {
                let text = property.text();
                let number = text.strip_prefix("tel:").unwrap_or(&text);
                push(&mut item, PHONES, property, number);
            }
            "EMAIL" => push(&mut item, EMAILS, property, &property.text()),
            _ => {}
        }
    }
    // A card may carry only the structured name, or an FN that is empty; then who they work for names them.
    if item.values()[NAME].is_none() {
        for name in ["N", "NICKNAME", "ORG"] {
            let property = card.properties.iter().find(|p| p.name == name);
            set(&mut item, NAME, property.map_or(String::new(), spoken_name));
        }
    }
    CONTACTS.check(item)
}

/// `N:family;given;additional;prefixes;suffixes` in the order in which it is spoken.
fn spoken_name(property: &Property) -> String {
    let components = property.components();
    if property.name != "N" {
        return present(&components, ", ");
    }
    let part = |at: usize| components.get(at).cloned().unwrap_or_default();
    present(&[part(3), part(1), part(2), part(0), part(4)], " ")
}

fn present(parts: &[String], between: &str) -> String {
    let parts: Vec<_> = parts
        .iter()
        .map(|p| p.trim())
        .filter(|p| !p.is_empty())
        .collect();
    parts.join(between)
}

fn set(item: &mut Item, position: usize, text: String) {
    if !text.trim().is_empty() {
        item.set(position, Value::Text(text));
    }
}

fn push(item: &mut Item, position: usize, property: &Property, value: &str) {
    if value.trim().is_empty() {
        return;
    }
    let types = property.types();
    let label = LABELS.iter().find(|l| types.iter().any(|t| t == *l));
    let entry = Entry {
        label: (*label.unwrap_or(&LABEL_DEFAULT)).to_owned(),
        value: value.to_owned(),
    };
    item.push(position, entry);
}
