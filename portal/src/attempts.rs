//! How often somebody may fail to sign in: for each source address and for each handset, in a table of fixed size.
//!
//! A key's place in the table comes from a keyed hash, so nobody can choose whom to collide with; two keys that do
//! share a place share its allowance, and the table never grows.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use everline_protocol::{Millis, Msisdn};

use crate::clock::Clock;

/// 16 bytes each.
const PLACES: usize = 1 << 14;

/// The allowances. One attempt costs one; a minute gives all of them back; a success gives its own back at once.
pub struct Attempts<H = RandomState> {
    places: Mutex<Vec<Place>>,
    hasher: H,
    per_minute: usize,
    clock: Clock,
}

#[derive(Clone, Copy)]
struct Place {
    spent: f32,
    at: Millis,
}

/// Too many failures: how many seconds to wait before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany(pub u64);

impl Attempts {
    /// All allowances whole.
    pub fn new(per_minute: usize, clock: Clock) -> Self {
        Self::with_hasher(per_minute, clock, RandomState::new())
    }
}

impl<H: BuildHasher> Attempts<H> {
    fn with_hasher(per_minute: usize, clock: Clock, hasher: H) -> Self {
        let places = vec![
            Place {
                spent: 0.0,
                at: clock.now()
            };
            PLACES
        ];
        Self {
            places: Mutex::new(places),
            hasher,
            per_minute,
            clock,
        }
    }

    /// Takes one attempt from both allowances, or from neither.
    ///
    /// # Errors
    /// How long to wait when one of them is used up.
    pub fn take(&self, source: IpAddr, handset: Msisdn) -> Result<(), TooMany> {
        let now = self.clock.now();
        let limit = self.per_minute as f32;
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.keys(source, handset);
        for key in keys {
            let Some(place) = places.get_mut(key) else {
                continue;
            };
            let regained = now.since(place.at).0 as f32 * limit / 60_000.0;
            place.spent = (place.spent - regained).max(0.0);
            place.at = now;
            let over = place.spent + 1.0 - limit;
            if over > 0.0 {
                return Err(TooMany((over * 60.0 / limit).ceil().max(1.0) as u64));
            }
        }
        self.charge(&mut places, keys, 1.0);
        Ok(())
    }

    /// The attempt succeeded: it does not count.
    pub fn give_back(&self, source: IpAddr, handset: Msisdn) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        self.charge(&mut places, self.keys(source, handset), -1.0);
    }

    fn charge(&self, places: &mut [Place], keys: [usize; 2], amount: f32) {
        for key in keys {
            if let Some(place) = places.get_mut(key) {
                place.spent = (place.spent + amount).max(0.0);
            }
        }
    }

    fn keys(&self, source: IpAddr, handset: Msisdn) -> [usize; 2] {
        // One IPv6 customer has at least a /64: its 2^64 addresses are one source.
        let network = match source.to_canonical() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        // Sources have the lower half of the table and handsets the upper one: the two never share a place.
        let place = |hash: u64| (hash % (PLACES as u64 / 2)) as usize;
        [
            place(self.hasher.hash_one(network)),
            PLACES / 2 + place(self.hasher.hash_one(handset)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, DefaultHasher};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn handset(number: u64) -> Msisdn {
        Msisdn::from_u64(number).expect("valid")
    }

    #[test]
    fn a_handset_and_a_source_each_have_their_allowance_and_regain_it() {
        let time = Arc::new(AtomicU64::new(0));
        let turned = Arc::clone(&time);
        let clock = Clock::from_fn(move || Millis(turned.load(Ordering::Relaxed)));
        // The same places in every run: two of these keys must not share one by chance.
        let attempts =
            Attempts::with_hasher(3, clock, BuildHasherDefault::<DefaultHasher>::default());
        let (here, there) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..3 {
            assert_eq!(attempts.take(here, handset(34_600_000_001)), Ok(()));
        }
        assert_eq!(
            attempts.take(here, handset(34_600_000_002)),
            Err(TooMany(20)),
            "the source is used up"
        );
        assert_eq!(
            attempts.take(there, handset(34_600_000_001)),
            Err(TooMany(20)),
            "the handset is used up"
        );
        assert_eq!(attempts.take(there, handset(34_600_000_002)), Ok(()));
        time.store(20_000, Ordering::Relaxed);
        assert_eq!(attempts.take(here, handset(34_600_000_001)), Ok(()));
        attempts.give_back(here, handset(34_600_000_001));
        assert_eq!(
            attempts.take(here, handset(34_600_000_001)),
            Ok(()),
            "a success did not count"
        );
        assert_eq!(
            attempts.take(here, handset(34_600_000_001)),
            Err(TooMany(20))
        );
    }
}
