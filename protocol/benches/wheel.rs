//! What timers cost: moved, left where they are, and a whole timeout in which each is served and set anew.
//!
//! Beside it a tree of deadlines, which one would write first, at what it does best: it only ever takes the first and
//! appends, and keeps no note of where an owner's deadline is, without which none can be moved. A shard of the gateway
//! has up to 20,000 timers, a thread of the load generator as many.
//!
//! `cargo bench -p everline-protocol --bench wheel`; compare the rows of one run.

use std::collections::BTreeSet;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use everline_protocol::{Millis, Wheel};

const TIMERS: [u32; 3] = [1_000, 20_000, 1_000_000];
/// As a shard of the gateway serves its own.
const TICK: Millis = Millis(64);
const TIMEOUT: u64 = 300_000;

fn main() {
    divan::main();
}

/// Spreads owners over the timeout without a generator of random numbers.
fn due(slot: u32) -> Millis {
    Millis(u64::from(slot.wrapping_mul(2_654_435_761)) % TIMEOUT)
}

fn full(timers: u32) -> Wheel {
    let mut wheel = Wheel::new(timers, Millis(0), TICK);
    (0..timers).for_each(|slot| wheel.set(slot, due(slot)));
    wheel
}

/// Some sign of life: the timer of a session that is set moves.
#[divan::bench(args = TIMERS)]
fn wheel_move_one(bencher: Bencher<'_, '_>, timers: u32) {
    let mut wheel = full(timers);
    let mut slot = 0;
    bencher.bench_local(|| {
        slot = (slot + 7919) % timers;
        wheel.set(black_box(slot), Millis(TIMEOUT + u64::from(slot)));
    });
}

/// The same where an owner looks at what is due when its timer comes round: nothing moves.
#[divan::bench(args = TIMERS)]
fn wheel_move_one_lazily(bencher: Bencher<'_, '_>, timers: u32) {
    let mut wheel = full(timers);
    let mut slot = 0;
    bencher.bench_local(|| {
        slot = (slot + 7919) % timers;
        wheel.set_by(black_box(slot), Millis(TIMEOUT + u64::from(slot)));
    });
}

/// A whole timeout passes: every timer is served once and set again.
#[divan::bench(args = TIMERS, sample_count = 5, sample_size = 1)]
fn wheel_round(bencher: Bencher<'_, '_>, timers: u32) {
    bencher
        .counter(ItemsCount::new(timers))
        .with_inputs(|| full(timers))
        .bench_local_values(|mut wheel| {
            let mut served = Vec::new();
            let mut now = Millis(0);
            while now.0 < TIMEOUT {
                now = now + TICK;
                wheel.advance(now, &mut served);
                for slot in served.drain(..) {
                    wheel.set(slot, now + Millis(TIMEOUT));
                }
            }
            wheel
        });
}

#[divan::bench(args = TIMERS, sample_count = 5, sample_size = 1)]
fn tree_round(bencher: Bencher<'_, '_>, timers: u32) {
    let full = |timers: u32| -> BTreeSet<(u64, u32)> {
        (0..timers).map(|slot| (due(slot).0, slot)).collect()
    };
    bencher
        .counter(ItemsCount::new(timers))
        .with_inputs(|| full(timers))
        .bench_local_values(|mut tree| {
            while let Some((at, slot)) = tree.pop_first().filter(|(at, _)| *at < TIMEOUT) {
                tree.insert((at + TIMEOUT, slot));
            }
            tree
        });
}
