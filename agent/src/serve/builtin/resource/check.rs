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

impl Resource {
    /// Brings an item into bounds that was read from a form which is kept word for word: others write longer than fields
    /// are, and whatever is shortened or left out here is in what is kept.
    pub fn fit(&self, mut item: Item) -> Item {
        for (field, value) in self.fields.iter().zip(&mut item.0) {
            let Some(held) = value.take() else { continue };
            *value = field.fit(held);
        }
        item
    }
}

impl Field {
    fn fit(&self, value: Value) -> Option<Value> {
        Some(match (&self.shape, value) {
            (Shape::Line { chars_max } | Shape::Text { chars_max }, Value::Text(text)) => {
                Value::Text(shortened(text, *chars_max, self.required)?)
            }
            (
                Shape::Lines {
                    entries_max,
                    chars_max,
                    ..
                },
                Value::Lines(mut lines),
            ) => {
                lines.retain(|line| fits(line, *chars_max));
                lines.truncate(*entries_max);
                Value::Lines(lines)
            }
            (
                Shape::Labelled {
                    entries_max,
                    chars_max,
                    ..
                },
                Value::Entries(mut entries),
            ) => {
                entries.retain(|entry| fits(&entry.value, *chars_max));
                entries.truncate(*entries_max);
                for entry in &mut entries {
                    if !fits(&entry.label, LABEL_CHARS_MAX) {
                        LABEL_DEFAULT.clone_into(&mut entry.label);
                    }
                }
                Value::Entries(entries)
            }
            (_, value) => value,
        })
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

fn fits(text: &str, chars_max: usize) -> bool {
    let text = text.trim();
    !text.is_empty() && text.chars().take(chars_max + 1).count() <= chars_max
}

/// Words that are too long are cut; what has no spaces is no words, and half of it would name something else: `None`.
fn shortened(text: String, chars_max: usize, required: bool) -> Option<String> {
    let trimmed = text.trim();
    if trimmed.chars().take(chars_max + 1).count() <= chars_max {
        return Some(text);
    }
    if !required && !trimmed.contains(char::is_whitespace) {
        return None;
    }
    let cut: String = trimmed.chars().take(chars_max.saturating_sub(1)).collect();
    Some(format!("{}…", cut.trim_end()))
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
    fn r18_r29_what_others_wrote_too_long_is_brought_into_bounds() {
        let (phones, _) = CONTACTS.field("phones").unwrap();
        let mut item = named(&"Ada ".repeat(200));
        CONTACTS.put(&mut item, "url", Value::Text("x".repeat(3_000)));
        for number in [String::new(), "6".repeat(65), "600".to_owned()] {
            let label = "l".repeat(200);
            item.push(
                phones,
                Entry {
                    label,
                    value: number,
                },
            );
        }
        assert!(CONTACTS.check(item.clone()).is_err());
        let item = CONTACTS.check(CONTACTS.fit(item)).unwrap();
        let name = CONTACTS.text(&item, "name").unwrap();
        assert!(
            name.starts_with("Ada Ada") && name.ends_with("Ada…"),
            "{name}"
        );
        assert_eq!(
            CONTACTS.text(&item, "url"),
            None,
            "half a URL is another one"
        );
        let number = Entry {
            label: LABEL_DEFAULT.to_owned(),
            value: "600".to_owned(),
        };
        let numbers = Value::Entries(vec![number]);
        assert_eq!(CONTACTS.value(&item, "phones"), Some(&numbers));
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
