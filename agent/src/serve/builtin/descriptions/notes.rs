//! Notes (R19): a title, a text, or both.

use super::super::icalendar;
use super::super::resource::{
    BODY_BYTES_MAX, Field, FieldError, Item, Manager, Memory, Resource, Shape,
};
use super::{DATA, fill, now, uid};

/// R19.
pub static NOTES: Resource = Resource {
    name: "notes",
    item: "note",
    manager: Manager::PersonalData,
    actions: DATA,
    memories: &[Memory::phone(20_000)],
    fields: &[
        Field::new("title", Shape::Line { chars_max: 256 }).told(),
        Field::new("text", Shape::Text { chars_max: 100_000 }).told(),
        Field::new("at", Shape::Moment),
        Field::new("uid", Shape::Line { chars_max: 255 }),
    ],
    forms: &[icalendar::NOTE_FORM],
    content: None,
    complete: Some(complete),
    body_bytes_max: BODY_BYTES_MAX,
};

fn complete(resource: &Resource, item: &mut Item) -> Result<(), FieldError> {
    if resource.text(item, "title").is_none() && resource.text(item, "text").is_none() {
        return Err(FieldError::new(
            "text",
            "a note has a title, a text, or both",
        ));
    }
    fill(resource, item, "at", now);
    fill(resource, item, "uid", uid);
    Ok(())
}
