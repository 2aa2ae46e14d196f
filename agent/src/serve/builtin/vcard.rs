//! vCard files (RFC 6350, RFC 2426, and the 2.1 that phones still write): bytes to cards and back.
//!
//! A broken card is told by line and costs only itself: the next one is read. What is written is always 4.0, whatever
//! came in ([`upgrade`]). What a property means to a contact is [`super::contacts`]'s to say.

pub mod upgrade;

use super::contacts;
use super::content_line::{self, Line, LineError, Lines, Property};
use super::jscontact;
use super::resource::{FieldError, Form, Item, Resource};
use super::store::Stored;

/// Contacts as vCard.
pub const FORM: Form = Form {
    media_type: "text/vcard",
    parameters: "; version=4.0; charset=utf-8",
    also_read: &["text/x-vcard", "text/directory"],
    read: Some(read),
    write,
    list: Some(("", "", "")),
    kept: true,
};

/// Properties of one card at most.
const PROPERTIES_MAX: usize = 1_000;

/// One card: its properties in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Card {
    /// Line of its `BEGIN:VCARD`, from 1; 0 for one that was not read from a file.
    pub line: usize,
    /// Everything between BEGIN and END, `VERSION` included.
    pub properties: Vec<Property>,
}

/// A card that can't be read: where, and why.
pub type CardError = LineError;

/// Reads the cards of a file, one at a time. Lines between cards are passed over when they are blank, else reported.
pub fn cards(file: &[u8]) -> impl Iterator<Item = Result<Card, CardError>> {
    Cards {
        lines: Lines::new(file),
    }
}

impl Card {
    /// The first property of this name.
    pub fn first(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|p| p.name == name)
    }

    /// Whether it says that it is of this version.
    pub fn is_version(&self, version: &str) -> bool {
        self.first("VERSION")
            .is_some_and(|p| p.value.trim() == version)
    }

    /// Writes it between BEGIN and END.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"BEGIN:VCARD\r\n");
        for property in &self.properties {
            property.write(out);
        }
        out.extend_from_slice(b"END:VCARD\r\n");
    }
}

/// The one card of a body.
pub fn only(body: &[u8]) -> Result<Card, FieldError> {
    let refuse = |fault: &str| Err(FieldError::new("body", fault));
    let mut cards = cards(body);
    match (cards.next(), cards.next()) {
        (Some(Ok(card)), None) => Ok(card),
        (Some(Err(error)), _) => refuse(&format!("can't be read: {error}")),
        (Some(Ok(_)), Some(_)) => refuse("must be one card at a time"),
        (None, _) => refuse("holds no card"),
    }
}

fn read(_: &Resource, body: &[u8]) -> Result<Item, FieldError> {
    contacts::from_card(&only(body)?)
}

/// In 4.0. A card that was sent in 4.0 goes out word for word, folded anew; of an older one every property goes out as
/// 4.0 says it; of an item that came in neither way, its fields.
fn write(resource: &Resource, stored: &Stored, kept: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    match kept {
        Some((media_type, bytes)) if media_type.starts_with("text/") => match only(bytes) {
            Ok(card) if card.is_version("4.0") => word_for_word(bytes, &mut out),
            Ok(card) => upgrade::card(&card).write(&mut out),
            // Nothing is kept that was not read before; another agent may have written the file.
            Err(_) => contacts::to_card(resource, stored).write(&mut out),
        },
        Some((_, bytes)) => match jscontact::to_card(bytes) {
            Ok(card) => card.write(&mut out),
            Err(_) => contacts::to_card(resource, stored).write(&mut out),
        },
        None => contacts::to_card(resource, stored).write(&mut out),
    }
    out
}

fn word_for_word(bytes: &[u8], out: &mut Vec<u8>) {
    for line in Lines::new(bytes).filter(|line| !line.is_blank()) {
        content_line::fold(&line.bytes, out);
    }
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
            if !line.is_blank() {
                while !self.lines.next_is("BEGIN:VCARD") && self.lines.next().is_some() {}
                return Some(Err(CardError::new(line.number, "expected BEGIN:VCARD")));
            }
        }
    }
}

impl Cards<'_> {
    /// Reads up to END:VCARD, behind BEGIN:VCARD. A fault is kept until the card's end, so that reading goes on there.
    fn card(&mut self, begin: usize) -> Result<Card, CardError> {
        let mut properties: Vec<Property> = Vec::new();
        let mut broken = None;
        loop {
            // In 2.1 a card of somebody's agent stands in the card itself. Any other BEGIN is the next card's, and left
            // for the next call: a card without END must not swallow it.
            let nested = self.lines.next_is("BEGIN:VCARD");
            let agent = properties
                .last_mut()
                .filter(|p| nested && is_empty_agent(p));
            if let Some(agent) = agent {
                agent.value = self.nested(begin)?;
                continue;
            }
            let line = match nested {
                true => None,
                false => self.lines.next(),
            };
            let Some(line) = line else {
                return Err(CardError::new(begin, "this card has no END:VCARD"));
            };
            if line.is("END:VCARD") {
                break;
            }
            if broken.is_some() || line.is_blank() {
                continue;
            }
            match line.property() {
                Ok(_) if properties.len() >= PROPERTIES_MAX => {
                    let fault = format!("more than {PROPERTIES_MAX} properties");
                    broken = Some(CardError::new(line.number, fault));
                }
                // Anything else that begins or ends here would be another card when it is written.
                Ok(property) if ["BEGIN", "END"].contains(&&*property.name) => {
                    let fault = format!("{} is not of a card here", property.name);
                    broken = Some(CardError::new(line.number, fault));
                }
                Ok(property) => properties.push(property),
                Err(error) => broken = Some(error),
            }
        }
        match broken {
            Some(error) => Err(error),
            None => Ok(Card {
                line: begin,
                properties,
            }),
        }
    }

    /// The text of a card within a card, as the escaped value that it has in 3.0.
    fn nested(&mut self, begin: usize) -> Result<String, CardError> {
        let (mut text, mut depth) = (String::new(), 0_usize);
        let mut take = |line: &Line| {
            text.push_str(&String::from_utf8_lossy(&line.bytes));
            text.push('\n');
            text.len() <= content_line::LINE_BYTES_MAX
        };
        for line in self.lines.by_ref() {
            if !take(&line) {
                return Err(CardError::new(line.number, "the agent's card is too long"));
            }
            match (line.is("BEGIN:VCARD"), line.is("END:VCARD")) {
                (true, _) => depth += 1,
                (_, true) if depth <= 1 => return Ok(content_line::escape(&text)),
                (_, true) => depth -= 1,
                _ => {}
            }
        }
        Err(CardError::new(begin, "this card has no END:VCARD"))
    }
}

fn is_empty_agent(property: &Property) -> bool {
    property.name == "AGENT" && property.value.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn card(text: &str) -> Card {
        only(text.as_bytes()).unwrap()
    }

    #[test]
    fn folding_escapes_groups_and_parameters_are_read() {
        let card = card(
            "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada\r\n  Love\r\n\tlace\r\nitem1.TEL;TYPE=\"cell,voice\";PREF=1:+1\r\n\
             NOTE:a\\, b\\; c\\nd \\\\ e\r\nN:Love\\;lace;Ada;;;\r\nEND:VCARD\r\n",
        );
        let [_, name, tel, note, n] = card.properties.as_slice() else {
            panic!("{card:?}");
        };
        assert_eq!(name.text(), "Ada Lovelace");
        assert_eq!((tel.name.as_str(), tel.text()), ("TEL", "+1".to_owned()));
        assert_eq!(tel.group.as_deref(), Some("item1"));
        assert_eq!(tel.types(), ["cell", "voice"]);
        assert_eq!(note.text(), "a, b; c\nd \\ e");
        assert_eq!(n.components(), ["Love;lace", "Ada", "", "", ""]);
    }

    #[test]
    fn android_2_1_in_quoted_printable_is_read() {
        let card = card(
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
        let file = "BEGIN:VCARD\nFN;CHARSET=Klingon:x\nEND:VCARD\nBEGIN:VCARD\nFN:\u{0}\nEND:VCARD";
        let first = cards(file.as_bytes()).next().unwrap().unwrap_err();
        assert_eq!(
            first.to_string(),
            "line 2: FN is in Klingon, a character set that is not known; send it in UTF-8"
        );
        let latin = cards(b"BEGIN:VCARD\nFN:\xff\nEND:VCARD").next().unwrap();
        assert!(latin.unwrap_err().to_string().contains("not UTF-8"));
    }

    #[test]
    fn the_card_of_an_agent_stays_within_its_card() {
        let file = "BEGIN:VCARD\nVERSION:2.1\nFN:A\nAGENT:\nBEGIN:VCARD\nFN:B\nAGENT:\nBEGIN:VCARD\nFN:C\nEND:VCARD\n\
                    END:VCARD\nTEL:1\nEND:VCARD\nBEGIN:VCARD\nFN:D\nEND:VCARD\n";
        let cards: Vec<_> = cards(file.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(cards.len(), 2);
        let names: Vec<_> = cards[0]
            .properties
            .iter()
            .map(|p| p.name.as_str())
            .collect();
        assert_eq!(names, ["VERSION", "FN", "AGENT", "TEL"]);
        let agent = only(cards[0].properties[2].text().as_bytes()).unwrap();
        assert_eq!(agent.first("FN").unwrap().text(), "B");
        assert!(agent.first("AGENT").unwrap().text().contains("FN:C"));
    }

    #[test]
    fn what_begins_within_a_card_is_no_property_of_it() {
        let file = "BEGIN:VCARD\nFN:A\nBEGIN;X=1:VCARD\nEND:VCARD\n";
        let error = only(file.as_bytes()).unwrap_err().to_string();
        assert!(
            error.contains("line 3: BEGIN is not of a card here"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = cards(&bytes).count();
        }

        #[test]
        fn any_text_comes_back_from_a_folded_card(text in "[ -~à-ÿ\n]{0,200}", width in 1usize..80) {
            let line = format!("NOTE:{}", content_line::escape(&text));
            let chars: Vec<char> = line.chars().collect();
            let folded: Vec<String> = chars.chunks(width).map(|c| c.iter().collect()).collect();
            let file = format!("BEGIN:VCARD\r\n{}\r\nEND:VCARD\r\n", folded.join("\r\n "));
            prop_assert_eq!(card(&file).properties[0].text(), text);
        }
    }
}
