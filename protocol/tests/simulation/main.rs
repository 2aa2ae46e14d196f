//! Both machines against each other, over a virtual link, in virtual time, by the seed.
//!
//! A world holds handsets and one gateway. Its links delay and fragment what they carry; until it is healed they also
//! break, in the open (both ends are told) or in silence (nobody is), dials fail, the gateway refuses and drains,
//! handsets roam and leave, data channels get lost or are opened twice. The rules that must hold are asserted where
//! they could be broken (`gateway.rs`, `device.rs`), and once more for the healed world at its end.
//!
//! A failure prints its seed and the last things that happened; `EVERLINE_SEED=<seed>` runs that one alone.

mod device;
mod gateway;
mod random;
mod world;

use std::collections::BTreeMap;

use world::World;

const SEEDS: u64 = 100;

#[test]
fn worlds_heal_and_keep_the_rules_on_the_way() {
    if let Ok(seed) = std::env::var("EVERLINE_SEED") {
        let seed = seed.parse().expect("EVERLINE_SEED is a number");
        println!("seed {seed}: {:#?}", World::new(seed).run());
        return;
    }
    let mut all = BTreeMap::new();
    for seed in 0..SEEDS {
        for (what, count) in World::new(seed).run().tally {
            *all.entry(what).or_insert(0) += count;
        }
    }
    // A rule that is never tried is not kept: each of these must have come about somewhere.
    for what in [
        "bound",
        "closed by reset",
        "dead",
        "dial failed",
        "keep-alive",
        "left",
        "ready",
        "reconnect",
        "refused",
        "replaced",
        "roamed",
        "signalled",
        "signalled again",
        "silent",
        "unknown request",
    ] {
        assert!(all.contains_key(what), "no world had: {what}; {all:#?}");
    }
}

#[test]
fn a_seed_tells_everything() {
    let (once, again) = (World::new(7).run(), World::new(7).run());
    assert_eq!(once, again);
    assert_ne!(once.trace, World::new(8).run().trace);
}
