//! What only the kernel's ring can show: real sockets on loopback, their FINs and resets, and what a turn costs.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use everline_uring::{
    Errno, Event, Ring, RingConfig, SocketKey, Sockets, TURN_COMPLETIONS_MAX, Wake,
};

const PATIENCE: Duration = Duration::from_secs(10);

struct World {
    ring: Ring,
    at: SocketAddr,
    events: Vec<Event>,
}

impl World {
    fn new(slots: u32, buffers: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
        let at = listener
            .local_addr()
            .expect("a bound socket has an address");
        let config = RingConfig {
            slots,
            buffers,
            buffer_bytes: 2048,
            entries: 64,
            listener: Some(listener),
        };
        Self {
            ring: Ring::new(config).expect("io_uring is available"),
            at,
            events: Vec::new(),
        }
    }

    fn dial(&self) -> TcpStream {
        let peer = TcpStream::connect(self.at).expect("the listener accepts into its backlog");
        peer.set_read_timeout(Some(PATIENCE))
            .expect("a time limit can be set");
        peer
    }

    /// Turns until an event makes `pick` answer; keeps the others for later picks.
    fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.events.iter().position(|event| pick(event).is_some()) {
                return pick(&self.events.remove(at)).expect("just picked");
            }
            assert!(
                Instant::now() < end,
                "{what} did not come; there is {:?}",
                self.events
            );
            self.ring
                .turn(Some(Duration::from_millis(100)), &mut self.events)
                .expect("a turn works");
        }
    }

    fn accept(&mut self) -> (SocketKey, SocketAddr) {
        self.ring.accept();
        self.until("a connection", |event| match event {
            Event::Accepted { socket, peer } => Some((*socket, *peer)),
            _ => None,
        })
    }

    fn read(&mut self, socket: SocketKey) -> Result<Vec<u8>, Errno> {
        self.ring.receive(socket);
        let end = Instant::now() + PATIENCE;
        loop {
            let received =
                |event: &Event| matches!(event, Event::Received { socket: s, .. } if *s == socket);
            if let Some(at) = self.events.iter().position(received) {
                let Event::Received { result, .. } = self.events.remove(at) else {
                    unreachable!("just matched")
                };
                return result.map(|lease| {
                    let bytes = self.ring.bytes(&lease).to_vec();
                    self.ring.release(lease);
                    bytes
                });
            }
            assert!(Instant::now() < end, "nothing was received");
            self.ring
                .turn(Some(Duration::from_millis(100)), &mut self.events)
                .expect("a turn works");
        }
    }

    fn closed(&mut self, socket: SocketKey) {
        self.until("the close", |event| {
            matches!(event, Event::Closed(s) if *s == socket).then_some(())
        });
    }
}

#[test]
fn a_line_that_comes_alone_costs_one_receive() {
    let mut world = World::new(8, 4);
    let mut peer = world.dial();
    let (socket, _) = world.accept();
    world.ring.watch(socket);
    for _ in 0..3 {
        peer.write_all(b"WAITING\r\n").expect("connected");
        world.until("bytes", |event| {
            matches!(event, Event::Readable { socket: s, .. } if *s == socket).then_some(())
        });
        world.ring.receive(socket);
        let more = world.until("the line", |event| match event {
            Event::Received {
                result: Ok(lease), ..
            } => Some(lease.more()),
            _ => None,
        });
        assert!(!more, "nothing else was sent");
    }
}

/// The end may come behind bytes, with them, or between the poll and the receive.
#[test]
fn who_reads_while_there_is_more_misses_no_end() {
    let mut world = World::new(8, 4);
    for round in 0..60 {
        let mut peer = world.dial();
        let (socket, _) = world.accept();
        world.ring.watch(socket);
        world.ring.send(socket, b"unread");
        world.until("the send", |event| {
            matches!(event, Event::Sent { .. }).then_some(())
        });
        peer.write_all(b"last words").expect("connected");
        if round % 3 == 0 {
            world.until("bytes", |event| {
                matches!(event, Event::Readable { .. }).then_some(())
            });
            world.ring.receive(socket);
        }
        if round % 2 == 0 {
            // What it has not read makes its close a reset.
            drop(peer);
        } else {
            peer.shutdown(Shutdown::Write).expect("connected");
        }
        let mut reader = Reader {
            receiving: round % 3 == 0,
            again: false,
            ended: false,
        };
        let deadline = Instant::now() + PATIENCE;
        while !reader.ended {
            assert!(Instant::now() < deadline, "round {round}: no end was told");
            for event in std::mem::take(&mut world.events) {
                reader.handle(&mut world.ring, event);
            }
            if !reader.ended {
                let wait = Some(Duration::from_millis(100));
                world
                    .ring
                    .turn(wait, &mut world.events)
                    .expect("a turn works");
            }
        }
        world.ring.close(socket);
        world.closed(socket);
        world.events.clear();
    }
}

/// Follows the rules of [`Sockets::receive`], and receives for no other reason.
struct Reader {
    receiving: bool,
    again: bool,
    ended: bool,
}

impl Reader {
    fn handle(&mut self, ring: &mut Ring, event: Event) {
        let (socket, read_on) = match event {
            Event::Readable { .. } if self.receiving => {
                self.again = true;
                return;
            }
            Event::Readable { socket, .. } => (socket, true),
            Event::Received { socket, result } => {
                let more = match result {
                    Ok(lease) => {
                        self.ended |= ring.bytes(&lease).is_empty();
                        let more = lease.more();
                        ring.release(lease);
                        more
                    }
                    Err(errno) => {
                        self.ended |= errno != Errno(libc::EAGAIN);
                        false
                    }
                };
                (socket, more || std::mem::take(&mut self.again))
            }
            _ => return,
        };
        self.receiving = read_on && !self.ended;
        if self.receiving {
            ring.receive(socket);
        }
    }
}

#[test]
fn a_connection_is_accepted_read_answered_and_closed() {
    let mut world = World::new(8, 4);
    let mut peer = world.dial();
    let (socket, from) = world.accept();
    assert_eq!(from, peer.local_addr().expect("connected"));
    world.ring.watch(socket);
    peer.write_all(b"hello").expect("connected");
    world.until("bytes", |event| {
        matches!(event, Event::Readable { socket: s, .. } if *s == socket).then_some(())
    });
    assert_eq!(world.read(socket), Ok(b"hello".to_vec()));
    assert_eq!(
        world.read(socket),
        Err(Errno(libc::EAGAIN)),
        "receiving never waits"
    );
    assert_eq!(world.ring.send(socket, b"good bye"), 8);
    world.ring.close(socket);
    world.closed(socket);
    let mut heard = String::new();
    peer.read_to_string(&mut heard)
        .expect("an armed poll does not keep the FIN back");
    assert_eq!(heard, "good bye");
    assert_eq!(world.ring.free(), 8);
}

#[test]
fn what_a_peer_sent_too_much_does_not_cost_it_our_last_line() {
    let mut world = World::new(8, 4);
    let mut peer = world.dial();
    let (socket, _) = world.accept();
    world.ring.watch(socket);
    peer.write_all(&[b'x'; 10_000]).expect("connected");
    world.until("bytes", |event| {
        matches!(event, Event::Readable { .. }).then_some(())
    });
    assert_eq!(world.read(socket).map(|bytes| bytes.len()), Ok(2048));
    world.ring.send(socket, b"ERROR\r\n");
    world.ring.close(socket);
    world.closed(socket);
    let mut heard = String::new();
    peer.read_to_string(&mut heard).expect("no reset");
    assert_eq!(heard, "ERROR\r\n");
}

#[test]
fn a_reset_is_a_reset() {
    let mut world = World::new(8, 4);
    let mut peer = world.dial();
    let (socket, _) = world.accept();
    world.ring.watch(socket);
    world.ring.reset(socket);
    world.closed(socket);
    let error = peer
        .read(&mut [0; 1])
        .expect_err("a reset is no end of stream");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_full_table_leaves_connections_in_the_backlog() {
    let mut world = World::new(3, 2);
    let peers: Vec<_> = (0..10).map(|_| world.dial()).collect();
    let mut held = Vec::new();
    let mut keys = std::collections::HashSet::new();
    for _ in 0..10 {
        if world.ring.free() == 0 {
            let oldest = held.remove(0);
            world.ring.close(oldest);
            world.closed(oldest);
        }
        let (socket, _) = world.accept();
        world.ring.watch(socket);
        assert!(
            keys.insert(socket),
            "a slot used again has another generation"
        );
        held.push(socket);
    }
    assert_eq!(peers.len(), keys.len());
}

#[test]
fn much_that_happens_at_once_is_told_in_parts_without_waiting() {
    const PEERS: usize = TURN_COMPLETIONS_MAX + 20;
    let mut world = World::new(PEERS as u32, 2);
    let mut peers: Vec<_> = (0..PEERS)
        .map(|_| {
            let peer = world.dial();
            let (socket, _) = world.accept();
            world.ring.watch(socket);
            peer
        })
        .collect();
    let mut events = Vec::new();
    let mut turn = |world: &mut World, wait| {
        events.clear();
        world.ring.turn(wait, &mut events).expect("a turn works");
        events.len()
    };
    assert_eq!(turn(&mut world, Some(Duration::ZERO)), 0);
    for peer in &mut peers {
        peer.write_all(b".").expect("one byte fits");
    }
    let mut told = Vec::new();
    while told.iter().sum::<usize>() < PEERS {
        // Without a limit: a turn that waited although something is left would hang.
        told.push(turn(&mut world, None));
    }
    assert!(
        told.len() > 1 && told.iter().all(|told| *told <= TURN_COMPLETIONS_MAX),
        "{told:?}"
    );
}

#[test]
fn another_thread_ends_a_turn() {
    let mut world = World::new(2, 2);
    let waker = world.ring.waker();
    let thread = std::thread::spawn(move || waker.wake());
    world.until("the wake", |event| {
        matches!(event, Event::Woken).then_some(())
    });
    thread.join().expect("the thread ends");
}

#[test]
fn it_dials_from_a_given_address_and_hears_refusals() {
    let mut world = World::new(4, 2);
    let to = world.at;
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
    let there = listener.local_addr().expect("bound");
    for from in [None, Some("127.77.1.2:0".parse().expect("an address"))] {
        let socket = world.ring.connect(from, there).expect("a slot is free");
        world
            .until("the connection", |event| match event {
                Event::Connected { socket: s, result } if *s == socket => Some(*result),
                _ => None,
            })
            .expect("somebody listens");
        let (mut peer, address) = listener.accept().expect("connected");
        assert!(from.is_none_or(|from: SocketAddr| from.ip() == address.ip()));
        world.ring.send(socket, b"hi");
        world.ring.close(socket);
        world.closed(socket);
        let mut heard = String::new();
        peer.read_to_string(&mut heard).expect("closed in order");
        assert_eq!(heard, "hi");
    }
    drop(listener);
    let socket = world.ring.connect(None, there).expect("a slot is free");
    let refused = world.until("the refusal", |event| match event {
        Event::Connected { socket: s, result } if *s == socket => Some(*result),
        _ => None,
    });
    assert_eq!(refused, Err(Errno(libc::ECONNREFUSED)));
    assert_eq!(world.ring.free(), 4, "a failed connect frees its slot");
    assert!(world.ring.connect(None, to).is_some());
}

#[test]
fn a_slow_reader_is_told_apart_and_waited_for() {
    let mut world = World::new(2, 2);
    let mut peer = world.dial();
    let (socket, _) = world.accept();
    let block = [b'x'; 2048];
    let mut sent = 0usize;
    loop {
        world.ring.send(socket, &block);
        let result = world.until("the send", |event| match event {
            Event::Sent { result, .. } => Some(*result),
            _ => None,
        });
        match result {
            Ok(bytes) => sent += bytes as usize,
            Err(Errno(libc::EAGAIN)) => break,
            Err(other) => panic!("{other}"),
        }
        assert!(
            sent < 64 << 20,
            "a peer that reads nothing must fill its socket"
        );
    }
    world.ring.await_writable(socket);
    let mut buffer = vec![0; sent];
    peer.read_exact(&mut buffer).expect("all of it is there");
    world.until("room", |event| {
        matches!(event, Event::Writable(_)).then_some(())
    });
}

#[test]
fn a_small_pool_serves_many_sockets() {
    let mut world = World::new(100, 2);
    let mut peers: Vec<_> = (0..100).map(|_| world.dial()).collect();
    let sockets: Vec<_> = (0..100).map(|_| world.accept().0).collect();
    for peer in &mut peers {
        peer.write_all(b"ping").expect("connected");
    }
    for socket in &sockets {
        world.ring.receive(*socket);
        world.ring.send(*socket, b"pong");
    }
    let (mut received, mut sent) = (0, 0);
    let end = Instant::now() + PATIENCE;
    let mut events = std::mem::take(&mut world.events);
    while received + sent < 200 {
        assert!(Instant::now() < end, "{received} received, {sent} sent");
        world
            .ring
            .turn(Some(Duration::from_millis(100)), &mut events)
            .expect("a turn works");
        for event in events.drain(..) {
            match event {
                Event::Received { result, .. } => {
                    let lease = result.expect("every peer has sent");
                    assert_eq!(world.ring.bytes(&lease), b"ping");
                    world.ring.release(lease);
                    received += 1;
                }
                Event::Sent { result, .. } => sent += usize::from(result == Ok(4)),
                _ => {}
            }
        }
    }
}

#[test]
fn a_ring_that_is_dropped_in_the_middle_of_everything_leaves_nothing_behind() {
    let mut world = World::new(16, 4);
    let peer = world.dial();
    let (socket, _) = world.accept();
    world.ring.watch(socket);
    for _ in 0..8 {
        world.ring.accept();
    }
    world
        .ring
        .turn(Some(Duration::ZERO), &mut world.events)
        .expect("a turn works");
    world.ring.receive(socket);
    drop(world);
    drop(peer);
}

#[test]
fn armed_accepts_can_be_cancelled() {
    let mut world = World::new(16, 4);
    for _ in 0..5 {
        world.ring.accept();
    }
    assert_eq!((world.ring.accepting(), world.ring.free()), (5, 11));
    world
        .ring
        .turn(Some(Duration::ZERO), &mut world.events)
        .expect("a turn works");
    world.ring.cancel_accepts();
    for _ in 0..5 {
        let error = world.until("the cancellation", |event| match event {
            Event::AcceptFailed(error) => Some(*error),
            _ => None,
        });
        assert_eq!(error, Errno(libc::ECANCELED));
    }
    assert_eq!((world.ring.accepting(), world.ring.free()), (0, 16));
}
