//! The data channels of a fleet: one is opened for each REQUESTPENDING, and answers the request that comes on it.
//!
//! The HTTP is in `http`; here is when a channel opens and closes (PROTOCOL section 5), and what is counted.

use std::borrow::Cow;
use std::net::SocketAddr;

use everline_protocol::{DataLine, HostPort, Millis, RequestId};
use everline_uring::{Errno, Lease, Sockets};

use crate::answer::Answer;
use crate::books::errno_name;
use crate::fleet::{Conn, Fleet};
use crate::http::{BadRequest, Progress, Request, RequestReader};
use crate::pipe::{EAGAIN, ECONNRESET, Pipe, Sent};

/// Requests that may wait for a slot of the ring, and for how long (the gateway's default wake timeout).
const WANTED_MAX: usize = 16_384;
const WANTED_LIMIT: Millis = Millis(10_000);
const CONNECT_LIMIT: Millis = Millis(10_000);
/// Between two pieces of a request, or of an answer that the gateway takes.
const STALL_LIMIT: Millis = Millis(60_000);
/// The gateway closes a channel after its last answer; one that it does not close is closed by the handset.
const CLOSE_LIMIT: Millis = Millis(5_000);

/// A request that waits for the next step, or for a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    phone: u32,
    id: RequestId,
    to: SocketAddr,
    since: Millis,
}

/// One data channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) pipe: Pipe,
    phone: u32,
    id: RequestId,
    stage: Stage,
    reader: RequestReader,
    /// What came behind the request that is being answered.
    inbox: Vec<u8>,
    served: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Reading,
    Answering {
        keep_alive: bool,
        body_bytes: u64,
    },
    /// The last answer is out: the gateway closes.
    Closing,
}

impl<S: Sockets> Fleet<S> {
    pub(crate) fn on_request_pending(
        &mut self,
        phone: u32,
        id: RequestId,
        told: Option<&HostPort>,
    ) {
        self.books.channels.wakes += 1;
        if self.leaving {
            return self.books.channels.not_opened.count("run-ended");
        }
        let to = match told {
            Some(told) => self.plan.targets.resolve(told),
            None => Some(self.plan.data),
        };
        let Some(to) = to else {
            return self.books.channels.not_opened.count("address-refused");
        };
        if self.wanted.len() == WANTED_MAX {
            return self.books.channels.not_opened.count("no-slot");
        }
        self.books.channels.queued += 1;
        let since = self.now();
        self.wanted.push_back(Wanted {
            phone,
            id,
            to,
            since,
        });
    }

    /// Opens channels for the requests that came, as far as slots are free.
    pub(crate) fn open_wanted(&mut self) {
        while let Some(wanted) = self.wanted.front().copied() {
            if self.now().since(wanted.since) > WANTED_LIMIT {
                self.books.channels.not_opened.count("no-slot");
            } else if !self.open_channel(&wanted) {
                return;
            }
            self.wanted.pop_front();
            self.books.channels.queued -= 1;
        }
    }

    pub(crate) fn drop_wanted(&mut self) {
        for _ in self.wanted.drain(..) {
            self.books.channels.queued -= 1;
            self.books.channels.not_opened.count("run-ended");
        }
    }

    pub(crate) fn on_channel_connected(&mut self, slot: u32, result: Result<(), Errno>) {
        if let Err(errno) = result {
            return self.fail_channel(slot, format!("connect:{}", errno_name(errno)));
        }
        let Conn::Data(channel) = &mut self.conns[slot as usize] else {
            return;
        };
        channel.stage = Stage::Reading;
        self.sockets.watch(channel.pipe.key);
        channel
            .pipe
            .push(&DataLine::encode(channel.id), &mut self.sockets);
        let phone = channel.phone;
        self.on_data_channel(phone);
        self.set_slot_timer(slot, self.now() + STALL_LIMIT);
    }

    /// Something came. Behind the last answer that can only be the gateway's close, which need not be fetched.
    pub(crate) fn on_channel_readable(&mut self, slot: u32, watching: bool) {
        let Conn::Data(channel) = &mut self.conns[slot as usize] else {
            return;
        };
        if channel.stage == Stage::Closing {
            self.end_channel(slot, None);
        } else {
            channel.pipe.readable(watching, &mut self.sockets);
        }
    }

    pub(crate) fn on_channel_received(&mut self, slot: u32, result: Result<Lease, Errno>) {
        let Conn::Data(channel) = &mut self.conns[slot as usize] else {
            return;
        };
        match result {
            Ok(lease) => {
                let (bytes, more) = (self.sockets.bytes(&lease), lease.more());
                let is_end = bytes.is_empty();
                channel.inbox.extend_from_slice(bytes);
                self.sockets.release(lease);
                if is_end {
                    return self.on_channel_eof(slot);
                }
                self.read_requests(slot);
                if let Conn::Data(channel) = &mut self.conns[slot as usize] {
                    channel.pipe.received(more, &mut self.sockets);
                }
            }
            Err(Errno(EAGAIN)) => channel.pipe.received(false, &mut self.sockets),
            Err(_) if channel.is_idle() => self.end_channel(slot, None),
            Err(Errno(ECONNRESET)) => self.fail_channel(slot, "reset"),
            Err(errno) => self.fail_channel(slot, format!("receive:{}", errno_name(errno))),
        }
    }

    pub(crate) fn on_channel_sent(&mut self, slot: u32, result: Result<u32, Errno>) {
        let now = self.now();
        let Conn::Data(channel) = &mut self.conns[slot as usize] else {
            return;
        };
        match (channel.pipe.sent(result, &mut self.sockets), channel.stage) {
            (Sent::Broken(_), _) if channel.is_idle() => self.end_channel(slot, None),
            (Sent::Broken(errno), _) => {
                self.fail_channel(slot, format!("send:{}", errno_name(errno)));
            }
            (
                Sent::Drained,
                Stage::Answering {
                    keep_alive,
                    body_bytes,
                },
            ) => {
                self.books.channels.served += 1;
                self.books.channels.body_bytes_out += body_bytes;
                channel.served = true;
                channel.stage = if keep_alive {
                    Stage::Reading
                } else {
                    Stage::Closing
                };
                channel.pipe.resume(&mut self.sockets);
                let limit = if keep_alive {
                    Millis::from_secs(self.plan.linger_s)
                } else {
                    CLOSE_LIMIT
                };
                self.set_slot_timer(slot, now + limit);
                self.read_requests(slot);
            }
            (Sent::More, Stage::Answering { .. }) => self.set_slot_timer(slot, now + STALL_LIMIT),
            (Sent::More | Sent::Drained, _) => {}
        }
    }

    pub(crate) fn on_channel_timer(&mut self, slot: u32) {
        let Conn::Data(channel) = &self.conns[slot as usize] else {
            return;
        };
        match channel.stage {
            _ if channel.is_idle() => self.end_channel(slot, None),
            Stage::Connecting => self.fail_channel(slot, "connect:timeout"),
            Stage::Answering { .. } => self.fail_channel(slot, "answer-timeout"),
            Stage::Reading | Stage::Closing => self.fail_channel(slot, "request-timeout"),
        }
    }

    pub(crate) fn leave_channel(&mut self, slot: u32) {
        let Conn::Data(channel) = &self.conns[slot as usize] else {
            return;
        };
        let cause = (!channel.is_idle()).then_some("run-ended".into());
        self.end_channel(slot, cause);
    }

    /// `false` if no slot is free.
    fn open_channel(&mut self, wanted: &Wanted) -> bool {
        let from = self.next_data_source(wanted.to);
        let Some(key) = self.sockets.connect(from, wanted.to) else {
            return false;
        };
        let channel = Channel {
            pipe: Pipe::new(key),
            phone: wanted.phone,
            id: wanted.id,
            stage: Stage::Connecting,
            reader: RequestReader::default(),
            inbox: Vec::new(),
            served: false,
        };
        self.conns[key.slot as usize] = Conn::Data(Box::new(channel));
        self.books.channels.opened += 1;
        self.books.channels.open += 1;
        self.set_slot_timer(key.slot, self.now() + CONNECT_LIMIT);
        true
    }

    /// Reads what is in the inbox, up to the end of one request, and answers that.
    fn read_requests(&mut self, slot: u32) {
        let now = self.now();
        let Conn::Data(channel) = &mut self.conns[slot as usize] else {
            return;
        };
        let mut inbox = std::mem::take(&mut channel.inbox);
        let mut at = 0;
        while channel.stage == Stage::Reading && at < inbox.len() {
            let (used, progress) = channel.reader.input(&inbox[at..]);
            at += used;
            match progress {
                Ok(Progress::More) => {}
                Ok(Progress::ExpectsContinue) => {
                    channel
                        .pipe
                        .push(b"HTTP/1.1 100 Continue\r\n\r\n", &mut self.sockets);
                }
                Ok(Progress::Whole(request)) => {
                    channel.pipe.pause();
                    self.books.channels.body_bytes_in += request.body_bytes;
                    let msisdn = self.roster.msisdn(self.share.first + channel.phone);
                    channel.answer(&request, msisdn, &self.plan, &mut self.sockets);
                }
                Err(bad) => return self.fail_channel(slot, bad_request(bad)),
            }
        }
        inbox.drain(..at);
        if channel.stage == Stage::Closing {
            inbox.clear(); // Nobody will answer it, and the gateway may send as much of it as it likes.
        }
        if !inbox.is_empty() {
            channel.inbox = inbox;
        }
        // An idle channel that had been served before keeps the time of its linger.
        if at > 0 {
            self.set_slot_timer(slot, now + STALL_LIMIT);
        }
    }

    fn on_channel_eof(&mut self, slot: u32) {
        let Conn::Data(channel) = &self.conns[slot as usize] else {
            return;
        };
        match channel.stage {
            _ if channel.is_idle() => self.end_channel(slot, None),
            Stage::Answering { .. } => self.fail_channel(slot, "eof-in-answer"),
            _ if channel.reader.is_midway() => self.fail_channel(slot, "eof-in-request"),
            _ => self.fail_channel(slot, "eof-before-request"),
        }
    }

    fn fail_channel(&mut self, slot: u32, cause: impl Into<Cow<'static, str>>) {
        self.end_channel(slot, Some(cause.into()));
    }

    fn end_channel(&mut self, slot: u32, failed: Option<Cow<'static, str>>) {
        let Some(conn) = self.conns.get_mut(slot as usize) else {
            return;
        };
        let Conn::Data(channel) = std::mem::replace(conn, Conn::Free) else {
            return;
        };
        self.cancel_slot_timer(slot);
        // After a connect that failed the key is stale, and this does nothing.
        self.sockets.close(channel.pipe.key);
        self.books.channels.open -= 1;
        match failed {
            Some(cause) => self.books.channels.failed.count(cause),
            None => self.books.channels.ended += 1,
        }
    }
}

impl Channel {
    /// Whether it has served and owes nothing: its end now is in order.
    fn is_idle(&self) -> bool {
        match self.stage {
            Stage::Closing => true,
            Stage::Reading => self.served && !self.reader.is_midway(),
            Stage::Connecting | Stage::Answering { .. } => false,
        }
    }

    fn answer<S: Sockets>(
        &mut self,
        request: &Request,
        msisdn: everline_protocol::Msisdn,
        plan: &crate::fleet::FleetPlan,
        sockets: &mut S,
    ) {
        let keep_alive = plan.linger_s > 0 && request.keep_alive;
        let answer = Answer::new(request, self.id, msisdn, plan.body_bytes, keep_alive);
        self.stage = Stage::Answering {
            keep_alive,
            body_bytes: answer.body_bytes,
        };
        self.pipe
            .push_filled(&answer.start, answer.filling, sockets);
    }
}

fn bad_request(bad: BadRequest) -> Cow<'static, str> {
    match bad {
        BadRequest::Refused(code) => format!("error:{}", code.name()).into(),
        BadRequest::HeadTooLarge => "head-too-large".into(),
        BadRequest::Malformed => "bad-http".into(),
    }
}
