//! Who left a moment ago, in memory and bounded: what the reconnect hold asks, without a disk on the way of a request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use everline_protocol::Msisdn;

/// Handsets that left not on purpose, each with the moment.
#[derive(Debug)]
pub struct Departures {
    // Milliseconds after `start`: half of an Instant's size, for a table that can hold every handset.
    left: DashMap<Msisdn, u32>,
    count: AtomicUsize,
    count_max: usize,
    keep: Duration,
    start: Instant,
}

impl Departures {
    /// Remembers for `keep`; zero: not at all. One handset more than `count_max` is not remembered.
    pub fn new(keep: Duration, count_max: usize) -> Self {
        Self {
            left: DashMap::new(),
            count: AtomicUsize::new(0),
            count_max,
            keep,
            start: Instant::now(),
        }
    }

    /// This handset left now.
    pub fn note(&self, msisdn: Msisdn) {
        if self.keep.is_zero() || self.count.load(Ordering::Relaxed) >= self.count_max {
            return;
        }
        if self.left.insert(msisdn, self.now()).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// This handset is back.
    pub fn forget(&self, msisdn: Msisdn) {
        if !self.keep.is_zero() && self.left.remove(&msisdn).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether this handset left less than `within` ago, as far as that is remembered.
    pub fn within(&self, msisdn: Msisdn, within: Duration) -> bool {
        let left = self.left.get(&msisdn).map(|left| *left);
        left.is_some_and(|left| self.age(left) < within.min(self.keep))
    }

    /// Drops what is too old to be asked for.
    pub fn prune(&self) {
        self.left.retain(|_, left| {
            let keep = self.age(*left) < self.keep;
            if !keep {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            keep
        });
    }

    /// How long a departure is remembered.
    pub fn keep(&self) -> Duration {
        self.keep
    }

    // Wraps after 49 days, as the difference of two does: `keep` is far shorter.
    fn now(&self) -> u32 {
        self.start.elapsed().as_millis() as u32
    }

    fn age(&self, left: u32) -> Duration {
        Duration::from_millis(u64::from(self.now().wrapping_sub(left)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handset(number: u64) -> Msisdn {
        Msisdn::from_u64(number).expect("a valid number")
    }

    #[test]
    fn one_who_comes_back_has_not_left() {
        let departures = Departures::new(Duration::from_secs(60), 10);
        departures.note(handset(34_600_000_001));
        assert!(departures.within(handset(34_600_000_001), Duration::from_secs(60)));
        assert!(!departures.within(handset(34_600_000_001), Duration::ZERO));
        assert!(!departures.within(handset(34_600_000_002), Duration::from_secs(60)));
        departures.forget(handset(34_600_000_001));
        assert!(!departures.within(handset(34_600_000_001), Duration::from_secs(60)));
    }

    #[test]
    fn the_table_is_bounded_and_pruned() {
        let departures = Departures::new(Duration::from_millis(1), 2);
        for number in 0..5 {
            departures.note(handset(34_600_000_000 + number));
        }
        assert_eq!(departures.left.len(), 2);
        while departures
            .left
            .iter()
            .any(|entry| departures.age(*entry.value()) < departures.keep())
        {
            std::thread::yield_now();
        }
        departures.prune();
        assert_eq!(
            (
                departures.left.len(),
                departures.count.load(Ordering::Relaxed)
            ),
            (0, 0)
        );
    }
}
