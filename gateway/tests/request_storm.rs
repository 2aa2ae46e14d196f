//! Many requests at once, with callers and handsets that leave, break off or stay silent at every point: each request
//! ends exactly once, and nothing of it stays behind. The seed is printed; EVERLINE_SEED repeats a run.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod fake_shard;

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use everline_gateway::shard::mailbox::Letter;
use everline_gateway::store::StoreHandle;
use everline_protocol::RequestId;
use fake_shard::{Gateway, NUMBER, Problem, Wire, field, status};

const CALLERS: u64 = 6;
const REQUESTS: u64 = 150;

/// A small generator, so that a seed means the same everywhere (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % sides
    }
}

fn seed() -> u64 {
    let chosen = std::env::var("EVERLINE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = chosen.unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64
            | 1
    });
    println!("EVERLINE_SEED={seed}");
    seed
}

/// Serves one data channel as a handset of uneven temper.
fn serve(gateway: &Gateway, worker: usize, id: RequestId, mut dice: Dice) {
    let mut wire = Wire::connect(gateway.data[worker]);
    let _ = write!(wire.socket, "DATA id={id}\r\n");
    loop {
        let Some(head) = wire.try_head() else { return };
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        if wire.try_exact(length).is_none() {
            return;
        }
        let answer = match dice.roll(10) {
            0 => return,
            1 => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbro",
            2 => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole",
        };
        if wire.socket.write_all(answer.as_bytes()).is_err() || answer.ends_with("bro") {
            return;
        }
    }
}

/// One request; the connection, if it can be used again.
fn call(mut wire: Wire, dice: &mut Dice) -> Option<Wire> {
    let method = ["GET", "PUT", "POST", "DELETE"][dice.roll(4) as usize];
    let body = if method.starts_with('P') { "abc" } else { "" };
    let request = format!(
        "{method} / HTTP/1.1\r\nHost: {NUMBER}.localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let sent = if dice.roll(10) == 0 {
        request.len() / 2
    } else {
        request.len()
    };
    wire.send(&request[..sent]);
    if sent < request.len() || dice.roll(10) == 0 {
        return None;
    }
    let head = wire
        .try_head()
        .expect("a request that was sent is answered");
    if let Some(length) = field(&head, "content-length") {
        let body = wire.try_exact(length.parse().unwrap());
        match status(&head) {
            200 => assert!(
                body.as_ref().is_none_or(|body| body == b"whole"),
                "whole, or visibly broken: {body:?}"
            ),
            _ => drop(Problem::new(
                head,
                std::str::from_utf8(&body.clone().unwrap()).unwrap(),
            )),
        }
        body.map(|_| wire)
    } else {
        assert_eq!(
            wire.try_exact(15).expect("chunks"),
            b"5\r\nwhole\r\n0\r\n\r\n"
        );
        Some(wire)
    }
}

#[test]
fn every_request_ends_once_and_leaves_nothing_behind() {
    let seed = seed();
    let gateway = Gateway::start_with(2, StoreHandle::none(), |config| {
        config.request.wake_timeout = Duration::from_millis(200);
        config.data.idle_max = 2;
    });
    gateway.register(1);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let handset = scope.spawn(|| {
            let mut dice = Dice(seed);
            while !over.load(Ordering::Relaxed) {
                match gateway.letter_now() {
                    // One in ten signals is lost, as on a bad radio link.
                    Some(Letter::Signal { id, .. }) if dice.roll(10) > 0 => {
                        let (worker, dice) = (dice.roll(2) as usize, Dice(dice.0));
                        let gateway = &gateway;
                        scope.spawn(move || serve(gateway, worker, id, dice));
                    }
                    Some(_) => {}
                    None => std::thread::yield_now(),
                }
            }
        });
        let callers: Vec<_> = (1..=CALLERS)
            .map(|number| {
                let gateway = &gateway;
                scope.spawn(move || {
                    let mut dice = Dice(seed.wrapping_add(number * 7919) | 1);
                    let mut wire = None;
                    for _ in 0..REQUESTS {
                        let fresh = || Wire::connect(gateway.ingress[number as usize % 2]);
                        wire = call(wire.take().unwrap_or_else(fresh), &mut dice);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        gateway.until("all have ended", |shared| {
            shared.limits.in_flight() == 0 && shared.pending.waiting() == 0
        });
        over.store(true, Ordering::Relaxed);
        handset.join().unwrap();
        gateway.begin_stop();
        assert!(
            ended.iter().all(Result::is_ok),
            "a caller was let down: EVERLINE_SEED={seed}"
        );
    });
    gateway.stop();
}
