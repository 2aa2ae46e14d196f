//! The life of a session, rule by rule: registered, kept alive, signalled, replaced, refused, ended.
#![expect(
    clippy::indexing_slicing,
    reason = "a test that indexes wrongly fails, as it should"
)]

use std::time::Duration;

use everline_protocol::{ErrorCode, HandsetEvent, Millis, Refusal, RefusalCode};
use everline_uring::Faults;
use tokio::sync::oneshot;

use super::meters::{measured, read};
use super::phone::{Phone, closed_with};
use super::{Letter, Setting, World, number};
use crate::metric_names as names;
use crate::registration::{KeySet, Verifier};
use crate::shard::clock::Clock as _;

#[test]
fn a_handset_registers_and_is_kept_alive() {
    measured(|metrics| {
        let mut world = World::new(Setting::default());
        let phone = world.registered(number(1), 20);
        assert_eq!(world.shared.directory.sessions(), 1);
        assert_eq!(
            world.place(number(1)).map(|place| place.linger_s()),
            Some(5)
        );
        // Three keep-alives of 20 s.
        world.steps(65 * 4, 250);
        assert_eq!(
            world.phones[phone].heard(|event| *event == HandsetEvent::KeepAlive),
            3
        );
        assert!(world.phones[phone].is_registered());
        assert_eq!(read(metrics, names::KEEPALIVES, "answered"), 3);
        assert_eq!(read(metrics, names::SESSIONS, ""), 1);
        assert_eq!(read(metrics, names::CONNECTIONS, ""), 1);
        assert_eq!(
            world
                .shards
                .iter()
                .map(|s| s.outboxes.lent())
                .sum::<usize>(),
            0
        );
    });
}

#[test]
fn a_handset_that_answers_no_keep_alive_is_dead() {
    measured(|metrics| {
        let mut world = World::new(Setting::default());
        let phone = world.registered(number(1), 20);
        world.phones[phone].mute = true;
        world.steps(45 * 4, 250);
        assert!(!world.phones[phone].open);
        assert_eq!(
            world.phones[phone].heard(|event| matches!(event, HandsetEvent::Closed(_))),
            0
        );
        assert_eq!(world.shared.directory.sessions(), 0);
        assert_eq!(read(metrics, names::DEPARTURES, "dead"), 1);
        assert_eq!(read(metrics, names::KEEPALIVES, "missed"), 1);
    });
}

#[test]
fn a_shard_that_was_held_up_reads_what_came_in_time_before_it_judges() {
    for seed in 0..20 {
        let mut world = World::new(Setting {
            seed,
            ..Setting::default()
        });
        for nth in 0..20 {
            world.registered(number(nth), 20);
        }
        // From here on all have the same time, whenever their first KEEPALIVE was due.
        (0..20).for_each(|nth| world.data_channel(number(nth)));
        // One will not answer.
        world.phones[0].mute = true;
        let asked = |world: &World| {
            let asked = |phone: &Phone| phone.heard(|event| *event == HandsetEvent::KeepAlive) > 0;
            world.phones.iter().filter(|phone| asked(phone)).count()
        };
        world.steps(20 * 4, 250);
        while asked(&world) < 19 {
            world.step(50);
        }
        // The others have answered; the gateway does not run for longer than the grace.
        world.steps(1, 22_000);
        world.steps(200, 0);
        assert_eq!(world.shared.directory.sessions(), 19, "seed {seed}");
        assert!(world.place(number(0)).is_none(), "seed {seed}");
    }
}

/// A storm of registrations must not come back as a storm of KEEPALIVEs.
#[test]
fn handsets_that_registered_together_are_not_asked_together() {
    const HANDSETS: u64 = 400;
    const TIMEOUT_S: u64 = 300;
    let mut world = World::new(Setting {
        slots: 256,
        ..Setting::default()
    });
    let phones: Vec<_> = (0..HANDSETS)
        .map(|nth| world.dial(number(nth), TIMEOUT_S as u32))
        .collect();
    world.until("all register", |world| {
        phones
            .iter()
            .all(|phone| world.phones[*phone].is_registered())
    });
    world.steps(20, 0);
    let began = world.clock.0.get();
    // Both rounds: the second one keeps the places of the first.
    for round in 0..2 {
        let mut asked_at = Vec::new();
        while world.clock.0.get() < began + (round + 1) * TIMEOUT_S * 1000 {
            let before = asked(&world, round as usize + 1);
            world.step(250);
            let now = asked(&world, round as usize + 1);
            asked_at.extend((before..now).map(|_| (world.clock.0.get() - began) / 1000));
        }
        world.steps(2, 0);
        let (first, last) = (asked_at.first().copied(), asked_at.last().copied());
        let (first, last) = (
            first.expect("some are asked"),
            last.expect("some are asked"),
        );
        assert!(asked(&world, round as usize + 1) >= HANDSETS as usize * 99 / 100);
        assert!(
            last - first >= TIMEOUT_S / 3,
            "round {round}: from {first} s to {last} s"
        );
        let busiest = asked_at.chunk_by(|one, next| one == next).map(<[u64]>::len);
        let busiest = busiest.max().expect("some are asked");
        assert!(
            busiest <= HANDSETS as usize / 25,
            "round {round}: {busiest} of {HANDSETS} within a second"
        );
    }
}

/// How many were asked so often.
fn asked(world: &World, times: usize) -> usize {
    let asked = |phone: &&Phone| phone.heard(|event| *event == HandsetEvent::KeepAlive) >= times;
    world.phones.iter().filter(asked).count()
}

#[test]
fn a_data_channel_puts_the_keep_alive_off() {
    let mut world = World::new(Setting::default());
    let phone = world.registered(number(1), 20);
    world.data_channel(number(1));
    for _ in 0..5 {
        world.steps(15 * 4, 250);
        world.data_channel(number(1));
    }
    world.steps(4, 250);
    assert_eq!(
        world.phones[phone].heard(|event| *event == HandsetEvent::KeepAlive),
        0
    );
}

/// A handset that counts on PROTOCOL 3.2 takes the gateway for dead if no KEEPALIVE comes for its timeout and some grace.
#[test]
fn a_data_channel_that_is_told_late_counts_from_when_it_was_opened() {
    let mut world = World::new(Setting {
        shards: 1,
        ..Setting::default()
    });
    let phone = world.registered(number(1), 300);
    for opened_after_s in [1, 40, 120] {
        world.steps(opened_after_s * 4, 250);
        world.data_channel(number(1));
        let opened = world.clock.now();
        world.phones[phone].machine.on_data_channel(opened);
        let keepalives =
            |world: &World| world.phones[phone].heard(|event| *event == HandsetEvent::KeepAlive);
        let before = keepalives(&world);
        while keepalives(&world) == before {
            assert!(world.clock.now() < opened + Millis(301_000), "no KEEPALIVE");
            world.step(250);
        }
        assert!(
            world.clock.now() > opened + Millis(299_000),
            "it was put off by the data channel"
        );
    }
    assert!(world.phones[phone].is_registered());
}

#[test]
fn a_connection_that_never_registers_is_closed_in_time() {
    measured(|metrics| {
        let mut world = World::new(Setting::default());
        let silent = world.net.dial(([127, 0, 0, 1], 9).into());
        let half = world.net.dial(([127, 0, 0, 1], 10).into());
        world.net.peer_send(half, b"CONNECT version=1 msisdn=346");
        world.steps(9 * 4, 250);
        assert_eq!(world.live(), 2);
        world.steps(8, 250);
        for peer in [silent, half] {
            assert!(world.net.is_closed_by_ring(peer));
            assert_eq!(
                world.net.peer_received(peer),
                b"ERROR code=connect-timeout\r\n"
            );
        }
        assert_eq!(
            read(metrics, names::CONNECTIONS_FAILED, "connect-timeout"),
            2
        );
    });
}

#[test]
fn the_newer_session_replaces_the_older_on_another_shard_and_gets_its_requests() {
    measured(|metrics| {
        let mut world = World::new(Setting {
            slots: 1,
            ..Setting::default()
        });
        let old = world.registered(number(1), 300);
        let before = world.request(number(1)).expect("room");
        // The table of one slot is full: the other shard takes the next connection.
        let new = world.dial(number(1), 300);
        world.until("the old one ends", |world| !world.phones[old].open);
        world.steps(10, 0);
        let after = world.request(number(1)).expect("room");
        world.steps(10, 0);
        assert_eq!(world.phones[old].heard(closed_with(ErrorCode::Replaced)), 1);
        assert!(world.phones[old].was_asked(before) && !world.phones[old].was_asked(after));
        assert!(world.phones[new].was_asked(before) && world.phones[new].was_asked(after));
        assert_eq!(world.shared.directory.sessions(), 1);
        assert_eq!(read(metrics, names::SESSIONS, ""), 1);
        assert_eq!(read(metrics, names::REGISTRATIONS, "\"replaced\""), 1);
        assert_eq!(
            world.shared.pending.waiting(),
            2,
            "a replaced handset has not left"
        );
    });
}

#[test]
fn a_session_replaced_behind_a_full_mailbox_ends_at_its_next_keep_alive() {
    let mut world = World::new(Setting {
        shards: 1,
        signaling: "mailbox_letters_max = 16",
        ..Setting::default()
    });
    let old = world.registered(number(1), 20);
    let place = world.place(number(1)).expect("it is registered");
    let new = world.dial(number(1), 300);
    // Nobody reads the letters in between.
    let fill = |world: &World| {
        let at = world.clock.moment();
        let letter = || Letter::DataChannelOpened { place, at };
        while world.shared.shards.post(place, letter()).is_ok() {}
    };
    fill(&world);
    world.step(0);
    while !world.phones[new].is_registered() {
        fill(&world);
        world.step(0);
    }
    world.steps(25 * 4, 250);
    assert_eq!(world.phones[old].heard(closed_with(ErrorCode::Replaced)), 1);
    assert!(world.phones[new].is_registered());
}

#[test]
fn bye_ends_the_session_and_its_requests() {
    measured(|metrics| {
        let mut world = World::new(Setting::default());
        let phone = world.registered(number(1), 300);
        world.request(number(1)).expect("room");
        world.steps(5, 0);
        world.bye(phone);
        world.until("it is closed", |world| !world.phones[phone].open);
        assert_eq!(world.shared.directory.sessions(), 0);
        assert_eq!(world.shared.pending.waiting(), 0);
        assert_eq!(read(metrics, names::DEPARTURES, "bye"), 1);
    });
}

#[test]
fn an_operator_can_look_at_a_session_and_revoke_it() {
    let mut world = World::new(Setting::default());
    let phone = world.registered(number(1), 300);
    world.request(number(1)).expect("room");
    let place = world.place(number(1)).expect("it is registered");
    world.steps(8, 1000);
    let (answer, mut described) = oneshot::channel();
    let letter = Letter::Describe { place, answer };
    world.shared.shards.post(place, letter).expect("room");
    world.steps(2, 0);
    let summary = described.try_recv().expect("an answer");
    assert!(summary.ready);
    assert_eq!((summary.timeout_s, summary.linger_s), (300, 5));
    let age = summary
        .last_seen
        .duration_since(summary.since)
        .expect("in order");
    assert_eq!(age, Duration::ZERO);

    let code = ErrorCode::Revoked;
    world
        .shared
        .shards
        .post(place, Letter::End { place, code })
        .expect("room");
    world.until("it is closed", |world| !world.phones[phone].open);
    assert_eq!(
        world.phones[phone].heard(closed_with(ErrorCode::Revoked)),
        1
    );
    assert_eq!(world.shared.pending.waiting(), 0);
    let (answer, mut described) = oneshot::channel();
    world
        .shared
        .shards
        .post(place, Letter::Describe { place, answer })
        .expect("room");
    world.steps(2, 0);
    assert!(described.try_recv().is_err(), "a stale place has no answer");
}

#[test]
fn signals_wait_for_the_first_waiting() {
    let mut world = World::new(Setting::default());
    let phone = world.dial(number(1), 300);
    world.phones[phone].mute = true;
    world.until("it registers", |world| world.phones[phone].is_registered());
    let id = world.request(number(1)).expect("room");
    world.steps(10, 0);
    assert!(!world.phones[phone].was_asked(id));
    world
        .net
        .peer_send(world.phones[phone].peer, b"WAITING\r\n");
    world.until("it is asked", |world| world.phones[phone].was_asked(id));
}

#[test]
fn every_refusal_is_told() {
    measured(|metrics| {
        let mut world = World::new(Setting {
            signaling: "sessions_max = 2\nregistrations_per_s_max = 4\nretry_after_s = 8",
            ..Setting::default()
        });
        world.registered(number(1), 300);
        world.registered(number(2), 300);
        let full = world.dial(number(3), 300);
        world.until("it is refused", |world| !world.phones[full].open);
        assert_eq!(world.refusal(full), Some(&Refusal::new(RefusalCode::Full)));
        let again = world.registered(number(2), 300);
        assert!(
            world.phones[again].is_registered(),
            "replacing needs no room"
        );

        let over = world.dial(number(1), 300);
        world.until("it is refused", |world| !world.phones[over].open);
        let told = world.refusal(over).expect("a refusal");
        assert_eq!(told.code, RefusalCode::Overloaded);
        assert!((8..=12).contains(&told.retry_after_s.expect("a time")));

        world.shared.phase.advance(crate::shared::Phase::Draining);
        let late = world.dial(number(1), 300);
        world.until("it is refused", |world| !world.phones[late].open);
        let told = world.refusal(late).expect("a refusal");
        assert_eq!(told.code, RefusalCode::Draining);
        assert!(told.retry_after_s.is_some());
        for (code, count) in [
            ("full", 1),
            ("overloaded", 1),
            ("draining", 1),
            ("\"registered", 2),
        ] {
            assert_eq!(read(metrics, names::REGISTRATIONS, code), count, "{code}");
        }
    });
}

#[test]
fn a_bad_token_is_refused_without_a_reason() {
    let keys = br#"{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;
    let keys = KeySet::parse(keys, "jwks.json".as_ref()).expect("a key");
    let verifier = Verifier::new(keys, None);
    let mut world = World::new(Setting {
        verifier,
        ..Setting::default()
    });
    let phone = world.dial_with(number(1), 300, "eyJhbGciOiJub25lIn0.e30.", &[]);
    world.until("it is refused", |world| !world.phones[phone].open);
    assert_eq!(
        world.refusal(phone),
        Some(&Refusal::new(RefusalCode::BadToken))
    );
    assert_eq!(world.shared.directory.sessions(), 0);
}

#[test]
fn a_proxy_header_comes_first_where_it_is_expected() {
    measured(|metrics| {
        let faults = Faults {
            short_reads: 0.9,
            ..Faults::NONE
        };
        let signaling = "proxy_protocol = true";
        let mut world = World::new(Setting {
            faults,
            signaling,
            ..Setting::default()
        });
        let header = b"PROXY TCP4 203.0.113.9 192.0.2.1 40000 7000\r\n";
        let good = world.dial_with(number(1), 300, "a", header);
        let bad = world.dial(number(2), 300);
        world.until("one registers, one is closed", |world| {
            world.phones[good].is_registered() && !world.phones[bad].open
        });
        assert_eq!(world.phones[bad].heard.len(), 0, "without a word");
        assert_eq!(
            read(metrics, names::CONNECTIONS_FAILED, "bad-proxy-header"),
            1
        );
        assert!(
            world
                .shards
                .iter()
                .all(|shard| shard.proxy_headers.is_empty())
        );
    });
}
