//! What takes time: every service, and every request whose owner is asked while its caller would not wait.
//!
//! A task is a row that says whose it is, what was asked for, how far it is and where its result can be read. Its user
//! alone sees it: at `/tasks`, by waiting at `/tasks/7`, or by the event `task`. What the hardware had in hand when the
//! agent was ended is `interrupted` at the next start and never done again, since nobody knows how far it came.

pub mod routes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;
use tokio::sync::{Notify, watch};

use super::descriptions::now;
use super::events::{Event, Events};
use super::problem::{Kind, Problem};
use super::resource::{Action, BODY_BYTES_MAX, Field, Item, Manager, Resource, Shape, Value};
use super::respond_async::Responses;
use super::store::{Store, StoreError, Stored, full};

/// Tasks that run or wait for the owner at a time, of all users together.
pub const RUNNING_MAX: usize = 64;

/// The same of one user: nobody takes all the room.
pub const RUNNING_PER_USER_MAX: usize = 16;

/// Tasks of one user that are kept; the oldest that have ended go first.
pub const TASKS_PER_USER_MAX: u32 = 1_000;

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

/// Its description: tasks look like the items of any resource. They are no resource of their own, since nobody has to
/// be asked whether somebody may know what they did themselves.
pub static TASKS: Resource = Resource {
    name: "tasks",
    item: "task",
    manager: Manager::PersonalData,
    actions: &[Action::List, Action::Get, Action::Delete],
    memories: &[],
    fields: &[
        Field::new("resource", Shape::Line { chars_max: 64 }).given(),
        Field::new("action", Shape::Line { chars_max: 16 }).given(),
        Field::new(
            "state",
            Shape::Choice(&[
                "asking",
                "running",
                "done",
                "failed",
                "denied",
                "interrupted",
            ]),
        )
        .given(),
        Field::new("status", Shape::Number(100, 599)).given(),
        Field::new("result", Shape::Line { chars_max: 256 }).given(),
        Field::new("problem", Shape::Line { chars_max: 64 }).given(),
        Field::new("detail", Shape::Text { chars_max: 1_024 }).given(),
        Field::new("began", Shape::Moment).given(),
        Field::new("changed", Shape::Moment).given(),
    ],
    forms: &[],
    content: None,
    complete: None,
    body_bytes_max: BODY_BYTES_MAX,
};

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The owner is being asked.
    Asking,
    /// The handset does it.
    Running,
    /// It was done.
    Done,
    /// It could not be done.
    Failed,
    /// The owner, or nobody, allowed it.
    Denied,
    /// It was broken off, and nobody knows how far it came.
    Interrupted,
}

impl State {
    /// As it is told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asking => "asking",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Interrupted => "interrupted",
        }
    }

    fn named(name: &str) -> Self {
        let all = [Self::Asking, Self::Running, Self::Done, Self::Failed];
        let found = all.into_iter().find(|state| state.name() == name);
        found.unwrap_or(match name == Self::Denied.name() {
            true => Self::Denied,
            false => Self::Interrupted,
        })
    }

    /// Whether it goes on.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Asking | Self::Running)
    }
}

/// What a task is about.
#[derive(Debug, Clone)]
pub struct About {
    /// Whose it is; empty while authentication is off.
    pub user: Arc<str>,
    /// The resource that was asked for.
    pub resource: &'static str,
    /// What was asked of it.
    pub action: Action,
}

/// How a task ended.
#[derive(Debug, Clone, Default)]
pub struct End {
    /// The status of a response that is kept, for a request that was answered asynchronously.
    pub status: Option<u16>,
    /// Where its result can be read: `/sms/9`.
    pub result: Option<String>,
    /// Why it was not done: slug and detail.
    pub problem: Option<(String, String)>,
}

impl End {
    /// It made this.
    pub fn with(result: String) -> Self {
        Self {
            result: Some(result),
            ..Self::default()
        }
    }

    /// It failed with this problem.
    pub fn problem(problem: &Problem) -> Self {
        let slug = problem.kind().told().1.to_owned();
        Self {
            problem: Some((slug, problem.detail().to_owned())),
            ..Self::default()
        }
    }
}

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

/// The tasks that are going on; a clone is the same ones.
#[derive(Debug, Clone)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// How many each user has going on.
    open: Mutex<HashMap<Arc<str>, usize>>,
    /// Counts changes, for those who wait at a task's URL.
    changed: watch::Sender<u64>,
    /// How the tasks that can be ended early are told to.
    stops: Mutex<HashMap<i64, Arc<Notify>>>,
    events: Events,
    responses: Responses,
}

/// The right to have a task going on; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    shared: Arc<Shared>,
    user: Arc<str>,
}

impl Tasks {
    /// None yet; `events` is told how they go on.
    pub fn new(events: Events) -> Self {
        let shared = Shared {
            open: Mutex::default(),
            changed: watch::Sender::default(),
            stops: Mutex::default(),
            events,
            responses: Responses::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Room for one more of this user, held until it has ended.
    pub fn slot(&self, user: &Arc<str>) -> Result<Slot, Problem> {
        let mut open = self.shared.open();
        let own = open.get(user).copied().unwrap_or_default();
        if own >= RUNNING_PER_USER_MAX || open.values().sum::<usize>() >= RUNNING_MAX {
            let detail = format!("{own} of yours are running or wait for the owner.");
            return Err(Problem::new(Kind::TooManyTasks, detail));
        }
        open.insert(Arc::clone(user), own + 1);
        Ok(Slot {
            shared: Arc::clone(&self.shared),
            user: Arc::clone(user),
        })
    }

    /// Tells everybody whom it concerns that a task is this far. To be called when that is on the disk.
    pub fn tell(&self, id: i64, about: &About, state: State, end: &End) {
        if !state.is_open() {
            self.stops().remove(&id);
        }
        self.shared.changed.send_modify(|n| *n = n.wrapping_add(1));
        self.shared.events.tell(Event {
            kind: "task",
            data: json!({
                "href": format!("/tasks/{id}"),
                "resource": about.resource,
                "action": about.action.name(),
                "state": state.name(),
                "result": end.result,
            }),
            user: Some(Arc::clone(&about.user)),
        });
    }

    /// Lets the task's user end it early, until it has ended: whoever does it waits for this.
    pub fn stoppable(&self, id: i64) -> Arc<Notify> {
        let stop = Arc::new(Notify::new());
        self.stops().insert(id, Arc::clone(&stop));
        stop
    }

    /// Ends a task early; `false` if it can't be.
    pub fn stop(&self, id: i64) -> bool {
        let stop = self.stops().get(&id).cloned();
        stop.is_some_and(|stop| {
            stop.notify_one();
            true
        })
    }

    /// Ends a task, unless that was done in a transaction with its result, and tells it. What fails here can't be told
    /// to anybody but the log; the next start makes the task `interrupted`.
    pub async fn end(&self, store: &Store, id: i64, about: &About, state: State, end: End) {
        let written = end.clone();
        let work = store.run(move |db| finish(db.connection(), id, state, &written));
        match work.await {
            Ok(()) => self.tell(id, about, state, &end),
            Err(error) => tracing::error!(%error, id, "how a task ended can't be written"),
        }
    }

    /// Answers those who wait for a task: the agent is ending.
    pub fn close(&self) {
        self.shared.events.close();
        self.shared.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// The responses that wait for those who did not.
    pub fn responses(&self) -> &Responses {
        &self.shared.responses
    }

    /// What counts every change of a task.
    fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    fn stops(&self) -> MutexGuard<'_, HashMap<i64, Arc<Notify>>> {
        self.shared
            .stops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.shared.open();
        let left = open.get(&self.user).map_or(0, |own| own.saturating_sub(1));
        match left {
            0 => drop(open.remove(&self.user)),
            left => drop(open.insert(Arc::clone(&self.user), left)),
        }
    }
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

    fn about(user: &str) -> About {
        About {
            user: user.into(),
            resource: "call",
            action: Action::Execute,
        }
    }

    #[test]
    fn r46_there_is_room_for_so_many_of_one_user_and_of_all() {
        let tasks = Tasks::new(Events::default());
        let mut slots = Vec::new();
        for user in ["alice", "bob", "cy", "dee"] {
            let user = user.into();
            slots.extend((0..RUNNING_PER_USER_MAX).map(|_| tasks.slot(&user).unwrap()));
            assert!(tasks.slot(&user).is_err(), "{user} has as many as one may");
        }
        assert_eq!(slots.len(), RUNNING_MAX);
        assert!(
            tasks.slot(&"eve".into()).is_err(),
            "there are as many as may be"
        );
        slots.truncate(1);
        assert!(tasks.slot(&"eve".into()).is_ok());
        assert_eq!(tasks.shared.open().len(), 1, "who has none is forgotten");
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
}
