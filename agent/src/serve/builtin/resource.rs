//! What a piece of personal data is: a description that routes, formats, checks and storage are all derived from.
//!
//! [`super::contacts`] is one; another resource is another [`Resource`] value in [`ALL`], and nothing else changes.
//! This file starts nothing: it holds the description, the item that fits it, and the check between the two.

use super::contacts;
use super::vcard::Card;

/// Every resource of this handset, in the order in which `GET /` lists them.
pub const ALL: &[&Resource] = &[&contacts::CONTACTS];

/// One kind of personal data (R18 to R26): the collection `/name` and its items `/name/{id}`.
#[derive(Debug)]
pub struct Resource {
    /// Path segment, JSON list key, XML list element and table name: lower-case ASCII letters.
    pub name: &'static str,
    /// XML element of one item.
    pub item: &'static str,
    /// Where items can be kept (R31); the first is where an added one goes.
    pub stores: &'static [&'static str],
    /// The item's fields, in the order in which they are shown.
    pub fields: &'static [Field],
    /// Items that the handset keeps at most; one more is answered 507.
    pub items_max: u64,
    /// How a card of an uploaded or imported `text/vcard` becomes an item, for a resource that has such a form.
    pub from_vcard: Option<FromVcard>,
}

/// Makes a checked item of a card.
pub type FromVcard = fn(&Card) -> Result<Item, FieldError>;

/// One field of an item.
#[derive(Debug)]
pub struct Field {
    /// JSON key.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Whether an item without it is refused.
    pub required: bool,
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
pub const LABEL_CHARS_MAX: usize = 32;

/// The label of an entry that came without one.
pub const LABEL_DEFAULT: &str = "other";

/// What one field of an item holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of a [`Shape::Line`] or a [`Shape::Text`].
    Text(String),
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
            Shape::Line { .. } | Shape::Text { .. } => self.name,
            Shape::Labelled { element, .. } => element,
        }
    }

    fn check(&self, value: &mut Option<Value>) -> Result<(), FieldError> {
        match (&self.shape, value.as_mut()) {
            (Shape::Line { chars_max }, Some(Value::Text(text))) => {
                tidy(text, self.name, *chars_max, false)?;
            }
            (Shape::Text { chars_max }, Some(Value::Text(text))) => {
                tidy(text, self.name, *chars_max, true)?;
            }
            (Shape::Labelled { .. }, Some(Value::Entries(entries))) => {
                self.check_entries(entries)?;
            }
            (_, None) => {}
            (_, Some(_)) => return Err(FieldError::new(self.name, "is of the wrong kind")),
        }
        let blank = match value {
            None => true,
            Some(Value::Text(text)) => text.is_empty(),
            Some(Value::Entries(entries)) => entries.is_empty(),
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
        if entries.len() > entries_max {
            return Err(FieldError::new(
                self.name,
                format!("has {} entries; {entries_max} are the most", entries.len()),
            ));
        }
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
        let mut item = contacts::CONTACTS.blank();
        item.set(0, Value::Text(name.to_owned()));
        item
    }

    #[test]
    fn r29_an_item_is_trimmed_and_its_empty_fields_are_dropped() {
        let mut item = named("  Ada\t");
        let (note, _) = contacts::CONTACTS.field("note").unwrap();
        item.set(note, Value::Text(" \r\n ".to_owned()));
        assert_eq!(contacts::CONTACTS.check(item), Ok(named("Ada")));
    }

    #[test]
    fn r29_what_does_not_fit_is_refused_by_name() {
        let fault = |item| contacts::CONTACTS.check(item).unwrap_err().to_string();
        assert_eq!(
            fault(contacts::CONTACTS.blank()),
            "name: is required, and must not be blank"
        );
        assert_eq!(
            fault(named("A\u{1}")),
            "name: holds the control character U+0001"
        );
        assert!(fault(named(&"a".repeat(1000))).contains("characters"));
        let (phones, _) = contacts::CONTACTS.field("phones").unwrap();
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
            assert!(resource.name.bytes().all(|b| b.is_ascii_lowercase()));
            assert!(!resource.stores.is_empty());
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
