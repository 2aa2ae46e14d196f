//! One turn of a [`SimulatedRing`]: what was asked is tried in seeded order, and what has ended is told.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use super::SimulatedRing;
use super::connection::{Found, Phase};
use super::net::PeerId;
use super::table::{Slot, Use};
use crate::{Errno, Event, Lease, SocketKey};

/// Something asked of the ring that has not ended.
#[derive(Debug)]
pub(super) enum Operation {
    Accept {
        slot: SocketKey,
        cancelled: bool,
    },
    /// A connect that has not left the ring.
    Dial {
        socket: SocketKey,
        from: Option<SocketAddr>,
        to: SocketAddr,
    },
    /// A connect that waits for the test's answer.
    Dialled(SocketKey),
    Watch {
        socket: SocketKey,
        armed: bool,
    },
    Receive(SocketKey),
    Send(SocketKey),
    AwaitWritable(SocketKey),
}

impl Operation {
    fn socket(&self) -> SocketKey {
        match *self {
            Operation::Accept { slot, .. } => slot,
            Operation::Dial { socket, .. }
            | Operation::Dialled(socket)
            | Operation::Watch { socket, .. }
            | Operation::Receive(socket)
            | Operation::Send(socket)
            | Operation::AwaitWritable(socket) => socket,
        }
    }
}

/// A socket on its way out.
#[derive(Debug)]
pub(super) struct Closing {
    socket: SocketKey,
    by_reset: bool,
    /// FIN or reset has left.
    sent: bool,
}

impl Closing {
    pub(super) fn asked(socket: SocketKey, by_reset: bool) -> Closing {
        Closing {
            socket,
            by_reset,
            sent: false,
        }
    }
}

/// Something that has ended and is not yet told.
#[derive(Debug)]
pub(super) struct Completion {
    socket: SocketKey,
    what: What,
}

#[derive(Debug)]
enum What {
    Tell(Event),
    /// The last completion of an operation that a close cut off: nobody is told, but it may come late.
    CutOff,
}

impl SimulatedRing {
    pub(super) fn run_operations(&mut self) {
        let mut operations = std::mem::take(&mut self.operations);
        self.chance.shuffle(&mut operations);
        for operation in operations {
            let unfinished = self.run(operation);
            self.operations.extend(unfinished);
        }
    }

    /// Sends what closing sockets still owe their peers, then FIN or reset; completes those that are through.
    pub(super) fn finish_closing(&mut self) {
        for mut closing in std::mem::take(&mut self.closing) {
            if !closing.sent {
                self.send_end(&closing);
                closing.sent = true;
            }
            if self.chance.hits(self.faults.delayed_close) {
                self.closing.push(closing);
            } else {
                self.completes(closing.socket, Event::Closed(closing.socket));
            }
        }
    }

    /// Appends what has ended to `events`, but for what comes late; what concerns one socket stays in its order.
    pub(super) fn tell(&mut self, events: &mut Vec<Event>) {
        let woken = self.woken.swap(false, Ordering::AcqRel);
        let woken_first = self.chance.hits(0.5);
        if woken && woken_first {
            events.push(Event::Woken);
        }
        let mut held: Vec<u32> = Vec::new();
        for completion in std::mem::take(&mut self.completions) {
            let slot = completion.socket.slot;
            match completion.what {
                What::CutOff if self.chance.hits(self.faults.late_completions) => {
                    self.completions.push(completion);
                }
                What::CutOff => {
                    // Dropped either way; counted when the slot has been freed since.
                    self.stale += u64::from(self.table.slot(completion.socket).is_none());
                }
                What::Tell(_)
                    if held.contains(&slot) || self.chance.hits(self.faults.late_completions) =>
                {
                    held.push(slot);
                    self.completions.push(completion);
                }
                What::Tell(event) => self.told(completion.socket, event, events),
            }
        }
        if woken && !woken_first {
            events.push(Event::Woken);
        }
    }

    fn completes(&mut self, socket: SocketKey, event: Event) {
        self.completions.push(Completion {
            socket,
            what: What::Tell(event),
        });
    }

    /// Tries one operation; gives it back if it has to wait.
    fn run(&mut self, operation: Operation) -> Option<Operation> {
        let socket = operation.socket();
        let slot = self.table.slot(socket)?;
        if slot.used_for == Use::Closing {
            if self.chance.hits(self.faults.late_completions) {
                self.completions.push(Completion {
                    socket,
                    what: What::CutOff,
                });
            }
            return None;
        }
        let connection = slot.connection;
        match (operation, connection) {
            (Operation::Accept { slot, cancelled }, _) => self.run_accept(slot, cancelled),
            (Operation::Dial { socket, from, to }, _) => {
                let connection = self.net.lock().dial_out(from, to);
                self.slot(socket).connection = Some(connection);
                self.run_dialled(socket, connection)
            }
            (_, None) => unreachable!("an open socket has a connection"),
            (Operation::Dialled(_), Some(connection)) => self.run_dialled(socket, connection),
            (Operation::Watch { armed, .. }, Some(connection)) => {
                self.run_watch(socket, connection, armed)
            }
            (Operation::Receive(_), Some(connection)) => self.run_receive(socket, connection),
            (Operation::Send(_), Some(connection)) => self.run_send(socket, connection),
            (Operation::AwaitWritable(_), Some(connection)) => {
                if !self.net.lock().writable(connection) {
                    return Some(Operation::AwaitWritable(socket));
                }
                self.completes(socket, Event::Writable(socket));
                None
            }
        }
    }

    fn run_accept(&mut self, slot: SocketKey, cancelled: bool) -> Option<Operation> {
        let has_waiting = self.net.lock().has_waiting();
        // A cancellation and a connection are in a race; the seed decides it.
        if cancelled && !(has_waiting && self.chance.hits(self.faults.late_completions)) {
            self.completes(slot, Event::AcceptFailed(Errno(libc::ECANCELED)));
            return None;
        }
        if !has_waiting {
            return Some(Operation::Accept { slot, cancelled });
        }
        if self.chance.hits(self.faults.accept_errors) {
            const ERRORS: [i32; 3] = [libc::ENFILE, libc::EMFILE, libc::ECONNABORTED];
            let errno = ERRORS[self.chance.below(ERRORS.len())];
            self.completes(slot, Event::AcceptFailed(Errno(errno)));
            return None;
        }
        let Some((connection, peer)) = self.net.lock().take_waiting() else {
            // A ring on another thread was faster.
            return Some(Operation::Accept { slot, cancelled });
        };
        self.slot(slot).connection = Some(connection);
        self.completes(slot, Event::Accepted { socket: slot, peer });
        None
    }

    fn run_dialled(&mut self, socket: SocketKey, connection: PeerId) -> Option<Operation> {
        let phase = self.net.lock().connection(connection).phase;
        let result = match phase {
            Phase::Dialled => return Some(Operation::Dialled(socket)),
            Phase::Established => Ok(()),
            Phase::Refused(errno) => Err(errno),
        };
        self.completes(socket, Event::Connected { socket, result });
        None
    }

    fn run_watch(
        &mut self,
        socket: SocketKey,
        connection: PeerId,
        armed: bool,
    ) -> Option<Operation> {
        let news = {
            let mut net = self.net.lock();
            let connection = net.connection(connection);
            if !armed {
                connection.poll_armed();
            }
            connection.take_news()
        };
        let watching = !self.chance.hits(self.faults.watch_ends);
        if news || !watching || self.chance.hits(self.faults.spurious_eagain) {
            self.completes(socket, Event::Readable { socket, watching });
        }
        watching.then_some(Operation::Watch {
            socket,
            armed: true,
        })
    }

    fn run_receive(&mut self, socket: SocketKey, connection: PeerId) -> Option<Operation> {
        if self.pool.idle() == 0 {
            return Some(Operation::Receive(socket));
        }
        let mut net = self.net.lock();
        let connection = net.connection(connection);
        let mut failed = Errno(libc::EAGAIN);
        let spurious = self.chance.hits(self.faults.spurious_eagain);
        let short = self.chance.hits(self.faults.short_reads);
        let lease = self.pool.lease(|buffer| {
            if spurious {
                return None;
            }
            let limit = if short {
                1 + self.chance.below(buffer.len())
            } else {
                buffer.len()
            };
            match connection.read(&mut buffer[..limit]) {
                Found::Bytes(len) => Some(len),
                Found::End => Some(0),
                Found::Nothing => None,
                Found::Error(errno) => {
                    failed = errno;
                    None
                }
            }
        });
        // The kernel ends a receive early only when more arrives while it runs, and then the poll tells of it.
        if (spurious || short) && connection.readable() {
            connection.segment_follows();
        }
        // The kernel looks when it has copied: more may have come meanwhile, and a wrong yes is allowed.
        let more = connection.readable() || spurious;
        drop(net);
        let result = lease.map(|lease| Lease { more, ..lease }).ok_or(failed);
        self.completes(socket, Event::Received { socket, result });
        None
    }

    fn run_send(&mut self, socket: SocketKey, connection: PeerId) -> Option<Operation> {
        let eagain = self.chance.hits(self.faults.send_eagain);
        let partial = self.chance.hits(self.faults.partial_sends);
        let slot = self.table.slot(socket)?;
        let sending = slot.sending.as_mut()?;
        let result = if eagain {
            Err(Errno(libc::EAGAIN))
        } else {
            let limit = match sending.bytes.len() {
                len if partial && len > 1 => 1 + self.chance.below(len - 1),
                len => len,
            };
            self.net.lock().write(connection, &sending.bytes[..limit])
        };
        sending.taken = result.unwrap_or(0);
        let result = result.map(|taken| taken as u32);
        self.completes(socket, Event::Sent { socket, result });
        None
    }

    fn send_end(&mut self, closing: &Closing) {
        let Some(slot) = self.table.slot(closing.socket) else {
            return;
        };
        let Some(connection) = slot.connection else {
            return; // it never dialled
        };
        let mut net = self.net.lock();
        if closing.by_reset {
            net.connection(connection).ring_resets();
            return;
        }
        if let Some(sending) = &slot.sending {
            // Its owner has not been told how much went out, so it is the ring that owes the rest to the peer. What
            // the peer's window does not take, or a broken connection, is lost, as it is in the kernel.
            let _lost = net.write(connection, &sending.bytes[sending.taken..]);
        }
        net.connection(connection).ring_finishes();
    }

    /// Tells an event, unless a close has forbidden it, and brings the table up to it.
    fn told(&mut self, socket: SocketKey, event: Event, events: &mut Vec<Event>) {
        let Some(slot) = self.table.slot(socket) else {
            unreachable!("{socket:?} was freed with {event:?} untold");
        };
        if slot.used_for == Use::Closing && !matches!(event, Event::Closed(_)) {
            if let Event::Received {
                result: Ok(lease), ..
            } = event
            {
                self.pool.take_back(lease);
            }
            return;
        }
        let mut follow_up = None;
        match &event {
            Event::Accepted { .. } => {
                slot.used_for = Use::Open;
                self.accepting -= 1;
            }
            Event::AcceptFailed(_) => {
                self.table.give_back(socket);
                self.accepting -= 1;
            }
            Event::Connected { result: Ok(()), .. } => slot.used_for = Use::Open,
            Event::Connected { result: Err(_), .. } | Event::Closed(_) => {
                self.table.give_back(socket);
            }
            Event::Readable { watching, .. } => {
                slot.watching = *watching;
                slot.watch_ends_told += u32::from(!watching);
            }
            Event::Writable(_) => slot.awaiting_writable = false,
            Event::Received { result, .. } => {
                slot.receiving = false;
                if let Ok(lease) = result {
                    self.pool.tell();
                    if lease.len as usize == self.buffer_bytes {
                        follow_up = self.more_may_be_there(socket);
                    }
                }
            }
            Event::Sent { .. } => slot.sending = None,
            Event::Woken => {}
        }
        events.push(event);
        events.extend(follow_up);
    }

    /// After a full buffer: the watch tells of the rest in a later turn; without one it is told at once.
    fn more_may_be_there(&mut self, socket: SocketKey) -> Option<Event> {
        let slot = self.table.slot(socket)?;
        if !slot.watching {
            slot.watch_ends_told += 1;
            return Some(Event::Readable {
                socket,
                watching: false,
            });
        }
        let connection = slot.connection?;
        self.net.lock().connection(connection).segment_follows();
        None
    }

    /// The slot of a socket whose operation is being run, so it cannot be stale.
    fn slot(&mut self, socket: SocketKey) -> &mut Slot {
        self.table
            .slot(socket)
            .expect("an operation outlived its socket")
    }
}
