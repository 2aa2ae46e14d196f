//! The access list (R65, R66): which user may do what with which resource, for how long, how many times.
//!
//! One row for each user, resource and action; `*` stands for every resource or every action. [`take`] is where the
//! notifier looks and counts down, in one statement; the rest is the list manager's. All of it runs on the store's thread.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::{Moment, log};
use crate::serve::builtin::store::StoreError;

/// The table.
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS access (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user TEXT NOT NULL,
    resource TEXT NOT NULL,
    action TEXT NOT NULL,
    kind TEXT NOT NULL,
    until INTEGER,
    uses_left INTEGER,
    since INTEGER NOT NULL,
    UNIQUE (user, resource, action)
) STRICT;
CREATE TABLE IF NOT EXISTS access_granted (
    entry TEXT PRIMARY KEY
) WITHOUT ROWID, STRICT;";

/// In an entry: every resource, or every action.
pub const ANY: &str = "*";

/// Entries at most.
pub const ENTRIES_MAX: i64 = 10_000;

/// Times of one entry at most.
pub const TIMES_MAX: i64 = 1_000_000;

/// Seconds for which an entry may permit at most: a year.
pub const SECONDS_MAX: i64 = 31_536_000;

/// How long an entry whose time is over is still shown.
const EXPIRED_SHOWN_MS: i64 = 24 * 60 * 60 * 1_000;

/// Types of access (R65).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Permitted.
    Unlimited,
    /// Permitted until a moment.
    Temporary,
    /// Permitted so many times.
    NumberOfTimes,
    /// Permitted the next time.
    OneTime,
    /// Denied the next time.
    OnceDenied,
    /// Denied, and nobody is asked.
    PermanentlyDenied,
}

impl Kind {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::Unlimited,
        Self::Temporary,
        Self::NumberOfTimes,
        Self::OneTime,
        Self::OnceDenied,
        Self::PermanentlyDenied,
    ];

    /// `unlimited`, `temporary`, `number-of-times`, `one-time`, `once-denied`, `permanently-denied`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unlimited => "unlimited",
            Self::Temporary => "temporary",
            Self::NumberOfTimes => "number-of-times",
            Self::OneTime => "one-time",
            Self::OnceDenied => "once-denied",
            Self::PermanentlyDenied => "permanently-denied",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether each act takes one use of it.
    pub fn is_counted(self) -> bool {
        matches!(self, Self::NumberOfTimes | Self::OneTime | Self::OnceDenied)
    }

    /// Whether an act is permitted by it.
    pub fn permits(self) -> bool {
        !matches!(self, Self::OnceDenied | Self::PermanentlyDenied)
    }
}

/// What an entry says: its kind, with the time or the number that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// [`Kind::Unlimited`].
    Unlimited,
    /// [`Kind::Temporary`], until this moment.
    Temporary(Moment),
    /// [`Kind::NumberOfTimes`], so many.
    NumberOfTimes(i64),
    /// [`Kind::OneTime`].
    OneTime,
    /// [`Kind::OnceDenied`].
    OnceDenied,
    /// [`Kind::PermanentlyDenied`].
    PermanentlyDenied,
}

impl Access {
    /// Its kind.
    pub fn kind(self) -> Kind {
        match self {
            Self::Unlimited => Kind::Unlimited,
            Self::Temporary(_) => Kind::Temporary,
            Self::NumberOfTimes(_) => Kind::NumberOfTimes,
            Self::OneTime => Kind::OneTime,
            Self::OnceDenied => Kind::OnceDenied,
            Self::PermanentlyDenied => Kind::PermanentlyDenied,
        }
    }

    fn until(self) -> Option<i64> {
        match self {
            Self::Temporary(until) => Some(until.0),
            _ => None,
        }
    }

    fn uses_left(self) -> Option<i64> {
        match self {
            Self::NumberOfTimes(times) => Some(times),
            Self::OneTime | Self::OnceDenied => Some(1),
            _ => None,
        }
    }
}

/// Whose entry, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The remote user.
    pub user: String,
    /// Name of a resource, or [`ANY`].
    pub resource: String,
    /// Name of an action, or [`ANY`].
    pub action: String,
}

/// One row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Names it.
    pub id: i64,
    /// Whose, and for what.
    pub subject: Subject,
    /// What it says.
    pub kind: Kind,
    /// Until when, if it has a time.
    pub until: Option<Moment>,
    /// How many times are left, if they are counted.
    pub uses_left: Option<i64>,
    /// When it was made or changed.
    pub since: Moment,
}

impl Entry {
    /// Whether its time is over.
    pub fn is_expired(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// What the list says to an act, and one use taken where uses are counted; `None`: it says nothing, and the owner is asked.
/// The most specific entry counts; one whose time is over or whose uses are used up counts no more.
///
/// The count-down is exact because it is one statement that holds only while a use is left, in the transaction of whoever
/// calls: nothing is done before that has committed, and a use that was taken is not given back.
pub fn take(
    connection: &Connection,
    now: Moment,
    (user, resource, action): (&str, &str, &str),
) -> Result<Option<Kind>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT id, kind, uses_left FROM access
         WHERE user = ?1 AND resource IN (?2, '*') AND action IN (?3, '*')
           AND (until IS NULL OR until > ?4) AND (uses_left IS NULL OR uses_left > 0)
         ORDER BY resource = '*', action = '*' LIMIT 1",
    )?;
    let found = select
        .query_row(params![user, resource, action, now.0], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                kind(row, 1)?,
                row.get::<_, Option<i64>>(2)?,
            ))
        })
        .optional()?;
    let Some((id, kind, uses_left)) = found else {
        return Ok(None);
    };
    if uses_left.is_none() {
        return Ok(Some(kind));
    }
    let taken = connection
        .prepare_cached(
            "UPDATE access SET uses_left = uses_left - 1 WHERE id = ?1 AND uses_left > 0",
        )?
        .execute([id])?;
    connection
        .prepare_cached("DELETE FROM access WHERE id = ?1 AND uses_left <= 0")?
        .execute([id])?;
    Ok((taken == 1).then_some(kind))
}

/// What the list says for good, or until a moment, to one act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is permitted; `None`: without end.
    Permitted(Option<Moment>),
    /// It is denied.
    Denied,
    /// The list says nothing, or nothing that lasts beyond one act.
    Nothing,
}

/// What the list says to an act that was permitted and goes on. No use is taken; entries whose uses are counted say nothing
/// to what was begun before.
pub(super) fn standing(
    connection: &Connection,
    now: Moment,
    (user, resource, action): (&str, &str, &str),
) -> Result<Standing, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT kind, until FROM access
         WHERE user = ?1 AND resource IN (?2, '*') AND action IN (?3, '*')
           AND (until IS NULL OR until > ?4) AND uses_left IS NULL
         ORDER BY resource = '*', action = '*' LIMIT 1",
    )?;
    let found = select
        .query_row(params![user, resource, action, now.0], |row| {
            Ok((kind(row, 0)?, row.get::<_, Option<i64>>(1)?))
        })
        .optional()?;
    Ok(match found {
        Some((kind, until)) if kind.permits() => Standing::Permitted(until.map(Moment)),
        Some(_) => Standing::Denied,
        None => Standing::Nothing,
    })
}

/// Puts an entry into the list, in the place of the one that was there for the same; whether it is a new one.
pub fn put(
    connection: &Connection,
    now: Moment,
    subject: &Subject,
    access: Access,
) -> Result<(Entry, bool), StoreError> {
    tidy(connection, now)?;
    let Subject {
        user,
        resource,
        action,
    } = subject;
    let earlier: Option<i64> = connection
        .query_row(
            "SELECT id FROM access WHERE user = ?1 AND resource = ?2 AND action = ?3",
            params![user, resource, action],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(id) = earlier {
        let entry = change(connection, now, id, access)?;
        return entry
            .map(|entry| (entry, false))
            .ok_or(StoreError::Broken(rusqlite::Error::QueryReturnedNoRows));
    }
    let entries: i64 = connection.query_row("SELECT count(*) FROM access", [], |row| row.get(0))?;
    if entries >= ENTRIES_MAX {
        return Err(StoreError::Full);
    }
    connection.execute(
        "INSERT INTO access (user, resource, action, kind, until, uses_left, since)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            user,
            resource,
            action,
            access.kind().name(),
            access.until(),
            access.uses_left(),
            now.0
        ],
    )?;
    let entry = Entry {
        id: connection.last_insert_rowid(),
        subject: subject.clone(),
        kind: access.kind(),
        until: access.until().map(Moment),
        uses_left: access.uses_left(),
        since: now,
    };
    Ok((entry, true))
}

/// Changes what an entry says; `None`: there is none of this id.
pub fn change(
    connection: &Connection,
    now: Moment,
    id: i64,
    access: Access,
) -> Result<Option<Entry>, StoreError> {
    connection.execute(
        "UPDATE access SET kind = ?2, until = ?3, uses_left = ?4, since = ?5 WHERE id = ?1",
        params![
            id,
            access.kind().name(),
            access.until(),
            access.uses_left(),
            now.0
        ],
    )?;
    let mut select = connection.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
    Ok(select.query_row([id], entry).optional()?)
}

/// Deletes an entry; `false` if there is none of this id.
pub fn delete(connection: &Connection, id: i64) -> Result<bool, StoreError> {
    Ok(connection.execute("DELETE FROM access WHERE id = ?1", [id])? == 1)
}

/// Takes every entry of a user away, and ends the user's part of the audit log: whoever gets the name later begins with
/// nothing.
pub fn forget_user(connection: &Connection, user: &str) -> Result<(), StoreError> {
    connection.execute("DELETE FROM access WHERE user = ?1", [user])?;
    log::part(connection, Moment::now(), user)
}

/// Whether there is a user of this name who may call. One who was there when a request came may be gone by now.
pub(super) fn admits(connection: &Connection, user: &str) -> Result<bool, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM users WHERE name = ?1 AND NOT disabled)")?;
    Ok(select.query_row([user], |row| row.get(0))?)
}

/// At most `limit` entries behind the id `after`, of one user or of all, and whether there are more.
pub fn list(
    connection: &Connection,
    user: Option<&str>,
    after: i64,
    limit: u32,
) -> Result<(Vec<Entry>, bool), StoreError> {
    let mut select = connection.prepare_cached(&format!(
        "{SELECT} WHERE id > ?1 AND (?2 IS NULL OR user = ?2) ORDER BY id LIMIT ?3"
    ))?;
    let rows = select.query_map(params![after, user, i64::from(limit) + 1], entry)?;
    let mut entries = rows.collect::<Result<Vec<_>, _>>()?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    Ok((entries, more))
}

/// Puts in what the configuration grants, each once: what the owner changed or deleted since does not come back. An entry
/// that the owner made is never replaced.
pub fn grant(
    connection: &Connection,
    now: Moment,
    subject: &Subject,
    access: Access,
) -> Result<(), StoreError> {
    let Subject {
        user,
        resource,
        action,
    } = subject;
    let name = format!("{resource} {action} {} {user}", access.kind().name());
    let new = connection.execute(
        "INSERT OR IGNORE INTO access_granted (entry) VALUES (?1)",
        [name],
    )?;
    let there: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM access WHERE user = ?1 AND resource = ?2 AND action = ?3)",
        params![user, resource, action],
        |row| row.get(0),
    )?;
    if new == 1 && !there {
        put(connection, now, subject, access)?;
    }
    Ok(())
}

/// Entries whose time was over long ago go.
pub(super) fn tidy(connection: &Connection, now: Moment) -> Result<(), StoreError> {
    connection.execute(
        "DELETE FROM access WHERE until <= ?1",
        [now.0.saturating_sub(EXPIRED_SHOWN_MS)],
    )?;
    Ok(())
}

const SELECT: &str = "SELECT id, user, resource, action, kind, until, uses_left, since FROM access";

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get(0)?,
        subject: Subject {
            user: row.get(1)?,
            resource: row.get(2)?,
            action: row.get(3)?,
        },
        kind: kind(row, 4)?,
        until: row.get::<_, Option<i64>>(5)?.map(Moment),
        uses_left: row.get(6)?,
        since: Moment(row.get(7)?),
    })
}

/// A word that no agent wrote permits nothing.
fn kind(row: &Row<'_>, column: usize) -> rusqlite::Result<Kind> {
    let name: String = row.get(column)?;
    Ok(Kind::named(&name).unwrap_or(Kind::PermanentlyDenied))
}

#[cfg(test)]
mod tests;
