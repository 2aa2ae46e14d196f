//! What a conformance test needs beside a ring: peers that dial it, are dialled by it, talk, and go.

use std::net::SocketAddr;

use everline_uring::Sockets;

/// Size of the ring that a test asks for.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) slots: u32,
    pub(crate) buffers: u32,
    pub(crate) buffer_bytes: usize,
}

/// What a peer finds when it reads, without waiting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Bytes(Vec<u8>),
    Nothing,
    Fin,
    Reset,
}

/// A ring, and the other side of its connections.
pub(crate) trait World: Sized {
    type Ring: Sockets;
    type Peer;

    fn ring(&mut self) -> &mut Self::Ring;

    /// Drops the ring, as a process that ends does.
    fn drop_ring(&mut self);

    /// Whether every buffer is back in the pool, where the world can tell.
    fn pool_is_whole(&self) -> Option<bool>;

    /// A peer connects to the ring's listener; does not wait for an accept. Its own address is the second.
    fn dial(&mut self) -> (Self::Peer, SocketAddr);

    /// An address that a ring can connect to; `answer` takes the connection there.
    fn destination(&mut self) -> SocketAddr;

    /// An address that refuses connections.
    fn nobody(&mut self) -> SocketAddr;

    /// Takes a connection that the ring has opened to `destination`, if there is one, with the ring's address.
    fn answer(&mut self) -> Option<(Self::Peer, SocketAddr)>;

    /// All of it fits into the connection.
    fn say(&mut self, peer: &mut Self::Peer, bytes: &[u8]);

    /// Reads what is there.
    fn hear(&mut self, peer: &mut Self::Peer) -> Heard;

    /// Whether the peer takes what comes; one that does not fills up.
    fn set_reading(&mut self, peer: &mut Self::Peer, reads: bool);

    /// The peer sends FIN and goes on reading.
    fn finish(&mut self, peer: &mut Self::Peer);

    /// The peer resets the connection. The ring must have sent it something that it has not read.
    fn reset(&mut self, peer: Self::Peer);
}
