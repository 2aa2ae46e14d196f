//! An item that fits a description: its values, field by field.

use super::Resource;

/// What one field of an item holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of a [`Shape::Line`](super::Shape::Line), a [`Shape::Text`](super::Shape::Text), a [`Shape::Choice`](super::Shape::Choice) or a [`Shape::Moment`](super::Shape::Moment).
    Text(String),
    /// Of a [`Shape::Number`](super::Shape::Number).
    Number(i64),
    /// Of a [`Shape::Flag`](super::Shape::Flag).
    Flag(bool),
    /// Of a [`Shape::Lines`](super::Shape::Lines).
    Lines(Vec<String>),
    /// Of a [`Shape::Labelled`](super::Shape::Labelled).
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
pub struct Item(pub(super) Vec<Option<Value>>);

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
