//! What a run hands over for its report: its books, and where everything stood at the borders of its phases.

use hdrhistogram::Histogram;

use super::seconds::Second;
use crate::books::{CallerBooks, FleetBooks};
use crate::machine::ProcessSample;
use crate::rogue::RogueBooks;
use crate::thresholds::Threshold;

/// Everything that a report is made of.
#[derive(Debug)]
pub struct Material {
    /// Name of the scenario; `None`: the command line said what to do.
    pub scenario: Option<String>,
    /// What the run is to reach; none: nothing may be lost, refused or fail.
    pub thresholds: Vec<Threshold>,
    /// Seconds since 1970 at the start.
    pub started_unix_s: u64,
    /// Masked command line.
    pub command: Vec<String>,
    /// Handsets that were to register.
    pub handsets: u64,
    /// All fleets' books.
    pub fleet: FleetBooks,
    /// All fleets' registration latencies.
    pub register_latency: Histogram<u64>,
    /// The callers' books, those of all phases together.
    pub calls: Option<CallerBooks>,
    /// The books of the handsets that misbehave, if some do.
    pub rogues: Option<RogueBooks>,
    /// In the order in which they were passed through, the finish included.
    pub phases: Vec<PhaseMaterial>,
    /// Most sessions at one time.
    pub open_max: u64,
    /// One row a second.
    pub seconds: Vec<Second>,
    /// What went wrong beside the books (a ring that failed, a run that was cut short), a sentence each.
    pub faults: Vec<String>,
}

/// One phase of a run.
#[derive(Debug)]
pub struct PhaseMaterial {
    /// Its name in the scenario.
    pub name: String,
    /// `ramp`, `hold`, `storm` or `finish`.
    pub kind: &'static str,
    /// Where everything stood when it began.
    pub from: Border,
    /// Where everything stood when it ended.
    pub to: Border,
    /// Of a storm: from its beginning until all handsets were back.
    pub back_s: Option<f64>,
}

/// A moment between two phases. Counts are those since the run began.
#[derive(Debug, Clone, Default)]
pub struct Border {
    /// Seconds since the run began.
    pub at_s: f64,
    /// All fleets' books.
    pub fleet: FleetBooks,
    /// The callers' books; `None`: nobody has called yet.
    pub calls: Option<CallerBooks>,
    /// The gateway's process.
    pub gateway: Option<ProcessSample>,
    /// This process.
    pub loadgen: Option<ProcessSample>,
}

impl Material {
    /// Sessions when the last phase before the finish ended.
    pub(super) fn open_before_finish(&self) -> u64 {
        self.before_finish().map_or(0, |fleet| fleet.open)
    }

    /// The same, and those handsets that the scenario kept away just then.
    pub(super) fn settled_before_finish(&self) -> u64 {
        self.before_finish()
            .map_or(0, |fleet| fleet.open + fleet.away.storm + fleet.away.churn)
    }

    fn before_finish(&self) -> Option<&FleetBooks> {
        let last = self.phases.iter().rfind(|phase| phase.kind != "finish");
        last.map(|phase| &phase.to.fleet)
    }
}

impl PhaseMaterial {
    /// Registrations in it.
    pub(super) fn registered(&self) -> f64 {
        let (from, to) = (&self.from.fleet, &self.to.fleet);
        to.registered.saturating_sub(from.registered) as f64
    }
}
