//! The calendar (R20): events and tasks.

use super::super::icalendar;
use super::super::resource::{
    BODY_BYTES_MAX, Field, FieldError, Item, Manager, Memory, Resource, Shape,
};
use super::{DATA, fill, uid};

/// R20. `begins` and `ends` are moments; `zone` says by which clock an event that repeats goes on, and for one that lasts
/// `all_day` the days of the two count.
pub static CALENDAR: Resource = Resource {
    name: "calendar",
    item: "entry",
    manager: Manager::PersonalData,
    actions: DATA,
    memories: &[Memory::phone(50_000)],
    fields: &[
        Field::new("kind", Shape::Choice(&["event", "task"])),
        Field::new("title", Shape::Line { chars_max: 512 })
            .required()
            .told(),
        Field::new("begins", Shape::Moment).told(),
        Field::new("ends", Shape::Moment).told(),
        Field::new("all_day", Shape::Flag),
        Field::new("zone", Shape::Line { chars_max: 64 }),
        Field::new("location", Shape::Line { chars_max: 512 }).told(),
        Field::new("description", Shape::Text { chars_max: 32_768 }),
        Field::new("recurrence", Shape::Line { chars_max: 512 }),
        Field::new(
            "attendees",
            Shape::Lines {
                element: "attendee",
                entries_max: 256,
                chars_max: 320,
            },
        ),
        Field::new("alarm_min", Shape::Number(0, 527_040)),
        Field::new(
            "status",
            Shape::Choice(&[
                "tentative",
                "confirmed",
                "cancelled",
                "needs-action",
                "in-process",
                "completed",
            ]),
        ),
        Field::new("uid", Shape::Line { chars_max: 255 }),
    ],
    forms: &[icalendar::CALENDAR_FORM],
    content: None,
    complete: Some(complete),
    body_bytes_max: BODY_BYTES_MAX,
};

fn complete(resource: &Resource, item: &mut Item) -> Result<(), FieldError> {
    fill(resource, item, "kind", || "event".to_owned());
    let is_event = resource.text(item, "kind") == Some("event");
    if is_event && resource.text(item, "begins").is_none() {
        let fault = "is required for an event; a task may go without it";
        return Err(FieldError::new("begins", fault));
    }
    fill(resource, item, "uid", uid);
    Ok(())
}
