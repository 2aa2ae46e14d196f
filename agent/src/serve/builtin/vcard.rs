//! vCard files (RFC 6350, RFC 2426, and the 2.1 that phones still write): bytes to cards, a broken card told by line.
//!
//! It reads what any card has: lines, groups, parameters, folding, quoted-printable, character sets, escapes.
//! What a property means is [`super::contacts`]'s to say. A broken card costs only itself: the next one is read.

/// One card: its properties in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Line of its `BEGIN:VCARD`, from 1.
    pub line: usize,
    /// Everything between BEGIN and END, `VERSION` included.
    pub properties: Vec<Property>,
}

/// One property of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Upper case, without its group.
    pub name: String,
    /// Names in upper case; a bare word of vCard 2.1 (`TEL;CELL:`) stands as a `TYPE`.
    params: Vec<(String, String)>,
    /// Unfolded and decoded, its escapes still in it.
    value: String,
}

/// A card that can't be read: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct CardError {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong there.
    pub fault: String,
}

/// Longest logical line, after unfolding, that is kept: a photograph fits, endless folding does not.
const LINE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Properties of one card at most.
const PROPERTIES_MAX: usize = 1_000;

/// Reads the cards of a file, one at a time. Lines between cards are passed over when they are blank, else reported.
pub fn cards(file: &[u8]) -> impl Iterator<Item = Result<Card, CardError>> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    Cards {
        lines: Lines {
            rest: file,
            number: 0,
        },
    }
}

impl Property {
    /// The value as one text, its escapes resolved.
    pub fn text(&self) -> String {
        unescape(&self.value)
    }

    /// The value's components, split at the semicolons that are not escaped.
    pub fn components(&self) -> Vec<String> {
        let mut components = vec![String::new()];
        let mut escaped = false;
        for c in self.value.chars() {
            if c == ';' && !escaped {
                components.push(String::new());
            } else if let Some(last) = components.last_mut() {
                last.push(c);
            }
            escaped = c == '\\' && !escaped;
        }
        components
            .iter()
            .map(|component| unescape(component))
            .collect()
    }

    /// The words of its TYPE parameters, in lower case.
    pub fn types(&self) -> Vec<String> {
        let types = self.params.iter().filter(|(name, _)| name == "TYPE");
        types
            .flat_map(|(_, words)| words.split(','))
            .map(|word| word.trim().to_ascii_lowercase())
            .collect()
    }

    fn param(&self, name: &str) -> Option<&str> {
        let mut params = self.params.iter();
        params
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// `\n` is a line break and any other escaped character itself (RFC 6350, 3.4).
fn unescape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n' | 'N') => text.push('\n'),
                Some(escaped) => text.push(escaped),
                None => text.push('\\'),
            },
            c => text.push(c),
        }
    }
    text
}

struct Cards<'a> {
    lines: Lines<'a>,
}

impl Iterator for Cards<'_> {
    type Item = Result<Card, CardError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = self.lines.next()?;
            if line.is("BEGIN:VCARD") {
                return Some(self.card(line.number));
            }
            if !line.bytes.trim_ascii().is_empty() {
                let number = line.number;
                self.skip_to_begin();
                return Some(Err(CardError {
                    line: number,
                    fault: "expected BEGIN:VCARD".to_owned(),
                }));
            }
        }
    }
}

impl Cards<'_> {
    /// Reads up to END:VCARD, behind BEGIN:VCARD. A fault is kept until the card's end, so that reading goes on there.
    fn card(&mut self, begin: usize) -> Result<Card, CardError> {
        let mut properties = Vec::new();
        let mut broken = None;
        loop {
            // The next card's BEGIN is left for the next call: a card without END must not swallow it.
            let line = match self.lines.peek_is("BEGIN:VCARD") {
                true => None,
                false => self.lines.next(),
            };
            let Some(line) = line else {
                return Err(CardError {
                    line: begin,
                    fault: "this card has no END:VCARD".to_owned(),
                });
            };
            if line.is("END:VCARD") {
                break;
            }
            if broken.is_some() || line.bytes.trim_ascii().is_empty() {
                continue;
            }
            match property(&line) {
                Ok(_) if properties.len() >= PROPERTIES_MAX => {
                    broken = Some((
                        line.number,
                        format!("more than {PROPERTIES_MAX} properties"),
                    ));
                }
                Ok(property) => properties.push(property),
                Err(fault) => broken = Some((line.number, fault)),
            }
        }
        match broken {
            Some((line, fault)) => Err(CardError { line, fault }),
            None => Ok(Card {
                line: begin,
                properties,
            }),
        }
    }

    fn skip_to_begin(&mut self) {
        while !self.lines.peek_is("BEGIN:VCARD") && self.lines.next().is_some() {}
    }
}

/// A logical line: folded ones joined, its ending removed.
struct Line {
    number: usize,
    bytes: Vec<u8>,
    overlong: bool,
}

impl Line {
    fn is(&self, marker: &str) -> bool {
        self.bytes
            .trim_ascii()
            .eq_ignore_ascii_case(marker.as_bytes())
    }
}

struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<Line> {
        let (first, rest) = split_line(self.rest)?;
        self.rest = rest;
        self.number += 1;
        let mut line = Line {
            number: self.number,
            bytes: first.to_vec(),
            overlong: first.len() > LINE_BYTES_MAX,
        };
        // Soft line breaks of quoted-printable, by which vCard 2.1 folds such a value (RFC 2045, 6.7).
        // The last one of a card is a plain `=` then: END:VCARD is never part of a value.
        while is_quoted_printable(&line.bytes)
            && line.bytes.last() == Some(&b'=')
            && !self.peek_is("END:VCARD")
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

    fn peek_is(&self, marker: &str) -> bool {
        split_line(self.rest)
            .is_some_and(|(line, _)| line.trim_ascii().eq_ignore_ascii_case(marker.as_bytes()))
    }
}

impl Line {
    fn extend(&mut self, more: &[u8]) {
        self.overlong |= self.bytes.len() + more.len() > LINE_BYTES_MAX;
        if !self.overlong {
            self.bytes.extend_from_slice(more);
        }
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
    let marker = b"QUOTED-PRINTABLE";
    head.windows(marker.len())
        .any(|w| w.eq_ignore_ascii_case(marker))
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
    let name = words.next().unwrap_or_default();
    let name = name
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_uppercase();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err("the property has no proper name".to_owned());
    }
    let params = words
        .map(|word| match word.split_once('=') {
            Some((name, value)) => (
                name.trim().to_ascii_uppercase(),
                value.replace('"', "").trim().to_owned(),
            ),
            None => bare(word.trim()),
        })
        .collect();
    let mut property = Property {
        name,
        params,
        value: String::new(),
    };
    property.value = decode(&property, value)?;
    Ok(property)
}

/// A parameter of vCard 2.1 that stands without a name.
fn bare(word: &str) -> (String, String) {
    let name = match word.to_ascii_uppercase().as_str() {
        "QUOTED-PRINTABLE" | "BASE64" | "8BIT" | "7BIT" => "ENCODING",
        _ => "TYPE",
    };
    (name.to_owned(), word.to_owned())
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
    let quoted = property
        .param("ENCODING")
        .is_some_and(|e| e.eq_ignore_ascii_case("QUOTED-PRINTABLE"));
    let bytes = match quoted {
        true => quoted_printable(value),
        false => value.to_vec(),
    };
    let charset = property
        .param("CHARSET")
        .unwrap_or("UTF-8")
        .to_ascii_uppercase();
    match charset.as_str() {
        "UTF-8" | "UTF8" | "US-ASCII" | "ASCII" => String::from_utf8(bytes)
            .map_err(|e| format!("{} is not UTF-8: {}", property.name, e.utf8_error())),
        // Latin-1's bytes are the first 256 characters of Unicode.
        "ISO-8859-1" | "LATIN1" => Ok(bytes.into_iter().map(char::from).collect()),
        other => Err(format!(
            "{} is in {other}; UTF-8 and ISO-8859-1 are read",
            property.name
        )),
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

    fn only(text: &str) -> Card {
        let mut cards: Vec<_> = cards(text.as_bytes()).collect();
        assert_eq!(cards.len(), 1);
        cards.remove(0).unwrap()
    }

    #[test]
    fn folding_escapes_groups_and_parameters_are_read() {
        let card = only(
            "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada\r\n  Love\r\n\tlace\r\nitem1.TEL;TYPE=\"cell,voice\";PREF=1:+1\r\n\
             NOTE:a\\, b\\; c\\nd \\\\ e\r\nN:Love\\;lace;Ada;;;\r\nEND:VCARD\r\n",
        );
        let [_, name, tel, note, n] = card.properties.as_slice() else {
            panic!("{card:?}");
        };
        assert_eq!(name.text(), "Ada Lovelace");
        assert_eq!((tel.name.as_str(), tel.text()), ("TEL", "+1".to_owned()));
        assert_eq!(tel.types(), ["cell", "voice"]);
        assert_eq!(note.text(), "a, b; c\nd \\ e");
        assert_eq!(n.components(), ["Love;lace", "Ada", "", "", ""]);
    }

    #[test]
    fn android_2_1_in_quoted_printable_is_read() {
        let card = only(
            "BEGIN:VCARD\nVERSION:2.1\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Mu=C3=B1=\noz;Jos=C3=A9;;;\n\
             TEL;CELL;PREF:600\nFN;ENCODING=QUOTED-PRINTABLE;CHARSET=ISO-8859-1:Jos=E9 =3D=\nEND:VCARD\n",
        );
        let [_, n, tel, name] = card.properties.as_slice() else {
            panic!("{card:?}");
        };
        assert_eq!(n.components(), ["Muñoz", "José", "", "", ""]);
        assert_eq!(tel.types(), ["cell", "pref"]);
        assert_eq!(name.text(), "José ==");
    }

    #[test]
    fn a_broken_card_costs_only_itself() {
        let file = "junk\nBEGIN:VCARD\nFN:A\nEND:VCARD\n\nBEGIN:VCARD\nno colon\nEND:VCARD\nBEGIN:VCARD\nFN:lost\n\
                    BEGIN:VCARD\nFN:B\nEND:VCARD\nBEGIN:VCARD\nFN:cut off";
        let told: Vec<_> = cards(file.as_bytes())
            .map(|card| match card {
                Ok(card) => card.properties[0].text(),
                Err(error) => error.to_string(),
            })
            .collect();
        assert_eq!(
            told,
            [
                "line 1: expected BEGIN:VCARD",
                "A",
                "line 7: there is no `:` behind the property's name",
                "line 9: this card has no END:VCARD",
                "B",
                "line 14: this card has no END:VCARD",
            ]
        );
    }

    #[test]
    fn a_character_set_that_is_not_known_is_told() {
        let file =
            "BEGIN:VCARD\nFN;CHARSET=Shift_JIS:x\nEND:VCARD\nBEGIN:VCARD\nFN:\u{0}\nEND:VCARD";
        let first = cards(file.as_bytes()).next().unwrap().unwrap_err();
        assert_eq!(
            first.to_string(),
            "line 2: FN is in SHIFT_JIS; UTF-8 and ISO-8859-1 are read"
        );
        let latin = cards(b"BEGIN:VCARD\nFN:\xff\nEND:VCARD").next().unwrap();
        assert!(latin.unwrap_err().to_string().contains("not UTF-8"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = cards(&bytes).count();
        }

        #[test]
        fn any_text_comes_back_from_a_folded_card(text in "[ -~à-ÿ\n]{0,200}", width in 1usize..80) {
            let mut line = String::from("NOTE:");
            for c in text.chars() {
                match c {
                    '\n' => line.push_str("\\n"),
                    '\\' | ',' | ';' => line.extend(['\\', c]),
                    c => line.push(c),
                }
            }
            let chars: Vec<char> = line.chars().collect();
            let folded: Vec<String> = chars.chunks(width).map(|c| c.iter().collect()).collect();
            let file = format!("BEGIN:VCARD\r\n{}\r\nEND:VCARD\r\n", folded.join("\r\n "));
            prop_assert_eq!(only(&file).properties[0].text(), text);
        }
    }
}
