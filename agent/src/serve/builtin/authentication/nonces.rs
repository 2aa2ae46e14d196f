//! The nonces of Digest authentication (RFC 7616 section 3.3): made without being stored, timed, and each use counted.
//!
//! A nonce carries its own time and a keyed hash that only this process can make, so that giving one to every stranger
//! costs no memory. Only a right answer to one takes a row, with the counts that were used; when rows run out the
//! oldest goes, and with it every nonce of its age that has none: none is ever good for a count twice.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};
use tokio::time::Instant;

/// How long a nonce is good.
pub const NONCE_LIFE: Duration = Duration::from_secs(5 * 60);

/// From this age on an answer brings the next nonce along, so that the caller need not be refused for it.
const RENEW_AGE: Duration = Duration::from_secs(3 * 60);

/// Nonces whose counts are remembered at most.
const USED_MAX: usize = 512;

/// How far behind the highest count another may be: requests overtake each other on their way.
const WINDOW: u32 = 64;

/// Bytes of time, randomness and keyed hash.
const TIME_BYTES: usize = 8;
const RANDOM_BYTES: usize = 8;
const MAC_BYTES: usize = 16;

/// A nonce that this process made, apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nonce {
    /// Milliseconds since the process began; the first thing that orders them.
    at_ms: u64,
    random: u64,
}

/// Makes nonces and knows them again.
#[derive(Debug)]
pub struct Nonces {
    key: hmac::Key,
    epoch: Instant,
    used: HashMap<Nonce, Counts>,
    /// Of nonces that are no newer than this, only those with a row are good.
    forgotten_ms: Option<u64>,
}

#[derive(Debug)]
struct Counts {
    highest: u32,
    /// Bit n: `highest - n` was used.
    window: u64,
}

impl Nonces {
    /// With a key of its own: nonces of an earlier run are stale.
    pub fn new(now: Instant) -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            epoch: now,
            used: HashMap::new(),
            forgotten_ms: None,
        })
    }

    /// A fresh one, in hexadecimal digits.
    pub fn make(&self, now: Instant) -> Result<String, getrandom::Error> {
        let nonce = Nonce {
            at_ms: self.ms(now),
            random: getrandom::u64()?,
        };
        let mut bytes = Vec::with_capacity(TIME_BYTES + RANDOM_BYTES + MAC_BYTES);
        bytes.extend(nonce.at_ms.to_be_bytes());
        bytes.extend(nonce.random.to_be_bytes());
        let mac = hmac::sign(&self.key, &bytes);
        bytes.extend(mac.as_ref().iter().take(MAC_BYTES));
        Ok(super::digest::hex(&bytes))
    }

    /// The nonce, if this process made it and it is still good.
    pub fn known(&self, text: &str, now: Instant) -> Option<Nonce> {
        let bytes = unhex(text)?;
        let (signed, mac) = bytes.split_at_checked(TIME_BYTES + RANDOM_BYTES)?;
        let expected = hmac::sign(&self.key, signed);
        constant_time::verify_slices_are_equal(expected.as_ref().get(..MAC_BYTES)?, mac).ok()?;
        let (at, random) = signed.split_first_chunk()?;
        let nonce = Nonce {
            at_ms: u64::from_be_bytes(*at),
            random: u64::from_be_bytes(random.try_into().ok()?),
        };
        let forgotten = self.forgotten_ms.is_some_and(|ms| nonce.at_ms <= ms);
        let good =
            self.age(nonce, now) < NONCE_LIFE && (!forgotten || self.used.contains_key(&nonce));
        good.then_some(nonce)
    }

    /// Takes one count of a nonce that is known; `false`: it was used before, or is too far behind to tell.
    pub fn take(&mut self, nonce: Nonce, count: u32) -> bool {
        if count == 0 {
            return false;
        }
        if let Some(counts) = self.used.get_mut(&nonce) {
            return counts.take(count);
        }
        while self.used.len() >= USED_MAX {
            let Some(oldest) = self.used.keys().min().copied() else {
                break;
            };
            self.used.remove(&oldest);
            self.forgotten_ms = self.forgotten_ms.max(Some(oldest.at_ms));
        }
        self.used.insert(
            nonce,
            Counts {
                highest: count,
                window: 1,
            },
        );
        true
    }

    /// Whether the caller should go on with a new one.
    pub fn is_old(&self, nonce: Nonce, now: Instant) -> bool {
        self.age(nonce, now) >= RENEW_AGE
    }

    fn age(&self, nonce: Nonce, now: Instant) -> Duration {
        Duration::from_millis(self.ms(now).saturating_sub(nonce.at_ms))
    }

    fn ms(&self, now: Instant) -> u64 {
        u64::try_from(now.duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Counts {
    fn take(&mut self, count: u32) -> bool {
        if let Some(ahead) = count.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            self.window = self.window.checked_shl(ahead).unwrap_or_default() | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest.saturating_sub(count);
        let fresh = behind < WINDOW && self.window & (1 << behind) == 0;
        if fresh {
            self.window |= 1 << behind;
        }
        fresh
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    const DIGITS: usize = 2 * (TIME_BYTES + RANDOM_BYTES + MAC_BYTES);
    if text.len() != DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn make(nonces: &Nonces, now: Instant) -> Nonce {
        let text = nonces.make(now).unwrap();
        nonces.known(&text, now).unwrap()
    }

    #[test]
    fn r47_a_nonce_is_good_for_its_life_and_only_here() {
        let now = Instant::now();
        let nonces = Nonces::new(now).unwrap();
        let text = nonces.make(now).unwrap();
        let last = now + NONCE_LIFE - Duration::from_millis(1);
        assert!(nonces.known(&text, last).is_some());
        assert!(nonces.known(&text, now + NONCE_LIFE).is_none());
        assert!(Nonces::new(now).unwrap().known(&text, now).is_none());
        for at in [0, 20, 63] {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(nonces.known(&forged, now).is_none(), "{forged}");
        }
        for wrong in ["", "é", &text[1..], &format!("{text}0"), &"+".repeat(64)] {
            assert!(nonces.known(wrong, now).is_none(), "{wrong}");
        }
    }

    #[test]
    fn r47_what_was_forgotten_can_not_be_used_again() {
        let mut now = Instant::now();
        let mut nonces = Nonces::new(now).unwrap();
        let mut first = Vec::new();
        for _ in 0..USED_MAX + 10 {
            now += Duration::from_millis(1);
            let text = nonces.make(now).unwrap();
            let nonce = nonces.known(&text, now).unwrap();
            assert!(nonces.take(nonce, 1));
            first.push(text);
        }
        assert_eq!(nonces.used.len(), USED_MAX);
        let good = first
            .iter()
            .filter(|text| nonces.known(text, now).is_some());
        assert_eq!(good.count(), USED_MAX);
    }

    proptest! {
        #[test]
        fn r47_no_count_is_taken_twice(counts in proptest::collection::vec(prop_oneof![0u32..200, any::<u32>()], 0..300)) {
            let now = Instant::now();
            let mut nonces = Nonces::new(now).unwrap();
            let nonce = make(&nonces, now);
            let (mut taken, mut highest) = (HashSet::new(), 0);
            for count in counts {
                let near = count > highest || highest - count < WINDOW;
                let fresh = count > 0 && near && !taken.contains(&count);
                prop_assert_eq!(nonces.take(nonce, count), fresh, "{}", count);
                if fresh {
                    taken.insert(count);
                    highest = highest.max(count);
                }
            }
        }
    }
}
