//! The simulated battery: its level follows from the time that passed, so that nothing has to wake up for it.

use std::time::Duration;

use tokio::time::Instant;

use crate::device::Battery;

/// A full battery, in thousandths of a percent.
const FULL: u64 = 100_000;

/// How full it was, since when it drains or charges, and how fast.
#[derive(Debug)]
pub(super) struct Charge {
    level: u64,
    since: Instant,
    charging: bool,
    drain: Duration,
    charge: Duration,
}

impl Charge {
    /// A battery of `percent` that drains; `drain` is the time from full to empty, `charge` the way back.
    pub(super) fn new(percent: u8, drain: Duration, charge: Duration, now: Instant) -> Self {
        Self {
            level: u64::from(percent.min(100)) * 1_000,
            since: now,
            charging: false,
            drain,
            charge,
        }
    }

    /// As it is now. An empty battery stays so: a simulated handset does not switch itself off.
    pub(super) fn at(&self, now: Instant) -> Battery {
        Battery {
            percent: u8::try_from(self.level_at(now) / 1_000).unwrap_or(100),
            charging: self.charging,
        }
    }

    /// Plugs the charger in, or pulls it out.
    pub(super) fn set_charging(&mut self, charging: bool, now: Instant) {
        self.level = self.level_at(now);
        self.since = now;
        self.charging = charging;
    }

    /// Makes it as full as this.
    pub(super) fn set_percent(&mut self, percent: u8, now: Instant) {
        self.level = u64::from(percent.min(100)) * 1_000;
        self.since = now;
    }

    /// When the percentage is another one; `None`: never, as it is full or empty.
    pub(super) fn changes(&self, now: Instant) -> Option<Instant> {
        let level = self.level_at(now);
        let moved = match self.charging {
            true if level == FULL => return None,
            true => (level / 1_000 + 1) * 1_000 - self.level,
            false if level < 1_000 => return None,
            // The level at which the percentage is one less: just below this percent.
            false => self.level - (level / 1_000 * 1_000 - 1),
        };
        let whole = self.whole();
        let nanos = u128::from(moved) * whole.as_nanos() / u128::from(FULL);
        let after = Duration::from_nanos(u64::try_from(nanos).ok()?.saturating_add(1));
        self.since.checked_add(after)
    }

    fn whole(&self) -> Duration {
        let whole = if self.charging {
            self.charge
        } else {
            self.drain
        };
        whole.max(Duration::from_millis(1))
    }

    fn level_at(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.since).as_nanos();
        let moved = elapsed * u128::from(FULL) / self.whole().as_nanos();
        let moved = u64::try_from(moved).unwrap_or(FULL).min(FULL);
        match self.charging {
            true => (self.level + moved).min(FULL),
            false => self.level.saturating_sub(moved),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn r36_the_level_follows_from_the_time_that_passed() {
        let start = Instant::now();
        let mut charge = Charge::new(80, 50 * HOUR, 2 * HOUR, start);
        let percent = |charge: &Charge, hours: u32| charge.at(start + HOUR * hours).percent;
        assert_eq!(percent(&charge, 0), 80);
        assert_eq!(percent(&charge, 10), 60);
        assert_eq!(percent(&charge, 1_000), 0);
        assert_eq!(charge.changes(start + HOUR * 1_000), None);
        charge.set_charging(true, start + HOUR * 10);
        assert_eq!(
            charge.at(start + HOUR * 11),
            Battery {
                percent: 100,
                charging: true
            }
        );
        assert_eq!(charge.changes(start + HOUR * 12), None);
    }

    #[test]
    fn r36_the_next_change_is_when_the_percentage_changes_and_not_before() {
        let start = Instant::now();
        let nano = Duration::from_nanos(1);
        for charging in [false, true] {
            let mut charge = Charge::new(50, 7 * HOUR, 3 * HOUR, start);
            charge.set_charging(charging, start);
            let mut now = start;
            for step in 1..=50 {
                let next = charge.changes(now).unwrap();
                let before = charge.at(next - nano * 2).percent;
                let after = charge.at(next).percent;
                let there = if charging { 50 + step } else { 50 - step };
                assert_eq!(after, there, "charging {charging}");
                assert_eq!(before.abs_diff(after), 1);
                now = next;
            }
            assert_eq!(charge.changes(now), None);
        }
    }
}
