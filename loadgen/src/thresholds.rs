//! Thresholds: what a run must reach, as `p99_ms < 50` or, for one phase of it, `noon: p99_ms < 50`.
//!
//! A scenario or the command line sets them, [`crate::report`] holds its figures against them, and the exit status
//! follows from them: so a run serves in a pipeline.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::report::figures::{FIGURES, Figure};

/// One bar for one figure.
#[derive(Debug, Clone)]
pub struct Threshold {
    phase: Option<String>,
    figure: &'static Figure,
    operator: Operator,
    bound: f64,
}

/// Whether a run reached a bar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The threshold, as `noon: p99_ms < 50`.
    pub threshold: String,
    /// Whether it was reached.
    pub met: bool,
    /// What was measured; a figure that was not has not reached any bar.
    pub value: Option<f64>,
}

/// What can't be a threshold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadThreshold {
    /// Not figure, operator, number.
    #[error(
        "{0:?} is no threshold: write a figure, one of < <= == >= > != and a number, as in \"p99_ms < 50\" or, \
         for one phase, \"noon: p99_ms < 50\""
    )]
    Form(String),
    /// No such figure.
    #[error("{text:?}: there is no figure {name:?}; the figures are {}", names())]
    Figure {
        /// The whole threshold.
        text: String,
        /// What stands for a figure.
        name: String,
    },
    /// Not a number.
    #[error("{text:?}: {bound:?} is no number")]
    Bound {
        /// The whole threshold.
        text: String,
        /// What stands for a number.
        bound: String,
    },
    /// A figure that no phase has.
    #[error(
        "{text:?}: {figure} is known of the whole run only; write the threshold without a phase"
    )]
    RunOnly {
        /// The whole threshold.
        text: String,
        /// Its figure.
        figure: &'static str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
    Unequal,
}

/// Longer ones first: each is found before its own beginning is.
const OPERATORS: [(&str, Operator); 6] = [
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("<", Operator::Less),
    (">", Operator::More),
];

impl Threshold {
    /// Reads a threshold.
    pub fn parse(text: &str) -> Result<Self, BadThreshold> {
        let form = || BadThreshold::Form(text.to_owned());
        // A phase may have any name, but what follows it has no colon.
        let (phase, rule) = match text.rsplit_once(':') {
            Some((phase, rule)) => (Some(phase.trim()), rule),
            None => (None, text),
        };
        let (sign, operator) = OPERATORS
            .into_iter()
            .find(|(sign, _)| rule.contains(sign))
            .ok_or_else(form)?;
        let (name, bound) = rule.split_once(sign).ok_or_else(form)?;
        let (name, bound) = (name.trim(), bound.trim());
        if name.is_empty() || bound.is_empty() || phase == Some("") {
            return Err(form());
        }
        let figure = Figure::named(name).ok_or_else(|| BadThreshold::Figure {
            text: text.to_owned(),
            name: name.to_owned(),
        })?;
        if phase.is_some() && figure.of_phase.is_none() {
            return Err(BadThreshold::RunOnly {
                text: text.to_owned(),
                figure: figure.name,
            });
        }
        let number = bound.parse().ok().filter(|number: &f64| number.is_finite());
        Ok(Self {
            phase: phase.map(str::to_owned),
            figure,
            operator,
            bound: number.ok_or_else(|| BadThreshold::Bound {
                text: text.to_owned(),
                bound: bound.to_owned(),
            })?,
        })
    }

    /// The phase that it is for; `None`: the whole run.
    pub fn phase(&self) -> Option<&str> {
        self.phase.as_deref()
    }

    /// Holds a run against it. A phase that the run did not reach was not measured.
    pub fn judge(&self, run: &Report) -> Verdict {
        let value = match (&self.phase, self.figure.of_phase) {
            (Some(name), Some(of_phase)) => {
                let phase = run.phases.iter().find(|phase| phase.name == *name);
                phase.and_then(|phase| of_phase(run, phase))
            }
            _ => (self.figure.of_run)(run),
        };
        Verdict {
            threshold: self.to_string(),
            met: value.is_some_and(|value| self.operator.holds(value, self.bound)),
            value,
        }
    }
}

impl FromStr for Threshold {
    type Err = BadThreshold;

    fn from_str(text: &str) -> Result<Self, BadThreshold> {
        Self::parse(text)
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(phase) = &self.phase {
            write!(f, "{phase}: ")?;
        }
        let sign = OPERATORS
            .iter()
            .find(|(_, operator)| *operator == self.operator)
            .map_or("", |(sign, _)| sign);
        write!(f, "{} {sign} {}", self.figure.name, self.bound)
    }
}

impl Operator {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::AtMost => value <= bound,
            Self::Equal => value == bound,
            Self::AtLeast => value >= bound,
            Self::More => value > bound,
            Self::Unequal => value != bound,
        }
    }
}

fn names() -> String {
    let names: Vec<_> = FIGURES.iter().map(|figure| figure.name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_threshold_is_read_however_it_is_spaced_and_written_in_one_way() {
        for (text, written) in [
            ("p99_ms<50", "p99_ms < 50"),
            ("  lost ==  0 ", "lost == 0"),
            ("noon:p99_9_ms<=0.5", "noon: p99_9_ms <= 0.5"),
            ("at 12:00: bad != 1e3", "at 12:00: bad != 1000"),
            (
                "registrations_per_s >= 15000",
                "registrations_per_s >= 15000",
            ),
        ] {
            let threshold = Threshold::parse(text).unwrap();
            assert_eq!(threshold.to_string(), written);
        }
        let noon = Threshold::parse("noon: lost == 0").unwrap();
        assert_eq!(noon.phase(), Some("noon"));
    }

    #[test]
    fn what_is_no_threshold_says_what_to_write() {
        for (text, says) in [
            ("", "write a figure"),
            ("p99_ms = 50", "write a figure"),
            ("p99_ms <", "write a figure"),
            (": p99_ms < 5", "write a figure"),
            (
                "p98_ms < 5",
                "there is no figure \"p98_ms\"; the figures are registrations_per_s, ",
            ),
            ("p99_ms < 50ms", "\"50ms\" is no number"),
            ("p99_ms < NaN", "\"NaN\" is no number"),
            ("p99_ms < < 5", "is no number"),
            ("ramp: register_p99_ms < 5", "without a phase"),
        ] {
            let error = Threshold::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn each_operator_holds_where_it_says() {
        let holding = |value| {
            let signs = OPERATORS
                .iter()
                .filter(|(_, operator)| operator.holds(value, 2.0));
            signs.map(|(sign, _)| *sign).collect::<BTreeSet<_>>()
        };
        assert_eq!(holding(1.0), BTreeSet::from(["<", "<=", "!="]));
        assert_eq!(holding(2.0), BTreeSet::from(["<=", "==", ">="]));
        assert_eq!(holding(3.0), BTreeSet::from([">", ">=", "!="]));
    }

    #[test]
    fn every_figure_is_described_and_no_other() {
        let page = include_str!("../../docs/loadgen-report.md");
        let (_, page) = page.split_once("## Thresholds").unwrap();
        let (table, _) = page.split_once("## Fields").unwrap();
        let rows = table.lines().filter(|line| line.starts_with("| `"));
        let described: BTreeSet<_> = rows
            .filter_map(|line| line.split('|').nth(1))
            .flat_map(|names| names.split(','))
            .map(|name| name.trim().trim_matches('`'))
            .collect();
        let figures: BTreeSet<_> = FIGURES.iter().map(|figure| figure.name).collect();
        assert_eq!(figures, described);
        assert_eq!(figures.len(), FIGURES.len(), "names are unique");
    }
}
