//! JSContact (RFC 9553): contacts as JSON cards, converted from vCard and to it by RFC 9555.
//!
//! The way between the two is a card of vCard 4.0 in both directions: [`from_card`] and [`to_card`](to_card::card). What
//! one form has no home for travels in the other's own place for it: `vCardProps`, or the property JSPROP.

pub mod from_card;
mod parts;
pub mod to_card;

use super::contacts;
use super::resource::{FieldError, Form, Item, Resource};
use super::store::Stored;
use super::vcard::{self, Card, upgrade};
use blake2::{Blake2s256, Digest};
use serde_json::Value as Json;

/// Contacts as JSContact.
pub const FORM: Form = Form {
    media_type: "application/jscontact+json",
    parameters: "",
    also_read: &[],
    read: Some(read),
    write,
    list: Some(("[", ",", "]")),
    kept: true,
};

/// Properties whose values are alike enough for one rule: an object in a map, with one member that is the value.
const SIMPLE: &[Simple] = &[
    simple("EMAIL", "emails", "EmailAddress", "address", None),
    simple("TEL", "phones", "Phone", "number", None),
    simple("TITLE", "titles", "Title", "name", Some("title")),
    simple("ROLE", "titles", "Title", "name", Some("role")),
    simple("NOTE", "notes", "Note", "note", None),
    simple("CONTACT-URI", "links", "Link", "uri", Some("contact")),
    simple("URL", "links", "Link", "uri", None),
    simple("IMPP", "onlineServices", "OnlineService", "uri", None),
    simple(
        "SOCIALPROFILE",
        "onlineServices",
        "OnlineService",
        "uri",
        None,
    ),
    simple("PHOTO", "media", "Media", "uri", Some("photo")),
    simple("LOGO", "media", "Media", "uri", Some("logo")),
    simple("SOUND", "media", "Media", "uri", Some("sound")),
    simple("KEY", "cryptoKeys", "CryptoKey", "uri", None),
    simple("SOURCE", "directories", "Directory", "uri", Some("entry")),
    simple(
        "ORG-DIRECTORY",
        "directories",
        "Directory",
        "uri",
        Some("directory"),
    ),
    simple("CALURI", "calendars", "Calendar", "uri", Some("calendar")),
    simple("FBURL", "calendars", "Calendar", "uri", Some("freeBusy")),
    simple(
        "CALADRURI",
        "schedulingAddresses",
        "SchedulingAddress",
        "uri",
        None,
    ),
    simple(
        "LANG",
        "preferredLanguages",
        "LanguagePref",
        "language",
        None,
    ),
    simple(
        "EXPERTISE",
        "personalInfo",
        "PersonalInfo",
        "value",
        Some("expertise"),
    ),
    simple(
        "HOBBY",
        "personalInfo",
        "PersonalInfo",
        "value",
        Some("hobby"),
    ),
    simple(
        "INTEREST",
        "personalInfo",
        "PersonalInfo",
        "value",
        Some("interest"),
    ),
];

/// Parameters that are a member of the object by themselves.
const MEMBERS: &[(&str, &str)] = &[
    ("MEDIATYPE", "mediaType"),
    ("SERVICE-TYPE", "service"),
    ("USERNAME", "user"),
];

/// Types of a number, and the features that they are.
const FEATURES: &[(&str, &str)] = &[
    ("cell", "mobile"),
    ("voice", "voice"),
    ("text", "text"),
    ("video", "video"),
    ("main-number", "main-number"),
    ("textphone", "textphone"),
    ("fax", "fax"),
    ("pager", "pager"),
];

/// Types of anything, and the contexts that they are.
const CONTEXTS: &[(&str, &str)] = &[
    ("home", "private"),
    ("work", "work"),
    ("billing", "billing"),
    ("delivery", "delivery"),
];

/// Dates, and the kinds of anniversary that they are.
const DATES: &[(&str, &str)] = &[
    ("BDAY", "birth"),
    ("DEATHDATE", "death"),
    ("ANNIVERSARY", "wedding"),
];

/// Components of a name in the order of N, with the two that RFC 9554 added.
const NAME_KINDS: &[&str] = &[
    "surname",
    "given",
    "given2",
    "title",
    "credential",
    "surname2",
    "generation",
];

/// Components of an address in the order of ADR, with those that RFC 9554 added.
const ADDRESS_KINDS: &[&str] = &[
    "postOfficeBox",
    "apartment",
    "name",
    "locality",
    "region",
    "postcode",
    "country",
    "room",
    "apartment",
    "floor",
    "number",
    "name",
    "building",
    "block",
    "subdistrict",
    "district",
    "landmark",
    "direction",
];

/// See [`SIMPLE`].
#[derive(Debug)]
struct Simple {
    property: &'static str,
    map: &'static str,
    object: &'static str,
    member: &'static str,
    kind: Option<&'static str>,
}

const fn simple(
    property: &'static str,
    map: &'static str,
    object: &'static str,
    member: &'static str,
    kind: Option<&'static str>,
) -> Simple {
    Simple {
        property,
        map,
        object,
        member,
        kind,
    }
}

/// The card of vCard 4.0 that a JSContact card says.
pub fn to_card(body: &[u8]) -> Result<Card, FieldError> {
    let fault = |fault: String| Err(FieldError::new("body", fault));
    match serde_json::from_slice(body) {
        Ok(Json::Object(object)) => to_card::card(object),
        Ok(_) => fault("must be one JSContact card, a JSON object".to_owned()),
        Err(error) => fault(format!("is not JSON: {error}")),
    }
}

fn read(_: &Resource, body: &[u8]) -> Result<Item, FieldError> {
    contacts::from_card(&to_card(body)?)
}

/// What was sent as JSContact word for word; what was sent as vCard, or neither, by way of vCard 4.0.
fn write(resource: &Resource, stored: &Stored, kept: Option<(&str, &[u8])>) -> Vec<u8> {
    let card = match kept {
        Some((media_type, bytes)) if media_type == FORM.media_type => return bytes.to_vec(),
        Some((_, bytes)) => match vcard::only(bytes) {
            Ok(card) if card.is_version("4.0") => card,
            Ok(card) => upgrade::card(&card),
            Err(_) => contacts::to_card(resource, stored),
        },
        None => contacts::to_card(resource, stored),
    };
    let json = from_card::json(&card, || uid(resource, stored, &card));
    // Text, numbers, lists and objects always serialize.
    serde_json::to_vec(&json).unwrap_or_default()
}

/// A UID for a card that came without one: the same each time, since an item never changes.
fn uid(resource: &Resource, stored: &Stored, card: &Card) -> String {
    let mut bytes = Vec::new();
    card.write(&mut bytes);
    let hash = Blake2s256::new()
        .chain_update(resource.name)
        .chain_update(stored.id.to_be_bytes())
        .chain_update(&bytes)
        .finalize();
    let hex: String = hash.iter().take(16).map(|b| format!("{b:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    // Version 8 of RFC 9562: a UUID of our own making.
    format!(
        "urn:uuid:{}-{}-8{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    )
}

#[cfg(test)]
mod tests;
