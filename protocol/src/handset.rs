//! The handset's side of one signaling connection: register, wait, answer KEEPALIVE, hear of requests, leave.
//!
//! The agent and the load generator own one a connection. It opens no data channels and does not reconnect: the
//! owner does, told by the events and by [`crate::Backoff`].

use crate::line::{Line, LineReader, Verb};
use crate::message::{self, Fault, Message};
use crate::{Connect, ErrorCode, HostPort, Millis, Msisdn, Refusal, RequestId, SessionId};

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

/// One signaling connection, as the handset sees it. 32 bytes, and no heap while no line is half received: a load
/// generator holds a million of them.
#[derive(Debug)]
pub struct Handset {
    reader: LineReader,
    /// When the gateway counts as silent.
    deadline: Millis,
    answer_limit: Millis,
    timeout_s: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// CONNECT was sent.
    Connecting,
    /// CONNREGISTERED came.
    Live,
    /// Refused, closed, silent, or left.
    Ended,
}

impl Handset {
    /// A connection that has just been established: CONNECT goes into `out`. `answer_limit` bounds the wait for
    /// the answer, and is the slack granted to a KEEPALIVE that is due.
    pub fn connect(
        identity: &Identity,
        now: Millis,
        answer_limit: Millis,
        out: &mut HandsetOutput,
    ) -> Self {
        let connect = Connect {
            msisdn: identity.msisdn,
            timeout_s: identity.timeout_s,
            token: identity.token.clone(),
            linger_s: identity.linger_s,
            agent: identity.agent.clone(),
        };
        connect.encode(&mut out.wire);
        Self {
            reader: LineReader::default(),
            deadline: now + answer_limit,
            answer_limit,
            timeout_s: 0,
            state: State::Connecting,
        }
    }

    /// Takes bytes as they arrived. Never panics, keeps at most one partial line.
    ///
    /// A gateway that breaks the protocol gets an ERROR line (PROTOCOL section 2) and the owner
    /// [`HandsetEvent::BadGateway`].
    pub fn input(&mut self, bytes: &[u8], now: Millis, out: &mut HandsetOutput) {
        let mut rest = bytes;
        while !rest.is_empty() && self.state != State::Ended {
            let read = match self.reader.next(&mut rest) {
                Ok(None) => return,
                Ok(Some(line)) => self.line(&line, now, out),
                Err(code) => Err(code),
            };
            if let Err(code) = read {
                message::encode_error(code, &mut out.wire);
                self.close(HandsetEvent::BadGateway(code), out);
            }
        }
    }

    /// A data channel was opened for this session; the gateway restarts its timer, and so does the handset.
    pub fn on_data_channel(&mut self, now: Millis) {
        if self.is_registered() {
            self.restart(now);
        }
    }

    /// Leaves on purpose: BYE goes into `out`; the owner sends it and closes.
    pub fn bye(&mut self, out: &mut HandsetOutput) {
        if self.state != State::Ended {
            Message::Bye.encode(&mut out.wire);
            self.end();
        }
    }

    /// When [`Handset::on_deadline`] must be called next; `None` once it has ended.
    pub fn deadline(&self) -> Option<Millis> {
        (self.state != State::Ended).then_some(self.deadline)
    }

    /// Does what is due at `now`; nothing if nothing is.
    pub fn on_deadline(&mut self, now: Millis, out: &mut HandsetOutput) {
        if self.state != State::Ended && now >= self.deadline {
            self.close(HandsetEvent::Silent, out);
        }
    }

    /// Whether CONNREGISTERED has come and the session has not ended.
    pub fn is_registered(&self) -> bool {
        self.state == State::Live
    }

    /// Bytes of heap in use: 0 while no line is half received, never more than [`crate::LINE_BYTES_MAX`].
    pub fn heap_bytes(&self) -> usize {
        self.reader.heap_bytes()
    }

    fn line(&mut self, line: &[u8], now: Millis, out: &mut HandsetOutput) -> Result<(), ErrorCode> {
        let line = Line::parse(line)?;
        let expected = match self.state {
            State::Connecting => matches!(
                line.verb(),
                Verb::ConnRegistered | Verb::ConnRefused | Verb::Error
            ),
            State::Live => {
                matches!(
                    line.verb(),
                    Verb::KeepAlive | Verb::RequestPending | Verb::Reconnect | Verb::Error
                )
            }
            State::Ended => false,
        };
        if !expected {
            return Err(ErrorCode::UnexpectedVerb);
        }
        let message = Message::read(&line).map_err(|fault| match fault {
            Fault::Broken(code) => code,
            Fault::Refused(_) => ErrorCode::BadLine,
        })?;
        match message {
            Message::Registered { session, timeout_s } => {
                self.state = State::Live;
                self.timeout_s = timeout_s;
                Message::Waiting.encode(&mut out.wire);
                out.events
                    .push(HandsetEvent::Registered { session, timeout_s });
            }
            Message::KeepAlive => {
                Message::Waiting.encode(&mut out.wire);
                out.events.push(HandsetEvent::KeepAlive);
            }
            Message::RequestPending { id, data } => {
                out.events.push(HandsetEvent::RequestPending { id, data });
            }
            Message::Reconnect { after, to } => {
                out.events.push(HandsetEvent::Reconnect { after, to });
            }
            Message::Refused(refusal) => {
                self.close(HandsetEvent::Refused(refusal), out);
            }
            Message::Error { code, .. } => self.close(HandsetEvent::Closed(code), out),
            Message::Connect(_) | Message::Waiting | Message::Bye | Message::Data(_) => {
                return Err(ErrorCode::UnexpectedVerb);
            }
        }
        self.restart(now);
        Ok(())
    }

    /// The gateway's own timer restarts at lines that we send, ours at lines either way: it is never the earlier one.
    fn restart(&mut self, now: Millis) {
        self.deadline = now + Millis::from_secs(self.timeout_s) + self.answer_limit;
    }

    fn close(&mut self, why: HandsetEvent, out: &mut HandsetOutput) {
        out.events.push(why);
        self.end();
    }

    fn end(&mut self) {
        self.state = State::Ended;
        self.reader.clear();
    }
}
