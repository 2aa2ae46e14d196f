//! A handset in front of the simulated shards: the protocol's own state machine, and the ways in which one misbehaves.

use everline_protocol::{
    ErrorCode, Handset, HandsetEvent, HandsetOutput, Millis, Msisdn, Refusal, RequestId,
};
use everline_uring::{PeerId, SimulatedNet};

/// One connection that a handset opened.
pub(super) struct Phone {
    pub(super) peer: PeerId,
    pub(super) msisdn: Msisdn,
    pub(super) machine: Handset,
    pub(super) out: HandsetOutput,
    /// What it was told, in order.
    pub(super) heard: Vec<HandsetEvent>,
    /// It says nothing more, though it reads.
    pub(super) mute: bool,
    /// The connection has not ended.
    pub(super) open: bool,
    pub(super) reading: bool,
}

impl Phone {
    pub(super) fn is_registered(&self) -> bool {
        self.open && self.machine.is_registered()
    }

    pub(super) fn heard(&self, wanted: impl Fn(&HandsetEvent) -> bool) -> usize {
        self.heard.iter().filter(|event| wanted(event)).count()
    }

    /// The CONNREFUSED that it got.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        self.heard.iter().find_map(|event| match event {
            HandsetEvent::Refused(refusal) => Some(refusal),
            _ => None,
        })
    }

    pub(super) fn was_asked(&self, wanted: RequestId) -> bool {
        let asked = |event: &HandsetEvent| matches!(event, HandsetEvent::RequestPending { id, .. } if *id == wanted);
        self.heard(asked) > 0
    }
}

impl Phone {
    /// Answers what it was sent.
    pub(super) fn pump(&mut self, net: &SimulatedNet, now: Millis) {
        if !self.open {
            return;
        }
        let bytes = net.peer_received(self.peer);
        self.machine.input(&bytes, now, &mut self.out);
        self.machine.on_deadline(now, &mut self.out);
        self.heard.append(&mut self.out.events);
        if !self.mute {
            net.peer_send(self.peer, &self.out.wire);
        }
        self.out.wire.clear();
        if net.is_closed_by_ring(self.peer) || net.is_reset_by_ring(self.peer) {
            self.open = false;
            net.peer_close(self.peer);
        }
    }
}

/// For [`Phone::heard`]: the gateway closed with this error.
pub(super) fn closed_with(code: ErrorCode) -> impl Fn(&HandsetEvent) -> bool {
    move |event| *event == HandsetEvent::Closed(code)
}
