//! The gateway's side of one signaling connection: registration, waiting, keep-alive and grace, signals, leaving.
//!
//! A shard owns one of these a connection, feeds it what arrives and calls [`Session::on_deadline`] when
//! [`Session::deadline`] has passed. It does not check tokens, know other sessions, or remember pending requests:
//! the shard does the first, and whoever holds the pending requests signals all of them on [`SessionEvent::Ready`].

use std::ops::RangeInclusive;

use crate::line::{Line, LineReader, Verb};
use crate::message::{self, Fault, Message};
use crate::{Connect, ErrorCode, HostPort, Millis, Refusal, RequestId, SessionId};

/// Unasked WAITINGs that a handset may send in [`FLOOD_WINDOW`] (PROTOCOL 3.2).
pub const UNASKED_WAITINGS_MAX: u8 = 10;

/// Counted from the first unasked WAITING on; the next one after its end begins a new window.
pub const FLOOD_WINDOW: Millis = Millis::from_secs(60);

/// What the gateway's configuration says about every session.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Keep-alive timeouts are clamped into this range, seconds.
    pub timeout_s: RangeInclusive<u32>,
    /// CONNECT must be whole, and the first WAITING there, within this span (from the accept, from CONNREGISTERED).
    pub connect_limit: Millis,
    /// After KEEPALIVE a handset has the smaller of this and its timeout to send any line.
    pub grace_max: Millis,
    /// When KEEPALIVEs are sent together.
    pub beat: Beat,
}

/// The moments on which a gateway sends its KEEPALIVEs: sessions that share one cost it one wake, not one each. A
/// KEEPALIVE comes early by less than one beat, never late; a timeout shorter than [`BEATS_MIN`] beats is kept exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Beat {
    /// From one to the next; 0: each session has its own moment.
    pub every: Millis,
    /// Shifts them, so that several owners with one clock do not all wake at once.
    pub offset: Millis,
}

/// Least number of beats in a timeout that is cut to a beat: it is shortened by a tenth at most.
pub const BEATS_MIN: u64 = 10;

impl Beat {
    /// The last beat that is not behind `due`, for a session whose timeout is `timeout`.
    fn before(self, due: Millis, timeout: Millis) -> Millis {
        if self.every.0 == 0 || timeout.0 / self.every.0 < BEATS_MIN {
            return due;
        }
        let behind = due
            .0
            .saturating_add(self.every.0 - self.offset.0 % self.every.0)
            % self.every.0;
        Millis(due.0.saturating_sub(behind))
    }
}

/// What a call on a [`Session`] produced. The owner keeps one, and drains it after each call.
#[derive(Debug, Default)]
pub struct SessionOutput {
    /// Bytes to send, in order.
    pub wire: Vec<u8>,
    /// What happened, in order. After [`SessionEvent::Refused`], `Left`, `Broken` or `Dead` nothing follows:
    /// the owner sends `wire` and closes.
    pub events: Vec<SessionEvent>,
}

/// What the owner has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// A well-formed CONNECT: answer at once with [`Session::admit`] or [`Session::refuse`]. Input that came behind
    /// it is kept and read by `admit`.
    Authenticate(Box<Connect>),
    /// A CONNECT was malformed, or the owner refused it: CONNREFUSED is in `wire`.
    Refused(crate::RefusalCode),
    /// The first WAITING: signal every pending request of this handset.
    Ready,
    /// KEEPALIVE is in `wire`.
    KeepAliveSent,
    /// The handset answered a KEEPALIVE.
    KeepAliveAnswered,
    /// BYE.
    Left,
    /// Closed for this reason: ERROR is in `wire`. The handset's protocol error, or the owner's [`Session::end`].
    Broken(ErrorCode),
    /// No line within the grace: close without one.
    Dead,
}

/// One signaling connection, as the gateway sees it. 32 bytes, and no heap while no line is half received: a gateway
/// holds a million of them.
#[derive(Debug)]
pub struct Session {
    reader: LineReader,
    deadline: Millis,
    /// When the current [`FLOOD_WINDOW`] began.
    window_start: Millis,
    timeout_s: u32,
    state: State,
    /// Unasked WAITINGs in the current window.
    unasked: u8,
    /// KEEPALIVEs whose WAITING is still to come: a data channel restarts the timer but answers none of them.
    owed: u8,
    /// By how many [`EARLY_PARTS`] of the timeout the first KEEPALIVE comes early; 0 once its timer has begun.
    early: u8,
}

/// See [`Session::hasten`].
const EARLY_PARTS: u64 = 512;

/// Where a session is, and so what its deadline means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// CONNECT must be whole by the deadline.
    Connecting,
    /// CONNECT came; the owner must admit or refuse it by the deadline.
    Authenticating,
    /// The first WAITING must come by the deadline.
    Registered,
    /// KEEPALIVE is due at the deadline.
    Waiting,
    /// KEEPALIVE was sent: the session is dead at the deadline.
    Challenged,
    /// Refused, left, broken or dead.
    Ended,
}

impl Session {
    /// A connection accepted at `now`.
    pub fn new(now: Millis, rules: &Rules) -> Self {
        Self {
            reader: LineReader::default(),
            deadline: now + rules.connect_limit,
            window_start: now,
            timeout_s: 0,
            state: State::Connecting,
            unasked: 0,
            owed: 0,
            early: 0,
        }
    }

    /// Takes bytes as they arrived. Never panics, keeps at most one partial line.
    ///
    /// While a CONNECT awaits its answer, up to [`crate::LINE_BYTES_MAX`] bytes behind it are kept for
    /// [`Session::admit`]; more is [`ErrorCode::LineTooLong`]: a handset has no cause to send but a WAITING or a BYE
    /// there. The time of a line is `now`, even if the deadline has passed and [`Session::on_deadline`] was not called.
    pub fn input(&mut self, bytes: &[u8], now: Millis, rules: &Rules, out: &mut SessionOutput) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.state {
                State::Ended => return,
                State::Authenticating => {
                    if let Err(code) = self.reader.hold(rest) {
                        self.end(code, out);
                    }
                    return;
                }
                State::Connecting | State::Registered | State::Waiting | State::Challenged => {}
            }
            match self.reader.next(&mut rest) {
                Ok(None) => return,
                Ok(Some(line)) => {
                    if let Err(fault) = self.line(&line, now, rules, out) {
                        self.answer(fault, out);
                    }
                }
                Err(code) => self.end(code, out),
            }
        }
    }

    /// Lets the first KEEPALIVE of the session come early, by `early` 512ths of the timeout: less than half of it. With a
    /// random `early`, given before [`Session::admit`], handsets that registered together are not asked together; from
    /// then on each keeps the place that it got.
    pub fn hasten(&mut self, early: u8) {
        self.early = early;
    }

    /// Answers [`SessionEvent::Authenticate`] with CONNREGISTERED; the timeout in force is the asked one, clamped.
    /// Then reads what came behind the CONNECT. Without a CONNECT to answer: nothing.
    pub fn admit(
        &mut self,
        session: SessionId,
        now: Millis,
        rules: &Rules,
        out: &mut SessionOutput,
    ) {
        if self.state != State::Authenticating {
            return;
        }
        // Not Ord::clamp, which panics on an empty range: rules are data.
        self.timeout_s = self
            .timeout_s
            .max(*rules.timeout_s.start())
            .min(*rules.timeout_s.end())
            .max(1);
        self.state = State::Registered;
        self.deadline = now + rules.connect_limit;
        Message::Registered {
            session,
            timeout_s: self.timeout_s,
        }
        .encode(&mut out.wire);
        let behind = self.reader.take();
        self.input(&behind, now, rules, out);
    }

    /// Answers [`SessionEvent::Authenticate`] with CONNREFUSED. Without a CONNECT to answer: nothing.
    pub fn refuse(&mut self, refusal: &Refusal, out: &mut SessionOutput) {
        if self.state != State::Authenticating {
            return;
        }
        refusal.encode(&mut out.wire);
        self.close(SessionEvent::Refused(refusal.code), out);
    }

    /// Sends REQUESTPENDING and tells `true`; or, before the first WAITING or after the end, sends nothing and tells
    /// `false` (PROTOCOL 3.2, 3.3).
    pub fn signal(
        &mut self,
        id: RequestId,
        data: Option<&HostPort>,
        out: &mut SessionOutput,
    ) -> bool {
        if self.is_ready() {
            message::encode_request_pending(id, data, &mut out.wire);
        }
        self.is_ready()
    }

    /// The handset opened a data channel for this session, `at` this time, which may have passed: restarts the timer
    /// (PROTOCOL 3.2), and puts nothing forward that a later line has put off. A WAITING that it owes for a KEEPALIVE stays
    /// owed. The wait for the first WAITING is not prolonged.
    pub fn on_data_channel(&mut self, at: Millis) {
        if self.is_ready() {
            let due = self.deadline;
            // Back on a beat with the WAITING that follows.
            self.restart(at, Beat::default());
            self.deadline = self.deadline.max(due);
        }
    }

    /// Sends RECONNECT: the gateway is draining (PROTOCOL 3.4). Before registration: nothing.
    pub fn reconnect(&mut self, after: Millis, to: Option<&HostPort>, out: &mut SessionOutput) {
        if self.is_registered() {
            message::encode_reconnect(after, to, &mut out.wire);
        }
    }

    /// Ends the session with an ERROR line: `replaced`, `revoked`, `internal`.
    pub fn end(&mut self, code: ErrorCode, out: &mut SessionOutput) {
        if self.state == State::Ended {
            return;
        }
        message::encode_error(code, &mut out.wire);
        self.close(SessionEvent::Broken(code), out);
    }

    /// When [`Session::on_deadline`] must be called next; moves with every call above. `None` once it has ended.
    pub fn deadline(&self) -> Option<Millis> {
        (self.state != State::Ended).then_some(self.deadline)
    }

    /// Does what is due at `now`; nothing if nothing is.
    ///
    /// An owner that has not answered [`SessionEvent::Authenticate`] within the connect limit is our fault, not the
    /// handset's: the session then ends as `internal`.
    pub fn on_deadline(&mut self, now: Millis, rules: &Rules, out: &mut SessionOutput) {
        if now < self.deadline {
            return;
        }
        match self.state {
            State::Connecting | State::Registered => self.end(ErrorCode::ConnectTimeout, out),
            State::Authenticating => self.end(ErrorCode::Internal, out),
            State::Waiting => {
                Message::KeepAlive.encode(&mut out.wire);
                out.events.push(SessionEvent::KeepAliveSent);
                self.owed = self.owed.saturating_add(1);
                self.state = State::Challenged;
                self.deadline = now + rules.grace_max.min(Millis::from_secs(self.timeout_s));
            }
            State::Challenged => self.close(SessionEvent::Dead, out),
            State::Ended => {}
        }
    }

    /// Whether CONNREGISTERED was sent and the session has not ended.
    pub fn is_registered(&self) -> bool {
        self.state == State::Registered || self.is_ready()
    }

    /// Whether REQUESTPENDING may be sent: registered, and the first WAITING has come.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Waiting | State::Challenged)
    }

    /// The keep-alive timeout in force, seconds; 0 before registration.
    pub fn timeout_s(&self) -> u32 {
        // Until then the field holds what the handset asked for.
        if self.state == State::Authenticating {
            0
        } else {
            self.timeout_s
        }
    }

    /// Bytes of heap in use: 0 while no line is half received, never more than [`crate::LINE_BYTES_MAX`].
    pub fn heap_bytes(&self) -> usize {
        self.reader.heap_bytes()
    }

    fn line(
        &mut self,
        line: &[u8],
        now: Millis,
        rules: &Rules,
        out: &mut SessionOutput,
    ) -> Result<(), Fault> {
        let line = Line::parse(line)?;
        match (self.state, line.verb()) {
            (State::Connecting, Verb::Connect) => {
                let Message::Connect(connect) = Message::read(&line)? else {
                    return Err(Fault::Broken(ErrorCode::Internal));
                };
                self.timeout_s = connect.timeout_s;
                self.state = State::Authenticating;
                self.deadline = now + rules.connect_limit;
                out.events
                    .push(SessionEvent::Authenticate(Box::new(connect)));
            }
            (State::Registered, Verb::Waiting) => {
                self.restart(now, rules.beat);
                out.events.push(SessionEvent::Ready);
            }
            (State::Waiting | State::Challenged, Verb::Waiting) => {
                self.waiting(now, rules.beat, out)?;
            }
            (State::Registered | State::Waiting | State::Challenged, Verb::Bye) => {
                self.close(SessionEvent::Left, out);
            }
            _ => return Err(Fault::Broken(ErrorCode::UnexpectedVerb)),
        }
        Ok(())
    }

    fn waiting(&mut self, now: Millis, beat: Beat, out: &mut SessionOutput) -> Result<(), Fault> {
        self.restart(now, beat);
        if self.owed > 0 {
            self.owed -= 1;
            out.events.push(SessionEvent::KeepAliveAnswered);
            return Ok(());
        }
        if self.unasked == 0 || now.since(self.window_start) >= FLOOD_WINDOW {
            self.window_start = now;
            self.unasked = 0;
        }
        self.unasked = self.unasked.saturating_add(1);
        if self.unasked > UNASKED_WAITINGS_MAX {
            return Err(Fault::Broken(ErrorCode::Flooding));
        }
        Ok(())
    }

    fn restart(&mut self, now: Millis, beat: Beat) {
        self.state = State::Waiting;
        let timeout = Millis::from_secs(self.timeout_s);
        let early = Millis(timeout.0 * u64::from(std::mem::take(&mut self.early)) / EARLY_PARTS);
        self.deadline = beat.before(now + timeout.since(early), timeout);
    }

    fn answer(&mut self, fault: Fault, out: &mut SessionOutput) {
        match fault {
            Fault::Broken(code) => self.end(code, out),
            Fault::Refused(code) => {
                Refusal::new(code).encode(&mut out.wire);
                self.close(SessionEvent::Refused(code), out);
            }
        }
    }

    fn close(&mut self, why: SessionEvent, out: &mut SessionOutput) {
        out.events.push(why);
        self.state = State::Ended;
        self.reader.clear();
    }
}
