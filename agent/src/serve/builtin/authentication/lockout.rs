//! Slows guessing down and locks guessers out (R47), as a plain table of what failed: no clock, no waiting.
//!
//! Nobody is made to wait on an open channel: an attempt that comes too early is refused unlooked at, with the time
//! after which it may come again. Failures are counted for a name *from one source*, so that a stranger locks out himself
//! and not the user that he pretends to be; and for a name from everywhere, against a guesser with many addresses: that
//! lock spares the sources from which the user signed in before. One source's failures with whatever names slow down its
//! attempts with all names that did not sign in there, so that changing the name does not make guesses cheap. A name that
//! no user has is counted like any other, so that counting tells nothing about names. Locks end by themselves, and
//! attempts during one do not prolong it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Failures from one source that cost nothing: anybody mistypes.
const FREE_FAILURES: u32 = 3;

/// Wait after the first failure that costs something; it doubles with each that follows.
const DELAY: Duration = Duration::from_secs(1);

/// Where that doubling ends.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// Failures from one source, with whatever names, that cost nothing: a household has several users.
const FREE_SOURCE_FAILURES: u32 = 20;

/// Failures of one name from one source that lock it out there.
pub const SOURCE_FAILURES_MAX: u32 = 10;

/// Failures of one name from everywhere that lock it out wherever it has not been seen.
pub const NAME_FAILURES_MAX: u32 = 50;

/// How long a lock lasts, and after how much quiet failures are forgotten.
pub const LOCK: Duration = Duration::from_secs(15 * 60);

/// Names, and pairs of name and source, whose failures are remembered at most, each.
const ENTRIES_MAX: usize = 1_024;

/// Places of successful sign-ins that are remembered at most, of all users together.
const SEEN_MAX: usize = 256;

/// Where an attempt comes from: an IPv4 address, or the /64 of an IPv6 address, which is what one household has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Source(Option<u128>);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        let bits = match address.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits() >> 64 << 64,
        };
        Self(Some(bits))
    }
}

/// In the place of a name's hash, where no name is meant.
const ANY_NAME: u64 = 0;

/// What a failure led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// The name is locked out at this source.
    Source,
    /// The name is locked out wherever it has not been seen.
    Name,
}

/// The table of failures.
#[derive(Debug, Default)]
pub struct Lockout {
    /// Keys are hashes that a caller can't steer; a name may be as long as it likes.
    hasher: RandomState,
    sources: Failures,
    names: Failures,
    /// By source alone.
    places: Failures,
    /// Name and source of those who signed in, and when last.
    seen: HashMap<(u64, Source), Instant>,
}

impl Lockout {
    /// How long an attempt with this name from this source has to wait; `None`: not at all.
    pub fn wait(&self, name: &str, source: Source, now: Instant) -> Option<Duration> {
        let name = self.hasher.hash_one(name);
        let at_source = self.sources.wait((name, source), now);
        if self.seen.contains_key(&(name, source)) {
            return at_source;
        }
        at_source
            .max(self.names.wait((name, Source::default()), now))
            .max(self.places.wait((ANY_NAME, source), now))
    }

    /// An attempt failed. `known`: a user has this name; such entries are the last to be forgotten for want of room.
    pub fn failed(
        &mut self,
        name: &str,
        known: bool,
        source: Source,
        now: Instant,
    ) -> Option<Lock> {
        let name = self.hasher.hash_one(name);
        let count = self.sources.count((name, source), known, now);
        let at_source = self.sources.delay(
            (name, source),
            count,
            FREE_FAILURES,
            SOURCE_FAILURES_MAX,
            now,
        );
        let count = self.places.count((ANY_NAME, source), false, now);
        let place = (ANY_NAME, source);
        self.places
            .delay(place, count, FREE_SOURCE_FAILURES, u32::MAX, now);
        let everywhere = (name, Source::default());
        let count = self.names.count(everywhere, known, now);
        // Delays of a name from everywhere would let a stranger delay its user: only the lock counts.
        let of_name =
            self.names
                .delay(everywhere, count, NAME_FAILURES_MAX, NAME_FAILURES_MAX, now);
        match (of_name, at_source) {
            (true, _) => Some(Lock::Name),
            (false, true) => Some(Lock::Source),
            (false, false) => None,
        }
    }

    /// An attempt succeeded: this source's failures are forgotten, and it is spared when others guess.
    pub fn succeeded(&mut self, name: &str, source: Source, now: Instant) {
        let name = self.hasher.hash_one(name);
        self.sources.0.remove(&(name, source));
        if self.seen.len() >= SEEN_MAX && !self.seen.contains_key(&(name, source)) {
            let oldest = self.seen.iter().min_by_key(|(_, at)| **at);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.seen.remove(&key);
            }
        }
        self.seen.insert((name, source), now);
    }

    /// The owner lifts every lock of this name.
    pub fn unlock(&mut self, name: &str) {
        let name = self.hasher.hash_one(name);
        self.sources.0.retain(|(of, _), _| *of != name);
        self.names.0.retain(|(of, _), _| *of != name);
    }

    /// A user is gone: whoever gets the name next starts with nothing.
    pub fn forget(&mut self, name: &str) {
        self.unlock(name);
        let name = self.hasher.hash_one(name);
        self.seen.retain(|(of, _), _| *of != name);
    }

    /// How many attempts with this name failed lately.
    pub fn failures(&self, name: &str, now: Instant) -> u32 {
        let failure = self
            .names
            .0
            .get(&(self.hasher.hash_one(name), Source::default()));
        let lately = failure.filter(|failure| now.duration_since(failure.last) < LOCK);
        lately.map_or(0, |failure| failure.count)
    }

    /// How long the longest lock of this name still lasts; delays are not told.
    pub fn locked(&self, name: &str, now: Instant) -> Option<Duration> {
        let name = self.hasher.hash_one(name);
        let of_name = self.names.0.iter().chain(self.sources.0.iter());
        of_name
            .filter(|((of, _), failure)| *of == name && failure.locked)
            .filter_map(|(_, failure)| left(failure.until, now))
            .max()
    }
}

/// Failures by name and source.
#[derive(Debug, Default)]
struct Failures(HashMap<(u64, Source), Failure>);

#[derive(Debug)]
struct Failure {
    count: u32,
    last: Instant,
    /// No attempt before this.
    until: Instant,
    locked: bool,
    known: bool,
}

impl Failures {
    fn wait(&self, key: (u64, Source), now: Instant) -> Option<Duration> {
        left(self.0.get(&key)?.until, now)
    }

    fn count(&mut self, key: (u64, Source), known: bool, now: Instant) -> u32 {
        if self.0.len() >= ENTRIES_MAX && !self.0.contains_key(&key) {
            let oldest = self
                .0
                .iter()
                .min_by_key(|(_, failure)| (failure.known, failure.last));
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.0.remove(&key);
            }
        }
        let failure = self.0.entry(key).or_insert(Failure {
            count: 0,
            last: now,
            until: now,
            locked: false,
            known,
        });
        let over = failure.locked && failure.until <= now;
        if over || now.duration_since(failure.last) >= LOCK {
            failure.count = 0;
            failure.locked = false;
        }
        failure.count += 1;
        failure.last = now;
        failure.count
    }

    /// Sets the wait for this many failures; whether it is a lock that began just now.
    fn delay(
        &mut self,
        key: (u64, Source),
        count: u32,
        free: u32,
        most: u32,
        now: Instant,
    ) -> bool {
        let Some(failure) = self.0.get_mut(&key) else {
            return false;
        };
        if count >= most {
            let begins = !failure.locked;
            if begins {
                failure.until = now + LOCK;
            }
            failure.locked = true;
            return begins;
        }
        if let Some(doublings) = count.checked_sub(free + 1) {
            failure.until = now + (DELAY * (1 << doublings.min(6))).min(DELAY_MAX);
        }
        false
    }
}

fn left(until: Instant, now: Instant) -> Option<Duration> {
    Some(until.checked_duration_since(now)?).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        Source::from(IpAddr::from([192, 0, 2, last]))
    }

    /// Fails as soon as it may, `times` times; gives the waits between, and the last one's lock.
    fn guess(
        lockout: &mut Lockout,
        name: &str,
        source: Source,
        now: &mut Instant,
        times: u32,
    ) -> (Vec<u64>, Option<Lock>) {
        let (mut waits, mut lock) = (Vec::new(), None);
        for _ in 0..times {
            let wait = lockout.wait(name, source, *now).unwrap_or_default();
            waits.push(wait.as_secs());
            *now += wait;
            lock = lockout.failed(name, true, source, *now);
        }
        (waits, lock)
    }

    #[test]
    fn r47_guesses_are_slowed_and_then_locked_out_and_the_lock_ends() {
        let (mut lockout, mut now) = (Lockout::default(), Instant::now());
        let (waits, lock) = guess(&mut lockout, "alice", source(1), &mut now, 10);
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32]);
        assert_eq!(lock, Some(Lock::Source));
        assert_eq!(lockout.wait("alice", source(1), now), Some(LOCK));
        assert_eq!(lockout.locked("alice", now), Some(LOCK));
        assert_eq!(lockout.failures("alice", now), 10);
        assert_eq!(
            lockout.wait("alice", source(2), now),
            None,
            "another source"
        );
        assert_eq!(lockout.wait("bob", source(1), now), None, "another name");
        now += LOCK;
        assert_eq!(lockout.wait("alice", source(1), now), None);
        assert_eq!(lockout.locked("alice", now), None);
        let (waits, _) = guess(&mut lockout, "alice", source(1), &mut now, 4);
        assert_eq!(waits, [0, 0, 0, 0], "it begins anew");
    }

    #[test]
    fn r47_a_guesser_with_many_addresses_does_not_lock_out_the_user_who_was_there_before() {
        let (mut lockout, mut now) = (Lockout::default(), Instant::now());
        lockout.succeeded("alice", source(200), now);
        let mut locks = Vec::new();
        for stranger in 0..u8::try_from(NAME_FAILURES_MAX).unwrap() {
            now += Duration::from_secs(1);
            locks.extend(lockout.failed("alice", true, source(stranger), now));
        }
        assert_eq!(locks, [Lock::Name]);
        assert!(lockout.wait("alice", source(201), now).is_some());
        assert_eq!(lockout.wait("alice", source(200), now), None);
        // More of the same does not prolong it.
        now += LOCK / 2;
        lockout.failed("alice", true, source(202), now);
        assert_eq!(lockout.locked("alice", now), Some(LOCK / 2));
        lockout.unlock("alice");
        assert_eq!(lockout.wait("alice", source(201), now), None);
        assert_eq!(lockout.locked("alice", now), None);
    }

    #[test]
    fn a_success_clears_its_place() {
        let (mut lockout, mut now) = (Lockout::default(), Instant::now());
        guess(&mut lockout, "alice", source(1), &mut now, 6);
        assert!(lockout.wait("alice", source(1), now).is_some());
        lockout.succeeded("alice", source(1), now);
        assert_eq!(lockout.wait("alice", source(1), now), None);
        let (waits, _) = guess(&mut lockout, "alice", source(1), &mut now, 5);
        assert_eq!(waits, [0, 0, 0, 0, 1]);
    }

    #[test]
    fn made_up_names_do_not_push_out_those_of_users_and_the_table_is_bounded() {
        let (mut lockout, mut now) = (Lockout::default(), Instant::now());
        guess(
            &mut lockout,
            "alice",
            source(1),
            &mut now,
            SOURCE_FAILURES_MAX,
        );
        for n in 0..3 * ENTRIES_MAX {
            lockout.failed(&format!("nobody{n}"), false, source(1), now);
        }
        assert!(lockout.wait("alice", source(1), now).is_some());
        assert_eq!(lockout.sources.0.len(), ENTRIES_MAX);
        assert_eq!(lockout.names.0.len(), ENTRIES_MAX);
        assert_eq!(lockout.places.0.len(), 1);
        for n in 0..=u16::try_from(SEEN_MAX).unwrap() {
            let address = IpAddr::from([10, 0, (n >> 8) as u8, n as u8]);
            lockout.succeeded("alice", address.into(), now + Duration::from_secs(n.into()));
        }
        assert_eq!(lockout.seen.len(), SEEN_MAX);
    }

    #[test]
    fn r47_another_name_each_time_does_not_make_guesses_cheap() {
        let (mut lockout, now) = (Lockout::default(), Instant::now());
        lockout.succeeded("alice", source(1), now);
        for n in 0..=FREE_SOURCE_FAILURES {
            let name = format!("nobody{n}");
            assert_eq!(lockout.wait(&name, source(1), now), None, "{n}");
            assert_eq!(lockout.failed(&name, false, source(1), now), None);
        }
        assert_eq!(lockout.wait("another", source(1), now), Some(DELAY));
        assert_eq!(lockout.wait("another", source(2), now), None);
        // Who signed in there before does not pay for it.
        assert_eq!(lockout.wait("alice", source(1), now), None);
        let mut now = now;
        for _ in 0..100 {
            now += lockout.wait("another", source(1), now).unwrap_or_default();
            lockout.failed("yet another", false, source(1), now);
        }
        assert_eq!(lockout.wait("another", source(1), now), Some(DELAY_MAX));
        assert_eq!(lockout.locked("another", now), None, "slowed, never locked");
        now += LOCK;
        assert_eq!(lockout.wait("another", source(1), now), None);
    }

    #[test]
    fn an_ipv6_place_is_a_household() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }
}
