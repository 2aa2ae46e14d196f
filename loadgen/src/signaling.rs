//! The signaling connections of a fleet: each handset registers, waits, moves, is lost, comes back and leaves.
//!
//! The protocol itself is `everline_protocol::Handset`; here is who connects when, and what is counted.

use std::borrow::Cow;
use std::time::Duration;

use everline_protocol::{ErrorCode, Handset, HandsetEvent, Identity, Millis};
use everline_uring::{Errno, Lease, Sockets};

use crate::books::errno_name;
use crate::fleet::{AwayBy, Conn, Fleet};
use crate::orders::{Leave, Return};
use crate::pipe::{EAGAIN, ECONNRESET, Pipe, Sent};

const NONE: u32 = u32::MAX;
/// How soon a handset tries again that found no free slot in its ring.
const NO_SLOT_RETRY: Millis = Millis(250);

/// One signaling connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) pipe: Pipe,
    /// `None`: not connected yet.
    handset: Option<Handset>,
    phone: u32,
    /// When this registration was due, microseconds.
    due_us: u64,
    /// CONNREGISTERED came; the books count it as open.
    live: bool,
    /// It ends for this as soon as BYE has gone out.
    leaving: Option<Purpose>,
    /// Nothing can be sent any more: the next receive tells why.
    broken: bool,
}

/// How a link ends.
enum End {
    Lost(Cow<'static, str>, Option<u32>),
    Moved,
    Left(Purpose),
}

/// Why a handset is made to leave.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// The run ends.
    Finish,
    /// Everybody is dropped, and comes back so.
    Storm(Return),
    /// Its turn has come; it stays away for so long.
    Churn(Duration),
}

impl<S: Sockets> Fleet<S> {
    /// Begins to register `phone`: anew, or beside the connection that it is to move from.
    pub(crate) fn open_link(&mut self, phone: u32, due_us: u64) {
        let Some(state) = self.phones.get(phone as usize) else {
            return;
        };
        let current = self.conns.get(state.current as usize);
        if state.next != NONE || matches!(current, Some(Conn::Signaling(Link { live: false, .. })))
        {
            return; // It is on its way already.
        }
        let to = self.moves.remove(&phone).unwrap_or(self.plan.signaling);
        let from = self.handset_source(phone, to);
        let Some(key) = self.sockets.connect(from, to) else {
            self.wheel.set(phone, self.now() + NO_SLOT_RETRY);
            return;
        };
        let state = &mut self.phones[phone as usize];
        let slot = if state.current == NONE {
            &mut state.current
        } else {
            &mut state.next
        };
        *slot = key.slot;
        let (live, leaving, broken) = (false, None, false);
        let link = Link {
            pipe: Pipe::new(key),
            handset: None,
            phone,
            due_us,
            live,
            leaving,
            broken,
        };
        self.conns[key.slot as usize] = Conn::Signaling(link);
        self.books.attempts += 1;
        self.books.connecting += 1;
        self.set_slot_timer(key.slot, self.now() + self.plan.answer_limit);
    }

    pub(crate) fn on_link_connected(&mut self, slot: u32, result: Result<(), Errno>) {
        if let Err(errno) = result {
            return self.end_link(
                slot,
                End::Lost(format!("connect:{}", errno_name(errno)).into(), None),
            );
        }
        let (now, unix_s) = (self.now(), self.epoch_unix_s + self.now_us / 1_000_000);
        let Conn::Signaling(link) = &mut self.conns[slot as usize] else {
            return;
        };
        let msisdn = self.roster.msisdn(self.share.first + link.phone);
        let identity = Identity {
            msisdn,
            token: self.mint.token(msisdn, unix_s),
            timeout_s: self.plan.timeout_s,
            linger_s: self.plan.linger_s,
            agent: Some(concat!("everline-loadgen/", env!("CARGO_PKG_VERSION")).into()),
        };
        link.handset = Some(Handset::connect(
            &identity,
            now,
            self.plan.answer_limit,
            &mut self.out,
        ));
        self.sockets.watch(link.pipe.key);
        self.after_link(slot);
    }

    pub(crate) fn on_link_received(&mut self, slot: u32, result: Result<Lease, Errno>) {
        let now = self.now();
        let Conn::Signaling(link) = &mut self.conns[slot as usize] else {
            return;
        };
        match result {
            Ok(lease) => {
                let (bytes, more) = (self.sockets.bytes(&lease), lease.more());
                let is_end = bytes.is_empty();
                if let Some(handset) = &mut link.handset {
                    handset.input(bytes, now, &mut self.out);
                }
                self.sockets.release(lease);
                if is_end {
                    return self.end_link(slot, End::Lost("eof".into(), None));
                }
                self.after_link(slot);
                if let Conn::Signaling(link) = &mut self.conns[slot as usize] {
                    // One that is broken is read to its end: nothing more may be told of it.
                    link.pipe.received(more || link.broken, &mut self.sockets);
                }
            }
            Err(Errno(EAGAIN)) if link.broken => {
                self.end_link(slot, End::Lost("send-failed".into(), None));
            }
            Err(Errno(EAGAIN)) => link.pipe.received(false, &mut self.sockets),
            Err(Errno(ECONNRESET)) => self.end_link(slot, End::Lost("reset".into(), None)),
            Err(errno) => {
                self.end_link(
                    slot,
                    End::Lost(format!("receive:{}", errno_name(errno)).into(), None),
                );
            }
        }
    }

    pub(crate) fn on_link_sent(&mut self, slot: u32, result: Result<u32, Errno>) {
        let Conn::Signaling(link) = &mut self.conns[slot as usize] else {
            return;
        };
        match (link.pipe.sent(result, &mut self.sockets), link.leaving) {
            (Sent::More, _) | (Sent::Drained, None) => {}
            (Sent::Drained | Sent::Broken(_), Some(purpose)) => {
                self.end_link(slot, End::Left(purpose));
            }
            // The gateway's last word may stand unread in the socket, and it says more than this error does.
            (Sent::Broken(_), None) => {
                link.broken = true;
                link.pipe.receive(&mut self.sockets);
            }
        }
    }

    pub(crate) fn on_link_timer(&mut self, slot: u32) {
        let now = self.now();
        let Conn::Signaling(link) = &mut self.conns[slot as usize] else {
            return;
        };
        match &mut link.handset {
            None => self.end_link(slot, End::Lost("connect:timeout".into(), None)),
            Some(handset) => {
                handset.on_deadline(now, &mut self.out);
                self.after_link(slot);
            }
        }
    }

    /// A data channel was opened for `phone`: the gateway's timer restarts, and so does the handset's.
    pub(crate) fn on_data_channel(&mut self, phone: u32) {
        let now = self.now();
        let slot = self.phones[phone as usize].current;
        if let Some(Conn::Signaling(Link {
            handset: Some(handset),
            ..
        })) = self.conns.get_mut(slot as usize)
        {
            handset.on_data_channel(now);
        }
    }

    /// The link of the registered handset `phone`, unless it is leaving already.
    pub(crate) fn live_slot(&self, phone: u32) -> Option<u32> {
        let slot = self.phones.get(phone as usize)?.current;
        match self.conns.get(slot as usize)? {
            Conn::Signaling(link) if link.live && link.leaving.is_none() => Some(slot),
            _ => None,
        }
    }

    /// Ends the link of `slot`, with a BYE first if it is to leave like that and can.
    pub(crate) fn leave_link(&mut self, slot: u32, purpose: Purpose, how: Leave) {
        let Conn::Signaling(link) = &mut self.conns[slot as usize] else {
            return;
        };
        if link.leaving.is_some() {
            return; // Its BYE is on its way.
        }
        match &mut link.handset {
            Some(handset) if link.live && how == Leave::Bye && !link.broken => {
                handset.bye(&mut self.out);
                link.leaving = Some(purpose);
                link.pipe.push(&self.out.wire, &mut self.sockets);
                self.out.wire.clear();
                self.out.events.clear();
            }
            _ => self.end_link(slot, End::Left(purpose)),
        }
    }

    /// Sends what a call on the handset of `slot` produced, acts on what it told, and sets its timer.
    fn after_link(&mut self, slot: u32) {
        let Conn::Signaling(link) = &mut self.conns[slot as usize] else {
            return;
        };
        if !self.out.wire.is_empty() {
            link.pipe.push(&self.out.wire, &mut self.sockets);
            self.out.wire.clear();
        }
        let deadline = link.handset.as_ref().and_then(Handset::deadline);
        if let Some(deadline) = deadline {
            self.set_slot_timer(slot, deadline);
        }
        let mut events = std::mem::take(&mut self.out.events);
        for event in events.drain(..) {
            self.on_handset_event(slot, event);
        }
        self.out.events = events;
    }

    fn on_handset_event(&mut self, slot: u32, event: HandsetEvent) {
        let Some(Conn::Signaling(link)) = self.conns.get_mut(slot as usize) else {
            return;
        };
        let phone = link.phone;
        match event {
            HandsetEvent::Registered { .. } => self.on_registered(slot),
            HandsetEvent::KeepAlive => self.books.keep_alives += 1,
            HandsetEvent::RequestPending { id, data } => {
                self.on_request_pending(phone, id, data.as_ref());
            }
            HandsetEvent::Reconnect { after, to } => {
                self.books.reconnects += 1;
                if !self.leaving && self.phones[phone as usize].current == slot {
                    // An address that this run may not load is as good as none.
                    if let Some(to) = to.and_then(|to| self.plan.targets.resolve(&to)) {
                        self.moves.insert(phone, to);
                    }
                    self.wheel.set(phone, self.now() + after);
                }
            }
            HandsetEvent::Refused(refusal) => {
                let cause = format!("refused:{}", refusal.code.name());
                self.end_link(slot, End::Lost(cause.into(), refusal.retry_after_s));
            }
            // A gateway that is left for itself says so when the new connection registers: that is no loss.
            HandsetEvent::Closed(ErrorCode::Replaced)
                if self.phones[phone as usize].next != NONE =>
            {
                self.end_link(slot, End::Moved);
            }
            HandsetEvent::Closed(code) => {
                self.end_link(
                    slot,
                    End::Lost(format!("error:{}", code.name()).into(), None),
                );
            }
            HandsetEvent::BadGateway(code) => {
                self.end_link(
                    slot,
                    End::Lost(format!("bad-gateway:{}", code.name()).into(), None),
                );
            }
            HandsetEvent::Silent => self.end_link(slot, End::Lost("silent".into(), None)),
        }
    }

    fn on_registered(&mut self, slot: u32) {
        let Some(Conn::Signaling(link)) = self.conns.get_mut(slot as usize) else {
            return;
        };
        link.live = true;
        self.register_latency
            .saturating_record(self.now_us.saturating_sub(link.due_us).max(1));
        self.books.connecting -= 1;
        self.books.registered += 1;
        self.books.open += 1;
        let place = link.phone as usize;
        self.settle(place);
        let phone = &mut self.phones[place];
        phone.backoff.reset();
        match std::mem::replace(&mut phone.away, AwayBy::Nothing) {
            AwayBy::Nothing => {}
            AwayBy::Churn => self.books.away.churn -= 1,
            AwayBy::Storm => {
                self.books.away.storm -= 1;
                self.books.back_us = self.now_us;
            }
        }
        let old = phone.current;
        if phone.next == slot {
            self.end_link(old, End::Moved);
        }
        self.roster.set(self.share.first + place as u32, true);
    }

    /// Closes the link of `slot`, counts it, and sees to it that its handset comes back if it should.
    fn end_link(&mut self, slot: u32, end: End) {
        let Some(conn) = self.conns.get_mut(slot as usize) else {
            return;
        };
        let Conn::Signaling(link) = std::mem::replace(conn, Conn::Free) else {
            return;
        };
        self.cancel_slot_timer(slot);
        // After a connect that failed the key is stale, and this does nothing.
        self.sockets.close(link.pipe.key);
        if link.live {
            self.books.open -= 1;
        } else {
            self.books.connecting -= 1;
        }
        // What goes wrong while a BYE goes out changes nothing for a handset that leaves anyway.
        match link.leaving.map_or(end, End::Left) {
            End::Moved if link.live => self.books.moved += 1,
            End::Moved => self.books.not_registered.count("superseded"),
            End::Left(purpose) => return self.after_leaving(&link, slot, purpose),
            End::Lost(cause, retry_after_s) => {
                let books = &mut self.books;
                if link.live {
                    &mut books.lost
                } else {
                    &mut books.not_registered
                }
                .count(cause);
                let phone = &self.phones[link.phone as usize];
                let moving = phone.next != NONE && phone.current == slot;
                if self.plan.reconnect && !self.leaving && !moving {
                    let random = self.fresh_random();
                    let phone = &mut self.phones[link.phone as usize];
                    phone.expected |= retry_after_s.is_some();
                    let wait = phone.backoff.next(random, retry_after_s);
                    self.wheel.set(link.phone, self.now() + wait);
                }
            }
        }
        self.drop_from_phone(&link, slot);
    }

    /// Books a link that we ended ourselves; its handset comes back unless the run is over.
    fn after_leaving(&mut self, link: &Link, slot: u32, purpose: Purpose) {
        self.drop_from_phone(link, slot);
        let (kind, away) = match purpose {
            Purpose::Finish if link.live => return self.books.left += 1,
            Purpose::Finish => return self.books.abandoned += 1,
            Purpose::Storm(_) => ("storm", AwayBy::Storm),
            Purpose::Churn(_) => ("churn", AwayBy::Churn),
        };
        self.books.dropped.count(kind);
        let phone = &mut self.phones[link.phone as usize];
        if phone.away == AwayBy::Nothing {
            phone.away = away;
            match away {
                AwayBy::Storm => self.books.away.storm += 1,
                _ => self.books.away.churn += 1,
            }
        }
        // One that was on the move is on its way back already.
        let gone = phone.current == NONE;
        if let Some(wait) = self.away_for(purpose, link.phone).filter(|_| gone) {
            self.dial_after(link.phone, wait);
        }
    }

    /// Forgets `slot` in its handset; one that it was moving to takes its place.
    fn drop_from_phone(&mut self, link: &Link, slot: u32) {
        let phone = &mut self.phones[link.phone as usize];
        if phone.next == slot {
            phone.next = NONE;
        } else if phone.current == slot {
            phone.current = std::mem::replace(&mut phone.next, NONE);
        }
        let current = self.conns.get(phone.current as usize);
        let live = matches!(current, Some(Conn::Signaling(Link { live: true, .. })));
        self.roster.set(self.share.first + link.phone, live);
        if !phone.expected {
            self.settle(link.phone as usize);
        }
    }

    /// Counts the handset at `place` as settled, once.
    fn settle(&mut self, place: usize) {
        let phone = &mut self.phones[place];
        if !phone.settled {
            phone.settled = true;
            self.books.settled += 1;
            self.books.settled_us = self.now_us;
        }
    }
}
