//! The report of a run: what was asked, what happened, and whether the books balance. Its JSON form is described
//! field by field in `docs/loadgen-report.md`, and a test holds the two against each other.
//!
//! [`material`] is what a run hands over, [`seconds`] its course, [`phase`] one phase of it; [`figures`] have names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::books::Tally;
use crate::machine::{Build, Machine};
use crate::thresholds::Verdict;

#[cfg(test)]
pub(crate) mod example;
pub mod figures;
mod findings;
pub mod material;
mod parts;
pub mod phase;
mod read;
mod rogues;
pub mod seconds;
pub mod shown;
mod spread;

pub use material::{Border, Material, PhaseMaterial};
pub use parts::{Channels, ProcessReport, Registrations, Requests, Sessions};
pub use phase::{PhaseReport, PhaseRequests};
pub use read::BadReport;
pub use rogues::{Misdeeds, Rogues};
pub use seconds::{Look, Second, Seconds};
pub use spread::{Percentiles, Step};

/// Version of the JSON form; a field that changes its meaning or goes away raises it.
pub const SCHEMA: u32 = 2;

/// The whole report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The run did what it was told, and met its thresholds; without any, nothing was lost, refused or failed.
    pub ok: bool,
    /// What the run was to reach, and whether it did.
    pub thresholds: Vec<Verdict>,
    /// What kept the run from doing what it was told, or does not add up, a sentence each.
    pub faults: Vec<String>,
    /// What was lost, refused or failed, a sentence each.
    pub findings: Vec<String>,
    /// Name of the scenario; absent if the command line said what to do.
    pub scenario: Option<String>,
    /// Seconds since 1970 at which the run began.
    pub started_unix_s: u64,
    /// The command line; secrets are masked.
    pub command: Vec<String>,
    /// What ran.
    pub build: Build,
    /// Where it ran.
    pub machine: Machine,
    /// What happened in each part of the run.
    pub phases: Vec<PhaseReport>,
    /// Registration.
    pub registrations: Registrations,
    /// What became of every session.
    pub sessions: Sessions,
    /// What became of every REQUESTPENDING and data channel.
    pub channels: Channels,
    /// What became of every request; absent if there were no callers.
    pub requests: Option<Requests>,
    /// What became of every misdeed; absent if no handset misbehaved.
    pub rogues: Option<Rogues>,
    /// The gateway's process, if it was named.
    pub gateway: Option<ProcessReport>,
    /// This process.
    pub loadgen: ProcessReport,
    /// One row a second.
    pub seconds: Vec<Second>,
}

impl Report {
    /// The report on what happened.
    pub fn new(material: Material) -> Self {
        let findings = findings::findings(&material);
        let faults = findings::faults(&material);
        let phases: Vec<_> = material
            .phases
            .iter()
            .map(|phase| PhaseReport::new(phase, &material.seconds))
            .collect();
        let has_gateway = material
            .phases
            .iter()
            .any(|phase| phase.from.gateway.is_some());
        let thresholds = material.thresholds.clone();
        let mut report = Self {
            schema: SCHEMA,
            ok: false,
            thresholds: Vec::new(),
            faults,
            findings,
            scenario: material.scenario.clone(),
            started_unix_s: material.started_unix_s,
            command: material.command.clone(),
            build: Build::this(),
            machine: Machine::this(),
            registrations: Registrations::new(&material, &phases),
            sessions: Sessions::new(&material),
            channels: Channels::new(&material.fleet),
            requests: material
                .calls
                .as_ref()
                .map(|calls| Requests::new(calls, &phases)),
            rogues: material.rogues.as_ref().map(Rogues::new),
            gateway: has_gateway.then(|| {
                ProcessReport::new(
                    &material,
                    |border| border.gateway,
                    |row| row.gateway_rss_bytes,
                )
            }),
            loadgen: ProcessReport::new(
                &material,
                |border| border.loadgen,
                |row| row.loadgen_rss_bytes,
            ),
            phases,
            seconds: material.seconds,
        };
        report.thresholds = thresholds
            .iter()
            .map(|threshold| threshold.judge(&report))
            .collect();
        report.ok = report.faults.is_empty()
            && if report.thresholds.is_empty() {
                report.findings.is_empty()
            } else {
                report.thresholds.iter().all(|verdict| verdict.met)
            };
        report
    }

    /// How many thresholds were met.
    pub fn met(&self) -> usize {
        self.thresholds.iter().filter(|verdict| verdict.met).count()
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self)
            .expect("a report has only string keys and finite numbers")
    }
}

fn map(tally: &Tally) -> BTreeMap<String, u64> {
    tally
        .iter()
        .map(|(kind, times)| (kind.to_owned(), times))
        .collect()
}

fn ratio(of: f64, by: f64) -> Option<f64> {
    (by > 0.0).then(|| of / by)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use hdrhistogram::Histogram;

    use super::*;
    use crate::books::{CallerBooks, FleetBooks, histogram};
    use crate::machine::ProcessSample;
    use crate::rogue::{RogueBooks, RogueKind};

    fn material() -> Material {
        let sample = Some(ProcessSample {
            cpu_s: 1.0,
            rss_bytes: 1 << 20,
        });
        let at = |at_s, registered, open| Border {
            at_s,
            fleet: FleetBooks {
                registered,
                open,
                settled: registered,
                settled_us: if registered > 0 { 2_000_000 } else { 0 },
                ..FleetBooks::default()
            },
            calls: Some(CallerBooks {
                due: registered * (at_s > 2.0) as u64,
                ..CallerBooks::default()
            }),
            gateway: sample,
            loadgen: sample,
        };
        let phase = |kind: &'static str, from, to| PhaseMaterial {
            name: kind.to_owned(),
            kind,
            from,
            to,
            back_s: None,
        };
        Material {
            scenario: Some("smoke".into()),
            thresholds: vec!["lost == 0".parse().unwrap()],
            rogues: Some(rogues()),
            started_unix_s: 1_800_000_000,
            command: vec!["loadgen".into(), "run".into()],
            handsets: 10,
            fleet: FleetBooks {
                attempts: 10,
                registered: 10,
                left: 10,
                settled: 10,
                settled_us: 2_000_000,
                ..FleetBooks::default()
            },
            register_latency: some_latencies(),
            calls: Some(CallerBooks {
                latency: some_latencies(),
                service: some_latencies(),
                ..CallerBooks::default()
            }),
            phases: vec![
                phase("ramp", at(0.0, 0, 0), at(2.0, 10, 10)),
                phase("hold", at(2.0, 10, 10), at(6.0, 10, 10)),
                phase("finish", at(6.0, 10, 10), at(6.5, 10, 0)),
            ],
            open_max: 10,
            seconds: vec![Second::default()],
            faults: Vec::new(),
        }
    }

    fn some_latencies() -> Histogram<u64> {
        let mut latencies = histogram();
        (1..=1000).for_each(|micros| latencies.record(micros).unwrap());
        latencies
    }

    fn rogues() -> RogueBooks {
        let mut books = RogueBooks::default();
        let kind = books.kinds.entry(RogueKind::Frozen).or_default();
        (kind.begun, kind.met) = (1, 1);
        books
    }

    /// Every field as the documentation names it. Tallies and percentiles are one field each.
    fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) if !members.is_empty() && !members.contains_key("p99_9") => {
                for (name, member) in members {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    fields(member, &path, found);
                }
            }
            Value::Array(rows) if rows.iter().any(Value::is_object) => {
                rows.iter()
                    .for_each(|row| fields(row, &format!("{path}[]"), found));
            }
            _ => drop(found.insert(path.to_owned())),
        }
    }

    #[test]
    fn the_json_has_the_fields_that_its_page_describes_and_no_others() {
        let report = serde_json::from_str(&Report::new(material()).to_json()).unwrap();
        let mut produced = BTreeSet::from(
            ["requests", "gateway", "phases[].requests", "rogues"].map(str::to_owned),
        );
        fields(&report, "", &mut produced);
        let page = include_str!("../../../docs/loadgen-report.md");
        let (_, table) = page.split_once("## Fields").unwrap();
        let (table, _) = table.split_once("## Kinds").unwrap();
        let documented: BTreeSet<_> = table
            .lines()
            .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
            .collect();
        assert_eq!(produced, documented);
    }

    #[test]
    fn a_run_in_which_all_went_well_says_so_and_one_loss_is_enough_not_to() {
        let honest = || Material {
            thresholds: Vec::new(),
            rogues: None,
            ..material()
        };
        let good = Report::new(honest());
        assert!(good.ok, "{:?}", good.findings);
        assert!((good.registrations.per_second - 5.0).abs() < 1e-9);
        let mut material = honest();
        material.fleet.left = 9;
        material.fleet.lost.count("eof");
        let bad = Report::new(material);
        assert_eq!(
            (bad.ok, bad.findings),
            (false, vec!["1 sessions were lost: eof 1".to_owned()])
        );
    }

    #[test]
    fn thresholds_decide_where_there_are_some_but_not_over_books_that_do_not_balance() {
        let mut with_losses = material();
        with_losses.fleet.left = 9;
        with_losses.fleet.lost.count("eof");
        with_losses.thresholds = vec!["lost <= 1".parse().unwrap()];
        let tolerated = Report::new(with_losses);
        assert!(tolerated.ok && !tolerated.findings.is_empty());
        let missed = Report::new(Material {
            thresholds: vec![
                "lost == 0".parse().unwrap(),
                "finish: p99_ms < 1".parse().unwrap(),
            ],
            ..material()
        });
        assert_eq!((missed.ok, missed.met()), (false, 1), "p99 has no value");
        let mut unbalanced = material();
        unbalanced.fleet.left = 9;
        assert!(!Report::new(unbalanced).ok);
    }

    #[test]
    fn books_that_do_not_balance_are_a_fault() {
        let mut material = material();
        material.fleet.left = 9;
        let report = Report::new(material);
        assert!(
            !report.ok && report.faults[0].contains("books do not balance"),
            "{:?}",
            report.faults
        );
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let spread = Percentiles::of(&some_latencies());
        assert_eq!(
            (
                spread.count,
                spread.min,
                spread.p50,
                spread.p90,
                spread.p99,
                spread.max
            ),
            (1000, 1, 500, 900, 990, 1000)
        );
        assert_eq!(Percentiles::of(&histogram()), Percentiles::default());
    }
}
