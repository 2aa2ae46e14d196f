//! One phase in a report: what came to pass between its two borders.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::material::{Border, PhaseMaterial};
use super::seconds::Second;
use super::{Percentiles, ratio};
use crate::books::CallerBooks;
use crate::machine::ProcessSample;

/// The window in which the slowest stretch of a ramp is sought, seconds.
const WINDOW: usize = 10;

/// One phase of the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PhaseReport {
    /// Its name in the scenario.
    pub name: String,
    /// `ramp`, `hold`, `storm` or `finish`.
    pub kind: String,
    /// When it began, seconds since the run began.
    pub from_s: f64,
    /// Its length, seconds.
    pub seconds: f64,
    /// CONNREGISTERED received in it.
    pub registered: u64,
    /// From its beginning until the last handset that had its first attempt in it had registered or failed to.
    pub settled_s: Option<f64>,
    /// Registrations by that time; in a storm by the time until all were back; else by the length of the phase.
    pub registrations_per_s: f64,
    /// The same in the slowest ten seconds in a row of that time.
    pub registrations_per_s_slowest_10s: Option<f64>,
    /// Attempts that the gateway refused in it.
    pub refused: u64,
    /// Attempts that ended in it before they were registered, the refused ones included.
    pub not_registered: u64,
    /// Sessions lost in it.
    pub lost: u64,
    /// Sessions at its end.
    pub open_at_end: u64,
    /// KEEPALIVE answered in it.
    pub keep_alives: u64,
    /// Of a storm: from its beginning until all handsets were back.
    pub back_s: Option<f64>,
    /// What became of its requests; absent if none were due.
    pub requests: Option<PhaseRequests>,
    /// What the gateway's process used in it.
    pub gateway_cpu_s: Option<f64>,
    /// The same by its length: 1 is one core.
    pub gateway_cores: Option<f64>,
    /// The gateway's memory at its end.
    pub gateway_rss_bytes: Option<u64>,
    /// What this process used in it.
    pub loadgen_cpu_s: Option<f64>,
    /// The same by its length.
    pub loadgen_cores: Option<f64>,
    /// This process's memory at its end.
    pub loadgen_rss_bytes: Option<u64>,
}

/// The requests of one phase: those that were due, and those that ended, in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PhaseRequests {
    /// Requests that were due.
    pub due: u64,
    /// Sent.
    pub sent: u64,
    /// Good answers.
    pub good: u64,
    /// Not sent, failed or answered otherwise.
    pub bad: u64,
    /// Of these, those without an answer, or with a wrong one.
    pub failed: u64,
    /// Good answers by the length of the phase.
    pub per_second: f64,
    /// Good answers, from when the request was due.
    pub latency_us: Percentiles,
    /// Good answers, from when the request was sent.
    pub service_us: Percentiles,
}

impl PhaseReport {
    /// Of what happened between the borders; `seconds` are the rows of the whole run.
    pub(super) fn new(phase: &PhaseMaterial, seconds: &[Second]) -> Self {
        let (from, to) = (&phase.from, &phase.to);
        let length_s = (to.at_s - from.at_s).max(0.0);
        let settled_s = settled_s(from, to);
        let registering_s = settled_s.or(phase.back_s).unwrap_or(length_s);
        let registered = to.fleet.registered.saturating_sub(from.fleet.registered);
        let gateway_cpu_s = used_s(from.gateway, to.gateway);
        let loadgen_cpu_s = used_s(from.loadgen, to.loadgen);
        let since = |count: fn(&Border) -> u64| count(to).saturating_sub(count(from));
        Self {
            name: phase.name.clone(),
            kind: phase.kind.to_owned(),
            from_s: from.at_s,
            seconds: length_s,
            registered,
            settled_s,
            registrations_per_s: ratio(registered as f64, registering_s).unwrap_or(0.0),
            registrations_per_s_slowest_10s: slowest(seconds, from.at_s, from.at_s + registering_s),
            refused: since(|border| border.fleet.refused()),
            not_registered: since(|border| border.fleet.not_registered.total()),
            lost: since(|border| border.fleet.lost.total()),
            open_at_end: to.fleet.open,
            keep_alives: since(|border| border.fleet.keep_alives),
            back_s: phase.back_s,
            requests: requests(from.calls.as_ref(), to.calls.as_ref(), length_s),
            gateway_cpu_s,
            gateway_cores: gateway_cpu_s.and_then(|cpu_s| ratio(cpu_s, length_s)),
            gateway_rss_bytes: to.gateway.map(|sample| sample.rss_bytes),
            loadgen_cpu_s,
            loadgen_cores: loadgen_cpu_s.and_then(|cpu_s| ratio(cpu_s, length_s)),
            loadgen_rss_bytes: to.loadgen.map(|sample| sample.rss_bytes),
        }
    }

    /// When it ended, seconds since the run began.
    pub fn to_s(&self) -> f64 {
        self.from_s + self.seconds
    }
}

fn settled_s(from: &Border, to: &Border) -> Option<f64> {
    let settled_at_s = to.fleet.settled_us as f64 / 1e6;
    let settles = to.fleet.settled > from.fleet.settled && settled_at_s > from.at_s;
    settles.then_some(settled_at_s - from.at_s)
}

fn slowest(seconds: &[Second], from_s: f64, to_s: f64) -> Option<f64> {
    // A row ends at `at`: the first one that began in the phase is a second later.
    let within: Vec<_> = seconds
        .iter()
        .filter(|row| row.at as f64 >= from_s + 1.0 && row.at as f64 <= to_s)
        .collect();
    within
        .windows(WINDOW)
        .filter_map(|window| {
            let (first, last) = (window.first()?, window.last()?);
            let registered: u64 = window.iter().map(|row| row.registered).sum();
            // A row that came late stands for more than one second.
            ratio(registered as f64, (last.at - first.at + 1) as f64)
        })
        .min_by(f64::total_cmp)
}

/// CPU between two samples of a process.
pub(super) fn used_s(from: Option<ProcessSample>, to: Option<ProcessSample>) -> Option<f64> {
    // A gateway that was started again begins its count anew.
    let (from, to) = (from?, to?);
    (to.cpu_s >= from.cpu_s).then_some(to.cpu_s - from.cpu_s)
}

fn requests(
    from: Option<&CallerBooks>,
    to: Option<&CallerBooks>,
    length_s: f64,
) -> Option<PhaseRequests> {
    let (nothing, to) = (CallerBooks::default(), to?);
    let from = from.unwrap_or(&nothing);
    let since = |count: fn(&CallerBooks) -> u64| count(to).saturating_sub(count(from));
    let due = since(|books| books.due);
    let good = since(CallerBooks::good);
    (due > 0).then(|| PhaseRequests {
        due,
        sent: since(|books| books.sent),
        good,
        bad: since(CallerBooks::bad),
        failed: since(|books| books.failed.total()),
        per_second: ratio(good as f64, length_s).unwrap_or(0.0),
        latency_us: difference(&from.latency, &to.latency),
        service_us: difference(&from.service, &to.service),
    })
}

/// What was recorded in `to` beyond `from`, which `to` grew out of.
fn difference(from: &Histogram<u64>, to: &Histogram<u64>) -> Percentiles {
    let mut since = to.clone();
    match since.subtract(from) {
        Ok(()) => Percentiles::of(&since),
        // Never so with books that only grow.
        Err(_) => Percentiles::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::FleetBooks;

    fn row(at: u64, registered: u64) -> Second {
        Second {
            at,
            registered,
            ..Second::default()
        }
    }

    fn phase(kind: &'static str, from: Border, to: Border) -> PhaseMaterial {
        PhaseMaterial {
            name: kind.into(),
            kind,
            from,
            to,
            back_s: None,
        }
    }

    #[test]
    fn latencies_of_a_phase_are_those_that_were_measured_in_it() {
        let mut books = CallerBooks::default();
        let mut answer = |micros: u64, times: u64| {
            for _ in 0..times {
                (books.due, books.sent) = (books.due + 1, books.sent + 1);
                books.answered.count("200");
                books.latency.record(micros).unwrap();
                books.service.record(micros / 2).unwrap();
            }
            Border {
                calls: Some(books.clone()),
                ..Border::default()
            }
        };
        let (first, second, third) = (answer(900_000, 100), answer(1000, 50), answer(1000, 0));
        let to = |at_s, border: &Border| Border {
            at_s,
            ..border.clone()
        };
        let morning = PhaseReport::new(&phase("hold", Border::default(), to(10.0, &first)), &[]);
        let noon = PhaseReport::new(&phase("hold", to(10.0, &first), to(20.0, &second)), &[]);
        let idle = PhaseReport::new(&phase("hold", to(20.0, &second), to(30.0, &third)), &[]);
        let (morning, noon) = (morning.requests.unwrap(), noon.requests.unwrap());
        assert_eq!((morning.due, morning.latency_us.count), (100, 100));
        assert_eq!((noon.due, noon.good, noon.latency_us.count), (50, 50, 50));
        assert_eq!((noon.latency_us.p99, noon.latency_us.max), (1000, 1000));
        assert_eq!(noon.service_us.p50, 500);
        assert!((noon.per_second - 5.0).abs() < 1e-9);
        assert!(idle.requests.is_none(), "nothing was due in it");
    }

    #[test]
    fn a_ramp_is_as_fast_as_its_last_handset_and_its_slowest_stretch_is_told() {
        let settled = |at_s, settled, settled_us| Border {
            at_s,
            fleet: FleetBooks {
                registered: settled,
                settled,
                settled_us,
                ..FleetBooks::default()
            },
            ..Border::default()
        };
        let rows: Vec<_> = (1..=40)
            .map(|at| row(at, if (11..=20).contains(&at) { 10 } else { 100 }))
            .collect();
        let ramp = PhaseReport::new(
            &phase("ramp", settled(0.0, 0, 0), settled(60.0, 4000, 40_000_000)),
            &rows,
        );
        assert_eq!(
            (ramp.settled_s, ramp.registrations_per_s),
            (Some(40.0), 100.0)
        );
        assert_eq!(ramp.registrations_per_s_slowest_10s, Some(10.0));
        let short = PhaseReport::new(
            &phase("ramp", settled(0.0, 0, 0), settled(5.0, 400, 4_000_000)),
            &rows,
        );
        assert_eq!(short.registrations_per_s_slowest_10s, None);
    }

    #[test]
    fn a_gateway_that_was_started_again_has_no_cpu_of_the_phase() {
        let sample = |cpu_s| {
            Some(ProcessSample {
                cpu_s,
                rss_bytes: 1,
            })
        };
        assert_eq!(used_s(sample(2.0), sample(5.0)), Some(3.0));
        assert_eq!(used_s(sample(5.0), sample(2.0)), None);
        assert_eq!(used_s(None, sample(2.0)), None);
    }
}
