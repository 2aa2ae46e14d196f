//! One virtual TCP connection: the bytes under way in both directions, and how it ended. The ring's end of it
//! behaves as Linux's TCP does, in what an owner of a socket can notice.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::Errno;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Dialled by the peer, in the listener's backlog or taken from it already.
    Established,
    /// Dialled by a ring; the test has not answered yet.
    Dialled,
    /// Dialled by a ring and refused.
    Refused(Errno),
}

/// What the ring's end finds when it reads.
#[derive(Debug)]
pub(super) enum Found {
    Bytes(usize),
    End,
    Nothing,
    Error(Errno),
}

/// Both ends of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) phase: Phase,
    /// The address of the end that the test plays.
    pub(super) peer: SocketAddr,
    to_ring: VecDeque<u8>,
    /// The peer's FIN stands behind the bytes of `to_ring`.
    peer_finished: bool,
    /// The peer's socket is gone: it answers what it gets with a reset.
    peer_gone: bool,
    /// A reset from the peer, not yet told to the ring's owner: the kernel tells it once.
    error: Option<Errno>,
    /// The connection is dead in both directions.
    broken: bool,
    /// Something arrived at the ring's end since it was last told so: what wakes a poll.
    news: bool,
    /// Bytes that the ring sent and the peer's application has not read from its window.
    window: Vec<u8>,
    received: Vec<u8>,
    peer_reads: bool,
    ring_finished: bool,
    ring_reset: bool,
}

impl Connection {
    pub(super) fn new(phase: Phase, peer: SocketAddr) -> Connection {
        Connection {
            phase,
            peer,
            to_ring: VecDeque::new(),
            peer_finished: false,
            peer_gone: false,
            error: None,
            broken: false,
            news: false,
            window: Vec::new(),
            received: Vec::new(),
            peer_reads: true,
            ring_finished: false,
            ring_reset: false,
        }
    }

    // The ring's end.

    pub(super) fn readable(&self) -> bool {
        !self.to_ring.is_empty() || self.peer_finished || self.error.is_some() || self.broken
    }

    /// A poll that is armed looks at the state first, and then waits for arrivals.
    pub(super) fn poll_armed(&mut self) {
        self.news = self.readable();
    }

    /// Whether something arrived since the last call: a multishot poll tells arrivals, not states.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Reads at most `into.len()` bytes. Bytes go before the end, and both before the reset that followed them.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Found {
        if !self.to_ring.is_empty() {
            let len = into.len().min(self.to_ring.len());
            for (place, byte) in into.iter_mut().zip(self.to_ring.drain(..len)) {
                *place = byte;
            }
            return Found::Bytes(len);
        }
        if self.peer_finished {
            return Found::End;
        }
        match self.error.take() {
            Some(error) => Found::Error(error),
            None if self.broken => Found::End,
            None => Found::Nothing,
        }
    }

    /// A segment comes after what was read: the reason for a short read is at once a reason for another poll event.
    pub(super) fn segment_follows(&mut self) {
        self.news = true;
    }

    pub(super) fn writable(&self, window_bytes: usize) -> bool {
        self.broken || self.error.is_some() || self.peer_reads || self.window.len() < window_bytes
    }

    /// Writes as much as the peer's window takes.
    pub(super) fn write(&mut self, bytes: &[u8], window_bytes: usize) -> Result<usize, Errno> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.broken {
            return Err(Errno(libc::EPIPE));
        }
        if self.peer_gone {
            // The first send to a closed socket succeeds; the reset that it provokes is seen by the next.
            self.break_off(Errno(libc::EPIPE));
            return Ok(bytes.len());
        }
        if self.peer_reads {
            self.received.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        let room = window_bytes.saturating_sub(self.window.len());
        if room == 0 && !bytes.is_empty() {
            return Err(Errno(libc::EAGAIN));
        }
        let taken = &bytes[..bytes.len().min(room)];
        self.window.extend_from_slice(taken);
        Ok(taken.len())
    }

    pub(super) fn ring_finishes(&mut self) {
        self.ring_finished = true;
        self.to_ring.clear();
    }

    pub(super) fn ring_resets(&mut self) {
        self.ring_reset = true;
        self.broken = true;
        self.to_ring.clear();
        self.window.clear();
        self.received.clear();
    }

    // The peer's end.

    pub(super) fn peer_sends(&mut self, bytes: &[u8]) {
        if self.broken || self.peer_finished || self.ring_finished {
            return; // as a write to a socket whose other end is gone
        }
        self.to_ring.extend(bytes);
        self.news = true;
    }

    pub(super) fn peer_finishes(&mut self) {
        if !self.broken {
            self.peer_finished = true;
            self.news = true;
        }
    }

    pub(super) fn peer_closes(&mut self) {
        self.peer_finishes();
        self.peer_gone = true;
    }

    pub(super) fn peer_resets(&mut self) {
        if !self.broken {
            self.break_off(Errno(libc::ECONNRESET));
            self.peer_gone = true;
        }
    }

    pub(super) fn peer_reads(&mut self, reads: bool) {
        self.peer_reads = reads;
        if reads {
            self.received.append(&mut self.window);
        }
    }

    pub(super) fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// The peer has come to the ring's FIN: it stands behind everything that the peer has yet to read.
    pub(super) fn fin_seen(&self) -> bool {
        self.ring_finished && self.window.is_empty()
    }

    pub(super) fn reset_seen(&self) -> bool {
        self.ring_reset
    }

    fn break_off(&mut self, error: Errno) {
        self.error = Some(error);
        self.broken = true;
        self.news = true;
        self.window.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection::new(Phase::Established, SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    #[test]
    fn bytes_go_before_the_reset_that_followed_them_and_it_is_told_once() {
        let mut connection = connection();
        connection.peer_sends(b"last words");
        connection.peer_resets();
        let mut into = [0; 64];
        assert!(matches!(connection.read(&mut into), Found::Bytes(10)));
        assert!(matches!(
            connection.read(&mut into),
            Found::Error(Errno(libc::ECONNRESET))
        ));
        assert!(matches!(connection.read(&mut into), Found::End));
        assert_eq!(connection.write(b"x", 9), Err(Errno(libc::EPIPE)));
    }

    #[test]
    fn a_peer_that_does_not_read_takes_a_window_full() {
        let mut connection = connection();
        connection.peer_reads(false);
        assert_eq!(connection.write(b"0123456789", 4), Ok(4));
        assert_eq!(connection.write(b"456789", 4), Err(Errno(libc::EAGAIN)));
        assert!(!connection.writable(4) && connection.take_received().is_empty());
        connection.peer_reads(true);
        assert!(connection.writable(4));
        assert_eq!(connection.take_received(), b"0123");
    }

    #[test]
    fn the_second_send_to_a_closed_peer_fails() {
        let mut connection = connection();
        connection.peer_closes();
        assert_eq!(connection.write(b"one", 9), Ok(3));
        assert_eq!(connection.write(b"two", 9), Err(Errno(libc::EPIPE)));
        assert!(matches!(connection.read(&mut [0; 8]), Found::End));
    }
}
