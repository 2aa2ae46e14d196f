//! An owner that breaks the contract hears of it from the simulated ring at once, in a message that names the call.

use std::net::SocketAddr;

use everline_uring::{
    Event, Faults, Lease, PeerId, SimulatedConfig, SimulatedNet, SimulatedRing, SocketKey, Sockets,
};

fn config() -> SimulatedConfig {
    SimulatedConfig {
        slots: 2,
        buffers: 2,
        buffer_bytes: 16,
        seed: 3,
        faults: Faults::NONE,
    }
}

fn turn(ring: &mut SimulatedRing) -> Vec<Event> {
    let mut events = Vec::new();
    ring.turn(None, &mut events).expect("it cannot fail");
    events
}

fn peer_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 2], 4000))
}

fn connected() -> (SimulatedRing, PeerId, SocketKey) {
    let mut ring = SimulatedRing::new(config());
    let peer = ring.net().dial(peer_address());
    ring.accept();
    match turn(&mut ring).pop() {
        Some(Event::Accepted { socket, .. }) => (ring, peer, socket),
        other => panic!("no accept but {other:?}"),
    }
}

fn leased() -> (SimulatedRing, Lease) {
    let (mut ring, peer, socket) = connected();
    ring.net().peer_send(peer, b"bytes");
    ring.receive(socket);
    match turn(&mut ring).pop() {
        Some(Event::Received {
            result: Ok(lease), ..
        }) => (ring, lease),
        other => panic!("no bytes but {other:?}"),
    }
}

#[test]
#[should_panic(expected = "accept() with no free slot")]
fn an_accept_without_a_slot() {
    let mut ring = SimulatedRing::new(config());
    (0..3).for_each(|_| ring.accept());
}

#[test]
#[should_panic(expected = "which is watched")]
fn a_second_watch() {
    let (mut ring, _, socket) = connected();
    ring.watch(socket);
    turn(&mut ring);
    ring.watch(socket);
}

#[test]
#[should_panic(expected = "a second receive()")]
fn a_second_receive() {
    let (mut ring, _, socket) = connected();
    ring.receive(socket);
    ring.receive(socket);
}

#[test]
#[should_panic(expected = "a second send()")]
fn a_second_send() {
    let (mut ring, _, socket) = connected();
    ring.send(socket, b"one");
    ring.send(socket, b"two");
}

#[test]
#[should_panic(expected = "before it is connected")]
fn a_watch_before_the_connection() {
    let mut ring = SimulatedRing::new(config());
    let socket = ring.connect(None, peer_address()).expect("free");
    ring.watch(socket);
}

#[test]
#[should_panic(expected = "to the wrong ring")]
fn a_lease_for_another_ring() {
    let (_ring, lease) = leased();
    SimulatedRing::new(config()).release(lease);
}

#[test]
fn a_lease_that_is_kept_is_counted_and_what_it_held_is_gone_with_it() {
    let (mut ring, lease) = leased();
    assert_eq!((ring.leases_out(), ring.idle_buffers()), (1, 1));
    assert_eq!(ring.bytes(&lease), b"bytes");
    ring.release(lease);
    assert_eq!((ring.leases_out(), ring.idle_buffers()), (0, 2));
}

#[test]
fn two_rings_on_one_net_share_its_backlog() {
    let net = SimulatedNet::new();
    let mut rings =
        [1, 2].map(|seed| SimulatedRing::on(SimulatedConfig { seed, ..config() }, &net));
    for _ in 0..5 {
        net.dial(peer_address());
    }
    for (ring, left) in rings.iter_mut().zip([3, 1]) {
        (0..2).for_each(|_| ring.accept());
        assert_eq!(turn(ring).len(), 2);
        assert_eq!((ring.free(), net.backlog_len()), (0, left));
    }
}

#[test]
fn a_dialled_connection_waits_for_the_test_unless_told_otherwise() {
    let mut ring = SimulatedRing::new(config());
    let net = ring.net();
    let from = "127.0.0.3:0".parse().expect("an address");
    let first = ring.connect(Some(from), peer_address()).expect("free");
    assert!(turn(&mut ring).is_empty());
    let dialled = net.take_dialled();
    let [dialled] = dialled[..] else {
        panic!("{dialled:?} is not one");
    };
    assert_eq!((dialled.from.ip(), dialled.to), (from.ip(), peer_address()));
    net.accept_dialled(dialled.peer);
    let events = turn(&mut ring);
    assert!(
        matches!(events[..], [Event::Connected { socket, result: Ok(()) }] if socket == first),
        "{events:?}"
    );
    net.accept_all_dialled();
    ring.connect(None, peer_address()).expect("free");
    assert!(matches!(
        turn(&mut ring)[..],
        [Event::Connected { result: Ok(()), .. }]
    ));
    assert_eq!(ring.in_use(), 2);
}
