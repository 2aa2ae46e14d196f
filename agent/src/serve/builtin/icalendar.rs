//! iCalendar files (RFC 5545): bytes to objects and back.
//!
//! The calendar's entries are events and tasks, the notes are journal entries. What an entry's properties say to a field
//! is [`fields`]'s to know, which moment a clock somewhere means [`zone`]'s. What was sent is kept and goes out word for
//! word: time zones, alarms, exceptions and properties that nobody here knows are all in it.

pub mod fields;
pub mod zone;

use super::content_line::{self, LineError, Lines, Property};
use super::resource::{FieldError, Form, Item, Resource};
use super::store::Stored;

/// The calendar as iCalendar.
pub const CALENDAR_FORM: Form = Form {
    read: Some(read_entry),
    write: write_entry,
    ..FORM
};

/// Notes as iCalendar.
pub const NOTE_FORM: Form = Form {
    read: Some(read_note),
    write: write_note,
    ..FORM
};

const FORM: Form = Form {
    media_type: "text/calendar",
    parameters: "; charset=utf-8",
    also_read: &[],
    read: None,
    write: write_note,
    // Objects in a row are a file of iCalendar (RFC 5545, 3.4).
    list: Some(("", "", "")),
    kept: true,
};

/// Properties of one object at most, those of its components included.
const PROPERTIES_MAX: usize = 10_000;

/// Components of one object at most.
const COMPONENTS_MAX: usize = 1_000;

/// Components within components at most.
const DEPTH_MAX: usize = 8;

/// What stands between BEGIN and END.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Component {
    /// Upper case: `VEVENT`.
    pub name: String,
    /// Line of its BEGIN, from 1; 0 for one that was not read from a file.
    pub line: usize,
    /// In their order.
    pub properties: Vec<Property>,
    /// In their order.
    pub components: Vec<Component>,
}

impl Component {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// The first property of this name.
    pub fn first(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|p| p.name == name)
    }

    /// Those of its components that have this name.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Self> {
        self.components.iter().filter(move |c| c.name == name)
    }

    /// Writes it, from its BEGIN to its END.
    pub fn write(&self, out: &mut Vec<u8>) {
        content_line::fold(format!("BEGIN:{}", self.name).as_bytes(), out);
        for property in &self.properties {
            property.write(out);
        }
        for component in &self.components {
            component.write(out);
        }
        content_line::fold(format!("END:{}", self.name).as_bytes(), out);
    }
}

/// Reads the objects of a file. The first fault ends it: an object that is broken has no end that could be trusted.
pub fn objects(file: &[u8]) -> Result<Vec<Component>, LineError> {
    let mut reader = Reader {
        open: Vec::new(),
        objects: Vec::new(),
        properties: 0,
        components: 0,
    };
    for line in Lines::new(file).filter(|line| !line.is_blank()) {
        reader.take(line.property()?)?;
    }
    match reader.open.last() {
        None => Ok(reader.objects),
        Some(open) => {
            let fault = format!("this {} has no END:{}", open.name, open.name);
            Err(LineError::new(open.line, fault))
        }
    }
}

struct Reader {
    open: Vec<Component>,
    objects: Vec<Component>,
    properties: usize,
    components: usize,
}

impl Reader {
    fn take(&mut self, property: Property) -> Result<(), LineError> {
        let line = property.line;
        let fault = |fault: String| Err(LineError::new(line, fault));
        match property.name.as_str() {
            "BEGIN" => {
                let name = property.value.trim().to_ascii_uppercase();
                self.components += 1;
                if self.open.is_empty() && name != "VCALENDAR" {
                    return fault("expected BEGIN:VCALENDAR".to_owned());
                }
                let proper = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
                if name.is_empty() || !name.bytes().all(proper) {
                    return fault("the component has no proper name".to_owned());
                }
                if self.open.len() >= DEPTH_MAX {
                    return fault(format!(
                        "more than {DEPTH_MAX} components within each other"
                    ));
                }
                if self.components > COMPONENTS_MAX {
                    return fault(format!("more than {COMPONENTS_MAX} components"));
                }
                self.open.push(Component {
                    line,
                    ..Component::new(&name)
                });
            }
            "END" => {
                let Some(closed) = self.open.pop() else {
                    return fault("expected BEGIN:VCALENDAR".to_owned());
                };
                if !property.value.trim().eq_ignore_ascii_case(&closed.name) {
                    return fault(format!(
                        "expected END:{}, of the BEGIN on line {}",
                        closed.name, closed.line
                    ));
                }
                match self.open.last_mut() {
                    Some(open) => open.components.push(closed),
                    None => self.objects.push(closed),
                }
            }
            _ => {
                self.properties += 1;
                let Some(open) = self.open.last_mut() else {
                    return fault("expected BEGIN:VCALENDAR".to_owned());
                };
                if self.properties > PROPERTIES_MAX {
                    return fault(format!("more than {PROPERTIES_MAX} properties"));
                }
                open.properties.push(property);
            }
        }
        Ok(())
    }
}

fn refuse<T>(fault: impl Into<String>) -> Result<T, FieldError> {
    Err(FieldError::new("body", fault))
}

/// The one object of a body, and the component in it that an item is made of.
fn only(body: &[u8], wanted: &[&str]) -> Result<(Component, usize), FieldError> {
    let mut objects = match objects(body) {
        Ok(objects) => objects,
        Err(error) => return refuse(format!("can't be read: {error}")),
    };
    let Some(object) = objects.pop() else {
        return refuse("holds no VCALENDAR");
    };
    if !objects.is_empty() {
        return refuse("must be one VCALENDAR at a time");
    }
    if object
        .first("VERSION")
        .is_some_and(|p| p.value.trim() == "1.0")
    {
        return refuse("is vCalendar 1.0, whose rules are others; send iCalendar, VERSION:2.0");
    }
    let wanted_here = |c: &&Component| wanted.contains(&c.name.as_str());
    let found: Vec<_> = object.components.iter().filter(wanted_here).collect();
    let Some(first) = found.first() else {
        let mut held = object.components.iter().map(|c| c.name.as_str());
        let held = held.find(|name| *name != "VTIMEZONE").unwrap_or("nothing");
        let words = wanted.join(" and no ");
        return refuse(format!("holds no {words}, but {held}"));
    };
    let uid = |c: &Component| c.first("UID").map(Property::text);
    if found
        .iter()
        .any(|c| uid(c) != uid(first) || c.name != first.name)
    {
        let words = wanted.join(" or ");
        return refuse(format!(
            "must be one {words} at a time; these have different UIDs"
        ));
    }
    // The others change single occurrences of the one that repeats; one alone may be such a change.
    let mut whole = found.iter().filter(|c| c.first("RECURRENCE-ID").is_none());
    let main = *whole.next().unwrap_or(first);
    if let Some(second) = whole.next() {
        return refuse(format!(
            "must be one {} at a time; there is another on line {}",
            main.name, second.line
        ));
    }
    let at = object.components.iter().position(|c| std::ptr::eq(c, main));
    let at = at.unwrap_or_default();
    Ok((object, at))
}

fn read_entry(resource: &Resource, body: &[u8]) -> Result<Item, FieldError> {
    let (object, at) = only(body, &["VEVENT", "VTODO"])?;
    match object.components.get(at) {
        Some(main) => fields::entry(resource, &object, main),
        None => refuse("holds no VEVENT and no VTODO"),
    }
}

fn read_note(resource: &Resource, body: &[u8]) -> Result<Item, FieldError> {
    let (object, at) = only(body, &["VJOURNAL"])?;
    match object.components.get(at) {
        Some(main) => fields::note(resource, &object, main),
        None => refuse("holds no VJOURNAL"),
    }
}

fn write_entry(resource: &Resource, stored: &Stored, kept: Option<(&str, &[u8])>) -> Vec<u8> {
    written(kept, || fields::entry_object(resource, stored))
}

fn write_note(resource: &Resource, stored: &Stored, kept: Option<(&str, &[u8])>) -> Vec<u8> {
    written(kept, || fields::note_object(resource, stored))
}

/// Word for word what was sent, folded anew, or what the fields say.
fn written(kept: Option<(&str, &[u8])>, object: impl FnOnce() -> Component) -> Vec<u8> {
    let mut out = Vec::new();
    match kept {
        Some((_, bytes)) => {
            for line in Lines::new(bytes).filter(|line| !line.is_blank()) {
                content_line::fold(&line.bytes, &mut out);
            }
        }
        None => object().write(&mut out),
    }
    out
}

#[cfg(test)]
mod tests;
