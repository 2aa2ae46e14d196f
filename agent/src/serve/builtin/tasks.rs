//! What takes time: every service, and every request whose owner is asked while its caller would not wait.
//!
//! A task is a row that says whose it is, what was asked for, how far it is and where its result can be read. Its user
//! alone sees it: at `/tasks`, by waiting at `/tasks/7`, or by the event `task`. What the hardware had in hand when the
//! agent was ended is `interrupted` at the next start and never done again, since nobody knows how far it came.

pub mod routes;
pub mod rows;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::consent::Asking;
use super::events::{Event, Events};
use super::problem::{Kind, Problem};
use super::resource::{Action, BODY_BYTES_MAX, Field, Manager, Resource, Shape};
use super::respond_async::Responses;
use super::store::Store;
pub use rows::{
    Left, SCHEMA, TASKS_PER_USER_MAX, Task, begin, finish, forget_user, hand_over, interrupt, left,
    list, one,
};

/// Tasks that run or wait for the owner at a time, of all users together.
pub const RUNNING_MAX: usize = 64;

/// The same of one user: nobody takes all the room.
pub const RUNNING_PER_USER_MAX: usize = 16;

/// Callers who wait at tasks' URLs at a time: each holds a data channel, and others need some, too. One more is answered
/// at once.
pub const WAITING_MAX: usize = 32;

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

/// The tasks that are going on; a clone is the same ones.
#[derive(Debug, Clone)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// How many each user has going on.
    open: Mutex<HashMap<Arc<str>, usize>>,
    /// How many of all users are going on, for who waits until there is none.
    going: watch::Sender<usize>,
    /// Counts changes, for those who wait at a task's URL.
    changed: watch::Sender<u64>,
    /// Places of those who wait.
    waiting: Arc<Semaphore>,
    /// How the tasks that can be ended early are told to.
    stops: Mutex<HashMap<i64, Stop>>,
    events: Events,
    responses: Responses,
}

/// How a task is told to end early.
#[derive(Debug)]
struct Stop {
    told: Arc<Notify>,
    /// It can be taken back only until this is permitted; `None`: at any time.
    asked: Option<Arc<Asking>>,
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
            going: watch::Sender::default(),
            changed: watch::Sender::default(),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
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
        drop(open);
        self.shared.going.send_modify(|going| *going += 1);
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
        self.listen(id, None)
    }

    /// Lets the task's user take it back while the owner is asked.
    pub fn revocable(&self, id: i64, asked: &Arc<Asking>) -> Arc<Notify> {
        self.listen(id, Some(Arc::clone(asked)))
    }

    fn listen(&self, id: i64, asked: Option<Arc<Asking>>) -> Arc<Notify> {
        let told = Arc::new(Notify::new());
        let stop = Stop {
            told: Arc::clone(&told),
            asked,
        };
        self.stops().insert(id, stop);
        if self.shared.events.is_closed() {
            // It began while the agent was ending: nobody could end it later.
            told.notify_one();
        }
        told
    }

    /// Ends a task early; `false` if it can't be.
    pub fn stop(&self, id: i64) -> bool {
        let stops = self.stops();
        let open = |stop: &&Stop| {
            !stop
                .asked
                .as_ref()
                .is_some_and(|asked| asked.is_permitted())
        };
        stops.get(&id).filter(open).is_some_and(|stop| {
            stop.told.notify_one();
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

    /// The agent is ending: answers those who wait for a task, and ends what can be ended, so that a film is kept and a
    /// call stands in its log.
    pub fn close(&self) {
        self.shared.events.close();
        self.shared.changed.send_modify(|n| *n = n.wrapping_add(1));
        for stop in self.stops().values() {
            stop.told.notify_one();
        }
    }

    /// Waits until nothing goes on any more, and is written down.
    pub async fn finish(&self) {
        let mut going = self.shared.going.subscribe();
        // Whom it is told by is there as long as this is.
        let _ = going.wait_for(|going| *going == 0).await;
    }

    /// A place to wait for a task; `None`: there are as many as may be, or the agent is ending.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let free = !self.shared.events.is_closed();
        free.then(|| Arc::clone(&self.shared.waiting).try_acquire_owned().ok())
            .flatten()
    }

    /// The responses that wait for those who did not.
    pub fn responses(&self) -> &Responses {
        &self.shared.responses
    }

    /// What counts every change of a task.
    fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    fn stops(&self) -> MutexGuard<'_, HashMap<i64, Stop>> {
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
        drop(open);
        let going = &self.shared.going;
        going.send_modify(|going| *going = going.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    async fn r46_an_agent_that_ends_tells_what_goes_on_and_waits_for_it() {
        let tasks = Tasks::new(Events::default());
        tasks.finish().await;
        let slot = tasks.slot(&"alice".into()).unwrap();
        let before = tasks.stoppable(1);
        tasks.close();
        let after = tasks.stoppable(2);
        before.notified().await;
        after.notified().await;
        assert!(tasks.place().is_none(), "nobody waits any more");
        let waiting = tasks.clone();
        let finished = tokio::spawn(async move { waiting.finish().await });
        tokio::task::yield_now().await;
        assert!(!finished.is_finished(), "one goes on");
        drop(slot);
        finished.await.unwrap();
    }

    #[test]
    fn r53_what_is_permitted_can_not_be_taken_back() {
        let tasks = Tasks::new(Events::default());
        let asked = Arc::<Asking>::default();
        let _told = tasks.revocable(1, &asked);
        assert!(tasks.stop(1), "the owner is asked");
        asked.permit();
        assert!(!tasks.stop(1), "it is being done");
    }

    #[test]
    fn r46_so_many_wait_for_tasks_at_a_time() {
        let tasks = Tasks::new(Events::default());
        let mut places: Vec<_> = (0..WAITING_MAX).map(|_| tasks.place().unwrap()).collect();
        assert!(tasks.place().is_none(), "there are as many as may be");
        places.pop();
        assert!(tasks.place().is_some());
    }
}
