//! What a SIM card has room for: its phone book's records (TS 31.102, EF_ADN) and its messages (EF_SMS).
//!
//! A refusal says what would fit, so that whoever adds something knows what to send instead.

use super::address::Address;
use super::alphabet;
use super::sms::{self, TooLong};

/// What a SIM card has room for (TS 31.102: EF_ADN and EF_SMS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimCard {
    /// Entries of its phone book.
    pub contacts_max: u64,
    /// Octets of an entry's name.
    pub name_octets_max: usize,
    /// Digits of an entry's number.
    pub digits_max: usize,
    /// Messages.
    pub sms_max: u64,
}

/// Something that a card has no room for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {fault}")]
pub struct Misfit {
    /// `name`, `phones`, `phones[0].number`, `text`, `number`.
    pub field: &'static str,
    /// What is wrong with it, and what would fit.
    pub fault: String,
}

impl Misfit {
    fn new(field: &'static str, fault: impl Into<String>) -> Self {
        let fault = fault.into();
        Self { field, fault }
    }
}

/// Octets of the first byte that says that a name is in UCS-2 (TS 11.11, annex B: 0x80).
const UCS2_MARK: usize = 1;

/// Octets of a name in a record: one for each septet of the default alphabet, or else two for each unit of UCS-2, behind
/// a mark. `None`: it has a character that UCS-2 does not have.
pub fn name_octets(name: &str) -> Option<usize> {
    let septets = name.chars().map(alphabet::septets);
    if let Some(octets) = septets.sum::<Option<usize>>() {
        return Some(octets);
    }
    let plain = name.chars().all(|c| c.len_utf16() == 1);
    plain.then(|| UCS2_MARK + 2 * name.chars().count())
}

/// Whether a contact of this name and these numbers fits into a record of the card. The order of the fields is that in
/// which people read them.
pub fn contact_fits(card: &SimCard, name: &str, numbers: &[&str]) -> Result<(), Misfit> {
    let octets_max = card.name_octets_max;
    let Some(octets) = name_octets(name) else {
        let fault = "has a character that a SIM card does not know, such as an emoji; leave it out";
        return Err(Misfit::new("name", fault));
    };
    if octets > octets_max {
        let fitting = fitting_name(name, octets_max);
        let fault = format!(
            "takes {octets} octets on the SIM card, which has {octets_max}; \"{fitting}\" would fit"
        );
        return Err(Misfit::new("name", fault));
    }
    let number = match numbers {
        [number] => number,
        [] => {
            return Err(Misfit::new(
                "phones",
                "must have one number on the SIM card",
            ));
        }
        many => {
            let fault = format!(
                "has {} numbers; a contact on the SIM card has one: add one contact for each",
                many.len()
            );
            return Err(Misfit::new("phones", fault));
        }
    };
    number_fits(number, card.digits_max).map_err(|fault| Misfit::new("phones[0].number", fault))
}

/// Whether a message from or to this number is one TPDU, as the card keeps them.
pub fn message_fits(number: &str, text: &str) -> Result<(), Misfit> {
    if Address::parse(number).is_none() {
        let fault = "must be a number of 20 digits at most, or a name of 11 characters at most";
        return Err(Misfit::new("number", fault));
    }
    match sms::split(text) {
        Ok(split) if split.parts.len() == 1 => Ok(()),
        Ok(split) => {
            let (alphabet, most) = match split.units_max {
                67 => ("UCS-2 units", 70),
                _ => ("septets of the GSM alphabet", 160),
            };
            let fault = format!(
                "takes {} messages; the SIM card keeps messages of one part: {most} {alphabet} would fit",
                split.parts.len()
            );
            Err(Misfit::new("text", fault))
        }
        Err(error @ TooLong(_)) => Err(Misfit::new("text", error.to_string())),
    }
}

/// A dialling number in BCD: digits, `*`, `#`, and a `+` before them that takes none.
fn number_fits(number: &str, digits_max: usize) -> Result<(), String> {
    let written = |c: &char| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}');
    let plain: String = number.chars().filter(written).collect();
    let digits = plain.strip_prefix('+').unwrap_or(&plain);
    if digits.is_empty()
        || !digits
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'*' | b'#'))
    {
        return Err("must be digits, * and #, with a + before them at most".to_owned());
    }
    if digits.len() > digits_max {
        return Err(format!(
            "has {} digits; the SIM card has room for {digits_max}",
            digits.len()
        ));
    }
    Ok(())
}

/// As much of a name from its front as the card has room for.
fn fitting_name(name: &str, octets_max: usize) -> &str {
    let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
    let mut starts = ends.rev().filter_map(|end| name.get(..end));
    let fitting = starts.find(|start| name_octets(start).is_some_and(|o| o <= octets_max));
    fitting.unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIM_CARD: SimCard = SimCard {
        contacts_max: 250,
        name_octets_max: 18,
        digits_max: 20,
        sms_max: 30,
    };

    fn fault(name: &str, numbers: &[&str]) -> String {
        contact_fits(&SIM_CARD, name, numbers)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn r31_a_contact_fits_or_is_told_what_would() {
        assert_eq!(
            contact_fits(&SIM_CARD, "Ada Lovelace, AE &", &["+34 600 12-34"]),
            Ok(())
        );
        assert_eq!(contact_fits(&SIM_CARD, "Жанна Аг", &["*21#"]), Ok(()));
        assert_eq!(
            fault("Ada King Lovelace €", &["1"]),
            "name: takes 20 octets on the SIM card, which has 18; \"Ada King Lovelace\" would fit"
        );
        assert_eq!(
            fault("Жанна Агузарова", &["1"]),
            "name: takes 31 octets on the SIM card, which has 18; \"Жанна Аг\" would fit"
        );
        assert!(
            fault("😀", &["1"]).starts_with("name: has a character that a SIM card does not know")
        );
        assert_eq!(
            fault("A", &[]),
            "phones: must have one number on the SIM card"
        );
        assert!(fault("A", &["1", "2"]).starts_with("phones: has 2 numbers"));
        assert_eq!(
            fault("A", &["123456789012345678901"]),
            "phones[0].number: has 21 digits; the SIM card has room for 20"
        );
        assert!(fault("A", &["ada"]).starts_with("phones[0].number: must be digits"));
        assert!(fault("A", &["+"]).starts_with("phones[0].number: must be digits"));
    }

    #[test]
    fn r31_a_message_fits_if_it_is_one_tpdu() {
        let fault = |text: &str| message_fits("+34600", text).unwrap_err().to_string();
        assert_eq!(message_fits("BANK", &"a".repeat(160)), Ok(()));
        assert_eq!(message_fits("600", &"ж".repeat(70)), Ok(()));
        assert!(fault(&"a".repeat(161)).ends_with("160 septets of the GSM alphabet would fit"));
        assert!(fault(&"ж".repeat(71)).ends_with("70 UCS-2 units would fit"));
        assert!(fault(&"a".repeat(40_000)).contains("255 parts"));
        assert_eq!(
            message_fits("no number at all", "a").unwrap_err().field,
            "number"
        );
    }
}
