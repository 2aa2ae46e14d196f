//! Messages (R24 to R26): SMS, MMS and emails, those that came, those that went, and those that were only written.

use super::super::mime;
use super::super::resource::{
    BODY_BYTES_MAX, Field, FieldError, Item, Manager, Memory, OnCard, Resource, Shape, Sim, Value,
};
use super::super::sms_pdu;
use super::{DATA, fill, now};
use crate::gsm::sim::message_fits;
use crate::gsm::sms::split;

const DIRECTION: Field = Field::new("direction", Shape::Choice(&["in", "out"]));

/// How far a message is. One that a caller adds is `read` if it came, and `stored` if it is to go; sending is a service.
/// `interrupted`: the agent was ended while the radio had it, and nobody knows.
const STATE: Field = Field::new(
    "state",
    Shape::Choice(&[
        "received",
        "read",
        "stored",
        "sending",
        "sent",
        "delivered",
        "failed",
        "interrupted",
    ]),
)
.given();

/// Why a message is `failed`, in words.
const ERROR: Field = Field::new("error", Shape::Line { chars_max: 256 }).given();

const AT: Field = Field::new("at", Shape::Moment);
const FROM: Field = Field::new("from", Shape::Line { chars_max: 512 }).told();
const SUBJECT: Field = Field::new("subject", Shape::Line { chars_max: 1_000 }).told();
const TEXT: Field = Field::new("text", Shape::Text { chars_max: 100_000 }).told();
const MESSAGE_ID: Field = Field::new("message_id", Shape::Line { chars_max: 998 }).given();

/// What hangs on a message; the bytes of the n-th are at `parts/n` behind its URL.
const ATTACHMENTS: Field = Field::new(
    "attachments",
    Shape::Labelled {
        element: "attachment",
        label: "type",
        value: "name",
        entries_max: 64,
        chars_max: 255,
    },
)
.given();

const fn addresses(name: &'static str) -> Field {
    Field::new(
        name,
        Shape::Lines {
            element: name,
            entries_max: 256,
            chars_max: 512,
        },
    )
}

/// R24. A long one is one item, in as many parts as it took on the air.
pub static SMS: Resource = Resource {
    name: "sms",
    item: "message",
    manager: Manager::PersonalData,
    actions: DATA,
    memories: &[Memory::phone(100_000), Memory::card(ON_CARD)],
    fields: &[
        DIRECTION,
        Field::new("number", Shape::Line { chars_max: 32 })
            .required()
            .told(),
        Field::new("text", Shape::Text { chars_max: 39_015 }).told(),
        AT,
        STATE,
        Field::new("parts", Shape::Number(1, 255)).given(),
        Field::new("encoding", Shape::Choice(&["gsm-7", "8-bit", "ucs-2"])).given(),
        Field::new("reference", Shape::Number(0, 255)).given(),
        Field::new("delivered_at", Shape::Moment).given(),
        ERROR,
    ],
    forms: &[sms_pdu::FORM],
    content: None,
    complete: Some(complete_sms),
    body_bytes_max: BODY_BYTES_MAX,
};

/// What MMS and emails have alike: both travel as MIME messages.
const MESSAGE: &[Field] = &[
    DIRECTION,
    FROM,
    addresses("to").told(),
    addresses("cc").told(),
    addresses("bcc").told(),
    SUBJECT,
    AT,
    TEXT,
    STATE,
    MESSAGE_ID,
    ATTACHMENTS,
    ERROR,
];

/// R25.
pub static MMS: Resource = Resource {
    name: "mms",
    item: "message",
    manager: Manager::PersonalData,
    actions: DATA,
    memories: &[Memory::phone(20_000)],
    fields: MESSAGE,
    forms: &[mime::FORM],
    content: None,
    complete: Some(complete),
    body_bytes_max: 4 * BODY_BYTES_MAX,
};

/// R26.
pub static EMAILS: Resource = Resource {
    name: "emails",
    item: "email",
    manager: Manager::PersonalData,
    actions: DATA,
    memories: &[Memory::phone(100_000)],
    fields: MESSAGE,
    forms: &[mime::FORM],
    content: None,
    complete: Some(complete),
    body_bytes_max: 16 * BODY_BYTES_MAX,
};

/// What says neither that it came nor that it went was only written.
fn complete(resource: &Resource, item: &mut Item) -> Result<(), FieldError> {
    fill(resource, item, "direction", || "out".to_owned());
    let state = match resource.text(item, "direction") {
        Some("in") => "read",
        _ => "stored",
    };
    fill(resource, item, "state", || state.to_owned());
    fill(resource, item, "at", now);
    Ok(())
}

/// In what alphabet it would go, and in how many parts; a message as it travelled says so itself.
fn complete_sms(resource: &Resource, item: &mut Item) -> Result<(), FieldError> {
    complete(resource, item)?;
    if resource.value(item, "encoding").is_none() {
        let split = split(resource.text(item, "text").unwrap_or_default());
        let split = split.map_err(|error| FieldError::new("text", error.to_string()))?;
        let encoding = split.alphabet.name().to_owned();
        resource.put(item, "encoding", Value::Text(encoding));
        let parts = i64::try_from(split.parts.len()).unwrap_or(i64::MAX);
        resource.put(item, "parts", Value::Number(parts));
    }
    Ok(())
}

/// A record of a card's messages: one TPDU (TS 31.102, EF_SMS).
const ON_CARD: Sim = Sim {
    items_max: |card| card.sms_max,
    fits: |resource, item, _| {
        let text = |name| resource.text(item, name).unwrap_or_default();
        message_fits(text("number"), text("text"))
            .map_err(|misfit| FieldError::new(misfit.field, misfit.fault))
    },
    kept: OnCard::Keeps,
};
