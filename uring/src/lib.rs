//! Sockets that live in an io_uring's own table: opened, watched, read and closed without a file descriptor each.
//!
//! The gateway's shards and the load generator's threads are written against [`Sockets`]; [`Ring`] is the kernel's,
//! [`SimulatedRing`] a seeded twin with faults for tests. This is the only crate with unsafe code.
//! It knows nothing of the handset protocol, and it starts no thread.
//!
//! Rules of io_uring that it keeps, so that its owners need not know them:
//! - a socket is closed only after its armed operations have completed, or no FIN would leave (Linux 6.18);
//! - a completion that carries an older generation than its slot is dropped and counted ([`Sockets::stale`]);
//! - an accept is armed only while a slot is free for it: a connection that finds the table full would be lost;
//! - an idle socket holds a poll and no buffer; a buffer is taken from the ring's pool for the moment of a transfer.

#![expect(
    unsafe_code,
    reason = "this crate is where the kernel is spoken to; everything else forbids it"
)]

mod address;
mod arenas;
mod buffers;
mod dialling;
mod ending;
mod ring;
mod setup;
mod simulated;
mod table;
mod tag;
mod waker;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

pub use simulated::{
    Dialled, Faults, PeerId, SimulatedConfig, SimulatedNet, SimulatedRing, SimulatedWaker,
};

/// Completed operations that a turn tells of at most. What is asked in answer to them is submitted by the next turn, so
/// this bounds how long it lies there: a few milliseconds, however many sockets speak at once.
pub const TURN_COMPLETIONS_MAX: usize = 256;

pub use arenas::limit_malloc_arenas;
pub use ring::{Ring, RingConfig};
pub use setup::{RingError, table_slots_max};
pub use table::SLOT_BYTES;
pub use waker::Waker;

/// One socket in a ring's table: its slot, and how often the slot had been used before. A stale key is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketKey {
    /// Index into the table, below its size.
    pub slot: u32,
    /// Counts the uses of the slot.
    pub generation: u32,
}

/// Bytes received, in a buffer of the ring: read them with [`Sockets::bytes`], give them back with [`Sockets::release`].
#[derive(Debug)]
pub struct Lease {
    pub(crate) buffer: u32,
    pub(crate) len: u32,
    pub(crate) more: bool,
}

impl Lease {
    /// Whether there was more in the socket, bytes or the peer's end, when these bytes were taken. If not, the next
    /// [`Event::Readable`] tells of whatever comes: receiving again until EAGAIN would bring nothing.
    pub fn more(&self) -> bool {
        self.more
    }
}

/// The kernel's answer when it is not a success: an errno, positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", io::Error::from_raw_os_error(*.0))]
pub struct Errno(pub i32);

/// What a turn of the ring brought.
#[derive(Debug)]
pub enum Event {
    /// An armed accept took a connection. `peer` is its address.
    Accepted {
        /// The new socket; not yet watched.
        socket: SocketKey,
        /// The address it came from.
        peer: SocketAddr,
    },
    /// An armed accept failed or was cancelled (ECANCELED); its slot is free again.
    AcceptFailed(Errno),
    /// A [`Sockets::connect`] ended. On failure the socket is closed already; no `Closed` follows.
    Connected {
        /// As `connect` returned it.
        socket: SocketKey,
        /// Whether it is connected.
        result: Result<(), Errno>,
    },
    /// A watched socket has bytes, an end or an error to be fetched with [`Sockets::receive`].
    Readable {
        /// Which.
        socket: SocketKey,
        /// `false`: the watch has ended (the kernel may end it at any time); watch again.
        watching: bool,
    },
    /// A [`Sockets::await_writable`] came true.
    Writable(SocketKey),
    /// A receive ended: bytes, or an empty lease for the peer's end of stream, or an error (EAGAIN: nothing there).
    Received {
        /// Which.
        socket: SocketKey,
        /// What.
        result: Result<Lease, Errno>,
    },
    /// A send ended: how many bytes the kernel took, maybe fewer than given, or an error (EAGAIN: the peer reads too slowly).
    Sent {
        /// Which.
        socket: SocketKey,
        /// How many bytes.
        result: Result<u32, Errno>,
    },
    /// A [`Sockets::close`] is complete; the slot is free again.
    Closed(SocketKey),
    /// Somebody called [`Waker::wake`] since the last turn.
    Woken,
}

/// What a shard asks of its ring. No call blocks but [`Sockets::turn`]; operations on a stale key do nothing.
pub trait Sockets {
    /// Wakes a [`Sockets::turn`] from another thread.
    type Waker: Wake;

    /// Arms one accept on the ring's listener. Panics if no slot is free for it (see [`Sockets::free`]): our bug.
    fn accept(&mut self);

    /// Cancels every armed accept; each ends in [`Event::AcceptFailed`] or, if it was faster, in `Accepted`.
    fn cancel_accepts(&mut self);

    /// Accepts that are armed now.
    fn accepting(&self) -> u32;

    /// Opens a socket, binds it to `from` if given (port 0: any), and connects it; ends in [`Event::Connected`].
    /// `None` if no slot is free.
    fn connect(&mut self, from: Option<SocketAddr>, to: SocketAddr) -> Option<SocketKey>;

    /// Watches for bytes or the end of the connection, until closed: [`Event::Readable`] at each arrival.
    fn watch(&mut self, socket: SocketKey);

    /// Fetches what is there, without waiting for it: [`Event::Received`]. One at a time for a socket. If that filled
    /// the buffer, a [`Event::Readable`] follows, since there may be more. Bytes and the peer's end that come together
    /// are one arrival: who must not miss the end receives again while [`Lease::more`] says so, and after an arrival that
    /// was told during the receive.
    fn receive(&mut self, socket: SocketKey);

    /// Sends at most [`Sockets::buffer_bytes`] of `bytes` as far as the kernel takes them at once: [`Event::Sent`].
    /// Returns how many it copied. One at a time for a socket, or order is not promised.
    fn send(&mut self, socket: SocketKey, bytes: &[u8]) -> usize;

    /// From now on what is sent goes out at once, also while earlier bytes wait to be acknowledged (TCP_NODELAY): for
    /// whoever sends something in more than one piece.
    fn send_at_once(&mut self, socket: SocketKey);

    /// Tells once when the socket takes bytes again: [`Event::Writable`].
    fn await_writable(&mut self, socket: SocketKey);

    /// Ends the connection in order: what was given to `send` goes out, then FIN; then the slot is freed:
    /// [`Event::Closed`]. No other event of the socket follows this call.
    fn close(&mut self, socket: SocketKey);

    /// Ends the connection with a reset: what the peer has not read is lost. [`Event::Closed`] follows.
    fn reset(&mut self, socket: SocketKey);

    /// Submits what was asked, waits until something happens, `wait` passes (`None`: no limit) or a waker calls, and
    /// appends what happened to `events`: of much that happened at once a part, at most [`TURN_COMPLETIONS_MAX`]
    /// operations' worth. The rest comes with the next turns, which do not wait for it.
    fn turn(&mut self, wait: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;

    /// The received bytes; empty at the end of the stream.
    fn bytes(&self, lease: &Lease) -> &[u8];

    /// Gives a buffer back to the ring.
    fn release(&mut self, lease: Lease);

    /// Slots that are neither in use, nor being closed, nor promised to an armed accept.
    fn free(&self) -> u32;

    /// Size of the table in slots.
    fn slots(&self) -> u32;

    /// Size of one buffer: the most that one receive or send moves.
    fn buffer_bytes(&self) -> usize;

    /// A waker for this ring.
    fn waker(&self) -> Self::Waker;

    /// Completions dropped so far because their slot had been recycled.
    fn stale(&self) -> u64;
}

/// Wakes a ring from another thread; wakes between two turns are one [`Event::Woken`].
pub trait Wake: Clone + Send + Sync + 'static {
    /// Ends the ring's current turn, or its next one.
    fn wake(&self);
}
