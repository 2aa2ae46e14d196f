//! What takes time: every service, and every request whose owner is asked while its caller would not wait.
//!
//! A task is a row that says whose it is, what was asked for, how far it is and where its result can be read. Its user
//! alone sees it: at `/tasks`, by waiting at `/tasks/7`, or by the event `task`. What the radio had in hand when the
//! agent was ended is `interrupted` at the next start and never done again, since nobody knows how far it came.

pub mod routes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::descriptions::now;
use super::events::{Event, Events};
use super::problem::{Kind, Problem};
use super::respond_async::Responses;
use super::resource::{Action, BODY_BYTES_MAX, Field, Item, Manager, Resource, Shape, Value};
use super::store::{Store, StoreError, Stored, full};

/// Tasks that run or wait for the owner at a time, of all users together.
pub const RUNNING_MAX: usize = 64;

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
        changed TEXT NOT NULL
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
    slots: Arc<Semaphore>,
    /// Counts changes, for those who wait at a task's URL.
    changed: watch::Sender<u64>,
    /// How the tasks that can be ended early are told to.
    stops: Mutex<HashMap<i64, Arc<Notify>>>,
    events: Events,
    responses: Responses,
}

/// The right to have a task going on.
#[derive(Debug)]
pub struct Slot(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Tasks {
    /// None yet; `events` is told how they go on.
    pub fn new(events: Events) -> Self {
        let shared = Shared {
            slots: Arc::new(Semaphore::new(RUNNING_MAX)),
            changed: watch::Sender::default(),
            stops: Mutex::default(),
            events,
            responses: Responses::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Room for one more, held until it has ended.
    pub fn slot(&self) -> Result<Slot, Problem> {
        let slot = Arc::clone(&self.shared.slots).try_acquire_owned();
        slot.map(Slot).map_err(|_full| {
            let detail = format!("{RUNNING_MAX} tasks are running or wait for the owner.");
            Problem::new(Kind::TooManyTasks, detail)
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

    /// The responses that wait for those who did not.
    pub fn responses(&self) -> &Responses {
        &self.shared.responses
    }

    /// What counts every change of a task.
    fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    fn stops(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Arc<Notify>>> {
        self.shared
            .stops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
pub fn finish(
    connection: &Connection,
    id: i64,
    state: State,
    end: &End,
) -> Result<(), StoreError> {
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

/// At the start: what was going on when the agent was ended is broken off. Gives where the messages are that the radio
/// had in hand.
pub fn interrupt(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut update = connection.prepare(
        "UPDATE tasks SET state = 'interrupted', problem = 'interrupted', changed = ?1, detail =
         'The agent was ended meanwhile. Nobody knows how far it came; it is not done again by itself.'
         WHERE state IN ('asking', 'running') RETURNING result",
    )?;
    let results = update.query_map([now()], |row| row.get::<_, Option<String>>(0))?;
    let results = results.collect::<Result<Vec<_>, _>>()?;
    Ok(results.into_iter().flatten().collect())
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
    let sql = format!(
        "SELECT {COLUMNS} FROM tasks WHERE user = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
    );
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
