//! One act of a rogue, sans-io: what it sends on its connection, and the judgement of what the gateway does about it.
//!
//! Driven by [`super::crowd`], which owns the sockets. The table is PROTOCOL.md's, seen from the other side:
//!
//! | kind | what it does | how it must be met |
//! |---|---|---|
//! | half-line | a part of CONNECT, then nothing | `ERROR code=connect-timeout` within the limit (3.1) |
//! | slow-bytes | CONNECT byte by byte, too slowly | the same |
//! | never-waiting | registers, no first WAITING | the same, and neither KEEPALIVE nor REQUESTPENDING before it (3.2) |
//! | never-data | registers, ignores REQUESTPENDING | signalled again within the wake timeout; its session lives (5.4) |
//! | wrong-id | answers REQUESTPENDING with another id | `ERROR code=unknown-request` on the data channel (5.1); its session lives |
//! | reset | resets its connection at REQUESTPENDING | may register again at once (3.1) |
//! | frozen | registers and waits, then says nothing | KEEPALIVE, then a close without a line after the grace (3.2) |
//! | garbage | bytes that are no line, or none of this place | `ERROR` with the code of section 2, at once |
//! | half-data | a part of DATA on a new data channel, then nothing | a close within the limit (5.1) |
//! | flood | eleven WAITINGs that nobody asked for | `ERROR code=flooding`, at once (3.2) |

use std::borrow::Cow;

use everline_protocol::line::LineReader;
use everline_protocol::session::UNASKED_WAITINGS_MAX;
use everline_protocol::{DataLine, ErrorCode, HostPort, Message, Millis, RequestId};

use super::garbage;
use super::kind::RogueKind;

/// A slow rogue sends a byte no more often than this, so that a thousand of them are no load by themselves.
const BYTE_EVERY_MIN: Millis = Millis(250);

/// How long things may take at the gateway under test, as its configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `signaling.connect_timeout_ms`: to a whole CONNECT, and to the first WAITING; and `data.bind_timeout_ms`.
    pub connect: Millis,
    /// `request.wake_timeout_ms`: how long a request waits for its data channel.
    pub wake: Millis,
    /// How much later than it must something may come before it counts as not come.
    pub slack: Millis,
}

/// What a call on an [`Act`] asks of its owner, who drains it after each call.
#[derive(Debug, Default)]
pub(crate) struct ActOutput {
    /// To be sent on the signaling connection.
    pub(crate) wire: Vec<u8>,
    /// To be sent on the data channel.
    pub(crate) data_wire: Vec<u8>,
    /// To be done, in order, after the bytes were sent. After `End` nothing follows.
    pub(crate) orders: Vec<Order>,
}

/// What an act's owner is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Let requests come to this rogue.
    Enlist,
    /// Open a data channel: there, or to the data port.
    OpenData(Option<HostPort>),
    /// Reset the signaling connection and dial anew.
    ResetAndRedial,
    /// The act is over: close whatever is open.
    End(Outcome),
}

/// How an act ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it must.
    Met,
    /// In this other way.
    Otherwise(Cow<'static, str>),
    /// Before it was a misdeed, for this reason; and how many seconds to stay away, if the gateway said.
    Hindered(Cow<'static, str>, Option<u32>),
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It was never there: the errno's name.
    NotConnected(Cow<'static, str>),
    /// In order.
    Closed,
    /// By a reset, or an error that amounts to one.
    Reset,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Act {
    kind: RogueKind,
    limits: Limits,
    stage: Stage,
    /// When the gateway is too late with what it owes.
    deadline: Millis,
    reader: LineReader,
    data_reader: LineReader,
    /// The ERROR that must come.
    due: Option<ErrorCode>,
    /// The ERROR that came; the close must follow.
    said: Option<ErrorCode>,
    data_said: Option<ErrorCode>,
    /// The keep-alive timeout in force.
    timeout: Millis,
    /// When the request that is ignored was signalled first.
    signalled: Millis,
    /// KEEPALIVE came.
    challenged: bool,
    /// RECONNECT came: the gateway is about to leave.
    draining: bool,
    /// What a slow rogue has yet to send, and when the next byte of it is due.
    slow: Vec<u8>,
    slow_at: Millis,
    slow_every: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Dialling,
    /// CONNECT was sent, whole.
    Registering,
    /// For a request, as an honest handset would.
    Waiting,
    /// A request was signalled, and maybe once more.
    Ignoring {
        id: RequestId,
        again: bool,
    },
    /// A data channel was opened for an id that nobody gave.
    Probing,
    /// It was reset by us, and a new connection is being dialled.
    Redialling,
    /// It registers again after a reset.
    Returning,
    /// The gateway must end it.
    Misbehaving,
    /// BYE was sent: everything else was as it must be.
    Leaving,
    Ended,
}

impl Act {
    /// An act whose connection is being dialled.
    pub(crate) fn new(kind: RogueKind, limits: Limits, now: Millis) -> Self {
        Self {
            kind,
            limits,
            stage: Stage::Dialling,
            deadline: now + limits.connect + limits.slack,
            reader: LineReader::default(),
            data_reader: LineReader::default(),
            due: None,
            said: None,
            data_said: None,
            timeout: Millis(0),
            signalled: Millis(0),
            challenged: false,
            draining: false,
            slow: Vec::new(),
            slow_at: Millis(u64::MAX),
            slow_every: Millis(0),
        }
    }

    /// When [`Act::on_time`] must be called next.
    pub(crate) fn deadline(&self) -> Millis {
        self.deadline.min(self.slow_at)
    }

    /// The signaling connection is there. `connect` is the CONNECT line that an honest handset would send.
    pub(crate) fn on_connected(
        &mut self,
        connect: &[u8],
        random: u64,
        now: Millis,
        out: &mut ActOutput,
    ) {
        self.deadline = now + self.limits.connect + self.limits.slack;
        match self.kind {
            RogueKind::HalfLine => {
                out.wire.extend_from_slice(cut(connect, random));
                self.misbehave(ErrorCode::ConnectTimeout, self.deadline);
            }
            RogueKind::SlowBytes => {
                // Reversed, since it is taken from the end.
                self.slow = connect.iter().rev().copied().collect();
                let twice_too_slow = self.limits.connect.0 * 2 / connect.len().max(1) as u64;
                self.slow_every = BYTE_EVERY_MIN.max(Millis(twice_too_slow));
                self.misbehave(ErrorCode::ConnectTimeout, self.deadline);
                self.send_next_byte(now, out);
            }
            RogueKind::HalfData => {
                let line = DataLine::encode(RequestId(random.into()));
                let cut = cut(&line, random);
                out.wire.extend_from_slice(cut);
                self.misbehave(ErrorCode::ConnectTimeout, self.deadline);
            }
            RogueKind::Garbage => {
                let (bytes, code) = garbage::pick(random);
                out.wire.extend_from_slice(&bytes);
                self.misbehave(code, now + self.limits.slack);
            }
            _ => {
                out.wire.extend_from_slice(connect);
                self.stage = if self.stage == Stage::Redialling {
                    Stage::Returning
                } else {
                    Stage::Registering
                };
            }
        }
    }

    /// Takes what the gateway sent on the signaling connection.
    pub(crate) fn on_input(&mut self, bytes: &[u8], now: Millis, out: &mut ActOutput) {
        let mut rest = bytes;
        // What came together with the signal at which it resets belongs to a connection that is no more.
        while !rest.is_empty() && !matches!(self.stage, Stage::Ended | Stage::Redialling) {
            let message = match self.reader.next(&mut rest) {
                Ok(None) => return,
                Ok(Some(line)) => Message::parse(&line).ok(),
                Err(_too_long) => None,
            };
            match message {
                Some(message) => self.on_message(message, now, out),
                None => self.otherwise("not-a-line", out),
            }
        }
    }

    /// The signaling connection has ended, not by us.
    pub(crate) fn on_gone(&mut self, how: &Gone, out: &mut ActOutput) {
        if let Gone::NotConnected(errno) = how {
            return self.end(
                Outcome::Hindered(format!("connect:{errno}").into(), None),
                out,
            );
        }
        let name = if *how == Gone::Closed {
            "closed"
        } else {
            "reset"
        };
        let outcome = match (self.stage, self.said) {
            (Stage::Ended, _) => return,
            (Stage::Misbehaving, said) if said.is_some() && said == self.due => Outcome::Met,
            (Stage::Leaving, None) => Outcome::Met,
            // PROTOCOL 5.1 asks for no word to whom has not said what it wants.
            (Stage::Misbehaving, None) if self.kind == RogueKind::HalfData => Outcome::Met,
            (_, Some(code)) => Outcome::Otherwise(format!("error:{}", code.name()).into()),
            (Stage::Misbehaving, None) if self.due.is_none() && self.challenged => Outcome::Met,
            (_, None) if self.draining => Outcome::Hindered("draining".into(), None),
            (Stage::Misbehaving, None) if self.due.is_none() => {
                Outcome::Otherwise(format!("{name}-before-keepalive").into())
            }
            (_, None) => Outcome::Otherwise(format!("{name}-without-error").into()),
        };
        self.end(outcome, out);
    }

    /// The data channel is there: it asks for a request that nobody signalled.
    pub(crate) fn on_data_connected(&self, id: RequestId, out: &mut ActOutput) {
        if self.stage == Stage::Probing {
            out.data_wire.extend_from_slice(&DataLine::encode(id));
        }
    }

    /// Takes what the gateway sent on the data channel.
    pub(crate) fn on_data_input(&mut self, bytes: &[u8], out: &mut ActOutput) {
        let mut rest = bytes;
        while !rest.is_empty() && self.stage == Stage::Probing {
            let message = match self.data_reader.next(&mut rest) {
                Ok(None) => return,
                Ok(Some(line)) => Message::parse(&line).ok(),
                Err(_too_long) => None,
            };
            match message {
                Some(Message::Error { code, .. }) if self.data_said.is_none() => {
                    self.data_said = Some(code);
                }
                // A request, of all things, for an id that it was not given.
                _ => self.otherwise("data:bound", out),
            }
        }
    }

    /// The data channel has ended, not by us.
    pub(crate) fn on_data_gone(&mut self, how: &Gone, now: Millis, out: &mut ActOutput) {
        match (self.stage, self.data_said, how) {
            (Stage::Probing, _, Gone::NotConnected(errno)) => {
                let cause = format!("data:connect:{errno}");
                self.end(Outcome::Hindered(cause.into(), None), out);
            }
            (Stage::Probing, Some(ErrorCode::UnknownRequest), _) => self.leave(now, out),
            (Stage::Probing, Some(code), _) => {
                self.otherwise(format!("data:error:{}", code.name()), out);
            }
            (Stage::Probing, None, _) => self.otherwise("data:closed-without-error", out),
            _ => {}
        }
    }

    /// Does what is due at `now`; nothing if nothing is.
    pub(crate) fn on_time(&mut self, now: Millis, out: &mut ActOutput) {
        if now >= self.slow_at && self.stage != Stage::Ended {
            self.send_next_byte(now, out);
        }
        if now < self.deadline {
            return;
        }
        match self.stage {
            Stage::Ended => {}
            _ if self.said.is_some() => self.otherwise("not-closed", out),
            Stage::Dialling | Stage::Redialling => {
                self.end(Outcome::Hindered("connect:timeout".into(), None), out);
            }
            Stage::Registering => self.otherwise("not-answered", out),
            Stage::Waiting => self.otherwise("no-keepalive", out),
            Stage::Ignoring { again: true, .. } => self.leave(now, out),
            Stage::Ignoring { again: false, .. } => self.otherwise("not-signalled-again", out),
            Stage::Probing => self.otherwise("data:not-ended", out),
            Stage::Returning => self.otherwise("not-taken-back", out),
            Stage::Misbehaving => self.otherwise("not-ended", out),
            Stage::Leaving => self.otherwise("not-closed-after-bye", out),
        }
    }

    fn on_message(&mut self, message: Message, now: Millis, out: &mut ActOutput) {
        match message {
            _ if self.said.is_some() => self.otherwise("line-after-error", out),
            Message::Error { code, .. } => {
                self.said = Some(code);
                self.slow_at = Millis(u64::MAX);
                self.deadline = now + self.limits.slack;
            }
            Message::Registered { timeout_s, .. } if self.stage == Stage::Registering => {
                self.timeout = Millis::from_secs(timeout_s);
                self.on_registered(now, out);
            }
            Message::Registered { .. } if self.stage == Stage::Returning => self.leave(now, out),
            // Not registered yet, or not again.
            Message::Refused(refusal)
                if self.timeout == Millis(0) || self.stage == Stage::Returning =>
            {
                let cause = format!("refused:{}", refusal.code.name());
                self.end(Outcome::Hindered(cause.into(), refusal.retry_after_s), out);
            }
            Message::Reconnect { .. } => self.draining = true,
            Message::KeepAlive => self.on_keep_alive(now, out),
            Message::RequestPending { id, data } => self.on_request(id, data, now, out),
            _ => self.otherwise("unexpected-verb", out),
        }
    }

    fn on_registered(&mut self, now: Millis, out: &mut ActOutput) {
        let (limits, timeout) = (self.limits, self.timeout);
        let waitings = match self.kind {
            RogueKind::NeverWaiting => 0,
            RogueKind::Flood => 1 + usize::from(UNASKED_WAITINGS_MAX) + 1,
            _ => 1,
        };
        for _ in 0..waitings {
            Message::Waiting.encode(&mut out.wire);
        }
        match self.kind {
            RogueKind::NeverWaiting => {
                self.misbehave(
                    ErrorCode::ConnectTimeout,
                    now + limits.connect + limits.slack,
                );
            }
            RogueKind::Flood => self.misbehave(ErrorCode::Flooding, now + limits.slack),
            RogueKind::Frozen => {
                self.stage = Stage::Misbehaving;
                // The grace is never longer than the timeout (PROTOCOL 3.2).
                self.deadline = now + timeout + timeout + limits.slack;
            }
            _ => {
                self.stage = Stage::Waiting;
                self.deadline = now + timeout + limits.slack;
            }
        }
        if self.kind.is_requested() {
            out.orders.push(Order::Enlist);
        }
    }

    fn on_keep_alive(&mut self, now: Millis, out: &mut ActOutput) {
        match (self.stage, self.kind) {
            (Stage::Misbehaving, RogueKind::Frozen) if !self.challenged => {
                self.challenged = true;
                self.deadline = now + self.timeout + self.limits.slack;
            }
            (Stage::Misbehaving, RogueKind::NeverWaiting) => {
                self.otherwise("keepalive-before-waiting", out);
            }
            (Stage::Waiting | Stage::Ignoring { .. } | Stage::Probing, _) => {
                Message::Waiting.encode(&mut out.wire);
                if self.stage == Stage::Waiting {
                    self.deadline = now + self.timeout + self.limits.slack;
                }
            }
            // It crossed our BYE, or the WAITINGs of a flood.
            (Stage::Leaving, _) | (Stage::Misbehaving, RogueKind::Flood) => {}
            _ => self.otherwise("unexpected-verb", out),
        }
    }

    fn on_request(
        &mut self,
        id: RequestId,
        data: Option<HostPort>,
        now: Millis,
        out: &mut ActOutput,
    ) {
        match (self.stage, self.kind) {
            (Stage::Waiting, RogueKind::NeverData) => {
                self.stage = Stage::Ignoring { id, again: false };
                self.signalled = now;
                self.deadline = now + self.limits.wake + self.limits.slack;
            }
            (Stage::Waiting, RogueKind::WrongId) => {
                self.stage = Stage::Probing;
                // The channel is to be dialled, and its line to be answered.
                self.deadline = now + self.limits.connect + self.limits.slack;
                out.orders.push(Order::OpenData(data));
            }
            (Stage::Waiting, RogueKind::Reset) => {
                self.stage = Stage::Redialling;
                self.deadline = now + self.limits.connect + self.limits.slack;
                self.reader.clear();
                out.orders.push(Order::ResetAndRedial);
            }
            (Stage::Ignoring { id: first, .. }, _) if first == id => {
                self.stage = Stage::Ignoring { id, again: true };
                // The caller is to be told that the handset is silent, not that it left: the rogue outstays the wake.
                let Limits { wake, slack, .. } = self.limits;
                let outstay = slack.min(Millis(wake.0 / 2));
                self.deadline = self.signalled + wake + outstay;
            }
            (Stage::Misbehaving, RogueKind::NeverWaiting) => {
                self.otherwise("signalled-before-waiting", out);
            }
            // Others of its requests, which fare no better.
            (Stage::Ignoring { .. } | Stage::Probing | Stage::Leaving, _)
            | (Stage::Misbehaving, RogueKind::Frozen | RogueKind::Flood) => {}
            _ => self.otherwise("unexpected-verb", out),
        }
    }

    fn send_next_byte(&mut self, now: Millis, out: &mut ActOutput) {
        out.wire.extend(self.slow.pop());
        self.slow_at = if self.slow.is_empty() {
            Millis(u64::MAX)
        } else {
            now + self.slow_every
        };
    }

    fn misbehave(&mut self, due: ErrorCode, deadline: Millis) {
        self.stage = Stage::Misbehaving;
        self.due = Some(due);
        self.deadline = deadline;
    }

    /// All was as it must be: it goes in order, and that must be taken too.
    fn leave(&mut self, now: Millis, out: &mut ActOutput) {
        Message::Bye.encode(&mut out.wire);
        self.stage = Stage::Leaving;
        self.deadline = now + self.limits.slack;
    }

    fn otherwise(&mut self, cause: impl Into<Cow<'static, str>>, out: &mut ActOutput) {
        self.end(Outcome::Otherwise(cause.into()), out);
    }

    fn end(&mut self, outcome: Outcome, out: &mut ActOutput) {
        if self.stage == Stage::Ended {
            return;
        }
        self.stage = Stage::Ended;
        out.orders.push(Order::End(outcome));
    }
}

/// A part of a line: one byte at least, and never its ending.
fn cut(line: &[u8], random: u64) -> &[u8] {
    let most = line.len().saturating_sub(2).max(1) as u64;
    line.get(..1 + (random % most) as usize).unwrap_or(line)
}

#[cfg(test)]
mod tests;
