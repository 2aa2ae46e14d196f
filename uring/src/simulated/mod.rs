//! [`SimulatedRing`]: the twin of the kernel's ring for tests, deterministic under a seed, with faults to order.
//!
//! A test plays the peers through [`SimulatedNet`], calls `turn`, and owns the time: a turn never sleeps, whatever its
//! `wait`. Where the kernel leaves something open (which socket first, how late, how much at once) the seed decides;
//! where the kernel is strict, so is the simulation:
//! - a watch tells arrivals, not states: bytes that are left in a socket after its `Readable` are told again only
//!   because a receive filled its buffer;
//! - bytes and end of stream that arrive together are one `Readable`;
//! - receives wait for a buffer while the pool is empty, so leases that are kept starve the ring.
//!
//! Misuse of [`Sockets`] panics with a message, as it is the owner's bug. It knows no descriptors and no TLS.

mod chance;
mod connection;
mod net;
mod table;
mod turn;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use self::chance::Chance;
use self::table::{Pool, Sending, Slot, Table, Use};
use self::turn::{Closing, Completion, Operation};
use crate::{Event, Lease, SocketKey, Sockets, Wake};

pub use self::net::{Dialled, PeerId, SimulatedNet};

/// How likely each fault is whenever it could happen: 0.0 never, below 1.0 or nothing would ever end.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// A receive brings a part of what is there; the rest is told by another `Readable`, as a later segment.
    pub short_reads: f64,
    /// A receive ends in EAGAIN though bytes are there (told again), or `Readable` comes with nothing to fetch.
    pub spurious_eagain: f64,
    /// A watch ends: `Readable { watching: false }`, with or without something to fetch.
    pub watch_ends: f64,
    /// An accept fails with ENFILE, EMFILE or ECONNABORTED; the connection stays in the backlog for the next.
    pub accept_errors: f64,
    /// Something that has happened is told in a later turn.
    pub late_completions: f64,
    /// A send takes a part of its bytes.
    pub partial_sends: f64,
    /// A send takes nothing: EAGAIN.
    pub send_eagain: f64,
    /// A close needs another turn.
    pub delayed_close: f64,
}

impl Faults {
    /// A network without faults.
    pub const NONE: Faults = Faults::all(0.0);

    /// Every fault at the same probability.
    pub const fn all(probability: f64) -> Faults {
        Faults {
            short_reads: probability,
            spurious_eagain: probability,
            watch_ends: probability,
            accept_errors: probability,
            late_completions: probability,
            partial_sends: probability,
            send_eagain: probability,
            delayed_close: probability,
        }
    }
}

/// What a [`SimulatedRing`] is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatedConfig {
    /// Size of the table of sockets.
    pub slots: u32,
    /// Receive buffers.
    pub buffers: u32,
    /// Size of each.
    pub buffer_bytes: usize,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// What goes wrong, how often.
    pub faults: Faults,
}

/// A ring whose kernel is this process. See the module's page.
#[derive(Debug)]
pub struct SimulatedRing {
    faults: Faults,
    buffer_bytes: usize,
    chance: Chance,
    net: SimulatedNet,
    table: Table,
    pool: Pool,
    /// Asked for and not ended; watches and armed accepts stay here.
    operations: Vec<Operation>,
    closing: Vec<Closing>,
    /// Ended and not yet told.
    completions: Vec<Completion>,
    accepting: u32,
    stale: u64,
    woken: Arc<AtomicBool>,
}

/// Wakes a [`SimulatedRing`]: its next turn tells `Woken`.
#[derive(Debug, Clone)]
pub struct SimulatedWaker {
    woken: Arc<AtomicBool>,
}

impl SimulatedRing {
    /// A ring on a network of its own: [`SimulatedRing::net`].
    pub fn new(config: SimulatedConfig) -> SimulatedRing {
        SimulatedRing::on(config, &SimulatedNet::new())
    }

    /// A ring on a network that it shares with others: they compete for the connections in its backlog.
    pub fn on(config: SimulatedConfig, net: &SimulatedNet) -> SimulatedRing {
        assert!(config.buffers > 0, "no receive can end without a buffer");
        assert!(
            config.buffer_bytes > 0,
            "an empty buffer would look like an end of stream"
        );
        SimulatedRing {
            faults: config.faults,
            buffer_bytes: config.buffer_bytes,
            chance: Chance::new(config.seed),
            net: net.clone(),
            table: Table::new(config.slots),
            pool: Pool::new(config.buffers, config.buffer_bytes),
            operations: Vec::new(),
            closing: Vec::new(),
            completions: Vec::new(),
            accepting: 0,
            stale: 0,
            woken: Arc::default(),
        }
    }

    /// The handle by which a test plays the peers.
    pub fn net(&self) -> SimulatedNet {
        self.net.clone()
    }

    /// Leases that the owner has and has not given back.
    pub fn leases_out(&self) -> u32 {
        self.pool.told()
    }

    /// Buffers that neither the owner nor an untold completion holds.
    pub fn idle_buffers(&self) -> u32 {
        self.pool.idle()
    }

    /// Sockets that are open or being connected.
    pub fn in_use(&self) -> u32 {
        self.table.in_use(Use::Open) + self.table.in_use(Use::Connecting)
    }

    /// Sockets whose close has not been told.
    pub fn closing(&self) -> u32 {
        self.table.in_use(Use::Closing)
    }

    /// Changes what goes wrong from now on, so that a test can let a stormy run come to rest.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// The slot of an open socket, `None` and a count if the key is stale. Panics while it is being connected.
    fn open(&mut self, socket: SocketKey, operation: &str) -> Option<&mut Slot> {
        match self.table.slot(socket) {
            Some(slot) if slot.used_for == Use::Open => Some(slot),
            Some(slot) if slot.used_for == Use::Connecting => {
                panic!("{operation} on {socket:?} before it is connected")
            }
            _ => {
                self.stale += 1;
                None
            }
        }
    }

    fn end(&mut self, socket: SocketKey, by_reset: bool) {
        match self.table.slot(socket) {
            Some(slot) if matches!(slot.used_for, Use::Open | Use::Connecting) => {
                slot.used_for = Use::Closing;
                self.closing.push(Closing::asked(socket, by_reset));
            }
            _ => self.stale += 1,
        }
    }
}

impl Sockets for SimulatedRing {
    type Waker = SimulatedWaker;

    fn accept(&mut self) {
        let chance = &mut self.chance;
        let slot = self.table.take(Use::Promised, |free| chance.below(free));
        let slot = slot.expect("accept() with no free slot: the connection would be lost");
        self.accepting += 1;
        self.operations.push(Operation::Accept {
            slot,
            cancelled: false,
        });
    }

    fn cancel_accepts(&mut self) {
        for operation in &mut self.operations {
            if let Operation::Accept { cancelled, .. } = operation {
                *cancelled = true;
            }
        }
    }

    fn accepting(&self) -> u32 {
        self.accepting
    }

    fn connect(&mut self, from: Option<SocketAddr>, to: SocketAddr) -> Option<SocketKey> {
        let chance = &mut self.chance;
        let socket = self
            .table
            .take(Use::Connecting, |free| chance.below(free))?;
        self.operations.push(Operation::Dial { socket, from, to });
        Some(socket)
    }

    fn watch(&mut self, socket: SocketKey) {
        let Some(slot) = self.open(socket, "watch()") else {
            return;
        };
        let was_told = slot.watch_ends_told > 0;
        slot.watch_ends_told = slot.watch_ends_told.saturating_sub(1);
        if slot.watching {
            // One turn may tell twice that the watch has ended, and an owner may answer both.
            assert!(was_told, "watch() on {socket:?}, which is watched");
            return;
        }
        slot.watching = true;
        self.operations.push(Operation::Watch {
            socket,
            armed: false,
        });
    }

    fn receive(&mut self, socket: SocketKey) {
        let Some(slot) = self.open(socket, "receive()") else {
            return;
        };
        assert!(
            !slot.receiving,
            "a second receive() on {socket:?} before the first was told"
        );
        slot.receiving = true;
        self.operations.push(Operation::Receive(socket));
    }

    fn send(&mut self, socket: SocketKey, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.buffer_bytes);
        let Some(slot) = self.open(socket, "send()") else {
            return 0;
        };
        if len == 0 {
            return 0;
        }
        assert!(
            slot.sending.is_none(),
            "a second send() on {socket:?} before the first was told"
        );
        slot.sending = Some(Sending {
            bytes: bytes[..len].to_vec(),
            taken: 0,
        });
        self.operations.push(Operation::Send(socket));
        len
    }

    fn send_at_once(&mut self, _socket: SocketKey) {
        // The simulation delays what is sent as its faults say, and nothing else does.
    }

    fn await_writable(&mut self, socket: SocketKey) {
        let Some(slot) = self.open(socket, "await_writable()") else {
            return;
        };
        assert!(
            !slot.awaiting_writable,
            "a second await_writable() on {socket:?} before the first was told"
        );
        slot.awaiting_writable = true;
        self.operations.push(Operation::AwaitWritable(socket));
    }

    fn close(&mut self, socket: SocketKey) {
        self.end(socket, false);
    }

    fn reset(&mut self, socket: SocketKey) {
        self.end(socket, true);
    }

    fn turn(&mut self, _wait: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.run_operations();
        self.finish_closing();
        self.tell(events);
        Ok(())
    }

    fn bytes(&self, lease: &Lease) -> &[u8] {
        self.pool.bytes(lease)
    }

    fn release(&mut self, lease: Lease) {
        self.pool.release(lease);
    }

    fn free(&self) -> u32 {
        self.table.free()
    }

    fn slots(&self) -> u32 {
        self.table.size()
    }

    fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    fn waker(&self) -> SimulatedWaker {
        SimulatedWaker {
            woken: Arc::clone(&self.woken),
        }
    }

    fn stale(&self) -> u64 {
        self.stale
    }
}

impl Drop for SimulatedRing {
    /// A process that ends has its sockets closed by the kernel.
    fn drop(&mut self) {
        let mut net = self.net.lock();
        for connection in self.table.connections() {
            net.connection(connection).ring_finishes();
        }
    }
}

impl Wake for SimulatedWaker {
    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
    }
}
