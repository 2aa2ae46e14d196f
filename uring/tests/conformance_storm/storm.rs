//! Two owners, their peers, and the bytes between them; every event is held against what was asked.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use everline_uring::{Errno, Event, Faults, PeerId, SimulatedNet, SocketKey, Sockets, Wake};

use crate::Step;
use crate::owner::{BUFFER_BYTES, Owner, SLOTS, Socket};

/// What the test knows of one connection; bytes are counted from 0, modulo 256.
#[derive(Debug, Default, Clone, Copy)]
struct Traffic {
    said: usize,
    received: usize,
    acknowledged: usize,
    heard: usize,
    /// Either end broke it, or the peer left: bytes may be lost, but none displaced.
    lossy: bool,
    finished: bool,
}

pub(crate) struct Storm {
    net: SimulatedNet,
    owners: [Owner; 2],
    peers: Vec<PeerId>,
    traffic: HashMap<PeerId, Traffic>,
    by_address: HashMap<SocketAddr, PeerId>,
    /// Who asked for the connection from this address.
    connects: HashMap<SocketAddr, (usize, SocketKey)>,
    accepted: HashSet<SocketAddr>,
    dialled: u32,
    addresses: u16,
    pub(crate) trace: String,
}

impl Storm {
    pub(crate) fn new(seed: u64, faults: Faults) -> Storm {
        let net = SimulatedNet::new();
        net.set_window_bytes(50);
        Storm {
            owners: [seed, !seed].map(|seed| Owner::new(seed, faults, &net)),
            net,
            peers: Vec::new(),
            traffic: HashMap::new(),
            by_address: HashMap::new(),
            connects: HashMap::new(),
            accepted: HashSet::new(),
            dialled: 0,
            addresses: 1024,
            trace: String::new(),
        }
    }

    fn address(&mut self) -> SocketAddr {
        self.addresses += 1;
        SocketAddr::from(([127, 0, 0, 5], self.addresses))
    }

    pub(crate) fn step(&mut self, which: usize, step: Step) {
        match step {
            Step::Turn => self.turn(which),
            Step::Connect => self.connect(which),
            Step::Dial => self.dial(),
            Step::AnswerDials(accept) => self.answer_dials(accept),
            Step::PeerSend(..)
            | Step::PeerFinish(_)
            | Step::PeerClose(_)
            | Step::PeerReset(_)
            | Step::PeerReads(..) => self.peer_step(step),
            _ => self.owner_step(which, step),
        }
    }

    fn owner_step(&mut self, which: usize, step: Step) {
        let owner = &mut self.owners[which];
        match step {
            Step::Accept if owner.ring.free() > 0 => {
                owner.ring.accept();
                owner.armed += 1;
            }
            Step::CancelAccepts => owner.ring.cancel_accepts(),
            Step::Wake => {
                owner.ring.waker().wake();
                owner.woken = true;
            }
            Step::Release(at) if !owner.leases.is_empty() => {
                let lease = owner.leases.swap_remove(at as usize % owner.leases.len());
                owner.ring.release(lease);
            }
            Step::UseStale(at) if !owner.gone.is_empty() => owner.use_stale(at),
            Step::Watch(at) => owner.with(at, |ring, key, socket| {
                if !socket.watching {
                    ring.watch(key);
                    socket.watching = true;
                }
            }),
            Step::Receive(at) => owner.with(at, |ring, key, socket| {
                if !socket.receiving {
                    ring.receive(key);
                    socket.receiving = true;
                }
            }),
            Step::AwaitWritable(at) => owner.with(at, |ring, key, socket| {
                if !socket.awaiting_writable {
                    ring.await_writable(key);
                    socket.awaiting_writable = true;
                }
            }),
            Step::Send(at, len) => {
                let traffic = &self.traffic;
                owner.with(at, |ring, key, socket| {
                    let Some(peer) = socket.peer.filter(|_| !socket.sending) else {
                        return;
                    };
                    let bytes = counted(traffic[&peer].acknowledged, 1 + len as usize % 60);
                    assert_eq!(ring.send(key, &bytes), bytes.len().min(BUFFER_BYTES));
                    socket.sending = true;
                });
            }
            Step::Close(at) | Step::Reset(at) => {
                let by_reset = matches!(step, Step::Reset(_));
                if let Some(peer) = owner.end(at, by_reset).filter(|_| by_reset)
                    && let Some(traffic) = self.traffic.get_mut(&peer)
                {
                    traffic.lossy = true;
                }
            }
            _ => {}
        }
    }

    fn peer_step(&mut self, step: Step) {
        let (Step::PeerSend(at, _)
        | Step::PeerFinish(at)
        | Step::PeerClose(at)
        | Step::PeerReset(at)
        | Step::PeerReads(at, _)) = step
        else {
            return;
        };
        if self.peers.is_empty() {
            return;
        }
        let peer = self.peers[at as usize % self.peers.len()];
        self.hear(peer);
        let traffic = self.traffic.get_mut(&peer).expect("every peer has some");
        match step {
            Step::PeerSend(_, len) if !traffic.finished => {
                self.net
                    .peer_send(peer, &counted(traffic.said, len as usize));
                traffic.said += len as usize;
            }
            Step::PeerFinish(_) => {
                self.net.peer_finish(peer);
                traffic.finished = true;
            }
            Step::PeerClose(_) => {
                self.net.peer_close(peer);
                (traffic.finished, traffic.lossy) = (true, true);
            }
            Step::PeerReset(_) => {
                self.net.peer_reset(peer);
                (traffic.finished, traffic.lossy) = (true, true);
            }
            Step::PeerReads(_, false) => self.net.peer_stop_reading(peer),
            Step::PeerReads(_, true) => self.net.peer_resume_reading(peer),
            _ => {}
        }
    }

    fn dial(&mut self) {
        let address = self.address();
        let peer = self.net.dial(address);
        self.dialled += 1;
        self.by_address.insert(address, peer);
        self.peers.push(peer);
        self.traffic.insert(peer, Traffic::default());
    }

    fn connect(&mut self, which: usize) {
        let from = self.address();
        let to = SocketAddr::from(([127, 0, 0, 1], 7000));
        let owner = &mut self.owners[which];
        let free = owner.ring.free();
        let Some(key) = owner.ring.connect(Some(from), to) else {
            assert_eq!(free, 0, "a connect is refused only by a full table");
            return;
        };
        owner.sockets.push((key, Socket::default()));
        self.connects.insert(from, (which, key));
    }

    fn answer_dials(&mut self, accept: bool) {
        for dialled in self.net.take_dialled() {
            let (which, key) = self.connects[&dialled.from];
            if !accept {
                let errno = Errno(libc::ECONNREFUSED);
                self.net.refuse_dialled(dialled.peer, errno);
                continue;
            }
            self.net.accept_dialled(dialled.peer);
            self.peers.push(dialled.peer);
            self.traffic.insert(dialled.peer, Traffic::default());
            let sockets = &mut self.owners[which].sockets;
            if let Some((_, socket)) = sockets.iter_mut().find(|(other, _)| *other == key) {
                socket.peer = Some(dialled.peer);
            }
        }
    }

    fn turn(&mut self, which: usize) {
        let mut events = Vec::new();
        self.owners[which]
            .ring
            .turn(None, &mut events)
            .expect("it cannot fail");
        for event in events {
            self.trace.push_str(&format!("{which} {event:?}\n"));
            self.told(which, event);
        }
        let owner = &self.owners[which];
        let ring = &owner.ring;
        assert_eq!(
            ring.free() + ring.in_use() + ring.closing() + ring.accepting(),
            SLOTS,
            "every slot is accounted for"
        );
        assert_eq!(owner.armed - owner.ended, ring.accepting());
        assert_eq!(owner.leases.len(), ring.leases_out() as usize);
        assert!(!owner.woken, "a wake is told by the next turn");
    }

    fn told(&mut self, which: usize, event: Event) {
        let owner = &mut self.owners[which];
        match event {
            Event::Accepted { socket, peer } => {
                owner.ended += 1;
                assert!(self.accepted.insert(peer), "{peer} was accepted twice");
                let entry = Socket {
                    connected: true,
                    peer: Some(self.by_address[&peer]),
                    ..Socket::default()
                };
                owner.sockets.push((socket, entry));
            }
            Event::AcceptFailed(_) => owner.ended += 1,
            Event::Connected { socket, result } => {
                let entry = owner.live(socket);
                assert!(!entry.connected);
                entry.connected = true;
                if result.is_err() {
                    owner.forget(socket);
                }
            }
            Event::Readable { socket, watching } => {
                let entry = owner.live(socket);
                assert!(entry.watching || !watching);
                entry.watching = watching;
            }
            Event::Writable(socket) => {
                assert!(std::mem::take(&mut owner.live(socket).awaiting_writable));
            }
            Event::Received { socket, result } => {
                let entry = owner.live(socket);
                assert!(std::mem::take(&mut entry.receiving));
                let peer = entry.peer.expect("it is connected");
                if let Ok(lease) = result {
                    let traffic = self.traffic.get_mut(&peer).expect("every peer has some");
                    let bytes = owner.ring.bytes(&lease);
                    assert_eq!(bytes, counted(traffic.received, bytes.len()));
                    traffic.received += bytes.len();
                    let at_end =
                        traffic.finished && (traffic.received == traffic.said || traffic.lossy);
                    assert!(!bytes.is_empty() || at_end, "an end that is none");
                    owner.leases.push(lease);
                }
            }
            Event::Sent { socket, result } => {
                let entry = owner.live(socket);
                assert!(std::mem::take(&mut entry.sending));
                let peer = entry.peer.expect("it is connected");
                let traffic = self.traffic.get_mut(&peer).expect("every peer has some");
                traffic.acknowledged += result.unwrap_or(0) as usize;
            }
            Event::Closed(socket) => {
                let known = owner.sockets.iter().find(|(key, _)| *key == socket);
                assert!(known.is_some_and(|(_, entry)| entry.closing));
                owner.forget(socket);
            }
            Event::Woken => assert!(std::mem::take(&mut owner.woken)),
        }
    }

    fn hear(&mut self, peer: PeerId) {
        let bytes = self.net.peer_received(peer);
        let traffic = self.traffic.get_mut(&peer).expect("every peer has some");
        assert_eq!(bytes, counted(traffic.heard, bytes.len()), "{peer:?}");
        traffic.heard += bytes.len();
    }

    /// Calls the storm off and ends everything.
    pub(crate) fn come_to_rest(&mut self) {
        for peer in self.peers.clone() {
            self.net.peer_resume_reading(peer);
        }
        for owner in &mut self.owners {
            owner.ring.set_faults(Faults::NONE);
            owner.ring.cancel_accepts();
            owner.release_all();
        }
        // One turn tells what was held back, sockets that are new to their owners among it.
        for which in [0, 1, 0, 1] {
            self.turn(which);
            let owner = &mut self.owners[which];
            owner.release_all();
            for at in 0..owner.sockets.len() {
                owner.end(at as u8, false);
            }
        }
        for which in [0, 1] {
            self.turn(which);
            self.owners[which].is_at_rest();
        }
        let waiting = self.net.backlog_len();
        assert_eq!(self.accepted.len() + waiting, self.dialled as usize);
        for peer in self.peers.clone() {
            self.hear(peer);
            let traffic = self.traffic[&peer];
            assert!(
                traffic.lossy || traffic.heard >= traffic.acknowledged,
                "{peer:?} lost bytes: {traffic:?}"
            );
        }
    }
}

fn counted(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|number| number as u8).collect()
}
