//! Writes a message from an item's fields: encoded words, quoted-printable, base64 and the parts between boundaries.

use std::borrow::Cow;

use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use mail_builder::headers::date::Date;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::OF_A_NUMBER;
use crate::device::Number;
use crate::serve::builtin::resource::{Item, Resource, Value};
use crate::serve::builtin::store::Stored;

/// What hangs on a message that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// `image/jpeg`.
    pub media_type: String,
    /// The name of the file.
    pub name: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// A message that says what the item says. Without a `message_id` it gets one of its own, without an `at` this moment.
pub fn message(resource: &Resource, item: &Item, attachments: &[Attachment]) -> Vec<u8> {
    let id = resource.text(item, "message_id");
    let id = id.map_or_else(message_id, str::to_owned);
    build(resource, item, attachments, id)
}

/// An id that no other message has, and that tells nothing of the handset.
pub fn message_id() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness there is no handset that works; two messages would then look like one.
    let _ = getrandom::fill(&mut bytes);
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits}@handset.invalid")
}

/// A message that was not sent as one: the same each time it is asked for.
pub(super) fn stored(resource: &Resource, stored: &Stored) -> Vec<u8> {
    let id = match resource.text(&stored.item, "message_id") {
        Some(id) => id.to_owned(),
        None => format!("{}.{}@handset.invalid", resource.name, stored.id),
    };
    build(resource, &stored.item, &[], id)
}

fn build(resource: &Resource, item: &Item, attachments: &[Attachment], id: String) -> Vec<u8> {
    let mut message = MessageBuilder::new()
        .message_id(id)
        .date(date(resource, item));
    if let Some(from) = resource.text(item, "from") {
        message = message.from(address(from));
    }
    for (name, header) in [("to", "To"), ("cc", "Cc"), ("bcc", "Bcc")] {
        if let Some(Value::Lines(addresses)) = resource.value(item, name) {
            let all = addresses.iter().map(|one| address(one)).collect();
            message = message.header(header, Address::new_list(all));
        }
    }
    if let Some(subject) = resource.text(item, "subject") {
        message = message.subject(subject.to_owned());
    }
    let text = resource.text(item, "text").unwrap_or_default();
    // Lines end as they do on the wire; a field has plain line breaks.
    message = message.text_body(text.replace('\n', "\r\n"));
    for Attachment {
        media_type,
        name,
        bytes,
    } in attachments
    {
        message = message.attachment(media_type.as_str(), name.as_str(), bytes.as_slice());
    }
    // A vector takes whatever is written.
    message.write_to_vec().unwrap_or_default()
}

fn date(resource: &Resource, item: &Item) -> Date {
    let at = resource.text(item, "at");
    match at.and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok()) {
        Some(at) => Date::new(at.unix_timestamp()),
        None => Date::now(),
    }
}

/// `Ada <ada@example.com>`, `ada@example.com` or a number, as the fields have it.
fn address(shown: &str) -> Address<'static> {
    let (name, at) = match shown.strip_suffix('>').and_then(|s| s.rsplit_once('<')) {
        Some((name, at)) => (Some(name.trim()).filter(|n| !n.is_empty()), at.trim()),
        None => (None, shown.trim()),
    };
    let at = match Number::parse(at) {
        Some(number) => Cow::from(format!("{number}{OF_A_NUMBER}")),
        None => Cow::from(at.to_owned()),
    };
    Address::new_address(name.map(str::to_owned), at)
}
