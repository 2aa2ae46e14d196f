//! Which handsets are registered now: one bit each, written by the fleets, read by the callers.
//!
//! It knows handsets by their place in the run (0 is the first MSISDN) and turns places into MSISDNs.

use std::sync::atomic::{AtomicU64, Ordering};

use everline_protocol::{BadMsisdn, Msisdn};

/// One bit for each handset of the run.
#[derive(Debug)]
pub struct Roster {
    first: u64,
    handsets: u32,
    words: Vec<AtomicU64>,
}

impl Roster {
    /// Nobody registered yet. Fails if the range of numbers leaves what an MSISDN may be.
    pub fn new(first: Msisdn, handsets: u32) -> Result<Self, BadMsisdn> {
        Msisdn::from_u64(first.as_u64() + u64::from(handsets.saturating_sub(1)))?;
        let words = (0..handsets.div_ceil(64))
            .map(|_| AtomicU64::new(0))
            .collect();
        Ok(Self {
            first: first.as_u64(),
            handsets,
            words,
        })
    }

    /// How many handsets the run has, registered or not.
    pub fn handsets(&self) -> u32 {
        self.handsets
    }

    /// The number of the handset at `place`.
    pub fn msisdn(&self, place: u32) -> Msisdn {
        Msisdn::from_u64(self.first + u64::from(place))
            .expect("the whole range was checked at the start")
    }

    /// Notes whether the handset at `place` is registered.
    pub fn set(&self, place: u32, registered: bool) {
        let (word, bit) = (&self.words[place as usize / 64], 1u64 << (place % 64));
        // Relaxed: a caller that sees the bit a moment late or early only picks another handset.
        if registered {
            word.fetch_or(bit, Ordering::Relaxed);
        } else {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Whether the handset at `place` is registered.
    pub fn is_registered(&self, place: u32) -> bool {
        self.words[place as usize / 64].load(Ordering::Relaxed) & (1 << (place % 64)) != 0
    }

    /// A registered handset; `random` is a fresh uniform 64-bit number. Uniform while most are registered;
    /// when few are, the one that comes next after a random place. `None` if nobody is.
    pub fn pick(&self, mut random: u64) -> Option<Msisdn> {
        if self.handsets == 0 {
            return None;
        }
        let mut place = 0;
        for _ in 0..32 {
            place = ((u128::from(random) * u128::from(self.handsets)) >> 64) as u32;
            if self.is_registered(place) {
                return Some(self.msisdn(place));
            }
            random = random
                .wrapping_mul(0x5851_F42D_4C95_7F2D)
                .wrapping_add(0x1405_7B7E_F767_814F);
        }
        let first_word = place as usize / 64;
        (0..self.words.len()).find_map(|step| {
            let index = (first_word + step) % self.words.len();
            let word = self.words[index].load(Ordering::Relaxed);
            (word != 0).then(|| self.msisdn(index as u32 * 64 + word.trailing_zeros()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(handsets: u32) -> Roster {
        Roster::new(Msisdn::from_u64(34_700_000_000).unwrap(), handsets).unwrap()
    }

    #[test]
    fn only_registered_handsets_are_picked() {
        let roster = roster(1000);
        assert_eq!(roster.pick(7), None);
        roster.set(777, true);
        for random in [0, 1 << 40, u64::MAX] {
            assert_eq!(
                roster.pick(random).map(Msisdn::as_u64),
                Some(34_700_000_777)
            );
        }
        roster.set(777, false);
        assert_eq!(roster.pick(7), None);
    }

    #[test]
    fn every_registered_handset_is_picked_about_as_often() {
        let roster = roster(10);
        (0..10).for_each(|place| roster.set(place, true));
        let mut picked = [0; 10];
        for step in 0..10_000u64 {
            let msisdn = roster
                .pick(step.wrapping_mul(0x9E37_79B9_7F4A_7C15))
                .unwrap();
            picked[(msisdn.as_u64() - 34_700_000_000) as usize] += 1;
        }
        assert!(
            picked.iter().all(|times| (900..1100).contains(times)),
            "{picked:?}"
        );
    }

    #[test]
    fn a_range_that_leaves_the_msisdns_is_refused() {
        let last = Msisdn::from_u64(999_999_999_999_999).unwrap();
        assert!(Roster::new(last, 1).is_ok());
        assert!(Roster::new(last, 2).is_err());
    }
}
