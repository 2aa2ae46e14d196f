//! The contract of `Sockets` as one suite, held against the kernel's ring, a calm simulation, and a stormy one.
//!
//! A test is written once, against a [`world::World`]; what it asserts is what an owner of a ring may rely on, so it
//! takes the faults of the stormy simulation in its stride as an owner has to. A failure there prints its seed;
//! `EVERLINE_SEED=<seed>` runs that one alone. What only a kernel can show is in `tests/kernel.rs`.

mod ending;
mod kernel;
mod opening;
mod simulated;
mod stage;
mod transfer;
mod world;

use everline_uring::Faults;

use crate::kernel::KernelWorld;
use crate::simulated::SimulatedWorld;

/// Seeds that the stormy simulation runs each test with.
const SEEDS: u64 = 45;

macro_rules! conformance {
    ($($module:ident :: $test:ident,)*) => {
        mod on_the_kernel {
            $(#[test]
            fn $test() {
                crate::$module::$test(crate::KernelWorld::new);
            })*
        }
        mod on_a_calm_simulation {
            $(#[test]
            fn $test() {
                crate::$module::$test(|shape| crate::SimulatedWorld::new(shape, 1, crate::Faults::NONE));
            })*
        }
        mod on_a_stormy_simulation {
            $(#[test]
            fn $test() {
                crate::for_each_seed(|seed| {
                    let faults = crate::storm(seed);
                    crate::$module::$test(|shape| crate::SimulatedWorld::new(shape, seed, faults));
                });
            })*
        }
    };
}

conformance! {
    opening::an_accept_tells_the_address_of_the_peer,
    opening::a_slot_that_is_used_again_has_another_generation,
    opening::connections_that_find_the_table_full_wait_for_a_slot,
    opening::cancelled_accepts_end_and_free_their_slots,
    opening::a_connect_takes_the_address_it_is_given,
    opening::a_refused_connect_is_told_once_and_frees_its_slot,
    opening::a_connect_without_a_free_slot_is_none,
    opening::a_wake_from_another_thread_ends_a_turn,
    opening::wakes_between_two_turns_are_one,
    transfer::bytes_come_back_as_they_were_sent,
    transfer::a_receive_that_fills_its_buffer_is_followed_by_readable,
    transfer::the_end_of_the_stream_is_an_empty_lease,
    transfer::bytes_and_end_that_come_together_are_both_found,
    transfer::a_send_is_cut_to_a_buffer,
    transfer::a_slow_reader_is_waited_for,
    transfer::two_buffers_serve_a_hundred_sockets,
    transfer::a_close_cuts_off_a_receive_that_waits_for_a_buffer,
    ending::a_close_brings_the_last_bytes_and_fin,
    ending::a_close_with_everything_armed_sends_fin,
    ending::unread_bytes_turn_no_close_into_a_reset,
    ending::a_reset_is_seen_as_a_reset,
    ending::a_reset_by_the_peer_is_told,
    ending::a_close_while_connecting_ends_in_closed_alone,
    ending::a_stale_key_is_harmless,
    ending::a_ring_that_is_dropped_closes_its_sockets,
}

/// Every fault at once, or one alone: one can hide what another breaks, as a chance `Readable` does a lost one.
fn storm(seed: u64) -> Faults {
    let mut faults = Faults::NONE;
    // Often enough to be met in every test, rare enough to end soon.
    let (some, many) = (0.2, 0.7);
    match seed % 9 {
        1 => faults.short_reads = many,
        2 => faults.spurious_eagain = many,
        3 => faults.watch_ends = many,
        4 => faults.accept_errors = many,
        5 => faults.late_completions = many,
        6 => faults.partial_sends = many,
        7 => faults.send_eagain = many,
        8 => faults.delayed_close = many,
        _ => faults = Faults::all(some),
    }
    faults
}

fn for_each_seed(test: impl Fn(u64)) {
    struct Tell(u64);
    impl Drop for Tell {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("this was EVERLINE_SEED={}", self.0);
            }
        }
    }
    let run = |seed| {
        let _tell = Tell(seed);
        test(seed);
    };
    match std::env::var("EVERLINE_SEED") {
        Ok(seed) => run(seed.parse().expect("EVERLINE_SEED is a number")),
        Err(_) => (0..SEEDS).for_each(run),
    }
}
