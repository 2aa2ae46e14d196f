//! One `[[phase]]` of a scenario: what drives it (a ramp, a storm or a time), and what goes on beside that.

use std::time::Duration;

use serde::Deserialize;

use super::misbehaviour::MisbehaviourTable;
use super::problems::Wrong;
use super::requests::RequestsTable;
use crate::orders::{Churn, Leave, Return, Storm};

/// Seconds that a phase, or a limit, may last: a year.
const SECONDS_MAX: f64 = 31_536_000.0;
/// Registrations begun each second.
const PER_SECOND: std::ops::RangeInclusive<f64> = 0.001..=10_000_000.0;
const NAME_CHARS_MAX: usize = 64;
/// The name that the report gives to the end of every run.
pub const FINISH: &str = "finish";

/// A phase as it is written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a phase, begun by [[phase]]")]
pub struct PhaseTable {
    /// Its name in the report and in thresholds.
    pub name: String,
    /// It lasts so long.
    pub duration_s: Option<f64>,
    /// It lasts until handsets have registered.
    pub ramp: Option<RampTable>,
    /// It lasts until the handsets that it drops are back.
    pub storm: Option<StormTable>,
    /// Callers request handsets meanwhile.
    pub requests: Option<RequestsTable>,
    /// Handsets leave and come back meanwhile.
    pub churn: Option<ChurnTable>,
    /// Rogues misbehave meanwhile.
    pub misbehaviour: Option<MisbehaviourTable>,
}

/// Handsets register.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a table such as { per_second = 100, limit_s = 60 }"
)]
pub struct RampTable {
    /// Registrations begun each second [default: as fast as `connecting` lets them].
    pub per_second: Option<f64>,
    /// How many of the run's handsets are to have registered at its end [default: all].
    pub handsets: Option<u32>,
    /// It ends after this time even if handsets are missing.
    pub limit_s: f64,
}

impl Default for RampTable {
    fn default() -> Self {
        Self {
            per_second: None,
            handsets: None,
            limit_s: 1800.0,
        }
    }
}

/// All handsets lose their connection, and come back.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a table such as { over_s = 5, limit_s = 60 }"
)]
pub struct StormTable {
    /// From the first that is dropped to the last.
    pub over_s: f64,
    /// When they come back.
    #[serde(rename = "return")]
    pub back: Return,
    /// It ends after this time even if handsets are missing.
    pub limit_s: f64,
}

impl Default for StormTable {
    fn default() -> Self {
        Self {
            over_s: 0.0,
            back: Return::BackOff,
            limit_s: 300.0,
        }
    }
}

/// Some handsets leave, and come back.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as { percent_per_minute = 5 }"
)]
pub struct ChurnTable {
    /// Share of the handsets that leaves each minute.
    pub percent_per_minute: f64,
    /// How long one stays away.
    #[serde(default = "half_a_minute")]
    pub gone_s: f64,
    /// How they leave [default: as at the end of the run].
    pub leave: Option<Leave>,
}

/// What drives a phase, and so when it ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Course {
    /// Handsets register, until so many have settled.
    Ramp {
        /// How many, those of earlier ramps included.
        handsets: u32,
        /// Registrations begun each second; `None`: as fast as they go.
        per_second: Option<f64>,
        /// The longest that it may take.
        limit: Duration,
    },
    /// Handsets are dropped, until all are back.
    Storm {
        /// How.
        storm: Storm,
        /// The longest that it may take.
        limit: Duration,
    },
    /// Time passes.
    Hold(Duration),
}

impl Course {
    /// What the report calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ramp { .. } => "ramp",
            Self::Storm { .. } => "storm",
            Self::Hold(_) => "hold",
        }
    }

    /// The longest that it may take.
    pub fn limit(&self) -> Duration {
        match self {
            Self::Ramp { limit, .. } | Self::Storm { limit, .. } | Self::Hold(limit) => *limit,
        }
    }
}

impl PhaseTable {
    /// The phase's course in a run of so many handsets. What is wrong with the phase itself is added to `wrongs`; its
    /// requests and its misbehaviour have checks of their own.
    pub(super) fn course(&self, handsets: u32, wrongs: &mut Vec<Wrong>) -> Option<Course> {
        self.check_name(wrongs);
        if self.churn.is_some() && self.storm.is_some() {
            wrongs.push(Wrong::new(
                "churn",
                "does not go with a storm: who is gone could not be told from who is to be back",
            ));
        }
        match (self.duration_s, &self.ramp, &self.storm) {
            (Some(seconds), None, None) => {
                span("duration_s", seconds, 0.0, wrongs).map(Course::Hold)
            }
            (None, Some(ramp), None) => ramp.course(handsets, wrongs),
            (None, None, Some(storm)) => storm.course(wrongs),
            _ => {
                wrongs.push(Wrong::new(
                    "",
                    "needs exactly one of duration_s, ramp and storm, which say when it ends",
                ));
                None
            }
        }
    }

    fn check_name(&self, wrongs: &mut Vec<Wrong>) {
        check_name(&self.name, wrongs);
        if self.name == FINISH {
            wrongs.push(Wrong::new(
                "name",
                format!("{FINISH:?} is what the report calls the end of every run: choose another"),
            ));
        }
    }
}

/// Names of scenarios and of phases are shown in tables and on terminals.
pub(super) fn check_name(name: &str, wrongs: &mut Vec<Wrong>) {
    let fit = (1..=NAME_CHARS_MAX).contains(&name.chars().count())
        && !name.contains(char::is_control)
        && name.trim() == name;
    if !fit {
        wrongs.push(Wrong::new(
            "name",
            format!("needs 1 to {NAME_CHARS_MAX} characters on one line, without spaces around"),
        ));
    }
}

impl RampTable {
    fn course(&self, all: u32, wrongs: &mut Vec<Wrong>) -> Option<Course> {
        if let Some(rate) = self.per_second.filter(|rate| !PER_SECOND.contains(rate)) {
            wrongs.push(Wrong::new(
                "ramp.per_second",
                format!("{rate} is not from 0.001 to 10000000"),
            ));
        }
        let handsets = self.handsets.unwrap_or(all);
        if handsets > all {
            wrongs.push(Wrong::new(
                "ramp.handsets",
                format!("the run has {all} handsets, not {handsets}"),
            ));
        }
        let limit = span("ramp.limit_s", self.limit_s, 0.001, wrongs)?;
        Some(Course::Ramp {
            handsets,
            per_second: self.per_second,
            limit,
        })
    }
}

impl StormTable {
    fn course(&self, wrongs: &mut Vec<Wrong>) -> Option<Course> {
        let over = span("storm.over_s", self.over_s, 0.0, wrongs);
        let limit = span("storm.limit_s", self.limit_s, 0.001, wrongs);
        if self.over_s >= self.limit_s {
            wrongs.push(Wrong::new(
                "storm.limit_s",
                "must be longer than over_s, or nobody could be back in time",
            ));
        }
        let back = self.back;
        let storm = Storm { over: over?, back };
        Some(Course::Storm {
            storm,
            limit: limit?,
        })
    }
}

impl ChurnTable {
    /// The churn of handsets that leave as `leave` says at the end of the run, in a phase of this length.
    pub(super) fn churn(
        &self,
        leave: Leave,
        lasts: Duration,
        wrongs: &mut Vec<Wrong>,
    ) -> Option<Churn> {
        if !(0.001..=6000.0).contains(&self.percent_per_minute) {
            wrongs.push(Wrong::new(
                "percent_per_minute",
                format!("{} is not from 0.001 to 6000", self.percent_per_minute),
            ));
        }
        Some(Churn {
            percent_per_minute: self.percent_per_minute,
            gone: span("gone_s", self.gone_s, 0.0, wrongs)?,
            leave: self.leave.unwrap_or(leave),
            lasts,
        })
    }
}

fn half_a_minute() -> f64 {
    30.0
}

fn span(key: &str, seconds: f64, least: f64, wrongs: &mut Vec<Wrong>) -> Option<Duration> {
    let fit = (least..=SECONDS_MAX).contains(&seconds);
    if !fit {
        wrongs.push(Wrong::new(
            key,
            format!("{seconds} is not from {least} to {SECONDS_MAX} seconds, a year"),
        ));
    }
    fit.then(|| Duration::from_secs_f64(seconds))
}
