//! Where everyone's numbers are collected: the recorder, its buckets, every series at 0 from the start, and what is read
//! at each scrape.
//!
//! The recorder belongs to the process: gateways that run side by side in a test share it. Names and helps stand in
//! [`crate::metric_names`].

use std::fmt::Write as _;
use std::sync::OnceLock;

use everline_protocol::{ErrorCode, RefusalCode};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::config::Auth;
use crate::metric_names::{self as names, Kind};
use crate::problem::SLUGS;
use crate::shared::Shared;

/// A request's stages: from a local handset's answer to the longest wait that is configured by default.
const STAGE_BUCKETS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 90.0,
];
/// Timers: a shard that keeps up is late by no more than its tick of 64 ms, and 100 ms is what it is held to.
const TIMER_BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5,
];

/// The metrics could not be set up: another recorder is installed in this process.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the metrics can't be set up: {0}")]
pub struct MetricsError(String);

/// Sets the recorder up, once a process, and hands it out. Call it before any handle is made: those made earlier count
/// into nothing.
pub fn recorder() -> Result<PrometheusHandle, MetricsError> {
    static RECORDER: OnceLock<Result<PrometheusHandle, MetricsError>> = OnceLock::new();
    RECORDER.get_or_init(install).clone()
}

fn install() -> Result<PrometheusHandle, MetricsError> {
    let failed = |error: metrics_exporter_prometheus::BuildError| MetricsError(error.to_string());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(names::STAGE_SECONDS.into()), &STAGE_BUCKETS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Full(names::TIMER_LAG.into()), &TIMER_BUCKETS)
        })
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(failed)?;
    for metric in names::ALL {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
        register(metric);
    }
    Ok(handle)
}

/// Makes every series whose label values are known, so that no dashboard has a gap before the first event.
fn register(metric: &names::Metric) {
    if metric.name == names::PROCESS_CPU {
        return; // `render` writes it.
    }
    let label = metric.labels.first().copied();
    let values = known_values(metric.name);
    match (metric.kind, label) {
        (Kind::Counter, None) => counter!(metric.name).increment(0),
        (Kind::Counter, Some(label)) => values
            .iter()
            .for_each(|value| counter!(metric.name, label => *value).increment(0)),
        (Kind::Gauge, None) => gauge!(metric.name).increment(0.0),
        (Kind::Gauge, Some(label)) => values
            .iter()
            .for_each(|value| gauge!(metric.name, label => *value).set(1.0)),
        (Kind::Histogram, None) => drop(histogram!(metric.name)),
        (Kind::Histogram, Some(label)) => values
            .iter()
            .for_each(|value| drop(histogram!(metric.name, label => *value))),
    }
}

/// The values of a metric's only label.
fn known_values(name: &str) -> Vec<&'static str> {
    let ends = ["closed", "reset", "slow"];
    let errors = ErrorCode::ALL
        .iter()
        .filter(|code| **code != ErrorCode::UnknownRequest)
        .map(|code| code.name());
    match name {
        names::REGISTRATIONS => ["registered", "replaced"]
            .into_iter()
            .chain(RefusalCode::ALL.iter().map(|code| code.name()))
            .collect(),
        names::DEPARTURES => ["bye", "dead", "drained"]
            .into_iter()
            .chain(ends)
            .chain(errors)
            .collect(),
        names::CONNECTIONS_FAILED => {
            let own = ["refused", "drained", "bad-proxy-header"];
            own.into_iter()
                .chain(ends)
                .chain(errors.filter(|code| !matches!(*code, "replaced" | "revoked")))
                .collect()
        }
        names::KEEPALIVES => vec!["sent", "answered", "missed"],
        names::WAKES => vec!["sent", "repeated", "not-ready", "stale", "mailbox-full"],
        names::STALE => vec!["completion", "event", "letter"],
        names::REQUESTS => vec!["answered", "problem", "abandoned"],
        names::PROBLEMS => SLUGS.to_vec(),
        names::STAGE_SECONDS => vec!["wake", "response", "total"],
        names::DATA_CHANNELS => {
            vec![
                "bound",
                "reused",
                "unknown-request",
                "bind-timeout",
                "bad-line",
                "closed",
                "refused",
            ]
        }
        names::BUILD_INFO => vec![env!("CARGO_PKG_VERSION")],
        _ => Vec::new(),
    }
}

/// The exposition text; what lies in tables is read at this moment.
pub fn scrape(recorder: &PrometheusHandle, shared: &Shared) -> String {
    // Counts of what is in memory: far below the 2^52 up to which an f64 is exact.
    let set = |name: &'static str, value: usize| gauge!(name).set(value as f64);
    set(names::SESSIONS, shared.directory.sessions());
    set(names::IN_FLIGHT, shared.limits.in_flight());
    set(names::WAITING, shared.pending.waiting());
    gauge!(names::SESSIONS_EXPECTED).set(shared.store.expected() as f64);
    gauge!(names::SESSIONS_RETURNED).set(shared.store.returned() as f64);
    set(names::STORE_UP, usize::from(shared.store.up()));
    gauge!(names::STORE_LAG).set(shared.store.lag().as_secs_f64());
    set(names::PHASE, shared.phase.now() as usize);
    set(
        names::AUTH_OFF,
        usize::from(matches!(shared.config.auth, Auth::None)),
    );
    render(recorder)
}

/// The recorder's text, and what the process itself costs, in Prometheus's common names for it.
fn render(recorder: &PrometheusHandle) -> String {
    let process = metrics_process::collector::collect();
    for (name, value) in [
        (names::PROCESS_MEMORY, process.resident_memory_bytes),
        (names::PROCESS_FDS, process.open_fds),
        (names::PROCESS_FDS_MAX, process.max_fds),
        (names::PROCESS_START, process.start_time_seconds),
        (names::PROCESS_THREADS, process.threads),
    ] {
        if let Some(value) = value {
            gauge!(name).set(value as f64);
        }
    }
    let mut text = recorder.render();
    // The recorder's counters are whole numbers, too coarse for a rate of seconds: this one is written behind them.
    let cpu = names::ALL
        .iter()
        .find(|metric| metric.name == names::PROCESS_CPU);
    if let (Some(metric), Some(seconds)) = (cpu, process.cpu_seconds_total) {
        let (name, help) = (metric.name, metric.help);
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} counter\n{name} {seconds:.2}\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_tells_what_it_costs() {
        let text = render(&recorder().expect("the only recorder of this process"));
        let value = |name: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")));
            let value = line.and_then(|line| line.split(' ').next_back());
            value
                .and_then(|value| value.parse::<f64>().ok())
                .unwrap_or_else(|| panic!("{name}:\n{text}"))
        };
        assert!(
            value(names::PROCESS_MEMORY) > 1e6,
            "a program of more than a megabyte"
        );
        assert!(value(names::PROCESS_CPU) >= 0.0 && value(names::PROCESS_THREADS) >= 1.0);
        assert!((3.0..=value(names::PROCESS_FDS_MAX)).contains(&value(names::PROCESS_FDS)));
        assert!(value(names::PROCESS_START) > 1.6e9, "in seconds since 1970");
    }

    #[test]
    fn every_label_has_its_known_values_and_no_metric_has_two_labels() {
        for metric in names::ALL {
            assert!(
                metric.labels.len() <= 1,
                "{} has {:?}: register() knows one label",
                metric.name,
                metric.labels
            );
            assert_eq!(
                known_values(metric.name).is_empty(),
                metric.labels.is_empty(),
                "{}",
                metric.name
            );
        }
    }

    #[test]
    fn a_session_that_never_says_waiting_ends_as_a_cause_that_is_known() {
        assert!(known_values(names::DEPARTURES).contains(&"connect-timeout"));
        assert!(!known_values(names::DEPARTURES).contains(&"unknown-request"));
    }

    #[test]
    fn every_metric_is_there_before_anything_happened() {
        let text = render(&recorder().expect("the only recorder of this process"));
        for metric in names::ALL {
            assert!(
                text.contains(&format!("# HELP {} ", metric.name)),
                "{} is not described:\n{text}",
                metric.name
            );
            for value in known_values(metric.name) {
                let label = metric.labels.first().expect("it has a label");
                let series = format!("{{{label}=\"{value}\"");
                assert!(
                    text.lines()
                        .any(|line| line.starts_with(metric.name) && line.contains(&series)),
                    "{} {value}",
                    metric.name
                );
            }
        }
    }
}
