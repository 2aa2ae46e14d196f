//! What a shard's mailbox costs: a letter posted and read, one by one and in batches, and posted by several threads.
//!
//! `cargo bench -p everline-gateway --bench mailbox`; compare the rows of one run. The waker here counts and wakes nobody:
//! the write to an eventfd that a real one makes, once a batch, comes on top.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use divan::Bencher;
use divan::counter::ItemsCount;
use everline_gateway::directory::Place;
use everline_gateway::shard::mailbox::{Letter, Mailbox};
use everline_protocol::RequestId;
use everline_uring::{SocketKey, Wake};

const LETTERS_MAX: usize = 4096;
const BATCHES: [usize; 3] = [1, 16, 256];

fn main() {
    divan::main();
}

#[derive(Clone, Default)]
struct Counting(Arc<AtomicU64>);

impl Wake for Counting {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn letter() -> Letter {
    let (slot, generation) = (7, 1);
    let place = Place::new(3, SocketKey { slot, generation }, 0);
    let id = RequestId::parse(b"9f86d081884c7d659a2feaa0c55ad015").expect("32 digits");
    Letter::Signal { place, id }
}

/// As a shard reads: opens the box anew, then takes until it is empty.
fn read(mailbox: &Mailbox) -> usize {
    mailbox.begin();
    std::iter::from_fn(|| mailbox.take()).count()
}

#[divan::bench(args = BATCHES)]
fn post_and_read(bencher: Bencher<'_, '_>, letters: usize) {
    let mailbox = Mailbox::new(LETTERS_MAX, Counting::default());
    bencher.counter(ItemsCount::new(letters)).bench_local(|| {
        for _ in 0..letters {
            mailbox.post(letter()).expect("it was just emptied");
        }
        read(&mailbox)
    });
}

/// What a worker pays while the shard reads beside it and other workers post: a full box is part of it, and refuses.
#[divan::bench(threads = [1, 2])]
fn post_beside_a_reader(bencher: Bencher<'_, '_>) {
    let mailbox = Mailbox::new(LETTERS_MAX, Counting::default());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if read(&mailbox) == 0 {
                    std::thread::yield_now();
                }
            }
        });
        bencher.bench(|| mailbox.post(letter()));
        done.store(true, Ordering::Relaxed);
    });
}
