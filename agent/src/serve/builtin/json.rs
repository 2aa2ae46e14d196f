//! Items as JSON: to and from the caller, and the form in which the store keeps them.
//!
//! Decoding knows only the description: an unknown key is refused, and every fault names its field.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value as Json;

use super::personal_data::Page;
use super::resource::{Entry, FieldError, Item, LABEL_DEFAULT, Resource, Shape, Value};
use super::store::Stored;

/// One stored item: `{"id": "1", "store": "phone", …}`. What is not kept has no id, and no store either.
pub fn item(resource: &Resource, stored: &Stored) -> Vec<u8> {
    bytes(&Keyed { resource, stored })
}

/// One page of a list: `{"contacts": […], "next": null}`.
pub fn list(resource: &Resource, page: &Page) -> Vec<u8> {
    bytes(&Listed { resource, page })
}

/// What the store keeps: the fields alone.
pub fn content(resource: &Resource, item: &Item) -> String {
    String::from_utf8(bytes(&Fields { resource, item })).unwrap_or_default()
}

/// Why a field that the handset gives is refused.
pub const GIVEN: &str = "is given by the handset, and can't be sent";

/// Reads an item that a caller sent, not yet checked against lengths and requirements.
pub fn decode(resource: &Resource, body: &[u8]) -> Result<Item, FieldError> {
    read(resource, body, false)
}

/// Reads an item that [`content`] wrote.
pub fn restore(resource: &Resource, content: &[u8]) -> Result<Item, FieldError> {
    read(resource, content, true)
}

fn read(resource: &Resource, body: &[u8], ours: bool) -> Result<Item, FieldError> {
    let fault = |fault: String| FieldError::new("body", fault);
    let json: Json =
        serde_json::from_slice(body).map_err(|e| fault(format!("is not JSON: {e}")))?;
    let Json::Object(object) = json else {
        return Err(fault("must be one JSON object".to_owned()));
    };
    let mut item = resource.blank();
    for (key, json) in object {
        let Some((position, field)) = resource.field(&key) else {
            return Err(unknown(&key, resource.fields.iter().map(|f| f.name)));
        };
        // Nothing is what every field may say: an item is shown with its empty lists.
        if json.is_null() || json.as_array().is_some_and(Vec::is_empty) && field.is_list() {
            continue;
        }
        if field.given && !ours {
            return Err(FieldError::new(key, GIVEN));
        }
        let fault = |fault: &str| Err(FieldError::new(key.clone(), fault));
        match (&field.shape, json) {
            (Shape::Lines { .. }, Json::Array(lines)) => {
                for (at, json) in lines.into_iter().enumerate() {
                    let Json::String(line) = json else {
                        return Err(FieldError::new(format!("{key}[{at}]"), "must be text"));
                    };
                    item.push_line(position, line);
                }
            }
            (Shape::Labelled { label, value, .. }, Json::Array(entries)) => {
                for (at, json) in entries.into_iter().enumerate() {
                    let place = format!("{key}[{at}]");
                    item.push(position, entry(json, &place, label, value)?);
                }
            }
            (Shape::Lines { .. } | Shape::Labelled { .. }, _) => return fault("must be a list"),
            (Shape::Number(..), json) => match json.as_i64() {
                Some(number) => drop(item.set(position, Value::Number(number))),
                None => return fault("must be a whole number"),
            },
            (Shape::Flag, Json::Bool(flag)) => drop(item.set(position, Value::Flag(flag))),
            (Shape::Flag, _) => return fault("must be true or false"),
            (_, Json::String(text)) => drop(item.set(position, Value::Text(text))),
            (_, _) => return fault("must be text"),
        }
    }
    Ok(item)
}

fn entry(json: Json, place: &str, label: &str, value: &str) -> Result<Entry, FieldError> {
    let Json::Object(object) = json else {
        return Err(FieldError::new(
            place,
            format!("must be an object with {label} and {value}"),
        ));
    };
    let mut entry = Entry {
        label: LABEL_DEFAULT.to_owned(),
        value: String::new(),
    };
    for (key, json) in object {
        let place = format!("{place}.{key}");
        let Json::String(text) = json else {
            return Err(FieldError::new(place, "must be text"));
        };
        if key == label {
            entry.label = text;
        } else if key == value {
            entry.value = text;
        } else {
            return Err(unknown(&place, [label, value].into_iter()));
        }
    }
    Ok(entry)
}

/// The fault of a key that no description has. The key is the caller's, so only a short one is repeated.
pub fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> FieldError {
    let known: Vec<_> = known.collect();
    let shown: String = key.chars().filter(|c| !c.is_control()).take(64).collect();
    FieldError::new(
        shown,
        format!("is not a field here; the fields are {}", known.join(", ")),
    )
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    // Maps with text keys and text values always serialize; only a writer could fail, and a Vec does not.
    serde_json::to_vec(value).unwrap_or_default()
}

struct Listed<'a> {
    resource: &'a Resource,
    page: &'a Page,
}

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.resource.name, &Rows(self))?;
        map.serialize_entry("next", &self.page.next)?;
        map.end()
    }
}

struct Rows<'a>(&'a Listed<'a>);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Listed { resource, page } = self.0;
        let mut rows = serializer.serialize_seq(Some(page.items.len()))?;
        for stored in &page.items {
            rows.serialize_element(&Keyed { resource, stored })?;
        }
        rows.end()
    }
}

struct Keyed<'a> {
    resource: &'a Resource,
    stored: &'a Stored,
}

impl Serialize for Keyed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.stored.id != 0 {
            map.serialize_entry("id", &self.stored.id.to_string())?;
        }
        if !self.stored.store.is_empty() {
            map.serialize_entry("store", &self.stored.store)?;
        }
        fields(&mut map, self.resource, &self.stored.item)?;
        map.end()
    }
}

struct Fields<'a> {
    resource: &'a Resource,
    item: &'a Item,
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        fields(&mut map, self.resource, self.item)?;
        map.end()
    }
}

fn fields<M: SerializeMap>(map: &mut M, resource: &Resource, item: &Item) -> Result<(), M::Error> {
    for (field, value) in resource.fields.iter().zip(item.values()) {
        match (&field.shape, value) {
            (_, Some(Value::Text(text))) => map.serialize_entry(field.name, text)?,
            (_, Some(Value::Number(number))) => map.serialize_entry(field.name, number)?,
            (_, Some(Value::Flag(flag))) => map.serialize_entry(field.name, flag)?,
            (Shape::Lines { .. }, lines) => {
                let lines = match lines {
                    Some(Value::Lines(lines)) => lines.as_slice(),
                    _ => &[],
                };
                map.serialize_entry(field.name, lines)?;
            }
            (Shape::Labelled { label, value, .. }, entries) => {
                let entries = match entries {
                    Some(Value::Entries(entries)) => entries.as_slice(),
                    _ => &[],
                };
                let rows = Entries {
                    label,
                    value,
                    entries,
                };
                map.serialize_entry(field.name, &rows)?;
            }
            _ => {}
        }
    }
    Ok(())
}

struct Entries<'a> {
    label: &'a str,
    value: &'a str,
    entries: &'a [Entry],
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.entries.iter().map(|entry| Row {
            keys: (self.label, self.value),
            entry,
        }))
    }
}

struct Row<'a> {
    keys: (&'a str, &'a str),
    entry: &'a Entry,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.keys.0, &self.entry.label)?;
        map.serialize_entry(self.keys.1, &self.entry.value)?;
        map.end()
    }
}
