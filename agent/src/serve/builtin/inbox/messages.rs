//! Messages that come (R24 to R26), and the status reports of those that went (R42).

use rusqlite::Connection;

use super::parts;
use super::waiting::add_or_wait;
use crate::gsm::tpdu::{StatusReport, Tpdu};
use crate::serve::builtin::descriptions::{SMS, now};
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::resource::{Resource, Value};
use crate::serve::builtin::services::{keep, message_event, settle};
use crate::serve::builtin::store::StoreError;

/// An SMS came, or a part of one.
pub(super) async fn sms(handset: &Handset, tpdu: Vec<u8>) {
    let joined = match Tpdu::decode(&tpdu) {
        Ok(Tpdu::Deliver(deliver)) => deliver
            .data
            .concatenation()
            .map(|joined| (deliver.from.shown(), joined)),
        // What can't be read is kept as it came.
        _ => None,
    };
    let Some((sender, joined)) = joined else {
        return came(handset, &SMS, tpdu).await;
    };
    let take = move |db: &Connection| parts::take(db, &sender, joined, &tpdu);
    of_parts(handset, take).await;
}

/// Parts of SMS whose others did not come in time become messages as they are.
pub(super) async fn late(handset: &Handset) {
    of_parts(handset, parts::late).await;
}

/// Keeps the messages that come of parts.
async fn of_parts(
    handset: &Handset,
    take: impl FnOnce(&Connection) -> Result<Vec<Vec<u8>>, StoreError> + Send + 'static,
) {
    let work = handset.store.run(move |db| {
        db.transaction(|transaction| {
            let messages = take(transaction)?;
            let added = messages
                .iter()
                .map(|message| add_or_wait(transaction, &SMS, message));
            added.collect::<Result<Vec<_>, _>>()
        })
    });
    match work.await {
        Ok(ids) => {
            for id in ids.into_iter().flatten() {
                handset.events.tell(message_event(&SMS, id, "received"));
            }
        }
        Err(error) => tracing::error!(%error, "a part of an SMS that came can't be kept"),
    }
}

/// A whole message came, in the form in which messages of its kind are kept.
pub(super) async fn came(handset: &Handset, resource: &'static Resource, message: Vec<u8>) {
    let work = handset
        .store
        .run(move |db| db.transaction(|transaction| add_or_wait(transaction, resource, &message)));
    match work.await {
        Ok(Some(id)) => handset.events.tell(message_event(resource, id, "received")),
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "a message that came can't be kept"),
    }
}

/// Keeps a message word for word, and what of it can be read: software that knows more may read more.
pub(super) fn add(
    connection: &Connection,
    resource: &'static Resource,
    message: &[u8],
) -> Result<i64, StoreError> {
    let form = resource.forms.iter().find(|form| form.kept);
    let read = form.and_then(|form| form.read);
    let mut item = match read.map(|read| read(resource, message)) {
        Some(Ok(item)) => item,
        Some(Err(error)) => {
            tracing::warn!(field = %error.field, "a message came that can't be read");
            resource.blank()
        }
        None => resource.blank(),
    };
    let mut put = |name, text: String| resource.put(&mut item, name, Value::Text(text));
    put("direction", "in".to_owned());
    put("state", "received".to_owned());
    if resource.value(&item, "at").is_none() {
        resource.put(&mut item, "at", Value::Text(now()));
    }
    let blob = form.map(|form| (form.media_type, message));
    keep(connection, resource, item, blob)
}

/// A status report came.
pub(super) async fn report(handset: &Handset, tpdu: &[u8]) {
    let report: StatusReport = match Tpdu::decode(tpdu) {
        Ok(Tpdu::StatusReport(report)) => report,
        Ok(_) => return tracing::warn!("what came as a status report is none"),
        Err(error) => return tracing::warn!(%error, "a status report came that can't be read"),
    };
    let work = handset.store.run(move |db| {
        db.transaction(|transaction| {
            let settled = settle(transaction, &report)?;
            Ok(settled)
        })
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
