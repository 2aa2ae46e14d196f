//! Parts of long SMS that came, until all of them have.
//!
//! They are kept in the store, since the network does not send a part twice, and in bounds, since some never come. Those
//! that are waited for no longer become messages of their own: what they say is not lost.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Params, params};

use crate::gsm::user_data::Concatenation;
use crate::serve::builtin::store::{StoreError, full};

/// Parts that wait for others at most; the oldest are given up first.
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

/// Keeps a part. Gives the messages that come of it: all parts in a row if it was the last one, and those that are waited
/// for no longer.
pub(super) fn take(
    connection: &Connection,
    sender: &str,
    joined: Concatenation,
    tpdu: &[u8],
) -> Result<Vec<Vec<u8>>, StoreError> {
    let Concatenation {
        reference,
        total,
        number,
    } = joined;
    let mut messages = late(connection)?;
    // The same part again is nothing new; another one in its place is of a later message.
    let other = "DELETE FROM sms_parts WHERE sender = ?1 AND reference = ?2 AND total = ?3
                 AND number = ?4 AND tpdu <> ?5 RETURNING tpdu";
    let place = params![sender, reference, total, number, tpdu];
    messages.extend(given_up(connection, other, place)?);
    connection
        .execute(
            "INSERT OR REPLACE INTO sms_parts (sender, reference, total, number, tpdu, at_s)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![sender, reference, total, number, tpdu, now_s()],
        )
        .map_err(full)?;
    let last = connection.last_insert_rowid();
    let beyond = "DELETE FROM sms_parts WHERE id <= ?1 RETURNING tpdu";
    messages.extend(given_up(connection, beyond, [last - i64::from(PARTS_MAX)])?);
    let mut select = connection.prepare_cached(
        "SELECT tpdu FROM sms_parts WHERE sender = ?1 AND reference = ?2 AND total = ?3 ORDER BY number",
    )?;
    let rows = select.query_map(params![sender, reference, total], |row| {
        row.get::<_, Vec<u8>>(0)
    })?;
    let tpdus = rows.collect::<Result<Vec<_>, _>>()?;
    if tpdus.len() < usize::from(total) {
        return Ok(messages);
    }
    connection.execute(
        "DELETE FROM sms_parts WHERE sender = ?1 AND reference = ?2 AND total = ?3",
        params![sender, reference, total],
    )?;
    messages.push(tpdus.concat());
    Ok(messages)
}

/// The parts whose others did not come in time, which wait no more.
pub(super) fn late(connection: &Connection) -> Result<Vec<Vec<u8>>, StoreError> {
    let late = "DELETE FROM sms_parts WHERE at_s < ?1 RETURNING tpdu";
    given_up(connection, late, [now_s() - KEPT_S])
}

fn given_up(
    connection: &Connection,
    delete: &str,
    which: impl Params,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut delete = connection.prepare_cached(delete)?;
    let rows = delete.query_map(which, |row| row.get(0))?;
    rows.collect::<Result<_, _>>().map_err(full)
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        connection
    }

    fn part(reference: u16, number: u8) -> Concatenation {
        Concatenation {
            reference,
            total: 2,
            number,
        }
    }

    #[test]
    fn r24_parts_that_are_waited_for_no_longer_are_not_lost() {
        let db = &opened();
        let took = |reference, number, tpdu: &[u8]| {
            take(db, "34600", part(reference, number), tpdu).unwrap()
        };
        let none: Vec<Vec<u8>> = Vec::new();
        assert_eq!(took(1, 1, b"a1"), none);
        assert_eq!(took(1, 1, b"a1"), none, "the same again");
        // The reference is used anew: the later message is whole, the earlier one's part stands alone.
        assert_eq!(took(1, 1, b"b1"), [b"a1"]);
        assert_eq!(took(1, 2, b"b2"), [b"b1b2"]);
        assert_eq!(took(2, 1, b"late"), none);
        db.execute("UPDATE sms_parts SET at_s = at_s - ?1", [KEPT_S + 1])
            .unwrap();
        assert_eq!(took(2, 2, b"too late"), [b"late"]);
        for n in 0..PARTS_MAX as u16 - 1 {
            assert_eq!(took(100 + n, 1, b"many"), none, "{n}");
        }
        assert_eq!(took(99, 1, b"many"), [b"too late"]);
        db.execute("UPDATE sms_parts SET at_s = 0", []).unwrap();
        assert_eq!(late(db).unwrap().len(), PARTS_MAX as usize);
    }
}
