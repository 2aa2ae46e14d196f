//! The simulated handsets: the owners of the handset machines. They dial, back off, move, and open data channels.

use everline_protocol::{
    Backoff, DataLine, ErrorCode, Handset, HandsetEvent, HandsetOutput, Identity, Millis, Msisdn,
    Session,
};

use crate::random::Random;
use crate::world::{Event, Side, World};

const ANSWER_LIMIT: Millis = Millis::from_secs(10);

pub(crate) struct Device {
    pub(crate) identity: Identity,
    backoff: Backoff,
    /// A dial after a back-off is on its way.
    dialing: bool,
}

impl Device {
    pub(crate) fn new(index: usize, random: &mut Random) -> Self {
        let msisdn = Msisdn::from_u64(34_600_000_001 + index as u64).expect("11 digits");
        let timeout_s = 5 + random.below(60) as u32;
        let identity = Identity {
            msisdn,
            token: "token".into(),
            timeout_s,
            linger_s: 0,
            agent: None,
        };
        Self {
            identity,
            backoff: Backoff::default(),
            dialing: false,
        }
    }
}

impl World {
    pub(crate) fn dial(&mut self, device: usize, anew: bool) {
        if !anew {
            self.devices[device].dialing = false;
            if self.is_connected(device) {
                return;
            }
        }
        if self.troubled() && self.random.chance(25) {
            self.count("dial failed");
            self.dial_later(device, None);
            return;
        }
        let mut out = HandsetOutput::default();
        let session = Session::new(self.now, &self.gateway.rules);
        let handset = Handset::connect(
            &self.devices[device].identity,
            self.now,
            ANSWER_LIMIT,
            &mut out,
        );
        let conn = self.open(device, session, handset);
        self.send(conn, Side::Handset, out.wire);
        self.arm(conn, Side::Gateway);
        self.arm(conn, Side::Handset);
    }

    pub(crate) fn handset_input(&mut self, conn: usize, bytes: &[u8]) {
        self.on_handset(conn, |handset, now, out| handset.input(bytes, now, out));
    }

    pub(crate) fn handset_hung_up(&mut self, conn: usize) {
        if self.conns[conn].handset.take().is_some() {
            self.dial_later(self.conns[conn].device, None);
        }
    }

    pub(crate) fn handset_deadline(&mut self, conn: usize) {
        let due = self.conns[conn]
            .handset
            .as_ref()
            .and_then(Handset::deadline);
        let early = due.is_some_and(|due| due > self.now);
        self.on_handset(conn, |handset, now, out| {
            handset.on_deadline(now, out);
            assert!(
                !early || (out.wire.is_empty() && out.events.is_empty()),
                "on_deadline did something early"
            );
        });
    }

    /// The owner switches its handset off, and on again some time later.
    pub(crate) fn leave(&mut self, device: usize) {
        let mine = |conn: &usize| {
            self.conns[*conn].device == device && self.conns[*conn].handset.is_some()
        };
        let open: Vec<usize> = (0..self.conns.len()).filter(mine).collect();
        for conn in open {
            self.on_handset(conn, |handset, _, out| handset.bye(out));
            self.hang_up(conn, Side::Handset);
        }
        self.dial_later(device, None);
    }

    /// Calls a handset as its owner must: then sends, reacts, and arms its deadline.
    fn on_handset(
        &mut self,
        conn: usize,
        call: impl FnOnce(&mut Handset, Millis, &mut HandsetOutput),
    ) {
        let mut out = HandsetOutput::default();
        let Some(handset) = self.conns[conn].handset.as_mut() else {
            return;
        };
        call(handset, self.now, &mut out);
        self.send(conn, Side::Handset, out.wire);
        for event in out.events {
            self.handset_event(conn, event);
        }
        self.arm(conn, Side::Handset);
    }

    fn handset_event(&mut self, conn: usize, event: HandsetEvent) {
        let device = self.conns[conn].device;
        match event {
            HandsetEvent::Registered { .. } => {
                self.devices[device].backoff.reset();
                self.close_all_but(conn);
            }
            HandsetEvent::KeepAlive => {}
            HandsetEvent::RequestPending { id, data } => {
                assert_eq!(data, None);
                assert_eq!(
                    self.gateway.pending[&id].device, device,
                    "a request reached another handset"
                );
                self.conns[conn].signals[Side::Handset as usize] += 1;
                let lost = self.troubled() && self.random.chance(20);
                self.open_channel(DataLine::encode(id), lost);
                if self.random.chance(10) {
                    self.open_channel(DataLine::encode(id), false);
                }
                let now = self.now;
                self.on_handset(conn, |handset, _, _| handset.on_data_channel(now));
            }
            HandsetEvent::Reconnect { after, to } => {
                assert_eq!(to, None);
                self.count("reconnect");
                self.schedule(after, Event::Dial { device, anew: true });
            }
            HandsetEvent::Refused(refusal) => {
                self.hang_up(conn, Side::Handset);
                self.dial_later(device, refusal.retry_after_s);
            }
            HandsetEvent::Closed(code) => {
                assert!(
                    matches!(code, ErrorCode::Replaced),
                    "a sound handset was closed with {code:?}"
                );
                self.hang_up(conn, Side::Handset);
                self.dial_later(device, None);
            }
            HandsetEvent::BadGateway(code) => {
                panic!("a sound gateway was found to break the protocol: {code:?}")
            }
            HandsetEvent::Silent => {
                let reachable = self.conns[conn].carries && self.conns[conn].session.is_some();
                assert!(!reachable, "a live gateway was found silent");
                self.count("silent");
                self.hang_up(conn, Side::Handset);
                self.dial_later(device, None);
            }
        }
    }

    /// Only once the new connection is registered the old one is closed (PROTOCOL 3.4).
    fn close_all_but(&mut self, kept: usize) {
        let device = self.conns[kept].device;
        for conn in 0..self.conns.len() {
            let other = conn != kept && self.conns[conn].device == device;
            if other && self.conns[conn].handset.is_some() {
                self.hang_up(conn, Side::Handset);
            }
        }
    }

    /// Dials after a back-off, unless there is another connection or another dial.
    fn dial_later(&mut self, device: usize, retry_after_s: Option<u32>) {
        if self.is_connected(device) || std::mem::replace(&mut self.devices[device].dialing, true) {
            return;
        }
        let random = self.random.next();
        let wait = self.devices[device].backoff.next(random, retry_after_s);
        self.schedule(
            wait,
            Event::Dial {
                device,
                anew: false,
            },
        );
    }

    fn is_connected(&self, device: usize) -> bool {
        self.conns
            .iter()
            .any(|conn| conn.device == device && conn.handset.is_some())
    }
}
