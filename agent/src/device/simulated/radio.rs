//! The simulated radio: there is a network or not, and its strength wanders with time as the seed has it.

use std::time::Duration;

use tokio::time::Instant;

use super::chance;
use crate::device::Coverage;

/// The network's name.
pub(super) const OPERATOR: &str = "Everline Simulated";

/// How often the strength is another one.
const STEP: Duration = Duration::from_secs(60);

/// The radio's side of the handset.
#[derive(Debug)]
pub(super) struct Radio {
    seed: u64,
    started: Instant,
    /// Whether there is a network where the handset is.
    covered: bool,
    technology: &'static str,
}

impl Radio {
    /// A handset within coverage.
    pub(super) fn new(seed: u64, now: Instant) -> Self {
        Self {
            seed,
            started: now,
            covered: true,
            technology: "lte",
        }
    }

    /// Carries the handset into coverage, or out of it.
    pub(super) fn set_covered(&mut self, covered: bool) {
        self.covered = covered;
    }

    /// Has the network work in another way.
    pub(super) fn set_technology(&mut self, technology: &'static str) {
        self.technology = technology;
    }

    /// Whether the handset is in a network; without a SIM card none takes it.
    pub(super) fn is_registered(&self, sim: bool) -> bool {
        self.covered && sim
    }

    /// As it is now.
    pub(super) fn at(&self, sim: bool, now: Instant) -> Coverage {
        if !self.is_registered(sim) {
            return Coverage {
                bars: 0,
                dbm: None,
                technology: "none",
                operator: None,
            };
        }
        let dbm = self.dbm(now);
        let bars = match dbm {
            -80.. => 5,
            -90.. => 4,
            -100.. => 3,
            -110.. => 2,
            _ => 1,
        };
        Coverage {
            bars,
            dbm: Some(dbm),
            technology: self.technology,
            operator: Some(OPERATOR.to_owned()),
        }
    }

    /// When the strength is another one.
    pub(super) fn changes(&self, now: Instant) -> Instant {
        let steps = u32::try_from(self.step(now)).unwrap_or(u32::MAX);
        self.started + STEP.saturating_mul(steps.saturating_add(1))
    }

    fn step(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs() / STEP.as_secs()
    }

    /// Where the handset lies decides most of it; people and doors between it and the mast the rest.
    fn dbm(&self, now: Instant) -> i16 {
        let place = chance::between(self.seed, "place", 0, 72, 98);
        let wander = chance::between(self.seed, "signal", self.step(now), 0, 8);
        -i16::try_from(place + wander).unwrap_or(110)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r37_strength_is_the_seeds_and_bars_follow_it() {
        let start = Instant::now();
        let levels = |seed| {
            let radio = Radio::new(seed, start);
            let each = (0..50u32).map(move |step| radio.at(true, start + STEP * step));
            each.collect::<Vec<_>>()
        };
        assert_eq!(levels(1), levels(1));
        assert_ne!(levels(1), levels(2));
        for coverage in (0..20).flat_map(levels) {
            assert!((2..=5).contains(&coverage.bars), "{coverage:?}");
            assert_eq!(coverage.technology, "lte");
        }
        let radio = Radio::new(1, start);
        assert_eq!(radio.at(false, start).bars, 0, "no network without a SIM");
        assert_eq!(radio.changes(start + STEP / 2), start + STEP);
    }
}
