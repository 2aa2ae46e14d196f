//! Numbers, spans and kinds of errors as people read them.

use std::fmt;

use crate::books::{CallerBooks, FleetBooks};
use crate::report::shown::grouped;

/// So many kinds of errors are named; the others are in the sum.
const KINDS_NAMED: usize = 3;
/// Kinds can be named by what came from the network.
const KIND_CHARS_MAX: usize = 32;

/// A span for people: `840us`, `12.3ms`, `4.20s`.
#[derive(Debug, Clone, Copy)]
pub struct Micros(pub u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 as f64;
        let text = match self.0 {
            0..1_000 => format!("{}us", self.0),
            1_000..100_000 => format!("{:.1}ms", micros / 1e3),
            100_000..1_000_000 => format!("{:.0}ms", micros / 1e3),
            _ => format!("{:.2}s", micros / 1e6),
        };
        f.pad(&text)
    }
}

/// `0:34`, `12:05`, `1:02:05`
pub(super) fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// `281 MB`
pub(super) fn megabytes(bytes: u64) -> String {
    format!("{} MB", grouped((bytes + 500_000) / 1_000_000))
}

/// Everything that did not go well so far: the sum, and the most frequent kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Errors {
    pub(super) all: u64,
    pub(super) kinds: Vec<(String, u64)>,
}

impl Errors {
    pub(super) fn of(fleet: &FleetBooks, calls: Option<&CallerBooks>) -> Self {
        let mut kinds: Vec<(String, u64)> = Vec::new();
        let mut add = |before: &str, kind: &str, times| {
            kinds.push((format!("{before}{}", printable(kind)), times));
        };
        fleet
            .not_registered
            .iter()
            .for_each(|(kind, times)| add("", kind, times));
        fleet
            .lost
            .iter()
            .for_each(|(kind, times)| add("lost:", kind, times));
        if let Some(calls) = calls {
            calls
                .not_sent
                .iter()
                .for_each(|(kind, times)| add("", kind, times));
            calls
                .failed
                .iter()
                .for_each(|(kind, times)| add("", kind, times));
            let otherwise = calls
                .answered
                .iter()
                .filter(|(status, _)| !status.starts_with('2'));
            otherwise.for_each(|(status, times)| add("answered ", status, times));
        }
        let all = kinds.iter().map(|(_, times)| times).sum();
        kinds.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        kinds.truncate(KINDS_NAMED);
        Self { all, kinds }
    }
}

/// Nothing that would move a cursor.
fn printable(kind: &str) -> String {
    let graphic = |c: char| {
        if c.is_ascii_graphic() || c == ' ' {
            c
        } else {
            '?'
        }
    };
    kind.chars().take(KIND_CHARS_MAX).map(graphic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!(
            [0.4, 34.9, 725.0, 3_725.0].map(clock),
            ["0:00", "0:34", "12:05", "1:02:05"]
        );
        assert_eq!(
            [840, 12_345, 250_000, 4_200_000].map(|us| Micros(us).to_string()),
            ["840us", "12.3ms", "250ms", "4.20s"]
        );
        assert_eq!(megabytes(280_600_000), "281 MB");
    }

    #[test]
    fn the_most_frequent_errors_come_first_and_cannot_move_the_cursor() {
        let mut fleet = FleetBooks::default();
        (0..3).for_each(|_| fleet.not_registered.count("refused:full"));
        fleet.lost.count("refused:\u{1b}[2J");
        let mut calls = CallerBooks::default();
        (0..2).for_each(|_| calls.answered.count("503"));
        (0..9).for_each(|_| calls.answered.count("200"));
        calls.failed.count("timeout");
        let errors = Errors::of(&fleet, Some(&calls));
        assert_eq!(errors.all, 7);
        let named: Vec<_> = errors
            .kinds
            .iter()
            .map(|(kind, times)| (kind.as_str(), *times))
            .collect();
        assert_eq!(
            named,
            [
                ("refused:full", 3),
                ("answered 503", 2),
                ("lost:refused:?[2J", 1)
            ]
        );
    }
}
