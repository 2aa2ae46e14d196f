//! An owner of a ring that does anything at any time, and what it knows of its sockets.

use everline_uring::{
    Faults, Lease, PeerId, SimulatedConfig, SimulatedNet, SimulatedRing, SocketKey, Sockets,
};

pub(crate) const SLOTS: u32 = 6;
pub(crate) const BUFFERS: u32 = 3;
pub(crate) const BUFFER_BYTES: usize = 32;

/// What an owner knows of one of its sockets.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Socket {
    pub(crate) connected: bool,
    pub(crate) watching: bool,
    pub(crate) receiving: bool,
    pub(crate) sending: bool,
    pub(crate) awaiting_writable: bool,
    pub(crate) closing: bool,
    pub(crate) peer: Option<PeerId>,
}

pub(crate) struct Owner {
    pub(crate) ring: SimulatedRing,
    pub(crate) sockets: Vec<(SocketKey, Socket)>,
    pub(crate) gone: Vec<SocketKey>,
    pub(crate) leases: Vec<Lease>,
    pub(crate) armed: u32,
    pub(crate) ended: u32,
    pub(crate) woken: bool,
}

impl Owner {
    pub(crate) fn new(seed: u64, faults: Faults, net: &SimulatedNet) -> Owner {
        let config = SimulatedConfig {
            slots: SLOTS,
            buffers: BUFFERS,
            buffer_bytes: BUFFER_BYTES,
            seed,
            faults,
        };
        Owner {
            ring: SimulatedRing::on(config, net),
            sockets: Vec::new(),
            gone: Vec::new(),
            leases: Vec::new(),
            armed: 0,
            ended: 0,
            woken: false,
        }
    }

    /// Nothing is left over.
    pub(crate) fn is_at_rest(&self) {
        assert_eq!(self.ring.free(), SLOTS, "every slot is free");
        assert_eq!(self.ring.leases_out(), 0, "every lease is back");
        assert_eq!(self.ring.idle_buffers(), BUFFERS, "every buffer is back");
        assert_eq!(self.armed, self.ended, "every accept has ended once");
        assert!(self.sockets.is_empty(), "every close was told");
    }

    pub(crate) fn release_all(&mut self) {
        for lease in self.leases.drain(..) {
            self.ring.release(lease);
        }
    }

    /// Does something with an open socket, if there is one.
    pub(crate) fn with(
        &mut self,
        at: u8,
        act: impl FnOnce(&mut SimulatedRing, SocketKey, &mut Socket),
    ) {
        let open = |(_, socket): &&mut (SocketKey, Socket)| socket.connected && !socket.closing;
        let mut open: Vec<_> = self.sockets.iter_mut().filter(open).collect();
        if !open.is_empty() {
            let at = at as usize % open.len();
            let (key, socket) = &mut *open[at];
            act(&mut self.ring, *key, socket);
        }
    }

    pub(crate) fn end(&mut self, at: u8, by_reset: bool) -> Option<PeerId> {
        let len = self.sockets.len().max(1);
        let (key, socket) = self.sockets.get_mut(at as usize % len)?;
        if std::mem::replace(&mut socket.closing, true) {
            return None;
        }
        if by_reset {
            self.ring.reset(*key);
        } else {
            self.ring.close(*key);
        }
        socket.peer
    }

    pub(crate) fn use_stale(&mut self, at: u8) {
        let key = self.gone[at as usize % self.gone.len()];
        let before = self.ring.stale();
        self.ring.watch(key);
        self.ring.receive(key);
        self.ring.await_writable(key);
        assert_eq!(self.ring.send(key, b"for somebody else"), 0);
        self.ring.close(key);
        self.ring.reset(key);
        assert_eq!(self.ring.stale(), before + 6);
    }

    /// The socket that an event is about; there must be no event after its close.
    pub(crate) fn live(&mut self, socket: SocketKey) -> &mut Socket {
        let known = self.sockets.iter_mut().find(|(key, _)| *key == socket);
        let (_, entry) = known.expect("an event of a socket that is no more");
        assert!(!entry.closing, "an event of {socket:?} after its close");
        entry
    }

    pub(crate) fn forget(&mut self, socket: SocketKey) {
        self.sockets.retain(|(key, _)| *key != socket);
        self.gone.push(socket);
    }
}
