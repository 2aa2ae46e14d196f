//! Bytes in and out of a shard's sockets: what the ring's events mean to a connection.
//!
//! A socket is watched, and read when it is readable until it has no more: the kernel tells of an arrival once, so
//! bytes or an end left behind would stay unseen. A line that comes alone costs one receive. One receive and one send at a time are under way for a socket; a
//! peer that never stops sending gets one buffer a turn, like everybody else.

use everline_protocol::{Millis, Session};
use everline_uring::{Errno, Lease, SocketKey, Sockets};

use super::clock::Clock;
use super::counters::Cause;
use super::slots::{Slot, Stage, whole_seconds};
use super::{ACCEPT_COMPLAIN_EVERY, ACCEPT_PAUSE, Again, LEAVE_MAX, STALL_MAX, Shard};
use crate::proxy_header::{ProxyHeader, ProxyStep};

/// Linux's numbers, the same on every architecture that io_uring runs on here.
mod errno {
    pub(super) const EINTR: i32 = 4;
    pub(super) const EAGAIN: i32 = 11;
    pub(super) const ECONNABORTED: i32 = 103;
    pub(super) const ENOBUFS: i32 = 105;
    pub(super) const ECANCELED: i32 = 125;
}

impl<S: Sockets, C: Clock> Shard<S, C> {
    pub(super) fn accepted(&mut self, socket: SocketKey) {
        self.counters.opened();
        let stage = if self.shared.config.signaling.proxy_protocol {
            self.proxy_headers
                .insert(socket.slot, ProxyHeader::default());
            Stage::ProxyHeader
        } else {
            Stage::Open
        };
        let session = Session::new(self.now, &self.rules);
        if let Some(deadline) = session.deadline() {
            self.wheel.set(socket.slot, deadline);
        }
        let slot = Slot::new(session, socket.generation, stage, self.now);
        self.slots.open(socket.slot, slot);
        self.sockets.watch(socket);
        if self.stop.is_some() {
            self.leave(socket, Cause::Drained);
        }
    }

    pub(super) fn accept_failed(&mut self, Errno(number): Errno) {
        // The peer gave up in the queue, or we cancelled: no reason to wait. Anything else (no descriptors, no memory,
        // a broken listener) would fail again at once.
        if matches!(
            number,
            errno::ECONNABORTED | errno::ECANCELED | errno::EINTR | errno::EAGAIN
        ) {
            return;
        }
        let quiet = |at: Millis| self.now.since(at) < ACCEPT_COMPLAIN_EVERY;
        if !self.accepts_complained.is_some_and(quiet) {
            self.accepts_complained = Some(self.now);
            tracing::warn!(
                shard = self.number,
                error = %Errno(number),
                "cannot accept signaling connections, trying again shortly"
            );
        }
        self.accepts_paused_until = Some(self.now + ACCEPT_PAUSE);
    }

    pub(super) fn readable(&mut self, socket: SocketKey, watching: bool) {
        let Some(slot) = self.slots.get_mut(socket) else {
            return self.counters.stale("event");
        };
        if !watching {
            self.sockets.watch(socket);
        }
        if slot.receiving {
            slot.again = true;
        } else {
            slot.receiving = true;
            self.sockets.receive(socket);
        }
    }

    pub(super) fn received(&mut self, socket: SocketKey, result: Result<Lease, Errno>) {
        let Some(slot) = self.slots.get_mut(socket) else {
            if let Ok(lease) = result {
                self.sockets.release(lease);
            }
            return self.counters.stale("event");
        };
        match result {
            Ok(lease) => self.bytes_came(socket, lease),
            Err(Errno(errno::EAGAIN)) => self.read_on(socket, false),
            Err(Errno(errno::EINTR | errno::ECANCELED | errno::ENOBUFS)) => {
                self.again.push(Again::Receive(socket));
            }
            Err(_) => {
                slot.receiving = false;
                self.broke(socket, Cause::Reset);
            }
        }
    }

    /// After a receive: another one if there is `more` to be read, or something arrived meanwhile.
    fn read_on(&mut self, socket: SocketKey, more: bool) {
        let Some(slot) = self.slots.get_mut(socket) else {
            return;
        };
        if more || slot.again {
            slot.again = false;
            return self.sockets.receive(socket);
        }
        slot.receiving = false;
        self.close_if_done(socket);
    }

    /// A buffer full of bytes, or the end of the stream.
    fn bytes_came(&mut self, socket: SocketKey, lease: Lease) {
        let Some(slot) = self.slots.get_mut(socket) else {
            return self.sockets.release(lease);
        };
        let mut malformed = false;
        let more = lease.more();
        let mut bytes = self.sockets.bytes(&lease);
        if bytes.is_empty() {
            self.sockets.release(lease);
            return self.broke(socket, Cause::Closed);
        }
        if slot.stage == Stage::ProxyHeader {
            let header = self.proxy_headers.entry(socket.slot).or_default();
            match header.input(bytes) {
                ProxyStep::Done { used, .. } => {
                    bytes = bytes.get(used..).unwrap_or_default();
                    self.proxy_headers.remove(&socket.slot);
                    slot.stage = Stage::Open;
                }
                ProxyStep::More => bytes = &[],
                ProxyStep::Malformed => {
                    bytes = &[];
                    malformed = true;
                }
            }
        }
        let fed = slot.stage == Stage::Open && !bytes.is_empty();
        if fed {
            slot.last_seen_s = whole_seconds(self.now);
            slot.session
                .input(bytes, self.now, &self.rules, &mut self.out);
        }
        self.sockets.release(lease);
        if fed {
            self.follow(socket);
        } else if malformed {
            self.leave(socket, Cause::BadProxyHeader);
        }
        self.read_on(socket, more);
    }

    /// Sends what the session wrote into `out`, behind what already waits.
    pub(super) fn flush(&mut self, socket: SocketKey) {
        if self.out.wire.is_empty() {
            return;
        }
        let (mut ready, mut waiting) = (false, 0);
        if let Some(slot) = self.slots.get_mut(socket) {
            let id = *slot.outbox.get_or_insert_with(|| self.outboxes.lend());
            if let Some(outbox) = self.outboxes.get_mut(id) {
                outbox.bytes.extend_from_slice(&self.out.wire);
                ready = outbox.in_flight == 0 && !outbox.stalled;
                waiting = outbox.bytes.len();
            }
        }
        self.out.wire.clear();
        if waiting > self.outbox_bytes_max {
            self.leave(socket, Cause::Slow);
        } else if ready {
            self.send(socket);
        }
    }

    /// Gives the ring what waits.
    fn send(&mut self, socket: SocketKey) {
        let id = self.slots.get(socket).and_then(|slot| slot.outbox);
        let Some(outbox) = id.and_then(|id| self.outboxes.get_mut(id)) else {
            return;
        };
        outbox.in_flight = self.sockets.send(socket, &outbox.bytes);
        if outbox.in_flight == 0 {
            // The ring knows no such socket any more.
            self.broke(socket, Cause::Reset);
        }
    }

    pub(super) fn sent(&mut self, socket: SocketKey, result: Result<u32, Errno>) {
        let id = self.slots.get(socket).and_then(|slot| slot.outbox);
        let Some((id, outbox)) = id.and_then(|id| Some((id, self.outboxes.get_mut(id)?))) else {
            return self.counters.stale("event");
        };
        match result {
            Ok(count) => {
                let all = outbox.taken(count as usize);
                let leaving = self
                    .slots
                    .get(socket)
                    .is_some_and(|slot| slot.stage == Stage::Leaving);
                if count > 0 && !leaving {
                    // It reads, if slowly; what waits for it is bounded.
                    outbox.deadline = None;
                }
                if !all {
                    return self.stall(socket);
                }
                if !outbox.is_empty() {
                    return self.send(socket);
                }
                if leaving {
                    return self.close_if_done(socket);
                }
                self.outboxes.give_back(id);
                if let Some(slot) = self.slots.get_mut(socket) {
                    slot.outbox = None;
                }
            }
            Err(Errno(errno::EAGAIN | errno::ENOBUFS)) => {
                outbox.in_flight = 0;
                self.stall(socket);
            }
            Err(Errno(errno::EINTR | errno::ECANCELED)) => {
                outbox.in_flight = 0;
                self.again.push(Again::Send(socket));
            }
            Err(_) => {
                outbox.in_flight = 0;
                self.broke(socket, Cause::Reset);
            }
        }
    }

    /// The peer takes no more now: goes on when it does, gives up if it does not in time.
    fn stall(&mut self, socket: SocketKey) {
        let id = self.slots.get(socket).and_then(|slot| slot.outbox);
        let Some(outbox) = id.and_then(|id| self.outboxes.get_mut(id)) else {
            return;
        };
        outbox.stalled = true;
        let deadline = *outbox.deadline.get_or_insert(self.now + STALL_MAX);
        self.wheel.set_by(socket.slot, deadline);
        self.sockets.await_writable(socket);
    }

    pub(super) fn writable(&mut self, socket: SocketKey) {
        let id = self.slots.get(socket).and_then(|slot| slot.outbox);
        let Some(outbox) = id.and_then(|id| self.outboxes.get_mut(id)) else {
            return self.counters.stale("event");
        };
        outbox.stalled = false;
        if outbox.in_flight == 0 && !outbox.is_empty() {
            self.send(socket);
        }
    }

    /// Asks again for what was interrupted.
    pub(super) fn ask_again(&mut self) {
        for operation in std::mem::take(&mut self.again) {
            match operation {
                Again::Receive(socket) if self.slots.get(socket).is_some() => {
                    self.sockets.receive(socket);
                }
                Again::Send(socket) => self.send(socket),
                Again::Receive(_) => {}
            }
        }
    }

    /// The connection itself has ended: nothing more can be sent.
    fn broke(&mut self, socket: SocketKey, cause: Cause) {
        self.depart(socket, cause);
        self.close(socket);
    }

    /// The session is over: counts it, lets its last bytes go out, then closes.
    ///
    /// What the peer has sent already is read and thrown away first: closing a socket with unread bytes sends a reset,
    /// and a reset can overtake the line that says why.
    pub(super) fn leave(&mut self, socket: SocketKey, cause: Cause) {
        self.depart(socket, cause);
        if cause == Cause::Slow {
            return self.reset(socket);
        }
        let Some(slot) = self.slots.get_mut(socket) else {
            return;
        };
        if slot.outbox.is_none() && !slot.receiving {
            return self.close(socket);
        }
        let id = *slot.outbox.get_or_insert_with(|| self.outboxes.lend());
        if let Some(outbox) = self.outboxes.get_mut(id) {
            outbox.deadline = Some(self.now + LEAVE_MAX);
        }
        self.wheel.set(socket.slot, self.now + LEAVE_MAX);
    }

    /// Closes a connection that is leaving once nothing is left to be sent or read.
    fn close_if_done(&mut self, socket: SocketKey) {
        let Some(slot) = self.slots.get(socket) else {
            return;
        };
        let outbox = slot.outbox.and_then(|id| self.outboxes.get(id));
        let sent = outbox.is_none_or(|outbox| outbox.is_empty());
        if slot.stage == Stage::Leaving && sent && !slot.receiving {
            self.close(socket);
        }
    }

    /// Closes in order; the slot is free for the ring's next connection.
    pub(super) fn close(&mut self, socket: SocketKey) {
        if self.forget(socket) {
            self.sockets.close(socket);
        }
    }

    /// Closes with a reset.
    pub(super) fn reset(&mut self, socket: SocketKey) {
        if self.forget(socket) {
            self.sockets.reset(socket);
        }
    }

    fn forget(&mut self, socket: SocketKey) -> bool {
        let Some(slot) = self.slots.close(socket) else {
            return false;
        };
        if let Some(id) = slot.outbox {
            self.outboxes.give_back(id);
        }
        self.proxy_headers.remove(&socket.slot);
        self.wheel.cancel(socket.slot);
        self.counters.closed();
        self.closing += 1;
        true
    }
}
