//! The one line of a data channel: `DATA id=…`, after which the channel speaks HTTP (PROTOCOL 5.1).

use crate::line::{Line, LineReader, Verb};
use crate::message::{self, Fault, Message};
use crate::{ErrorCode, RequestId};

/// Reads the DATA line from a new data channel; the caller bounds the wait.
#[derive(Debug, Default)]
pub struct DataLine {
    reader: LineReader,
    done: bool,
}

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

impl DataLine {
    /// Takes bytes as they arrived. Never panics, keeps at most one partial line.
    ///
    /// Bad are: a line too long, malformed or without a well-formed `id` (`bad-line`), a verb that is unknown or not
    /// DATA, and any call after the line was whole.
    pub fn input(&mut self, bytes: &[u8]) -> DataStep {
        if self.done {
            return DataStep::Bad(ErrorCode::UnexpectedVerb);
        }
        let mut rest = bytes;
        let id = match self.reader.next(&mut rest) {
            Ok(None) => return DataStep::More,
            Ok(Some(line)) => take_id(&line),
            Err(code) => Err(code),
        };
        self.done = true;
        match id {
            Ok(id) => DataStep::Bound {
                id,
                used: bytes.len() - rest.len(),
            },
            Err(code) => DataStep::Bad(code),
        }
    }

    /// The line that a handset sends.
    pub fn encode(id: RequestId) -> Vec<u8> {
        let mut line = Vec::with_capacity(40);
        Message::Data(id).encode(&mut line);
        line
    }
}

/// The line with which a gateway closes a connection, signaling or data, whose state machine it does not ask.
pub fn error_line(code: ErrorCode) -> Vec<u8> {
    let mut line = Vec::new();
    message::encode_error(code, &mut line);
    line
}

fn take_id(line: &[u8]) -> Result<RequestId, ErrorCode> {
    let line = Line::parse(line)?;
    if line.verb() != Verb::Data {
        return Err(ErrorCode::UnexpectedVerb);
    }
    match Message::read(&line) {
        Ok(Message::Data(id)) => Ok(id),
        Ok(_) | Err(Fault::Refused(_)) => Err(ErrorCode::BadLine),
        Err(Fault::Broken(code)) => Err(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RequestId = RequestId(0x9f86_d081_884c_7d65_9a2f_eaa0_c55a_d015);
    const LINE: &[u8] = b"DATA id=9f86d081884c7d659a2feaa0c55ad015\r\n";

    #[test]
    fn the_line_binds_and_the_rest_is_http() {
        assert_eq!(DataLine::encode(ID), LINE);
        let input = [LINE, b"HTTP/1.1 200 OK\r\n"].concat();
        assert_eq!(
            DataLine::default().input(&input),
            DataStep::Bound {
                id: ID,
                used: LINE.len()
            }
        );
    }

    #[test]
    fn used_counts_the_last_call_alone() {
        for cut in 1..LINE.len() {
            let (head, tail) = LINE.split_at(cut);
            let mut data = DataLine::default();
            assert_eq!(data.input(head), DataStep::More, "{cut}");
            assert_eq!(data.input(&[]), DataStep::More, "{cut}");
            assert_eq!(
                data.input(tail),
                DataStep::Bound {
                    id: ID,
                    used: tail.len()
                },
                "{cut}"
            );
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let step = |line: &[u8]| DataLine::default().input(line);
        assert_eq!(step(b"DATA\r\n"), DataStep::Bad(ErrorCode::BadLine));
        assert_eq!(step(b"DATA id=9f86\r\n"), DataStep::Bad(ErrorCode::BadLine));
        assert_eq!(
            step(b"GET / HTTP/1.1\r\n"),
            DataStep::Bad(ErrorCode::BadLine)
        );
        assert_eq!(
            step(b"HELLO a=b\r\n"),
            DataStep::Bad(ErrorCode::UnknownVerb)
        );
        assert_eq!(
            step(b"WAITING\r\n"),
            DataStep::Bad(ErrorCode::UnexpectedVerb)
        );
        assert_eq!(
            step(b"CONNECT version=2\r\n"),
            DataStep::Bad(ErrorCode::UnexpectedVerb)
        );
        assert_eq!(step(&[b'A'; 2049]), DataStep::Bad(ErrorCode::LineTooLong));
    }

    #[test]
    fn one_line_is_all_there_is() {
        let mut data = DataLine::default();
        data.input(LINE);
        assert_eq!(data.input(LINE), DataStep::Bad(ErrorCode::UnexpectedVerb));
    }
}
