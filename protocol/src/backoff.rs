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
