//! The rows of tasks: written with what belongs to them, in one transaction, and read for their own user alone.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{About, End, State, TASKS};
use crate::serve::builtin::descriptions::now;
use crate::serve::builtin::resource::{Item, Shape, Value};
use crate::serve::builtin::store::{StoreError, Stored, full};

/// Tasks of one user that are kept; the oldest that have ended go first.
pub const TASKS_PER_USER_MAX: u32 = 1_000;

/// A name that no user can have.
const NOBODY: &str = ":";

/// Its table.
pub const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS tasks (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        user TEXT NOT NULL,
        resource TEXT NOT NULL,
        action TEXT NOT NULL,
        state TEXT NOT NULL,
        status INTEGER,
        result TEXT,
        problem TEXT,
        detail TEXT,
        began TEXT NOT NULL,
        changed TEXT NOT NULL,
        handed INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX IF NOT EXISTS tasks_user ON tasks (user, id);
    CREATE INDEX IF NOT EXISTS tasks_open ON tasks (id) WHERE state IN ('asking', 'running');";

/// One task as it is kept.
#[derive(Debug, Clone)]
pub struct Task {
    /// Names it for good.
    pub id: i64,
    /// Whose it is.
    pub user: String,
    /// How far it is.
    pub state: State,
    item: Item,
}

/// Writes a new task; to be called in the transaction that writes what else belongs to it.
pub fn begin(
    connection: &Connection,
    about: &About,
    state: State,
    result: Option<&str>,
) -> Result<i64, StoreError> {
    let at = now();
    connection
        .prepare_cached(
            "INSERT INTO tasks (user, resource, action, state, result, began, changed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
        )?
        .execute(params![
            about.user,
            about.resource,
            about.action.name(),
            state.name(),
            result,
            at
        ])
        .map_err(full)?;
    let id = connection.last_insert_rowid();
    connection
        .prepare_cached(
            "DELETE FROM tasks WHERE user = ?1 AND state NOT IN ('asking', 'running') AND id <= (
                 SELECT id FROM tasks WHERE user = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![about.user, TASKS_PER_USER_MAX])?;
    Ok(id)
}

/// Writes how a task ended; one that has ended already stays as it is.
pub fn finish(connection: &Connection, id: i64, state: State, end: &End) -> Result<(), StoreError> {
    let (problem, detail) = end.problem.clone().unzip();
    connection
        .prepare_cached(
            "UPDATE tasks SET state = ?2, status = ?3, result = coalesce(?4, result), problem = ?5, detail = ?6, changed = ?7
             WHERE id = ?1 AND state IN ('asking', 'running')",
        )?
        .execute(params![
            id,
            state.name(),
            end.status,
            end.result,
            problem,
            detail,
            now()
        ])
        .map_err(full)?;
    Ok(())
}

/// The hardware is about to be told: from now on nobody knows how far it came if the agent is ended.
pub fn hand_over(connection: &Connection, id: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE tasks SET handed = 1 WHERE id = ?1")?
        .execute([id])
        .map_err(full)?;
    Ok(())
}

/// A task that the last run of the agent left open.
#[derive(Debug, Clone)]
pub struct Left {
    /// Which.
    pub id: i64,
    /// Whose it is.
    pub user: Arc<str>,
    /// The resource that was asked for.
    pub resource: String,
    /// The message that was to go, if one was.
    pub result: Option<String>,
    /// Whether the hardware was told.
    pub handed: bool,
}

/// What the last run of the agent left open.
pub fn left(connection: &Connection) -> Result<Vec<Left>, StoreError> {
    let mut select = connection.prepare(
        "SELECT id, user, resource, result, handed FROM tasks WHERE state IN ('asking', 'running')
         ORDER BY id",
    )?;
    let rows = select.query_map([], |row| {
        Ok(Left {
            id: row.get(0)?,
            user: row.get(1)?,
            resource: row.get(2)?,
            result: row.get(3)?,
            handed: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Breaks off what the last run of the agent had begun.
pub fn interrupt(connection: &Connection, id: i64) -> Result<(), StoreError> {
    let told = "The agent was ended meanwhile. Nobody knows how far it came; it is not done again by itself.";
    let end = End {
        problem: Some(("interrupted".to_owned(), told.to_owned())),
        ..End::default()
    };
    finish(connection, id, State::Interrupted, &end)
}

/// A user was taken away: what has ended goes, and what goes on, which must not be broken off halfway, is nobody's.
/// Whoever gets the name later begins with nothing.
pub fn forget_user(connection: &Connection, user: &str) -> Result<(), StoreError> {
    connection.execute(
        "DELETE FROM tasks WHERE user = ?1 AND state NOT IN ('asking', 'running')",
        [user],
    )?;
    connection.execute("UPDATE tasks SET user = ?2 WHERE user = ?1", [user, NOBODY])?;
    Ok(())
}

/// This user's task of this id.
pub fn one(connection: &Connection, user: &str, id: i64) -> Result<Option<Task>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM tasks WHERE id = ?1 AND user = ?2");
    let mut select = connection.prepare_cached(&sql)?;
    Ok(select.query_row(params![id, user], task).optional()?)
}

/// At most `limit` of this user's tasks behind the id `after`, and whether there are more.
pub fn list(
    connection: &Connection,
    user: &str,
    after: i64,
    limit: u32,
) -> Result<(Vec<Task>, bool), StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM tasks WHERE user = ?1 AND id > ?2 ORDER BY id LIMIT ?3");
    let mut select = connection.prepare_cached(&sql)?;
    let rows = select.query_map(params![user, after, i64::from(limit) + 1], task)?;
    let mut tasks = rows.collect::<Result<Vec<_>, _>>()?;
    let more = tasks.len() > limit as usize;
    tasks.truncate(limit as usize);
    Ok((tasks, more))
}

impl Task {
    /// As an item, with links behind this prefix.
    pub fn stored(mut self, prefix: &str) -> Stored {
        if let Some(result) = TASKS.text(&self.item, "result") {
            let result = Value::Text(format!("{prefix}{result}"));
            TASKS.put(&mut self.item, "result", result);
        }
        Stored {
            id: self.id,
            store: String::new(),
            item: self.item,
            content: None,
        }
    }
}

const COLUMNS: &str =
    "id, user, state, resource, action, status, result, problem, detail, began, changed";

fn task(row: &Row<'_>) -> rusqlite::Result<Task> {
    let mut item = TASKS.blank();
    for (position, field) in TASKS.fields.iter().enumerate() {
        let value = match field.shape {
            Shape::Number(..) => row.get::<_, Option<i64>>(field.name)?.map(Value::Number),
            _ => row.get::<_, Option<String>>(field.name)?.map(Value::Text),
        };
        if let Some(value) = value {
            item.set(position, value);
        }
    }
    let state: String = row.get("state")?;
    Ok(Task {
        id: row.get("id")?,
        user: row.get("user")?,
        state: State::named(&state),
        item,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::builtin::resource::Action;
    use crate::serve::builtin::store::Store;

    fn about(user: &str) -> About {
        About {
            user: user.into(),
            resource: "call",
            action: Action::Execute,
        }
    }

    #[tokio::test]
    async fn r46_the_oldest_that_have_ended_go_and_a_restart_interrupts_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("db"), &[]).unwrap();
        let work = store.run(|db| {
            let db = &db.connection().transaction()?;
            let open = begin(db, &about("alice"), State::Running, Some("/sms/4"))?;
            for _ in 0..TASKS_PER_USER_MAX {
                let id = begin(db, &about("alice"), State::Running, None)?;
                finish(db, id, State::Done, &End::with("/sms/5".to_owned()))?;
                // What has ended stays as it is.
                finish(db, id, State::Failed, &End::default())?;
            }
            assert!(one(db, "alice", open)?.is_some(), "it still runs");
            assert!(one(db, "alice", open + 1)?.is_some());
            begin(db, &about("alice"), State::Asking, None)?;
            begin(db, &about("bob"), State::Asking, None)?;
            assert!(one(db, "alice", open + 1)?.is_none(), "it was the oldest");
            assert!(one(db, "bob", open)?.is_none(), "it is alice's");
            let left = left(db)?;
            let results: Vec<_> = left.iter().map(|left| left.result.as_deref()).collect();
            assert_eq!(results, [Some("/sms/4"), None, None]);
            for left in left {
                interrupt(db, left.id)?;
            }
            let (tasks, more) = list(db, "alice", 0, 2)?;
            assert!(more);
            let states: Vec<_> = tasks.iter().map(|task| task.state).collect();
            assert_eq!(states, [State::Interrupted, State::Done]);
            let stored = tasks.into_iter().nth(1).unwrap().stored("/34600000001");
            assert_eq!(
                TASKS.text(&stored.item, "result"),
                Some("/34600000001/sms/5")
            );
            Ok(())
        });
        work.await.unwrap();
    }

    #[tokio::test]
    async fn r49_whoever_gets_the_name_of_a_user_who_is_gone_sees_no_task_of_theirs() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("db"), &[]).unwrap();
        let work = store.run(|db| {
            let db = &db.connection().transaction()?;
            let open = begin(db, &about("alice"), State::Running, Some("/sms/4"))?;
            let ended = begin(db, &about("alice"), State::Running, None)?;
            finish(db, ended, State::Done, &End::default())?;
            let bobs = begin(db, &about("bob"), State::Running, None)?;
            forget_user(db, "alice")?;
            assert!(list(db, "alice", 0, 9)?.0.is_empty());
            let left: Vec<_> = left(db)?.iter().map(|left| left.id).collect();
            assert_eq!(left, [open, bobs], "what goes on goes on");
            Ok(())
        });
        work.await.unwrap();
    }
}
