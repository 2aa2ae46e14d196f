//! What became of the handsets that misbehave, in a report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Percentiles, map};
use crate::rogue::RogueBooks;

/// What became of every misdeed: begun = met + otherwise + hindered + cut + open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rogues {
    /// How many handsets misbehaved.
    pub rogues: u32,
    /// Misdeeds of all kinds that the gateway met otherwise than the protocol says it must.
    pub met_otherwise: u64,
    /// By kind.
    pub kinds: Vec<Misdeeds>,
    /// Requests to rogues that were sent.
    pub requests_sent: u64,
    /// What the callers got, by slug of `urn:everline:`.
    pub requests_problems: BTreeMap<String, u64>,
    /// Those that ended otherwise than in the problem that a caller of such a handset must see.
    pub requests_otherwise: u64,
    /// All outcomes, from when the request was due.
    pub requests_latency_us: Percentiles,
}

/// The misdeeds of one kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Misdeeds {
    /// As the scenario calls it.
    pub kind: String,
    /// Misdeeds begun.
    pub begun: u64,
    /// Met as they must be.
    pub met: u64,
    /// Met otherwise, by cause.
    pub otherwise: BTreeMap<String, u64>,
    /// Never became a misdeed, by cause.
    pub hindered: BTreeMap<String, u64>,
    /// Broken off by the end of the phase.
    pub cut: u64,
    /// Under way at the end; not 0 only if the run was cut short.
    pub open: u64,
    /// The longest that one lasted before it was met.
    pub met_us_max: u64,
}

impl Rogues {
    /// Of their books.
    pub(super) fn new(books: &RogueBooks) -> Self {
        Self {
            rogues: books.rogues,
            met_otherwise: books.otherwise(),
            kinds: books
                .kinds
                .iter()
                .map(|(kind, books)| Misdeeds {
                    kind: kind.name().to_owned(),
                    begun: books.begun,
                    met: books.met,
                    otherwise: map(&books.otherwise),
                    hindered: map(&books.hindered),
                    cut: books.cut,
                    open: books.open,
                    met_us_max: books.met_us_max,
                })
                .collect(),
            requests_sent: books.requests.sent,
            requests_problems: map(&books.requests.problems),
            requests_otherwise: books.requests_otherwise(),
            requests_latency_us: Percentiles::of(&books.requests.latency_failed),
        }
    }
}
