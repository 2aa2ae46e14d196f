//! The audit log's table, its lines, and its pages: called on the store's thread by [`super::audit`] and whoever reads.

use std::sync::Arc;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row, params, params_from_iter};
use serde::{Deserialize, Serialize};

use super::{Act, By, Moment};
use crate::serve::builtin::store::StoreError;

/// The table.
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    user TEXT,
    resource TEXT NOT NULL,
    action TEXT NOT NULL,
    content TEXT NOT NULL,
    permitted INTEGER NOT NULL,
    decider TEXT NOT NULL,
    outcome TEXT,
    ended INTEGER,
    times INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS audit_of_user ON audit (user, id);
CREATE INDEX IF NOT EXISTS audit_light ON audit (id) WHERE NOT permitted OR action IN ('list', 'get');
CREATE TABLE IF NOT EXISTS audit_parted (
    user TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) WITHOUT ROWID, STRICT;";

/// Lines that tell of nothing that changed: refusals and reads. The index of the table says the same.
const LIGHT: &str = "NOT permitted OR action IN ('list', 'get')";

/// Parts of an act's content that a line keeps at most.
const PARTS_MAX: usize = 16;

/// Characters of one part that a line keeps at most.
const PART_CHARS_MAX: usize = 200;

/// The outcome of an act whose end nobody saw, since the agent was ended first.
const UNKNOWN: &str = "unknown: the agent was ended meanwhile";

/// One decision, as it is written.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: i64,
    at: Moment,
    user: Option<Arc<str>>,
    resource: &'static str,
    action: &'static str,
    content: String,
    permitted: bool,
    by: By,
    pub(super) ended: Option<(Moment, String)>,
    pub(super) times: u32,
}

/// What two lines have in common that are written as one.
type Sense = (
    Option<Arc<str>>,
    &'static str,
    &'static str,
    bool,
    By,
    Option<(String, String)>,
);

impl Line {
    pub(super) fn new(id: i64, at: Moment, act: &Act, permitted: bool, by: By) -> Self {
        let parts: Vec<_> = act
            .content
            .iter()
            .take(PARTS_MAX)
            .map(|detail| Part {
                name: detail.name.to_owned(),
                text: detail
                    .text
                    .chars()
                    .take(PART_CHARS_MAX)
                    .map(shown)
                    .collect(),
            })
            .collect();
        Self {
            id,
            at,
            user: act.caller.0.clone(),
            resource: act.resource,
            action: act.action.name(),
            // Text always serializes.
            content: serde_json::to_string(&parts).unwrap_or_default(),
            permitted,
            by,
            ended: None,
            times: 1,
        }
    }

    /// The same decision the other way.
    pub(super) fn denied(mut self) -> Self {
        self.permitted = false;
        self
    }

    /// Whether it tells of nothing that changed, as the table's index says it.
    pub(super) fn is_light(&self) -> bool {
        !self.permitted || matches!(self.action, "list" | "get")
    }

    /// Whether its end is still to come.
    pub(super) fn is_open(&self) -> bool {
        self.permitted && self.ended.is_none()
    }

    /// A refusal counts whatever its content was; what was done is alike only if its content and its outcome are.
    pub(super) fn sense(&self) -> Sense {
        let done = self.ended.as_ref();
        let done = done.map(|(_, outcome)| (self.content.clone(), outcome.clone()));
        (
            self.user.clone(),
            self.resource,
            self.action,
            self.permitted,
            self.by,
            done,
        )
    }
}

/// Control characters have no place in XML, nor in a file that a person opens.
fn shown(c: char) -> char {
    let plain = !c.is_control() || matches!(c, '\n' | '\t');
    let in_xml = !matches!(c, '\u{fffe}' | '\u{ffff}');
    if plain && in_xml { c } else { '\u{fffd}' }
}

/// One part of an act's content, as a line keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// `to`, `text`, `name`…
    pub name: String,
    /// Cut to what a line keeps.
    pub text: String,
}

/// One line of the log, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Names the line; a later one is larger.
    pub id: i64,
    /// When it was decided.
    pub at: Moment,
    /// Who wanted it; `None`: authentication was off.
    pub user: Option<String>,
    /// Of which resource.
    pub resource: String,
    /// Which action.
    pub action: String,
    /// Its content.
    pub content: Vec<Part>,
    /// Whether it was permitted.
    pub permitted: bool,
    /// Who decided: the name of a [`By`].
    pub by: String,
    /// How it ended; `None`: it was denied, or goes on.
    pub outcome: Option<String>,
    /// When it ended.
    pub ended: Option<Moment>,
    /// Lines that were alike, and are this one.
    pub times: i64,
}

impl Told {
    /// `allowed` or `denied`.
    pub fn decision(&self) -> &'static str {
        if self.permitted { "allowed" } else { "denied" }
    }
}

/// Whose lines are wanted.
#[derive(Debug, Clone, Default)]
pub enum Whose {
    /// Everybody's.
    #[default]
    All,
    /// Those of callers who did not say who they are.
    Nobody,
    /// Those of one user.
    User(String),
    /// Those of one user that are not of an earlier one of the same name.
    Own(String),
}

/// Which lines are wanted; `None`: whatever it is.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Whose.
    pub whose: Whose,
    /// Of this resource alone.
    pub resource: Option<String>,
    /// Of this action alone.
    pub action: Option<String>,
    /// Permitted ones alone, or denied ones.
    pub permitted: Option<bool>,
}

/// Closes the lines that an ended agent left open; tells the last id, and how many lines are light and weighty.
pub(super) fn begin(connection: &Connection, now: Moment) -> Result<(i64, i64, i64), StoreError> {
    connection.execute(
        "UPDATE audit SET outcome = ?1, ended = ?2 WHERE permitted AND outcome IS NULL",
        params![UNKNOWN, now.0],
    )?;
    // The part that they end has gone line by line.
    connection.execute(
        "DELETE FROM audit_parted WHERE at < coalesce((SELECT min(at) FROM audit), 0)",
        [],
    )?;
    let sql = format!(
        "SELECT coalesce(max(id), 0), count(*), count(*) FILTER (WHERE {LIGHT}) FROM audit"
    );
    let (last, rows, light): (i64, i64, i64) =
        connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok((last, light, rows - light))
}

/// Ends a user's part of the log: what is there by now is of nobody who gets the name later.
pub(super) fn part(connection: &Connection, now: Moment, user: &str) -> Result<(), StoreError> {
    connection.execute(
        "INSERT OR REPLACE INTO audit_parted (user, at) VALUES (?1, ?2)",
        params![user, now.0],
    )?;
    Ok(())
}

pub(super) fn insert(connection: &Connection, line: &Line) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO audit (id, at, user, resource, action, content, permitted, decider, outcome, ended, times)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    insert.execute(params![
        line.id,
        line.at.0,
        line.user.as_deref(),
        line.resource,
        line.action,
        line.content,
        line.permitted,
        line.by.name(),
        line.ended.as_ref().map(|(_, outcome)| outcome),
        line.ended.as_ref().map(|(at, _)| at.0),
        line.times
    ])?;
    Ok(())
}

pub(super) fn end(
    connection: &Connection,
    id: i64,
    at: Moment,
    outcome: &str,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE audit SET outcome = ?2, ended = ?3 WHERE id = ?1")?
        .execute(params![id, outcome, at.0])?;
    Ok(())
}

/// Deletes so many of the oldest lines that are light, or weighty; tells how many there were.
pub(super) fn prune(connection: &Connection, light: bool, lines: i64) -> Result<i64, StoreError> {
    if lines <= 0 {
        return Ok(0);
    }
    let which = if light { "" } else { "NOT " };
    let sql = format!(
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE {which}({LIGHT}) ORDER BY id LIMIT ?1)"
    );
    let gone = connection.prepare_cached(&sql)?.execute([lines])?;
    Ok(i64::try_from(gone).unwrap_or_default())
}

/// At most `limit` lines older than the id `before`, newest first, and whether there are more.
pub fn page(
    connection: &Connection,
    filter: &Filter,
    before: i64,
    limit: u32,
) -> Result<(Vec<Told>, bool), StoreError> {
    select(connection, filter, ("id < ?", "DESC"), before, limit)
}

/// At most `limit` lines newer than the id `after`, oldest first, and whether there are more.
pub fn file(
    connection: &Connection,
    filter: &Filter,
    after: i64,
    limit: u32,
) -> Result<(Vec<Told>, bool), StoreError> {
    select(connection, filter, ("id > ?", "ASC"), after, limit)
}

fn select(
    connection: &Connection,
    filter: &Filter,
    (from, order): (&str, &str),
    id: i64,
    limit: u32,
) -> Result<(Vec<Told>, bool), StoreError> {
    let mut sql = format!(
        "SELECT id, at, user, resource, action, content, permitted, decider, outcome, ended, times
         FROM audit WHERE {from}"
    );
    let mut values = vec![Sql::Integer(id)];
    match &filter.whose {
        Whose::All => {}
        Whose::Nobody => sql.push_str(" AND user IS NULL"),
        Whose::User(user) => {
            sql.push_str(" AND user = ?");
            values.push(Sql::Text(user.clone()));
        }
        Whose::Own(user) => {
            sql.push_str(
                " AND user = ? AND at > coalesce((SELECT parted.at FROM audit_parted parted WHERE parted.user = ?), -1)",
            );
            values.extend([Sql::Text(user.clone()), Sql::Text(user.clone())]);
        }
    }
    for (column, wanted) in [("resource", &filter.resource), ("action", &filter.action)] {
        if let Some(wanted) = wanted {
            sql.push_str(&format!(" AND {column} = ?"));
            values.push(Sql::Text(wanted.clone()));
        }
    }
    if let Some(permitted) = filter.permitted {
        sql.push_str(" AND permitted = ?");
        values.push(Sql::Integer(permitted.into()));
    }
    sql.push_str(&format!(" ORDER BY id {order} LIMIT ?"));
    values.push(Sql::Integer(i64::from(limit) + 1));
    let mut select = connection.prepare_cached(&sql)?;
    let rows = select.query_map(params_from_iter(values), told)?;
    let mut lines = rows.collect::<Result<Vec<_>, _>>()?;
    let more = lines.len() > limit as usize;
    lines.truncate(limit as usize);
    Ok((lines, more))
}

fn told(row: &Row<'_>) -> rusqlite::Result<Told> {
    let content: String = row.get(5)?;
    Ok(Told {
        id: row.get(0)?,
        at: Moment(row.get(1)?),
        user: row.get(2)?,
        resource: row.get(3)?,
        action: row.get(4)?,
        // What some other program wrote is shown without its content.
        content: serde_json::from_str(&content).unwrap_or_default(),
        permitted: row.get(6)?,
        by: row.get(7)?,
        outcome: row.get(8)?,
        ended: row.get::<_, Option<i64>>(9)?.map(Moment),
        times: row.get(10)?,
    })
}
