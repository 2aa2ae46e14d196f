//! Parts of long SMS that came, until all of them have.
//!
//! They are kept in the store, since the network does not send a part twice, and in bounds, since some never come.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, params};

use crate::gsm::user_data::Concatenation;
use crate::serve::builtin::store::{StoreError, full};

/// Parts that wait for others at most; the oldest go first.
const PARTS_MAX: u32 = 1_024;

/// For how long a part waits. Then its reference means another message.
const KEPT_S: i64 = 3 * 24 * 60 * 60;

/// Its table.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS sms_parts (
        id INTEGER PRIMARY KEY,
        sender TEXT NOT NULL,
        reference INTEGER NOT NULL,
        total INTEGER NOT NULL,
        number INTEGER NOT NULL,
        tpdu BLOB NOT NULL,
        at_s INTEGER NOT NULL,
        UNIQUE (sender, reference, total, number)
    ) STRICT;";

/// Keeps a part; gives all of them in a row if that was the last one.
pub(super) fn take(
    connection: &Connection,
    sender: &str,
    joined: Concatenation,
    tpdu: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    let Concatenation {
        reference,
        total,
        number,
    } = joined;
    let now_s = now_s();
    connection.execute("DELETE FROM sms_parts WHERE at_s < ?1", [now_s - KEPT_S])?;
    connection
        .execute(
            "INSERT OR REPLACE INTO sms_parts (sender, reference, total, number, tpdu, at_s)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![sender, reference, total, number, tpdu, now_s],
        )
        .map_err(full)?;
    let last = connection.last_insert_rowid();
    connection.execute(
        "DELETE FROM sms_parts WHERE id <= ?1",
        [last - i64::from(PARTS_MAX)],
    )?;
    let mut select = connection.prepare_cached(
        "SELECT tpdu FROM sms_parts WHERE sender = ?1 AND reference = ?2 AND total = ?3 ORDER BY number",
    )?;
    let rows = select.query_map(params![sender, reference, total], |row| {
        row.get::<_, Vec<u8>>(0)
    })?;
    let tpdus = rows.collect::<Result<Vec<_>, _>>()?;
    if tpdus.len() < usize::from(total) {
        return Ok(None);
    }
    connection.execute(
        "DELETE FROM sms_parts WHERE sender = ?1 AND reference = ?2 AND total = ?3",
        params![sender, reference, total],
    )?;
    Ok(Some(tpdus.concat()))
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
