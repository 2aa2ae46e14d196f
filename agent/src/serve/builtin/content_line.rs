//! Content lines: what vCard and iCalendar files are made of (RFC 6350, 3.2 and 3.3; RFC 5545, 3.1; RFC 6868).
//!
//! [`super::vcard`] and [`super::icalendar`] read and write through it. It knows lines, folding, groups, parameters,
//! quoted-printable, character sets and escapes, and not what a property means.

use std::fmt::Write;

use encoding_rs::Encoding;

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
        while line.bytes.last() == Some(&b'=')
            && is_quoted_printable(&line.bytes)
            && !self.next_is("END:VCARD")
        {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(line: &str) -> Property {
        let mut lines = Lines::new(line.as_bytes());
        let read = lines.next().unwrap().property().unwrap();
        assert!(lines.next().is_none(), "more than one line: {line}");
        read
    }

    fn written(property: &Property) -> String {
        let mut out = Vec::new();
        property.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parameters_are_quoted_where_they_must_be() {
        let property = Property::of_text("ADR", "a;b").with("LABEL", "\"One\"\nTwo; ^3");
        let line = written(&property);
        assert_eq!(line, "ADR;LABEL=\"^'One^'^nTwo; ^^3\":a\\;b\r\n");
        assert_eq!(read(&line).params, property.params);
    }

    #[test]
    fn a_bare_word_is_a_type_an_encoding_or_a_kind_of_value() {
        let property = read("PHOTO;JPEG;BASE64;URL:x");
        assert_eq!(property.types(), ["jpeg"]);
        assert!(property.says("ENCODING", "base64") && property.says("VALUE", "url"));
    }

    #[test]
    fn line_breaks_of_any_system_are_escaped() {
        let note = read("NOTE;ENCODING=QUOTED-PRINTABLE:a=0D=0Ab=0Dc=0Ad");
        assert_eq!(note.text(), "a\nb\nc\nd");
        let raw = Property {
            params: Vec::new(),
            ..note
        };
        assert_eq!(written(&raw), "NOTE:a\\nb\\nc\\nd\r\n");
    }

    #[test]
    fn only_a_value_in_quoted_printable_goes_on_behind_its_last_sign() {
        let file = "PHOTO;X-WAS=QUOTED-PRINTABLE:data:,=\nTEL:1\nNOTE;quoted-printable:a=\nb\n";
        let lines: Vec<_> = Lines::new(file.as_bytes())
            .map(|line| line.property().unwrap().value)
            .collect();
        assert_eq!(lines, ["data:,=", "1", "ab"]);
    }

    #[test]
    fn a_backslash_that_escapes_nothing_stays() {
        assert_eq!(unescape("C:\\data \\, \\\\ \\"), "C:\\data , \\ \\");
        assert_eq!(unescape("http\\://x"), "http://x");
    }

    #[test]
    fn old_character_sets_are_read() {
        let mut line = b"N;CHARSET=Windows-1252;ENCODING=QUOTED-PRINTABLE:=80=DF".to_vec();
        assert_eq!(
            Lines::new(&line).next().unwrap().property().unwrap().value,
            "€ß"
        );
        line = b"N;CHARSET=SHIFT_JIS:\x8eR".to_vec();
        assert_eq!(
            Lines::new(&line).next().unwrap().property().unwrap().value,
            "山"
        );
        line = b"N;CHARSET=US-ASCII:\xc3\xa9".to_vec();
        assert_eq!(
            Lines::new(&line).next().unwrap().property().unwrap().value,
            "é"
        );
        line = b"N;CHARSET=EUC-JP:\xff".to_vec();
        assert!(Lines::new(&line).next().unwrap().property().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            for line in Lines::new(&bytes) {
                let _ = line.property();
            }
        }

        #[test]
        fn any_property_comes_back(
            group in prop::option::of("[a-zA-Z0-9-]{1,8}"),
            name in "[A-Z][A-Z0-9-]{0,12}",
            params in prop::collection::vec(("X-[A-Z0-9-]{1,6}", prop::collection::vec("([ -~à-ÿ𝄞\n]{0,20}[a-z]|)", 1..3)), 0..4),
            text in "[ -~à-ÿ𝄞\n\t]{0,300}",
        ) {
            let params: Vec<_> = params.into_iter().map(|(name, values)| Param {
                name,
                values: values.into_iter().map(|v| v.trim_matches(' ').to_owned()).collect(),
            }).collect();
            let property = Property { line: 1, group, name, params, value: escape(&text) };
            let line = written(&property);
            for physical in line.split("\r\n") {
                prop_assert!(physical.len() <= FOLD_BYTES);
            }
            let back = read(&line);
            prop_assert_eq!(back.text(), text);
            prop_assert_eq!(back, property);
        }
    }
}
