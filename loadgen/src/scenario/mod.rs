//! Scenarios: what a run is to do, phase by phase, as a tester writes it down in TOML. `docs/loadgen-scenarios.md`
//! describes every key.
//!
//! | module | what it is |
//! |---|---|
//! | `file` | the text into tables, with the line of each key |
//! | `fleet`, `phase`, `requests`, `misbehaviour` | the tables, each with its own check |
//! | `plan` | the tables into what one process does, and the checks that concern more than one of them |
//! | [`part`] | which part of a run that is |
//! | [`shipped`] | the scenarios that this program brings along |
//! | [`describe`] | a plan in words |

pub mod describe;
mod file;
mod fleet;
mod misbehaviour;
pub mod part;
mod phase;
mod plan;
mod problems;
mod requests;
pub mod shipped;

use std::io::Read as _;
use std::path::Path;

pub use fleet::{FleetSetting, FleetTable};
pub use misbehaviour::{MisbehaviourTable, RogueSetting};
pub use phase::{ChurnTable, Course, FINISH, PhaseTable, RampTable, StormTable};
pub(crate) use plan::proportion;
pub use plan::{Lab, PhasePlan, ScenarioPlan};
pub use problems::{Problem, Problems, Wrong};
pub use requests::{CallSetting, Range, RequestsTable, Size};

/// A scenario is written by hand; whatever is larger is another file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A scenario as it is written, not yet checked as a whole: [`Scenario::plan`] does that.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name; `None`: the command line says what to do.
    pub name: Option<String>,
    /// What it is for.
    pub description: String,
    /// The handsets.
    pub fleet: FleetTable,
    /// What happens, in order.
    pub phases: Vec<PhaseTable>,
    /// What the run is to reach.
    pub thresholds: Vec<String>,
    origin: Origin,
}

/// Where a scenario comes from, and so how its keys are told.
#[derive(Debug, Clone)]
enum Origin {
    File(file::Lines),
    /// The flags' names of the keys.
    Flags(fn(&str) -> String),
}

/// A scenario that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NoScenario {
    /// Neither shipped nor a file.
    #[error(
        "there is no scenario {0:?}, neither shipped ({list}) nor as a file",
        list = shipped::names().collect::<Vec<_>>().join(", ")
    )]
    Unknown(String),
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(String, std::io::Error),
    /// It is far too large.
    #[error("{0} is larger than 1 MiB: that is no scenario")]
    TooLarge(String),
    /// It cannot be understood.
    #[error("{0} is wrong:\n{1}")]
    Wrong(String, Problems),
}

impl Scenario {
    /// The shipped scenario of this name, or else the one in the file of this name.
    pub fn find(name: &str) -> Result<Self, NoScenario> {
        let wrong = |problems| NoScenario::Wrong(name.to_owned(), problems);
        if let Some(text) = shipped::text(name) {
            return Self::read(text).map_err(wrong);
        }
        let refused = |error| NoScenario::Read(name.to_owned(), error);
        if !Path::new(name).exists() {
            return Err(NoScenario::Unknown(name.to_owned()));
        }
        let mut text = String::new();
        std::fs::File::open(name)
            .map_err(refused)?
            .take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(refused)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(NoScenario::TooLarge(name.to_owned()));
        }
        Self::read(&text).map_err(wrong)
    }

    /// The scenario that `text` is.
    pub fn read(text: &str) -> Result<Self, Problems> {
        let tables = file::read(text)?;
        Ok(Self {
            name: Some(tables.head.name),
            description: tables.head.description,
            fleet: tables.fleet,
            phases: tables.phases,
            thresholds: tables.head.thresholds,
            origin: Origin::File(tables.lines),
        })
    }

    /// The scenario that flags make; `flag` names the one that says a key, whose path it is given.
    pub fn of_flags(fleet: FleetTable, phases: Vec<PhaseTable>, flag: fn(&str) -> String) -> Self {
        Self {
            name: None,
            description: String::new(),
            fleet,
            phases,
            thresholds: Vec::new(),
            origin: Origin::Flags(flag),
        }
    }

    /// The line of the key at `path`.
    fn line(&self, path: &str) -> Option<usize> {
        match &self.origin {
            Origin::File(lines) if !path.starts_with('-') => lines.of(path),
            _ => None,
        }
    }

    /// The key at `path` as the tester knows it.
    fn place(&self, path: &str) -> String {
        if let Origin::Flags(flag) = &self.origin {
            return flag(path);
        }
        let phase = path
            .strip_prefix("phase[")
            .and_then(|rest| rest.split_once(']'));
        let Some((number, key)) = phase else {
            return path.to_owned();
        };
        let name = number
            .parse::<usize>()
            .ok()
            .and_then(|number| self.phases.get(number))
            .map_or("", |phase| phase.name.as_str());
        match key.strip_prefix('.') {
            Some(key) => format!("phase {name:?}, {key}"),
            None => format!("phase {name:?}"),
        }
    }
}
