//! How many registrations a second the gateway takes, over all shards: one atomic word, no lock.
//!
//! A shard asks once for each CONNECT, before it looks at the token: checking signatures is what an overload is made
//! of. The word holds the time at which the next registration would be on schedule (the generic cell rate algorithm),
//! so an idle gateway takes a burst of one second's worth at once.
//!
//! Those that are refused queue up without a queue: a second word holds the time up to which the schedule is promised
//! to handsets that were told to come back, and each further one is told the time behind it. So a storm comes back at the
//! rate that is taken, however many it is.

use std::sync::atomic::{AtomicU64, Ordering};

use everline_protocol::Millis;

/// The longest that a handset is told to wait: beyond it those who wait are spread, not queued.
pub const RETRY_AFTER_MAX: Millis = Millis::from_secs(600);
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
    /// Up to when the schedule is promised to those who were refused.
    promised_ns: AtomicU64,
}

impl Admission {
    /// At most `per_s_max` registrations a second; 0: no bound.
    pub fn new(per_s_max: u32) -> Self {
        Self {
            interval_ns: NANOS_PER_S.checked_div(u64::from(per_s_max)).unwrap_or(0),
            scheduled_ns: AtomicU64::new(0),
            promised_ns: AtomicU64::new(0),
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

    /// When a registration that was not admitted would be on schedule, from `now` on: later by one for each that was
    /// told so before it. Up to [`RETRY_AFTER_MAX`].
    pub fn promise(&self, now: Millis) -> Millis {
        let now_ns = now.0.saturating_mul(NANOS_PER_MS);
        let end_ns = now_ns.saturating_add(RETRY_AFTER_MAX.0 * NANOS_PER_MS);
        // A handset adds up to a quarter to what it is told (PROTOCOL 3.4), which thins those who come back out by an
        // eighth: so many more are told, that the bucket never runs dry while handsets wait.
        let step = self.interval_ns - self.interval_ns / 8;
        let draw = |promised: u64| {
            let promised = promised.max(now_ns).saturating_add(step);
            Some(promised.min(end_ns))
        };
        let before = self
            .promised_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, draw)
            .unwrap_or(now_ns);
        Millis(before.clamp(now_ns, end_ns).saturating_sub(now_ns) / NANOS_PER_MS)
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

    /// Handsets of a storm, each told to wait and waiting up to a quarter longer, as the protocol has it.
    #[test]
    fn a_storm_comes_back_at_the_rate_that_is_taken() {
        const HANDSETS: usize = 20_000;
        const PER_S: u32 = 1_000;
        let admission = Admission::new(PER_S);
        let mut random = 1u64;
        // By the millisecond at which each tries next.
        let mut tries = std::collections::BTreeMap::from([(0u64, HANDSETS)]);
        let (mut asked, mut all_in_at) = (0, 0);
        while let Some((at, handsets)) = tries.pop_first() {
            for _ in 0..handsets {
                asked += 1;
                if admission.admits(Millis(at)) {
                    all_in_at = at;
                    continue;
                }
                let told_s = admission.promise(Millis(at)).0.div_ceil(1000).max(1);
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let more = told_s * 1000 * (random >> 33) / (4 << 31);
                *tries.entry(at + told_s * 1000 + more).or_default() += 1;
            }
        }
        let ideal_ms = HANDSETS as u64 / u64::from(PER_S) * 1000;
        assert!(
            (ideal_ms - 1000..ideal_ms * 3 / 2).contains(&all_in_at),
            "{all_in_at} ms, against {ideal_ms} without a gap"
        );
        assert!(
            asked < HANDSETS * 5 / 2,
            "{asked} CONNECTs of {HANDSETS} handsets"
        );
    }

    #[test]
    fn a_promise_has_an_end() {
        let admission = Admission::new(1);
        let longest = (0..2_000).map(|_| admission.promise(Millis(7))).max();
        assert_eq!(longest, Some(RETRY_AFTER_MAX));
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
