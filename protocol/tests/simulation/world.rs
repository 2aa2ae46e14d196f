//! Virtual time, the links, and what happens when: the part of the simulation that knows no protocol.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use everline_protocol::{DataLine, Handset, Millis, RequestId, Session};

use crate::device::Device;
use crate::gateway::Gateway;
use crate::random::Random;

const DEVICES: usize = 12;
/// Until then everything may break.
const HEAL: Millis = Millis::from_secs(900);
/// Callers stop here, so that the last requests can still be bound.
const LAST_REQUEST: Millis = Millis::from_secs(1200);
const END: Millis = Millis::from_secs(1400);
/// Longest delay of a link, one way.
const DELAY_MAX_MS: u64 = 1000;
const LOG_LINES: usize = 80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Gateway,
    Handset,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Gateway => Self::Handset,
            Self::Handset => Self::Gateway,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Event {
    /// Bytes reach an end of a signaling connection.
    Arrive {
        conn: usize,
        at: Side,
        bytes: Vec<u8>,
    },
    /// An end learns that its connection is closed.
    HungUp { conn: usize, at: Side, reset: bool },
    /// A machine's deadline, or an idle call of `on_deadline`.
    Deadline { conn: usize, at: Side },
    /// The gateway has checked a token.
    Checked { conn: usize },
    /// A handset connects; `anew`: though it may have a connection.
    Dial { device: usize, anew: bool },
    /// A caller requests a handset.
    Request,
    /// Half the wake timeout has passed.
    Resignal { id: RequestId },
    /// Bytes reach the gateway on a data channel.
    Data { channel: usize, bytes: Vec<u8> },
    /// Something breaks, or somebody moves.
    Trouble,
}

/// One signaling connection and both of its ends; an end that has closed is `None`.
pub(crate) struct Conn {
    pub(crate) device: usize,
    pub(crate) session: Option<Session>,
    pub(crate) handset: Option<Handset>,
    /// Whether bytes still get through.
    pub(crate) carries: bool,
    /// The handset sent WAITING, and it arrived: read off the wire, not from the machine.
    pub(crate) heard: Vec<u8>,
    /// The gateway sent ERROR or CONNREFUSED.
    pub(crate) said_last: bool,
    /// REQUESTPENDING sent and received.
    pub(crate) signals: [u64; 2],
    arrivals: [u64; 2],
    armed: [Option<Millis>; 2],
}

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) tally: BTreeMap<&'static str, u64>,
    /// A digest of all that happened.
    pub(crate) trace: u64,
}

pub(crate) struct World {
    seed: u64,
    pub(crate) now: Millis,
    pub(crate) random: Random,
    pub(crate) conns: Vec<Conn>,
    pub(crate) channels: Vec<DataLine>,
    pub(crate) gateway: Gateway,
    pub(crate) devices: Vec<Device>,
    queue: BinaryHeap<Reverse<(Millis, u64, u64)>>,
    events: BTreeMap<u64, Event>,
    scheduled: u64,
    outcome: Outcome,
    log: VecDeque<String>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let devices = (0..DEVICES)
            .map(|index| Device::new(index, &mut random))
            .collect();
        Self {
            seed,
            now: Millis(0),
            random,
            conns: Vec::new(),
            channels: Vec::new(),
            gateway: Gateway::new(),
            devices,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            scheduled: 0,
            outcome: Outcome {
                tally: BTreeMap::new(),
                trace: 0,
            },
            log: VecDeque::new(),
        }
    }

    pub(crate) fn run(mut self) -> Outcome {
        for device in 0..self.devices.len() {
            let span = self.random.below(5_000);
            self.schedule(Millis(span), Event::Dial { device, anew: true });
        }
        self.schedule(Millis(0), Event::Request);
        self.schedule(Millis(0), Event::Trouble);
        while let Some(Reverse((when, _, number))) = self.queue.pop() {
            if when > END {
                break;
            }
            self.now = when;
            let event = self
                .events
                .remove(&number)
                .expect("every queued event is kept");
            self.note(format!("{event:?}"));
            self.happen(event);
        }
        self.check_healed();
        Outcome {
            tally: std::mem::take(&mut self.outcome.tally),
            trace: self.outcome.trace,
        }
    }

    /// Whether things may break.
    pub(crate) fn troubled(&self) -> bool {
        self.now < HEAL
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.outcome.tally.entry(what).or_insert(0) += 1;
        self.note(what.to_owned());
    }

    pub(crate) fn schedule(&mut self, span: Millis, event: Event) {
        // Events of the same millisecond come in any order; those of one link never share one.
        let tie = self.random.next();
        self.scheduled += 1;
        self.queue
            .push(Reverse((self.now + span, tie, self.scheduled)));
        self.events.insert(self.scheduled, event);
    }

    pub(crate) fn open(&mut self, device: usize, session: Session, handset: Handset) -> usize {
        self.conns.push(Conn {
            device,
            session: Some(session),
            handset: Some(handset),
            carries: true,
            heard: Vec::new(),
            said_last: false,
            signals: [0; 2],
            arrivals: [0; 2],
            armed: [None; 2],
        });
        self.conns.len() - 1
    }

    /// Sends `bytes` to the other end, in pieces.
    pub(crate) fn send(&mut self, conn: usize, from: Side, mut bytes: Vec<u8>) {
        while !bytes.is_empty() && self.conns[conn].carries {
            let length = if self.random.chance(70) {
                bytes.len()
            } else {
                1 + self.random.below(bytes.len() as u64) as usize
            };
            let rest = bytes.split_off(length);
            let span = self.arrival(conn, from);
            self.schedule(
                span,
                Event::Arrive {
                    conn,
                    at: from.other(),
                    bytes,
                },
            );
            bytes = rest;
        }
    }

    /// Closes one end; the other hears of it behind what was sent, if anything gets through.
    pub(crate) fn hang_up(&mut self, conn: usize, by: Side) {
        let ended = &mut self.conns[conn];
        match by {
            Side::Gateway => ended.session = None,
            Side::Handset => ended.handset = None,
        }
        if ended.carries {
            let span = self.arrival(conn, by);
            self.schedule(
                span,
                Event::HungUp {
                    conn,
                    at: by.other(),
                    reset: false,
                },
            );
        }
    }

    /// Sees to it that a machine's deadline is met: to be called after every call on it.
    pub(crate) fn arm(&mut self, conn: usize, at: Side) {
        let machine = &mut self.conns[conn];
        let deadline = match at {
            Side::Gateway => machine.session.as_ref().and_then(Session::deadline),
            Side::Handset => machine.handset.as_ref().and_then(Handset::deadline),
        };
        let armed = &mut machine.armed[at as usize];
        if *armed == deadline {
            return;
        }
        *armed = deadline;
        if let Some(deadline) = deadline {
            assert!(
                deadline > self.now,
                "a deadline that has passed would be met for ever"
            );
            self.schedule(deadline.since(self.now), Event::Deadline { conn, at });
        }
    }

    /// Opens a data channel that says `line`; `lost`: it never arrives.
    pub(crate) fn open_channel(&mut self, line: Vec<u8>, lost: bool) {
        self.channels.push(DataLine::default());
        if lost {
            return;
        }
        let channel = self.channels.len() - 1;
        let cut = self.random.below(line.len() as u64) as usize;
        let first = self.random.below(DELAY_MAX_MS);
        let second = first + 1 + self.random.below(DELAY_MAX_MS);
        let (head, tail) = line.split_at(cut);
        self.schedule(
            Millis(first),
            Event::Data {
                channel,
                bytes: head.to_vec(),
            },
        );
        self.schedule(
            Millis(second),
            Event::Data {
                channel,
                bytes: tail.to_vec(),
            },
        );
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { conn, at, bytes } if self.conns[conn].carries => match at {
                Side::Gateway => self.gateway_input(conn, &bytes),
                Side::Handset => self.handset_input(conn, &bytes),
            },
            Event::Arrive { .. } => {}
            Event::HungUp { conn, at, reset } if reset || self.conns[conn].carries => match at {
                Side::Gateway => self.gateway_hung_up(conn),
                Side::Handset => self.handset_hung_up(conn),
            },
            Event::HungUp { .. } => {}
            Event::Deadline {
                conn,
                at: Side::Gateway,
            } => self.gateway_deadline(conn),
            Event::Deadline {
                conn,
                at: Side::Handset,
            } => self.handset_deadline(conn),
            Event::Checked { conn } => self.checked(conn),
            Event::Dial { device, anew } => self.dial(device, anew),
            Event::Request => {
                self.request();
                if self.now < LAST_REQUEST {
                    let span = self.random.below(4_000);
                    self.schedule(Millis(span), Event::Request);
                }
            }
            Event::Resignal { id } => self.resignal(id),
            Event::Data { channel, bytes } => self.data(channel, &bytes),
            Event::Trouble => self.trouble(),
        }
    }

    fn trouble(&mut self) {
        if !self.troubled() {
            return;
        }
        let conn = self.random.below(self.conns.len().max(1) as u64) as usize;
        let device = self.random.below(self.devices.len() as u64) as usize;
        match self.random.below(10) {
            _ if self.conns.is_empty() => {}
            0 | 1 => self.reset(conn),
            2 | 3 => self.conns[conn].carries = false,
            4 => self.drain(device),
            5 => {
                self.count("roamed");
                self.schedule(Millis(0), Event::Dial { device, anew: true });
            }
            6 => self.leave(device),
            _ => {
                // Called early, on_deadline must do nothing.
                self.schedule(
                    Millis(0),
                    Event::Deadline {
                        conn,
                        at: Side::Gateway,
                    },
                );
                self.schedule(
                    Millis(0),
                    Event::Deadline {
                        conn,
                        at: Side::Handset,
                    },
                );
            }
        }
        let span = self.random.below(3_000);
        self.schedule(Millis(span), Event::Trouble);
    }

    /// Both ends learn that the connection broke; what was on its way is lost.
    fn reset(&mut self, conn: usize) {
        if !std::mem::replace(&mut self.conns[conn].carries, false) {
            return;
        }
        self.count("closed by reset");
        for at in [Side::Gateway, Side::Handset] {
            let span = self.random.below(2_000);
            self.schedule(
                Millis(span),
                Event::HungUp {
                    conn,
                    at,
                    reset: true,
                },
            );
        }
    }

    /// When something sent now arrives: after a delay, and behind all that was sent before.
    fn arrival(&mut self, conn: usize, from: Side) -> Millis {
        let earliest = self.now.0 + 1 + self.random.below(DELAY_MAX_MS);
        let last = &mut self.conns[conn].arrivals[from as usize];
        *last = earliest.max(*last + 1);
        Millis(*last).since(self.now)
    }

    fn note(&mut self, what: String) {
        for byte in what.bytes() {
            self.outcome.trace =
                (self.outcome.trace ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.outcome.trace ^= self.now.0;
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(format!("{:>9} ms  {what}", self.now.0));
    }

    /// After the links have healed and time has passed, everybody is registered, once, and every request is bound.
    fn check_healed(&self) {
        for (index, device) in self.devices.iter().enumerate() {
            let own = |conn: &&Conn| conn.device == index;
            let open: Vec<&Conn> = self
                .conns
                .iter()
                .filter(own)
                .filter(|conn| conn.handset.is_some())
                .collect();
            let [conn] = open.as_slice() else {
                panic!("device {index} has {} connections", open.len())
            };
            assert!(
                conn.handset.as_ref().is_some_and(Handset::is_registered),
                "device {index} is not registered"
            );
            let held = self
                .conns
                .iter()
                .filter(own)
                .filter(|conn| conn.session.is_some())
                .count();
            assert_eq!(held, 1, "sessions of device {index}");
            assert!(
                conn.session.as_ref().is_some_and(Session::is_ready),
                "device {index} has another session"
            );
            let live = self
                .gateway
                .live
                .get(&device.identity.msisdn)
                .map(|live| &self.conns[*live]);
            assert!(
                live.is_some_and(|live| std::ptr::eq(live, *conn)),
                "device {index} is routed elsewhere"
            );
            let [sent, received] = conn.signals;
            assert_eq!(
                sent, received,
                "signals to device {index} on its last connection"
            );
        }
        let unbound = self
            .gateway
            .pending
            .values()
            .filter(|pending| !pending.bound)
            .count();
        assert_eq!(unbound, 0, "requests never bound");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.log {
                eprintln!("{line}");
            }
            eprintln!("this was EVERLINE_SEED={}, at {} ms", self.seed, self.now.0);
        }
    }
}
