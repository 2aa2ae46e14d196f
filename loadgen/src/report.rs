//! The report of a run: what was asked, what happened, and whether the books balance. Its JSON form is described
//! field by field in `docs/loadgen-report.md`, and a test holds the two against each other.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::books::{CallerBooks, FleetBooks, Tally};
use crate::machine::{Machine, ProcessSample};

/// Version of the JSON form; a field that changes its meaning or goes away raises it.
pub const SCHEMA: u32 = 1;

/// The whole report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Nothing was lost, refused or failed, and the books balance.
    pub ok: bool,
    /// What was not well, a sentence each.
    pub findings: Vec<String>,
    /// Seconds since 1970 at which the run began.
    pub started_unix_s: u64,
    /// The command line; secrets are masked.
    pub command: Vec<String>,
    /// Where it ran.
    pub machine: Machine,
    /// How long each part took, and what processes used in it.
    pub phases: Vec<PhaseReport>,
    /// Registration.
    pub registrations: Registrations,
    /// What became of every session.
    pub sessions: Sessions,
    /// What became of every REQUESTPENDING and data channel.
    pub channels: Channels,
    /// What became of every request; absent if there were no callers.
    pub requests: Option<Requests>,
    /// The gateway's process, if it was named.
    pub gateway: Option<ProcessReport>,
    /// This process.
    pub loadgen: ProcessReport,
    /// One row a second.
    pub seconds: Vec<Second>,
}

/// One part of the run.
#[derive(Debug, Clone, Serialize)]
pub struct PhaseReport {
    /// `ramp`, `hold` or `finish`.
    pub name: &'static str,
    /// Its length, seconds.
    pub seconds: f64,
    /// What the gateway's process used in it.
    pub gateway_cpu_s: Option<f64>,
    /// The gateway's memory at its end.
    pub gateway_rss_bytes: Option<u64>,
    /// What this process used in it.
    pub loadgen_cpu_s: Option<f64>,
    /// This process's memory at its end.
    pub loadgen_rss_bytes: Option<u64>,
}

/// Registration.
#[derive(Debug, Clone, Serialize)]
pub struct Registrations {
    /// Handsets that were to register.
    pub handsets: u64,
    /// Signaling connections begun.
    pub attempts: u64,
    /// CONNREGISTERED received, those after a reconnect included.
    pub registered: u64,
    /// From the start until every handset had registered, or failed to.
    pub seconds: f64,
    /// Registrations in the ramp, by these seconds.
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
}

/// What became of every session: registered = open + left + moved + lost.
#[derive(Debug, Clone, Serialize)]
pub struct Sessions {
    /// Most at one time.
    pub open_max: u64,
    /// At the end of the hold.
    pub open_after_hold: u64,
    /// At the end; not 0 only if the run was cut short.
    pub open: u64,
    /// Ended by the end of the run.
    pub left: u64,
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
#[derive(Debug, Clone, Serialize)]
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
#[derive(Debug, Clone, Serialize)]
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
    /// Good answers (2xx, body verified) by the length of the hold.
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
}

/// What a process used.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProcessReport {
    /// CPU in the ramp by registrations in it, microseconds.
    pub cpu_us_per_registration: Option<f64>,
    /// Growth of memory in the ramp by the sessions open at its end, bytes.
    pub rss_bytes_per_session: Option<f64>,
    /// CPU in the hold by its length: 1 is one core.
    pub cores_in_hold: Option<f64>,
}

/// A distribution in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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

/// What happened in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Second {
    /// Seconds since the run began.
    pub at: u64,
    /// Registrations.
    pub registered: u64,
    /// Sessions at its end.
    pub open: u64,
    /// Sessions lost.
    pub lost: u64,
    /// KEEPALIVE answered.
    pub keep_alives: u64,
    /// Good answers.
    pub good: u64,
    /// Requests that were not sent, failed or answered otherwise.
    pub bad: u64,
    /// Half of the good answers took at most this, from when they were due, microseconds.
    pub p50_us: u64,
    /// 99 % did.
    pub p99_us: u64,
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

/// Everything that a report is made of.
#[derive(Debug)]
pub struct Material {
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
    /// The callers' books.
    pub calls: Option<CallerBooks>,
    /// The moments between the phases: start, end of ramp, end of hold, end.
    pub borders: [Border; 4],
    /// Most sessions at one time.
    pub open_max: u64,
    /// One row a second.
    pub seconds: Vec<Second>,
    /// What went wrong beside the books (a ring that failed, a run that was cut short).
    pub findings: Vec<String>,
}

/// A moment between two phases.
#[derive(Debug, Clone, Copy, Default)]
pub struct Border {
    /// Seconds since the start.
    pub at_s: f64,
    /// Registrations so far.
    pub registered: u64,
    /// Sessions now.
    pub open: u64,
    /// The gateway's process.
    pub gateway: Option<ProcessSample>,
    /// This process.
    pub loadgen: Option<ProcessSample>,
}

impl Report {
    /// The report on what happened.
    pub fn new(material: Material) -> Self {
        let findings = findings(&material);
        let Material {
            fleet,
            calls,
            borders,
            ..
        } = &material;
        let [start, ramp, hold, _end] = borders;
        let hold_s = hold.at_s - ramp.at_s;
        Self {
            schema: SCHEMA,
            ok: findings.is_empty(),
            findings,
            started_unix_s: material.started_unix_s,
            command: material.command.clone(),
            machine: Machine::this(),
            phases: phases(borders),
            registrations: Registrations {
                handsets: material.handsets,
                attempts: fleet.attempts,
                registered: fleet.registered,
                seconds: fleet.settled_us as f64 / 1e6,
                per_second: ratio(ramp.registered as f64 * 1e6, fleet.settled_us as f64)
                    .unwrap_or(0.0),
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
            },
            sessions: Sessions {
                open_max: material.open_max,
                open_after_hold: hold.open,
                open: fleet.open,
                left: fleet.left,
                moved: fleet.moved,
                lost: map(&fleet.lost),
                keep_alives: fleet.keep_alives,
                reconnects: fleet.reconnects,
            },
            channels: channels(fleet),
            requests: calls.as_ref().map(|calls| requests(calls, hold_s)),
            gateway: start
                .gateway
                .is_some()
                .then(|| process(borders, |border| border.gateway)),
            loadgen: process(borders, |border| border.loadgen),
            seconds: material.seconds,
        }
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self)
            .expect("a report has only string keys and finite numbers")
    }
}

/// What was not well. Empty: the run is a success.
fn findings(material: &Material) -> Vec<String> {
    let Material { fleet, calls, .. } = material;
    let mut findings = material.findings.clone();
    let mut note = |times: u64, what: &str, causes: &Tally| {
        if times > 0 {
            let causes: Vec<_> = causes
                .iter()
                .map(|(cause, times)| format!("{cause} {times}"))
                .collect();
            findings.push(format!("{times} {what}: {}", causes.join(", ")));
        }
    };
    note(
        fleet.not_registered.total(),
        "attempts to register failed",
        &fleet.not_registered,
    );
    note(fleet.lost.total(), "sessions were lost", &fleet.lost);
    note(
        fleet.channels.not_opened.total(),
        "data channels were not opened",
        &fleet.channels.not_opened,
    );
    note(
        fleet.channels.failed.total(),
        "data channels failed",
        &fleet.channels.failed,
    );
    if let Some(calls) = calls {
        note(
            calls.not_sent.total(),
            "requests were not sent",
            &calls.not_sent,
        );
        note(
            calls.answered.total() - calls.good(),
            "requests were answered otherwise than 2xx",
            &calls.answered,
        );
        note(calls.failed.total(), "requests failed", &calls.failed);
    }
    let wanted = material.handsets;
    let [_, _, hold, _] = &material.borders;
    for (open, when) in [
        (material.open_max, "at one time"),
        (hold.open, "after the hold"),
    ] {
        if open < wanted {
            findings.push(format!(
                "no more than {open} of {wanted} handsets were registered {when}"
            ));
        }
    }
    let calls = calls.as_ref().and_then(CallerBooks::imbalance);
    findings.extend(
        fleet
            .imbalance()
            .into_iter()
            .chain(calls)
            .map(|sum| format!("the books do not balance: {sum}")),
    );
    findings
}

fn phases(borders: &[Border; 4]) -> Vec<PhaseReport> {
    let names = ["ramp", "hold", "finish"];
    let used =
        |from: Option<ProcessSample>, to: Option<ProcessSample>| Some(to?.cpu_s - from?.cpu_s);
    let phase = |(name, pair): (&'static str, &[Border])| match pair {
        [from, to] => Some(PhaseReport {
            name,
            seconds: to.at_s - from.at_s,
            gateway_cpu_s: used(from.gateway, to.gateway),
            gateway_rss_bytes: to.gateway.map(|sample| sample.rss_bytes),
            loadgen_cpu_s: used(from.loadgen, to.loadgen),
            loadgen_rss_bytes: to.loadgen.map(|sample| sample.rss_bytes),
        }),
        _ => None,
    };
    names
        .into_iter()
        .zip(borders.windows(2))
        .filter_map(phase)
        .collect()
}

fn process(borders: &[Border; 4], of: impl Fn(&Border) -> Option<ProcessSample>) -> ProcessReport {
    let [start, ramp, hold, _end] = borders;
    let (Some(at_start), Some(at_ramp)) = (of(start), of(ramp)) else {
        return ProcessReport::default();
    };
    let grown = at_ramp.rss_bytes as f64 - at_start.rss_bytes as f64;
    let cores =
        of(hold).and_then(|at_hold| ratio(at_hold.cpu_s - at_ramp.cpu_s, hold.at_s - ramp.at_s));
    ProcessReport {
        cpu_us_per_registration: ratio(
            (at_ramp.cpu_s - at_start.cpu_s) * 1e6,
            ramp.registered as f64,
        ),
        rss_bytes_per_session: ratio(grown, ramp.open as f64),
        cores_in_hold: cores,
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

fn requests(books: &CallerBooks, hold_s: f64) -> Requests {
    Requests {
        due: books.due,
        not_sent: map(&books.not_sent),
        sent: books.sent,
        answered: map(&books.answered),
        problems: map(&books.problems),
        failed: map(&books.failed),
        in_flight: books.in_flight,
        per_second: ratio(books.good() as f64, hold_s).unwrap_or(0.0),
        connections: books.connections,
        body_bytes_in: books.body_bytes_in,
        latency_us: Percentiles::of(&books.latency),
        service_us: Percentiles::of(&books.service),
        latency_failed_us: Percentiles::of(&books.latency_failed),
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

    use super::*;
    use crate::books::histogram;

    fn material() -> Material {
        let sample = Some(ProcessSample {
            cpu_s: 1.0,
            rss_bytes: 1 << 20,
        });
        let border = Border {
            gateway: sample,
            loadgen: sample,
            ..Border::default()
        };
        Material {
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
            register_latency: histogram(),
            calls: Some(CallerBooks::default()),
            borders: [
                border,
                Border {
                    at_s: 2.0,
                    registered: 10,
                    open: 10,
                    ..border
                },
                Border {
                    at_s: 6.0,
                    registered: 10,
                    open: 10,
                    ..border
                },
                Border {
                    at_s: 6.5,
                    registered: 10,
                    ..border
                },
            ],
            open_max: 10,
            seconds: vec![Second::default()],
            findings: Vec::new(),
        }
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
        let mut produced = BTreeSet::from(["requests".to_owned(), "gateway".to_owned()]);
        fields(&report, "", &mut produced);
        let page = include_str!("../../docs/loadgen-report.md");
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
        let good = Report::new(material());
        assert!(good.ok, "{:?}", good.findings);
        assert!((good.registrations.per_second - 5.0).abs() < 1e-9);
        let mut material = material();
        material.fleet.left = 9;
        material.fleet.lost.count("eof");
        let bad = Report::new(material);
        assert_eq!(
            (bad.ok, bad.findings),
            (false, vec!["1 sessions were lost: eof 1".to_owned()])
        );
    }

    #[test]
    fn books_that_do_not_balance_are_a_finding() {
        let mut material = material();
        material.fleet.left = 9;
        let report = Report::new(material);
        assert!(
            !report.ok && report.findings[0].contains("books do not balance"),
            "{:?}",
            report.findings
        );
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latencies = histogram();
        (1..=1000).for_each(|micros| latencies.record(micros).unwrap());
        let spread = Percentiles::of(&latencies);
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
