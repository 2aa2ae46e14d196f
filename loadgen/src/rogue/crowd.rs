//! The crowd: all rogues of a phase on one ring. It dials, times and closes their connections and keeps their books.
//!
//! [`Crowd`] is generic over its ring and takes the time as an argument, as the fleet does and for the same reason.
//! What a rogue says and how it judges the answer stands in `act`; the thread is [`super::Rogues`]'s.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use everline_protocol::{Connect, HostPort, Millis, RequestId, Wheel};
use everline_uring::{Errno, Event, Lease, SocketKey, Sockets};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::act::{Act, ActOutput, Gone, Order, Outcome};
use super::books::{KindBooks, RogueBooks};
use super::kind::RogueKind;
use super::{ROGUE_SOURCES, RoguePlan};
use crate::books::errno_name;
use crate::pipe::{EAGAIN, Pipe, Sent};
use crate::roster::Roster;
use crate::tokens::Mint;

/// Slots that each rogue needs: signaling, and its data channel or the connection that it has just reset.
pub(crate) const SLOTS_PER_ROGUE: u32 = 3;
/// How late a rogue's timer may be served.
const TICK: Millis = Millis(8);
/// How soon a rogue looks again for a free slot.
const NO_SLOT_RETRY: Millis = Millis(50);
/// What every rogue asks for; a gateway raises it to its least.
const TIMEOUT_S: u32 = 1;
const STOP_LIMIT_US: u64 = 5_000_000;

/// See the module.
pub struct Crowd<S: Sockets> {
    sockets: S,
    plan: Arc<RoguePlan>,
    mint: Arc<Mint>,
    roster: Arc<Roster>,
    books: RogueBooks,
    rogues: Vec<Rogue>,
    conns: Vec<Option<Conn>>,
    /// Owners are rogues: the next act, or what their act waits for.
    wheel: Wheel,
    /// Connections to be opened in the next step.
    wanted: Vec<(u32, Wanted)>,
    out: ActOutput,
    random: SmallRng,
    now_us: u64,
    /// Wall-clock seconds at time 0, for tokens.
    epoch_unix_s: u64,
    stopped_us: Option<u64>,
    due: Vec<u32>,
}

struct Rogue {
    kind: RogueKind,
    act: Option<Box<Act>>,
    began_us: u64,
    signaling: Option<SocketKey>,
    data: Option<SocketKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Signaling,
    Data(SocketAddr),
}

struct Conn {
    pipe: Pipe,
    rogue: u32,
    is_data: bool,
    /// Nothing can be sent any more: a receive will tell why.
    broken: bool,
}

impl<S: Sockets> Crowd<S> {
    /// A crowd that has not begun. `seed` drives its chances.
    pub fn new(
        sockets: S,
        plan: Arc<RoguePlan>,
        mint: Arc<Mint>,
        roster: Arc<Roster>,
        epoch_unix_s: u64,
        seed: u64,
    ) -> Self {
        let books = RogueBooks::of(&plan.kinds);
        let rogues = books.rogues;
        let mut random = SmallRng::seed_from_u64(seed);
        let mut wheel = Wheel::new(rogues, Millis(0), TICK);
        // Not all in the first moment, or they would go on in step.
        for rogue in 0..rogues {
            wheel.set(rogue, Millis(random.random_range(0..=plan.pause.0)));
        }
        let one = |kind: &RogueKind| Rogue {
            kind: *kind,
            act: None,
            began_us: 0,
            signaling: None,
            data: None,
        };
        Self {
            rogues: plan.kinds.iter().map(one).collect(),
            conns: (0..sockets.slots()).map(|_| None).collect(),
            sockets,
            plan,
            mint,
            roster,
            books,
            wheel,
            wanted: Vec::new(),
            out: ActOutput::default(),
            random,
            now_us: 0,
            epoch_unix_s,
            stopped_us: None,
            due: Vec::new(),
        }
    }

    /// Does what is due at `now_us`. Connections are opened here and nowhere else, for the fleet's reason: the slot of
    /// a connect that failed is free before its event is read.
    pub fn step(&mut self, now_us: u64) {
        self.now_us = now_us;
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.now(), &mut due);
        for rogue in due.drain(..) {
            match self.act(rogue) {
                Some(_) => self.with_act(rogue, |act, now, out| act.on_time(now, out)),
                None => self.begin(rogue),
            }
        }
        self.due = due;
        for (rogue, wanted) in std::mem::take(&mut self.wanted) {
            self.open(rogue, wanted);
        }
    }

    /// Lets the ring work for `wait` at most, and takes what that brought; `false` if that is nothing. `events` is
    /// scratch space; `clock` tells the microseconds once the ring is back.
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

    /// How long the ring may sleep before [`Crowd::step`] has something to do.
    pub fn wait(&self) -> Duration {
        let timer = self.wheel.next();
        let retry = (!self.wanted.is_empty()).then(|| self.now() + NO_SLOT_RETRY);
        timer
            .into_iter()
            .chain(retry)
            .min()
            .map_or(Duration::MAX, |at| {
                Duration::from_micros((at.0 * 1000).saturating_sub(self.now_us))
            })
    }

    /// Breaks off every act, and begins no more.
    pub fn stop(&mut self) {
        if self.stopped_us.is_some() {
            return;
        }
        self.stopped_us = Some(self.now_us);
        self.wanted.clear();
        for rogue in 0..self.rogues.len() as u32 {
            if self.act(rogue).is_some() {
                self.end_act(rogue, |books, _| books.cut += 1);
            }
            self.wheel.cancel(rogue);
        }
    }

    /// Whether every connection has been closed after [`Crowd::stop`], or that has taken too long.
    pub fn is_gone(&self) -> bool {
        self.stopped_us.is_some_and(|since_us| {
            self.sockets.free() == self.sockets.slots() || self.now_us > since_us + STOP_LIMIT_US
        })
    }

    /// The books as they stand, but for the requests, which are the callers'.
    pub fn books(&self) -> &RogueBooks {
        &self.books
    }

    fn now(&self) -> Millis {
        Millis(self.now_us / 1000)
    }

    fn act(&self, rogue: u32) -> Option<&Act> {
        self.rogues.get(rogue as usize)?.act.as_deref()
    }

    /// Begins the next act of `rogue`, or tries again soon if no slot is free for it.
    fn begin(&mut self, rogue: u32) {
        let (now, now_us, limits) = (self.now(), self.now_us, self.plan.limits);
        let kind = self.rogues[rogue as usize].kind;
        let to = if kind.dials_the_data_port() {
            self.plan.data
        } else {
            self.plan.signaling
        };
        // Whichever port it goes to, it is the connection on which the act is judged.
        let Some(key) = self.dial(rogue, to, false) else {
            return self.wheel.set(rogue, now + NO_SLOT_RETRY);
        };
        let one = &mut self.rogues[rogue as usize];
        let act = Act::new(kind, limits, now);
        self.wheel.set(rogue, act.deadline());
        one.signaling = Some(key);
        one.began_us = now_us;
        one.act = Some(Box::new(act));
        let books = self.books.kinds.entry(one.kind).or_default();
        books.begun += 1;
        books.open += 1;
    }

    fn open(&mut self, rogue: u32, wanted: Wanted) {
        if self.act(rogue).is_none() {
            return;
        }
        let (to, is_data) = match wanted {
            Wanted::Signaling => (self.plan.signaling, false),
            Wanted::Data(to) => (to, true),
        };
        let Some(key) = self.dial(rogue, to, is_data) else {
            return self.wanted.push((rogue, wanted));
        };
        let one = &mut self.rogues[rogue as usize];
        let place = if is_data {
            &mut one.data
        } else {
            &mut one.signaling
        };
        *place = Some(key);
    }

    fn dial(&mut self, rogue: u32, to: SocketAddr, is_data: bool) -> Option<SocketKey> {
        let plan = &self.plan;
        let sources = plan
            .sources
            .filter(|_| to.is_ipv4() && to.ip().is_loopback());
        let from = sources.map(|sources| sources.at(plan.first_source + rogue % ROGUE_SOURCES));
        let key = self.sockets.connect(from, to)?;
        let conn = Conn {
            pipe: Pipe::new(key),
            rogue,
            is_data,
            broken: false,
        };
        *self.conns.get_mut(key.slot as usize)? = Some(conn);
        Some(key)
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected { socket, result } => self.on_connected(socket, result),
            Event::Readable { socket, watching } => {
                if let Some(conn) = conn(&mut self.conns, socket) {
                    conn.pipe.readable(watching, &mut self.sockets);
                }
            }
            Event::Writable(socket) => {
                if let Some(conn) = conn(&mut self.conns, socket) {
                    conn.pipe.writable(&mut self.sockets);
                }
            }
            Event::Received { socket, result } => self.on_received(socket, result),
            Event::Sent { socket, result } => {
                if let Some(conn) = conn(&mut self.conns, socket)
                    && let Sent::Broken(_) = conn.pipe.sent(result, &mut self.sockets)
                {
                    // The gateway's last word may stand unread in the socket.
                    conn.broken = true;
                    conn.pipe.receive(&mut self.sockets);
                }
            }
            // It accepts nothing; a free slot is used in the next step; a wake is for the thread.
            Event::Accepted { .. } | Event::AcceptFailed(_) | Event::Closed(_) | Event::Woken => {}
        }
    }

    fn on_connected(&mut self, socket: SocketKey, result: Result<(), Errno>) {
        let Some(conn) = conn(&mut self.conns, socket) else {
            return;
        };
        let (rogue, is_data) = (conn.rogue, conn.is_data);
        if let Err(errno) = result {
            return self.gone(socket, &Gone::NotConnected(errno_name(errno)));
        }
        self.sockets.watch(socket);
        let random = self.random.next_u64();
        if is_data {
            let id = RequestId(u128::from(random) << 64 | u128::from(self.random.next_u64()));
            self.with_act(rogue, |act, _, out| act.on_data_connected(id, out));
        } else {
            let connect = self.connect_line(rogue);
            self.with_act(rogue, |act, now, out| {
                act.on_connected(&connect, random, now, out);
            });
        }
    }

    fn connect_line(&self, rogue: u32) -> Vec<u8> {
        let msisdn = self.roster.msisdn(rogue);
        let unix_s = self.epoch_unix_s + self.now_us / 1_000_000;
        let connect = Connect {
            msisdn,
            timeout_s: TIMEOUT_S,
            token: self.mint.token(msisdn, unix_s),
            linger_s: 0,
            agent: Some(concat!("everline-loadgen/", env!("CARGO_PKG_VERSION")).into()),
        };
        let mut line = Vec::new();
        connect.encode(&mut line);
        line
    }

    fn on_received(&mut self, socket: SocketKey, result: Result<Lease, Errno>) {
        let Some(found) = conn(&mut self.conns, socket) else {
            if let Ok(lease) = result {
                self.sockets.release(lease);
            }
            return;
        };
        let (rogue, is_data) = (found.rogue, found.is_data);
        match result {
            Ok(lease) => {
                let (bytes, more) = (self.sockets.bytes(&lease).to_vec(), lease.more());
                self.sockets.release(lease);
                if bytes.is_empty() {
                    return self.gone(socket, &Gone::Closed);
                }
                self.with_act(rogue, |act, now, out| {
                    if is_data {
                        act.on_data_input(&bytes, out);
                    } else {
                        act.on_input(&bytes, now, out);
                    }
                });
                if let Some(conn) = conn(&mut self.conns, socket) {
                    conn.pipe.received(more, &mut self.sockets);
                }
            }
            // Told again when there is something, or an end, after a broken send too.
            Err(Errno(EAGAIN)) => found.pipe.received(false, &mut self.sockets),
            Err(_) => self.gone(socket, &Gone::Reset),
        }
    }

    /// The connection has ended, not by us.
    fn gone(&mut self, socket: SocketKey, how: &Gone) {
        let Some(conn) = self.take(socket) else {
            return;
        };
        self.with_act(conn.rogue, |act, now, out| {
            if conn.is_data {
                act.on_data_gone(how, now, out);
            } else {
                act.on_gone(how, out);
            }
        });
    }

    /// Forgets the connection and closes its socket; after a connect that failed its key is stale, and that is no harm.
    fn take(&mut self, socket: SocketKey) -> Option<Conn> {
        conn(&mut self.conns, socket)?;
        let conn = self.conns.get_mut(socket.slot as usize)?.take()?;
        let one = &mut self.rogues[conn.rogue as usize];
        for place in [&mut one.signaling, &mut one.data] {
            if *place == Some(socket) {
                *place = None;
            }
        }
        self.sockets.close(socket);
        Some(conn)
    }

    /// Calls on the act of `rogue`, and does what it asks for.
    fn with_act(&mut self, rogue: u32, call: impl FnOnce(&mut Act, Millis, &mut ActOutput)) {
        let now = self.now();
        let one = &mut self.rogues[rogue as usize];
        let Some(act) = &mut one.act else {
            return;
        };
        let mut out = std::mem::take(&mut self.out);
        call(act, now, &mut out);
        self.wheel.set(rogue, act.deadline());
        let sends = [
            (one.signaling, &mut out.wire),
            (one.data, &mut out.data_wire),
        ];
        for (socket, bytes) in sends {
            let conn = socket.and_then(|socket| conn(&mut self.conns, socket));
            if let Some(conn) = conn.filter(|conn| !bytes.is_empty() && !conn.broken) {
                conn.pipe.push(bytes, &mut self.sockets);
            }
            bytes.clear();
        }
        for order in out.orders.drain(..) {
            self.obey(rogue, order);
        }
        self.out = out;
    }

    fn obey(&mut self, rogue: u32, order: Order) {
        match order {
            Order::Enlist => self.roster.set(rogue, true),
            Order::OpenData(told) => match self.data_address(told.as_ref()) {
                Some(to) => self.wanted.push((rogue, Wanted::Data(to))),
                None => self.with_act(rogue, |act, now, out| {
                    act.on_data_gone(&Gone::NotConnected("not-allowed".into()), now, out);
                }),
            },
            Order::ResetAndRedial => {
                self.roster.set(rogue, false);
                if let Some(socket) = self.rogues[rogue as usize].signaling.take() {
                    // Not `take`: a socket that is closed in order can't be reset any more.
                    if let Some(conn) = self.conns.get_mut(socket.slot as usize) {
                        *conn = None;
                    }
                    self.sockets.reset(socket);
                }
                self.wanted.push((rogue, Wanted::Signaling));
            }
            Order::End(outcome) => self.on_end(rogue, outcome),
        }
    }

    /// Where a data channel is to go: as the gateway said, if this run may load that address.
    fn data_address(&self, told: Option<&HostPort>) -> Option<SocketAddr> {
        match told {
            Some(told) => self.plan.targets.resolve(told),
            None => Some(self.plan.data),
        }
    }

    fn on_end(&mut self, rogue: u32, outcome: Outcome) {
        let mut stay_away = Millis(0);
        self.end_act(rogue, |books, lasted_us| match outcome {
            Outcome::Met => {
                books.met += 1;
                books.met_us_max = books.met_us_max.max(lasted_us);
            }
            Outcome::Otherwise(cause) => books.otherwise.count(cause),
            Outcome::Hindered(cause, retry_after_s) => {
                stay_away = Millis::from_secs(retry_after_s.unwrap_or(0));
                books.hindered.count(cause);
            }
        });
        // From half of the pause to one and a half, so that rogues do not go in step.
        let pause = self.plan.pause.0;
        let pause = Millis(pause / 2 + self.random.random_range(0..=pause));
        self.wheel.set(rogue, self.now() + pause.max(stay_away));
    }

    fn end_act(&mut self, rogue: u32, book: impl FnOnce(&mut KindBooks, u64)) {
        self.roster.set(rogue, false);
        let one = &mut self.rogues[rogue as usize];
        one.act = None;
        let lasted_us = self.now_us.saturating_sub(one.began_us);
        let books = self.books.kinds.entry(one.kind).or_default();
        books.open -= 1;
        book(books, lasted_us);
        for socket in [one.signaling, one.data].into_iter().flatten() {
            self.take(socket);
        }
    }
}

/// The connection of `socket`, unless its slot has another use by now.
fn conn(conns: &mut [Option<Conn>], socket: SocketKey) -> Option<&mut Conn> {
    conns
        .get_mut(socket.slot as usize)?
        .as_mut()
        .filter(|conn| conn.pipe.key == socket)
}
