//! The handset's side of one signaling connection: register, wait, answer KEEPALIVE, hear of requests, leave.
//!
//! The agent and the load generator own one a connection. It opens no data channels and does not reconnect: the
//! owner does, told by the events and by [`crate::Backoff`].

use crate::{ErrorCode, HostPort, Millis, Msisdn, Refusal, RequestId, SessionId};

/// What a handset says of itself in CONNECT.
#[derive(Clone)]
pub struct Identity {
    /// Its number.
    pub msisdn: Msisdn,
    /// JWT whose `sub` is the number.
    pub token: String,
    /// Keep-alive interval to ask for, seconds.
    pub timeout_s: u32,
    /// Seconds for which it keeps an idle data channel; 0: never.
    pub linger_s: u32,
    /// `name/version`, if it wants to tell.
    pub agent: Option<String>,
}

/// What a call on a [`Handset`] produced. The owner keeps one, and drains it after each call.
#[derive(Debug, Default)]
pub struct HandsetOutput {
    /// Bytes to send, in order.
    pub wire: Vec<u8>,
    /// What happened, in order. After `Refused`, `Closed`, `BadGateway` or `Silent` nothing follows: the owner closes.
    pub events: Vec<HandsetEvent>,
}

/// What the owner has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandsetEvent {
    /// CONNREGISTERED came, and WAITING is in `wire`: the session is live.
    Registered {
        /// As the gateway named it.
        session: SessionId,
        /// The timeout in force, seconds.
        timeout_s: u32,
    },
    /// KEEPALIVE came, and WAITING is in `wire`.
    KeepAlive,
    /// Open a data channel for this id, without waiting for others.
    RequestPending {
        /// To be sent in DATA.
        id: RequestId,
        /// Where to; absent: the signaling address, on the data port.
        data: Option<HostPort>,
    },
    /// Wait `after`, register a new connection (to `to` if given), and only then close this one.
    Reconnect {
        /// How long to wait first.
        after: Millis,
        /// Where to; absent: the same address.
        to: Option<HostPort>,
    },
    /// CONNREFUSED.
    Refused(Refusal),
    /// ERROR from the gateway.
    Closed(ErrorCode),
    /// The gateway broke the protocol in this way.
    BadGateway(ErrorCode),
    /// No answer to CONNECT in time, or no KEEPALIVE long after one was due: the connection is dead.
    Silent,
}

/// One signaling connection, as the handset sees it.
#[derive(Debug)]
pub struct Handset {}

#[allow(unused_variables, clippy::todo, clippy::needless_pass_by_ref_mut)]
impl Handset {
    /// A connection that has just been established: CONNECT goes into `out`. `answer_limit` bounds the wait for
    /// the answer, and is the slack granted to a KEEPALIVE that is due.
    pub fn connect(identity: &Identity, now: Millis, answer_limit: Millis, out: &mut HandsetOutput) -> Self {
        todo!()
    }

    /// Takes bytes as they arrived. Never panics, keeps at most one partial line.
    pub fn input(&mut self, bytes: &[u8], now: Millis, out: &mut HandsetOutput) {
        todo!()
    }

    /// A data channel was opened for this session; the gateway restarts its timer, and so does the handset.
    pub fn on_data_channel(&mut self, now: Millis) {
        todo!()
    }

    /// Leaves on purpose: BYE goes into `out`; the owner sends it and closes.
    pub fn bye(&mut self, out: &mut HandsetOutput) {
        todo!()
    }

    /// When [`Handset::on_deadline`] must be called next; `None` once it has ended.
    pub fn deadline(&self) -> Option<Millis> {
        todo!()
    }

    /// Does what is due at `now`; nothing if nothing is.
    pub fn on_deadline(&mut self, now: Millis, out: &mut HandsetOutput) {
        todo!()
    }

    /// Whether CONNREGISTERED has come and the session has not ended.
    pub fn is_registered(&self) -> bool {
        todo!()
    }
}
