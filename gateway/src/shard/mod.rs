//! \[3\] Signaling: one thread, one ring, one table of connections, one timer wheel, one mailbox. No lock, no async.
//!
//! A turn of a shard: arm accepts, turn the ring, handle what it brought, read letters, serve timers. Everything a
//! turn asks of the ring is submitted at once at the next one, and every part of a turn is bounded, so that one
//! flooding handset, a full mailbox or a drain of all sessions never keeps the others waiting.
//!
//! | file | what it does |
//! |---|---|
//! | [`mailbox`] | how other threads speak to a shard |
//! | `connections` | bytes in and out: accepts, receives, sends, closes |
//! | `sessions` | what a session's events mean: register, signal, keep alive, end |
//! | `letters` | what the mailbox asks, draining and stopping |
//! | `slots`, `outbox` | the tables: connections, bytes to be sent |
//! | `counters`, [`clock`], `sizing`, [`turns`] | what the operator sees, time, how many shards, which of them accept |

pub mod clock;
mod connections;
mod counters;
mod letters;
pub mod mailbox;
mod outbox;
mod sessions;
mod sizing;
mod slots;
pub mod turns;

#[cfg(test)]
mod loopback_test;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod sizes_test;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use everline_protocol::{Beat, HostPort, Message, Millis, RequestId, Rules, SessionOutput, Wheel};
use everline_uring::{Event, SocketKey, Sockets, TURN_COMPLETIONS_MAX};

use crate::config::Config;
use crate::proxy_header::ProxyHeader;
use crate::registration::Verifier;
use crate::shared::Shared;
use clock::Clock;
use counters::Counters;
use letters::{Drain, Stop};
use mailbox::Mailbox;
use outbox::Outboxes;
pub use sizing::shard_count;
use slots::Slots;

/// Accepts that a shard keeps armed, if it has slots for them.
const ACCEPTS_MAX: u32 = 64;
/// After an accept failed for want of memory or descriptors, none is armed for this long.
const ACCEPT_PAUSE: Millis = Millis(100);
/// From one complaint about that in the log to the next, while it goes on failing.
const ACCEPT_COMPLAIN_EVERY: Millis = Millis(60_000);
/// How late a timer may be served: keep-alives are seconds, and one turn serves all that fall into it.
const TICK: Millis = Millis(64);
/// KEEPALIVEs go out together once in so long: with fifty shards each would otherwise wake for every single one of its
/// own, and again for its answer.
const BEAT: Millis = Millis(1_000);
/// A timer that is later than this says that the shard itself was held up, by a machine that paused or had no core.
const HELD_UP: Millis = Millis(500);
/// For how long, at most, it then reads before it judges.
const CATCH_UP_MAX: Millis = Millis(2_000);
/// Turns without a byte after which all is read: it takes one to be told who sent, and one to receive it.
const QUIET_TURNS: u8 = 4;
/// Letters read in one turn.
const LETTERS_PER_TURN: usize = 1024;
/// Slots looked at in one turn while draining or stopping.
const SLOTS_PER_TURN: u32 = 512;
/// How long a peer may take nothing of what waits for it.
const STALL_MAX: Millis = Millis(30_000);
/// How long a session that is over may take to take its last bytes.
const LEAVE_MAX: Millis = Millis(2_000);
/// How long stopping may take.
const STOP_MAX: Millis = Millis(5_000);
/// Least of the bytes that may wait for a peer; a batch of signals for all requests it may have is never too much.
const OUTBOX_BYTES_MIN: usize = 4096;

/// The body of a shard's thread; `sockets` was made on it. Ends with [`mailbox::Letter::Stop`], or with the ring's
/// failure, and then none of its sessions is in the directory any more.
pub fn run<S: Sockets, C: Clock>(
    sockets: S,
    mailbox: Mailbox,
    number: u16,
    shared: Arc<Shared>,
    verifier: Arc<Verifier>,
    clock: C,
) -> io::Result<()> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let seed = u64::from_ne_bytes(seed);
    let mut shard = Shard::new(sockets, mailbox, number, shared, verifier, clock, seed);
    loop {
        match shard.turn() {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                shard.abandon();
                return Err(error);
            }
        }
    }
}

/// One shard: generic over its ring and clock, so that a simulation runs the same code.
pub(crate) struct Shard<S: Sockets, C: Clock> {
    sockets: S,
    mailbox: Mailbox,
    number: u16,
    shared: Arc<Shared>,
    verifier: Arc<Verifier>,
    clock: C,

    rules: Rules,
    /// `data=` of REQUESTPENDING.
    advertise: Option<HostPort>,
    outbox_bytes_max: usize,
    random: Random,
    /// What this run's session ids are made of.
    session_ids: u64,

    slots: Slots,
    wheel: Wheel,
    outboxes: Outboxes,
    /// Connections whose PROXY header is not whole, by slot.
    proxy_headers: HashMap<u32, ProxyHeader>,
    counters: Counters,

    /// The time of this turn.
    now: Millis,
    accepts_paused_until: Option<Millis>,
    /// Another shard was told that it may accept, too.
    was_full: bool,
    accepts_complained: Option<Millis>,
    /// The mailbox was not read to its end.
    letters_left: bool,
    /// Operations that were interrupted: asked again next turn.
    again: Vec<Again>,
    catching_up: Option<CatchUp>,
    drain: Option<Drain>,
    stop: Option<Stop>,
    /// Sockets that the ring is closing.
    closing: u32,

    // Kept from turn to turn for their memory.
    events: Vec<Event>,
    due: Vec<u32>,
    out: SessionOutput,
}

/// Timers wait for what handsets sent in time.
#[derive(Debug)]
struct CatchUp {
    since: Millis,
    /// Turns in a row that brought nothing.
    quiet_turns: u8,
}

/// An operation that ended without having done anything, through nobody's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Receive(SocketKey),
    Send(SocketKey),
}

impl<S: Sockets, C: Clock> Shard<S, C> {
    /// A shard that has not yet turned. `seed` is for session ids and for the spread of `retry-after`; neither is a
    /// secret.
    pub(crate) fn new(
        sockets: S,
        mailbox: Mailbox,
        number: u16,
        shared: Arc<Shared>,
        verifier: Arc<Verifier>,
        clock: C,
        seed: u64,
    ) -> Self {
        let now = clock.now();
        let slots = sockets.slots();
        let advertise = shared.config.data.advertise.clone();
        let mut random = Random(seed);
        Self {
            rules: rules(&shared.config, number),
            outbox_bytes_max: outbox_bytes_max(&shared.config, advertise.as_ref()),
            advertise,
            session_ids: random.next(),
            random,
            slots: Slots::new(slots),
            wheel: Wheel::new(slots, now, TICK),
            outboxes: Outboxes::default(),
            proxy_headers: HashMap::new(),
            counters: Counters::new(),
            now,
            accepts_paused_until: None,
            was_full: false,
            accepts_complained: None,
            letters_left: false,
            again: Vec::new(),
            catching_up: None,
            drain: None,
            stop: None,
            closing: 0,
            events: Vec::new(),
            due: Vec::new(),
            out: SessionOutput::default(),
            sockets,
            mailbox,
            number,
            shared,
            verifier,
            clock,
        }
    }

    /// One turn; `false`: the shard has stopped.
    pub(crate) fn turn(&mut self) -> io::Result<bool> {
        self.arm_accepts();
        let wait = self.wait();
        let mut events = std::mem::take(&mut self.events);
        let turned = self.sockets.turn(wait, &mut events);
        self.now = self.clock.now();
        let bytes_came = |event: &Event| matches!(event, Event::Received { result: Ok(_), .. });
        // There may be more behind what a full turn brought, and among it the wake of a letter that nobody should wait for.
        let full = events.len() >= TURN_COMPLETIONS_MAX;
        let brought = full || events.iter().any(bytes_came);
        for event in events.drain(..) {
            self.handle(event);
        }
        self.events = events;
        turned?;
        self.ask_again();
        // Some letters wait for a timer to be due, which they may move: see `Mailbox::leave`.
        let due = self.wheel.next().is_some_and(|next| next <= self.now);
        self.letters_left |= due || full;
        self.read_letters();
        if !self.catches_up(brought) {
            self.serve_timers();
        }
        self.tell_some_to_leave();
        let stopped = self.close_some();
        self.counters.publish(self.sockets.stale());
        Ok(!stopped)
    }

    /// Takes this shard's sessions out of the directory: its ring is gone.
    fn abandon(&mut self) {
        for slot in 0..self.slots.reach() {
            if let Some(key) = self.slots.key_at(slot) {
                self.depart(key, counters::Cause::Reset);
            }
        }
        self.counters.publish(self.sockets.stale());
    }

    /// How long the ring may sleep.
    fn wait(&self) -> Option<Duration> {
        if self.letters_left || !self.again.is_empty() || self.sweeping() {
            return Some(Duration::ZERO);
        }
        let stop = self.stop.as_ref().map(|stop| stop.deadline);
        let next = [self.wheel.next(), self.accepts_paused_until, stop]
            .into_iter()
            .flatten()
            .min()?;
        Some(Duration::from_millis(next.since(self.clock.now()).0))
    }

    /// Keeps accepts armed as long as every one of them has a slot: a connection that this shard cannot hold stays in
    /// the listener's queue for a shard that can.
    fn arm_accepts(&mut self) {
        if self.stop.is_some() {
            return;
        }
        if self
            .accepts_paused_until
            .is_some_and(|until| self.clock.now() < until)
        {
            return;
        }
        self.accepts_paused_until = None;
        if !self.shared.turns.is_up(self.number) {
            return;
        }
        while self.sockets.accepting() < ACCEPTS_MAX && self.sockets.free() > 0 {
            self.sockets.accept();
        }
        if self.sockets.free() == 0
            && !std::mem::replace(&mut self.was_full, true)
            && let Some(next) = self.shared.turns.pass_on()
        {
            self.shared.shards.wake(next);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Accepted { socket, .. } => self.accepted(socket),
            Event::AcceptFailed(errno) => self.accept_failed(errno),
            Event::Readable { socket, watching } => self.readable(socket, watching),
            Event::Writable(socket) => self.writable(socket),
            Event::Received { socket, result } => self.received(socket, result),
            Event::Sent { socket, result } => self.sent(socket, result),
            Event::Closed(_) => self.closing = self.closing.saturating_sub(1),
            Event::Woken => {
                self.mailbox.begin();
                self.letters_left = true;
            }
            // Nothing here ever connects.
            Event::Connected { socket, .. } => self.sockets.reset(socket),
        }
    }

    /// Whether timers have to wait because this shard was held up: what handsets sent in time still lies in their
    /// sockets, and nobody is judged before some turns have `brought` nothing of it.
    fn catches_up(&mut self, brought: bool) -> bool {
        let late = |next: Millis| self.now.since(next) > HELD_UP;
        if !self.wheel.next().is_some_and(late) {
            self.catching_up = None;
            return false;
        }
        let since = self.catching_up.as_ref().map_or(self.now, |up| up.since);
        let quiet_turns = match &self.catching_up {
            Some(up) if !brought && !self.letters_left => up.quiet_turns.saturating_add(1),
            _ => 0,
        };
        self.catching_up = Some(CatchUp { since, quiet_turns });
        quiet_turns < QUIET_TURNS && self.now.since(since) < CATCH_UP_MAX
    }

    fn serve_timers(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.now, &mut due);
        let mut lag = None;
        for slot in due.drain(..) {
            if let Some(key) = self.slots.key_at(slot) {
                lag = lag.max(self.timer(key));
            }
        }
        self.due = due;
        if let Some(lag) = lag {
            self.counters.timers_served(lag);
        }
    }
}

/// Shard `number`'s rules. Its beats lie between those of the others, or all shards would wake at once, each second.
fn rules(config: &Config, number: u16) -> Rules {
    let signaling = &config.signaling;
    // Steps of the golden section lie apart however many they are.
    let offset = Millis(u64::from(number) * 618 % BEAT.0);
    Rules {
        timeout_s: signaling.timeout_min_s..=signaling.timeout_max_s,
        connect_limit: millis(signaling.connect_timeout),
        grace_max: millis(signaling.grace_max),
        beat: Beat {
            every: BEAT,
            offset,
        },
    }
}

/// A handset that comes back is signalled all its requests at once, and each once more at half of their time.
fn outbox_bytes_max(config: &Config, advertise: Option<&HostPort>) -> usize {
    let mut line = Vec::new();
    let signal = Message::RequestPending {
        id: RequestId(0),
        data: advertise.cloned(),
    };
    signal.encode(&mut line);
    let requests = config.ingress.requests_per_handset_max as usize;
    OUTBOX_BYTES_MIN.saturating_add(line.len().saturating_mul(requests).saturating_mul(2))
}

fn millis(duration: Duration) -> Millis {
    Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Spreads and names; not for secrets (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(self.0)
    }
}

/// Another number for each number, and no resemblance left.
fn mixed(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
