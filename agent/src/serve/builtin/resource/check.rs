//! Holds an item against its description: kinds, lengths, words, and what must be there.
//!
//! What people leave around a value is taken away; what can't be shown in every form is refused.

use time::format_description::well_known::Rfc3339;

use super::{
    Entry, Field, FieldError, Item, LABEL_CHARS_MAX, LABEL_DEFAULT, Resource, Shape, Value,
};

impl Resource {
    /// Takes an item that came from outside: trims what people leave around, then holds it against the description.
    pub fn check(&self, mut item: Item) -> Result<Item, FieldError> {
        for (field, value) in self.fields.iter().zip(&mut item.0) {
            field.check(value)?;
        }
        Ok(item)
    }
}

impl Field {
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
    use super::super::CONTACTS;
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
}
