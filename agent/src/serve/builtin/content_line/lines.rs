//! Reading content lines: unfolding, parameters, quoted-printable and character sets.

use encoding_rs::Encoding;

use super::{LINE_BYTES_MAX, LineError, Param, Property};

/// A logical line: folded ones joined, its ending removed.
#[derive(Debug)]
pub struct Line {
    /// Of its first physical line, from 1.
    pub number: usize,
    /// Cut off behind [`LINE_BYTES_MAX`].
    pub bytes: Vec<u8>,
    overlong: bool,
}

impl Line {
    /// Whether it says just this: `BEGIN:VCARD`.
    pub fn is(&self, marker: &str) -> bool {
        self.bytes
            .trim_ascii()
            .eq_ignore_ascii_case(marker.as_bytes())
    }

    /// Whether there is nothing on it.
    pub fn is_blank(&self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }

    /// Reads it as a property.
    pub fn property(&self) -> Result<Property, LineError> {
        property(self).map_err(|fault| LineError::new(self.number, fault))
    }

    fn extend(&mut self, more: &[u8]) {
        self.overlong |= self.bytes.len() + more.len() > LINE_BYTES_MAX;
        if !self.overlong {
            self.bytes.extend_from_slice(more);
        }
    }
}

/// The logical lines of a file.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    /// From the beginning of a file; a byte order mark is passed over.
    pub fn new(file: &'a [u8]) -> Self {
        Self {
            rest: file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file),
            number: 0,
        }
    }

    /// Whether the next line says just this.
    pub fn next_is(&self, marker: &str) -> bool {
        split_line(self.rest)
            .is_some_and(|(line, _)| line.trim_ascii().eq_ignore_ascii_case(marker.as_bytes()))
    }

    /// Takes the next physical line if it continues this one: any line, or only one that begins with white space.
    fn continuation(&mut self, folded: bool) -> Option<&'a [u8]> {
        let (mut line, rest) = split_line(self.rest)?;
        if folded {
            line = line.strip_prefix(b" ").or(line.strip_prefix(b"\t"))?;
        }
        self.rest = rest;
        self.number += 1;
        Some(line)
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let (first, rest) = split_line(self.rest)?;
        self.rest = rest;
        self.number += 1;
        let mut line = Line {
            number: self.number,
            bytes: Vec::new(),
            overlong: false,
        };
        line.extend(first);
        // Soft line breaks of quoted-printable, by which vCard 2.1 folds such a value (RFC 2045, 6.7).
        // The last one of a card is a plain `=` then: END:VCARD is never part of a value.
        // The first piece says so or none does: to look through all of them each time would take hours for a long line.
        let quoted = first.last() == Some(&b'=') && is_quoted_printable(first);
        while quoted && line.bytes.last() == Some(&b'=') && !self.next_is("END:VCARD") {
            let Some(more) = self.continuation(false) else {
                break;
            };
            line.bytes.pop();
            line.extend(more);
        }
        while let Some(more) = self.continuation(true) {
            line.extend(more);
        }
        Some(line)
    }
}

/// The first physical line without its ending, and what is behind it. CRLF, LF and a lone CR end a line.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    let Some(end) = bytes.iter().position(|b| matches!(b, b'\r' | b'\n')) else {
        return Some((bytes, &[]));
    };
    let (line, ending) = bytes.split_at(end);
    let rest = ending
        .strip_prefix(b"\r\n")
        .or(ending.strip_prefix(b"\r"))
        .or(ending.strip_prefix(b"\n"));
    Some((line, rest.unwrap_or_default()))
}

fn is_quoted_printable(line: &[u8]) -> bool {
    let head = line.split(|b| *b == b':').next().unwrap_or_default();
    head.split(|b| *b == b';').skip(1).any(|param| {
        let param = param.to_ascii_uppercase();
        let value = param.strip_prefix(b"ENCODING=").unwrap_or(&param);
        value.trim_ascii() == b"QUOTED-PRINTABLE"
    })
}

fn property(line: &Line) -> Result<Property, String> {
    if line.overlong {
        return Err(format!("the line is longer than {LINE_BYTES_MAX} bytes"));
    }
    let colon = value_start(&line.bytes).ok_or("there is no `:` behind the property's name")?;
    let (head, value) = line.bytes.split_at(colon);
    let value = value.get(1..).unwrap_or_default();
    let head =
        std::str::from_utf8(head).map_err(|e| format!("the property's name is not UTF-8: {e}"))?;
    let mut words = split_unquoted(head, ';').into_iter();
    let name = words.next().unwrap_or_default().trim();
    let (group, name) = match name.rsplit_once('.') {
        Some((group, name)) => (Some(group), name),
        None => (None, name),
    };
    let proper = |name: &str| {
        let sign = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !name.is_empty() && name.bytes().all(sign)
    };
    if !proper(name) {
        return Err("the property has no proper name".to_owned());
    }
    let mut property = Property {
        line: line.number,
        // Some writers repeat a group, or write signs that no group may have: then it groups nothing.
        group: group.filter(|group| proper(group)).map(str::to_owned),
        name: name.to_ascii_uppercase(),
        params: words.filter_map(param).collect(),
        value: String::new(),
    };
    property.value = decode(&property, value)?;
    Ok(property)
}

/// `NAME=value,"value"`, or a word of vCard 2.1 that stands without a name. A name that could not be written is dropped.
fn param(word: &str) -> Option<Param> {
    let Some((name, values)) = word.split_once('=') else {
        let word = word.trim();
        let name = match word.to_ascii_uppercase().as_str() {
            "" => return None,
            "QUOTED-PRINTABLE" | "BASE64" | "8BIT" | "7BIT" => "ENCODING",
            "URL" | "INLINE" | "CONTENT-ID" | "CID" => "VALUE",
            _ => "TYPE",
        };
        return Some(Param {
            name: name.to_owned(),
            values: vec![word.to_owned()],
        });
    };
    let name = name.trim().to_ascii_uppercase();
    let proper = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if name.is_empty() || !name.bytes().all(proper) {
        return None;
    }
    let values = split_unquoted(values, ',')
        .into_iter()
        .map(|value| uncircumflex(&value.replace('"', "")))
        .map(|value| value.trim_matches(' ').to_owned())
        .collect();
    Some(Param { name, values })
}

/// Undoes the circumflexes of RFC 6868.
fn uncircumflex(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        let meant = match (c, chars.peek()) {
            ('^', Some('n')) => '\n',
            ('^', Some('^')) => '^',
            ('^', Some('\'')) => '"',
            _ => {
                text.push(c);
                continue;
            }
        };
        chars.next();
        text.push(meant);
    }
    text
}

/// The colon that ends the name and the parameters: the first one outside of quotes.
fn value_start(line: &[u8]) -> Option<usize> {
    let mut quoted = false;
    line.iter().position(|b| {
        quoted ^= *b == b'"';
        *b == b':' && !quoted
    })
}

fn split_unquoted(text: &str, at: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c| {
        quoted ^= c == '"';
        c == at && !quoted
    })
    .collect()
}

/// The value's text: quoted-printable undone, its character set turned into UTF-8.
fn decode(property: &Property, value: &[u8]) -> Result<String, String> {
    let undone;
    let bytes = match property.says("ENCODING", "QUOTED-PRINTABLE") {
        true => {
            undone = quoted_printable(value);
            undone.as_slice()
        }
        false => value,
    };
    let name = &property.name;
    let charset = property.param("CHARSET").unwrap_or("UTF-8");
    let Some(encoding) = Encoding::for_label(charset.as_bytes()) else {
        let shown: String = charset.chars().take(32).collect();
        return Err(format!(
            "{name} is in {shown}, a character set that is not known; send it in UTF-8"
        ));
    };
    // ASCII is a part of windows-1252 there; whoever says ASCII and sends more means UTF-8.
    let ascii = ["US-ASCII", "ASCII"].iter();
    if encoding == encoding_rs::UTF_8 || ascii.into_iter().any(|a| charset.eq_ignore_ascii_case(a))
    {
        return match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(format!("{name} is not UTF-8: {error}")),
        };
    }
    let (text, broken) = encoding.decode_without_bom_handling(bytes);
    match broken {
        false => Ok(text.into_owned()),
        true => Err(format!("{name} is not {}", encoding.name())),
    }
}

/// Undoes quoted-printable (RFC 2045, 6.7). An `=` that is none of its escapes stands for itself, as writers mean it.
fn quoted_printable(value: &[u8]) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.iter();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'=', Some(high), Some(low)) => {
                // Two hexadecimal digits are below 256.
                bytes.push(u8::try_from(high << 4 | low).unwrap_or_default());
                rest = ahead;
            }
            _ => bytes.push(*byte),
        }
    }
    bytes
}
