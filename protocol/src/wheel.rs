//! The timers of many sessions: one per numbered owner, set, moved and cancelled in constant time, 12 bytes each.
//!
//! A shard of the gateway keeps its sessions' deadlines in one, a thread of the load generator its handsets'. A
//! hierarchical wheel: four levels of 64 buckets, each bucket a doubly linked list that runs through one array of nodes.
//! A timer is served up to one tick late and never early; a coarse tick serves several of them in one turn of the ring.
//! It tells who is due; it knows no clock and calls nobody.

use crate::Millis;

const LEVELS: usize = 4;
const BUCKETS: usize = 64;
/// `BUCKETS` as a power of two.
const BITS: u32 = 6;
/// Ticks that the wheel spans, 12 days at 64 ms; a later timer comes round at the end and is set again by its owner.
const SPAN: u32 = 1 << (BITS * LEVELS as u32);

const NONE: u32 = u32::MAX;
/// In [`Node::previous`]: the rest is a bucket, whose first node this is.
const HEAD: u32 = 1 << 31;

/// A slot's place in a bucket's list.
#[derive(Debug, Clone, Copy)]
struct Node {
    previous: u32,
    next: u32,
    /// When it is due.
    tick: u32,
}

const UNSET: Node = Node {
    previous: NONE,
    next: NONE,
    tick: 0,
};

/// The timers of slots, numbered from 0.
#[derive(Debug)]
pub struct Wheel {
    /// Milliseconds.
    tick: u64,
    nodes: Vec<Node>,
    heads: [[u32; BUCKETS]; LEVELS],
    /// One bit a bucket that is not empty.
    occupied: [u64; LEVELS],
    /// Every tick up to this one has been served.
    now: u32,
    set: usize,
}

impl Wheel {
    /// What one timer costs.
    pub const TIMER_BYTES: usize = size_of::<Node>();

    /// A wheel that stands at `now`, with room for `slots` timers without growing. `tick`: how late it may serve one.
    pub fn new(slots: u32, now: Millis, tick: Millis) -> Self {
        let tick = tick.0.max(1);
        Self {
            tick,
            nodes: Vec::with_capacity(slots as usize),
            heads: [[NONE; BUCKETS]; LEVELS],
            occupied: [0; LEVELS],
            now: whole_ticks(now, tick),
            set: 0,
        }
    }

    /// Sets or moves the timer of `slot`. A time that has passed is due at the next tick.
    pub fn set(&mut self, slot: u32, due: Millis) {
        let index = slot as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, UNSET);
        }
        self.cancel(slot);
        self.set += 1;
        let tick = u32::try_from(due.0.div_ceil(self.tick)).unwrap_or(u32::MAX);
        self.link(slot, tick.max(self.now.saturating_add(1)));
    }

    /// Sets the timer of `slot` unless it comes round by `due` anyway: an owner that looks at what is really due when
    /// its timer comes round need not move it at every sign of life.
    pub fn set_by(&mut self, slot: u32, due: Millis) {
        let tick = due.0.div_ceil(self.tick);
        let soon_enough = |node: &Node| node.previous != NONE && u64::from(node.tick) <= tick;
        if !self.nodes.get(slot as usize).is_some_and(soon_enough) {
            self.set(slot, due);
        }
    }

    /// Cancels the timer of `slot`, if it has one.
    pub fn cancel(&mut self, slot: u32) {
        if self.unlink(slot) {
            self.set -= 1;
        }
    }

    /// Timers that are set.
    pub fn len(&self) -> usize {
        self.set
    }

    /// Whether no timer is set.
    pub fn is_empty(&self) -> bool {
        self.set == 0
    }

    /// When [`Wheel::advance`] has something to do next; maybe only to sort timers, with nobody due. `None`: no
    /// timer is set.
    pub fn next(&self) -> Option<Millis> {
        (0..LEVELS)
            .filter_map(|level| self.next_at(level))
            .min()
            .map(|tick| Millis(tick * self.tick))
    }

    /// Moves the wheel to `now` and appends the slots that came due, earliest first; their timers are unset.
    pub fn advance(&mut self, now: Millis, due: &mut Vec<u32>) {
        let target = whole_ticks(now, self.tick);
        while self.now < target {
            // Jumps over ticks at which nothing happens; stops at every one at which a bucket is to be emptied.
            let next = (0..LEVELS).filter_map(|level| self.next_at(level)).min();
            let next = next.and_then(|tick| u32::try_from(tick).ok());
            self.now = next.unwrap_or(target).min(target);
            for level in (1..LEVELS).rev() {
                if self.now & low_mask(level) == 0 {
                    self.sort(level, due);
                }
            }
            self.empty(0, digit(self.now, 0), |wheel, slot, _tick| {
                wheel.set -= 1;
                due.push(slot);
            });
        }
    }

    /// The tick at which the next bucket of a level is to be emptied.
    fn next_at(&self, level: usize) -> Option<u64> {
        let occupied = *self.occupied.get(level)?;
        if occupied == 0 {
            return None;
        }
        // Turned so that bit 0 is the bucket behind the current one; the current one itself is a whole turn away.
        let behind = digit(self.now, level) as u32 + 1;
        let ahead = u64::from(occupied.rotate_right(behind).trailing_zeros()) + 1;
        let shift = BITS * level as u32;
        Some(((u64::from(self.now) >> shift) + ahead) << shift)
    }

    /// Moves the timers of a level's current bucket to the levels below it, or to `due` if they are due now.
    fn sort(&mut self, level: usize, due: &mut Vec<u32>) {
        self.empty(level, digit(self.now, level), |wheel, slot, tick| {
            if tick <= wheel.now {
                wheel.set -= 1;
                due.push(slot);
            } else {
                wheel.link(slot, tick);
            }
        });
    }

    /// Takes every timer out of a bucket and hands it on with its tick. Those linked again on the way land in other
    /// buckets: a timer is never put where its level stands.
    fn empty(&mut self, level: usize, bucket: usize, mut take: impl FnMut(&mut Self, u32, u32)) {
        let head = self.heads.get(level).and_then(|heads| heads.get(bucket));
        let mut slot = head.copied().unwrap_or(NONE);
        while let Some(Node { next, tick, .. }) = self.nodes.get(slot as usize).copied() {
            self.unlink(slot);
            take(self, slot, tick);
            slot = next;
        }
    }

    fn link(&mut self, slot: u32, tick: u32) {
        // The highest level whose digit differs from now's; beyond the span, the last bucket of the highest level.
        let reach = tick.min(self.now.saturating_add(SPAN - 1));
        let apart = (reach ^ self.now).max(1).ilog2() / BITS;
        let level = (apart as usize).min(LEVELS - 1);
        let bucket = digit(reach, level);
        let Some(head) = self
            .heads
            .get_mut(level)
            .and_then(|heads| heads.get_mut(bucket))
        else {
            return;
        };
        let next = std::mem::replace(head, slot);
        if let Some(occupied) = self.occupied.get_mut(level) {
            *occupied |= 1 << bucket;
        }
        if let Some(follower) = self.nodes.get_mut(next as usize) {
            follower.previous = slot;
        }
        if let Some(node) = self.nodes.get_mut(slot as usize) {
            *node = Node {
                previous: HEAD | (level * BUCKETS + bucket) as u32,
                next,
                tick,
            };
        }
    }

    /// Takes a slot out of its list; `false` if it was in none.
    fn unlink(&mut self, slot: u32) -> bool {
        let Some(node) = self.nodes.get_mut(slot as usize) else {
            return false;
        };
        let Node { previous, next, .. } = *node;
        if previous == NONE {
            return false;
        }
        *node = UNSET;
        if let Some(follower) = self.nodes.get_mut(next as usize) {
            follower.previous = previous;
        }
        if previous & HEAD == 0 {
            if let Some(leader) = self.nodes.get_mut(previous as usize) {
                leader.next = next;
            }
            return true;
        }
        let place = (previous & !HEAD) as usize;
        let (level, bucket) = (place / BUCKETS, place % BUCKETS);
        if let Some(head) = self
            .heads
            .get_mut(level)
            .and_then(|heads| heads.get_mut(bucket))
        {
            *head = next;
        }
        if next == NONE
            && let Some(occupied) = self.occupied.get_mut(level)
        {
            *occupied &= !(1 << bucket);
        }
        true
    }
}

/// The bucket of a level that a tick falls into.
fn digit(tick: u32, level: usize) -> usize {
    (tick >> (BITS * level as u32)) as usize % BUCKETS
}

fn low_mask(level: usize) -> u32 {
    (1 << (BITS * level as u32)) - 1
}

fn whole_ticks(now: Millis, tick: u64) -> u32 {
    u32::try_from(now.0 / tick).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const TICK_MS: u64 = 64;

    #[derive(Debug, Clone)]
    enum Step {
        Set(u32, u64),
        SetBy(u32, u64),
        Cancel(u32),
        Advance(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let slot = 0u32..24;
        // Spans of every level of the wheel, and beyond it.
        let span = prop_oneof![
            0u64..100,
            0u64..10_000,
            0u64..1_000_000,
            0u64..100_000_000,
            0u64..2_000_000_000,
        ];
        let step = prop_oneof![
            4 => (slot.clone(), span.clone()).prop_map(|(slot, span)| Step::Set(slot, span)),
            2 => (slot.clone(), span.clone()).prop_map(|(slot, span)| Step::SetBy(slot, span)),
            1 => slot.prop_map(Step::Cancel),
            4 => span.prop_map(Step::Advance),
        ];
        prop::collection::vec(step, 1..80)
    }

    fn tick(due: u64, now: u64) -> u64 {
        due.div_ceil(TICK_MS).max(now / TICK_MS + 1)
    }

    proptest! {
        #[test]
        fn the_wheel_does_what_a_sorted_map_does(start in 0u64..10_000_000, steps in steps()) {
            let mut now = start;
            let mut wheel = Wheel::new(8, Millis(now), Millis(TICK_MS));
            // Slot → the tick at which its timer is due.
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Set(slot, span) => {
                        wheel.set(slot, Millis(now + span));
                        model.insert(slot, tick(now + span, now));
                    }
                    Step::SetBy(slot, span) => {
                        wheel.set_by(slot, Millis(now + span));
                        let new = tick(now + span, now);
                        let due = model.entry(slot).or_insert(new);
                        *due = new.min(*due);
                    }
                    Step::Cancel(slot) => {
                        wheel.cancel(slot);
                        model.remove(&slot);
                    }
                    Step::Advance(span) => {
                        now += span;
                        let mut due = Vec::new();
                        wheel.advance(Millis(now), &mut due);
                        let ticks: Vec<u64> = due.iter().filter_map(|slot| model.remove(slot)).collect();
                        prop_assert_eq!(ticks.len(), due.len(), "a timer nobody set, or one twice");
                        prop_assert!(ticks.is_sorted(), "{:?} is not earliest first", ticks);
                        prop_assert!(ticks.iter().all(|tick| *tick <= now / TICK_MS), "{:?} is early", ticks);
                        prop_assert!(model.values().all(|tick| *tick > now / TICK_MS), "one of {:?} was missed", model);
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                match (wheel.next(), model.values().min()) {
                    (Some(next), Some(earliest)) => {
                        prop_assert!(next.0 > now / TICK_MS * TICK_MS && next.0 <= earliest * TICK_MS);
                    }
                    (next, earliest) => prop_assert!(next.is_none() && earliest.is_none()),
                }
            }
        }
    }

    #[test]
    fn waiting_until_next_serves_a_timer_within_a_tick_and_a_few_wakes() {
        for span in [0, 1, 64, 65, 5_000, 300_000, 86_400_000] {
            let mut wheel = Wheel::new(1, Millis(0), Millis(TICK_MS));
            wheel.set(0, Millis(span));
            let (mut due, mut wakes, mut now) = (Vec::new(), 0, Millis(0));
            while due.is_empty() {
                now = wheel.next().expect("it is set");
                wheel.advance(now, &mut due);
                wakes += 1;
            }
            assert!(now.0 >= span && now.0 <= span + TICK_MS, "{span}: {now:?}");
            assert!(wakes <= LEVELS, "{span}: {wakes} wakes");
            assert!(wheel.is_empty() && wheel.next().is_none());
        }
    }

    #[test]
    fn a_timer_costs_twelve_bytes() {
        assert_eq!(Wheel::TIMER_BYTES, 12);
    }
}
