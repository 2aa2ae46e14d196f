//! What other threads ask of a shard, and the two things that take it many turns: draining and stopping.

use std::time::Duration;

use everline_protocol::{HostPort, Millis, RequestId};
use everline_uring::{SocketKey, Sockets};

use super::clock::Clock;
use super::counters::Cause;
use super::mailbox::{Letter, Summary};
use super::slots::whole_seconds;
use super::{LETTERS_PER_TURN, SLOTS_PER_TURN, STOP_MAX, Shard, millis};
use crate::directory::Place;

/// Every session is being told to leave.
#[derive(Debug)]
pub(super) struct Drain {
    /// The next slot to look at.
    cursor: u32,
    since: Millis,
    spread: Millis,
    to: Option<HostPort>,
    /// Sessions told so far, of about so many.
    told: u64,
    of: u64,
}

/// Every connection is being closed.
#[derive(Debug)]
pub(super) struct Stop {
    cursor: u32,
    pub(super) deadline: Millis,
}

impl<S: Sockets, C: Clock> Shard<S, C> {
    /// Reads a batch of letters; what is left comes next turn.
    pub(super) fn read_letters(&mut self) {
        if !self.letters_left {
            return;
        }
        for _ in 0..LETTERS_PER_TURN {
            let Some(letter) = self.mailbox.take() else {
                self.letters_left = false;
                return;
            };
            self.read(letter);
        }
    }

    fn read(&mut self, letter: Letter) {
        match letter {
            Letter::Signal { place, id } => self.signal(place, id),
            Letter::DataChannelOpened { place, at } => {
                let at = self.clock.at(at);
                if let Some(slot) = self
                    .addressee(place)
                    .and_then(|key| self.slots.get_mut(key))
                {
                    slot.session.on_data_channel(at);
                    slot.last_seen_s = slot.last_seen_s.max(whole_seconds(at));
                }
            }
            Letter::End { place, code } => {
                let Some(socket) = self.addressee(place) else {
                    return;
                };
                if let Some(slot) = self.slots.get_mut(socket) {
                    slot.session.end(code, &mut self.out);
                    self.follow(socket);
                }
            }
            Letter::Describe { place, answer } => {
                if let Some(socket) = self.addressee(place)
                    && let Some(summary) = self.summary(socket)
                {
                    // Nobody waits any more if this fails.
                    let _ = answer.send(summary);
                }
            }
            Letter::Drain { spread, to } => self.start_drain(spread, to),
            Letter::Stop => self.start_stop(),
        }
    }

    /// Whom a letter is for; counted if it is nobody any more.
    fn addressee(&mut self, place: Place) -> Option<SocketKey> {
        let socket = self.slots.at(place);
        if socket.is_none() {
            self.counters.stale("letter");
        }
        socket
    }

    fn signal(&mut self, place: Place, id: RequestId) {
        let Some(socket) = self.addressee(place) else {
            // A session that took this one's place signals the request when it is ready.
            return self.counters.wake("stale");
        };
        if let Some(slot) = self.slots.get_mut(socket) {
            let sent = slot
                .session
                .signal(id, self.advertise.as_ref(), &mut self.out);
            self.counters.wake(if sent { "sent" } else { "not-ready" });
            self.flush(socket);
        }
    }

    fn summary(&self, socket: SocketKey) -> Option<Summary> {
        let slot = self.slots.get(socket)?;
        let registered = slot.registered.as_ref()?;
        let ago =
            |seconds: u32| Duration::from_secs((self.now.0 / 1000).saturating_sub(seconds.into()));
        let wall = self.clock.wall();
        Some(Summary {
            session: self.session_id(socket),
            since: wall - ago(registered.since_s),
            last_seen: wall - ago(slot.last_seen_s),
            timeout_s: slot.session.timeout_s(),
            linger_s: registered.linger_s.into(),
            ready: slot.session.is_ready(),
        })
    }

    fn start_drain(&mut self, spread: Duration, to: Option<HostPort>) {
        if self.drain.is_some() {
            return;
        }
        self.drain = Some(Drain {
            cursor: 0,
            since: self.now,
            spread: millis(spread),
            to,
            told: 0,
            // Those that never register are counted too: a session more or less in the spread is no matter.
            of: (self.slots.len() as u64).max(1),
        });
    }

    /// Sends RECONNECT to the next sessions, each told to wait a little longer than the one before.
    pub(super) fn tell_some_to_leave(&mut self) {
        let reach = self.slots.reach();
        let Some(mut drain) = self.drain.take() else {
            return;
        };
        let end = drain.cursor.saturating_add(SLOTS_PER_TURN).min(reach);
        let elapsed = self.now.since(drain.since);
        while drain.cursor < end {
            let socket = self.slots.key_at(drain.cursor);
            drain.cursor += 1;
            let Some(socket) = socket else { continue };
            let Some(slot) = self.slots.get_mut(socket) else {
                continue;
            };
            let Some(registered) = &mut slot.registered else {
                continue;
            };
            registered.told_to_leave = true;
            let turn = drain.spread.0.saturating_mul(drain.told) / drain.of;
            let after = Millis(turn.min(drain.spread.0)).since(elapsed);
            drain.told += 1;
            slot.session
                .reconnect(after, drain.to.as_ref(), &mut self.out);
            self.flush(socket);
        }
        self.drain = Some(drain);
    }

    fn start_stop(&mut self) {
        if self.stop.is_some() {
            return;
        }
        self.sockets.cancel_accepts();
        self.stop = Some(Stop {
            cursor: 0,
            deadline: self.now + STOP_MAX,
        });
    }

    /// Closes the next connections; `true` once all are closed, or it has taken too long.
    pub(super) fn close_some(&mut self) -> bool {
        let reach = self.slots.reach();
        let Some(stop) = &mut self.stop else {
            return false;
        };
        let from = stop.cursor;
        stop.cursor = from.saturating_add(SLOTS_PER_TURN).min(reach);
        let (to, deadline) = (stop.cursor, stop.deadline);
        for slot in from..to {
            if let Some(socket) = self.slots.key_at(slot) {
                self.leave(socket, Cause::Drained);
            }
        }
        let closed = self.slots.len() == 0 && self.closing == 0 && self.sockets.accepting() == 0;
        if self.now >= deadline && !closed {
            tracing::warn!(
                shard = self.number,
                open = self.slots.len(),
                "stopped before every signaling connection was closed"
            );
            self.abandon();
            return true;
        }
        closed
    }

    /// Whether draining or stopping has slots to look at without waiting.
    pub(super) fn sweeping(&self) -> bool {
        let reach = self.slots.reach();
        let drains = self
            .drain
            .as_ref()
            .is_some_and(|drain| drain.cursor < reach);
        drains || self.stop.as_ref().is_some_and(|stop| stop.cursor < reach)
    }
}
