//! Who may have how many requests at once: over all, per handset, per caller address. Full means refused, at once.
//!
//! A [`Permit`] is taken when a request is admitted and held until its response's last byte has gone; dropping it
//! gives its places back.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use everline_protocol::Msisdn;

use crate::problem::Problem;

/// The bounds, each a number of requests in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Over all.
    pub requests_max: usize,
    /// For one handset.
    pub per_handset_max: u32,
    /// For one caller address.
    pub per_caller_max: u32,
}

/// Requests in flight, counted; clones share the count.
#[derive(Debug, Clone)]
pub struct Limits(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    bounds: Bounds,
    all: AtomicUsize,
    connections: AtomicUsize,
    by_handset: DashMap<Msisdn, u32>,
    by_caller: DashMap<IpAddr, u32>,
}

impl Limits {
    /// Nothing in flight.
    pub fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Counts {
            bounds,
            all: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            by_handset: DashMap::new(),
            by_caller: DashMap::new(),
        }))
    }

    /// Admits one request, or tells which bound it met.
    pub fn admit(&self, caller: IpAddr, msisdn: Msisdn) -> Result<Permit, Problem> {
        let Counts {
            bounds,
            all,
            by_handset,
            by_caller,
            ..
        } = &*self.0;
        // The permit is built step by step: whatever was counted before a refusal is given back by its drop.
        let mut permit = Permit {
            counts: Arc::clone(&self.0),
            caller: None,
            handset: None,
        };
        if all.fetch_add(1, Ordering::Relaxed) >= bounds.requests_max {
            return Err(Problem::Overloaded);
        }
        if !take(by_caller, caller, bounds.per_caller_max) {
            return Err(Problem::CallerLimited);
        }
        permit.caller = Some(caller);
        if !take(by_handset, msisdn, bounds.per_handset_max) {
            return Err(Problem::HandsetBusy);
        }
        permit.handset = Some(msisdn);
        Ok(permit)
    }

    /// A place for one more caller's connection, if there are fewer than `connections_max`.
    pub fn connect(&self, connections_max: usize) -> Option<Connected> {
        // Counted first, so that a refusal gives its place back by the drop.
        let connected = Connected(Arc::clone(&self.0));
        let before = self.0.connections.fetch_add(1, Ordering::Relaxed);
        (before < connections_max).then_some(connected)
    }

    /// Requests in flight now.
    pub fn in_flight(&self) -> usize {
        self.0.all.load(Ordering::Relaxed)
    }
}

/// The place of one caller's connection.
#[derive(Debug)]
pub struct Connected(Arc<Counts>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right of one request to be in flight.
#[derive(Debug)]
pub struct Permit {
    counts: Arc<Counts>,
    caller: Option<IpAddr>,
    handset: Option<Msisdn>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.counts.all.fetch_sub(1, Ordering::Relaxed);
        if let Some(caller) = self.caller {
            give_back(&self.counts.by_caller, &caller);
        }
        if let Some(handset) = self.handset {
            give_back(&self.counts.by_handset, &handset);
        }
    }
}

fn take<K: Eq + Hash>(counts: &DashMap<K, u32>, key: K, max: u32) -> bool {
    if max == 0 {
        return false;
    }
    let mut count = counts.entry(key).or_insert(0);
    let free = *count < max;
    if free {
        *count += 1;
    }
    free
}

fn give_back<K: Eq + Hash>(counts: &DashMap<K, u32>, key: &K) {
    counts.remove_if_mut(key, |_, count| {
        *count = count.saturating_sub(1);
        *count == 0
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn handset(number: u64) -> Msisdn {
        Msisdn::from_u64(number).expect("a valid number")
    }

    fn limits(requests_max: usize, per_handset_max: u32, per_caller_max: u32) -> Limits {
        Limits::new(Bounds {
            requests_max,
            per_handset_max,
            per_caller_max,
        })
    }

    #[test]
    fn each_bound_names_itself() {
        let one = handset(34_600_000_001);
        for (limits, problem) in [
            (limits(1, 9, 9), Problem::Overloaded),
            (limits(9, 1, 9), Problem::HandsetBusy),
            (limits(9, 9, 1), Problem::CallerLimited),
        ] {
            let held = limits.admit(CALLER, one).expect("the first fits");
            assert_eq!(limits.admit(CALLER, one).err(), Some(problem));
            drop(held);
            assert!(
                limits.admit(CALLER, one).is_ok(),
                "a permit given back can be taken again"
            );
        }
    }

    #[test]
    fn a_connection_over_the_bound_is_refused_until_one_ends() {
        let limits = limits(1, 1, 1);
        let first = limits.connect(1).expect("the first fits");
        assert!(limits.connect(1).is_none());
        assert!(limits.connect(1).is_none(), "a refusal takes no place");
        drop(first);
        assert!(limits.connect(1).is_some());
    }

    #[test]
    fn a_refusal_counts_nowhere() {
        let limits = limits(9, 1, 9);
        let held = limits
            .admit(CALLER, handset(34_600_000_001))
            .expect("the first fits");
        assert!(limits.admit(CALLER, handset(34_600_000_001)).is_err());
        assert_eq!(limits.in_flight(), 1);
        drop(held);
        assert_eq!(
            (
                limits.in_flight(),
                limits.0.by_handset.len(),
                limits.0.by_caller.len()
            ),
            (0, 0, 0)
        );
    }
}
