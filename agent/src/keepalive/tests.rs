//! What is learnt of networks of every patience, and what is kept of it.

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds {
    min_s: 30,
    max_s: 3_600,
};

/// One silence of the length that the learner asks for, in a network that forgets after `limit_s`; whether it lived.
fn silence(learner: &mut Learner, limit_s: u32) -> bool {
    let timeout_s = learner.timeout_s(BOUNDS);
    let lives = timeout_s < limit_s;
    match lives {
        true => learner.survived(timeout_s, BOUNDS),
        false => learner.died(BOUNDS),
    }
    lives
}

/// Silences until it rests; how many there were, and how many of them died.
fn settle(learner: &mut Learner, limit_s: u32) -> (u32, u32) {
    let (mut silences, mut deaths) = (0, 0);
    while !learner.is_settled(BOUNDS) {
        let lived = silence(learner, limit_s);
        silences += 1;
        deaths += u32::from(!lived);
        assert!(silences < 100, "{learner:?}");
    }
    (silences, deaths)
}

proptest! {
    #[test]
    fn r10_it_finds_the_longest_timeout_that_lives(limit_s in 32..10_000_u32) {
        let mut learner = Learner::new(BOUNDS);
        let (silences, deaths) = settle(&mut learner, limit_s);
        prop_assert!(silences <= 45 && deaths <= 9, "{} silences, {} deaths", silences, deaths);
        let found = learner.timeout_s(BOUNDS);
        let reachable = limit_s.min(BOUNDS.max_s);
        prop_assert!(found < limit_s, "{} does not live below {}", found, limit_s);
        prop_assert!(found + 3 >= reachable - reachable / 10, "{} is far below {}", found, reachable);
    }

    #[test]
    fn r10_it_follows_a_network_that_changes(limits in proptest::collection::vec(32..10_000_u32, 1..6)) {
        let mut learner = Learner::new(BOUNDS);
        for limit_s in limits {
            let mut dead_in_a_row = 0;
            for _ in 0..6_000 {
                let rested = learner.trial_s.is_none();
                let lived = silence(&mut learner, limit_s);
                dead_in_a_row = if lived { 0 } else { dead_in_a_row + 1 };
                // A limit that fell is met by halving; a trial alone never costs two.
                prop_assert!(dead_in_a_row <= 8, "{:?} (rested: {})", learner, rested);
            }
            let found = settled(&mut learner, limit_s);
            let reachable = limit_s.min(BOUNDS.max_s);
            prop_assert!(found < limit_s && found + 3 >= reachable - reachable / 10, "{} for {}", found, limit_s);
        }
    }

    #[test]
    fn whatever_happens_the_timeout_stays_in_bounds(events in proptest::collection::vec(any::<Option<u32>>(), 0..300), start in any::<[u32; 5]>()) {
        let [proven_s, failed_s, trial_s, survived, retry_after] = start;
        let wild = Learner { proven_s, failed_s: Some(failed_s), trial_s: Some(trial_s), survived, retry_after };
        let mut learner = wild.within(BOUNDS);
        for event in events {
            match event {
                Some(idle_s) => learner.survived(idle_s, BOUNDS),
                None => learner.died(BOUNDS),
            }
            let timeout_s = learner.timeout_s(BOUNDS);
            prop_assert!((BOUNDS.min_s..=BOUNDS.max_s).contains(&timeout_s));
        }
    }
}

/// The timeout on which it rests, trials of what failed before aside.
fn settled(learner: &mut Learner, limit_s: u32) -> u32 {
    settle(learner, limit_s);
    learner.timeout_s(BOUNDS)
}

#[test]
fn r10_trials_never_cost_two_silences_in_a_row() {
    let mut learner = Learner::new(BOUNDS);
    let mut last = true;
    for _ in 0..5_000 {
        let lived = silence(&mut learner, 700);
        assert!(lived || last, "{learner:?}");
        last = lived;
    }
}

#[test]
fn an_early_keepalive_proves_nothing() {
    let mut learner = Learner::new(BOUNDS);
    for _ in 0..10 {
        learner.survived(160, BOUNDS);
    }
    assert_eq!(learner, Learner::new(BOUNDS));
}

#[test]
fn what_was_learnt_is_there_after_a_restart_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.state");
    let gateway = |n: usize| HostPort {
        host: format!("g{n}"),
        port: 7000,
    };
    let local = IpAddr::from([10, 1, 2, 3]);
    let lessons = Lessons::open(BOUNDS, &path);
    let learning = lessons.of(&gateway(0), local);
    assert!(!learning.survived(300));
    assert!(learning.survived(300), "a longer one is to be tried");
    assert_eq!(learning.timeout_s(), 600);
    let again = Lessons::open(BOUNDS, &path);
    assert_eq!(
        again
            .of(&gateway(0), IpAddr::from([10, 1, 2, 99]))
            .timeout_s(),
        600
    );
    assert_eq!(
        again
            .of(&gateway(0), IpAddr::from([10, 1, 3, 3]))
            .timeout_s(),
        300,
        "another network"
    );
    for n in 1..2 * NETWORKS_MAX {
        lessons.of(&gateway(n), local);
    }
    assert_eq!(lessons.learners().len(), NETWORKS_MAX);
    let wild = r#"{"g0:7000 from 10.1.2.0/24": {"used": 18446744073709551615, "learner": {"proven_s": 0,
        "failed_s": 0, "trial_s": 4294967295, "survived": 4294967295, "retry_after": 0}}}"#;
    std::fs::write(&path, wild).unwrap();
    assert_eq!(
        Lessons::open(BOUNDS, &path)
            .of(&gateway(0), local)
            .timeout_s(),
        3_600
    );
    std::fs::write(&path, "junk").unwrap();
    assert_eq!(
        Lessons::open(BOUNDS, &path)
            .of(&gateway(0), local)
            .timeout_s(),
        300
    );
}

#[test]
fn a_network_is_at_fault_only_if_the_gateway_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let lessons = Lessons::open(BOUNDS, &dir.path().join("agent.state"));
    let gateway = HostPort {
        host: "g".to_owned(),
        port: 7000,
    };
    let learning = lessons.of(&gateway, IpAddr::from([10, 1, 2, 3]));
    learning.died();
    assert_eq!(learning.timeout_s(), 30, "cautious at once");
    lessons.acquit();
    learning.registered(300);
    assert_eq!(learning.timeout_s(), 300, "there was no network at all");
    learning.died();
    learning.registered(30);
    assert_eq!(learning.timeout_s(), 30);
    // A gateway that allows less than is asked for ends the search.
    let other = lessons.of(&gateway, IpAddr::from([10, 9, 9, 9]));
    other.registered(100);
    assert_eq!(other.timeout_s(), 100);
    assert!(!other.survived(100));
    other.survived(100);
    assert_eq!((other.timeout_s(), other.told()), (100, (100, true)));
}

#[test]
fn the_cost_is_told_in_packets() {
    assert_eq!(
        (
            packets_per_hour(300),
            packets_per_hour(3_600),
            packets_per_hour(0)
        ),
        (36, 3, 10_800)
    );
}
