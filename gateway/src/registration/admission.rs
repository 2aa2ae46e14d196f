//! How many registrations a second the gateway takes, over all shards: one atomic word, no lock.
//!
//! A shard asks once for each CONNECT, before it looks at the token: checking signatures is what an overload is made
//! of. The word holds the time at which the next registration would be on schedule (the generic cell rate algorithm),
//! so an idle gateway takes a burst of one second's worth at once.

use std::sync::atomic::{AtomicU64, Ordering};

use everline_protocol::Millis;

/// Times are nanoseconds of the shards' common clock.
const NANOS_PER_S: u64 = 1_000_000_000;
const NANOS_PER_MS: u64 = 1_000_000;

/// A token bucket that every shard draws from. All of them must draw with the same clock.
#[derive(Debug)]
pub struct Admission {
    /// Between two registrations; 0: no bound.
    interval_ns: u64,
    /// When the next registration is on schedule.
    scheduled_ns: AtomicU64,
}

impl Admission {
    /// At most `per_s_max` registrations a second; 0: no bound.
    pub fn new(per_s_max: u32) -> Self {
        Self {
            interval_ns: NANOS_PER_S.checked_div(u64::from(per_s_max)).unwrap_or(0),
            scheduled_ns: AtomicU64::new(0),
        }
    }

    /// Takes one registration out of the bucket; `false` if it is empty.
    pub fn admits(&self, now: Millis) -> bool {
        if self.interval_ns == 0 {
            return true;
        }
        let now_ns = now.0.saturating_mul(NANOS_PER_MS);
        let draw = |scheduled: u64| {
            let scheduled = scheduled.max(now_ns).saturating_add(self.interval_ns);
            (scheduled - now_ns <= NANOS_PER_S).then_some(scheduled)
        };
        self.scheduled_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, draw)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(admission: &Admission, asked: usize, now: Millis) -> usize {
        (0..asked).filter(|_| admission.admits(now)).count()
    }

    #[test]
    fn a_second_takes_no_more_than_it_may() {
        let admission = Admission::new(100);
        assert_eq!(
            admitted(&admission, 1000, Millis(0)),
            100,
            "a burst of a second's worth"
        );
        assert_eq!(admitted(&admission, 1000, Millis(500)), 50);
        assert_eq!(
            admitted(&admission, 1000, Millis(10_000)),
            100,
            "idle time is not saved up"
        );
    }

    #[test]
    fn zero_is_no_bound() {
        assert_eq!(admitted(&Admission::new(0), 1000, Millis(0)), 1000);
    }

    #[test]
    fn the_highest_rate_still_passes() {
        assert!(admitted(&Admission::new(u32::MAX), 1000, Millis(5)) == 1000);
    }
}
