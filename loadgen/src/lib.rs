//! The load generator: up to a million simulated handsets, and the callers that request them, in one process.
//!
//! In the order in which a run meets them:
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`] | the command line, and the one check of it |
//! | [`scenario`] | what a run is to do, phase by phase: the files, and the one check of them |
//! | [`run`] | the phases of a run: ramp, hold, finish |
//! | [`fleet`] | the handsets of one thread on one ring; what they are told to do is in [`orders`], what they say in `signaling` and `channels` |
//! | [`rogue`] | handsets that misbehave, beside the honest ones |
//! | [`caller`] | the callers; one HTTP exchange of theirs is in `exchange` and `upload` |
//! | [`answer`] | what handsets answer, and how callers verify it |
//! | [`screen`], [`report`], [`table`], [`html`] | what the tester sees while it runs, and at the end |
//! | [`metrics`] | what Prometheus sees while it runs |
//! | [`compare`] | two reports side by side |
//! | [`thresholds`] | what a run must reach |
//! | [`address`], [`tokens`], [`roster`], [`http`], [`filling`], [`books`], [`machine`], `ring_thread`, `pipe` | what those use |
#![forbid(unsafe_code)]

pub mod address;
pub mod answer;
pub mod books;
pub mod caller;
mod channels;
pub mod cli;
pub mod compare;
mod exchange;
pub mod filling;
pub mod fleet;
pub mod html;
pub mod http;
pub mod machine;
pub mod metrics;
pub mod orders;
mod pipe;
pub mod report;
mod ring_thread;
pub mod rogue;
pub mod roster;
pub mod run;
pub mod scenario;
pub mod screen;
mod signaling;
pub mod table;
pub mod thresholds;
pub mod tokens;
mod upload;
