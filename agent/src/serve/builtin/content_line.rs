//! Content lines: what vCard and iCalendar files are made of (RFC 6350, 3.2 and 3.3; RFC 5545, 3.1; RFC 6868).
//!
//! [`super::vcard`] and [`super::icalendar`] read and write through it. It knows lines, folding, groups, parameters,
//! quoted-printable, character sets and escapes, and not what a property means.

mod lines;

use std::fmt::Write;

pub use lines::{Line, Lines};

/// Longest logical line, after unfolding, that is kept: a photograph fits, endless folding does not.
pub const LINE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes of a written line at most, without its ending (RFC 6350, 3.2).
const FOLD_BYTES: usize = 75;

/// One property.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Property {
    /// Line of the file, from 1; 0 for one that was not read from a file.
    pub line: usize,
    /// What stands before the name: `item1` of `item1.TEL`.
    pub group: Option<String>,
    /// Upper case.
    pub name: String,
    /// In their order. A bare word of vCard 2.1 (`TEL;CELL:`) stands as a `TYPE`.
    pub params: Vec<Param>,
    /// Unfolded, quoted-printable and character set undone, its escapes still in it.
    pub value: String,
}

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Upper case.
    pub name: String,
    /// Its values, without quotes and with `^` resolved (RFC 6868).
    pub values: Vec<String>,
}

/// What can't be read: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct LineError {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong there.
    pub fault: String,
}

impl LineError {
    /// A fault of one line.
    pub fn new(line: usize, fault: impl Into<String>) -> Self {
        Self {
            line,
            fault: fault.into(),
        }
    }
}

impl Property {
    /// A property whose value is one text, escaped here.
    pub fn of_text(name: &str, text: &str) -> Self {
        Self::raw(name, escape(text))
    }

    /// A property whose value is written as it is: a URI, a date, a number.
    pub fn raw(name: &str, value: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            value: value.into(),
            ..Self::default()
        }
    }

    /// The same with one more parameter.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.params.push(Param {
            name: name.to_owned(),
            values: vec![value.into()],
        });
        self
    }

    /// The value as one text, its escapes resolved.
    pub fn text(&self) -> String {
        unescape(&self.value)
    }

    /// The value's components, split at the semicolons that are not escaped.
    pub fn components(&self) -> Vec<String> {
        split_escaped(&self.value, ';').map(unescape).collect()
    }

    /// The value's entries, split at the commas that are not escaped.
    pub fn list(&self) -> Vec<String> {
        split_escaped(&self.value, ',').map(unescape).collect()
    }

    /// The words of its TYPE parameters, in lower case.
    pub fn types(&self) -> Vec<String> {
        let types = self.params.iter().filter(|param| param.name == "TYPE");
        types
            .flat_map(|param| &param.values)
            .flat_map(|words| words.split(','))
            .map(|word| word.trim().to_ascii_lowercase())
            .filter(|word| !word.is_empty())
            .collect()
    }

    /// The first value of this parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        let mut params = self.params.iter();
        let param = params.find(|param| param.name == name)?;
        param.values.first().map(String::as_str)
    }

    /// Whether this parameter has this value, whatever their case.
    pub fn says(&self, name: &str, value: &str) -> bool {
        self.param(name)
            .is_some_and(|said| said.eq_ignore_ascii_case(value))
    }

    /// Writes it as a line, folded.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut line = String::with_capacity(self.value.len() + 32);
        if let Some(group) = &self.group {
            let _ = write!(line, "{group}.");
        }
        line.push_str(&self.name);
        for param in &self.params {
            let _ = write!(line, ";{}=", param.name);
            for (at, value) in param.values.iter().enumerate() {
                if at > 0 {
                    line.push(',');
                }
                push_param(&mut line, value);
            }
        }
        line.push(':');
        // A line break in a value that was never escaped would end the line.
        let mut chars = self.value.chars().peekable();
        while let Some(c) = chars.next() {
            match (c, chars.peek()) {
                ('\r', Some('\n')) => {}
                ('\r' | '\n', _) => line.push_str("\\n"),
                _ => line.push(c),
            }
        }
        fold(line.as_bytes(), out);
    }
}

/// A parameter's value, quoted if it needs to be; what quotes can't hold is written as RFC 6868 says.
fn push_param(line: &mut String, value: &str) {
    let quoted = value.contains([':', ';', ',']);
    if quoted {
        line.push('"');
    }
    for c in value.chars() {
        match c {
            '^' => line.push_str("^^"),
            '\n' => line.push_str("^n"),
            '"' => line.push_str("^'"),
            c if c.is_control() && c != '\t' => {}
            c => line.push(c),
        }
    }
    if quoted {
        line.push('"');
    }
}

/// Writes a logical line in pieces of 75 bytes at most, no character cut in two, CRLF behind each.
pub fn fold(line: &[u8], out: &mut Vec<u8>) {
    let (mut rest, mut room) = (line, FOLD_BYTES);
    while rest.len() > room {
        let mut end = room;
        // The bytes 10xxxxxx go on with a character of UTF-8. What has nothing else is not UTF-8, and cut anywhere.
        while end > 1 && rest.get(end).is_some_and(|b| b & 0xc0 == 0x80) {
            end -= 1;
        }
        let (piece, behind) = rest.split_at(if end > 1 { end } else { room });
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n ");
        (rest, room) = (behind, FOLD_BYTES - 1);
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\r\n");
}

/// Escapes a text for a value (RFC 6350, 3.4; RFC 5545, 3.3.11).
pub fn escape(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => value.push_str("\\n"),
            '\r' => {}
            '\\' | ',' | ';' => value.extend(['\\', c]),
            c => value.push(c),
        }
    }
    value
}

/// Undoes [`escape`], and the `\:` and `\"` of older writers. Any other backslash stands for itself, as they mean it.
pub fn unescape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('n' | 'N')) => {
                chars.next();
                text.push('\n');
            }
            ('\\', Some(&escaped @ ('\\' | ',' | ';' | ':' | '"'))) => {
                chars.next();
                text.push(escaped);
            }
            ('\r', Some('\n')) => {}
            // Old Macintoshes end a line so.
            ('\r', _) => text.push('\n'),
            _ => text.push(c),
        }
    }
    text
}

/// The parts of a value between the separators that are not escaped.
pub fn split_escaped(value: &str, at: char) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    value.split(move |c| {
        let splits = c == at && !escaped;
        escaped = c == '\\' && !escaped;
        splits
    })
}

#[cfg(test)]
mod tests;
