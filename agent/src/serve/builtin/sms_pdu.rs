//! SMS as they travel (TS 23.040): TPDUs read into an item's fields, kept as they are, and written from the fields.
//!
//! The body is one TPDU, a SUBMIT or a DELIVER, or all parts of one message in a row: a TPDU says itself where it ends.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::resource::{FieldError, Form, Item, Resource, Value};
use super::store::Stored;
use crate::gsm::address::Address;
use crate::gsm::coding::Alphabet;
use crate::gsm::sms::{self, PARTS_MAX};
use crate::gsm::tpdu::{Tpdu, TpduError};
use crate::gsm::user_data::UserData;

/// The media type of TPDUs in a row.
pub const MEDIA_TYPE: &str = "application/vnd.everline.sms-tpdu";

/// R24. A list has no such form: it could not be told where one message ends and the next begins.
pub const FORM: Form = Form {
    media_type: MEDIA_TYPE,
    parameters: "",
    also_read: &[],
    read: Some(read),
    write,
    list: None,
    kept: true,
};

/// One TPDU, as far as an item shows it.
struct Part {
    incoming: bool,
    number: String,
    at: Option<OffsetDateTime>,
    scheme: u8,
    data: UserData,
}

fn refuse(fault: impl Into<String>) -> FieldError {
    FieldError::new("body", fault)
}

fn read(resource: &Resource, body: &[u8]) -> Result<Item, FieldError> {
    let parts = parts(body)?;
    let Some(first) = parts.first() else {
        return Err(refuse("holds no TPDU"));
    };
    let mut item = resource.blank();
    let mut put = |name, text: String| resource.put(&mut item, name, Value::Text(text));
    put(
        "direction",
        if first.incoming { "in" } else { "out" }.to_owned(),
    );
    put("number", plain(&first.number));
    put(
        "text",
        plain(&sms::join(
            parts.iter().map(|part| (part.scheme, &part.data)),
        )),
    );
    if let Some(at) = first.at.and_then(|at| at.format(&Rfc3339).ok()) {
        put("at", at);
    }
    put("encoding", Alphabet::of(first.scheme).name().to_owned());
    let count = i64::try_from(parts.len()).unwrap_or(i64::MAX);
    resource.put(&mut item, "parts", Value::Number(count));
    Ok(item)
}

/// All parts of one message, in their order.
fn parts(mut body: &[u8]) -> Result<Vec<Part>, FieldError> {
    let mut parts = Vec::new();
    while !body.is_empty() {
        if parts.len() == PARTS_MAX {
            return Err(refuse(format!("holds more than {PARTS_MAX} TPDUs")));
        }
        let at = parts.len() + 1;
        let part = part(&mut body).map_err(|fault| refuse(format!("TPDU {at}: {fault}")))?;
        parts.push(part);
    }
    if parts.len() > 1 {
        let joined = |part: &Part| part.data.concatenation().map(|c| (c.reference, c.total));
        let message = parts
            .first()
            .map(|part| (joined(part), part.incoming, part.number.clone()));
        let same = |part: &Part| {
            joined(part).is_some()
                && Some((joined(part), part.incoming, part.number.clone())) == message
        };
        if !parts.iter().all(same) {
            let fault = "holds TPDUs of several messages; send one message at a time";
            return Err(refuse(fault));
        }
        parts.sort_by_key(|part| part.data.concatenation().map(|c| c.number));
        let complete = parts.iter().zip(1..).all(|(part, number)| {
            let said = part.data.concatenation();
            said.is_some_and(|said| said.number == number && usize::from(said.total) == parts.len())
        });
        if !complete {
            return Err(refuse("does not hold each part of its message once"));
        }
    }
    Ok(parts)
}

fn part(body: &mut &[u8]) -> Result<Part, String> {
    match Tpdu::take(body).map_err(|error: TpduError| error.to_string())? {
        Tpdu::Submit(submit) => Ok(Part {
            incoming: false,
            number: submit.to.shown(),
            at: None,
            scheme: submit.scheme,
            data: submit.data,
        }),
        Tpdu::Deliver(deliver) => Ok(Part {
            incoming: true,
            number: deliver.from.shown(),
            at: deliver.at.moment(),
            scheme: deliver.scheme,
            data: deliver.data,
        }),
        Tpdu::StatusReport(_) => Err("is a STATUS-REPORT, which is no message".to_owned()),
    }
}

/// Text from the air, without the control characters that no form can show.
fn plain(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let odd = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    text.chars()
        .map(|c| if odd(c) { '\u{fffd}' } else { c })
        .collect()
}

/// What was sent, octet for octet; of an item that came otherwise, what its fields say.
fn write(resource: &Resource, stored: &Stored, kept: Option<(&str, &[u8])>) -> Vec<u8> {
    if let Some((MEDIA_TYPE, bytes)) = kept {
        return bytes.to_vec();
    }
    let text = |name| resource.text(&stored.item, name).unwrap_or_default();
    let number = Address::nearest(text("number")).shown();
    // The parts of a message have the same reference, and its neighbours another one.
    let reference = stored.id.to_le_bytes()[0];
    let written = match text("direction") {
        "in" => {
            let at = OffsetDateTime::parse(text("at"), &Rfc3339);
            let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
            sms::deliver(&number, text("text"), reference, at)
        }
        _ => sms::compose(&number, text("text"), reference, true),
    };
    // An item holds no more text than its parts do, and its number was brought to fit.
    written.unwrap_or_default().concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::descriptions::SMS;
    use super::*;

    fn stored(item: Item) -> Stored {
        Stored {
            id: 7,
            store: "phone".to_owned(),
            item,
            content: None,
        }
    }

    fn fault(body: &[u8]) -> String {
        read(&SMS, body).unwrap_err().to_string()
    }

    #[test]
    fn r24_r29_a_tpdu_becomes_a_message_and_goes_out_as_it_came() {
        let at = OffsetDateTime::from_unix_timestamp(1_795_435_200).unwrap();
        let raw = sms::deliver("+34600123456", "¿Qué tal? 😀", 1, at)
            .unwrap()
            .concat();
        let item = read(&SMS, &raw).unwrap();
        let text = |name| SMS.text(&item, name).unwrap();
        assert_eq!(
            (text("direction"), text("number"), text("text")),
            ("in", "+34600123456", "¿Qué tal? 😀")
        );
        assert_eq!(
            (text("at"), text("encoding")),
            ("2026-11-23T12:00:00Z", "ucs-2")
        );
        assert_eq!(SMS.value(&item, "parts"), Some(&Value::Number(1)));
        let item = SMS.check(item).unwrap();
        assert_eq!(
            write(&SMS, &stored(item.clone()), Some((MEDIA_TYPE, &raw))),
            raw
        );
        assert_eq!(
            write(&SMS, &stored(item), None),
            raw,
            "its fields say all that it says"
        );
    }

    #[test]
    fn r24_r29_the_parts_of_one_message_are_one_item_in_any_order() {
        let long = "a".repeat(200) + "b";
        let mut parts = sms::compose("600", &long, 9, true).unwrap();
        parts.reverse();
        let item = read(&SMS, &parts.concat()).unwrap();
        assert_eq!(SMS.text(&item, "text"), Some(long.as_str()));
        assert_eq!(SMS.value(&item, "parts"), Some(&Value::Number(2)));
        let other = sms::compose("600", &long, 8, true).unwrap();
        assert!(
            fault(&[parts[0].clone(), other[0].clone()].concat()).contains("of several messages")
        );
        assert!(
            fault(&[parts[0].clone(), parts[0].clone()].concat())
                .contains("each part of its message once")
        );
    }

    #[test]
    fn r24_what_is_no_message_is_refused_and_said_where() {
        assert_eq!(fault(b""), "body: holds no TPDU");
        assert_eq!(fault(&[1]), "body: TPDU 1: it ends before it is complete");
        let raw = sms::compose("600", "a", 0, true).unwrap().concat();
        assert_eq!(
            fault(&[raw.clone(), vec![3]].concat()),
            "body: TPDU 2: it is no SUBMIT, DELIVER or STATUS-REPORT"
        );
        assert!(fault(&raw.repeat(256)).contains("more than 255"));
        assert!(fault(&raw.repeat(2)).contains("several messages"));
    }

    proptest! {
        #[test]
        fn r24_any_item_has_this_form_and_any_bytes_are_read_or_refused(
            number in r"\PC{1,32}", text in r"\PC{0,300}", incoming: bool, bytes: Vec<u8>,
        ) {
            let mut item = SMS.blank();
            SMS.put(&mut item, "number", Value::Text(number));
            SMS.put(&mut item, "text", Value::Text(text.clone()));
            let direction = if incoming { "in" } else { "out" };
            SMS.put(&mut item, "direction", Value::Text(direction.to_owned()));
            let raw = write(&SMS, &stored(item), None);
            let again = read(&SMS, &raw).unwrap();
            let shown = plain(&text);
            prop_assert_eq!(SMS.text(&again, "text"), Some(shown.as_str()));
            if let Ok(item) = read(&SMS, &bytes) {
                prop_assert!(SMS.text(&item, "direction").is_some());
            }
        }
    }
}
