//! A text becomes messages, and messages become a text: alphabets, parts, and what joins them.

use time::OffsetDateTime;

use super::address::Address;
use super::alphabet;
use super::coding::Alphabet;
use super::timestamp::Timestamp;
use super::tpdu::{Deliver, Submit, TpduError, Validity};
use super::user_data::{Body, Concatenation, UserData};

/// Parts of one message at most: their number is one octet.
pub const PARTS_MAX: usize = 255;

/// What one message holds: alone, and as a part of a longer one, whose header takes six octets.
const SEPTETS: (usize, usize) = (160, 153);
const UNITS: (usize, usize) = (70, 67);

/// A text as it will be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// [`Alphabet::Gsm7`] if all of it can be said in that, else [`Alphabet::Ucs2`].
    pub alphabet: Alphabet,
    /// The text of each message; at least one, though it may be empty.
    pub parts: Vec<String>,
    /// Septets or UTF-16 units of the last one.
    pub units: usize,
    /// Septets or UTF-16 units that the last one holds.
    pub units_max: usize,
}

/// A text that [`PARTS_MAX`] messages do not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message has {PARTS_MAX} parts at most; this text would take {0}")]
pub struct TooLong(pub usize);

/// How a text is sent. No character is ever cut in two.
pub fn split(text: &str) -> Result<Split, TooLong> {
    let alphabet = match text.chars().all(|c| alphabet::septets(c).is_some()) {
        true => Alphabet::Gsm7,
        false => Alphabet::Ucs2,
    };
    let width = |c: char| match alphabet {
        Alphabet::Gsm7 => alphabet::septets(c).unwrap_or_default(),
        _ => c.len_utf16(),
    };
    let (alone, part) = match alphabet {
        Alphabet::Gsm7 => SEPTETS,
        _ => UNITS,
    };
    let whole: usize = text.chars().map(width).sum();
    if whole <= alone {
        return Ok(Split {
            alphabet,
            parts: vec![text.to_owned()],
            units: whole,
            units_max: alone,
        });
    }
    let mut parts = vec![String::new()];
    let mut units = 0;
    for character in text.chars() {
        if units + width(character) > part {
            parts.push(String::new());
            units = 0;
        }
        units += width(character);
        if let Some(last) = parts.last_mut() {
            last.push(character);
        }
    }
    match parts.len() {
        0..=PARTS_MAX => Ok(Split {
            alphabet,
            parts,
            units,
            units_max: part,
        }),
        many => Err(TooLong(many)),
    }
}

/// A text that can't be sent to this address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// It is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// It is no number, and no name that fits an address.
    #[error("it is no number of 20 digits or fewer, and no name of 11 characters or fewer")]
    Address,
    /// It does not fit a TPDU.
    #[error(transparent)]
    Tpdu(#[from] TpduError),
}

/// The SUBMITs that carry a text. `reference` joins them, if there are several: the next message of the same handset has
/// another one. With `report` each asks for a status report.
pub fn compose(
    to: &str,
    text: &str,
    reference: u8,
    report: bool,
) -> Result<Vec<Vec<u8>>, ComposeError> {
    let to = Address::parse(to).ok_or(ComposeError::Address)?;
    let split = split(text)?;
    let submit = |data| Submit {
        reject_duplicates: false,
        reply_path: false,
        report,
        reference: 0,
        to: to.clone(),
        protocol: 0,
        scheme: split.alphabet.scheme(),
        validity: Validity::Usual,
        data,
    };
    let each = user_data(&split, reference);
    Ok(each
        .map(|data| submit(data).encode())
        .collect::<Result<_, _>>()?)
}

/// The DELIVERs that bring a text: what a network makes of what somebody else composed.
pub fn deliver(
    from: &str,
    text: &str,
    reference: u8,
    at: OffsetDateTime,
) -> Result<Vec<Vec<u8>>, ComposeError> {
    let from = Address::parse(from).ok_or(ComposeError::Address)?;
    let split = split(text)?;
    let deliver = |data| Deliver {
        more: false,
        loop_prevention: false,
        report: false,
        reply_path: false,
        from: from.clone(),
        protocol: 0,
        scheme: split.alphabet.scheme(),
        at: Timestamp::of(at),
        data,
    };
    let each = user_data(&split, reference);
    Ok(each
        .map(|data| deliver(data).encode())
        .collect::<Result<_, _>>()?)
}

fn user_data(split: &Split, reference: u8) -> impl Iterator<Item = UserData> {
    let total = split.parts.len();
    split.parts.iter().enumerate().map(move |(at, text)| {
        let concatenation = Concatenation {
            reference: reference.into(),
            // At most `PARTS_MAX`.
            total: u8::try_from(total).unwrap_or(u8::MAX),
            number: u8::try_from(at + 1).unwrap_or(u8::MAX),
        };
        UserData {
            header: if total == 1 {
                Vec::new()
            } else {
                vec![concatenation.element()]
            },
            body: body(split.alphabet, text),
        }
    })
}

fn body(alphabet: Alphabet, text: &str) -> Body {
    match alphabet {
        Alphabet::Gsm7 => Body::Septets(alphabet::encode(text).unwrap_or_default()),
        _ => Body::Octets(text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
    }
}

/// The text of messages, in this order: a message by itself, or all parts of one. What was cut in two between parts is
/// whole again. Octets that are no text are left out.
pub fn join<'a>(parts: impl IntoIterator<Item = (u8, &'a UserData)>) -> String {
    let mut text = String::new();
    let (mut septets, mut units) = (Vec::new(), Vec::new());
    for (scheme, data) in parts {
        match (Alphabet::of(scheme), &data.body) {
            (Alphabet::Gsm7, Body::Septets(more)) => {
                text.push_str(&flush_units(&mut units));
                septets.extend(more);
            }
            (Alphabet::Ucs2, Body::Octets(more)) => {
                text.push_str(&flush_septets(&mut septets));
                let pairs = more.chunks_exact(2);
                units.extend(pairs.map(|pair| match pair {
                    [high, low] => u16::from_be_bytes([*high, *low]),
                    _ => 0,
                }));
            }
            _ => {}
        }
    }
    text.push_str(&flush_septets(&mut septets));
    text.push_str(&flush_units(&mut units));
    text
}

fn flush_septets(septets: &mut Vec<u8>) -> String {
    alphabet::decode(&std::mem::take(septets))
}

fn flush_units(units: &mut Vec<u16>) -> String {
    String::from_utf16_lossy(&std::mem::take(units))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tpdu::Tpdu;
    use super::*;

    fn parts(text: &str) -> (Alphabet, usize, usize, usize) {
        let split = split(text).unwrap();
        (
            split.alphabet,
            split.parts.len(),
            split.units,
            split.units_max,
        )
    }

    #[test]
    fn r42_parts_are_counted_as_every_handset_counts_them() {
        use Alphabet::{Gsm7, Ucs2};
        assert_eq!(parts(""), (Gsm7, 1, 0, 160));
        assert_eq!(parts(&"a".repeat(160)), (Gsm7, 1, 160, 160));
        assert_eq!(parts(&"a".repeat(161)), (Gsm7, 2, 8, 153));
        assert_eq!(parts(&"a".repeat(306)), (Gsm7, 2, 153, 153));
        assert_eq!(parts(&"a".repeat(307)), (Gsm7, 3, 1, 153));
        assert_eq!(parts(&"€".repeat(80)), (Gsm7, 1, 160, 160));
        // An escape is not cut from what it escapes: 76 to a part, and one septet of each stays empty.
        assert_eq!(parts(&"€".repeat(81)), (Gsm7, 2, 10, 153));
        assert_eq!(parts(&"ж".repeat(70)), (Ucs2, 1, 70, 70));
        assert_eq!(parts(&"ж".repeat(71)), (Ucs2, 2, 4, 67));
        assert_eq!(parts(&"😀".repeat(35)), (Ucs2, 1, 70, 70));
        assert_eq!(parts(&"😀".repeat(36)), (Ucs2, 2, 6, 67));
        assert_eq!(split(&"a".repeat(255 * 153)).unwrap().parts.len(), 255);
        assert_eq!(split(&"a".repeat(255 * 153 + 1)), Err(TooLong(256)));
    }

    #[test]
    fn r42_what_cant_be_addressed_is_refused() {
        assert_eq!(compose("", "a", 0, true), Err(ComposeError::Address));
        assert_eq!(
            compose("123456789012345678901", "a", 0, true),
            Err(ComposeError::Address)
        );
    }

    #[test]
    fn r24_parts_that_were_cut_in_two_are_whole_again() {
        let data = |octets: &[u8]| UserData {
            header: Vec::new(),
            body: Body::Octets(octets.to_vec()),
        };
        let (first, second) = (data(&[0, 0x61, 0xd8, 0x3d]), data(&[0xde, 0, 0, 0x62]));
        assert_eq!(join([(8, &first), (8, &second)]), "a😀b");
        assert_eq!(join([(4, &first)]), "", "octets are no text");
    }

    proptest! {
        #[test]
        fn r42_what_is_composed_is_joined(text in r"[a-zA-Z€^@\n]{0,400}|\PC{0,200}", reference: u8, report: bool) {
            let composed = compose("+34600123456", &text, reference, report).unwrap();
            let mut read = Vec::new();
            for (at, bytes) in composed.iter().enumerate() {
                prop_assert!(bytes.len() <= super::super::tpdu::OCTETS_MAX);
                let Tpdu::Submit(submit) = Tpdu::decode(bytes).unwrap() else { panic!() };
                prop_assert_eq!(submit.report, report);
                prop_assert_eq!(submit.to.shown(), "+34600123456");
                if let Some(part) = submit.data.concatenation() {
                    prop_assert_eq!(part.reference, u16::from(reference));
                    prop_assert_eq!((usize::from(part.total), usize::from(part.number)), (composed.len(), at + 1));
                } else {
                    prop_assert_eq!(composed.len(), 1);
                }
                read.push((submit.scheme, submit.data));
            }
            prop_assert_eq!(join(read.iter().map(|(scheme, data)| (*scheme, data))), text);
        }
    }
}
