//! What a simulated handset is told at start: its seed, and how long everything takes.

use std::path::PathBuf;
use std::time::Duration;

use time::OffsetDateTime;

/// How a simulated handset behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedConfig {
    /// Where all its luck comes from.
    pub seed: u64,
    /// How full the battery is at start.
    pub battery_percent: u8,
    /// From full to empty.
    pub drain: Duration,
    /// From empty to full.
    pub charge: Duration,
    /// From dialling until it rings there, or until the network knows why it does not.
    pub dial: Duration,
    /// For how long it rings before somebody answers.
    pub ring: Duration,
    /// For how long it rings before a caller gives up.
    pub no_answer: Duration,
    /// How long the other side speaks.
    pub talk: Duration,
    /// How long the network takes to accept a message.
    pub send: Duration,
    /// From then until its status report.
    pub delivery: Duration,
    /// What its clock shows at start; `None`: the machine's.
    pub starts_at: Option<OffsetDateTime>,
    /// A file that gets one line for each call and message that went on the air, before the API is told that it did.
    pub log: Option<PathBuf>,
}

impl Default for SimulatedConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            battery_percent: 80,
            drain: Duration::from_secs(48 * 3_600),
            charge: Duration::from_secs(2 * 3_600),
            dial: Duration::from_millis(1_500),
            ring: Duration::from_millis(4_000),
            no_answer: Duration::from_millis(25_000),
            talk: Duration::from_millis(20_000),
            send: Duration::from_millis(800),
            delivery: Duration::from_millis(3_000),
            starts_at: None,
            log: None,
        }
    }
}
