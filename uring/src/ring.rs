//! [`Sockets`] on the kernel's io_uring: one ring, one table, for one thread.
//!
//! The public calls queue operations, [`Ring::turn`] submits them together and `complete` turns what comes back into
//! events. How a socket ends, which takes several operations, is in `ending`; how one is dialled in `dialling`.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::types::{CancelBuilder, DestinationSlot, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use crate::address::Address;
use crate::buffers::Buffers;
use crate::dialling::{Dialling, ON};
use crate::setup::{self, RingError};
use crate::table::{State, Table, Watch};
use crate::tag::{INDEX_MAX, Kind, Tag};
use crate::waker::Waker;
use crate::{Errno, Event, Lease, SocketKey, Sockets, TURN_COMPLETIONS_MAX};

/// What a ring is made of. Memory: [`crate::SLOT_BYTES`] here for each slot that is used and about 16 in the kernel, and
/// `buffers × buffer_bytes`.
#[derive(Debug)]
pub struct RingConfig {
    /// Size of the table: at most [`crate::table_slots_max`].
    pub slots: u32,
    /// Transfers that may be under way at once; more wait inside the ring.
    pub buffers: u32,
    /// The most that one receive or send moves.
    pub buffer_bytes: usize,
    /// Operations submitted at once; more are submitted in between.
    pub entries: u32,
    /// What [`Sockets::accept`] accepts on; many rings may share one listener. It is set to blocking, or an armed accept
    /// would fail at once; accepted sockets inherit its options (TCP_NODELAY).
    pub listener: Option<TcpListener>,
}

/// One io_uring with its table of sockets. Must be made and used on one thread: the kernel refuses others.
pub struct Ring {
    pub(crate) uring: IoUring,
    pub(crate) table: Table,
    buffers: Buffers,
    /// Which socket each buffer is lent to.
    borrowers: Vec<SocketKey>,
    /// Transfers that wait for a buffer, at most one receive and one send a socket.
    waiting: VecDeque<Transfer>,
    #[expect(
        clippy::vec_box,
        reason = "the kernel writes to a record's address, which must survive the vector's growth"
    )]
    accepts: Vec<Box<Accepting>>,
    accepts_free: Vec<u32>,
    listener: Option<TcpListener>,
    pub(crate) dials: HashMap<u32, Box<Dialling>>,
    pub(crate) can_bind: bool,
    waker: Waker,
    wakes: Box<u64>,
    /// Operations in flight that point into memory of ours.
    pub(crate) pointing: u32,
    completions: VecDeque<cqueue::Entry>,
    /// Events that needed no completion.
    pub(crate) ready: Vec<Event>,
    stale: u64,
}

enum Transfer {
    Receive(SocketKey),
    Send(SocketKey, Box<[u8]>),
}

struct Accepting {
    socket: Option<SocketKey>,
    peer: Address,
}

/// What a poll says when the peer has closed, or half of it, or reset.
const ENDED: u32 = (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) as u32;

/// A lease of nothing, at the end of a stream: it holds no buffer.
const NO_BUFFER: u32 = u32::MAX;

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("slots", &self.table.len())
            .field("free", &self.table.free())
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// A ring for the calling thread. The error says what forbids it, and how to allow it.
    pub fn new(config: RingConfig) -> Result<Self, RingError> {
        let os = |call| move |error| RingError::Os { call, error };
        assert!(config.slots <= INDEX_MAX && config.buffers <= INDEX_MAX && config.buffers > 0);
        let uring = setup::build(config.entries, config.slots)?;
        if let Some(listener) = &config.listener {
            listener
                .set_nonblocking(false)
                .map_err(os("set the listener to blocking"))?;
        }
        let can_bind = setup::can_bind(&uring);
        let nobody = SocketKey {
            slot: 0,
            generation: 0,
        };
        let mut ring = Self {
            uring,
            table: Table::new(config.slots),
            buffers: Buffers::new(config.buffers, config.buffer_bytes),
            borrowers: vec![nobody; config.buffers as usize],
            waiting: VecDeque::new(),
            accepts: Vec::new(),
            accepts_free: Vec::new(),
            listener: config.listener,
            dials: HashMap::new(),
            can_bind,
            waker: Waker::new().map_err(os("eventfd"))?,
            wakes: Box::new(0),
            pointing: 0,
            completions: VecDeque::new(),
            ready: Vec::new(),
            stale: 0,
        };
        ring.await_wake();
        Ok(ring)
    }

    /// Queues one operation; submits what is queued when there is no room.
    pub(crate) fn push(&mut self, entry: &squeue::Entry) {
        self.make_room(1);
        // SAFETY: every entry that this crate builds points, if anywhere, to memory that stays put until its completion:
        // a buffer lent to it, a boxed record, the boxed wake count, or a static; `Drop` waits for all of them.
        let pushed = unsafe { self.uring.submission().push(entry) };
        assert!(pushed.is_ok(), "there is room: it was just made");
    }

    /// Makes room for `entries` operations that must be submitted together (a chain of linked ones).
    pub(crate) fn make_room(&mut self, entries: usize) {
        loop {
            let queue = self.uring.submission();
            if queue.capacity() - queue.len() >= entries {
                return;
            }
            drop(queue);
            // A failure is EBUSY: completions must be taken before more is submitted. The next round tries again.
            let _ = self.uring.submit();
            self.reap();
        }
    }

    fn reap(&mut self) {
        self.completions.extend(self.uring.completion());
    }

    fn enter(&self, wait: Option<Duration>) -> io::Result<()> {
        let entered = match wait {
            None => self.uring.submit_and_wait(1),
            Some(wait) => {
                let limit = Timespec::from(wait);
                self.uring
                    .submitter()
                    .submit_with_args(1, &SubmitArgs::new().timespec(&limit))
            }
        };
        match entered {
            Err(error) if !passing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn await_wake(&mut self) {
        let target = std::ptr::from_mut(&mut *self.wakes).cast();
        let entry = opcode::Read::new(Fd(self.waker.fd()), target, size_of::<u64>() as u32).build();
        self.pointing += 1;
        self.push(&entry.user_data(Tag::of_index(Kind::Wake, 0).user_data()));
    }

    fn start(&mut self, transfer: Transfer) {
        let Some(buffer) = self.buffers.take() else {
            self.waiting.push_back(transfer);
            return;
        };
        let (kind, socket, entry) = match transfer {
            Transfer::Receive(socket) => {
                let (target, bytes) = (self.buffers.address(buffer), self.buffers.bytes() as u32);
                let entry = opcode::Recv::new(Fixed(socket.slot), target, bytes)
                    .flags(libc::MSG_DONTWAIT)
                    .build();
                (Kind::Receive, socket, entry)
            }
            Transfer::Send(socket, bytes) => {
                let len = self.buffers.fill(buffer, &bytes) as u32;
                let entry =
                    opcode::Send::new(Fixed(socket.slot), self.buffers.address(buffer), len)
                        .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                        .build();
                (Kind::Send, socket, entry)
            }
        };
        self.borrowers[buffer as usize] = socket;
        self.pointing += 1;
        self.push(&entry.user_data(Tag::of_index(kind, buffer).user_data()));
    }

    fn start_waiting(&mut self) {
        while self.buffers.any_free() {
            let Some(transfer) = self.waiting.pop_front() else {
                return;
            };
            self.start(transfer);
        }
    }

    /// Nobody wants the bytes of a socket that is being closed: its receive need not wait for a buffer any more.
    pub(crate) fn forget_waiting_receive(&mut self, socket: SocketKey) {
        let waits =
            |transfer: &Transfer| matches!(transfer, Transfer::Receive(other) if *other == socket);
        if let Some(at) = self.waiting.iter().position(waits) {
            self.waiting.remove(at);
            self.operation_ended(socket);
        }
    }

    /// One operation of a socket has had its last completion.
    fn operation_ended(&mut self, socket: SocketKey) {
        let slot = self
            .table
            .slot(socket)
            .expect("a slot is not released while an operation is in flight");
        slot.in_flight -= 1;
        self.end_if_idle(socket);
    }

    fn complete(&mut self, completion: &cqueue::Entry, events: &mut Vec<Event>) {
        let tag = Tag::from_user_data(completion.user_data());
        let result = completion.result();
        match tag.kind() {
            Some(Kind::Wake) => {
                self.pointing -= 1;
                self.await_wake();
                events.push(Event::Woken);
            }
            Some(Kind::Accept) => events.push(self.accept_ended(tag.index(), result)),
            Some(Kind::Watch) => self.watch_fired(
                tag.socket(),
                result,
                cqueue::more(completion.flags()),
                events,
            ),
            Some(Kind::Writable) => {
                if self.table.slot(tag.socket()).is_none() {
                    self.stale += 1;
                    return;
                }
                if self.table.open(tag.socket()).is_some() {
                    events.push(Event::Writable(tag.socket()));
                }
                self.operation_ended(tag.socket());
            }
            Some(kind @ (Kind::Receive | Kind::Send)) => {
                let more = cqueue::sock_nonempty(completion.flags());
                self.transfer_ended(kind, tag.index(), result, more, events);
            }
            Some(Kind::Connect) => self.dial_step_ended(tag.socket(), result, events),
            Some(Kind::Close) => self.closed(tag.socket(), events),
            Some(Kind::Ignore | Kind::Discard | Kind::Linger) => {}
            None => self.stale += 1,
        }
    }

    fn accept_ended(&mut self, index: u32, result: i32) -> Event {
        self.pointing -= 1;
        self.accepts_free.push(index);
        let record = &mut self.accepts[index as usize];
        let socket = record.socket.take().expect("an armed accept has its slot");
        if result < 0 {
            self.table.slot(socket).expect("promised").in_flight = 0;
            self.table.release(socket);
            return Event::AcceptFailed(Errno(-result));
        }
        let slot = self.table.slot(socket).expect("promised");
        slot.state = State::Open;
        slot.in_flight = 0;
        Event::Accepted {
            socket,
            peer: record.peer.read(),
        }
    }

    fn watch_fired(&mut self, socket: SocketKey, result: i32, more: bool, events: &mut Vec<Event>) {
        let Some(slot) = self.table.slot(socket) else {
            self.stale += 1;
            return;
        };
        // Without F_MORE the kernel has ended the multishot, whatever its result says.
        // An end that came together with bytes is told once, here: a receive that takes the bytes does not see a reset
        // behind them (Linux 6.18).
        let ended = result >= 0 && result as u32 & ENDED != 0;
        slot.watch = match (more, ended || slot.watch == Watch::Ended) {
            (false, _) => Watch::Off,
            (true, false) => Watch::On,
            (true, true) => Watch::Ended,
        };
        if slot.state == State::Open && (result >= 0 || !more) {
            events.push(Event::Readable {
                socket,
                watching: more,
            });
        }
        if !more {
            self.operation_ended(socket);
        }
    }

    fn transfer_ended(
        &mut self,
        kind: Kind,
        buffer: u32,
        result: i32,
        more: bool,
        events: &mut Vec<Event>,
    ) {
        self.pointing -= 1;
        let socket = self.borrowers[buffer as usize];
        let slot = self
            .table
            .slot(socket)
            .expect("a slot is not released while an operation is in flight");
        let (open, watching) = (slot.state == State::Open, slot.watch.is_on());
        let more = more || slot.watch == Watch::Ended;
        let keeps_buffer = kind == Kind::Receive && open && result > 0;
        if !keeps_buffer {
            self.buffers.give_back(buffer);
        }
        if open && kind == Kind::Send {
            let result = if result < 0 {
                Err(Errno(-result))
            } else {
                Ok(result as u32)
            };
            events.push(Event::Sent { socket, result });
        } else if open {
            let result = match result {
                ..0 => Err(Errno(-result)),
                0 => Ok(Lease {
                    buffer: NO_BUFFER,
                    len: 0,
                    more,
                }),
                1.. => Ok(Lease {
                    buffer,
                    len: result as u32,
                    more,
                }),
            };
            let full = matches!(&result, Ok(lease) if lease.len as usize == self.buffers.bytes());
            events.push(Event::Received { socket, result });
            if full {
                // The poll tells of arrivals, not of what is left: a full buffer may not have been all.
                events.push(Event::Readable { socket, watching });
            }
        }
        self.operation_ended(socket);
    }

    /// Cancels whatever points into our memory and waits for it, a bounded while. Tells whether all of it has ended.
    fn settle(&mut self) -> bool {
        let _ = self.uring.submit();
        // A failure (ENOENT: nothing to cancel) is as good.
        let _ = self.uring.submitter().register_sync_cancel(
            Some(Timespec::from(Duration::from_secs(1))),
            CancelBuilder::any(),
        );
        for _ in 0..100 {
            self.reap();
            while let Some(completion) = self.completions.pop_front() {
                let kind = Tag::from_user_data(completion.user_data()).kind();
                if matches!(
                    kind,
                    Some(Kind::Wake | Kind::Accept | Kind::Receive | Kind::Send | Kind::Connect)
                ) {
                    self.pointing -= 1;
                }
            }
            if self.pointing == 0 {
                return true;
            }
            let _ = self.enter(Some(Duration::from_millis(10)));
        }
        false
    }
}

impl Sockets for Ring {
    type Waker = Waker;

    fn accept(&mut self) {
        let listener = self
            .listener
            .as_ref()
            .expect("a ring that accepts was given a listener")
            .as_raw_fd();
        let socket = self
            .table
            .take(State::Promised)
            .expect("an accept is armed only while a slot is free");
        self.table.slot(socket).expect("just taken").in_flight = 1;
        let index = self.accepts_free.pop().unwrap_or_else(|| {
            self.accepts.push(Box::new(Accepting {
                socket: None,
                peer: Address::empty(),
            }));
            self.accepts.len() as u32 - 1
        });
        let record = &mut self.accepts[index as usize];
        record.socket = Some(socket);
        record.peer.clear();
        let entry = opcode::Accept::new(Fd(listener), record.peer.name(), record.peer.len())
            .file_index(Some(target(socket)))
            .build();
        self.pointing += 1;
        self.push(&entry.user_data(Tag::of_index(Kind::Accept, index).user_data()));
    }

    fn cancel_accepts(&mut self) {
        for index in 0..self.accepts.len() {
            if self.accepts[index].socket.is_some() {
                self.cancel(Tag::of_index(Kind::Accept, index as u32));
            }
        }
    }

    fn accepting(&self) -> u32 {
        (self.accepts.len() - self.accepts_free.len()) as u32
    }

    fn connect(&mut self, from: Option<SocketAddr>, to: SocketAddr) -> Option<SocketKey> {
        let socket = self.table.take(State::Connecting)?;
        self.dial(socket, from, to);
        Some(socket)
    }

    fn watch(&mut self, socket: SocketKey) {
        let Some(slot) = self.table.open(socket).filter(|slot| !slot.watch.is_on()) else {
            return;
        };
        slot.watch = Watch::On;
        slot.in_flight += 1;
        let events = (libc::POLLIN | libc::POLLRDHUP) as u32;
        let entry = opcode::PollAdd::new(Fixed(socket.slot), events)
            .multi(true)
            .build();
        self.push(&entry.user_data(Tag::of_socket(Kind::Watch, socket).user_data()));
    }

    fn receive(&mut self, socket: SocketKey) {
        let Some(slot) = self.table.open(socket) else {
            return;
        };
        slot.in_flight += 1;
        self.start(Transfer::Receive(socket));
    }

    fn send(&mut self, socket: SocketKey, bytes: &[u8]) -> usize {
        let bytes = &bytes[..bytes.len().min(self.buffers.bytes())];
        let Some(slot) = self.table.open(socket).filter(|_| !bytes.is_empty()) else {
            return 0;
        };
        slot.in_flight += 1;
        self.start(Transfer::Send(socket, bytes.into()));
        bytes.len()
    }

    fn send_at_once(&mut self, socket: SocketKey) {
        if self.table.open(socket).is_none() {
            return;
        }
        let (level, on) = (libc::IPPROTO_TCP as u32, std::ptr::from_ref(&ON).cast());
        let option = libc::TCP_NODELAY as u32;
        let size = size_of_val(&ON) as u32;
        let entry = opcode::SetSockOpt::new(Fixed(socket.slot), level, option, on, size).build();
        // It completes during submission, before whatever is asked of the socket next. Without it bytes are only late.
        let entry = entry.user_data(Tag::of_index(Kind::Ignore, 0).user_data());
        self.push(&entry.flags(squeue::Flags::SKIP_SUCCESS));
    }

    fn await_writable(&mut self, socket: SocketKey) {
        let Some(slot) = self.table.open(socket) else {
            return;
        };
        slot.in_flight += 1;
        let entry = opcode::PollAdd::new(Fixed(socket.slot), libc::POLLOUT as u32).build();
        self.push(&entry.user_data(Tag::of_socket(Kind::Writable, socket).user_data()));
    }

    fn close(&mut self, socket: SocketKey) {
        self.end(socket, false);
    }

    fn reset(&mut self, socket: SocketKey) {
        self.end(socket, true);
    }

    fn turn(&mut self, wait: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.start_waiting();
        let idle = self.ready.is_empty() && self.completions.is_empty();
        self.enter(if idle { wait } else { Some(Duration::ZERO) })?;
        self.reap();
        events.append(&mut self.ready);
        for _ in 0..TURN_COMPLETIONS_MAX {
            let Some(completion) = self.completions.pop_front() else {
                break;
            };
            self.complete(&completion, events);
        }
        events.append(&mut self.ready);
        Ok(())
    }

    fn bytes(&self, lease: &Lease) -> &[u8] {
        if lease.buffer == NO_BUFFER {
            &[]
        } else {
            self.buffers.look(lease.buffer, lease.len)
        }
    }

    fn release(&mut self, lease: Lease) {
        if lease.buffer != NO_BUFFER {
            self.buffers.give_back(lease.buffer);
        }
    }

    fn free(&self) -> u32 {
        self.table.free()
    }

    fn slots(&self) -> u32 {
        self.table.len()
    }

    fn buffer_bytes(&self) -> usize {
        self.buffers.bytes()
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn stale(&self) -> u64 {
        self.stale
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.settle() {
            // The kernel may still write there: better a leak at the end of a thread than a write into freed memory.
            std::mem::forget(std::mem::replace(&mut self.buffers, Buffers::new(1, 64)));
            std::mem::forget(std::mem::take(&mut self.accepts));
            std::mem::forget(std::mem::take(&mut self.dials));
            std::mem::forget(std::mem::take(&mut self.wakes));
        }
    }
}

/// The place in the table that an operation puts its socket into.
pub(crate) fn target(socket: SocketKey) -> DestinationSlot {
    DestinationSlot::try_from_slot_target(socket.slot)
        .expect("a table is far smaller than the largest slot number")
}

/// Errors of `io_uring_enter` after which the next turn goes on: time is up, a signal, completions to be taken first.
fn passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
    )
}
