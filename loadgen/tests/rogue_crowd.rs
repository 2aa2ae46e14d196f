//! A crowd of rogues on a simulated ring, against a simulated gateway that is as the protocol says, or has a flaw:
//! every act has one outcome, the books balance at every step, and each flaw is found under its own name.
//!
//! `EVERLINE_SEED=n` runs the one case that a failure names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use everline_loadgen::address::Targets;
use everline_loadgen::rogue::crowd::Crowd;
use everline_loadgen::rogue::{Limits, RogueBooks, RogueKind, RoguePlan};
use everline_loadgen::roster::Roster;
use everline_loadgen::tokens::Mint;
use everline_protocol::{
    Beat, DataLine, DataStep, ErrorCode, Millis, Msisdn, RequestId, Rules, Session, SessionEvent,
    SessionId, SessionOutput, error_line,
};
use everline_uring::{Errno, Faults, PeerId, SimulatedConfig, SimulatedNet, SimulatedRing};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

const SIGNALING: &str = "127.0.0.1:7000";
const DATA: &str = "127.0.0.1:7001";
const ROGUES: u32 = 20;
const STEP_US: u64 = 16_000;
const LIMITS: Limits = Limits {
    connect: Millis(3000),
    wake: Millis(2000),
    slack: Millis(1000),
};

/// What is wrong with the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// It never looks at the clock.
    NoTimers,
    /// It keeps connections open whose sessions have ended.
    NoCloses,
    /// It closes without a word.
    NoErrors,
    /// It binds any data channel to some request.
    BindsAnything,
    /// It signals a request once, and to whom never waited too.
    SignalsOnce,
}

struct Gateway {
    net: SimulatedNet,
    flaw: Flaw,
    rules: Rules,
    sessions: BTreeMap<PeerId, Held>,
    channels: BTreeMap<PeerId, (DataLine, Millis)>,
    next_id: u128,
}

struct Held {
    session: Session,
    /// A request that waits for this handset, and when it is to be signalled again.
    pending: Option<(RequestId, Millis)>,
}

struct Case {
    crowd: Crowd<SimulatedRing>,
    gateway: Gateway,
    roster: Arc<Roster>,
    random: SmallRng,
    now_us: u64,
}

impl Case {
    fn new(seed: u64, faults: Faults, flaw: Flaw) -> Self {
        let ring = SimulatedRing::new(SimulatedConfig {
            slots: ROGUES * 3,
            buffers: 8,
            buffer_bytes: 512,
            seed,
            faults,
        });
        let net = ring.net();
        let first = Msisdn::from_u64(34_700_000_000).unwrap();
        let plan = RoguePlan {
            signaling: SIGNALING.parse().unwrap(),
            data: DATA.parse().unwrap(),
            targets: Targets::default(),
            sources: None,
            first_source: 0,
            first,
            kinds: RogueKind::ALL.repeat(2),
            limits: LIMITS,
            pause: Millis(500),
            calls: None,
        };
        let roster = Arc::new(Roster::new(first, ROGUES).unwrap());
        let mint = Arc::new(Mint::Fixed("none".into()));
        let rules = Rules {
            timeout_s: 2..=3600,
            connect_limit: LIMITS.connect,
            grace_max: Millis(30_000),
            beat: Beat::default(),
        };
        Self {
            crowd: Crowd::new(
                ring,
                Arc::new(plan),
                mint,
                roster.clone(),
                1_800_000_000,
                seed,
            ),
            gateway: Gateway {
                net,
                flaw,
                rules,
                sessions: BTreeMap::new(),
                channels: BTreeMap::new(),
                next_id: 1,
            },
            roster,
            random: SmallRng::seed_from_u64(seed),
            now_us: 0,
        }
    }

    fn step(&mut self) {
        self.now_us += STEP_US;
        let now_us = self.now_us;
        self.crowd.step(now_us);
        self.crowd
            .turn(Duration::ZERO, &mut Vec::new(), || now_us)
            .unwrap();
        assert_eq!(self.crowd.books().imbalance(), None);
        self.gateway.answer(Millis(now_us / 1000), &mut self.random);
    }

    /// A minute and a half of misbehaviour, then the end.
    fn play(mut self) -> RogueBooks {
        while self.now_us < 90_000_000 {
            self.step();
        }
        self.crowd.stop();
        let stopped_us = self.now_us;
        while !self.crowd.is_gone() {
            self.step();
        }
        assert!(
            self.now_us < stopped_us + 4_000_000,
            "it was gone, not given up"
        );
        for rogue in 0..ROGUES {
            assert!(!self.roster.is_registered(rogue));
        }
        let books = self.crowd.books().clone();
        for (kind, of_kind) in &books.kinds {
            assert_eq!(of_kind.open, 0, "{kind}");
        }
        books
    }
}

impl Gateway {
    fn answer(&mut self, now: Millis, random: &mut SmallRng) {
        for dialled in self.net.take_dialled() {
            if random.random_ratio(1, 50) {
                self.net.refuse_dialled(dialled.peer, Errno(111));
                continue;
            }
            self.net.accept_dialled(dialled.peer);
            if dialled.to == SIGNALING.parse().unwrap() {
                let session = Session::new(now, &self.rules);
                let held = Held {
                    session,
                    pending: None,
                };
                self.sessions.insert(dialled.peer, held);
            } else {
                self.channels
                    .insert(dialled.peer, (DataLine::default(), now));
            }
        }
        for peer in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.answer_session(peer, now, random);
        }
        for peer in self.channels.keys().copied().collect::<Vec<_>>() {
            self.answer_channel(peer, now);
        }
    }

    fn answer_session(&mut self, peer: PeerId, now: Millis, random: &mut SmallRng) {
        let Held { session, pending } = self.sessions.get_mut(&peer).unwrap();
        let mut out = SessionOutput::default();
        session.input(&self.net.peer_received(peer), now, &self.rules, &mut out);
        if self.flaw != Flaw::NoTimers {
            session.on_deadline(now, &self.rules, &mut out);
        }
        let mut ended = false;
        while !out.events.is_empty() {
            match out.events.remove(0) {
                SessionEvent::Authenticate(_) => {
                    session.admit(SessionId(1), now, &self.rules, &mut out);
                }
                SessionEvent::Broken(_) if self.flaw == Flaw::NoErrors => {
                    out.wire.clear();
                    ended = true;
                }
                SessionEvent::Refused(_)
                | SessionEvent::Left
                | SessionEvent::Broken(_)
                | SessionEvent::Dead => ended = true,
                SessionEvent::Ready
                | SessionEvent::KeepAliveSent
                | SessionEvent::KeepAliveAnswered => {}
            }
        }
        match *pending {
            Some((id, at)) if now >= at => {
                if self.flaw != Flaw::SignalsOnce {
                    session.signal(id, None, &mut out);
                }
                *pending = None;
            }
            None if may_signal(session, self.flaw) && random.random_ratio(1, 100) => {
                let id = RequestId(self.next_id);
                self.next_id += 1;
                if !session.signal(id, None, &mut out) && self.flaw == Flaw::SignalsOnce {
                    out.wire
                        .extend(format!("REQUESTPENDING id={id}\r\n").bytes());
                }
                *pending = Some((id, now + Millis(LIMITS.wake.0 / 2)));
            }
            _ => {}
        }
        self.net.peer_send(peer, &out.wire);
        let gone = self.net.is_closed_by_ring(peer) || self.net.is_reset_by_ring(peer);
        if gone || (ended && self.flaw != Flaw::NoCloses) {
            self.net.peer_close(peer);
            self.sessions.remove(&peer);
        }
    }

    fn answer_channel(&mut self, peer: PeerId, now: Millis) {
        let (line, since) = self.channels.get_mut(&peer).unwrap();
        let late = now >= *since + LIMITS.connect && self.flaw != Flaw::NoTimers;
        match line.input(&self.net.peer_received(peer)) {
            DataStep::More if self.net.is_closed_by_ring(peer) => {}
            DataStep::More if !late => return,
            DataStep::More => self
                .net
                .peer_send(peer, &error_line(ErrorCode::ConnectTimeout)),
            DataStep::Bound { .. } if self.flaw == Flaw::BindsAnything => {
                self.net.peer_send(peer, b"GET / HTTP/1.1\r\n\r\n");
            }
            DataStep::Bound { .. } => self
                .net
                .peer_send(peer, &error_line(ErrorCode::UnknownRequest)),
            DataStep::Bad(code) => panic!("{code:?}"),
        }
        self.net.peer_close(peer);
        self.channels.remove(&peer);
    }
}

/// Only whom has waited; or anybody, with the flaw.
fn may_signal(session: &Session, flaw: Flaw) -> bool {
    session.is_ready() || (flaw == Flaw::SignalsOnce && session.is_registered())
}

#[test]
fn a_gateway_that_keeps_to_the_protocol_meets_every_act_as_it_must() {
    let seeds = match std::env::var("EVERLINE_SEED") {
        Ok(seed) => seed.parse().map(|seed| seed..seed + 1).unwrap(),
        Err(_) => 0..12,
    };
    for seed in seeds {
        let faults = [Faults::NONE, Faults::all(0.05), Faults::all(0.2)];
        let case = Case::new(seed, faults[(seed % 3) as usize], Flaw::None);
        let run = std::panic::AssertUnwindSafe(|| case.play());
        let Ok(books) = std::panic::catch_unwind(run) else {
            panic!("repeat with EVERLINE_SEED={seed}");
        };
        assert_eq!(
            books.otherwise(),
            0,
            "EVERLINE_SEED={seed}: {:?}",
            books.kinds
        );
        for kind in RogueKind::ALL {
            let of_kind = &books.kinds[&kind];
            assert!(of_kind.met > 5, "EVERLINE_SEED={seed}: {kind}: {of_kind:?}");
            assert!(of_kind.met_us_max > 0, "{kind}");
        }
    }
}

#[test]
fn each_flaw_of_a_gateway_is_found_under_its_own_name() {
    use RogueKind::{
        Flood, Frozen, Garbage, HalfData, HalfLine, NeverData, NeverWaiting, SlowBytes, WrongId,
    };
    let found: &[(Flaw, RogueKind, &str)] = &[
        (Flaw::NoTimers, HalfLine, "not-ended"),
        (Flaw::NoTimers, SlowBytes, "not-ended"),
        (Flaw::NoTimers, HalfData, "not-ended"),
        (Flaw::NoTimers, NeverWaiting, "not-ended"),
        (Flaw::NoTimers, Frozen, "not-ended"),
        (Flaw::NoCloses, Garbage, "not-closed"),
        (Flaw::NoCloses, WrongId, "not-closed-after-bye"),
        (Flaw::NoErrors, Flood, "closed-without-error"),
        (Flaw::NoErrors, Garbage, "closed-without-error"),
        (Flaw::BindsAnything, WrongId, "data:bound"),
        (Flaw::SignalsOnce, NeverData, "not-signalled-again"),
        (Flaw::SignalsOnce, NeverWaiting, "signalled-before-waiting"),
    ];
    for (flaw, kind, cause) in found {
        let books = Case::new(7, Faults::NONE, *flaw).play();
        let of_kind = &books.kinds[kind];
        assert!(
            of_kind.otherwise.of(cause) > 0,
            "{flaw:?}: {kind}: {of_kind:?}"
        );
    }
}
