//! The report of a run: what was asked, what happened, and whether the books balance. Its JSON form is described
//! field by field in `docs/loadgen-report.md`, and a test holds the two against each other.
//!
//! [`material`] is what a run hands over, [`seconds`] its course, [`phase`] one phase of it; [`figures`] have names.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::books::{CallerBooks, FleetBooks, Tally};
use crate::machine::{Build, Machine, ProcessSample};
use crate::thresholds::Verdict;

#[cfg(test)]
pub(crate) mod example;
pub mod figures;
mod findings;
pub mod material;
pub mod phase;
mod read;
mod rogues;
pub mod seconds;
pub mod shown;

pub use material::{Border, Material, PhaseMaterial};
pub use phase::{PhaseReport, PhaseRequests};
pub use read::BadReport;
pub use rogues::{Misdeeds, Rogues};
pub use seconds::{Look, Second, Seconds};

use phase::used_s;

/// Version of the JSON form; a field that changes its meaning or goes away raises it.
pub const SCHEMA: u32 = 2;
const STEPS_PER_HALVING: u32 = 4;

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

/// Registration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registrations {
    /// Handsets that were to register.
    pub handsets: u64,
    /// Signaling connections begun.
    pub attempts: u64,
    /// CONNREGISTERED received, those after a reconnect included.
    pub registered: u64,
    /// Until every handset had registered, or failed to: the length of the ramps.
    pub seconds: f64,
    /// Registrations in the ramps, by these seconds.
    pub per_second: f64,
    /// The best whole second.
    pub per_second_max: u64,
    /// Attempts that ended before they were registered, by cause.
    pub not_registered: BTreeMap<String, u64>,
    /// Attempts under way when the run ended.
    pub abandoned: u64,
    /// Attempts of which nothing is known at the end of the report; not 0 only if the run was cut short.
    pub connecting: u64,
    /// From when a registration was due to CONNREGISTERED.
    pub latency_us: Percentiles,
    /// The same in full.
    pub latency_course: Vec<Step>,
}

/// What became of every session: registered = open + left + dropped + moved + lost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sessions {
    /// Most at one time.
    pub open_max: u64,
    /// When the last phase before the finish ended.
    pub open_before_finish: u64,
    /// At the end; not 0 only if the run was cut short.
    pub open: u64,
    /// Ended by the end of the run.
    pub left: u64,
    /// Dropped because the scenario wanted it, by kind.
    pub dropped: BTreeMap<String, u64>,
    /// Moved at the gateway's request.
    pub moved: u64,
    /// Ended otherwise, by cause.
    pub lost: BTreeMap<String, u64>,
    /// KEEPALIVE received and answered.
    pub keep_alives: u64,
    /// RECONNECT received.
    pub reconnects: u64,
}

/// What became of every REQUESTPENDING (`wakes` = not opened + opened + queued) and of every data channel
/// (`opened` = ended + failed + open).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Channels {
    /// REQUESTPENDING received.
    pub wakes: u64,
    /// Waiting for a slot at the end.
    pub queued: u64,
    /// No channel opened, by cause.
    pub not_opened: BTreeMap<String, u64>,
    /// Channels opened.
    pub opened: u64,
    /// Open at the end.
    pub open: u64,
    /// Ended in order.
    pub ended: u64,
    /// Ended otherwise, by cause.
    pub failed: BTreeMap<String, u64>,
    /// Requests that the handsets answered.
    pub served: u64,
    /// Bytes of request bodies.
    pub body_bytes_in: u64,
    /// Bytes of answers' bodies.
    pub body_bytes_out: u64,
}

/// What became of every request: due = sent + not sent; sent = answered + failed + in flight.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Requests {
    /// Requests that were due.
    pub due: u64,
    /// Never sent, by cause.
    pub not_sent: BTreeMap<String, u64>,
    /// Sent.
    pub sent: u64,
    /// By status code.
    pub answered: BTreeMap<String, u64>,
    /// By slug of `urn:everline:`.
    pub problems: BTreeMap<String, u64>,
    /// By cause.
    pub failed: BTreeMap<String, u64>,
    /// No outcome at the end; not 0 only if the run was cut short.
    pub in_flight: u64,
    /// Good answers (2xx, body verified) by the length of the phases in which requests were due.
    pub per_second: f64,
    /// Connections opened to the ingress.
    pub connections: u64,
    /// Bytes of answers' bodies.
    pub body_bytes_in: u64,
    /// Good answers, from when the request was due.
    pub latency_us: Percentiles,
    /// Good answers, from when the request was sent.
    pub service_us: Percentiles,
    /// All other outcomes, from when the request was due.
    pub latency_failed_us: Percentiles,
    /// `latency_us` in full.
    pub latency_course: Vec<Step>,
    /// `service_us` in full.
    pub service_course: Vec<Step>,
}

impl Requests {
    /// Requests that were not sent, failed or answered otherwise than 2xx.
    pub fn bad(&self) -> u64 {
        let good = |status: &str| status.starts_with('2');
        let otherwise = self.answered.iter().filter(|(status, _)| !good(status));
        let kinds = otherwise.map(|(_, times)| times);
        kinds
            .chain(self.not_sent.values())
            .chain(self.failed.values())
            .sum()
    }
}

/// A point of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// So many of all, 1 is all of them, …
    pub share: f64,
    /// … took at most this, microseconds.
    pub us: u64,
}

/// What a process used.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ProcessReport {
    /// CPU in the ramps by registrations in them, microseconds.
    pub cpu_us_per_registration: Option<f64>,
    /// Growth of memory until the last ramp's end by the sessions open then, bytes.
    pub rss_bytes_per_session: Option<f64>,
    /// CPU in the holds by their length: 1 is one core.
    pub cores_in_hold: Option<f64>,
    /// CPU of the whole run, seconds.
    pub cpu_s: Option<f64>,
    /// Most memory at the end of any second or phase, bytes.
    pub rss_bytes_max: Option<u64>,
}

/// A distribution in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// The least.
    pub min: u64,
    /// The mean.
    pub mean: u64,
    /// Half were at most this.
    pub p50: u64,
    /// 90 % were at most this.
    pub p90: u64,
    /// 99 % were at most this.
    pub p99: u64,
    /// 99.9 % were at most this.
    pub p99_9: u64,
    /// The most.
    pub max: u64,
}

impl Percentiles {
    /// Of what was measured.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        Self {
            count: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean() as u64,
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p99_9: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
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
            registrations: registrations(&material, &phases),
            sessions: sessions(&material),
            channels: channels(&material.fleet),
            requests: material
                .calls
                .as_ref()
                .map(|calls| requests(calls, &phases)),
            rogues: material.rogues.as_ref().map(Rogues::new),
            gateway: has_gateway.then(|| {
                process(
                    &material,
                    |border| border.gateway,
                    |row| row.gateway_rss_bytes,
                )
            }),
            loadgen: process(
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

fn registrations(material: &Material, phases: &[PhaseReport]) -> Registrations {
    let fleet = &material.fleet;
    let ramps = || phases.iter().filter(|phase| phase.kind == "ramp");
    let registered: u64 = ramps().map(|phase| phase.registered).sum();
    let seconds: f64 = ramps().filter_map(|phase| phase.settled_s).sum();
    Registrations {
        handsets: material.handsets,
        attempts: fleet.attempts,
        registered: fleet.registered,
        seconds,
        per_second: ratio(registered as f64, seconds).unwrap_or(0.0),
        per_second_max: material
            .seconds
            .iter()
            .map(|second| second.registered)
            .max()
            .unwrap_or(0),
        not_registered: map(&fleet.not_registered),
        abandoned: fleet.abandoned,
        connecting: fleet.connecting,
        latency_us: Percentiles::of(&material.register_latency),
        latency_course: course(&material.register_latency),
    }
}

fn sessions(material: &Material) -> Sessions {
    let fleet = &material.fleet;
    Sessions {
        open_max: material.open_max,
        open_before_finish: material.open_before_finish(),
        open: fleet.open,
        left: fleet.left,
        dropped: map(&fleet.dropped),
        moved: fleet.moved,
        lost: map(&fleet.lost),
        keep_alives: fleet.keep_alives,
        reconnects: fleet.reconnects,
    }
}

fn process(
    material: &Material,
    of: impl Fn(&Border) -> Option<ProcessSample>,
    rss_bytes: impl Fn(&Second) -> Option<u64>,
) -> ProcessReport {
    let phases = &material.phases;
    // CPU and registrations, or CPU and seconds, of all phases of a kind that could be measured.
    let sum = |kind: &str, by: fn(&PhaseMaterial) -> f64| {
        phases
            .iter()
            .filter(|phase| phase.kind == kind)
            .filter_map(|phase| Some((used_s(of(&phase.from), of(&phase.to))?, by(phase))))
            .fold((0.0, 0.0), |(cpu_s, whole), (more, by)| {
                (cpu_s + more, whole + by)
            })
    };
    let (ramps_cpu_s, registered) = sum("ramp", PhaseMaterial::registered);
    let (holds_cpu_s, holds_s) = sum("hold", |phase| phase.to.at_s - phase.from.at_s);
    let start = phases.first().and_then(|phase| of(&phase.from));
    let ramped = phases.iter().rfind(|phase| phase.kind == "ramp");
    let per_session = ramped.and_then(|ramp| {
        let grown = of(&ramp.to)?.rss_bytes as f64 - start?.rss_bytes as f64;
        ratio(grown, ramp.to.fleet.open as f64)
    });
    let cpu_s = phases.last().and_then(|phase| used_s(start, of(&phase.to)));
    let at_borders = phases.iter().filter_map(|phase| of(&phase.to));
    ProcessReport {
        cpu_us_per_registration: ratio(ramps_cpu_s * 1e6, registered),
        rss_bytes_per_session: per_session,
        cores_in_hold: ratio(holds_cpu_s, holds_s),
        cpu_s,
        rss_bytes_max: at_borders
            .map(|sample| sample.rss_bytes)
            .chain(material.seconds.iter().filter_map(rss_bytes))
            .max(),
    }
}

fn channels(fleet: &FleetBooks) -> Channels {
    let books = &fleet.channels;
    Channels {
        wakes: books.wakes,
        queued: books.queued,
        not_opened: map(&books.not_opened),
        opened: books.opened,
        open: books.open,
        ended: books.ended,
        failed: map(&books.failed),
        served: books.served,
        body_bytes_in: books.body_bytes_in,
        body_bytes_out: books.body_bytes_out,
    }
}

fn requests(books: &CallerBooks, phases: &[PhaseReport]) -> Requests {
    let asked_s: f64 = phases
        .iter()
        .filter(|phase| phase.requests.is_some())
        .map(|phase| phase.seconds)
        .sum();
    Requests {
        due: books.due,
        not_sent: map(&books.not_sent),
        sent: books.sent,
        answered: map(&books.answered),
        problems: map(&books.problems),
        failed: map(&books.failed),
        in_flight: books.in_flight,
        per_second: ratio(books.good() as f64, asked_s).unwrap_or(0.0),
        connections: books.connections,
        body_bytes_in: books.body_bytes_in,
        latency_us: Percentiles::of(&books.latency),
        service_us: Percentiles::of(&books.service),
        latency_failed_us: Percentiles::of(&books.latency_failed),
        latency_course: course(&books.latency),
        service_course: course(&books.service),
    }
}

/// A distribution in so many steps for each halving of what is left: the slowest few are told apart best.
fn course(histogram: &Histogram<u64>) -> Vec<Step> {
    histogram
        .iter_quantiles(STEPS_PER_HALVING)
        .map(|step| Step {
            share: step.quantile_iterated_to(),
            us: step.value_iterated_to(),
        })
        .collect()
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

    use super::*;
    use crate::books::histogram;
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
