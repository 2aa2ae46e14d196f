//! What the handset offers: a description that routes, formats, checks and storage are all derived from.
//!
//! [`super::descriptions`] has them; another resource is another [`Resource`] value in [`ALL`], and nothing else changes.
//! This file starts nothing: it holds the description, the item that fits it, and the check between the two.

use time::format_description::well_known::Rfc3339;

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
use crate::device::SimCard;

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

/// One of the handset's memories, as far as it holds items of one resource (R31).
#[derive(Debug)]
pub struct Memory {
    /// [`PHONE`] or [`SIM`].
    pub name: &'static str,
    /// Items that it holds at most; one more is answered 507.
    pub items_max: u64,
    /// Whether the oldest item goes when one comes that there is no room for, as in a log of calls.
    pub rolls: bool,
    /// What the card has to say, for a memory that is on it.
    pub sim: Option<Sim>,
}

/// The memory that is always there.
pub const PHONE: &str = "phone";

/// The memory of the card.
pub const SIM: &str = "sim";

/// How items of one resource lie on a SIM card. Only the card in the handset knows its limits.
#[derive(Debug, Clone, Copy)]
pub struct Sim {
    /// Items that this card has room for.
    pub items_max: fn(&SimCard) -> u64,
    /// Whether an item that is right in itself fits onto it, and if not why and what would.
    pub fits: Fits,
    /// Whether what was sent in a form that is kept lies there too; otherwise the card holds the fields alone.
    pub keeps: bool,
}

/// Holds an item against the limits of a card.
pub type Fits = fn(&Resource, &Item, &SimCard) -> Result<(), FieldError>;

impl Memory {
    /// The phone's, with room for so many.
    pub const fn phone(items_max: u64) -> Self {
        Self {
            name: PHONE,
            items_max,
            rolls: false,
            sim: None,
        }
    }

    /// The phone's, in which the oldest item makes room for a new one.
    pub const fn log(items_max: u64) -> Self {
        Self {
            name: PHONE,
            items_max,
            rolls: true,
            sim: None,
        }
    }

    /// The card's.
    pub const fn card(sim: Sim) -> Self {
        Self {
            name: SIM,
            items_max: u64::MAX,
            rolls: false,
            sim: Some(sim),
        }
    }

    /// Items that it holds at most, with this card in the handset.
    pub fn items_max(&self, card: Option<&SimCard>) -> u64 {
        match (&self.sim, card) {
            (Some(sim), Some(card)) => (sim.items_max)(card).min(self.items_max),
            (Some(_), None) => 0,
            (None, _) => self.items_max,
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

/// What one field of an item holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of a [`Shape::Line`], a [`Shape::Text`], a [`Shape::Choice`] or a [`Shape::Moment`].
    Text(String),
    /// Of a [`Shape::Number`].
    Number(i64),
    /// Of a [`Shape::Flag`].
    Flag(bool),
    /// Of a [`Shape::Lines`].
    Lines(Vec<String>),
    /// Of a [`Shape::Labelled`].
    Entries(Vec<Entry>),
}

/// One value with its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `cell`, `home`, `work`…
    pub label: String,
    /// The number, the address…
    pub value: String,
}

/// An item's values, one for each field of its description, in the same order. `None`: not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item(Vec<Option<Value>>);

/// A field that does not fit the description: the caller's fault, and which one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {fault}")]
pub struct FieldError {
    /// Path of the field as the caller wrote it: `name`, `phones[1].number`.
    pub field: String,
    /// What is wrong with it.
    pub fault: String,
}

impl FieldError {
    /// A fault of one field.
    pub fn new(field: impl Into<String>, fault: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            fault: fault.into(),
        }
    }
}

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

    /// What an item says in the field of this name.
    pub fn value<'a>(&self, item: &'a Item, name: &str) -> Option<&'a Value> {
        let (position, _) = self.field(name)?;
        item.0.get(position)?.as_ref()
    }

    /// What an item says in the field of text of this name.
    pub fn text<'a>(&self, item: &'a Item, name: &str) -> Option<&'a str> {
        match self.value(item, name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Makes an item say this in the field of this name, whatever it said before. The name is the description's own.
    pub fn put(&self, item: &mut Item, name: &str, value: impl Into<Option<Value>>) {
        let slot = self
            .field(name)
            .and_then(|(position, _)| item.0.get_mut(position));
        debug_assert!(slot.is_some(), "{} has no {name}", self.name);
        if let Some(slot) = slot {
            *slot = value.into();
        }
    }

    /// An item of this resource with nothing in it yet.
    pub fn blank(&self) -> Item {
        Item(vec![None; self.fields.len()])
    }

    /// Takes an item that came from outside: trims what people leave around, then holds it against the description.
    pub fn check(&self, mut item: Item) -> Result<Item, FieldError> {
        for (field, value) in self.fields.iter().zip(&mut item.0) {
            field.check(value)?;
        }
        Ok(item)
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

    fn check(&self, value: &mut Option<Value>) -> Result<(), FieldError> {
        match (&self.shape, value.as_mut()) {
            (_, None) => {}
            (Shape::Line { chars_max }, Some(Value::Text(text))) => {
                tidy(text, self.name, *chars_max, false)?;
            }
            (Shape::Text { chars_max }, Some(Value::Text(text))) => {
                tidy(text, self.name, *chars_max, true)?;
            }
            (Shape::Choice(words), Some(Value::Text(text))) => {
                if !words.contains(&text.as_str()) {
                    let fault = format!("must be one of {}", words.join(", "));
                    return Err(FieldError::new(self.name, fault));
                }
            }
            (Shape::Moment, Some(Value::Text(text))) => {
                if time::OffsetDateTime::parse(text, &Rfc3339).is_err() {
                    let fault = "must be a date and time like 2026-11-23T12:00:00Z (RFC 3339)";
                    return Err(FieldError::new(self.name, fault));
                }
            }
            (Shape::Number(least, most), Some(Value::Number(number))) => {
                if !(least..=most).contains(&&*number) {
                    let fault = format!("must be a whole number from {least} to {most}");
                    return Err(FieldError::new(self.name, fault));
                }
            }
            (Shape::Flag, Some(Value::Flag(_))) => {}
            (Shape::Lines { .. }, Some(Value::Lines(lines))) => self.check_lines(lines)?,
            (Shape::Labelled { .. }, Some(Value::Entries(entries))) => {
                self.check_entries(entries)?;
            }
            (_, Some(_)) => return Err(FieldError::new(self.name, "is of the wrong kind")),
        }
        let blank = match value {
            None => true,
            Some(Value::Text(text)) => text.is_empty(),
            Some(Value::Lines(lines)) => lines.is_empty(),
            Some(Value::Entries(entries)) => entries.is_empty(),
            Some(Value::Number(_) | Value::Flag(_)) => false,
        };
        if blank && self.required {
            return Err(FieldError::new(
                self.name,
                "is required, and must not be blank",
            ));
        }
        if blank {
            *value = None;
        }
        Ok(())
    }

    fn check_lines(&self, lines: &mut [String]) -> Result<(), FieldError> {
        let Shape::Lines {
            entries_max,
            chars_max,
            ..
        } = self.shape
        else {
            return Ok(());
        };
        self.check_count(lines.len(), entries_max)?;
        for (at, line) in lines.iter_mut().enumerate() {
            let name = format!("{}[{at}]", self.name);
            tidy(line, &name, chars_max, false)?;
            if line.is_empty() {
                return Err(FieldError::new(name, "must not be blank"));
            }
        }
        Ok(())
    }

    fn check_count(&self, entries: usize, entries_max: usize) -> Result<(), FieldError> {
        if entries > entries_max {
            let fault = format!("has {entries} entries; {entries_max} are the most");
            return Err(FieldError::new(self.name, fault));
        }
        Ok(())
    }

    fn check_entries(&self, entries: &mut [Entry]) -> Result<(), FieldError> {
        let Shape::Labelled {
            label,
            value,
            entries_max,
            chars_max,
            ..
        } = self.shape
        else {
            return Ok(());
        };
        self.check_count(entries.len(), entries_max)?;
        for (at, entry) in entries.iter_mut().enumerate() {
            let name = format!("{}[{at}].{label}", self.name);
            tidy(&mut entry.label, &name, LABEL_CHARS_MAX, false)?;
            if entry.label.is_empty() {
                LABEL_DEFAULT.clone_into(&mut entry.label);
            }
            let name = format!("{}[{at}].{value}", self.name);
            tidy(&mut entry.value, &name, chars_max, false)?;
            if entry.value.is_empty() {
                return Err(FieldError::new(name, "must not be blank"));
            }
        }
        Ok(())
    }
}

impl Item {
    /// The values in the order of the description's fields.
    pub fn values(&self) -> &[Option<Value>] {
        &self.0
    }

    /// Sets the field at this position, as [`Resource::field`] told it; `false` if it was set before.
    pub fn set(&mut self, position: usize, value: Value) -> bool {
        match self.0.get_mut(position) {
            Some(slot @ None) => {
                *slot = Some(value);
                true
            }
            _ => false,
        }
    }

    /// Adds one line to the field of lines at this position.
    pub fn push_line(&mut self, position: usize, line: String) {
        match self.0.get_mut(position) {
            Some(Some(Value::Lines(lines))) => lines.push(line),
            Some(slot) => *slot = Some(Value::Lines(vec![line])),
            None => {}
        }
    }

    /// Adds one entry to the labelled field at this position.
    pub fn push(&mut self, position: usize, entry: Entry) {
        match self.0.get_mut(position) {
            Some(Some(Value::Entries(entries))) => entries.push(entry),
            Some(slot) => *slot = Some(Value::Entries(vec![entry])),
            None => {}
        }
    }
}

/// Trims `text` and refuses what is too long or can't be shown in XML 1.0 as well as in JSON.
fn tidy(text: &mut String, name: &str, chars_max: usize, lines: bool) -> Result<(), FieldError> {
    if lines && text.contains('\r') {
        *text = text.replace("\r\n", "\n").replace('\r', "\n");
    }
    let trimmed = text.trim();
    if trimmed.len() != text.len() {
        *text = trimmed.to_owned();
    }
    let chars = text.chars().count();
    if chars > chars_max {
        return Err(FieldError::new(
            name,
            format!("has {chars} characters; {chars_max} are the most"),
        ));
    }
    let odd = |c: char| {
        let line_break = matches!(c, '\n' | '\t') && lines;
        (c.is_control() && !line_break) || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    match text.chars().find(|c| odd(*c)) {
        Some(c) => Err(FieldError::new(
            name,
            format!("holds the control character U+{:04X}", u32::from(c)),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Item {
        let mut item = CONTACTS.blank();
        item.set(0, Value::Text(name.to_owned()));
        item
    }

    #[test]
    fn r29_an_item_is_trimmed_and_its_empty_fields_are_dropped() {
        let mut item = named("  Ada\t");
        let (note, _) = CONTACTS.field("note").unwrap();
        item.set(note, Value::Text(" \r\n ".to_owned()));
        assert_eq!(CONTACTS.check(item), Ok(named("Ada")));
    }

    #[test]
    fn r29_what_does_not_fit_is_refused_by_name() {
        let fault = |item| CONTACTS.check(item).unwrap_err().to_string();
        assert_eq!(
            fault(CONTACTS.blank()),
            "name: is required, and must not be blank"
        );
        assert_eq!(
            fault(named("A\u{1}")),
            "name: holds the control character U+0001"
        );
        assert!(fault(named(&"a".repeat(1000))).contains("characters"));
        let (phones, _) = CONTACTS.field("phones").unwrap();
        let mut item = named("Ada");
        item.push(
            phones,
            Entry {
                label: String::new(),
                value: " ".to_owned(),
            },
        );
        assert_eq!(fault(item), "phones[0].number: must not be blank");
    }

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
