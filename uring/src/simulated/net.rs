//! The virtual network of [`super::SimulatedRing`]: one listener's backlog, and the peers that a test plays.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection::{Connection, Phase};
use crate::Errno;

/// What a peer that has stopped reading still takes before a send meets EAGAIN, unless a test sets another figure.
const WINDOW_BYTES: usize = 64 * 1024;
/// Ports given to connections that ask for none begin here, as Linux's do.
const FIRST_EPHEMERAL_PORT: u16 = 32_768;

/// A peer of the simulated rings: the other end of one connection. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub(super) usize);

/// A connection that a ring opened, for the test to [`SimulatedNet::accept_dialled`] or [`SimulatedNet::refuse_dialled`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialled {
    /// The end that the test plays.
    pub peer: PeerId,
    /// The address that the ring's end has.
    pub from: SocketAddr,
    /// The address that it wants to reach.
    pub to: SocketAddr,
}

/// The test's handle on the virtual network. Clones are the same network; rings that share one compete for the
/// connections in its backlog. What a test does here is noticed by a ring at its next turn.
#[derive(Debug, Clone)]
pub struct SimulatedNet {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
pub(super) struct State {
    connections: Vec<Connection>,
    backlog: VecDeque<PeerId>,
    dialled: Vec<Dialled>,
    accept_dials: bool,
    window_bytes: usize,
    next_port: u16,
}

impl Default for SimulatedNet {
    fn default() -> SimulatedNet {
        SimulatedNet {
            state: Arc::new(Mutex::new(State {
                connections: Vec::new(),
                backlog: VecDeque::new(),
                dialled: Vec::new(),
                accept_dials: false,
                window_bytes: WINDOW_BYTES,
                next_port: FIRST_EPHEMERAL_PORT,
            })),
        }
    }
}

impl SimulatedNet {
    /// An empty network.
    pub fn new() -> SimulatedNet {
        SimulatedNet::default()
    }

    /// A peer at this address connects to the rings' listener: it waits in the backlog for an accept.
    pub fn dial(&self, peer: SocketAddr) -> PeerId {
        let mut state = self.lock();
        let id = state.add(Phase::Established, peer);
        state.backlog.push_back(id);
        id
    }

    /// Connections that no accept has taken yet.
    pub fn backlog_len(&self) -> usize {
        self.lock().backlog.len()
    }

    /// The peer sends bytes; lost if either end has closed.
    pub fn peer_send(&self, peer: PeerId, bytes: &[u8]) {
        self.lock().connection(peer).peer_sends(bytes);
    }

    /// What the peer has received since the last call.
    pub fn peer_received(&self, peer: PeerId) -> Vec<u8> {
        self.lock().connection(peer).take_received()
    }

    /// The peer sends FIN and goes on reading.
    pub fn peer_finish(&self, peer: PeerId) {
        self.lock().connection(peer).peer_finishes();
    }

    /// The peer closes in order: FIN, and a reset for what is sent to it from now on.
    pub fn peer_close(&self, peer: PeerId) {
        self.lock().connection(peer).peer_closes();
    }

    /// The peer resets the connection.
    pub fn peer_reset(&self, peer: PeerId) {
        self.lock().connection(peer).peer_resets();
    }

    /// The peer reads no more: it takes a window full, then sends to it meet EAGAIN.
    pub fn peer_stop_reading(&self, peer: PeerId) {
        self.lock().connection(peer).peer_reads(false);
    }

    /// The peer reads again, first what stands in its window.
    pub fn peer_resume_reading(&self, peer: PeerId) {
        self.lock().connection(peer).peer_reads(true);
    }

    /// How much a peer that does not read takes, in bytes; for every connection from now on.
    pub fn set_window_bytes(&self, bytes: usize) {
        self.lock().window_bytes = bytes;
    }

    /// Whether the peer has read to the ring's FIN.
    pub fn is_closed_by_ring(&self, peer: PeerId) -> bool {
        self.lock().connection(peer).fin_seen()
    }

    /// Whether the ring has reset the connection.
    pub fn is_reset_by_ring(&self, peer: PeerId) -> bool {
        self.lock().connection(peer).reset_seen()
    }

    /// The connections that rings opened since the last call, in order.
    pub fn take_dialled(&self) -> Vec<Dialled> {
        std::mem::take(&mut self.lock().dialled)
    }

    /// From now on every connection that a ring opens is accepted without asking; [`SimulatedNet::take_dialled`]
    /// still lists it.
    pub fn accept_all_dialled(&self) {
        self.lock().accept_dials = true;
    }

    /// The connection that a ring opened is established.
    pub fn accept_dialled(&self, peer: PeerId) {
        self.answer(peer, Phase::Established);
    }

    /// The connection that a ring opened fails: ECONNREFUSED, ETIMEDOUT, …
    pub fn refuse_dialled(&self, peer: PeerId, errno: Errno) {
        self.answer(peer, Phase::Refused(errno));
    }

    fn answer(&self, peer: PeerId, phase: Phase) {
        let mut state = self.lock();
        let connection = state.connection(peer);
        assert_eq!(
            connection.phase,
            Phase::Dialled,
            "{peer:?} is not a dialled connection that waits for an answer"
        );
        connection.phase = phase;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A test that has failed on another thread must not hide its message behind a second panic here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn connection(&mut self, id: PeerId) -> &mut Connection {
        &mut self.connections[id.0]
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.backlog.is_empty()
    }

    pub(super) fn take_waiting(&mut self) -> Option<(PeerId, SocketAddr)> {
        let id = self.backlog.pop_front()?;
        Some((id, self.connections[id.0].peer))
    }

    pub(super) fn dial_out(&mut self, from: Option<SocketAddr>, to: SocketAddr) -> PeerId {
        let phase = if self.accept_dials {
            Phase::Established
        } else {
            Phase::Dialled
        };
        let mut from = from.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
        if from.port() == 0 {
            from.set_port(self.next_port);
            self.next_port = self
                .next_port
                .checked_add(1)
                .unwrap_or(FIRST_EPHEMERAL_PORT);
        }
        let peer = self.add(phase, to);
        self.dialled.push(Dialled { peer, from, to });
        peer
    }

    pub(super) fn writable(&self, id: PeerId) -> bool {
        self.connections[id.0].writable(self.window_bytes)
    }

    pub(super) fn write(&mut self, id: PeerId, bytes: &[u8]) -> Result<usize, Errno> {
        self.connections[id.0].write(bytes, self.window_bytes)
    }

    fn add(&mut self, phase: Phase, peer: SocketAddr) -> PeerId {
        self.connections.push(Connection::new(phase, peer));
        PeerId(self.connections.len() - 1)
    }
}
