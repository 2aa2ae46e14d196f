//! What the handset offers: a description that routes, formats, checks and storage are all derived from.
//!
//! [`super::descriptions`] has them; another resource is another [`Resource`] value in [`ALL`], and nothing else changes.
//! This starts nothing: it holds the description, the [`item`] that fits it, the [`check`] between the two, and the
//! [`memory`] where items can be.

pub mod check;
pub mod item;
pub mod memory;

use super::contacts::CONTACTS;
use super::descriptions::{
    CALENDAR, EMAILS, IMAGES, INCOMING_CALLS, MMS, NOTES, OUTGOING_CALLS, SMS, SOUNDS, VIDEOS,
};
use super::events::stream::EVENTS;
use super::services::descriptions::{
    CALL, DIVERT, PHOTOGRAPH, RECORD_VIDEO, SEND_EMAIL, SEND_MMS, SEND_SMS,
};
use super::state::{BATTERY, COVERAGE, MODE};
use super::store::Stored;
pub use item::{Entry, FieldError, Item, Value};
pub use memory::{Fits, Memory, OnCard, PHONE, SIM, Sim};

/// Every resource of this handset, in the order in which `GET /` lists them.
pub const ALL: &[&Resource] = &[
    &CONTACTS,
    &NOTES,
    &CALENDAR,
    &IMAGES,
    &SOUNDS,
    &VIDEOS,
    &SMS,
    &MMS,
    &EMAILS,
    &INCOMING_CALLS,
    &OUTGOING_CALLS,
    &BATTERY,
    &COVERAGE,
    &MODE,
    &CALL,
    &DIVERT,
    &SEND_SMS,
    &SEND_MMS,
    &SEND_EMAIL,
    &PHOTOGRAPH,
    &RECORD_VIDEO,
    &EVENTS,
];

/// One kind of personal data, one piece of state or one service, at a URL of its own (R12, R14).
#[derive(Debug)]
pub struct Resource {
    /// Its name everywhere: path segment, JSON list key, XML list element, table, access lists. Lower-case ASCII letters
    /// and hyphens, and no other resource's.
    pub name: &'static str,
    /// XML element of one item.
    pub item: &'static str,
    /// Who does what is asked of it (R15); also says where its URLs begin.
    pub manager: Manager,
    /// What may be asked of it; anything else is answered 405.
    pub actions: &'static [Action],
    /// Where items can be kept (R31); the first is where an added one goes that names none. Empty for what is read from
    /// the device or executed, and not kept.
    pub memories: &'static [Memory],
    /// The item's fields, in the order in which they are shown.
    pub fields: &'static [Field],
    /// The forms that items have beside JSON and XML.
    pub forms: &'static [Form],
    /// What an item carries beside its fields; `None`: nothing that a caller sends as it is.
    pub content: Option<Content>,
    /// Gives an item that a caller adds what the handset gives, and holds its fields against each other; `None`: nothing.
    pub complete: Option<Complete>,
    /// Bytes of a body with one item at most, in any form that is not [`Self::content`].
    pub body_bytes_max: usize,
}

/// Bytes of a body for most resources: a vCard with a photograph fits.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of what an item was sent as that are read again, to be told in this or another form, at most. What came by
/// itself or from a file may be longer than a body.
pub const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// See [`Resource::complete`].
pub type Complete = fn(&Resource, &mut Item) -> Result<(), FieldError>;

/// The three managers of the patent (R15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// `/contacts`: lists and items.
    PersonalData,
    /// `/state/battery`.
    State,
    /// `/services/call`.
    Service,
}

/// What can be asked of a resource; the access list knows each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// GET on the collection (R27).
    List,
    /// GET on an item, or on a piece of state (R28).
    Get,
    /// POST on the collection, from outside or from another store (R29).
    Add,
    /// DELETE on an item (R30).
    Delete,
    /// DELETE on the collection.
    DeleteAll,
    /// POST on a service (R40 to R46).
    Execute,
}

impl Action {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::List,
        Self::Get,
        Self::Add,
        Self::Delete,
        Self::DeleteAll,
        Self::Execute,
    ];

    /// `list`, `get`, `add`, `delete`, `delete-all`, `execute`.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Get => "get",
            Self::Add => "add",
            Self::Delete => "delete",
            Self::DeleteAll => "delete-all",
            Self::Execute => "execute",
        }
    }
}

/// A form of items beside JSON and XML. A list is its items' forms in a row, between [`Form::list`]'s parts.
#[derive(Debug)]
pub struct Form {
    /// The media type by which it is asked for and told, without parameters: `text/vcard`.
    pub media_type: &'static str,
    /// What is said behind it in `Content-Type`: `; version=4.0; charset=utf-8`.
    pub parameters: &'static str,
    /// Other media types by which it may be sent: `text/x-vcard`.
    pub also_read: &'static [&'static str],
    /// Reads one item; `None`: it can't be sent.
    pub read: Option<Read>,
    /// Writes one item; what it was sent as (see [`Form::kept`]) comes with it.
    pub write: Write,
    /// What stands before, between and behind the items of a list; `None`: a list has no such form.
    pub list: Option<(&'static str, &'static str, &'static str)>,
    /// Whether what was sent in this form is kept word for word beside the fields, so that nothing of it is lost.
    pub kept: bool,
}

/// Makes an item of a body, not yet checked.
pub type Read = fn(&Resource, &[u8]) -> Result<Item, FieldError>;

/// Writes an item; the bytes are what was sent, with its media type, for an item that kept it.
pub type Write = fn(&Resource, &Stored, Option<(&str, &[u8])>) -> Vec<u8>;

/// Bytes that an item is about: a picture, a film, a message as it travelled.
#[derive(Debug)]
pub struct Content {
    /// Media types that are taken, the first one as an example in errors.
    pub media_types: &'static [&'static str],
    /// Bytes at most.
    pub bytes_max: u64,
}

/// One field of an item.
#[derive(Debug)]
pub struct Field {
    /// JSON key.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Whether an item without it is refused.
    pub required: bool,
    /// Whether the handset gives it: an item that is sent must not have it.
    pub given: bool,
    /// Whether the owner is shown it when asked for consent.
    pub told: bool,
}

impl Field {
    /// A field of this shape that may be there.
    pub const fn new(name: &'static str, shape: Shape) -> Self {
        Self {
            name,
            shape,
            required: false,
            given: false,
            told: false,
        }
    }

    /// One that must be there.
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// One that the handset gives.
    pub const fn given(mut self) -> Self {
        self.given = true;
        self
    }

    /// One that the owner is shown.
    pub const fn told(mut self) -> Self {
        self.told = true;
        self
    }
}

/// What a field holds, and how it looks in XML.
#[derive(Debug)]
pub enum Shape {
    /// Text on one line: `"name": "Ada"`, `<name>Ada</name>`.
    Line {
        /// Unicode characters at most.
        chars_max: usize,
    },
    /// Text with line breaks.
    Text {
        /// Unicode characters at most.
        chars_max: usize,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A date and time of RFC 3339 with its offset: `2026-11-23T12:00:00Z`.
    Moment,
    /// A whole number from the first to the second: `"bars": 4`.
    Number(i64, i64),
    /// `true` or `false`.
    Flag,
    /// Texts on one line each: `"to": ["1", "2"]`, `<to>1</to><to>2</to>`.
    Lines {
        /// XML element of one entry.
        element: &'static str,
        /// Entries at most.
        entries_max: usize,
        /// Unicode characters of an entry at most.
        chars_max: usize,
    },
    /// Values with a label each: `"phones": [{"type": "cell", "number": "1"}]`, `<phone type="cell">1</phone>`.
    Labelled {
        /// XML element of one entry.
        element: &'static str,
        /// JSON key and XML attribute of the label; an entry without one is labelled `other`.
        label: &'static str,
        /// JSON key of the value.
        value: &'static str,
        /// Entries at most.
        entries_max: usize,
        /// Unicode characters of a value at most.
        chars_max: usize,
    },
}

/// Unicode characters of an entry's label at most.
pub const LABEL_CHARS_MAX: usize = 127;

/// The label of an entry that came without one.
pub const LABEL_DEFAULT: &str = "other";

impl Resource {
    /// Where its URLs begin, without the slash: `contacts`, `state/battery`, `services/call`.
    pub fn path(&self) -> String {
        match self.manager {
            Manager::PersonalData => self.name.to_owned(),
            Manager::State => format!("state/{}", self.name),
            Manager::Service => format!("services/{}", self.name),
        }
    }

    /// The memory of this name.
    pub fn memory(&self, name: &str) -> Option<&'static Memory> {
        self.memories.iter().find(|memory| memory.name == name)
    }

    /// Whether it is a list of items that are kept, and no single piece of state and no service.
    pub fn is_collection(&self) -> bool {
        !self.memories.is_empty()
    }

    /// Whether this may be asked of it.
    pub fn has(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }

    /// The field of this JSON key and its position in an [`Item`].
    pub fn field(&self, name: &str) -> Option<(usize, &'static Field)> {
        self.fields
            .iter()
            .enumerate()
            .find(|(_, field)| field.name == name)
    }

    /// The field of this XML element and its position in an [`Item`].
    pub fn element(&self, name: &str) -> Option<(usize, &'static Field)> {
        self.fields
            .iter()
            .enumerate()
            .find(|(_, field)| field.element() == name)
    }
}

impl Field {
    /// The XML element that carries this field, or one entry of it.
    pub fn element(&self) -> &'static str {
        match self.shape {
            Shape::Lines { element, .. } | Shape::Labelled { element, .. } => element,
            _ => self.name,
        }
    }

    /// Whether it holds any number of values.
    pub fn is_list(&self) -> bool {
        matches!(self.shape, Shape::Lines { .. } | Shape::Labelled { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_can_be_routed_and_stored() {
        for resource in ALL {
            let named = |b: u8| b.is_ascii_lowercase() || b == b'-';
            assert!(resource.name.bytes().all(named));
            let mut elements: Vec<_> = resource.fields.iter().map(Field::element).collect();
            elements.sort_unstable();
            elements.dedup();
            assert_eq!(
                elements.len(),
                resource.fields.len(),
                "two fields share an element"
            );
            assert!(
                resource
                    .fields
                    .iter()
                    .all(|f| !["id", "store"].contains(&f.name))
            );
        }
    }
}
