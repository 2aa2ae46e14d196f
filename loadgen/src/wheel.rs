//! Timers of one fleet: one per numbered owner, set, moved and cancelled in constant time and in fixed memory.
//!
//! A hierarchical wheel of linked lists that run through one array of nodes, so that a cancelled timer leaves
//! nothing behind. It tells who is due; it knows no clock and calls nobody.

use everline_protocol::Millis;

/// Milliseconds in a tick: a timer is never early, and at most this much late.
const TICK_MS: u64 = 8;
/// Six bits of the tick select a bucket at each level; six levels cover every 32-bit tick (a year and more).
const LEVELS: usize = 6;
const BUCKETS: usize = 64;
const BITS: u32 = 6;
const NONE: u32 = u32::MAX;
const UNSET: u16 = u16::MAX;

#[derive(Debug, Clone, Copy)]
struct Node {
    previous: u32,
    next: u32,
    tick: u32,
    bucket: u16,
}

/// The timers of owners `0..owners`, one each.
#[derive(Debug)]
pub struct Wheel {
    nodes: Vec<Node>,
    heads: Vec<u32>,
    occupied: [u64; LEVELS],
    now: u32,
}

impl Wheel {
    /// A wheel that starts at time 0 with no timer set.
    pub fn new(owners: u32) -> Self {
        let unset = Node {
            previous: NONE,
            next: NONE,
            tick: 0,
            bucket: UNSET,
        };
        Self {
            nodes: vec![unset; owners as usize],
            heads: vec![NONE; LEVELS * BUCKETS],
            occupied: [0; LEVELS],
            now: 0,
        }
    }

    /// Sets or moves the timer of `owner`. A time that has passed is due at the next [`Wheel::advance`].
    pub fn set(&mut self, owner: u32, due: Millis) {
        self.cancel(owner);
        let tick = u32::try_from(due.0.div_ceil(TICK_MS)).unwrap_or(u32::MAX);
        self.link(owner, tick.max(self.now));
    }

    /// Cancels the timer of `owner`, if it has one.
    pub fn cancel(&mut self, owner: u32) {
        let node = self.nodes[owner as usize];
        if node.bucket == UNSET {
            return;
        }
        match node.previous {
            NONE => self.heads[usize::from(node.bucket)] = node.next,
            previous => self.nodes[previous as usize].next = node.next,
        }
        if node.next != NONE {
            self.nodes[node.next as usize].previous = node.previous;
        }
        if self.heads[usize::from(node.bucket)] == NONE {
            let (level, bucket) = (
                usize::from(node.bucket) / BUCKETS,
                usize::from(node.bucket) % BUCKETS,
            );
            self.occupied[level] &= !(1 << bucket);
        }
        self.nodes[owner as usize].bucket = UNSET;
    }

    /// No timer is due before this; `None` if none is set. It may be earlier than the first timer, never later.
    pub fn next(&self) -> Option<Millis> {
        self.next_bucket()
            .map(|(tick, _)| Millis(u64::from(tick) * TICK_MS))
    }

    /// Moves on to `now`, and appends to `due` every owner whose timer has come; those are unset.
    pub fn advance(&mut self, now: Millis, due: &mut Vec<u32>) {
        let to = u32::try_from(now.0 / TICK_MS).unwrap_or(u32::MAX);
        while let Some((tick, bucket)) = self.next_bucket().filter(|(tick, _)| *tick <= to) {
            self.now = tick;
            let mut owner = std::mem::replace(&mut self.heads[bucket], NONE);
            self.occupied[bucket / BUCKETS] &= !(1 << (bucket % BUCKETS));
            while owner != NONE {
                let node = self.nodes[owner as usize];
                self.nodes[owner as usize].bucket = UNSET;
                if node.tick <= tick {
                    due.push(owner);
                } else {
                    self.link(owner, node.tick);
                }
                owner = node.next;
            }
        }
        self.now = self.now.max(to);
    }

    /// The level is that of the highest group of bits in which the tick differs from now: so whatever stands at a
    /// lower level comes first, and no bucket ever lies behind `now`.
    fn link(&mut self, owner: u32, tick: u32) {
        let level = ((31 - ((self.now ^ tick) | 1).leading_zeros()) / BITS) as usize;
        let slot = (tick >> (BITS * level as u32)) as usize % BUCKETS;
        let bucket = level * BUCKETS + slot;
        let next = std::mem::replace(&mut self.heads[bucket], owner);
        if next != NONE {
            self.nodes[next as usize].previous = owner;
        }
        self.occupied[level] |= 1 << slot;
        self.nodes[owner as usize] = Node {
            previous: NONE,
            next,
            tick,
            bucket: bucket as u16,
        };
    }

    fn next_bucket(&self) -> Option<(u32, usize)> {
        let level = self.occupied.iter().position(|buckets| *buckets != 0)?;
        let slot = self.occupied[level].trailing_zeros();
        let shift = BITS * level as u32;
        let above = u64::from(self.now) >> (shift + BITS) << (shift + BITS);
        let tick = above | u64::from(slot) << shift;
        Some((tick as u32, level * BUCKETS + slot as usize))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Op {
        Set(u32, u64),
        Cancel(u32),
        Advance(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        let span = prop_oneof![0u64..100, 0u64..100_000, 0u64..1 << 26];
        prop_oneof![
            3 => (0u32..20, span.clone()).prop_map(|(owner, span)| Op::Set(owner, span)),
            1 => (0u32..20).prop_map(Op::Cancel),
            2 => span.prop_map(Op::Advance),
        ]
    }

    proptest! {
        #[test]
        fn it_fires_what_a_sorted_map_would(ops in proptest::collection::vec(op(), 1..200)) {
            let mut wheel = Wheel::new(20);
            let mut model = BTreeMap::new();
            let mut now = 0;
            for op in ops {
                match op {
                    Op::Set(owner, span) => {
                        wheel.set(owner, Millis(now + span));
                        // Due at a tick's end, and never at one that has passed.
                        model.insert(owner, (now + span).div_ceil(TICK_MS).max(now / TICK_MS));
                    }
                    Op::Cancel(owner) => {
                        wheel.cancel(owner);
                        model.remove(&owner);
                    }
                    Op::Advance(span) => {
                        now += span;
                        let mut fired = Vec::new();
                        wheel.advance(Millis(now), &mut fired);
                        fired.sort_unstable();
                        let due: Vec<_> = model.iter().filter(|(_, t)| **t <= now / TICK_MS).map(|(o, _)| *o).collect();
                        model.retain(|_, tick| *tick > now / TICK_MS);
                        prop_assert_eq!(fired, due);
                    }
                }
                let first = model.values().min().map(|tick| tick * TICK_MS);
                prop_assert_eq!(wheel.next().is_some(), first.is_some());
                prop_assert!(wheel.next().map(|at| at.0) <= first || first.is_none());
            }
        }
    }

    #[test]
    fn a_timer_that_is_moved_fires_once_at_its_new_time() {
        let mut wheel = Wheel::new(2);
        wheel.set(1, Millis(80));
        wheel.set(1, Millis(800_000));
        let mut due = Vec::new();
        wheel.advance(Millis(799_992), &mut due);
        assert!(due.is_empty());
        wheel.advance(Millis(800_000), &mut due);
        wheel.advance(Millis(9_000_000), &mut due);
        assert_eq!(due, [1]);
        assert_eq!(wheel.next(), None);
    }
}
