//! The bytes of one connected socket of a ring: what is still to be sent, and whether a receive is worth asking for.
//!
//! Both kinds of connection of a fleet have one. It keeps to the ring's rules: one send and one receive at a time.

use everline_uring::{Errno, SocketKey, Sockets};

use crate::filling::Filling;

/// The kernel has nothing to give, or no room to take.
pub(crate) const EAGAIN: i32 = 11;
/// The peer has ended the connection at once.
pub(crate) const ECONNRESET: i32 = 104;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// The socket.
    pub(crate) key: SocketKey,
    out: Vec<u8>,
    filling: Filling,
    sending: bool,
    blocked: bool,
    receiving: bool,
    again: bool,
    paused: bool,
}

/// What a send that ended leaves to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// More goes out.
    More,
    /// Everything has gone out.
    Drained,
    /// Nothing can be sent any more.
    Broken(Errno),
}

impl Pipe {
    /// For a socket that is being connected.
    pub(crate) fn new(key: SocketKey) -> Self {
        let (sending, blocked, receiving, again, paused) = (false, false, false, false, false);
        Self {
            key,
            out: Vec::new(),
            filling: Filling::default(),
            sending,
            blocked,
            receiving,
            again,
            paused,
        }
    }

    /// Sends `bytes` behind what is there.
    pub(crate) fn push<S: Sockets>(&mut self, bytes: &[u8], sockets: &mut S) {
        self.push_filled(bytes, Filling::default(), sockets);
    }

    /// Sends `bytes` behind what is there, and `filling` behind them.
    /// Nothing may be pushed behind a filling before that has gone out.
    pub(crate) fn push_filled<S: Sockets>(
        &mut self,
        bytes: &[u8],
        filling: Filling,
        sockets: &mut S,
    ) {
        debug_assert!(self.filling.left() == 0, "a filling is the last in a pipe");
        self.out.extend_from_slice(bytes);
        self.filling = filling;
        // A short answer leaves in one send.
        while self.filling.left() > 0 && self.out.len() < sockets.buffer_bytes() {
            let room = sockets.buffer_bytes() - self.out.len();
            let joined = self.filling.piece(room);
            self.out.extend_from_slice(joined);
            self.filling.skip(joined.len() as u64);
        }
        if self.filling.left() > 0 {
            // Or its last piece would wait for the gateway's delayed acknowledgement: 40 ms that are nobody's latency.
            sockets.send_at_once(self.key);
        }
        self.pump(sockets);
    }

    /// A send ended.
    pub(crate) fn sent<S: Sockets>(&mut self, result: Result<u32, Errno>, sockets: &mut S) -> Sent {
        self.sending = false;
        match result {
            Ok(0) | Err(Errno(EAGAIN)) => {
                self.blocked = true;
                sockets.await_writable(self.key);
                return Sent::More;
            }
            Ok(taken) if self.out.is_empty() => self.filling.skip(u64::from(taken)),
            Ok(taken) => {
                self.out.drain(..(taken as usize).min(self.out.len()));
                if self.out.is_empty() {
                    self.out = Vec::new(); // An idle handset keeps no buffer.
                }
            }
            Err(errno) => return Sent::Broken(errno),
        }
        if self.is_drained() {
            return Sent::Drained;
        }
        self.pump(sockets);
        Sent::More
    }

    /// The socket takes bytes again.
    pub(crate) fn writable<S: Sockets>(&mut self, sockets: &mut S) {
        self.blocked = false;
        self.pump(sockets);
    }

    /// Something can be received; `watching`: as the ring said.
    pub(crate) fn readable<S: Sockets>(&mut self, watching: bool, sockets: &mut S) {
        if !watching {
            sockets.watch(self.key);
        }
        self.receive(sockets);
    }

    /// Asks for what is there, now or as soon as that is allowed.
    pub(crate) fn receive<S: Sockets>(&mut self, sockets: &mut S) {
        if self.receiving || self.paused {
            self.again = true;
        } else {
            self.receiving = true;
            self.again = false;
            sockets.receive(self.key);
        }
    }

    /// A receive ended; `more`: the ring says that there was more, bytes or the end of the stream, which is not told
    /// again. What arrived meanwhile was told.
    pub(crate) fn received<S: Sockets>(&mut self, more: bool, sockets: &mut S) {
        self.receiving = false;
        if self.again || more {
            self.receive(sockets);
        }
    }

    /// Receives nothing until [`Pipe::resume`]: the peer feels it.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    /// Receives again, and what came meanwhile at once.
    pub(crate) fn resume<S: Sockets>(&mut self, sockets: &mut S) {
        self.paused = false;
        if self.again && !self.receiving {
            self.receive(sockets);
        }
    }

    /// Whether nothing is left to send.
    pub(crate) fn is_drained(&self) -> bool {
        self.out.is_empty() && self.filling.left() == 0
    }

    fn pump<S: Sockets>(&mut self, sockets: &mut S) {
        if self.sending || self.blocked || self.is_drained() {
            return;
        }
        self.sending = true;
        if self.out.is_empty() {
            sockets.send(self.key, self.filling.piece(sockets.buffer_bytes()));
        } else {
            sockets.send(self.key, &self.out);
        }
    }
}
