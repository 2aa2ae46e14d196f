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
    /// The agent is ending.
    Closed,
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
    closed: bool,
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
        if state.closed {
            return Err(Refusal::Closed);
        }
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

    /// Takes all prompts that there are, and opens no more.
    pub(super) fn close(&self) -> Vec<Prompt> {
        let mut state = self.lock();
        state.closed = true;
        let taken = std::mem::take(&mut state.open);
        drop(state);
        self.changed.send_replace(());
        taken
    }

    fn put_back(&self, mut prompt: Prompt) {
        // Whose time was over meanwhile waits no more, and notices by what is dropped here.
        let now = Instant::now();
        let waits = |waiting: &Waiting| !waiting.tell.is_closed() && waiting.until > now;
        prompt.waiting.retain(waits);
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
mod tests;
