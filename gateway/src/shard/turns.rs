//! Which shards accept: as many as there are cores, and one more each time that one of them is full.
//!
//! Where a ring's table bounds a shard, a million sessions need some fifty shards. Did all of them accept, every
//! connection would wake another thread: filled one after the other, each finds many at a time, and a gateway that is
//! half empty has half of its shards asleep.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many shards accept, counted from the first. It never becomes fewer: shards that were full take connections again
/// as they get room.
#[derive(Debug)]
pub struct Turns {
    accepting: AtomicUsize,
    shards: usize,
}

impl Turns {
    /// For so many shards, of which `at_first` accept from the start.
    pub fn new(shards: usize, at_first: usize) -> Self {
        Self {
            accepting: AtomicUsize::new(at_first.clamp(1, shards.max(1))),
            shards,
        }
    }

    /// Whether shard `number` accepts.
    pub fn is_up(&self, number: u16) -> bool {
        usize::from(number) < self.accepting.load(Ordering::Acquire)
    }

    /// A shard has become full, for the first time: the next one's turn has come, and it must be woken to see that.
    /// `None` if all of them accept.
    pub fn pass_on(&self) -> Option<u16> {
        let more = |accepting| (accepting < self.shards).then_some(accepting + 1);
        self.accepting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .ok()
            .and_then(|next| u16::try_from(next).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_that_is_full_brings_up_one_more() {
        let turns = Turns::new(4, 2);
        let up = |turns: &Turns| (0..5).filter(|number| turns.is_up(*number)).count();
        assert_eq!(up(&turns), 2);
        assert_eq!(turns.pass_on(), Some(2));
        assert_eq!(turns.pass_on(), Some(3));
        assert_eq!(turns.pass_on(), None);
        assert_eq!(up(&turns), 4);
    }

    #[test]
    fn there_is_always_one() {
        assert!(Turns::new(3, 0).is_up(0));
        assert!(!Turns::new(3, 9).is_up(3));
    }
}
