//! The one line of a data channel: `DATA id=…`, after which the channel speaks HTTP (PROTOCOL 5.1).

use crate::{ErrorCode, RequestId};

/// Reads the DATA line from a new data channel; the caller bounds the wait.
#[derive(Debug, Default)]
pub struct DataLine {}

/// How far a [`DataLine`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataStep {
    /// The line is not whole yet.
    More,
    /// The line is whole. `used` bytes of this call's input belong to it: the rest is the handset's HTTP, though
    /// a handset may not send any yet.
    Bound {
        /// The request that the handset takes.
        id: RequestId,
        /// Bytes consumed of this call's input.
        used: usize,
    },
    /// Answer this with [`error_line`] and close.
    Bad(ErrorCode),
}

#[allow(unused_variables, clippy::todo, clippy::needless_pass_by_ref_mut)]
impl DataLine {
    /// Takes bytes as they arrived.
    pub fn input(&mut self, bytes: &[u8]) -> DataStep {
        todo!()
    }

    /// The line that a handset sends.
    pub fn encode(id: RequestId) -> Vec<u8> {
        todo!()
    }
}

/// The line with which the gateway refuses a data channel.
#[allow(unused_variables, clippy::todo)]
pub fn error_line(code: ErrorCode) -> Vec<u8> {
    todo!()
}
