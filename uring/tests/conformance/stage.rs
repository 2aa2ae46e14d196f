//! A world and an owner of its ring that does what an owner has to: arm again, receive again, send the rest.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use everline_uring::{Errno, Event, SocketKey, Sockets};

use crate::world::{Heard, Shape, World};

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Stage<W: World> {
    pub(crate) world: W,
    pub(crate) events: Vec<Event>,
}

/// The size that most tests take.
pub(crate) fn stage<W: World>(make: impl FnOnce(Shape) -> W) -> Stage<W> {
    sized(make, 8, 4, 2048)
}

pub(crate) fn sized<W: World>(
    make: impl FnOnce(Shape) -> W,
    slots: u32,
    buffers: u32,
    buffer_bytes: usize,
) -> Stage<W> {
    Stage {
        world: make(Shape {
            slots,
            buffers,
            buffer_bytes,
        }),
        events: Vec::new(),
    }
}

/// Which socket an event is about.
pub(crate) fn socket_of(event: &Event) -> Option<SocketKey> {
    match *event {
        Event::Accepted { socket, .. }
        | Event::Connected { socket, .. }
        | Event::Readable { socket, .. }
        | Event::Writable(socket)
        | Event::Received { socket, .. }
        | Event::Sent { socket, .. }
        | Event::Closed(socket) => Some(socket),
        Event::AcceptFailed(_) | Event::Woken => None,
    }
}

impl<W: World> Stage<W> {
    pub(crate) fn ring(&mut self) -> &mut W::Ring {
        self.world.ring()
    }

    /// A turn that waits a while for something to happen.
    pub(crate) fn turn(&mut self) {
        self.turn_for(Duration::from_millis(20));
    }

    fn turn_for(&mut self, wait: Duration) {
        let ring = self.world.ring();
        ring.turn(Some(wait), &mut self.events)
            .expect("a turn works");
    }

    /// Takes the first event that `wanted` names, turning until it is there; keeps the others in their order.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.events.iter().position(&wanted) {
                return self.events.remove(at);
            }
            assert!(
                Instant::now() < end,
                "no {what}; there is {:?}",
                self.events
            );
            self.turn();
        }
    }

    /// Turns until `done` says so.
    pub(crate) fn turn_until(&mut self, what: &str, mut done: impl FnMut(&mut Stage<W>) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(
                Instant::now() < end,
                "{what} did not come about; there is {:?}",
                self.events
            );
            self.turn();
        }
    }

    /// A connection that waits, accepted and watched.
    pub(crate) fn accept(&mut self) -> (SocketKey, SocketAddr) {
        loop {
            if self.ring().accepting() == 0 {
                self.ring().accept();
            }
            let ended = self.until("end of an accept", |event| {
                matches!(event, Event::Accepted { .. } | Event::AcceptFailed(_))
            });
            if let Event::Accepted { socket, peer } = ended {
                self.ring().watch(socket);
                return (socket, peer);
            }
        }
    }

    /// A peer and the socket that it is connected to, watched.
    pub(crate) fn connected(&mut self) -> (W::Peer, SocketKey) {
        let (peer, _) = self.world.dial();
        let (socket, _) = self.accept();
        (peer, socket)
    }

    pub(crate) fn until_readable(&mut self, socket: SocketKey) {
        let event = self.until(
            "Readable",
            |event| matches!(event, Event::Readable { socket: of, .. } if *of == socket),
        );
        if let Event::Readable {
            watching: false, ..
        } = event
        {
            self.ring().watch(socket);
        }
    }

    /// One receive, as it ends.
    pub(crate) fn receive(&mut self, socket: SocketKey) -> Result<Vec<u8>, Errno> {
        self.ring().receive(socket);
        let ended = self.until(
            "end of a receive",
            |event| matches!(event, Event::Received { socket: of, .. } if *of == socket),
        );
        let Event::Received { result, .. } = ended else {
            unreachable!("just matched");
        };
        result.map(|lease| {
            let bytes = self.ring().bytes(&lease).to_vec();
            self.ring().release(lease);
            bytes
        })
    }

    /// The next bytes of a watched socket, empty at their end, waited for.
    pub(crate) fn read(&mut self, socket: SocketKey) -> Result<Vec<u8>, Errno> {
        loop {
            match self.receive(socket) {
                Err(Errno(libc::EAGAIN)) => self.until_readable(socket),
                ended => return ended,
            }
        }
    }

    pub(crate) fn read_exactly(&mut self, socket: SocketKey, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let more = self.read(socket).expect("the connection holds");
            assert!(
                !more.is_empty(),
                "the stream ended after {} bytes",
                bytes.len()
            );
            bytes.extend(more);
        }
        assert_eq!(bytes.len(), len, "more came than was sent");
        bytes
    }

    /// One send, as it ends.
    pub(crate) fn send(&mut self, socket: SocketKey, bytes: &[u8]) -> Result<usize, Errno> {
        let copied = self.ring().send(socket, bytes);
        assert!(copied > 0 && copied <= bytes.len());
        let ended = self.until(
            "end of a send",
            |event| matches!(event, Event::Sent { socket: of, .. } if *of == socket),
        );
        match ended {
            Event::Sent {
                result: Ok(sent), ..
            } => {
                assert!(sent > 0 && sent as usize <= copied, "{sent} of {copied}");
                Ok(sent as usize)
            }
            Event::Sent {
                result: Err(errno), ..
            } => Err(errno),
            _ => unreachable!("just matched"),
        }
    }

    pub(crate) fn send_all(&mut self, socket: SocketKey, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.send(socket, bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(Errno(libc::EAGAIN)) => self.until_writable(socket),
                Err(errno) => panic!("send: {errno}"),
            }
        }
    }

    pub(crate) fn until_writable(&mut self, socket: SocketKey) {
        self.ring().await_writable(socket);
        self.until(
            "Writable",
            |event| matches!(event, Event::Writable(of) if *of == socket),
        );
    }

    /// Ends a socket and sees to it that nothing but `Closed` is told of it from then on.
    pub(crate) fn end(&mut self, socket: SocketKey, end: impl FnOnce(&mut W::Ring, SocketKey)) {
        self.forget(socket);
        end(self.world.ring(), socket);
        self.until("Closed", |event| {
            socket_of(event) == Some(socket)
                && match event {
                    Event::Closed(_) => true,
                    other => panic!("after the end of {socket:?}: {other:?}"),
                }
        });
        self.turn_for(Duration::ZERO);
        assert!(
            !self
                .events
                .iter()
                .any(|event| socket_of(event) == Some(socket)),
            "told after Closed: {:?}",
            self.events
        );
    }

    pub(crate) fn close(&mut self, socket: SocketKey) {
        self.end(socket, W::Ring::close);
    }

    /// Drops what has been told of a socket, as an owner does that closes it in the middle of a batch.
    pub(crate) fn forget(&mut self, socket: SocketKey) {
        for event in std::mem::take(&mut self.events) {
            if socket_of(&event) != Some(socket) {
                self.events.push(event);
            } else if let Event::Received {
                result: Ok(lease), ..
            } = event
            {
                self.ring().release(lease);
            }
        }
    }

    /// Everything that the peer hears, and whether it ended in FIN or a reset.
    pub(crate) fn hear_to_end(&mut self, peer: &mut W::Peer) -> (Vec<u8>, Heard) {
        let (mut heard, mut end) = (Vec::new(), Heard::Nothing);
        self.turn_until("the peer's end of stream", |stage| {
            match stage.world.hear(peer) {
                Heard::Bytes(bytes) => heard.extend(bytes),
                Heard::Nothing => {}
                ended => end = ended,
            }
            end != Heard::Nothing
        });
        (heard, end)
    }

    pub(crate) fn hear_exactly(&mut self, peer: &mut W::Peer, len: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        self.turn_until("the bytes for the peer", |stage| {
            match stage.world.hear(peer) {
                Heard::Bytes(bytes) => heard.extend(bytes),
                Heard::Nothing => {}
                ended => panic!("{ended:?} after {} of {len} bytes", heard.len()),
            }
            heard.len() >= len
        });
        assert_eq!(heard.len(), len, "more came than was sent");
        heard
    }

    /// Nothing is left over: every slot free, every lease back.
    pub(crate) fn is_at_rest(&mut self) {
        assert_eq!(self.ring().free(), self.ring().slots());
        assert_eq!(self.ring().accepting(), 0);
        assert_ne!(self.world.pool_is_whole(), Some(false));
    }
}
