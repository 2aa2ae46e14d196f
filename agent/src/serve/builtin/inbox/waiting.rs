//! Messages that came while there was no room for them: they wait in the store until something is deleted.
//!
//! The network has handed them over and does not send them again, so they must not be lost. They have room of their own,
//! beside what items and files may have, and within bounds, since anybody can send.

use rusqlite::{Connection, OptionalExtension, params};

use super::messages::add;
use crate::serve::builtin::descriptions::{EMAILS, MMS, SMS};
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::resource::Resource;
use crate::serve::builtin::services::message_event;
use crate::serve::builtin::store::{Database, StoreError, full};

/// Messages that wait at most.
const MESSAGES_MAX: i64 = 4_096;

/// Bytes of them together at most.
const BYTES_MAX: i64 = 64 * 1024 * 1024;

/// What can come.
const RESOURCES: &[&Resource] = &[&SMS, &MMS, &EMAILS];

/// Its table. The sum is small work: there are few rows, and none as a rule.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS messages_waiting (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        resource TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        message BLOB NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS messages_waiting_by_resource ON messages_waiting (resource, id, bytes);";

/// Adds a message that came, or lets it wait if there is no room: `None`. In the caller's transaction.
pub(super) fn add_or_wait(
    connection: &Connection,
    resource: &'static Resource,
    message: &[u8],
) -> Result<Option<i64>, StoreError> {
    connection.execute_batch("SAVEPOINT came")?;
    let added = match add(connection, resource, message) {
        Err(StoreError::Full) => {
            connection.execute_batch("ROLLBACK TO came")?;
            wait(connection, resource, message)?;
            None
        }
        added => Some(added?),
    };
    connection.execute_batch("RELEASE came")?;
    Ok(added)
}

fn wait(connection: &Connection, resource: &Resource, message: &[u8]) -> Result<(), StoreError> {
    let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM messages_waiting";
    let (messages, bytes): (i64, i64) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let length = i64::try_from(message.len()).unwrap_or(i64::MAX);
    if messages >= MESSAGES_MAX || bytes.saturating_add(length) > BYTES_MAX {
        return Err(StoreError::Full);
    }
    connection
        .execute(
            "INSERT INTO messages_waiting (resource, bytes, message) VALUES (?1, ?2, ?3)",
            params![resource.name, length, message],
        )
        .map_err(full)?;
    tracing::warn!(
        resource = resource.name,
        "a message came that there is no room for; it waits until something is deleted"
    );
    Ok(())
}

/// Adds what waits, the oldest first, as far as there is room now.
pub(super) async fn take_in(handset: &Handset) {
    for &resource in RESOURCES {
        loop {
            let next = handset.store.run(move |db| next(db, resource));
            match next.await {
                Ok(Some(id)) => handset.events.tell(message_event(resource, id, "received")),
                Ok(None) | Err(StoreError::Full) => break,
                Err(error) => {
                    tracing::error!(%error, "a message that waits can't be kept now");
                    break;
                }
            }
        }
    }
}

/// From among those that wait into the list, all at once.
fn next(db: &mut Database, resource: &'static Resource) -> Result<Option<i64>, StoreError> {
    db.transaction(|transaction| {
        let sql =
            "SELECT id, message FROM messages_waiting WHERE resource = ?1 ORDER BY id LIMIT 1";
        let oldest: Option<(i64, Vec<u8>)> = transaction
            .prepare_cached(sql)?
            .query_row([resource.name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((id, message)) = oldest else {
            return Ok(None);
        };
        let added = add(transaction, resource, &message)?;
        transaction
            .execute("DELETE FROM messages_waiting WHERE id = ?1", [id])
            .map_err(full)?;
        Ok(Some(added))
    })
}
