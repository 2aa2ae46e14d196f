//! What will happen on the simulated handset, in the order of its time; of one moment, in the order it was decided.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::time::Instant;

use crate::device::CallId;

/// One thing that will happen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The other side's phone rings.
    Rings(CallId),
    /// Somebody takes the call.
    Answered(CallId),
    /// The call is not taken: the other side is engaged.
    Engaged(CallId),
    /// The call is not taken: nobody is there, or the caller gives up.
    Unanswered(CallId),
    /// The network finds nobody.
    Unreachable(CallId),
    /// The other side hangs up.
    HungUp(CallId),
    /// The status report of this message reference comes.
    Report(Vec<u8>),
}

/// Things to come at most; a handset to which more is about to happen takes nothing on.
pub(super) const AGENDA_MAX: usize = 1_024;

/// Things to come.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(Instant, u64, Due)>>,
    decided: u64,
}

impl Agenda {
    /// Decides that something will happen.
    pub(super) fn add(&mut self, at: Instant, due: Due) {
        self.decided += 1;
        self.heap.push(Reverse((at, self.decided, due)));
    }

    /// Whether there is no room for more.
    pub(super) fn is_full(&self) -> bool {
        self.heap.len() >= AGENDA_MAX
    }

    /// When the next thing happens.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// The next thing that is due by now.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Instant, Due)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((at, _, due))| (at, due))
    }
}
