//! How bytes go through: received into leased buffers, sent as far as they go.

use std::collections::HashMap;

use everline_uring::{Errno, Event, Sockets};

use crate::stage::{sized, stage};
use crate::world::{Heard, Shape, World};

/// Bytes in which a lost, doubled or displaced piece shows.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 % 251) as u8).collect()
}

pub(crate) fn bytes_come_back_as_they_were_sent<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = sized(make, 4, 2, 256);
    let (mut peer, socket) = stage.connected();
    for len in [1, 255, 256, 257, 5000] {
        let said = pattern(len);
        stage.world.say(&mut peer, &said);
        let received = stage.read_exactly(socket, len);
        assert!(received == said, "{len} bytes arrive in order");
        stage.send_all(socket, &received);
        let heard = stage.hear_exactly(&mut peer, len);
        assert!(heard == said, "{len} bytes come back in order");
    }
    stage.close(socket);
    stage.is_at_rest();
}

pub(crate) fn a_receive_that_fills_its_buffer_is_followed_by_readable<W: World>(
    make: impl FnOnce(Shape) -> W,
) {
    let mut stage = sized(make, 4, 2, 100);
    let (mut peer, socket) = stage.connected();
    stage.world.say(&mut peer, &pattern(450));
    let mut received = Vec::new();
    // This owner receives only when told to.
    while received.len() < 450 {
        stage.until_readable(socket);
        match stage.receive(socket) {
            Ok(bytes) => received.extend(bytes),
            Err(errno) => assert_eq!(errno, Errno(libc::EAGAIN)),
        }
    }
    assert!(received == pattern(450));
    stage.close(socket);
    stage.is_at_rest();
}

pub(crate) fn the_end_of_the_stream_is_an_empty_lease<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = stage(make);
    let (mut peer, socket) = stage.connected();
    stage.world.finish(&mut peer);
    stage.until_readable(socket);
    assert_eq!(stage.read(socket), Ok(Vec::new()));
    assert_eq!(stage.read(socket), Ok(Vec::new()), "and stays so");
    stage.send_all(socket, b"the other direction is open");
    stage.close(socket);
    let (heard, end) = stage.hear_to_end(&mut peer);
    assert_eq!(heard, b"the other direction is open");
    assert_eq!(end, Heard::Fin);
    stage.is_at_rest();
}

pub(crate) fn bytes_and_end_that_come_together_are_both_found<W: World>(
    make: impl FnOnce(Shape) -> W,
) {
    let mut stage = stage(make);
    let (mut peer, socket) = stage.connected();
    stage.world.say(&mut peer, b"BYE\r\n");
    stage.world.finish(&mut peer);
    assert_eq!(stage.read_exactly(socket, 5), b"BYE\r\n");
    assert_eq!(stage.read(socket), Ok(Vec::new()));
    stage.close(socket);
    stage.is_at_rest();
}

pub(crate) fn a_send_is_cut_to_a_buffer<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = sized(make, 2, 2, 128);
    let (_peer, socket) = stage.connected();
    assert_eq!(stage.ring().buffer_bytes(), 128);
    assert_eq!(stage.ring().send(socket, &[7; 1000]), 128);
    stage.until("Sent", |event| matches!(event, Event::Sent { .. }));
    assert_eq!(stage.ring().send(socket, b""), 0, "nothing is not sent");
    stage.close(socket);
    stage.is_at_rest();
}

pub(crate) fn a_slow_reader_is_waited_for<W: World>(make: impl FnOnce(Shape) -> W) {
    const MORE_THAN_FITS: usize = 64 << 20;
    let mut stage = sized(make, 2, 2, 16 * 1024);
    let (mut peer, socket) = stage.connected();
    stage.world.set_reading(&mut peer, false);
    let block = pattern(16 * 1024);
    let mut sent = Vec::new();
    // A chance fault of the simulation is no full window: two refusals with a wait that is not answered are.
    loop {
        match stage.send(socket, &block) {
            Ok(len) => sent.extend_from_slice(&block[..len]),
            Err(errno) => {
                assert_eq!(errno, Errno(libc::EAGAIN));
                stage.ring().await_writable(socket);
                (0..10).for_each(|_| stage.turn());
                let writable = |event: &Event| matches!(event, Event::Writable(_));
                match stage.events.iter().position(writable) {
                    Some(at) => drop(stage.events.remove(at)),
                    None => break,
                }
            }
        }
        assert!(sent.len() < MORE_THAN_FITS, "the peer reads nothing");
    }
    stage.world.set_reading(&mut peer, true);
    let heard = stage.hear_exactly(&mut peer, sent.len());
    assert!(heard == sent, "what was taken arrives in order");
    stage.until(
        "Writable",
        |event| matches!(event, Event::Writable(of) if *of == socket),
    );
    stage.send_all(socket, b"and on it goes");
    assert_eq!(stage.hear_exactly(&mut peer, 14), b"and on it goes");
    stage.close(socket);
    stage.is_at_rest();
}

pub(crate) fn two_buffers_serve_a_hundred_sockets<W: World>(make: impl FnOnce(Shape) -> W) {
    let mut stage = sized(make, 100, 2, 64);
    let mut peers = Vec::new();
    let mut owed = HashMap::new();
    for number in 0..100u8 {
        let (mut peer, socket) = stage.connected();
        stage.world.say(&mut peer, &[number; 50]);
        peers.push((peer, socket));
        owed.insert(socket, (number, 50));
    }
    for (_, socket) in &peers {
        stage.ring().receive(*socket);
    }
    stage.turn_until("what every peer has sent", |stage| {
        for event in std::mem::take(&mut stage.events) {
            let Event::Received { socket, result } = event else {
                if let Event::Readable {
                    socket,
                    watching: false,
                } = event
                {
                    stage.ring().watch(socket);
                }
                continue;
            };
            let Some((number, left)) = owed.get_mut(&socket) else {
                panic!("{socket:?} has had all of its bytes");
            };
            match result {
                Ok(lease) => {
                    let bytes = stage.world.ring().bytes(&lease).to_vec();
                    assert!(!bytes.is_empty() && bytes.iter().all(|byte| byte == number));
                    *left -= bytes.len();
                    stage.world.ring().release(lease);
                }
                Err(errno) => assert_eq!(errno, Errno(libc::EAGAIN)),
            }
            if *left == 0 {
                owed.remove(&socket);
            } else {
                stage.ring().receive(socket);
            }
        }
        owed.is_empty()
    });
    let mut owed: HashMap<_, _> = peers.iter().map(|(_, socket)| (*socket, 4)).collect();
    for (_, socket) in &peers {
        assert_eq!(stage.ring().send(*socket, b"pong"), 4);
    }
    stage.turn_until("what every peer is sent", |stage| {
        for event in std::mem::take(&mut stage.events) {
            let Event::Sent { socket, result } = event else {
                continue;
            };
            let left = owed.get_mut(&socket).expect("told once for each send");
            *left -= result.unwrap_or(0) as usize;
            if *left == 0 {
                owed.remove(&socket);
            } else {
                stage.ring().send(socket, &b"pong"[4 - *left..]);
            }
        }
        owed.is_empty()
    });
    for (mut peer, socket) in peers {
        stage.close(socket);
        assert_eq!(stage.hear_to_end(&mut peer), (b"pong".to_vec(), Heard::Fin));
    }
    stage.is_at_rest();
}

/// A buffer that the owner keeps delays others, and no longer than that.
pub(crate) fn a_close_cuts_off_a_receive_that_waits_for_a_buffer<W: World>(
    make: impl FnOnce(Shape) -> W,
) {
    let mut stage = sized(make, 4, 1, 64);
    let (mut holder, holds) = stage.connected();
    let (mut waiter, waits) = stage.connected();
    stage.world.say(&mut holder, b"held");
    let lease = loop {
        stage.ring().receive(holds);
        match stage.until("Received", |event| matches!(event, Event::Received { .. })) {
            Event::Received {
                result: Ok(lease), ..
            } => break lease,
            _ => stage.until_readable(holds),
        }
    };
    stage.world.say(&mut waiter, b"wanted");
    stage.ring().receive(waits);
    (0..5).for_each(|_| stage.turn());
    let received = |event: &Event| matches!(event, Event::Received { .. });
    assert!(!stage.events.iter().any(received), "there is no buffer");
    stage.end(waits, |ring, socket| {
        ring.close(socket);
        assert!(b"held".starts_with(ring.bytes(&lease)));
        ring.release(lease);
    });
    assert_eq!(stage.hear_to_end(&mut waiter).1, Heard::Fin);
    stage.close(holds);
    stage.is_at_rest();
}
