//! Contacts (R18): people and companies, in the phone and on the SIM card.

use super::super::content_line::Property;
use super::super::resource::{
    BODY_BYTES_MAX, Field, FieldError, Item, Manager, Memory, OnCard, Resource, Shape, Sim, Value,
};
use super::super::{jscontact, vcard};
use super::DATA;
use crate::device::SimCard;
use crate::gsm::sim::contact_fits;

/// R18. The fields are what lists and a handset's screen show; a card that was sent is kept whole beside them.
pub static CONTACTS: Resource = Resource {
    name: "contacts",
    item: "contact",
    manager: Manager::PersonalData,
    actions: DATA,
    memories: &[Memory::phone(50_000), Memory::card(ON_CARD)],
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
        Field::new("note", Shape::Text { chars_max: 32_768 }),
        Field::new("given_name", Shape::Line { chars_max: 256 }),
        Field::new("family_name", Shape::Line { chars_max: 256 }),
        Field::new("nickname", Shape::Line { chars_max: 256 }),
        Field::new("title", Shape::Line { chars_max: 256 }),
        Field::new(
            "addresses",
            Shape::Labelled {
                element: "address",
                label: "type",
                value: "address",
                entries_max: 16,
                chars_max: 1_024,
            },
        ),
        Field::new("birthday", Shape::Line { chars_max: 64 }),
        Field::new("url", Shape::Line { chars_max: 2_048 }),
    ],
    forms: &[vcard::FORM, jscontact::FORM],
    content: None,
    complete: None,
    body_bytes_max: BODY_BYTES_MAX,
};

/// A record of a card's phone book: a name and a number (TS 31.102, EF_ADN). What was sent is not kept there.
const ON_CARD: Sim = Sim {
    items_max: |card| card.contacts_max,
    fits,
    kept: OnCard::FieldsAlone(says_no_more),
};

/// Properties of a card that are in the record, or that say when and by whom the card was written.
const IN_RECORD: &[&str] = &[
    "VERSION",
    "FN",
    "N",
    "TEL",
    "X-ABLABEL",
    "UID",
    "REV",
    "CREATED",
    "PRODID",
    "KIND",
];

/// A picture or a category must not get lost on the way to the SIM card without a word.
fn says_no_more(media_type: &str, bytes: &[u8]) -> Result<(), FieldError> {
    let card = match media_type == jscontact::FORM.media_type {
        true => jscontact::to_card(bytes)?,
        false => vcard::only(bytes)?,
    };
    let has_something = |p: &&Property| !p.value.trim_matches([';', ' ']).is_empty();
    let mut more = card.properties.iter().filter(has_something);
    match more.find(|p| !IN_RECORD.contains(&p.name.as_str())) {
        None => Ok(()),
        Some(property) => {
            let fault = "has no room on the SIM card: a name and a number would fit";
            Err(FieldError::new(property.name.clone(), fault))
        }
    }
}

/// The fields that a record holds; the parts of a name are in the name.
const OF_RECORD: &[&str] = &["name", "given_name", "family_name", "phones"];

fn fits(resource: &Resource, item: &Item, card: &SimCard) -> Result<(), FieldError> {
    let said = resource.fields.iter().zip(item.values());
    let mut more =
        said.filter(|(field, value)| value.is_some() && !OF_RECORD.contains(&field.name));
    if let Some((field, _)) = more.next() {
        let fault = "has no room on the SIM card: a name and a number would fit";
        return Err(FieldError::new(field.name, fault));
    }
    let name = resource.text(item, "name").unwrap_or_default();
    let numbers: Vec<&str> = match resource.value(item, "phones") {
        Some(Value::Entries(entries)) => entries.iter().map(|entry| &*entry.value).collect(),
        _ => Vec::new(),
    };
    contact_fits(card, name, &numbers).map_err(|misfit| FieldError::new(misfit.field, misfit.fault))
}
