//! Reads a message: what a list of messages shows goes into the fields, each within what its description allows.
//!
//! Messages of other people's programs are taken as they are: what is odd in them is left out of the fields, and never a
//! reason to refuse them.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{
    Address, DateTime, Encoding, Message, MessageParser, MessagePart, MimeHeaders, PartType,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{OF_A_NUMBER, modest};
use crate::serve::builtin::resource::{
    Entry, Field, FieldError, Item, LABEL_CHARS_MAX, Resource, Shape, Value,
};

/// One attachment, with its bytes as they were before they were encoded to travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it says that it is.
    pub media_type: String,
    /// The file name that it says.
    pub name: Option<String>,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// The item that a message says, not yet checked.
pub fn read(resource: &Resource, body: &[u8]) -> Result<Item, FieldError> {
    modest::check(body).map_err(|fault| FieldError::new("body", fault))?;
    let message = MessageParser::default()
        .parse(body)
        .filter(is_message)
        .ok_or_else(|| {
            let fault = "is not a message: it has none of From, To, Date, Subject and Message-ID (RFC 5322)";
            FieldError::new("body", fault)
        })?;
    let came = message.received().is_some()
        || ["Delivered-To", "Return-Path", "X-Received"]
            .iter()
            .any(|name| message.header(*name).is_some());
    let mut item = resource.blank();
    let direction = if came { "in" } else { "out" };
    let texts = [
        ("direction", Some(direction.to_owned())),
        (
            "from",
            message
                .from()
                .and_then(|from| shown(from).into_iter().next()),
        ),
        ("subject", message.subject().map(str::to_owned)),
        ("at", message.date().and_then(moment)),
        ("text", text(&message)),
        ("message_id", message.message_id().map(str::to_owned)),
    ];
    for (name, text) in texts {
        if let (Some((position, field)), Some(text)) = (resource.field(name), text) {
            let text = fitted(&text, field);
            if !text.is_empty() {
                item.set(position, Value::Text(text));
            }
        }
    }
    let lists = [
        ("to", message.to()),
        ("cc", message.cc()),
        ("bcc", message.bcc()),
    ];
    for (name, addresses) in lists {
        if let (Some((position, field)), Some(addresses)) = (resource.field(name), addresses) {
            let all = shown(addresses).into_iter().map(|one| fitted(&one, field));
            for one in all.filter(|one| !one.is_empty()).take(most(field)) {
                item.push_line(position, one);
            }
        }
    }
    if let Some((position, field)) = resource.field("attachments") {
        for (at, part) in message.attachments().enumerate().take(most(field)) {
            item.push(position, attachment(&message, part, at + 1, field));
        }
    }
    Ok(item)
}

/// The attachment of this number, counted from 1; `None`: there are fewer.
pub fn part(message: &[u8], number: usize) -> Option<Part> {
    // What came by itself is kept whatever it is.
    modest::check(message).ok()?;
    let message = MessageParser::default().parse(message)?;
    let at = u32::try_from(number.checked_sub(1)?).ok()?;
    let part = message.attachment(at)?;
    Some(Part {
        media_type: media_type(part, true),
        name: file_name(part),
        bytes: bytes(&message, part),
    })
}

/// Almost any line with a colon is a header field; a message has one that a message has.
fn is_message(message: &Message<'_>) -> bool {
    ["From", "To", "Date", "Subject", "Message-ID"]
        .iter()
        .any(|name| message.header(*name).is_some())
}

/// All that is to be read, one text behind the other. Of one that is there as HTML too, the plain one is taken. In a
/// multimedia message the texts stand beside the pictures, and a presentation says where each goes.
fn text(message: &Message<'_>) -> Option<String> {
    let bodies = (0..message.text_body_count()).filter_map(|at| message.body_text(at));
    let joined = |texts: Vec<String>| {
        let texts = texts.iter().map(|text| text.trim());
        let texts: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
        (!texts.is_empty()).then(|| texts.join("\n\n"))
    };
    joined(bodies.map(Cow::into_owned).collect()).or_else(|| {
        let beside = message.attachments().filter_map(|part| match &part.body {
            PartType::Text(text) if part.content_disposition().is_none() => Some(text.to_string()),
            _ => None,
        });
        joined(beside.collect())
    })
}

/// `Ada Lovelace <ada@example.com>`, or what there is of it; for a multimedia message `+34600123456`.
fn shown(addresses: &Address<'_>) -> Vec<String> {
    let one = |address: &mail_parser::Addr<'_>| {
        let name = address.name().map(str::trim).filter(|n| !n.is_empty());
        let at = address.address().map(str::trim).filter(|a| !a.is_empty());
        match (name, at) {
            (Some(name), Some(at)) => Some(format!("{name} <{}>", plain(at))),
            // A number alone is no address for those who read emails, and taken for a name.
            (Some(one), None) | (None, Some(one)) => Some(plain(one).to_owned()),
            (None, None) => None,
        }
    };
    addresses.iter().filter_map(one).collect()
}

/// A number without what says that it is one.
fn plain(address: &str) -> &str {
    let digits = address.len().checked_sub(OF_A_NUMBER.len());
    match digits.and_then(|digits| address.split_at_checked(digits)) {
        Some((number, kind)) if kind.eq_ignore_ascii_case(OF_A_NUMBER) => number,
        _ => address,
    }
}

/// A date as it was written, with its offset; `None` for one that no calendar has.
fn moment(date: &DateTime) -> Option<String> {
    let moment = date.to_rfc3339();
    OffsetDateTime::parse(&moment, &Rfc3339).ok()?;
    Some(moment)
}

fn attachment(
    message: &Message<'_>,
    part: &MessagePart<'_>,
    number: usize,
    field: &Field,
) -> Entry {
    let name = match &part.body {
        PartType::Message(inner) => file_name(part).or_else(|| inner.subject().map(str::to_owned)),
        _ => file_name(part),
    };
    let name = name.map(|name| fitted(&name, field)).unwrap_or_default();
    let label = media_type(part, false);
    Entry {
        label: match label.len() {
            ..=LABEL_CHARS_MAX => label,
            _ => "application/octet-stream".to_owned(),
        },
        value: match name.is_empty() {
            true => format!("{number} ({} bytes)", bytes(message, part).len()),
            false => name,
        },
    }
}

/// `type/subtype` as far as it is one; with the character set of a text, which its bytes are in.
fn media_type(part: &MessagePart<'_>, with_charset: bool) -> String {
    let fallback = match part.body {
        PartType::Text(_) => "text/plain",
        PartType::Message(_) => super::MEDIA_TYPE,
        _ => "application/octet-stream",
    };
    let Some(said) = part.content_type() else {
        return fallback.to_owned();
    };
    let subtype = said.subtype().unwrap_or_default();
    if !is_token(said.ctype()) || !is_token(subtype) {
        return fallback.to_owned();
    }
    let name = format!("{}/{subtype}", said.ctype()).to_ascii_lowercase();
    match said.attribute("charset") {
        Some(charset) if with_charset && name.starts_with("text/") && is_token(charset) => {
            format!("{name}; charset={charset}")
        }
        _ => name,
    }
}

/// RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// The name that it has; in a multimedia message the one by which the presentation calls it.
fn file_name(part: &MessagePart<'_>) -> Option<String> {
    let name = part
        .attachment_name()
        .or_else(|| part.content_location())
        .or_else(|| part.content_id())?;
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// As they were before they were encoded; a text keeps the character set that it was written in.
fn bytes(message: &Message<'_>, part: &MessagePart<'_>) -> Vec<u8> {
    match &part.body {
        PartType::Message(inner) => inner.raw_message().to_vec(),
        PartType::Text(_) | PartType::Html(_) => {
            let (from, to) = (part.raw_body_offset(), part.raw_end_offset());
            let raw = message.raw_message.get(from as usize..to as usize);
            let raw = raw.unwrap_or_default();
            let decoded = match part.encoding {
                Encoding::None => Some(raw.to_vec()),
                Encoding::Base64 => base64_decode(raw),
                Encoding::QuotedPrintable => quoted_printable_decode(raw),
            };
            decoded.unwrap_or_else(|| part.contents().to_vec())
        }
        _ => part.contents().to_vec(),
    }
}

/// What of a text its field has room for, without what can't be shown.
fn fitted(text: &str, field: &Field) -> String {
    let (lines, chars_max) = match field.shape {
        Shape::Line { chars_max } | Shape::Lines { chars_max, .. } => (false, chars_max),
        Shape::Labelled { chars_max, .. } => (false, chars_max),
        Shape::Text { chars_max } => (true, chars_max),
        _ => (false, usize::MAX),
    };
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let shown = text.chars().map(|c| match c {
        '\n' | '\t' if lines => c,
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        c if c.is_control() => ' ',
        c => c,
    });
    let shown: String = shown.collect();
    match shown.trim() {
        shown if shown.chars().count() <= chars_max => shown.to_owned(),
        long => {
            let cut: String = long.chars().take(chars_max.saturating_sub(1)).collect();
            format!("{}…", cut.trim_end())
        }
    }
}

fn most(field: &Field) -> usize {
    match field.shape {
        Shape::Lines { entries_max, .. } | Shape::Labelled { entries_max, .. } => entries_max,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::resource::ALL;
    use super::super::write::{Attachment, message};
    use super::*;

    fn emails() -> &'static Resource {
        ALL.iter()
            .find(|resource| resource.name == "emails")
            .unwrap()
    }

    /// Whatever was read fits the description: a message is never refused for what is in it.
    fn fits(bytes: &[u8]) {
        if let Ok(item) = read(emails(), bytes) {
            emails().check(item).unwrap();
        }
        for number in 0..4 {
            let _ = part(bytes, number);
        }
    }

    #[test]
    fn r26_what_does_not_fit_is_cut_and_never_refused() {
        let many = "a@example.com, ".repeat(1_000);
        let long = "x".repeat(200_000);
        let bytes = format!(
            "To: {many}\r\nSubject: \x07be\u{fffe}ll {long}\r\nDate: Mon, 99 Foo 2026 99:99:99\r\n\r\n{long}"
        );
        fits(bytes.as_bytes());
        let item = read(emails(), bytes.as_bytes()).unwrap();
        let item = emails().check(item).unwrap();
        assert!(
            emails()
                .text(&item, "subject")
                .unwrap()
                .starts_with(" be\u{fffd}ll".trim())
        );
        assert!(emails().text(&item, "text").unwrap().ends_with("x…"));
        assert_eq!(emails().text(&item, "at"), None);
        let Some(Value::Lines(to)) = emails().value(&item, "to") else {
            panic!("{item:?}")
        };
        assert_eq!(to.len(), 256);
    }

    #[test]
    fn r26_a_message_in_a_message_that_is_none_stops_nothing() {
        let inner = "Content-Type: message/rfc822\r\n\r\n";
        let bytes = format!(
            "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{inner}{inner}\r\n--b--\r\n"
        );
        fits(bytes.as_bytes());
        let item = read(emails(), bytes.as_bytes()).unwrap();
        assert_eq!(emails().text(&item, "subject"), Some("x"));
    }

    proptest! {
        #[test]
        fn r26_no_bytes_panic(bytes: Vec<u8>) {
            fits(&bytes);
            fits(&[b"From: a\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n", &bytes[..]].concat());
        }

        #[test]
        fn r26_no_headers_panic(lines in prop::collection::vec("(From|To|Date|Subject|Content-Type|Content-Disposition|Received): [ -~]{0,60}", 0..8), body in "[ -~\r\n]{0,200}") {
            fits(format!("{}\r\n\r\n{body}", lines.join("\r\n")).as_bytes());
        }

        #[test]
        fn r26_what_is_attached_comes_off_the_same(bytes: Vec<u8>, name in "[ -~à-ü日本語🎈]{1,80}", text in "\\PC{0,300}") {
            let mut item = emails().blank();
            emails().put(&mut item, "from", Value::Text("Ada <ada@example.com>".to_owned()));
            emails().put(&mut item, "text", Value::Text(text.clone()));
            let one = Attachment {
                media_type: "application/x-thing".to_owned(),
                name,
                bytes,
            };
            let raw = message(emails(), &item, std::slice::from_ref(&one));
            let came = part(&raw, 1).unwrap();
            prop_assert_eq!(came.bytes, one.bytes);
            prop_assert_eq!(came.media_type, one.media_type);
            prop_assert_eq!(came.name.unwrap_or_default(), one.name.trim());
            prop_assert_eq!(part(&raw, 2), None);
            let again = read(emails(), &raw).unwrap();
            prop_assert_eq!(emails().text(&again, "text").unwrap_or_default(), fitted(&text, emails().field("text").unwrap().1));
        }
    }
}
