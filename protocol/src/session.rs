//! The gateway's side of one signaling connection: registration, waiting, keep-alive and grace, signals, leaving.
//!
//! A shard owns one of these a connection, feeds it what arrives and calls [`Session::on_deadline`] when
//! [`Session::deadline`] has passed. It does not check tokens, know other sessions, or remember pending requests:
//! the shard does the first, and whoever holds the pending requests signals all of them on [`SessionEvent::Ready`].

use std::ops::RangeInclusive;

use crate::{Connect, ErrorCode, HostPort, Millis, Refusal, RequestId, SessionId};

/// What the gateway's configuration says about every session.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Keep-alive timeouts are clamped into this range, seconds.
    pub timeout_s: RangeInclusive<u32>,
    /// CONNECT must be whole, and the first WAITING there, within this span (from the accept, from CONNREGISTERED).
    pub connect_limit: Millis,
    /// After KEEPALIVE a handset has the smaller of this and its timeout to send any line.
    pub grace_max: Millis,
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

/// One signaling connection, as the gateway sees it.
#[derive(Debug)]
pub struct Session {}

#[allow(unused_variables, clippy::todo, clippy::needless_pass_by_ref_mut)]
impl Session {
    /// A connection accepted at `now`.
    pub fn new(now: Millis, rules: &Rules) -> Self {
        todo!()
    }

    /// Takes bytes as they arrived. Never panics, keeps at most one partial line.
    pub fn input(&mut self, bytes: &[u8], now: Millis, rules: &Rules, out: &mut SessionOutput) {
        todo!()
    }

    /// Answers [`SessionEvent::Authenticate`] with CONNREGISTERED; the timeout in force is the asked one, clamped.
    /// Then reads what came behind the CONNECT.
    pub fn admit(&mut self, session: SessionId, now: Millis, rules: &Rules, out: &mut SessionOutput) {
        todo!()
    }

    /// Answers [`SessionEvent::Authenticate`] with CONNREFUSED.
    pub fn refuse(&mut self, refusal: &Refusal, out: &mut SessionOutput) {
        todo!()
    }

    /// Sends REQUESTPENDING and tells `true`; or, before the first WAITING or after the end, sends nothing and tells `false`.
    pub fn signal(&mut self, id: RequestId, data: Option<&HostPort>, out: &mut SessionOutput) -> bool {
        todo!()
    }

    /// The handset opened a data channel for this session: restarts the timer (PROTOCOL 3.2).
    pub fn on_data_channel(&mut self, now: Millis) {
        todo!()
    }

    /// Sends RECONNECT: the gateway is draining. Before registration: nothing.
    pub fn reconnect(&mut self, after: Millis, to: Option<&HostPort>, out: &mut SessionOutput) {
        todo!()
    }

    /// Ends the session with an ERROR line: `replaced`, `revoked`, `internal`.
    pub fn end(&mut self, code: ErrorCode, out: &mut SessionOutput) {
        todo!()
    }

    /// When [`Session::on_deadline`] must be called next; moves with every call above. `None` once it has ended.
    pub fn deadline(&self) -> Option<Millis> {
        todo!()
    }

    /// Does what is due at `now`; nothing if nothing is.
    pub fn on_deadline(&mut self, now: Millis, rules: &Rules, out: &mut SessionOutput) {
        todo!()
    }

    /// Whether CONNREGISTERED was sent and the session has not ended.
    pub fn is_registered(&self) -> bool {
        todo!()
    }

    /// Whether REQUESTPENDING may be sent: registered, and the first WAITING has come.
    pub fn is_ready(&self) -> bool {
        todo!()
    }

    /// The keep-alive timeout in force, seconds; 0 before registration.
    pub fn timeout_s(&self) -> u32 {
        todo!()
    }
}
