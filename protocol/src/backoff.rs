//! When a handset that lost its connection tries again (PROTOCOL 3.4): full jitter, doubled up to a minute.

use crate::Millis;

/// Longest wait without a `retry-after`.
const WAIT_MAX: Millis = Millis::from_secs(60);
/// Upper bound of the first wait.
const FIRST_MAX: Millis = Millis(500);
/// Longest `retry-after` that is believed: a day. No gateway may send a handset away for good.
const RETRY_AFTER_MAX_S: u32 = 86_400;

/// Counts the attempts since the last success.
#[derive(Debug, Default, Clone)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The wait before the next attempt: random(0, min(60 s, 0.5 s · 2^n)), n being the attempts since the last
    /// success. `random` is a fresh uniform 64-bit number.
    ///
    /// With a refusal's `retry_after_s` (believed up to a day) the wait is at least that, plus up to 25 % of it.
    pub fn next(&mut self, random: u64, retry_after_s: Option<u32>) -> Millis {
        // 0.5 s · 2^7 is above WAIT_MAX already.
        let most = Millis(FIRST_MAX.0 << self.attempts.min(7)).min(WAIT_MAX);
        self.attempts = self.attempts.saturating_add(1);
        let least = Millis::from_secs(retry_after_s.unwrap_or(0).min(RETRY_AFTER_MAX_S));
        let jittered = least + up_to(Millis(least.0 / 4), random);
        jittered.max(up_to(most, random))
    }

    /// A registration succeeded.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// Scales `random` to 0..=`most`, evenly.
fn up_to(most: Millis, random: u64) -> Millis {
    let scaled = (u128::from(random) * (u128::from(most.0) + 1)) >> 64;
    Millis(u64::try_from(scaled).unwrap_or(most.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_span_doubles_up_to_a_minute_and_begins_anew_after_success() {
        let mut backoff = Backoff::default();
        let longest: Vec<u64> = (0..9).map(|_| backoff.next(u64::MAX, None).0).collect();
        assert_eq!(
            longest,
            [
                500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000
            ]
        );
        backoff.reset();
        assert_eq!(backoff.next(u64::MAX, None), Millis(500));
    }

    #[test]
    fn jitter_is_full() {
        let next = |random| Backoff { attempts: 3 }.next(random, None).0;
        assert_eq!(
            (next(0), next(u64::MAX / 2), next(u64::MAX)),
            (0, 2_000, 4_000)
        );
    }

    #[test]
    fn retry_after_is_a_lower_bound_with_a_quarter_of_jitter() {
        let next = |random, retry_after_s| Backoff::default().next(random, Some(retry_after_s)).0;
        assert_eq!(
            (next(0, 8), next(u64::MAX / 2, 8), next(u64::MAX, 8)),
            (8_000, 9_000, 10_000)
        );
        assert_eq!(
            next(u64::MAX, 0),
            500,
            "nothing to wait for: the usual back-off"
        );
        let patient = Backoff { attempts: 20 }.next(u64::MAX, Some(8));
        assert_eq!(
            patient,
            Millis(60_000),
            "it lowers no back-off that is longer"
        );
        assert_eq!(
            next(0, u32::MAX),
            86_400_000,
            "nobody is sent away for good"
        );
    }

    #[test]
    fn counting_attempts_has_no_end() {
        let mut backoff = Backoff { attempts: u32::MAX };
        assert_eq!(backoff.next(u64::MAX, None), Millis(60_000));
        assert_eq!(backoff.attempts, u32::MAX);
    }
}
