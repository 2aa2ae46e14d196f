//! The world of the simulated ring.

use std::net::SocketAddr;

use everline_uring::{
    Dialled, Errno, Faults, PeerId, SimulatedConfig, SimulatedNet, SimulatedRing,
};

use crate::world::{Heard, Shape, World};

/// Less than a peer of the kernel takes, so that a slow one fills up soon.
const WINDOW_BYTES: usize = 40_000;

pub(crate) struct SimulatedWorld {
    ring: Option<SimulatedRing>,
    net: SimulatedNet,
    buffers: u32,
    dialled: Vec<Dialled>,
    dials: u16,
}

impl SimulatedWorld {
    pub(crate) fn new(shape: Shape, seed: u64, faults: Faults) -> SimulatedWorld {
        let ring = SimulatedRing::new(SimulatedConfig {
            slots: shape.slots,
            buffers: shape.buffers,
            buffer_bytes: shape.buffer_bytes,
            seed,
            faults,
        });
        let net = ring.net();
        net.set_window_bytes(WINDOW_BYTES);
        SimulatedWorld {
            ring: Some(ring),
            net,
            buffers: shape.buffers,
            dialled: Vec::new(),
            dials: 0,
        }
    }

    /// What the kernel does by itself: refuses what nobody listens for, and establishes the rest.
    fn answer_dialled(&mut self) {
        for dialled in self.net.take_dialled() {
            if dialled.to == nobody() {
                self.net
                    .refuse_dialled(dialled.peer, Errno(libc::ECONNREFUSED));
            } else {
                self.net.accept_dialled(dialled.peer);
                self.dialled.push(dialled);
            }
        }
    }
}

fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

impl World for SimulatedWorld {
    type Ring = SimulatedRing;
    type Peer = PeerId;

    fn ring(&mut self) -> &mut SimulatedRing {
        self.answer_dialled();
        self.ring.as_mut().expect("the ring is still there")
    }

    fn drop_ring(&mut self) {
        self.ring = None;
    }

    fn pool_is_whole(&self) -> Option<bool> {
        let ring = self.ring.as_ref()?;
        Some(ring.leases_out() == 0 && ring.idle_buffers() == self.buffers)
    }

    fn dial(&mut self) -> (PeerId, SocketAddr) {
        self.dials += 1;
        let address = SocketAddr::from(([127, 0, 0, 9], 1000 + self.dials));
        (self.net.dial(address), address)
    }

    fn destination(&mut self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 7000))
    }

    fn nobody(&mut self) -> SocketAddr {
        nobody()
    }

    fn answer(&mut self) -> Option<(PeerId, SocketAddr)> {
        self.answer_dialled();
        let dialled = self.dialled.pop()?;
        Some((dialled.peer, dialled.from))
    }

    fn say(&mut self, peer: &mut PeerId, bytes: &[u8]) {
        self.net.peer_send(*peer, bytes);
    }

    fn hear(&mut self, peer: &mut PeerId) -> Heard {
        let bytes = self.net.peer_received(*peer);
        if !bytes.is_empty() {
            Heard::Bytes(bytes)
        } else if self.net.is_reset_by_ring(*peer) {
            Heard::Reset
        } else if self.net.is_closed_by_ring(*peer) {
            Heard::Fin
        } else {
            Heard::Nothing
        }
    }

    fn set_reading(&mut self, peer: &mut PeerId, reads: bool) {
        if reads {
            self.net.peer_resume_reading(*peer);
        } else {
            self.net.peer_stop_reading(*peer);
        }
    }

    fn finish(&mut self, peer: &mut PeerId) {
        self.net.peer_finish(*peer);
    }

    fn reset(&mut self, peer: PeerId) {
        self.net.peer_reset(peer);
    }
}
