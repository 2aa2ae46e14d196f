//! A fleet: the handsets of one thread, on one ring. It opens, times and closes their connections.
//!
//! [`Fleet`] is generic over its ring and takes the time as an argument, so that a simulated ring runs the same
//! code; [`Fleet::run`] adds the clock and the shared state. What it is told to do stands in `orders`, what it says on
//! signaling connections in `signaling`, what it does on data channels in `channels`.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use everline_protocol::{Backoff, HandsetOutput, Millis, Wheel};
use everline_uring::{Event, SocketKey, Sockets};
use hdrhistogram::Histogram;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::address::{HANDSETS_PER_SOURCE, Sources, Targets};
use crate::books::{FleetBooks, histogram};
use crate::channels::{Channel, Wanted};
use crate::orders::{Desk, Duty, Leave};
use crate::roster::Roster;
use crate::signaling::Link;
use crate::tokens::Mint;

/// Data channels leave from this many addresses of their own in each fleet: they come and go, and a closed one
/// keeps its port for a while.
pub const DATA_SOURCES: u32 = 16;
/// How long the end of the run may take.
const LEAVE_LIMIT_US: u64 = 60_000_000;
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
const TURN_MAX: Duration = Duration::from_millis(500);
/// How late a handset's timer may be served: latencies are measured here, so finer than the gateway's.
const TICK: Millis = Millis(8);
const NONE: u32 = u32::MAX;

/// What every fleet of a run does.
#[derive(Debug)]
pub struct FleetPlan {
    /// The gateway's signaling address.
    pub signaling: SocketAddr,
    /// Where data channels go unless REQUESTPENDING says otherwise.
    pub data: SocketAddr,
    /// Where connections may go at all.
    pub targets: Targets,
    /// Where loopback connections come from.
    pub sources: Option<Sources>,
    /// How many of these handsets and rogues use; those of data channels come after them.
    pub sources_taken: u32,
    /// Keep-alive timeout to ask for, seconds.
    pub timeout_s: u32,
    /// Linger of data channels, seconds; 0: none.
    pub linger_s: u32,
    /// Size of the answers.
    pub body_bytes: u64,
    /// Bounds a connect, the wait for CONNREGISTERED, and the lateness of a KEEPALIVE.
    pub answer_limit: Millis,
    /// Whether lost handsets come back.
    pub reconnect: bool,
    /// How handsets leave at the end.
    pub leave: Leave,
}

/// One fleet's part of the run.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Its number, from 0.
    pub fleet: u32,
    /// Place in the run of its first handset.
    pub first: u32,
    /// How many handsets it has.
    pub handsets: u32,
    /// Registrations under way at one time.
    pub connecting_max: u32,
}

/// What remains of a fleet.
#[derive(Debug)]
pub struct FleetEnd {
    /// Its final books.
    pub books: FleetBooks,
    /// From when a registration was due to CONNREGISTERED, microseconds.
    pub register_latency: Histogram<u64>,
}

/// One handset, whether it is connected or not.
#[derive(Debug, Clone)]
pub(crate) struct Phone {
    /// Slot of its signaling connection.
    pub(crate) current: u32,
    /// Slot of the one that it is moving to (PROTOCOL 3.4).
    pub(crate) next: u32,
    pub(crate) backoff: Backoff,
    /// It has registered, or its first attempt has failed for good.
    pub(crate) settled: bool,
    /// A refusal said when it is to come back: a gateway that admits by a rate has not failed it, so it is settled by
    /// nothing but its registration.
    pub(crate) expected: bool,
    pub(crate) away: AwayBy,
}

/// What keeps a handset away, if it is dropped on purpose and not registered since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AwayBy {
    Nothing,
    Storm,
    Churn,
}

/// What a slot of the ring's table is used for.
#[derive(Debug)]
pub(crate) enum Conn {
    Free,
    Signaling(Link),
    Data(Box<Channel>),
}

/// See the module.
pub struct Fleet<S: Sockets> {
    pub(crate) sockets: S,
    pub(crate) plan: Arc<FleetPlan>,
    pub(crate) share: Share,
    pub(crate) mint: Arc<Mint>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) books: FleetBooks,
    pub(crate) register_latency: Histogram<u64>,
    pub(crate) phones: Vec<Phone>,
    pub(crate) conns: Vec<Conn>,
    /// Owners `0..handsets` are phones, the others slots.
    pub(crate) wheel: Wheel,
    /// Handsets told to move to an address of its own.
    pub(crate) moves: HashMap<u32, SocketAddr>,
    /// Lost handsets whose back-off has passed, and since when (microseconds).
    ready: VecDeque<(u32, u64)>,
    /// Requests that wait for a slot.
    pub(crate) wanted: VecDeque<Wanted>,
    pub(crate) out: HandsetOutput,
    pub(crate) random: SmallRng,
    /// Microseconds since the run began.
    pub(crate) now_us: u64,
    /// Wall-clock seconds at time 0, for tokens.
    pub(crate) epoch_unix_s: u64,
    pub(crate) data_source: u32,
    pub(crate) leaving: bool,
    pub(crate) duty: Duty,
    /// Handsets that have begun to register, the first so many.
    pub(crate) started: u32,
    due: Vec<u32>,
}

impl<S: Sockets> Fleet<S> {
    /// A fleet that waits for its first order. `seed` drives its back-offs, and whom churn picks.
    pub fn new(
        sockets: S,
        plan: Arc<FleetPlan>,
        share: Share,
        mint: Arc<Mint>,
        roster: Arc<Roster>,
        epoch_unix_s: u64,
        seed: u64,
    ) -> Self {
        let slots = sockets.slots();
        let phone = Phone {
            current: NONE,
            next: NONE,
            backoff: Backoff::default(),
            settled: false,
            expected: false,
            away: AwayBy::Nothing,
        };
        Self {
            phones: vec![phone; share.handsets as usize],
            conns: (0..slots).map(|_| Conn::Free).collect(),
            wheel: Wheel::new(share.handsets + slots, Millis(0), TICK),
            sockets,
            plan,
            share,
            mint,
            roster,
            books: FleetBooks::default(),
            register_latency: histogram(),
            moves: HashMap::new(),
            ready: VecDeque::new(),
            wanted: VecDeque::new(),
            out: HandsetOutput::default(),
            random: SmallRng::seed_from_u64(seed),
            now_us: 0,
            epoch_unix_s,
            data_source: 0,
            leaving: false,
            duty: Duty::default(),
            started: 0,
            due: Vec::new(),
        }
    }

    /// Runs until it has left or is told to stop. Fails only if the ring does.
    pub fn run(mut self, epoch: Instant, desk: &Desk) -> io::Result<FleetEnd> {
        let mut events = Vec::new();
        let (mut published_us, mut news) = (0, true);
        loop {
            desk.take().into_iter().for_each(|order| self.obey(order));
            self.step(since(epoch));
            if self.is_gone() {
                break;
            }
            // Books with news in them are not kept back for longer than the reader's own interval.
            let limit = if news { PUBLISH_EVERY } else { TURN_MAX };
            news |= self.turn(self.wait().min(limit), &mut events, || since(epoch))?;
            if news && self.now_us >= published_us + PUBLISH_EVERY.as_micros() as u64 {
                published_us = self.now_us;
                desk.publish(&self.books);
                news = false;
            }
        }
        desk.publish(&self.books);
        Ok(FleetEnd {
            books: self.books,
            register_latency: self.register_latency,
        })
    }

    /// Does what is due at `now_us`: timers, orders, data channels, registrations.
    ///
    /// Connections are opened here and nowhere else. A connect that failed has freed its slot before its event is
    /// read: opened while a turn's events are read, a connection could take the slot of one that is yet to be buried.
    pub fn step(&mut self, now_us: u64) {
        self.now_us = now_us;
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.now(), &mut due);
        for owner in due.drain(..) {
            match owner.checked_sub(self.share.handsets) {
                None => self.ready.push_back((owner, now_us)),
                Some(slot) => self.on_slot_timer(slot),
            }
        }
        self.due = due;
        self.carry_out();
        if !self.leaving {
            self.open_wanted();
            self.register_some();
        }
    }

    /// Lets the ring work for `wait` at most, and takes what that brought; `false` if that is nothing. `events` is scratch space;
    /// `clock` tells the microseconds once the ring is back.
    pub fn turn(
        &mut self,
        wait: Duration,
        events: &mut Vec<Event>,
        clock: impl FnOnce() -> u64,
    ) -> io::Result<bool> {
        self.sockets.turn(Some(wait), events)?;
        self.now_us = clock();
        let news = !events.is_empty();
        for event in events.drain(..) {
            self.on_event(event);
        }
        Ok(news)
    }

    /// How long the ring may sleep before [`Fleet::step`] has something to do.
    pub fn wait(&self) -> Duration {
        let timer_us = self.wheel.next().map(|at| at.0 * 1000);
        let ramp_us = self.ramp_due_us().filter(|_| self.may_connect());
        let next_us = timer_us
            .into_iter()
            .chain(ramp_us)
            .chain(self.duty_due_us())
            .min();
        next_us.map_or(Duration::MAX, |at| {
            Duration::from_micros(at.saturating_sub(self.now_us))
        })
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected { socket, result } => match self.conn(socket) {
                Some(Conn::Signaling(_)) => self.on_link_connected(socket.slot, result),
                Some(Conn::Data(_)) => self.on_channel_connected(socket.slot, result),
                _ => {}
            },
            Event::Readable { socket, watching } => match self.conn(socket) {
                Some(Conn::Data(_)) => self.on_channel_readable(socket.slot, watching),
                _ => {
                    if let Some(pipe) = pipe(&mut self.conns, socket) {
                        pipe.readable(watching, &mut self.sockets);
                    }
                }
            },
            Event::Writable(socket) => {
                if let Some(pipe) = pipe(&mut self.conns, socket) {
                    pipe.writable(&mut self.sockets);
                }
            }
            Event::Received { socket, result } => match self.conn(socket) {
                Some(Conn::Signaling(_)) => self.on_link_received(socket.slot, result),
                Some(Conn::Data(_)) => self.on_channel_received(socket.slot, result),
                _ => {
                    if let Ok(lease) = result {
                        self.sockets.release(lease);
                    }
                }
            },
            Event::Sent { socket, result } => match self.conn(socket) {
                Some(Conn::Signaling(_)) => self.on_link_sent(socket.slot, result),
                Some(Conn::Data(_)) => self.on_channel_sent(socket.slot, result),
                _ => {}
            },
            // A fleet accepts nothing; a free slot is used in the next step; a wake is for the desk.
            Event::Accepted { .. } | Event::AcceptFailed(_) | Event::Closed(_) | Event::Woken => {}
        }
    }

    /// Whether the fleet has done with everything: told to stop, or to leave and every connection has ended and been
    /// closed, or that has taken too long.
    pub fn is_gone(&self) -> bool {
        let Some((since_us, all_told)) = self.duty.leaving() else {
            return self.duty.stopped;
        };
        let closed = all_told && self.sockets.free() == self.sockets.slots();
        closed || self.duty.stopped || self.now_us > since_us + LEAVE_LIMIT_US
    }

    /// From now on nobody comes back, and no data channel is opened.
    pub(crate) fn forget_plans(&mut self) {
        self.leaving = true;
        self.ready.clear();
        self.drop_wanted();
        (0..self.share.handsets).for_each(|phone| self.wheel.cancel(phone));
    }

    /// Handset `phone` dials again after `wait`.
    pub(crate) fn dial_after(&mut self, phone: u32, wait: Millis) {
        if wait == Millis(0) {
            self.ready.push_back((phone, self.now_us));
        } else {
            self.wheel.set(phone, self.now() + wait);
        }
    }

    /// The books as they stand.
    pub fn books(&self) -> &FleetBooks {
        &self.books
    }

    pub(crate) fn now(&self) -> Millis {
        Millis(self.now_us / 1000)
    }

    pub(crate) fn set_slot_timer(&mut self, slot: u32, at: Millis) {
        self.wheel.set(self.share.handsets + slot, at);
    }

    pub(crate) fn cancel_slot_timer(&mut self, slot: u32) {
        self.wheel.cancel(self.share.handsets + slot);
    }

    pub(crate) fn fresh_random(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// The address that handset `phone` connects to `to` from.
    pub(crate) fn handset_source(&self, phone: u32, to: SocketAddr) -> Option<SocketAddr> {
        self.source((self.share.first + phone) / HANDSETS_PER_SOURCE, to)
    }

    /// The address that the next data channel connects to `to` from.
    pub(crate) fn next_data_source(&mut self, to: SocketAddr) -> Option<SocketAddr> {
        self.data_source = (self.data_source + 1) % DATA_SOURCES;
        self.source(
            self.plan.sources_taken + self.share.fleet * DATA_SOURCES + self.data_source,
            to,
        )
    }

    fn source(&self, index: u32, to: SocketAddr) -> Option<SocketAddr> {
        let sources = self
            .plan
            .sources
            .filter(|_| to.is_ipv4() && to.ip().is_loopback())?;
        Some(sources.at(index))
    }

    fn on_slot_timer(&mut self, slot: u32) {
        match self.conns.get(slot as usize) {
            Some(Conn::Signaling(_)) => self.on_link_timer(slot),
            Some(Conn::Data(_)) => self.on_channel_timer(slot),
            _ => {}
        }
    }

    /// The connection of `socket`, unless its slot has another use by now.
    fn conn(&self, socket: SocketKey) -> Option<&Conn> {
        self.conns
            .get(socket.slot as usize)
            .filter(|conn| match conn {
                Conn::Signaling(link) => link.pipe.key == socket,
                Conn::Data(channel) => channel.pipe.key == socket,
                Conn::Free => false,
            })
    }

    fn may_connect(&self) -> bool {
        !self.leaving
            && self.books.connecting < u64::from(self.share.connecting_max)
            && self.sockets.free() > 0
    }

    /// Begins the registrations that are due: first of those who come back, then of those who never were.
    fn register_some(&mut self) {
        while self.may_connect() {
            let Some((phone, due_us)) = self.ready.pop_front() else {
                break;
            };
            self.open_link(phone, due_us);
        }
        while let Some(due_us) = self.ramp_due_us().filter(|due_us| *due_us <= self.now_us)
            && self.may_connect()
        {
            self.started += 1;
            self.open_link(self.started - 1, due_us);
        }
    }
}

fn pipe(conns: &mut [Conn], socket: SocketKey) -> Option<&mut crate::pipe::Pipe> {
    let pipe = match conns.get_mut(socket.slot as usize)? {
        Conn::Signaling(link) => &mut link.pipe,
        Conn::Data(channel) => &mut channel.pipe,
        Conn::Free => return None,
    };
    (pipe.key == socket).then_some(pipe)
}

fn since(epoch: Instant) -> u64 {
    u64::try_from(epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
}
