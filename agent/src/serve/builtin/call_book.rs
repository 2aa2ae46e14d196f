//! The calls that there are, and those that have just ended: what the device tells of them, put together.
//!
//! The inbox writes here what the device's events say; a service that dialled waits here for its call's end, and for the
//! log's entry of it. An ended call stays for a while, since it may end before the service knows its name.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::descriptions::now;
use crate::device::{Call, CallEnd, CallId, CallState, Number};

/// Calls that are known at a time; no handset has more that go on.
pub const CALLS_MAX: usize = 32;

/// The calls; a clone is the same ones.
#[derive(Debug, Clone, Default)]
pub struct CallBook(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    calls: Mutex<VecDeque<Known>>,
    changed: watch::Sender<u64>,
}

/// One call, as far as it was told.
#[derive(Debug, Clone)]
pub struct Known {
    /// Which.
    pub id: CallId,
    /// Whether the other side dialled.
    pub incoming: bool,
    /// The other side; `None`: withheld.
    pub number: Option<Number>,
    /// When it began.
    pub at: String,
    /// How it ended; `None`: it goes on.
    pub end: Option<CallEnd>,
    /// The id of its entry in the log of its direction.
    pub entry: Option<i64>,
}

/// What an event said that was not known.
#[derive(Debug)]
pub enum News {
    /// It began, or went on.
    GoesOn,
    /// It has just ended: it is to be written into the log.
    Ended(Known),
    /// Nothing.
    Nothing,
}

impl CallBook {
    /// A call was begun here. From now on it is known to go on, even if the device's events of it are lost.
    pub fn dialled(&self, id: CallId, number: &Number) {
        // Most often its first event was quicker, and this says nothing new.
        self.told(&Call {
            id,
            incoming: false,
            number: Some(number.clone()),
            state: CallState::Dialing,
        });
    }

    /// Takes what the device told of a call.
    pub fn told(&self, call: &Call) -> News {
        let mut calls = self.calls();
        let known = match calls.iter_mut().position(|known| known.id == call.id) {
            Some(at) => calls.get_mut(at),
            None => {
                if calls.len() >= CALLS_MAX {
                    // The oldest has ended long ago: no radio has so many calls at once.
                    calls.pop_front();
                }
                calls.push_back(Known {
                    id: call.id,
                    incoming: call.incoming,
                    number: call.number.clone(),
                    at: now(),
                    end: None,
                    entry: None,
                });
                calls.back_mut()
            }
        };
        let Some(known) = known else {
            return News::Nothing;
        };
        match (known.end, call.state) {
            (Some(_), _) => News::Nothing,
            (None, CallState::Ended(end)) => {
                known.end = Some(end);
                News::Ended(known.clone())
            }
            (None, _) => News::GoesOn,
        }
    }

    /// The calls that go on as far as was told.
    pub fn open(&self) -> Vec<Known> {
        let calls = self.calls();
        let open = calls.iter().filter(|known| known.end.is_none());
        open.cloned().collect()
    }

    /// The log has an entry of a call now; `None`: it could not be written.
    pub fn written(&self, id: CallId, entry: Option<i64>) {
        let mut calls = self.calls();
        if let Some(known) = calls.iter_mut().find(|known| known.id == id) {
            // Without an entry there is nothing to wait for, either.
            known.entry = Some(entry.unwrap_or_default());
        }
        drop(calls);
        self.0.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Waits until this call has ended and was written down; gives its end and the id of its entry.
    pub async fn ended(&self, id: CallId) -> (CallEnd, Option<i64>) {
        let mut changed = self.0.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let known = self.calls().iter().find(|known| known.id == id).cloned();
            if let Some(Known {
                end: Some(end),
                entry: Some(entry),
                ..
            }) = known
            {
                return (end, Some(entry).filter(|entry| *entry != 0));
            }
            if changed.changed().await.is_err() {
                return (CallEnd::Failed, None);
            }
        }
    }

    fn calls(&self) -> MutexGuard<'_, VecDeque<Known>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How an end is told in a log: its word, and for how many seconds somebody spoke.
pub fn outcome(end: CallEnd) -> (&'static str, u64) {
    match end {
        CallEnd::Answered(length) => ("answered", length.as_secs()),
        CallEnd::NoAnswer => ("no-answer", 0),
        CallEnd::Busy => ("busy", 0),
        CallEnd::Failed => ("failed", 0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn call(id: u64, state: CallState) -> Call {
        Call {
            id: CallId(id),
            incoming: false,
            number: Number::parse("600123456"),
            state,
        }
    }

    #[tokio::test]
    async fn r40_whoever_dialled_hears_the_end_even_if_it_was_told_before() {
        let book = CallBook::default();
        assert!(matches!(
            book.told(&call(1, CallState::Dialing)),
            News::GoesOn
        ));
        let end = CallEnd::Answered(Duration::from_secs(7));
        let News::Ended(known) = book.told(&call(1, CallState::Ended(end))) else {
            panic!("it ended");
        };
        assert_eq!((known.id, known.end), (CallId(1), Some(end)));
        assert!(matches!(
            book.told(&call(1, CallState::Ended(end))),
            News::Nothing
        ));
        book.written(CallId(1), Some(5));
        assert_eq!(book.ended(CallId(1)).await, (end, Some(5)));
        assert!(book.open().is_empty());

        let (waiting, later) = (book.clone(), book.clone());
        let ended = tokio::spawn(async move { waiting.ended(CallId(2)).await });
        tokio::task::yield_now().await;
        later.told(&call(2, CallState::Ended(CallEnd::Busy)));
        later.written(CallId(2), None);
        assert_eq!(ended.await.unwrap(), (CallEnd::Busy, None));
    }

    #[test]
    fn r40_a_call_that_was_begun_here_is_known_though_nothing_was_told_of_it() {
        let (book, to) = (CallBook::default(), Number::parse("600123456").unwrap());
        book.dialled(CallId(1), &to);
        let open = book.open();
        assert_eq!((open.len(), open[0].number.as_ref()), (1, Some(&to)));
        book.told(&call(2, CallState::Ended(CallEnd::Busy)));
        book.dialled(CallId(2), &to);
        assert_eq!(book.open().len(), 1, "what has ended stays so");
    }

    #[test]
    fn calls_are_bounded() {
        let book = CallBook::default();
        for id in 0..2 * CALLS_MAX as u64 {
            book.told(&call(id, CallState::Dialing));
        }
        assert_eq!(book.open().len(), CALLS_MAX);
    }
}
