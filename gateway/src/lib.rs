//! The gateway: one way through, from a caller to a handset and back. This page lists the modules in the order in
//! which a request meets them; a stage knows only the stages below it and what they share.
//!
//! ```text
//! caller → [1] ingress → [2] directory → [3] shard → REQUESTPENDING → handset
//! caller ← [6] respond ← [5] relay    ←  [4] data_channel  ←  DATA  ← handset
//! ```
//!
//! A [`worker`] thread runs 1, 2, 4, 5 and 6 for the requests it took; a shard thread runs 3 for the signaling sockets
//! in its ring. They meet in two tables: the [`directory`] tells a worker which shard holds a handset, and
//! [`pending`] tells whoever accepts a data channel which request waits for it. [`carry`] holds all the
//! branching of a request's life; the other stages are straight lines.
#![allow(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::indexing_slicing)]

// The way of a request.
pub mod ingress; // [1] accepts callers, speaks HTTP/1.1 and HTTP/2, admits or refuses
pub mod carry; // the life of one admitted request: every branch of it, from the lookup to the answer
pub mod directory; // [2] MSISDN → which shard, which socket
pub mod shard; // [3] signaling: registers handsets, keeps them alive, sends REQUESTPENDING
pub mod data_channel; // [4] accepts what handsets open, binds it to the request by its id
pub mod relay; // [5] the request out on the data channel, the response back
pub mod respond; // [6] what the caller gets: the handset's response, or one problem

// What the stages share and call upon. These know no stage, but for the directory and the shards' mailboxes.
pub mod config; // what the operator said, checked
pub mod shared; // what every thread holds one reference to: the tables, the mailboxes, the phase
pub mod request; // a request's address and identity
pub mod address; // which handset a URL names
pub mod problem; // every way in which a request can fail, and what the caller is told
pub mod limits; // who may have how many requests at once
pub mod pending; // requests that wait for a data channel
pub mod ids; // random numbers
pub mod registration; // whose token is good, and how many may register at once
pub mod store; // what is known of each handset after a restart; never routes
pub mod socket; // the runtime's sockets, one of two
pub mod stream; // a TCP connection as hyper reads and writes it
pub mod proxy_header; // PROXY protocol v1 and v2
pub mod head_gate; // judges every HTTP/1.1 request's head before hyper sees it
pub mod framing; // where an HTTP/1.1 request ends
pub mod fields; // which header fields go on, and which are ours to add
pub mod channel; // a data channel as hyper's client speaks it
pub mod idle_channels; // data channels between two requests
pub mod request_body; // a request's body on its way out
pub mod response_body; // a response's body on its way back
pub mod metric_names; // every metric, its labels and its help
pub mod meters; // the metrics of a request, as handles

// Around the way.
pub mod config_file; // reads what the operator said, and tells all that is wrong with it
pub mod machine; // what this machine gives the process
pub mod gateway; // starts all of it, stops all of it
pub mod worker; // the thread that runs 1, 2, 4, 5 and 6
pub mod drain; // leaving in order
pub mod admin; // health, readiness, metrics, sessions, drain, revoke
pub mod metrics; // where everyone's numbers are collected
