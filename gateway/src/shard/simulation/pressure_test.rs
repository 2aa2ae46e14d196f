//! A shard under pressure: full tables, handsets that do not read or never stop writing, a machine without memory,
//! the end.
#![expect(
    clippy::indexing_slicing,
    reason = "a test that indexes wrongly fails, as it should"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use everline_protocol::{ErrorCode, HandsetEvent, RefusalCode};
use everline_uring::Faults;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::meters::{measured, read};
use super::phone::{Phone, closed_with};
use super::{Letter, Setting, World, number};
use crate::metric_names as names;

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
            world.phones.iter().all(Phone::is_registered)
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
fn a_machine_that_has_no_more_for_long_is_not_told_of_at_every_try() {
    let told = Warnings::default();
    let log = tracing_subscriber::registry().with(told.clone());
    tracing::subscriber::with_default(log, || {
        let faults = Faults {
            accept_errors: 0.999_999,
            ..Faults::NONE
        };
        let mut world = World::new(Setting {
            faults,
            shards: 1,
            ..Setting::default()
        });
        world.steps(200, 100);
        world.dial(number(1), 300);
        world.steps(300, 100);
    });
    assert_eq!(told.0.load(Ordering::Relaxed), 1, "in 50 seconds");
}

/// Counts what is logged.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() <= tracing::Level::WARN {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
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
            world.refusal(late).map(|r| r.code),
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
