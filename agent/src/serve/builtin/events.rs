//! What happens on the handset, for those who listen: state, new messages, calls, the owner's answers.
//!
//! Everybody may tell; [`Events::listen`] is for the owner's screen, and [`stream`] for the remote users at `/events`. An
//! event names what happened and where it can be read, and holds no personal data itself: reading it is asked for like
//! any other. The last ones are kept, so that a listener whose connection broke misses nothing, or hears that it did.

pub mod stream;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value as Json;
use tokio::sync::{broadcast, watch};

/// Events that a listener may be behind by; one that is further behind is told that it lost some.
pub const BEHIND_MAX: usize = 256;

/// A name that no user can have.
const NOBODY: &str = ":";

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// `battery`, `coverage`, `mode`, `call`, `sms`, `mms`, `email`, `task`, `answer`: docs/agent-api.md lists them.
    pub kind: &'static str,
    /// What there is to know; for an item its `href`.
    pub data: Json,
    /// The remote user whom alone it concerns; `None`: everybody who may listen.
    #[serde(skip)]
    pub user: Option<Arc<str>>,
}

/// Where events are told; a clone is the same one.
#[derive(Debug, Clone)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    live: broadcast::Sender<Event>,
    kept: Mutex<Kept>,
    /// The number of the last event.
    last: watch::Sender<u64>,
    /// Tells this run of the agent from others: numbers begin anew with each.
    run: u64,
    /// Whether the agent is ending.
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    events: VecDeque<Event>,
}

impl Default for Events {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let run = since.map_or(0, |since| since.as_micros());
        Self(Arc::new(Shared {
            live: broadcast::Sender::new(BEHIND_MAX),
            kept: Mutex::default(),
            last: watch::Sender::default(),
            run: u64::try_from(run).unwrap_or_default(),
            closed: AtomicBool::new(false),
        }))
    }
}

/// What a listener who knows events up to some number is told next.
#[derive(Debug)]
pub enum Next {
    /// This one, of this number.
    Event(u64, Event),
    /// That some are gone; those that are kept come behind this number.
    Lost(u64),
    /// Nothing yet.
    Nothing,
}

impl Events {
    /// Tells all who listen; if nobody does, it is kept for those who come back.
    pub fn tell(&self, event: Event) {
        let last = {
            let mut kept = self.kept();
            if kept.events.len() >= BEHIND_MAX {
                kept.events.pop_front();
            }
            kept.events.push_back(event.clone());
            kept.last += 1;
            kept.last
        };
        self.0.last.send_replace(last);
        let _ = self.0.live.send(event);
    }

    /// A user was taken away: what is kept for the user alone is for nobody, and not for who gets the name later.
    pub fn forget(&self, user: &str) {
        let mut kept = self.kept();
        let theirs = kept.events.iter_mut();
        for event in theirs.filter(|event| event.user.as_deref() == Some(user)) {
            event.user = Some(NOBODY.into());
            event.data = Json::Null;
        }
    }

    /// What is told from now on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.0.live.subscribe()
    }

    /// Lets go of those who listen: the agent is ending, and waits for its channels.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
        // Wakes them; there is no new number.
        self.0.last.send_modify(|_| {});
    }

    /// Whether the agent is ending.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Relaxed)
    }

    /// The number of the last event, as it changes.
    pub fn numbers(&self) -> watch::Receiver<u64> {
        self.0.last.subscribe()
    }

    /// What follows this number.
    pub fn after(&self, number: u64) -> Next {
        let kept = self.kept();
        if number >= kept.last {
            return Next::Nothing;
        }
        let missing = kept.last - number;
        let behind = kept.events.len() as u64;
        if missing > behind {
            return Next::Lost(kept.last - behind);
        }
        let at = usize::try_from(behind - missing).ok();
        match at.and_then(|at| kept.events.get(at)) {
            Some(event) => Next::Event(number + 1, event.clone()),
            None => Next::Nothing,
        }
    }

    /// How a number is told, so that it can be told from those of another run.
    pub fn id(&self, number: u64) -> String {
        format!("{:x}-{number}", self.0.run)
    }

    /// The number that [`Self::id`] made this of, in this run; `None`: it is of another, or of nobody.
    pub fn number(&self, id: &str) -> Option<u64> {
        let (run, number) = id.split_once('-')?;
        let number = number.parse().ok()?;
        let ours = run == format!("{:x}", self.0.run) && number <= self.kept().last;
        ours.then_some(number)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(n: usize) -> Event {
        Event {
            kind: "battery",
            data: json!(n),
            user: None,
        }
    }

    #[test]
    fn a_listener_who_comes_back_misses_nothing_or_hears_that_it_did() {
        let events = Events::default();
        for n in 0..3 {
            events.tell(event(n));
        }
        let Next::Event(2, second) = events.after(1) else {
            panic!("it is kept");
        };
        assert_eq!(second.data, json!(1));
        assert!(matches!(events.after(3), Next::Nothing));
        for n in 3..BEHIND_MAX + 2 {
            events.tell(event(n));
        }
        assert!(matches!(events.after(1), Next::Lost(2)));
        let Next::Event(3, third) = events.after(2) else {
            panic!("it is kept");
        };
        assert_eq!(third.data, json!(2));
    }

    #[test]
    fn r49_what_was_told_to_a_user_who_is_gone_is_told_to_nobody() {
        let events = Events::default();
        for user in ["alice", "bob"] {
            let user = Some(user.into());
            events.tell(Event { user, ..event(7) });
        }
        events.forget("alice");
        let Next::Event(1, first) = events.after(0) else {
            panic!("its number is kept");
        };
        assert!(first.user.as_deref() != Some("alice") && first.data.is_null());
        let Next::Event(2, second) = events.after(1) else {
            panic!("it is kept");
        };
        assert_eq!(
            (second.user.as_deref(), second.data),
            (Some("bob"), json!(7))
        );
    }

    #[test]
    fn an_id_names_an_event_of_this_run_alone() {
        let events = Events::default();
        events.tell(event(0));
        assert_eq!(events.number(&events.id(1)), Some(1));
        assert_eq!(events.number(&events.id(2)), None, "it was not told yet");
        for id in ["", "1", "ff-1", "x-y"] {
            assert_eq!(events.number(id), None, "{id}");
        }
    }
}
