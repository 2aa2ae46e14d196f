//! The descriptions of the services (R40 to R46): what each has to be told, and what of it the owner is shown.

use super::super::resource::{Action, BODY_BYTES_MAX, Field, Manager, Resource, Shape};

const NUMBER: Shape = Shape::Line { chars_max: 32 };
const SUBJECT: Field = Field::new("subject", Shape::Line { chars_max: 1_000 }).told();
const TEXT: Field = Field::new("text", Shape::Text { chars_max: 100_000 }).told();
const TITLE: Field = Field::new("title", Shape::Line { chars_max: 256 }).told();

/// What goes with a message: URLs of this handset's own images, sounds and videos.
const ATTACH: Field = Field::new(
    "attach",
    Shape::Lines {
        element: "attach",
        entries_max: 16,
        chars_max: 64,
    },
)
.told();

/// R40.
pub static CALL: Resource = service("call", &[Field::new("number", NUMBER).required().told()]);

/// R41. It can be read back, too: all four reasons, each with where its calls go.
pub static DIVERT: Resource = Resource {
    actions: &[
        Action::Execute,
        Action::Get,
        Action::Delete,
        Action::DeleteAll,
    ],
    item: "diversion",
    ..service(
        "divert",
        &[
            Field::new(
                "reason",
                Shape::Choice(&["unconditional", "busy", "no-answer", "unreachable"]),
            )
            .required()
            .told(),
            Field::new("to", NUMBER).required().told(),
            Field::new("after_s", Shape::Number(5, 30)).told(),
        ],
    )
};

/// R42.
pub static SEND_SMS: Resource = service(
    "send-sms",
    &[
        Field::new("number", NUMBER).required().told(),
        Field::new("text", Shape::Text { chars_max: 39_015 })
            .required()
            .told(),
    ],
);

/// R43.
pub static SEND_MMS: Resource = service(
    "send-mms",
    &[recipients("to", 20).required(), SUBJECT, TEXT, ATTACH],
);

/// R44.
pub static SEND_EMAIL: Resource = service(
    "send-email",
    &[
        recipients("to", 100).required(),
        recipients("cc", 100),
        recipients("bcc", 100),
        SUBJECT,
        TEXT,
        ATTACH,
    ],
);

/// R45.
pub static PHOTOGRAPH: Resource = service("photograph", &[TITLE]);

/// R46.
pub static RECORD_VIDEO: Resource = service(
    "record-video",
    &[Field::new("length_s", Shape::Number(1, 60)).told(), TITLE],
);

const fn recipients(name: &'static str, entries_max: usize) -> Field {
    Field::new(
        name,
        Shape::Lines {
            element: name,
            entries_max,
            chars_max: 512,
        },
    )
    .told()
}

const fn service(name: &'static str, fields: &'static [Field]) -> Resource {
    Resource {
        name,
        item: name,
        manager: Manager::Service,
        actions: &[Action::Execute],
        memories: &[],
        fields,
        forms: &[],
        content: None,
        complete: None,
        body_bytes_max: BODY_BYTES_MAX,
    }
}
