//! When a handset that lost its connection tries again (PROTOCOL 3.4): full jitter, doubled up to a minute.

use crate::Millis;

/// Counts the attempts since the last success.
#[derive(Debug, Default, Clone)]
pub struct Backoff {
    attempts: u32,
}

#[allow(unused_variables, clippy::todo, clippy::needless_pass_by_ref_mut)]
impl Backoff {
    /// The wait before the next attempt: random(0, min(60 s, 0.5 s · 2^n)). `random` is a fresh uniform 64-bit number.
    /// With a refusal's `retry_after_s` the wait is at least that, plus up to 25 % of it.
    pub fn next(&mut self, random: u64, retry_after_s: Option<u32>) -> Millis {
        todo!()
    }

    /// A registration succeeded.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}
