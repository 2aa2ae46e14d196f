//! Emails and multimedia messages as they travel: RFC 5322 and MIME, read into an item's fields, and written from them.
//!
//! A message that came as one is kept word for word, and given so: what the fields don't show is in it. Its attachments
//! are counted from 1 in the order in which they stand, and read out of it when somebody asks ([`part`]).

mod modest;
mod read;
mod write;

pub use read::{Part, part, read};
pub use write::{Attachment, message, message_id};

use super::resource::{Form, Resource};
use super::store::Stored;

/// The media type of a message, and the form of emails and of multimedia messages.
pub const MEDIA_TYPE: &str = "message/rfc822";

/// What follows the digits of a number where a message wants an address (OMA-TS-MMS_ENC, 8).
const OF_A_NUMBER: &str = "/TYPE=PLMN";

/// R25, R26. A list has no such form: messages in a row would have to be changed to be told apart.
pub const FORM: Form = Form {
    media_type: MEDIA_TYPE,
    parameters: "",
    also_read: &[],
    read: Some(read),
    write: form,
    list: None,
    kept: true,
};

/// What was sent, word for word; of a message that came otherwise, what its fields say.
fn form(resource: &Resource, stored: &Stored, kept: Option<(&str, &[u8])>) -> Vec<u8> {
    match kept {
        Some((MEDIA_TYPE, bytes)) => bytes.to_vec(),
        _ => write::stored(resource, stored),
    }
}
