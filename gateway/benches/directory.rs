//! What the directory costs with a million handsets in it: looked up, entered and left, alone and from two threads.
//!
//! `cargo bench -p everline-gateway --bench directory`; compare the rows of one run.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::{Bencher, black_box};
use everline_gateway::directory::{Directory, Place};
use everline_protocol::Msisdn;
use everline_uring::SocketKey;

const SESSIONS: u64 = 1_000_000;
const FIRST: u64 = 34_700_000_000;
const THREADS: [usize; 2] = [1, 2];

static FULL: LazyLock<Directory> = LazyLock::new(|| {
    let directory = Directory::default();
    for number in 0..SESSIONS {
        let entered = directory.enter(msisdn(number), place(number), usize::MAX);
        assert_eq!(entered, Ok(None));
    }
    directory
});

fn main() {
    LazyLock::force(&FULL);
    divan::main();
}

fn msisdn(number: u64) -> Msisdn {
    Msisdn::from_u64(FIRST + number).expect("a valid number")
}

fn place(number: u64) -> Place {
    let slot = u32::try_from(number % 20_000).expect("below 20,000");
    let shard = u16::try_from(number / 20_000 % 4096).expect("below 4,096");
    let generation = 1;
    Place::new(shard, SocketKey { slot, generation }, 0)
}

/// Numbers in an order that no cache foresees, shared by all threads.
fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        >> 32
}

#[divan::bench(threads = THREADS)]
fn look_up_one_that_is_there(bencher: Bencher<'_, '_>) {
    bencher.bench(|| FULL.lookup(msisdn(black_box(next() % SESSIONS))));
}

#[divan::bench(threads = THREADS)]
fn look_up_one_that_is_not(bencher: Bencher<'_, '_>) {
    bencher.bench(|| FULL.lookup(msisdn(black_box(SESSIONS + next() % SESSIONS))));
}

/// A session begins and ends. Each thread has numbers of its own, as each session has one shard.
#[divan::bench(threads = THREADS)]
fn enter_and_leave(bencher: Bencher<'_, '_>) {
    bencher
        .with_inputs(|| SESSIONS + next() % (100 * SESSIONS))
        .bench_values(|number| {
            let entered = FULL.enter(msisdn(number), place(number), usize::MAX);
            (entered, FULL.leave(msisdn(number), place(number)))
        });
}
