//! What a session's events mean: who may register, what is counted and told, when it is over.
//!
//! The state machine in `everline_protocol` decides what a line means; here it meets the directory, the requests that
//! wait, the store and the other shards.

use std::time::UNIX_EPOCH;

use everline_protocol::{
    Connect, ErrorCode, Millis, Refusal, RefusalCode, SessionEvent, SessionId,
};
use everline_uring::{SocketKey, Sockets};

use super::clock::Clock;
use super::counters::Cause;
use super::mailbox::Letter;
use super::slots::{Registered, Slot, Stage, whole_seconds};
use super::{Shard, mixed};
use crate::directory::{LINGER_S_MAX, Place};
use crate::registration::RETRY_AFTER_MAX;
use crate::shared::Phase;

impl<S: Sockets, C: Clock> Shard<S, C> {
    /// Acts on what the session of `socket` has produced in `out`, sends its lines, sets its timer.
    pub(super) fn follow(&mut self, socket: SocketKey) {
        let mut over = None;
        let mut events = std::mem::take(&mut self.out.events);
        // Admitting a session reads what came behind its CONNECT: more events.
        while !events.is_empty() {
            for event in events.drain(..) {
                over = over.or(self.act(socket, event));
            }
            std::mem::swap(&mut events, &mut self.out.events);
        }
        self.out.events = events;
        self.flush(socket);
        match over {
            Some(cause) => self.leave(socket, cause),
            None => self.set_timer(socket),
        }
    }

    /// One event; tells why, if the session is over.
    fn act(&mut self, socket: SocketKey, event: SessionEvent) -> Option<Cause> {
        match event {
            SessionEvent::Authenticate(connect) => self.answer(socket, &connect),
            SessionEvent::Refused(code) => {
                self.counters.refused(code);
                return Some(Cause::Refused);
            }
            SessionEvent::Ready => self.signal_waiting(socket),
            SessionEvent::KeepAliveSent => self.counters.keepalive("sent"),
            SessionEvent::KeepAliveAnswered => self.counters.keepalive("answered"),
            SessionEvent::Left => return Some(Cause::Bye),
            SessionEvent::Broken(code) => return Some(Cause::Broken(code)),
            SessionEvent::Dead => {
                self.counters.keepalive("missed");
                return Some(Cause::Dead);
            }
        }
        None
    }

    /// Admits or refuses a CONNECT.
    fn answer(&mut self, socket: SocketKey, connect: &Connect) {
        let linger_s = u8::try_from(connect.linger_s.min(LINGER_S_MAX)).unwrap_or(u8::MAX);
        let place = Place::new(self.number, socket, u32::from(linger_s));
        let entered = self.judge(connect, place);
        let id = self.session_id(socket);
        let early = self.random.next() as u8;
        let Some(slot) = self.slots.get_mut(socket) else {
            return;
        };
        let replaced = match entered {
            Ok(replaced) => replaced,
            Err(refusal) => return slot.session.refuse(&refusal, &mut self.out),
        };
        slot.registered = Some(Registered {
            msisdn: connect.msisdn,
            since_s: whole_seconds(self.now),
            linger_s,
            told_to_leave: false,
        });
        slot.session.hasten(early);
        slot.session.admit(id, self.now, &self.rules, &mut self.out);
        self.counters.registered(replaced.is_some());
        self.shared.store.registered(connect.msisdn, id);
        if let Some(place) = replaced {
            let code = ErrorCode::Replaced;
            // Not taken by a full mailbox: the old session finds out at its next keep-alive.
            let _ = self.shared.shards.post(place, Letter::End { place, code });
        }
    }

    /// The session of a socket. It is computed from the socket's key, which names one session of this shard and no other,
    /// and a number that this run of the shard drew: kept for a million sessions it would cost 8 MB.
    pub(super) fn session_id(&self, socket: SocketKey) -> SessionId {
        let key = u64::from(socket.slot) << 32 | u64::from(socket.generation);
        SessionId(mixed(self.session_ids ^ key))
    }

    /// The checks behind those of form, in PROTOCOL's order, the cheap ones first; the last one enters the directory
    /// and tells which session was replaced.
    fn judge(&mut self, connect: &Connect, place: Place) -> Result<Option<Place>, Refusal> {
        if self.drain.is_some() || self.shared.phase.now() >= Phase::Draining {
            return Err(self.come_back(RefusalCode::Draining, Millis(0)));
        }
        if !self.shared.admission.admits(self.now) {
            let mut promised = self.shared.admission.promise(self.now);
            if promised >= RETRY_AFTER_MAX {
                // There is no place behind the last one: those who would all wait as long are spread over the last half.
                promised = Millis(RETRY_AFTER_MAX.0 - self.random.next() % (RETRY_AFTER_MAX.0 / 2));
            }
            return Err(self.come_back(RefusalCode::Overloaded, promised));
        }
        let wall = self.clock.wall().duration_since(UNIX_EPOCH);
        let unix_s = wall.unwrap_or_default().as_secs();
        if let Err(fault) = self.verifier.verify(&connect.token, connect.msisdn, unix_s) {
            tracing::debug!(msisdn = %connect.msisdn.masked(), %fault, "refused a token");
            return Err(Refusal::new(RefusalCode::BadToken));
        }
        let sessions_max = self.shared.config.signaling.sessions_max;
        self.shared
            .directory
            .enter(connect.msisdn, place, sessions_max)
            .map_err(|_full| Refusal::new(RefusalCode::Full))
    }

    /// A refusal until `promised`: `retry-after` is no shorter than the configuration has it, spread over half as long
    /// again, or those refused together would come back together.
    fn come_back(&mut self, code: RefusalCode, promised: Millis) -> Refusal {
        let least = self.shared.config.signaling.retry_after_s;
        let spread = u64::from(least / 2) + 1;
        let more = u32::try_from(self.random.next() % spread).unwrap_or(0);
        let promised_s = u32::try_from(promised.0.div_ceil(1000)).unwrap_or(u32::MAX);
        Refusal {
            retry_after_s: Some(least.saturating_add(more).max(promised_s)),
            ..Refusal::new(code)
        }
    }

    /// The first WAITING: every request that waits for this handset is signalled. A request is entered there before
    /// its worker looks for the handset, so none falls between an old session and this one.
    fn signal_waiting(&mut self, socket: SocketKey) {
        let Some(slot) = self.slots.get_mut(socket) else {
            return;
        };
        let Some(registered) = slot.registered else {
            return;
        };
        for id in self.shared.pending.of(registered.msisdn) {
            let sent = slot
                .session
                .signal(id, self.advertise.as_ref(), &mut self.out);
            self.counters.wake(if sent { "sent" } else { "not-ready" });
        }
    }

    /// A session ends: it leaves the directory, if it is still there, and is counted, once. The socket stays.
    pub(super) fn depart(&mut self, socket: SocketKey, cause: Cause) {
        let Some(slot) = self.slots.get_mut(socket) else {
            return;
        };
        if std::mem::replace(&mut slot.stage, Stage::Leaving) == Stage::Leaving {
            return;
        }
        let Some(registered) = slot.registered.take() else {
            return self.counters.failed(cause);
        };
        let cause = match cause {
            Cause::Closed if registered.told_to_leave => Cause::Drained,
            cause => cause,
        };
        let place = Place::new(self.number, socket, u32::from(registered.linger_s));
        let current = self.shared.directory.leave(registered.msisdn, place);
        self.counters.departed(cause, current);
        if !current {
            return;
        }
        let store = &self.shared.store;
        store.left(registered.msisdn, self.session_id(socket), cause.in_store());
        if matches!(cause, Cause::Bye | Cause::Broken(ErrorCode::Revoked)) {
            self.shared.pending.handset_left(registered.msisdn);
        }
    }

    /// A timer came round; tells how late, if something was due.
    pub(super) fn timer(&mut self, socket: SocketKey) -> Option<Millis> {
        let slot = self.slots.get_mut(socket)?;
        let outbox = slot.outbox.and_then(|id| self.outboxes.get(id));
        let stalled = outbox.and_then(|outbox| outbox.deadline);
        if let Some(deadline) = stalled.filter(|deadline| *deadline <= self.now) {
            if slot.stage == Stage::Leaving {
                self.reset(socket);
            } else {
                self.leave(socket, Cause::Slow);
            }
            return Some(self.now.since(deadline));
        }
        let deadline = slot
            .session
            .deadline()
            .filter(|deadline| *deadline <= self.now);
        if slot.stage == Stage::Leaving || deadline.is_none() {
            self.set_timer(socket);
            return None;
        }
        if superseded(slot, self.number, socket, &self.shared.directory) {
            slot.session.end(ErrorCode::Replaced, &mut self.out);
        } else {
            slot.session
                .on_deadline(self.now, &self.rules, &mut self.out);
        }
        self.follow(socket);
        deadline.map(|deadline| self.now.since(deadline))
    }

    /// Sets the timer for whatever is due first. One that comes round earlier is left: it finds nothing due then, and
    /// is set again.
    pub(super) fn set_timer(&mut self, socket: SocketKey) {
        let Some(slot) = self.slots.get(socket) else {
            return;
        };
        let session = slot
            .session
            .deadline()
            .filter(|_| slot.stage != Stage::Leaving);
        let outbox = slot.outbox.and_then(|id| self.outboxes.get(id));
        let stalled = outbox.and_then(|outbox| outbox.deadline);
        if let Some(due) = session.into_iter().chain(stalled).min() {
            self.wheel.set_by(socket.slot, due);
        }
    }
}

/// Whether the directory names another session of this handset: the letter that told so did not fit into the mailbox.
fn superseded(
    slot: &Slot,
    number: u16,
    socket: SocketKey,
    directory: &crate::directory::Directory,
) -> bool {
    slot.registered.is_some_and(|registered| {
        let place = Place::new(number, socket, u32::from(registered.linger_s));
        directory.lookup(registered.msisdn) != Some(place)
    })
}
