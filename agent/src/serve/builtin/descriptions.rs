//! The descriptions of the personal data: what the manager, the forms and the store are all derived from (R18 to R35).
//!
//! One file for each kind of data. They hold no behaviour but what no other resource has: what the handset gives to an
//! added item, which fields have to go together, and what a SIM card has room for.

mod calendar;
mod calls;
mod contacts;
mod media;
mod messages;
mod notes;

pub use calendar::CALENDAR;
pub use calls::{INCOMING_CALLS, OUTGOING_CALLS};
pub use contacts::CONTACTS;
pub use media::{IMAGES, SOUNDS, VIDEOS};
pub use messages::{EMAILS, MMS, SMS};
pub use notes::NOTES;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::resource::{Action, Item, Resource, Value};

/// What may be asked of data that callers add themselves (R27 to R30).
const DATA: &[Action] = &[Action::List, Action::Get, Action::Add, Action::Delete];

/// This moment as a [`super::resource::Shape::Moment`] has it, in UTC and whole seconds.
pub fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    // A clock of this century always formats.
    now.format(&Rfc3339).unwrap_or_default()
}

/// Fills a field of text that came without anything.
fn fill(resource: &Resource, item: &mut Item, name: &str, text: impl FnOnce() -> String) {
    if resource.value(item, name).is_none() {
        resource.put(item, name, Value::Text(text()));
    }
}

/// A UID as RFC 7986, 5.3 wants it: random, and telling nothing of the handset.
fn uid() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness there is no handset that works; the item then has an id all the same.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
