//! The handset protocol, version 1, sans-io: bytes and a time go in; bytes, events and the next deadline come out.
//!
//! Called by the gateway's shards ([`Session`]), the agent and the load generator ([`Handset`]), and by whoever
//! accepts or opens data channels ([`DataLine`]). It holds no socket, clock, thread or random number: those are
//! arguments. In the order in which a connection meets them:
//!
//! | module | what it is |
//! |---|---|
//! | [`mod@line`] | bytes to lines, lines to verb and keys |
//! | [`message`] | lines to messages and back |
//! | [`session`] | the gateway's side of a signaling connection |
//! | [`handset`] | the handset's side of a signaling connection |
//! | [`data`] | the one line that opens a data channel |
//! | [`body`] | where a message on it ends |
//! | [`backoff`] | when a handset tries again |
//! | [`wheel`] | the deadlines of many of either |
//! | [`msisdn`], [`id`], [`time`], [`code`], [`text`] | the values they speak of |
//!
//! A dialogue (PROTOCOL section 7), both machines in one program and the network left out:
//!
//! ```
//! use everline_protocol::{
//!     Beat, DataLine, DataStep, Handset, HandsetEvent, HandsetOutput, Identity, Millis, Msisdn, RequestId, Rules, Session,
//!     SessionEvent, SessionId, SessionOutput,
//! };
//!
//! let rules = Rules {
//!     timeout_s: 10..=3600,
//!     connect_limit: Millis::from_secs(10),
//!     grace_max: Millis::from_secs(30),
//!     beat: Beat::default(),
//! };
//! let identity = Identity {
//!     msisdn: Msisdn::parse(b"34610515151")?,
//!     token: "eyJ.e30.c2ln".into(),
//!     timeout_s: 300,
//!     linger_s: 0,
//!     agent: None,
//! };
//! let (mut to_handset, mut to_gateway) = (SessionOutput::default(), HandsetOutput::default());
//! let now = Millis(0);
//!
//! // The handset has dialled; the gateway has accepted.
//! let mut handset = Handset::connect(&identity, now, Millis::from_secs(10), &mut to_gateway);
//! let mut session = Session::new(now, &rules);
//!
//! session.input(&to_gateway.wire, now, &rules, &mut to_handset);
//! to_gateway.wire.clear();
//! // The owner checks the token of this CONNECT, and takes it:
//! assert!(matches!(to_handset.events.as_slice(), [SessionEvent::Authenticate(_)]));
//! to_handset.events.clear();
//! session.admit(SessionId(1234), now, &rules, &mut to_handset);
//! assert_eq!(to_handset.wire, b"CONNREGISTERED session=00000000000004d2 timeout=300\r\n");
//!
//! handset.input(&to_handset.wire, now, &mut to_gateway);
//! to_handset.wire.clear();
//! assert!(matches!(to_gateway.events.as_slice(), [HandsetEvent::Registered { .. }]));
//! assert_eq!(to_gateway.wire, b"WAITING\r\n");
//! to_gateway.events.clear();
//!
//! session.input(&to_gateway.wire, now, &rules, &mut to_handset);
//! assert_eq!(to_handset.events, [SessionEvent::Ready]);
//!
//! // A caller's request is pending: the handset hears of it, and opens a data channel for it.
//! assert!(session.signal(RequestId(7), None, &mut to_handset));
//! handset.input(&to_handset.wire, now, &mut to_gateway);
//! to_handset.wire.clear();
//! assert_eq!(to_gateway.events, [HandsetEvent::RequestPending { id: RequestId(7), data: None }]);
//! let line = DataLine::encode(RequestId(7));
//! assert_eq!(DataLine::default().input(&line), DataStep::Bound { id: RequestId(7), used: line.len() });
//! session.on_data_channel(now);
//!
//! // 300 s without a request: the gateway asks whether the handset is there.
//! let due = session.deadline().expect("it has not ended");
//! session.on_deadline(due, &rules, &mut to_handset);
//! assert_eq!(to_handset.wire, b"KEEPALIVE\r\n");
//! # Ok::<(), everline_protocol::BadMsisdn>(())
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

pub mod backoff;
pub mod body;
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
pub mod wheel;

pub use backoff::Backoff;
pub use body::{BodyFraming, Follower};
pub use code::{ErrorCode, RefusalCode};
pub use data::{DataLine, DataStep, error_line};
pub use handset::{Handset, HandsetEvent, HandsetOutput, Identity};
pub use id::{RequestId, SessionId};
pub use message::{Connect, Fault, HostPort, Message, Refusal};
pub use msisdn::{BadMsisdn, MaskedMsisdn, Msisdn};
pub use session::{BEATS_MIN, Beat, Rules, Session, SessionEvent, SessionOutput};
pub use time::Millis;
pub use wheel::Wheel;

/// Longest line in bytes, its ending included (PROTOCOL section 2).
pub const LINE_BYTES_MAX: usize = 2048;
