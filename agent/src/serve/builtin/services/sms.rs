//! Sending an SMS (R42): as many messages as its text takes, and what the network's status reports say of them.
//!
//! The item in `/sms` is `sending` from the task's first row on, `sent` once the network has taken every part, and
//! `delivered` or `failed` when the reports say so. A report may come before the radio's answer was written down, and
//! days later: the references that wait for one are kept in the store, within bounds.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, params};

use super::job::{Draft, Job, message_event, set_state, url};
use crate::device::Number;
use crate::gsm::sms::{compose, split};
use crate::gsm::tpdu::{Outcome, StatusReport};
use crate::serve::builtin::descriptions::{SMS, now};
use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::resource::{FieldError, Item, Value};
use crate::serve::builtin::store::{StoreError, full, items};
use crate::serve::builtin::tasks::{End, State};

/// Parts that wait for a report at most; the oldest are given up first.
const SENT_MAX: u32 = 4_096;

/// Reports that came before their reference was written, at most.
const EARLY_MAX: u32 = 64;

/// How much earlier, at most: a reference is used again after 256 messages.
const EARLY_S: i64 = 300;

/// Digits by which numbers are compared: a report may have them with the country's code or without.
const COMPARED_DIGITS: usize = 8;

/// Its tables.
pub const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS sms_sent (
        id INTEGER PRIMARY KEY,
        item INTEGER NOT NULL,
        reference INTEGER NOT NULL,
        number TEXT NOT NULL,
        state TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS sms_sent_item ON sms_sent (item);
    CREATE INDEX IF NOT EXISTS sms_sent_reference ON sms_sent (reference, number, id) WHERE state = 'sent';
    CREATE TABLE IF NOT EXISTS sms_reports (
        id INTEGER PRIMARY KEY,
        reference INTEGER NOT NULL,
        number TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        at_s INTEGER NOT NULL
    ) STRICT;";

/// What a report changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The message.
    pub item: i64,
    /// Its state now.
    pub state: &'static str,
}

/// The message as it is kept before it goes.
pub fn draft(to: &Number, text: &str) -> Result<Item, Problem> {
    let split = split(text).map_err(|error| FieldError::new("text", error.to_string()))?;
    let parts = i64::try_from(split.parts.len()).unwrap_or(i64::MAX);
    let mut item = SMS.blank();
    let mut put = |name, text: &str| SMS.put(&mut item, name, Value::Text(text.to_owned()));
    put("direction", "out");
    put("number", to.as_str());
    put("text", text);
    put("at", &now());
    put("state", "sending");
    put("encoding", split.alphabet.name());
    SMS.put(&mut item, "parts", Value::Number(parts));
    Ok(item)
}

/// The number and the text of a message that is kept, and did not go yet.
pub fn kept(connection: &Connection, id: i64) -> Result<Option<(Number, String)>, StoreError> {
    let Some(stored) = items::item(connection, &SMS, id)? else {
        return Ok(None);
    };
    let text = |name| SMS.text(&stored.item, name).unwrap_or_default();
    Ok(Number::parse(text("number")).map(|to| (to, text("text").to_owned())))
}

/// Hands every part to the radio, one after the other.
pub async fn run(job: Job, to: &Number, text: &str, draft: Draft) {
    let Some((_, item)) = draft else {
        return;
    };
    // The parts of one message are told from those of the next by this.
    let joined = u8::try_from(item & 0xff).unwrap_or_default();
    let tpdus = match compose(to.as_str(), text, joined, true) {
        Ok(tpdus) => tpdus,
        Err(error) => {
            let problem = Problem::new(Kind::BadItem, error.to_string());
            return job.failed(problem, draft).await;
        }
    };
    if let Err(problem) = job.hand_over().await {
        return job.failed(problem, draft).await;
    }
    for tpdu in tpdus {
        match job.handset.device.send_sms(&tpdu).await {
            Ok(reference) => {
                let number = to.clone();
                let written = job.handset.store.run(move |db| {
                    db.transaction(|transaction| {
                        sent(transaction, item, reference, &number)?;
                        Ok(())
                    })
                });
                if let Err(error) = written.await {
                    // It went all the same: only its report will find nothing.
                    tracing::warn!(%error, item, "the reference of a message can't be written");
                }
            }
            Err(error) => return job.failed(error.into(), draft).await,
        }
    }
    job.finish(move |connection| {
        let settled = conclude(connection, item)?;
        if settled.is_none() {
            set_state(connection, &SMS, item, "sent", None)?;
        }
        let state = settled.map_or("sent", |settled| settled.state);
        let event = message_event(&SMS, item, state);
        Ok((State::Done, End::with(url((&SMS, item))), Some(event)))
    })
    .await;
}

/// The network took one part, under this reference.
fn sent(
    connection: &Connection,
    item: i64,
    reference: u8,
    number: &Number,
) -> Result<(), StoreError> {
    let number = compared(number.as_str());
    let early = connection
        .prepare_cached(
            "DELETE FROM sms_reports WHERE id = (
                 SELECT id FROM sms_reports
                 WHERE reference = ?1 AND number = ?2 AND abs(at_s - ?3) < ?4
                 ORDER BY id LIMIT 1) RETURNING state",
        )?
        .query_row(params![reference, number, now_s(), EARLY_S], |row| {
            row.get::<_, String>(0)
        })
        .optional()?;
    let state = early.unwrap_or_else(|| "sent".to_owned());
    connection
        .prepare_cached(
            "INSERT INTO sms_sent (item, reference, number, state) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![item, reference, number, state])
        .map_err(full)?;
    let last = connection.last_insert_rowid();
    connection
        .prepare_cached("DELETE FROM sms_sent WHERE id <= ?1")?
        .execute([last - i64::from(SENT_MAX)])?;
    items::set(
        connection,
        &SMS,
        item,
        "reference",
        Value::Number(reference.into()),
    )?;
    Ok(())
}

/// A report came: finds the part that it is about, and the message's state if that makes it another.
pub fn settle(
    connection: &Connection,
    report: &StatusReport,
) -> Result<Option<Settled>, StoreError> {
    let (state, reason) = match report.outcome() {
        Outcome::Delivered => ("delivered", None),
        Outcome::Failed(reason) => ("failed", Some(reason)),
        Outcome::Pending => return Ok(None),
    };
    let number = compared(&report.to.shown());
    let found: Option<i64> = connection
        .prepare_cached(
            "UPDATE sms_sent SET state = ?3 WHERE id = (
                 SELECT id FROM sms_sent WHERE reference = ?1 AND number = ?2 AND state = 'sent'
                 ORDER BY id DESC LIMIT 1) RETURNING item",
        )?
        .query_row(params![report.reference, number, state], |row| row.get(0))
        .optional()?;
    let Some(item) = found else {
        connection.execute(
            "INSERT INTO sms_reports (reference, number, state, reason, at_s) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![report.reference, number, state, reason, now_s()],
        )?;
        let last = connection.last_insert_rowid();
        connection.execute(
            "DELETE FROM sms_reports WHERE id <= ?1",
            [last - i64::from(EARLY_MAX)],
        )?;
        return Ok(None);
    };
    let settled = conclude(connection, item)?;
    if let (Some(reason), Some(_)) = (reason, &settled) {
        items::set(
            connection,
            &SMS,
            item,
            "error",
            Value::Text(reason.to_owned()),
        )?;
    }
    Ok(settled)
}

/// What the parts of a message say together, once they do.
fn conclude(connection: &Connection, item: i64) -> Result<Option<Settled>, StoreError> {
    let sql =
        "SELECT sum(state = 'delivered'), sum(state = 'failed') FROM sms_sent WHERE item = ?1";
    let (delivered, failed): (Option<i64>, Option<i64>) = connection
        .prepare_cached(sql)?
        .query_row([item], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let stored = items::item(connection, &SMS, item)?;
    let parts = stored.and_then(|stored| match SMS.value(&stored.item, "parts") {
        Some(Value::Number(parts)) => Some(*parts),
        _ => None,
    });
    let Some(parts) = parts else {
        // It was deleted: nobody wants to know any more.
        connection.execute("DELETE FROM sms_sent WHERE item = ?1", [item])?;
        return Ok(None);
    };
    let state = match (delivered, failed) {
        (_, Some(1..)) => "failed",
        (Some(delivered), _) if delivered >= parts => "delivered",
        _ => return Ok(None),
    };
    set_state(connection, &SMS, item, state, None)?;
    if state == "delivered" {
        items::set(connection, &SMS, item, "delivered_at", Value::Text(now()))?;
        connection.execute("DELETE FROM sms_sent WHERE item = ?1", [item])?;
    }
    Ok(Some(Settled { item, state }))
}

/// The end of a number, by which it is known again.
fn compared(number: &str) -> String {
    let digits: Vec<char> = number.chars().filter(char::is_ascii_digit).collect();
    let from = digits.len().saturating_sub(COMPARED_DIGITS);
    digits.into_iter().skip(from).collect()
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
