//! The simulation's only source of randomness: a seeded generator, so that a failing run can be repeated exactly.

/// SplitMix64: short, full period, and the same numbers on every machine.
#[derive(Debug, Clone)]
pub(super) struct Chance {
    state: u64,
}

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        Chance { state: seed }
    }

    /// Whether an event of this probability happens now. Draws no number for the impossible, so that turning one
    /// fault off does not change what the others do.
    pub(super) fn hits(&mut self, probability: f64) -> bool {
        const RESOLUTION: u64 = 1 << 53; // what a f64 holds exactly
        probability > 0.0 && ((self.next() % RESOLUTION) as f64) < probability * RESOLUTION as f64
    }

    /// A number from 0 to `end`, `end` excluded and above 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn the_same_seed_draws_the_same_and_a_probability_is_kept() {
        let (mut one, mut other) = (Chance::new(7), Chance::new(7));
        let mut hits = 0;
        for _ in 0..10_000 {
            assert_eq!(one.below(1000), other.below(1000));
            hits += u32::from(one.hits(0.25));
            other.hits(0.25);
        }
        assert!((2_300..2_700).contains(&hits), "{hits} of 10,000 at 0.25");
        assert!(!one.hits(0.0) && one.hits(1.0));
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<u32> = (0..100).collect();
        Chance::new(1).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
