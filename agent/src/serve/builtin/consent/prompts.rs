//! The prompts that are open: who waits for which answer, and who may not ask for a while.
//!
//! A plain table behind a lock that is held for moments. Requests of one user for one thing with the same content share a
//! prompt; it is there as long as one of them waits. [`super::notifier`] decides what an answer does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::{Act, Detail, Digest, Moment, Permit};
use crate::serve::builtin::problem::Problem;

/// Prompts at a time: more than a person can answer before their time is over.
pub const PROMPTS_MAX: usize = 16;

/// Prompts of one user at a time: the others' get their turn.
pub const PROMPTS_PER_USER_MAX: usize = 4;

/// Requests that share one prompt.
pub const WAITING_PER_PROMPT_MAX: usize = 16;

/// Requests of one user that wait at a time, and of all: each may hold a data channel, and others need some, too.
pub const WAITING_PER_USER_MAX: usize = 32;

/// See [`WAITING_PER_USER_MAX`].
pub const WAITING_MAX: usize = 64;

/// Users who are silenced at a time; one more takes the place of the one whose silence ends first.
const SILENCED_MAX: usize = 256;

/// What a request that waits is told in the end.
pub(super) type Verdict = Result<Permit, Problem>;

/// Why a request may not wait for the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The owner silenced the user.
    Silenced,
    /// One of the limits above.
    TooMany,
}

/// All prompts; shared by reference counting.
#[derive(Debug)]
pub(super) struct Table {
    state: Mutex<State>,
    /// Told of every change, for the owner's screen.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    open: Vec<Prompt>,
    silenced: Vec<(Arc<str>, Moment)>,
    last: u64,
}

/// One prompt with those who wait for its answer.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) id: u64,
    pub(super) user: Arc<str>,
    /// The first one's; the others' are the same but for who is told.
    pub(super) act: Act,
    /// Of the whole content, of which `act` has what can be shown.
    content: Digest,
    pub(super) since: Moment,
    pub(super) waiting: Vec<Waiting>,
}

/// One request that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    id: u64,
    until: Instant,
    pub(super) tell: oneshot::Sender<Verdict>,
}

/// An open prompt, as the owner is shown it.
#[derive(Debug, Clone)]
pub struct Open {
    /// Names it.
    pub id: u64,
    /// Who wants it.
    pub user: Arc<str>,
    /// Of which resource.
    pub resource: &'static str,
    /// Which action.
    pub action: &'static str,
    /// Its content.
    pub content: Vec<Detail>,
    /// Requests that wait for the answer.
    pub waiting: usize,
    /// When it was opened.
    pub since: Moment,
    /// How long the last of them still waits.
    pub left: Duration,
}

/// A request's place at a prompt; it is given up when this is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    table: Arc<Table>,
    id: u64,
    pub(super) verdict: oneshot::Receiver<Verdict>,
}

impl Ticket {
    /// Ends the wait; `false`: the prompt is being answered, and the answer is on its way.
    pub(super) fn leave(&self) -> bool {
        self.table.leave(self.id)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A prompt that is being answered: it is on the screen no more, and comes back if the answer could not be kept.
#[derive(Debug)]
pub(super) struct Taken {
    table: Arc<Table>,
    prompt: Option<Prompt>,
}

impl Taken {
    /// The prompt, if it is still to be answered.
    pub(super) fn prompt(&self) -> Option<&Prompt> {
        self.prompt.as_ref()
    }

    /// The answer is kept: whoever waits may be told.
    pub(super) fn settled(mut self) -> Option<Prompt> {
        self.prompt.take()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(prompt) = self.prompt.take() {
            self.table.put_back(prompt);
        }
    }
}

impl Table {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
        })
    }

    /// Told of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits at the prompt for this act, which is opened if there is none.
    pub(super) fn join(
        self: &Arc<Self>,
        user: &Arc<str>,
        (act, content): (&Act, Digest),
        until: Instant,
    ) -> Result<Ticket, Refusal> {
        let mut state = self.lock();
        if state.is_silenced(user, Moment::now()) {
            return Err(Refusal::Silenced);
        }
        let of_all = state.open.iter().map(|open| open.waiting.len());
        let of_user = state.of(user).map(|open| open.waiting.len());
        if of_all.sum::<usize>() >= WAITING_MAX || of_user.sum::<usize>() >= WAITING_PER_USER_MAX {
            return Err(Refusal::TooMany);
        }
        state.last += 1;
        let id = state.last;
        let (tell, verdict) = oneshot::channel();
        let waiting = Waiting { id, until, tell };
        match state
            .open
            .iter_mut()
            .find(|open| open.is_of(user, act, content))
        {
            Some(prompt) if prompt.waiting.len() >= WAITING_PER_PROMPT_MAX => {
                return Err(Refusal::TooMany);
            }
            Some(prompt) => prompt.waiting.push(waiting),
            None => {
                let of_user = state.of(user).count();
                if state.open.len() >= PROMPTS_MAX || of_user >= PROMPTS_PER_USER_MAX {
                    return Err(Refusal::TooMany);
                }
                state.open.push(Prompt {
                    id,
                    user: Arc::clone(user),
                    act: act.clone(),
                    content,
                    since: Moment::now(),
                    waiting: vec![waiting],
                });
            }
        }
        drop(state);
        self.changed.send_replace(());
        Ok(Ticket {
            table: Arc::clone(self),
            id,
            verdict,
        })
    }

    /// See [`Ticket::leave`]. The last one who leaves takes the prompt along.
    fn leave(&self, id: u64) -> bool {
        let mut state = self.lock();
        let of = |waiting: &Waiting| waiting.id == id;
        let at = state
            .open
            .iter()
            .position(|open| open.waiting.iter().any(of));
        let Some(prompt) = at.and_then(|at| state.open.get_mut(at)) else {
            return false;
        };
        prompt.waiting.retain(|waiting| !of(waiting));
        state.open.retain(|open| !open.waiting.is_empty());
        drop(state);
        self.changed.send_replace(());
        true
    }

    /// Takes a prompt to be answered.
    pub(super) fn take(self: &Arc<Self>, id: u64) -> Option<Taken> {
        let mut state = self.lock();
        let at = state.open.iter().position(|open| open.id == id)?;
        let prompt = state.open.remove(at);
        drop(state);
        self.changed.send_replace(());
        Some(Taken {
            table: Arc::clone(self),
            prompt: Some(prompt),
        })
    }

    /// Takes all prompts of a user, for good.
    pub(super) fn take_all(&self, user: &str) -> Vec<Prompt> {
        let mut state = self.lock();
        let (taken, left) = std::mem::take(&mut state.open)
            .into_iter()
            .partition(|open| &*open.user == user);
        state.open = left;
        drop(state);
        self.changed.send_replace(());
        taken
    }

    fn put_back(&self, mut prompt: Prompt) {
        prompt.waiting.retain(|waiting| !waiting.tell.is_closed());
        if prompt.waiting.is_empty() {
            return;
        }
        let mut state = self.lock();
        let at = state.open.partition_point(|open| open.id < prompt.id);
        state.open.insert(at, prompt);
        drop(state);
        self.changed.send_replace(());
    }

    /// Keeps a user from asking until then.
    pub(super) fn silence(&self, user: &str, until: Moment) {
        let mut state = self.lock();
        let now = Moment::now();
        state
            .silenced
            .retain(|(silenced, until)| &**silenced != user && *until > now);
        state.silenced.push((user.into(), until));
        state.silenced.sort_by_key(|(_, until)| *until);
        if state.silenced.len() > SILENCED_MAX {
            state.silenced.remove(0);
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// Lets a user ask again; `false` if nothing kept the user from it.
    pub(super) fn unsilence(&self, user: &str) -> bool {
        let mut state = self.lock();
        let silenced = state.is_silenced(user, Moment::now());
        state.silenced.retain(|(silenced, _)| &**silenced != user);
        drop(state);
        self.changed.send_replace(());
        silenced
    }

    /// All prompts, the oldest first.
    pub(super) fn open(&self) -> Vec<Open> {
        let now = Instant::now();
        let shown = |prompt: &Prompt| {
            let until = prompt.waiting.iter().map(|waiting| waiting.until).max();
            Open {
                id: prompt.id,
                user: Arc::clone(&prompt.user),
                resource: prompt.act.resource,
                action: prompt.act.action.name(),
                content: prompt.act.content.clone(),
                waiting: prompt.waiting.len(),
                since: prompt.since,
                left: until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now)),
            }
        };
        self.lock().open.iter().map(shown).collect()
    }

    /// Who is silenced, and until when.
    pub(super) fn silenced(&self) -> Vec<(Arc<str>, Moment)> {
        let now = Moment::now();
        let state = self.lock();
        let silenced = state.silenced.iter().filter(|(_, until)| *until > now);
        silenced.cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = &'a Prompt> {
        self.open.iter().filter(move |open| &*open.user == user)
    }

    fn is_silenced(&self, user: &str, now: Moment) -> bool {
        let mut silenced = self.silenced.iter();
        silenced.any(|(silenced, until)| &**silenced == user && *until > now)
    }
}

impl Prompt {
    fn is_of(&self, user: &str, act: &Act, content: Digest) -> bool {
        &*self.user == user
            && self.act.resource == act.resource
            && self.act.action == act.action
            && self.content == content
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::builtin::authentication::Caller;
    use crate::serve::builtin::resource::Action;

    fn act(user: &Arc<str>, text: &str) -> Act {
        Act {
            caller: Caller(Some(Arc::clone(user))),
            resource: "notes",
            action: Action::Add,
            content: vec![Detail {
                name: "title",
                text: text.to_owned(),
            }],
            asked: None,
        }
    }

    fn join(table: &Arc<Table>, user: &str, text: &str) -> Result<Ticket, Refusal> {
        let user: Arc<str> = user.into();
        let until = Instant::now() + Duration::from_secs(60);
        let act = act(&user, text);
        table.join(&user, (&act, Digest::of(&act.content)), until)
    }

    #[test]
    fn r53_the_same_thing_is_one_prompt_as_long_as_somebody_waits() {
        let table = Table::new();
        let first = join(&table, "alice", "a").unwrap();
        let second = join(&table, "alice", "a").unwrap();
        let other = join(&table, "alice", "b").unwrap();
        let of_bob = join(&table, "bob", "a").unwrap();
        let waiting = |table: &Table| -> Vec<_> {
            let open = table.open();
            open.iter()
                .map(|open| (open.user.to_string(), open.waiting))
                .collect()
        };
        let told = |user: &str, waiting| (user.to_owned(), waiting);
        assert_eq!(
            waiting(&table),
            [told("alice", 2), told("alice", 1), told("bob", 1)]
        );
        drop(first);
        assert!(other.leave() && !other.leave());
        assert_eq!(waiting(&table), [told("alice", 1), told("bob", 1)]);
        drop((second, of_bob));
        assert_eq!(waiting(&table), []);
    }

    #[test]
    fn r53_what_is_beyond_a_limit_is_refused_and_a_free_place_is_taken() {
        let table = Table::new();
        let mut tickets = Vec::new();
        for n in 0..PROMPTS_PER_USER_MAX {
            tickets.push(join(&table, "alice", &n.to_string()).unwrap());
        }
        assert_eq!(join(&table, "alice", "x").unwrap_err(), Refusal::TooMany);
        for _ in 1..WAITING_PER_PROMPT_MAX {
            tickets.push(join(&table, "alice", "0").unwrap());
        }
        assert_eq!(join(&table, "alice", "0").unwrap_err(), Refusal::TooMany);
        while tickets.len() < WAITING_PER_USER_MAX {
            tickets.push(join(&table, "alice", "1").unwrap());
        }
        assert_eq!(join(&table, "alice", "1").unwrap_err(), Refusal::TooMany);
        tickets.pop();
        tickets.push(join(&table, "alice", "1").unwrap());
        // The others still get their turn, up to as many as a screen may have.
        for n in table.open().len()..PROMPTS_MAX {
            tickets.push(join(&table, &format!("user {n}"), "a").unwrap());
        }
        assert_eq!(join(&table, "zoe", "a").unwrap_err(), Refusal::TooMany);
    }

    #[test]
    fn r53_an_answer_that_was_not_kept_brings_the_prompt_back() {
        let table = Table::new();
        let first = join(&table, "alice", "a").unwrap();
        let second = join(&table, "alice", "a").unwrap();
        let id = table.open()[0].id;
        let taken = table.take(id).unwrap();
        assert!(table.take(id).is_none(), "one answer at a time");
        assert!(!first.leave(), "the answer is on its way");
        drop((taken, second));
        let open = table.open();
        assert_eq!(
            (open[0].id, open[0].waiting),
            (id, 1),
            "who left meanwhile waits no more"
        );
        assert!(first.leave());
        assert!(table.open().is_empty());
    }

    #[test]
    fn r53_a_silence_ends_by_itself() {
        let table = Table::new();
        table.silence("alice", Moment::now().after(Duration::from_secs(60)));
        assert_eq!(join(&table, "alice", "a").unwrap_err(), Refusal::Silenced);
        table.silence("alice", Moment::now());
        assert!(table.silenced().is_empty());
        assert!(join(&table, "alice", "a").is_ok());
        assert!(!table.unsilence("alice"));
        let later = Moment::now().after(Duration::from_secs(60));
        for n in 0..=SILENCED_MAX {
            table.silence(&n.to_string(), Moment(later.0 + i64::try_from(n).unwrap()));
        }
        assert_eq!(table.silenced().len(), SILENCED_MAX);
        assert!(
            join(&table, "0", "a").is_ok(),
            "the one that ends first makes room"
        );
    }
}
