//! How sockets come to be: accepted, refused a slot, dialled; and how a turn is woken.

use std::collections::HashSet;

use everline_uring::{Errno, Event, Sockets, Wake};

use crate::stage::{Stage, sized, stage};
use crate::world::{Shape, World};

pub(crate) fn an_accept_tells_the_address_of_the_peer<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = stage(make);
    for _ in 0..3 {
        let (_peer, address) = stage.world.dial();
        let (socket, told) = stage.accept();
        assert_eq!(told, address);
        stage.close(socket);
    }
    stage.is_at_rest();
}

pub(crate) fn a_slot_that_is_used_again_has_another_generation<W: World>(
    make: impl FnOnce(Shape) -> W,
) {
    let mut stage = sized(make, 1, 1, 64);
    let mut seen = HashSet::new();
    for _ in 0..5 {
        let (_peer, socket) = stage.connected();
        assert_eq!((socket.slot, stage.ring().free()), (0, 0));
        assert!(
            seen.insert(socket.generation),
            "{socket:?} was there before"
        );
        stage.close(socket);
    }
    let destination = stage.world.destination();
    for _ in 0..2 {
        let socket = stage.ring().connect(None, destination).expect("it is free");
        assert!(
            seen.insert(socket.generation),
            "{socket:?} was there before"
        );
        stage.until("Connected", |event| {
            matches!(event, Event::Connected { .. })
        });
        stage.close(socket);
    }
    stage.is_at_rest();
}

pub(crate) fn connections_that_find_the_table_full_wait_for_a_slot<W: World>(
    make: impl FnOnce(Shape) -> W,
) {
    const SLOTS: u32 = 16;
    let mut stage = sized(make, SLOTS, 4, 64);
    let mut peers = HashSet::new();
    let mut connections = Vec::new();
    for _ in 0..SLOTS + 10 {
        let (peer, address) = stage.world.dial();
        peers.insert(address);
        connections.push(peer);
    }
    let mut open = Vec::new();
    let mut accepted = 0;
    stage.turn_until("an accept for each", |stage| {
        while stage.ring().free() > 0 {
            stage.ring().accept();
        }
        for event in std::mem::take(&mut stage.events) {
            if let Event::Accepted { socket, peer } = event {
                assert!(peers.remove(&peer), "{peer} was accepted twice");
                open.push(socket);
                accepted += 1;
            }
        }
        if stage.ring().accepting() == 0 && stage.ring().free() == 0 {
            assert_eq!(open.len(), SLOTS as usize, "the table is full");
            for socket in open.drain(..3) {
                stage.close(socket);
            }
        }
        peers.is_empty()
    });
    assert_eq!(accepted, SLOTS + 10);
    end_accepts(&mut stage);
    for socket in open {
        stage.close(socket);
    }
    stage.is_at_rest();
}

pub(crate) fn cancelled_accepts_end_and_free_their_slots<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = stage(make);
    (0..5).for_each(|_| stage.ring().accept());
    assert_eq!((stage.ring().accepting(), stage.ring().free()), (5, 3));
    stage.turn();
    stage.ring().cancel_accepts();
    for _ in 0..5 {
        let end = stage.until("end of an accept", |event| {
            matches!(event, Event::AcceptFailed(_))
        });
        assert!(matches!(end, Event::AcceptFailed(Errno(libc::ECANCELED))));
    }
    assert_eq!((stage.ring().accepting(), stage.ring().free()), (0, 8));
    let (_peer, socket) = stage.connected();
    stage.close(socket);
    stage.is_at_rest();
}

pub(crate) fn a_connect_takes_the_address_it_is_given<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = stage(make);
    let destination = stage.world.destination();
    let source = "127.0.0.77:0".parse().expect("an address");
    for from in [None, Some(source)] {
        let socket = stage.ring().connect(from, destination).expect("free");
        let connected = stage.until("Connected", |event| {
            matches!(event, Event::Connected { .. })
        });
        assert!(
            matches!(connected, Event::Connected { socket: of, result: Ok(()) } if of == socket),
            "{connected:?}"
        );
        let mut answered = None;
        stage.turn_until("a connection at the destination", |stage| {
            answered = stage.world.answer();
            answered.is_some()
        });
        let (mut peer, address) = answered.expect("just answered");
        assert!(address.port() > 0);
        assert!(
            from.is_none_or(|from| from.ip() == address.ip()),
            "{address}"
        );
        stage.ring().watch(socket);
        stage.world.say(&mut peer, b"ping");
        assert_eq!(stage.read_exactly(socket, 4), b"ping");
        stage.send_all(socket, b"pong");
        assert_eq!(stage.hear_exactly(&mut peer, 4), b"pong");
        stage.close(socket);
    }
    stage.is_at_rest();
}

pub(crate) fn a_refused_connect_is_told_once_and_frees_its_slot<W: World>(
    make: impl FnOnce(Shape) -> W,
) {
    let mut stage = stage(make);
    let nobody = stage.world.nobody();
    let socket = stage.ring().connect(None, nobody).expect("free");
    assert_eq!(stage.ring().free(), 7);
    let refused = stage.until("Connected", |event| {
        matches!(event, Event::Connected { .. })
    });
    assert!(
        matches!(refused, Event::Connected { socket: of, result: Err(Errno(libc::ECONNREFUSED)) } if of == socket),
        "{refused:?}"
    );
    assert_eq!(stage.ring().free(), 8);
    (0..5).for_each(|_| stage.turn());
    assert!(stage.events.is_empty(), "{:?}", stage.events);
    stage.is_at_rest();
}

pub(crate) fn a_connect_without_a_free_slot_is_none<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = sized(make, 2, 1, 64);
    let (_peer, accepted) = stage.connected();
    stage.ring().accept();
    let destination = stage.world.destination();
    assert!(stage.ring().connect(None, destination).is_none());
    end_accepts(&mut stage);
    let dialled = stage.ring().connect(None, destination).expect("free");
    stage.close(dialled);
    stage.close(accepted);
    stage.is_at_rest();
}

pub(crate) fn a_wake_from_another_thread_ends_a_turn<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = stage(make);
    for _ in 0..3 {
        let waker = stage.ring().waker();
        let thread = std::thread::spawn(move || waker.wake());
        stage.until("Woken", |event| matches!(event, Event::Woken));
        thread.join().expect("a wake does not panic");
    }
}

pub(crate) fn wakes_between_two_turns_are_one<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = stage(make);
    stage.turn();
    let waker = stage.ring().waker();
    (0..10).for_each(|_| waker.clone().wake());
    stage.until("Woken", |event| matches!(event, Event::Woken));
    (0..5).for_each(|_| stage.turn());
    assert!(stage.events.is_empty(), "{:?}", stage.events);
}

/// Cancels what is armed and waits for its end.
fn end_accepts<W: World>(stage: &mut Stage<W>) {
    stage.ring().cancel_accepts();
    stage.turn_until("the end of every accept", |stage| {
        stage.ring().accepting() == 0
    });
}
