//! Shards over simulated rings: each rule by itself, then all of them at once in seeded storms with faults.
#![expect(
    clippy::indexing_slicing,
    reason = "a test that indexes wrongly fails, as it should"
)]

use std::time::Duration;

use everline_protocol::{ErrorCode, HandsetEvent, Refusal, RefusalCode};
use everline_uring::{Faults, Sockets as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::oneshot;

use super::mailbox::Letter;
use super::simulation::{Setting, World, number};
use crate::metric_names as names;
use crate::registration::{KeySet, Verifier};

/// Runs with a recorder of its own; the handle reads what an operator would see.
fn measured<T>(test: impl FnOnce(&PrometheusHandle) -> T) -> T {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || test(&handle))
}

/// The sum over all series of a metric whose labels contain `label`.
fn read(handle: &PrometheusHandle, metric: &str, label: &str) -> i64 {
    let text = handle.render();
    let series = text.lines().filter(|line| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        name == metric && line.contains(label)
    });
    series
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .map(|value| value as i64)
        .sum()
}

fn closed_with(code: ErrorCode) -> impl Fn(&HandsetEvent) -> bool {
    move |event| *event == HandsetEvent::Closed(code)
}

fn refusal(world: &World, phone: usize) -> Option<&Refusal> {
    world.phones[phone]
        .heard
        .iter()
        .find_map(|event| match event {
            HandsetEvent::Refused(refusal) => Some(refusal),
            _ => None,
        })
}

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
fn a_data_channel_puts_the_keep_alive_off() {
    let mut world = World::new(Setting::default());
    let phone = world.registered(number(1), 20);
    for _ in 0..5 {
        world.steps(15 * 4, 250);
        let place = world.place(number(1)).expect("it is registered");
        let opened = Letter::DataChannelOpened { place };
        world.shared.shards.post(place, opened).expect("room");
    }
    world.steps(4, 250);
    assert_eq!(
        world.phones[phone].heard(|event| *event == HandsetEvent::KeepAlive),
        0
    );
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
    while world
        .shared
        .shards
        .post(place, Letter::DataChannelOpened { place })
        .is_ok()
    {}
    world.step(0);
    while !world.phones[new].is_registered() {
        while world
            .shared
            .shards
            .post(place, Letter::DataChannelOpened { place })
            .is_ok()
        {}
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
        assert_eq!(
            refusal(&world, full),
            Some(&Refusal::new(RefusalCode::Full))
        );
        let again = world.registered(number(2), 300);
        assert!(
            world.phones[again].is_registered(),
            "replacing needs no room"
        );

        let over = world.dial(number(1), 300);
        world.until("it is refused", |world| !world.phones[over].open);
        let told = refusal(&world, over).expect("a refusal");
        assert_eq!(told.code, RefusalCode::Overloaded);
        assert!((8..=12).contains(&told.retry_after_s.expect("a time")));

        world.shared.phase.advance(crate::shared::Phase::Draining);
        let late = world.dial(number(1), 300);
        world.until("it is refused", |world| !world.phones[late].open);
        let told = refusal(&world, late).expect("a refusal");
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
        refusal(&world, phone),
        Some(&Refusal::new(RefusalCode::BadToken))
    );
    assert_eq!(world.shared.directory.sessions(), 0);
}

#[test]
fn a_shard_without_slots_leaves_the_connection_to_another() {
    for seed in 0..50 {
        let mut world = World::new(Setting {
            seed,
            slots: 5,
            shards: 3,
            ..Setting::default()
        });
        for nth in 0..15 {
            world.dial(number(nth), 300);
        }
        world.until("all are registered", |world| {
            world
                .phones
                .iter()
                .all(super::simulation::Phone::is_registered)
        });
        let waits = world.dial(number(99), 300);
        world.steps(30, 0);
        assert_eq!(
            world.net.backlog_len(),
            1,
            "nobody has a slot for it: it waits, and is not lost"
        );
        world.bye(7);
        world.until("it registers", |world| world.phones[waits].is_registered());
    }
}

#[test]
fn a_handset_that_reads_nothing_is_closed_as_slow() {
    measured(|metrics| {
        let mut world = World::new(Setting::default());
        let phone = world.registered(number(1), 3600);
        world.stop_reading(phone);
        for _ in 0..5 {
            world.request(number(1)).expect("room");
        }
        world.steps(20 * 4, 250);
        assert_eq!(
            read(metrics, names::DEPARTURES, ""),
            0,
            "a pause is forgiven"
        );
        world.steps(15 * 4, 250);
        assert_eq!(read(metrics, names::DEPARTURES, "slow"), 1);
        assert!(world.net.is_reset_by_ring(world.phones[phone].peer));
        assert_eq!(world.live(), 0);
    });
}

#[test]
fn what_waits_for_a_handset_that_reads_nothing_is_bounded() {
    measured(|metrics| {
        let mut world = World::new(Setting {
            shards: 1,
            ..Setting::default()
        });
        let phone = world.registered(number(1), 3600);
        world.stop_reading(phone);
        for _ in 0..400 {
            world.request(number(1)).expect("room");
            world.step(1);
        }
        assert_eq!(read(metrics, names::DEPARTURES, "slow"), 1);
    });
}

#[test]
fn a_handset_that_reads_again_misses_nothing() {
    let mut world = World::new(Setting::default());
    let phone = world.registered(number(1), 3600);
    world.stop_reading(phone);
    let ids: Vec<_> = (0..20)
        .map(|_| world.request(number(1)).expect("room"))
        .collect();
    world.steps(20, 250);
    let peer = world.phones[phone].peer;
    world.net.peer_resume_reading(peer);
    world.until("it has been asked all", |world| {
        ids.iter().all(|id| world.phones[phone].was_asked(*id))
    });
    assert_eq!(
        world
            .shards
            .iter()
            .map(|s| s.outboxes.lent())
            .sum::<usize>(),
        0
    );
}

#[test]
fn a_flooding_peer_keeps_nobody_waiting() {
    for (flood, code) in [
        ("WAITING\r\n".repeat(100_000), "flooding"),
        ("x".repeat(1_000_000), "line-too-long"),
        ("HELLO\r\n".repeat(100_000), "unknown-verb"),
        ("\r\n".repeat(100_000), "bad-line"),
    ] {
        let mut world = World::new(Setting {
            shards: 1,
            ..Setting::default()
        });
        let phone = world.registered(number(1), 300);
        world
            .net
            .peer_send(world.phones[phone].peer, flood.as_bytes());
        let other = world.dial(number(2), 300);
        world.steps(8, 1);
        assert!(world.phones[other].is_registered(), "{code}");
        // The line that says why comes before the end, although half a megabyte was not read.
        world.steps(30, 100);
        assert!(!world.phones[phone].open);
        let told = ErrorCode::parse(code.as_bytes());
        assert_eq!(world.phones[phone].heard(closed_with(told)), 1, "{code}");
    }
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

#[test]
fn accepting_pauses_when_the_machine_has_no_more() {
    let faults = Faults {
        accept_errors: 0.999_999,
        ..Faults::NONE
    };
    let mut world = World::new(Setting {
        faults,
        ..Setting::default()
    });
    world.dial(number(1), 300);
    world.steps(200, 0);
    assert!(
        world
            .shards
            .iter()
            .all(|shard| shard.accepts_paused_until.is_some())
    );
    assert!(
        world
            .shards
            .iter()
            .all(|shard| shard.wait() == Some(Duration::from_millis(100)))
    );
    world.set_faults(Faults::NONE);
    world.steps(10, 100);
    assert!(world.phones[0].is_registered());
}

#[test]
fn a_drain_spreads_the_handsets_and_a_stop_closes_them() {
    measured(|metrics| {
        let mut world = World::new(Setting {
            shards: 1,
            slots: 1500,
            ..Setting::default()
        });
        for nth in 0..1200 {
            world.dial(number(nth), 300);
        }
        world.until("all are registered", |world| {
            world.shared.directory.sessions() == 1200
        });
        world.steps(10, 0);
        let spread = Duration::from_secs(60);
        world
            .shared
            .shards
            .post_all(|| Letter::Drain { spread, to: None });
        world.steps(20, 0);
        let mut after: Vec<u64> = Vec::new();
        for phone in &world.phones {
            after.extend(phone.heard.iter().filter_map(|event| match event {
                HandsetEvent::Reconnect { after, .. } => Some(after.0),
                _ => None,
            }));
        }
        after.sort_unstable();
        assert_eq!(after.len(), 1200, "each is told once");
        assert!(
            after.windows(2).all(|pair| pair[1] - pair[0] <= 100),
            "evenly"
        );
        assert!(after[0] < 100 && after[1199] > 59_000 && after[1199] < 60_000);
        let late = world.dial(number(5000), 300);
        world.until("it is refused", |world| !world.phones[late].open);
        assert_eq!(
            refusal(&world, late).map(|r| r.code),
            Some(RefusalCode::Draining)
        );

        let gone = world.phones[0].peer;
        world.net.peer_close(gone);
        world.steps(5, 0);
        world.shared.shards.post_all(|| Letter::Stop);
        world.until("it stops", World::stopped);
        assert_eq!(world.shared.directory.sessions(), 0);
        assert_eq!(read(metrics, names::DEPARTURES, "drained"), 1200);
        assert_eq!(read(metrics, names::CONNECTIONS, ""), 0);
        assert!(
            world
                .phones
                .iter()
                .skip(1)
                .all(|phone| world.net.is_closed_by_ring(phone.peer))
        );
    });
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let mut world = World::new(Setting::default());
    world.registered(number(1), 300);
    let faults = Faults {
        delayed_close: 0.999_999,
        ..Faults::NONE
    };
    world.set_faults(faults);
    world.shared.shards.post_all(|| Letter::Stop);
    world.steps(7, 1000);
    assert!(world.stopped());
    assert_eq!(world.shared.directory.sessions(), 0);
}

/// How many seeds a storm is run with, unless one is asked for.
const SEEDS: u64 = 60;

/// `EVERLINE_SEED=n` runs that seed alone.
fn seeds() -> Vec<u64> {
    match std::env::var("EVERLINE_SEED").map(|seed| seed.parse()) {
        Ok(Ok(seed)) => vec![seed],
        Ok(Err(error)) => panic!("EVERLINE_SEED: {error}"),
        Err(_) => (0..SEEDS).collect(),
    }
}

/// Tells the seed of a storm that failed.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to see this again: EVERLINE_SEED={}", self.0);
        }
    }
}

#[test]
fn storms_leave_every_table_in_order() {
    for seed in seeds() {
        let replay = Replay(seed);
        measured(|metrics| storm(seed, metrics));
        drop(replay);
    }
}

/// Handsets of every kind, faults of every kind, then calm: who should be there is, everyone else is accounted for.
fn storm(seed: u64, metrics: &PrometheusHandle) {
    let mut world = World::new(Setting {
        seed,
        shards: 3,
        slots: 24,
        faults: Faults::all(0.15),
        signaling: "sessions_max = 40\nmailbox_letters_max = 16\ntimeout_min_s = 1",
        verifier: Verifier::anyone(),
    });
    for _ in 0..300 {
        for _ in 0..world.below(4) {
            disturb(&mut world);
        }
        let passed = [0, 1, 40, 400][world.below(4)];
        world.step(passed);
    }
    world.come_to_rest();
    // Long enough for every silent one to be found out.
    world.steps(500, 1000);
    world.come_to_rest();
    settled(&mut world, metrics);
    wind_up(&mut world, metrics);
}

fn disturb(world: &mut World) {
    const NUMBERS: usize = 50;
    let msisdn = number(world.below(NUMBERS) as u64);
    let some = match world.phones.len() {
        0 => None,
        phones => Some(world.below(phones)),
    };
    match (world.below(20), some) {
        (0..8, _) | (_, None) => {
            let timeout_s = [1, 5, 30, 300][world.below(4)];
            world.dial(msisdn, timeout_s);
        }
        (8..12, _) => {
            for _ in 0..=world.below(20) {
                // A full mailbox loses a signal; the worker's second one or the handset's next session makes up for it.
                let _ = world.request(msisdn);
            }
        }
        (12, Some(phone)) => world.bye(phone),
        (13, Some(phone)) => world.net.peer_close(world.phones[phone].peer),
        (14, Some(phone)) => world.net.peer_reset(world.phones[phone].peer),
        (15, Some(phone)) => world.stop_reading(phone),
        (16, Some(phone)) => world.phones[phone].mute = true,
        (17, Some(phone)) => {
            let junk: [&[u8]; 4] = [b"\0\xff\r\n", b"WAIT", b"BYE\r\nBYE\r\n", &[b'y'; 5000]];
            let junk = junk[world.below(4)];
            world.net.peer_send(world.phones[phone].peer, junk);
        }
        (18, Some(phone)) => world.net.peer_finish(world.phones[phone].peer),
        (_, _) => {
            let code = ErrorCode::Revoked;
            if let Some(place) = world.place(msisdn) {
                let _ = world.shared.shards.post(place, Letter::End { place, code });
            }
        }
    }
}

fn settled(world: &mut World, metrics: &PrometheusHandle) {
    let live = world.live();
    assert_eq!(
        world.shared.directory.sessions(),
        live,
        "only sessions are left, one a handset"
    );
    assert_eq!(world.net.backlog_len(), 0);
    let mut there = 0;
    for phone in world.phones.iter().filter(|phone| phone.is_registered()) {
        if !phone.mute && phone.reading {
            there += 1;
            assert!(
                world.place(phone.msisdn).is_some(),
                "a live handset is not in the directory"
            );
        }
    }
    assert_eq!(there, live, "a session without its handset");
    // Whoever is there is still served.
    for phone in 0..world.phones.len() {
        if world.phones[phone].is_registered() && !world.phones[phone].mute {
            let id = world.request(world.phones[phone].msisdn).expect("room");
            world.until("it is asked", |world| world.phones[phone].was_asked(id));
        }
    }
    let registered = read(metrics, names::REGISTRATIONS, "registered")
        + read(metrics, names::REGISTRATIONS, "\"replaced\"");
    assert_eq!(
        registered,
        read(metrics, names::DEPARTURES, "") + live as i64
    );
    let ended = read(metrics, names::DEPARTURES, "") + read(metrics, names::CONNECTIONS_FAILED, "");
    assert_eq!(
        world.phones.len() as i64,
        ended + live as i64,
        "every connection is open or ended once"
    );
    assert_eq!(read(metrics, names::SESSIONS, ""), live as i64);
    assert_eq!(read(metrics, names::CONNECTIONS, ""), live as i64);
    for shard in &world.shards {
        assert_eq!(
            shard.sockets.free() + shard.sockets.accepting() + shard.slots.len() as u32,
            24
        );
    }
}

fn wind_up(world: &mut World, metrics: &PrometheusHandle) {
    world.set_faults(Faults::all(0.1));
    let spread = Duration::from_secs(10);
    world
        .shared
        .shards
        .post_all(|| Letter::Drain { spread, to: None });
    world.steps(40, 10);
    world.shared.shards.post_all(|| Letter::Stop);
    world.until("all stop", World::stopped);
    assert_eq!(world.shared.directory.sessions(), 0);
    assert_eq!(read(metrics, names::CONNECTIONS, ""), 0);
    assert_eq!(read(metrics, names::SESSIONS, ""), 0);
    let ended = read(metrics, names::DEPARTURES, "") + read(metrics, names::CONNECTIONS_FAILED, "");
    assert_eq!(ended, world.phones.len() as i64);
}
