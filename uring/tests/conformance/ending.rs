//! How sockets go: closed in order, reset, with work under way; and what a key is worth afterwards.

use everline_uring::{Errno, Event, Sockets};

use crate::stage::{sized, socket_of, stage};
use crate::world::{Heard, Shape, World};

pub(crate) fn a_close_brings_the_last_bytes_and_fin<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = stage(make);
    let (mut peer, socket) = stage.connected();
    // Not waited for: what was given to `send` goes out all the same.
    assert_eq!(stage.ring().send(socket, b"ERROR code=replaced\r\n"), 21);
    stage.close(socket);
    let (heard, end) = stage.hear_to_end(&mut peer);
    assert_eq!(heard, b"ERROR code=replaced\r\n");
    assert_eq!(end, Heard::Fin);
    stage.is_at_rest();
}

pub(crate) fn a_close_with_everything_armed_sends_fin<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = stage(make);
    let (mut peer, socket) = stage.connected();
    stage.turn();
    stage.ring().await_writable(socket);
    stage.ring().receive(socket);
    stage.ring().send(socket, b"last");
    stage.close(socket);
    let (heard, end) = stage.hear_to_end(&mut peer);
    assert_eq!(heard, b"last");
    assert_eq!(end, Heard::Fin);
    stage.is_at_rest();
}

pub(crate) fn unread_bytes_turn_no_close_into_a_reset<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = stage(make);
    let (mut peer, socket) = stage.connected();
    stage.world.say(&mut peer, &[b'x'; 10_000]);
    stage.until_readable(socket);
    stage.ring().send(socket, b"ERROR code=line-too-long\r\n");
    stage.close(socket);
    let (heard, end) = stage.hear_to_end(&mut peer);
    assert_eq!(heard, b"ERROR code=line-too-long\r\n");
    assert_eq!(end, Heard::Fin);
    stage.is_at_rest();
}

pub(crate) fn a_reset_is_seen_as_a_reset<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = stage(make);
    let (mut peer, socket) = stage.connected();
    stage.turn();
    stage.end(socket, W::Ring::reset);
    assert_eq!(stage.hear_to_end(&mut peer), (Vec::new(), Heard::Reset));
    stage.is_at_rest();
}

pub(crate) fn a_reset_by_the_peer_is_told<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = stage(make);
    let (peer, socket) = stage.connected();
    stage.send_all(socket, b"never read");
    stage.world.reset(peer);
    assert_eq!(stage.read(socket), Err(Errno(libc::ECONNRESET)));
    assert_eq!(stage.read(socket), Ok(Vec::new()), "an error is told once");
    stage.close(socket);
    stage.is_at_rest();
}

pub(crate) fn a_close_while_connecting_ends_in_closed_alone<W: World>(
    make: impl FnOnce(Shape) -> W,
) {
    let mut stage = stage(make);
    let (destination, nobody) = (stage.world.destination(), stage.world.nobody());
    for to in [destination, nobody] {
        let socket = stage.ring().connect(None, to).expect("free");
        stage.close(socket);
    }
    stage.is_at_rest();
}

pub(crate) fn a_stale_key_is_harmless<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = sized(make, 1, 2, 64);
    let (_gone, stale) = stage.connected();
    stage.close(stale);
    let (mut peer, socket) = stage.connected();
    assert_eq!((stale.slot, socket.slot), (0, 0));
    stage.ring().watch(stale);
    stage.ring().receive(stale);
    stage.ring().await_writable(stale);
    assert_eq!(stage.ring().send(stale, b"for somebody else"), 0);
    stage.ring().close(stale);
    stage.ring().reset(stale);
    stage.world.say(&mut peer, b"ping");
    assert_eq!(stage.read_exactly(socket, 4), b"ping");
    stage.send_all(socket, b"pong");
    assert_eq!(stage.hear_exactly(&mut peer, 4), b"pong");
    let of_stale = |event: &Event| socket_of(event) == Some(stale);
    assert!(!stage.events.iter().any(of_stale), "{:?}", stage.events);
    stage.close(socket);
    stage.is_at_rest();
}

pub(crate) fn a_ring_that_is_dropped_closes_its_sockets<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = stage(make);
    let (mut peer, _socket) = stage.connected();
    stage.ring().accept();
    stage.turn();
    stage.world.drop_ring();
    let end = std::time::Instant::now() + crate::stage::PATIENCE;
    while stage.world.hear(&mut peer) == Heard::Nothing {
        assert!(std::time::Instant::now() < end, "the peer hears of no end");
        std::thread::yield_now();
    }
}
