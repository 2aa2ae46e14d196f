//! The handset protocol, version 1, sans-io: bytes and a time go in; bytes, events and the next deadline come out.
//!
//! Called by the gateway's shards ([`Session`]), the agent and the load generator ([`Handset`]), and by whoever
//! accepts or opens data channels ([`DataLine`]). It holds no socket, clock, thread or random number: those are
//! arguments. In the order in which a connection meets them:
//!
//! | module | what it is |
//! |---|---|
//! | [`line`] | bytes to lines, lines to verb and keys |
//! | [`message`] | lines to messages and back |
//! | [`session`] | the gateway's side of a signaling connection |
//! | [`handset`] | the handset's side of a signaling connection |
//! | [`data`] | the one line that opens a data channel |
//! | [`backoff`] | when a handset tries again |
//! | [`msisdn`], [`id`], [`time`], [`code`], [`text`] | the values they speak of |
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

pub mod backoff;
pub mod code;
pub mod data;
pub mod handset;
pub mod id;
pub mod line;
pub mod message;
pub mod msisdn;
pub mod session;
pub mod text;
pub mod time;

pub use backoff::Backoff;
pub use code::{ErrorCode, RefusalCode};
pub use data::{DataLine, DataStep, error_line};
pub use handset::{Handset, HandsetEvent, HandsetOutput, Identity};
pub use id::{RequestId, SessionId};
pub use message::{Connect, Fault, HostPort, Message, Refusal};
pub use msisdn::{BadMsisdn, MaskedMsisdn, Msisdn};
pub use session::{Rules, Session, SessionEvent, SessionOutput};
pub use time::Millis;

/// Longest line in bytes, its ending included (PROTOCOL section 2).
pub const LINE_BYTES_MAX: usize = 2048;
