//! Random owners and random peers on simulated rings with every fault on: whatever they do, the contract holds.
//!
//! Two rings share one listener. Each end counts the bytes that it sends, so a byte that is lost, doubled or displaced
//! shows. In the end the storm is called off, everything is closed, and nothing may be left over.

mod owner;
mod storm;

use everline_uring::Faults;
use proptest::prelude::*;

use crate::storm::Storm;

/// What happens next; numbers choose among what is there.
#[derive(Debug, Clone, Copy)]
enum Step {
    Turn,
    Accept,
    CancelAccepts,
    Connect,
    Watch(u8),
    Receive(u8),
    Send(u8, u8),
    AwaitWritable(u8),
    Close(u8),
    Reset(u8),
    UseStale(u8),
    Release(u8),
    Wake,
    Dial,
    AnswerDials(bool),
    PeerSend(u8, u8),
    PeerFinish(u8),
    PeerClose(u8),
    PeerReset(u8),
    PeerReads(u8, bool),
}

fn steps() -> impl Strategy<Value = Vec<(bool, Step)>> {
    let step = prop_oneof![
        12 => Just(Step::Turn),
        4 => Just(Step::Accept),
        1 => Just(Step::CancelAccepts),
        2 => Just(Step::Connect),
        4 => any::<u8>().prop_map(Step::Watch),
        8 => any::<u8>().prop_map(Step::Receive),
        6 => any::<(u8, u8)>().prop_map(|(at, len)| Step::Send(at, len)),
        3 => any::<u8>().prop_map(Step::AwaitWritable),
        2 => any::<u8>().prop_map(Step::Close),
        1 => any::<u8>().prop_map(Step::Reset),
        1 => any::<u8>().prop_map(Step::UseStale),
        6 => any::<u8>().prop_map(Step::Release),
        1 => Just(Step::Wake),
        5 => Just(Step::Dial),
        2 => any::<bool>().prop_map(Step::AnswerDials),
        8 => any::<(u8, u8)>().prop_map(|(at, len)| Step::PeerSend(at, len)),
        1 => any::<u8>().prop_map(Step::PeerFinish),
        1 => any::<u8>().prop_map(Step::PeerClose),
        1 => any::<u8>().prop_map(Step::PeerReset),
        2 => any::<(u8, bool)>().prop_map(|(at, reads)| Step::PeerReads(at, reads)),
    ];
    proptest::collection::vec((any::<bool>(), step), 1..300)
}

fn run(seed: u64, faults: Faults, steps: &[(bool, Step)]) -> String {
    let mut storm = Storm::new(seed, faults);
    for (second, step) in steps {
        storm.step(usize::from(*second), *step);
    }
    storm.come_to_rest();
    storm.trace
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_contract_holds_in_a_storm(seed: u64, strength in 0.0..0.9, steps in steps()) {
        run(seed, Faults::all(strength), &steps);
    }

    #[test]
    fn a_seed_repeats_its_storm(seed: u64, steps in steps()) {
        let once = run(seed, Faults::all(0.3), &steps);
        prop_assert_eq!(once, run(seed, Faults::all(0.3), &steps));
    }
}
