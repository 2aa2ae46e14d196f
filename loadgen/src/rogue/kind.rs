//! The kinds of misbehaviour, and who of a number of rogues does which.
//!
//! What each kind does and must be met with stands in `act`; scenarios name kinds by [`RogueKind::name`].

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One way in which a handset misbehaves. In a scenario and in a report it is called as [`RogueKind::name`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RogueKind {
    /// Sends a part of its CONNECT and stays.
    HalfLine,
    /// Sends its CONNECT byte by byte, too slowly to be done in time.
    SlowBytes,
    /// Registers, and never sends the first WAITING.
    NeverWaiting,
    /// Registers, and opens no data channel for any request.
    NeverData,
    /// Registers, and opens a data channel with an id that nobody gave it.
    WrongId,
    /// Registers, resets its connection when a request is signalled, and is back at once.
    Reset,
    /// Registers, and never says a word again, with its connection open.
    Frozen,
    /// Sends what is no line of the protocol, or none that belongs there.
    Garbage,
    /// Registers, and sends WAITING again and again unasked.
    Flood,
    /// Opens a data channel, sends a part of its DATA line and stays; it never registers.
    HalfData,
}

impl RogueKind {
    /// Every kind, in the order of reports.
    pub const ALL: [Self; 10] = [
        Self::HalfLine,
        Self::SlowBytes,
        Self::NeverWaiting,
        Self::NeverData,
        Self::WrongId,
        Self::Reset,
        Self::Frozen,
        Self::Garbage,
        Self::Flood,
        Self::HalfData,
    ];

    /// Its name in scenarios and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::HalfLine => "half-line",
            Self::SlowBytes => "slow-bytes",
            Self::NeverWaiting => "never-waiting",
            Self::NeverData => "never-data",
            Self::WrongId => "wrong-id",
            Self::Reset => "reset",
            Self::Frozen => "frozen",
            Self::Garbage => "garbage",
            Self::Flood => "flood",
            Self::HalfData => "half-data",
        }
    }

    /// Whether its connection goes to the data port.
    pub fn dials_the_data_port(self) -> bool {
        self == Self::HalfData
    }

    /// Whether it waits for a request before it misbehaves.
    pub fn waits_for_a_request(self) -> bool {
        matches!(self, Self::NeverData | Self::WrongId | Self::Reset)
    }

    /// Whether requests are sent to it: to whom waits for one, and to whom a gateway must not, or vainly, signal one.
    pub fn is_requested(self) -> bool {
        self.waits_for_a_request() || matches!(self, Self::NeverWaiting | Self::Frozen)
    }
}

impl fmt::Display for RogueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kind of each of `rogues` rogues, in proportion to the weights and well mixed, so that a few rogues of any
/// stretch of numbers do not all do the same.
pub fn cast(weights: &BTreeMap<RogueKind, u32>, rogues: u32) -> Vec<RogueKind> {
    let whole: i64 = weights.values().map(|weight| i64::from(*weight)).sum();
    if whole == 0 {
        return Vec::new();
    }
    let mut credits: Vec<_> = weights
        .iter()
        .filter(|(_, weight)| **weight > 0)
        .map(|(kind, weight)| (*kind, i64::from(*weight), 0i64))
        .collect();
    let mut next = || {
        for (_, weight, credit) in &mut credits {
            *credit += *weight;
        }
        // The first of those with the most credit: `max_by_key` would take the last.
        let (kind, _, credit) = credits
            .iter_mut()
            .rev()
            .max_by_key(|(_, _, credit)| *credit)?;
        *credit -= whole;
        Some(*kind)
    };
    (0..rogues).map_while(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rogues_are_cast_by_weight_and_well_mixed() {
        let weights = BTreeMap::from([
            (RogueKind::HalfLine, 2),
            (RogueKind::Frozen, 1),
            (RogueKind::Flood, 0),
            (RogueKind::Garbage, 1),
        ]);
        let kinds = cast(&weights, 400);
        let of = |wanted| kinds.iter().filter(|kind| **kind == wanted).count();
        assert_eq!(
            [
                RogueKind::HalfLine,
                RogueKind::Frozen,
                RogueKind::Garbage,
                RogueKind::Flood
            ]
            .map(of),
            [200, 100, 100, 0]
        );
        for four in kinds.chunks(4) {
            assert!(four.contains(&RogueKind::Frozen), "{four:?}");
        }
        assert!(cast(&BTreeMap::from([(RogueKind::Flood, 0)]), 5).is_empty());
    }

    #[test]
    fn equal_weights_name_every_kind_once_in_as_many_rogues() {
        let mut kinds = cast(&RogueKind::ALL.map(|kind| (kind, 1)).into(), 10);
        kinds.sort();
        assert_eq!(kinds, RogueKind::ALL);
    }

    #[test]
    fn a_kind_is_written_as_it_is_called() {
        for kind in RogueKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
