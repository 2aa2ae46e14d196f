//! Messages that come (R24 to R26), and the status reports of those that went (R42).

use time::format_description::well_known::Rfc3339;

use super::parts::{self, Whole};
use crate::gsm::coding::Alphabet;
use crate::gsm::sms::join;
use crate::gsm::tpdu::{Deliver, StatusReport, Tpdu};
use crate::serve::builtin::descriptions::{SMS, now};
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::resource::{FieldError, Item, Resource, Value};
use crate::serve::builtin::services::{keep, message_event, settle};
use crate::serve::builtin::store::{StoreError, full};

/// An SMS came, or a part of one.
pub(super) async fn sms(handset: &Handset, tpdu: Vec<u8>) {
    let deliver = match Tpdu::decode(&tpdu) {
        Ok(Tpdu::Deliver(deliver)) => deliver,
        Ok(_) => return tracing::warn!("what came as an SMS is none"),
        Err(error) => return tracing::warn!(%error, "an SMS came that can't be read"),
    };
    let work = handset.store.run(move |db| {
        let transaction = db.connection().transaction()?;
        let whole = match deliver.data.concatenation() {
            Some(joined) => parts::take(&transaction, &deliver, joined, &tpdu)?,
            None => Some(Whole::Alone(deliver, tpdu)),
        };
        let id = match whole {
            Some(whole) => Some(add(&transaction, whole)?),
            None => None,
        };
        transaction.commit().map_err(full)?;
        Ok(id)
    });
    match work.await {
        Ok(Some(id)) => handset.events.tell(message_event(&SMS, id, "received")),
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "an SMS that came can't be kept"),
    }
}

fn add(connection: &rusqlite::Connection, whole: Whole) -> Result<i64, StoreError> {
    let item = item(whole.delivers());
    match whole {
        // As it came: it may hold what has no field.
        Whole::Alone(_, tpdu) => {
            let kept = kept_form(&SMS).map(|media_type| (media_type, tpdu.as_slice()));
            keep(connection, &SMS, item, kept)
        }
        Whole::Joined(_) => keep(connection, &SMS, item, None),
    }
}

/// The form in which an item of this resource is kept as it came, if that is one of its forms.
fn kept_form(resource: &Resource) -> Option<&'static str> {
    let mut kept = resource.forms.iter().filter(|form| form.kept);
    kept.next().map(|form| form.media_type)
}

fn item(delivers: &[Deliver]) -> Item {
    let mut item = SMS.blank();
    let Some(first) = delivers.first() else {
        return item;
    };
    let text = join(delivers.iter().map(|part| (part.scheme, &part.data)));
    let at = first.at.moment().and_then(|at| at.format(&Rfc3339).ok());
    let mut put = |name, text: String| SMS.put(&mut item, name, Value::Text(text));
    put("direction", "in".to_owned());
    put("number", plain(&first.from.shown(), 32));
    put("text", plain(&text, 39_015));
    put("at", at.unwrap_or_else(now));
    put("state", "received".to_owned());
    put("encoding", Alphabet::of(first.scheme).name().to_owned());
    let parts = i64::try_from(delivers.len()).unwrap_or(i64::MAX);
    SMS.put(&mut item, "parts", Value::Number(parts));
    item
}

/// Text from the air, without the control characters that no form can show.
fn plain(text: &str, chars_max: usize) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let odd = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    let shown = text.chars().map(|c| if odd(c) { '\u{fffd}' } else { c });
    shown.take(chars_max).collect()
}

/// A status report came.
pub(super) async fn report(handset: &Handset, tpdu: &[u8]) {
    let report: StatusReport = match Tpdu::decode(tpdu) {
        Ok(Tpdu::StatusReport(report)) => report,
        Ok(_) => return tracing::warn!("what came as a status report is none"),
        Err(error) => return tracing::warn!(%error, "a status report came that can't be read"),
    };
    let work = handset.store.run(move |db| {
        let transaction = db.connection().transaction()?;
        let settled = settle(&transaction, &report)?;
        transaction.commit().map_err(full)?;
        Ok(settled)
    });
    match work.await {
        Ok(Some(settled)) => {
            let event = message_event(&SMS, settled.item, settled.state);
            handset.events.tell(event);
        }
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "a status report can't be written down"),
    }
}

/// An MMS or an email came, as a MIME message.
pub(super) async fn mime(handset: &Handset, resource: &'static Resource, message: Vec<u8>) {
    let item = match read(resource, &message) {
        Ok(item) => item,
        Err(error) => {
            // What can't be read is kept all the same: somebody else's software may.
            tracing::warn!(field = %error.field, "a message came that can't be read");
            resource.blank()
        }
    };
    let work = handset.store.run(move |db| {
        let transaction = db.connection().transaction()?;
        let bytes = kept_form(resource).map(|media_type| (media_type, message.as_slice()));
        let id = keep(&transaction, resource, received(resource, item), bytes)?;
        transaction.commit().map_err(full)?;
        Ok(id)
    });
    match work.await {
        Ok(id) => handset.events.tell(message_event(resource, id, "received")),
        Err(error) => tracing::error!(%error, "a message that came can't be kept"),
    }
}

fn read(resource: &'static Resource, message: &[u8]) -> Result<Item, FieldError> {
    let form = resource.forms.iter().find(|form| form.kept);
    match form.and_then(|form| form.read) {
        Some(read) => resource.check(read(resource, message)?),
        None => Ok(resource.blank()),
    }
}

fn received(resource: &'static Resource, mut item: Item) -> Item {
    let mut put = |name, text: &str| resource.put(&mut item, name, Value::Text(text.to_owned()));
    put("direction", "in");
    put("state", "received");
    if resource.value(&item, "at").is_none() {
        resource.put(&mut item, "at", Value::Text(now()));
    }
    item
}
