//! Everything at once: seeded storms of handsets of every kind and faults of every kind, then calm and a reckoning.
#![expect(
    clippy::indexing_slicing,
    reason = "a test that indexes wrongly fails, as it should"
)]

use std::time::Duration;

use everline_protocol::ErrorCode;
use everline_uring::{Faults, Sockets as _};
use metrics_exporter_prometheus::PrometheusHandle;

use super::meters::{measured, read};
use super::{Letter, Setting, World, number};
use crate::metric_names as names;
use crate::registration::Verifier;

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
