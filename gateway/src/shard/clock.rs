//! The shard's two clocks: one that only moves forward, for timers, and the wall's, for tokens and for people.

use std::time::{Instant, SystemTime};

use everline_protocol::Millis;

/// Where a shard reads the time; a simulation has its own.
pub trait Clock {
    /// Time since the epoch that all shards of a gateway share. Never goes back.
    fn now(&self) -> Millis;

    /// A moment that another thread noted.
    fn at(&self, moment: Instant) -> Millis;

    /// The wall's time; may jump.
    fn wall(&self) -> SystemTime;
}

/// The machine's clocks. Clones share their epoch: make one, give each shard a clone.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    epoch: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        self.at(Instant::now())
    }

    fn at(&self, moment: Instant) -> Millis {
        let since = moment.saturating_duration_since(self.epoch);
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
