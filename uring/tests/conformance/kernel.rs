//! The world of the kernel's ring: TCP on loopback, ports chosen by the kernel.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use everline_uring::{Ring, RingConfig};

use crate::stage::PATIENCE;
use crate::world::{Heard, Shape, World};

pub(crate) struct KernelWorld {
    ring: Option<Ring>,
    at: SocketAddr,
    destination: TcpListener,
}

impl KernelWorld {
    pub(crate) fn new(shape: Shape) -> KernelWorld {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
        let at = listener
            .local_addr()
            .expect("a bound socket has an address");
        let destination = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
        destination
            .set_nonblocking(true)
            .expect("a listener can be made not to wait");
        let config = RingConfig {
            slots: shape.slots,
            buffers: shape.buffers,
            buffer_bytes: shape.buffer_bytes,
            entries: 64,
            listener: Some(listener),
        };
        KernelWorld {
            ring: Some(Ring::new(config).expect("io_uring is available")),
            at,
            destination,
        }
    }

    fn peer(stream: TcpStream) -> TcpStream {
        stream
            .set_nonblocking(true)
            .expect("a stream can be made not to wait");
        stream
    }
}

impl World for KernelWorld {
    type Ring = Ring;
    type Peer = TcpStream;

    fn ring(&mut self) -> &mut Ring {
        self.ring.as_mut().expect("the ring is still there")
    }

    fn drop_ring(&mut self) {
        self.ring = None;
    }

    fn pool_is_whole(&self) -> Option<bool> {
        None
    }

    fn dial(&mut self) -> (TcpStream, SocketAddr) {
        let stream = TcpStream::connect(self.at).expect("the backlog takes it");
        let address = stream.local_addr().expect("it is connected");
        (KernelWorld::peer(stream), address)
    }

    fn destination(&mut self) -> SocketAddr {
        self.destination
            .local_addr()
            .expect("a bound socket has an address")
    }

    fn nobody(&mut self) -> SocketAddr {
        // Bound and dropped: nobody else binds to this address, so the port stays unused.
        let listener = TcpListener::bind("127.86.75.30:0").expect("loopback can be bound");
        listener
            .local_addr()
            .expect("a bound socket has an address")
    }

    fn answer(&mut self) -> Option<(TcpStream, SocketAddr)> {
        match self.destination.accept() {
            Ok((stream, from)) => Some((KernelWorld::peer(stream), from)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("accept: {error}"),
        }
    }

    fn say(&mut self, peer: &mut TcpStream, bytes: &[u8]) {
        peer.write_all(bytes).expect("it fits into the socket");
    }

    fn hear(&mut self, peer: &mut TcpStream) -> Heard {
        let mut bytes = vec![0; 64 * 1024];
        match peer.read(&mut bytes) {
            Ok(0) => Heard::Fin,
            Ok(len) => {
                bytes.truncate(len);
                Heard::Bytes(bytes)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => Heard::Nothing,
                ErrorKind::ConnectionReset => Heard::Reset,
                _ => panic!("read: {error}"),
            },
        }
    }

    fn set_reading(&mut self, _peer: &mut TcpStream, _reads: bool) {
        // It reads when the test does.
    }

    fn finish(&mut self, peer: &mut TcpStream) {
        peer.shutdown(Shutdown::Write).expect("it is connected");
    }

    fn reset(&mut self, peer: TcpStream) {
        // A socket that is closed with unread bytes sends a reset in place of FIN.
        peer.set_nonblocking(false)
            .and_then(|()| peer.set_read_timeout(Some(PATIENCE)))
            .expect("a stream can be made to wait");
        let unread = peer
            .peek(&mut [0])
            .expect("something comes in the time given");
        assert_eq!(unread, 1, "the ring has sent something");
    }
}
