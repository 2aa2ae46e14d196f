//! The call logs (R32 to R35): what the handset itself wrote down of its calls. Nobody adds to them from outside.

use super::super::resource::{Action, BODY_BYTES_MAX, Field, Manager, Memory, Resource, Shape};

const LOG: &[Action] = &[Action::List, Action::Get, Action::Delete, Action::DeleteAll];

/// Calls of each log; the oldest goes when one more comes.
const CALLS_MAX: u64 = 1_000;

const FIELDS: &[Field] = &[
    // Not there for a number that is withheld.
    Field::new("number", Shape::Line { chars_max: 32 })
        .given()
        .told(),
    Field::new("at", Shape::Moment).given().told(),
    Field::new(
        "outcome",
        Shape::Choice(&["answered", "no-answer", "busy", "failed"]),
    )
    .given(),
    Field::new("length_s", Shape::Number(0, i64::MAX)).given(),
];

/// R32, R33.
pub static INCOMING_CALLS: Resource = Resource {
    name: "incoming-calls",
    item: "call",
    manager: Manager::PersonalData,
    actions: LOG,
    memories: &[Memory::log(CALLS_MAX)],
    fields: FIELDS,
    forms: &[],
    content: None,
    complete: None,
    body_bytes_max: BODY_BYTES_MAX,
};

/// R34, R35.
pub static OUTGOING_CALLS: Resource = Resource {
    name: "outgoing-calls",
    item: "call",
    manager: Manager::PersonalData,
    actions: LOG,
    memories: &[Memory::log(CALLS_MAX)],
    fields: FIELDS,
    forms: &[],
    content: None,
    complete: None,
    body_bytes_max: BODY_BYTES_MAX,
};
