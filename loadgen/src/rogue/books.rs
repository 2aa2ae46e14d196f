//! What became of every misdeed: the books of the rogues, apart from those of the honest handsets and callers.
//!
//! An act is one misdeed of one rogue, from the dialling of its connection to its end. Each has exactly one outcome:
//! met as PROTOCOL.md says it must be, met otherwise (what a test of a gateway is after), hindered before it was a
//! misdeed at all, or cut short by us when the phase was over.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::kind::RogueKind;
use crate::books::{CallerBooks, Tally};

/// Problems that a request to a rogue may end in: it opens no data channel in time, or is gone.
const EXPECTED_PROBLEMS: [&str; 2] = ["handset-silent", "handset-offline"];

/// See the module. Those of several phases can be added up.
#[derive(Debug, Clone, Default)]
pub struct RogueBooks {
    /// How many rogues there were.
    pub rogues: u32,
    /// What became of their acts, by kind; only kinds that somebody was cast for.
    pub kinds: BTreeMap<RogueKind, KindBooks>,
    /// What became of the requests sent to rogues. All of them fail, and must: see [`RogueBooks::requests_otherwise`].
    pub requests: CallerBooks,
}

/// What became of the acts of one kind: `begun = met + otherwise + hindered + cut + open`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KindBooks {
    /// Acts begun: connections dialled to misbehave on.
    pub begun: u64,
    /// Acts that the gateway met as PROTOCOL.md says it must.
    pub met: u64,
    /// Acts that it met otherwise, by cause: `not-ended` (it lets them live on), `error:<code>` (another than is due),
    /// `closed-without-error`, `reset-without-error`, … Each is a defect of the gateway, or a limit that was told wrong.
    pub otherwise: Tally,
    /// Acts that never became a misdeed, by cause: `connect:<errno>`, `refused:<code>`.
    pub hindered: Tally,
    /// Acts that we broke off when the phase was over, before the gateway had to end them.
    pub cut: u64,
    /// Acts under way now; none once the rogues have stopped.
    pub open: u64,
    /// The longest that a misdeed lasted before it was met, microseconds from the dialling.
    pub met_us_max: u64,
}

impl RogueBooks {
    /// Books of rogues of these kinds that have not begun.
    pub(super) fn of(kinds: &[RogueKind]) -> Self {
        Self {
            rogues: u32::try_from(kinds.len()).unwrap_or(u32::MAX),
            kinds: kinds
                .iter()
                .map(|kind| (*kind, KindBooks::default()))
                .collect(),
            requests: CallerBooks::default(),
        }
    }

    /// Acts that the gateway met otherwise than it must, of all kinds.
    pub fn otherwise(&self) -> u64 {
        self.kinds.values().map(|kind| kind.otherwise.total()).sum()
    }

    /// Requests to rogues that ended otherwise than in the problem that a caller of such a handset must see
    /// (PROTOCOL 5.4: `handset-silent` or `handset-offline`).
    pub fn requests_otherwise(&self) -> u64 {
        let ended = self.requests.answered.total() + self.requests.failed.total();
        let expected: u64 = EXPECTED_PROBLEMS
            .iter()
            .map(|slug| self.requests.problems.of(slug))
            .sum();
        ended.saturating_sub(expected)
    }

    /// Says which sum does not come out, if one does not.
    pub fn imbalance(&self) -> Option<String> {
        self.kinds
            .iter()
            .find(|(_, books)| books.begun != books.accounted_for())
            .map(|(kind, books)| {
                let (begun, parts) = (books.begun, books.accounted_for());
                format!("acts of {kind}: {begun} begun, but {parts} accounted for")
            })
            .or_else(|| {
                let requests = self.requests.imbalance()?;
                Some(format!("requests to rogues: {requests}"))
            })
    }
}

/// What the rogues of another phase did.
impl AddAssign<&Self> for RogueBooks {
    fn add_assign(&mut self, other: &Self) {
        self.rogues = self.rogues.max(other.rogues);
        self.requests += &other.requests;
        for (kind, theirs) in &other.kinds {
            let ours = self.kinds.entry(*kind).or_default();
            ours.begun += theirs.begun;
            ours.met += theirs.met;
            ours.otherwise += &theirs.otherwise;
            ours.hindered += &theirs.hindered;
            ours.cut += theirs.cut;
            ours.open += theirs.open;
            ours.met_us_max = ours.met_us_max.max(theirs.met_us_max);
        }
    }
}

impl KindBooks {
    fn accounted_for(&self) -> u64 {
        self.met + self.otherwise.total() + self.hindered.total() + self.cut + self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_that_do_not_balance_name_the_kind() {
        let mut books = RogueBooks::default();
        let kind = books.kinds.entry(RogueKind::Frozen).or_default();
        kind.begun = 4;
        kind.met = 1;
        kind.cut = 1;
        kind.otherwise.count("not-ended");
        assert_eq!(
            books.imbalance().as_deref(),
            Some("acts of frozen: 4 begun, but 3 accounted for")
        );
        let twice = books.clone();
        books.kinds.entry(RogueKind::Frozen).or_default().open = 1;
        assert_eq!(books.imbalance(), None);
        books += &twice;
        assert_eq!(books.kinds[&RogueKind::Frozen].begun, 8);
        assert_eq!(books.otherwise(), 2);
    }

    #[test]
    fn a_request_to_a_rogue_must_fail_in_the_right_way() {
        let mut books = RogueBooks::default();
        for (status, slug) in [
            ("504", Some("handset-silent")),
            ("503", Some("handset-offline")),
            ("502", Some("handset-broke")),
            ("200", None),
        ] {
            books.requests.answered.count(status);
            if let Some(slug) = slug {
                books.requests.problems.count(slug);
            }
        }
        books.requests.failed.count("timeout");
        assert_eq!(books.requests_otherwise(), 3);
    }
}
