//! The load generator's own numbers for Prometheus: what the books say, published once a second by `run`, read by
//! whoever scrapes. The names stand in [`names`], the port is in [`port`].
//!
//! The recorder is this run's and not the process's: a gateway in the same process, as in a test, has its own.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Label, SharedString, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram, with_local_recorder,
};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::books::{CallerBooks, FleetBooks, Tally};
use crate::machine::ProcessSample;
use crate::report::Look;

pub mod names;
pub mod port;

use names::Kind;

/// From a local handset's answer to the longest wait that is usual: the gateway's buckets, so that the two compare.
const LATENCY_BUCKETS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 90.0,
];

/// Where `run` publishes.
pub struct Metrics {
    recorder: PrometheusRecorder,
    page: Arc<Page>,
    /// The phase that was published last.
    phase: String,
}

/// What a scrape reads.
#[derive(Debug)]
pub struct Page {
    handle: PrometheusHandle,
    /// The recorder knows whole counters only.
    cpu_s: Mutex<Option<f64>>,
}

impl Metrics {
    /// Everything is there from the start, at 0; the values of labels from when they first happen.
    pub fn new() -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(names::LATENCY.into()), &LATENCY_BUCKETS)?
            .build_recorder();
        let page = Arc::new(Page {
            handle: recorder.handle(),
            cpu_s: Mutex::default(),
        });
        let metrics = Self {
            recorder,
            page,
            phase: String::new(),
        };
        with_local_recorder(&metrics.recorder, describe);
        metrics.record(&FleetBooks::default(), &CallerBooks::default());
        Ok(metrics)
    }

    /// What a scrape reads.
    pub fn page(&self) -> Arc<Page> {
        self.page.clone()
    }

    /// Publishes what the books say now. Call it about once a second.
    pub fn publish(&mut self, look: Look<'_>, phase: &str) {
        let nobody = CallerBooks::default();
        self.record(look.fleet, look.calls.unwrap_or(&nobody));
        with_local_recorder(&self.recorder, || {
            let latency = histogram!(names::LATENCY);
            for step in look.recent.iter().flat_map(|recent| recent.iter_recorded()) {
                let times = usize::try_from(step.count_at_value()).unwrap_or(usize::MAX);
                latency.record_many(step.value_iterated_to() as f64 / 1e6, times);
            }
            if self.phase != phase {
                if !self.phase.is_empty() {
                    gauge!(names::PHASE, "phase" => self.phase.clone()).set(0.0);
                }
                gauge!(names::PHASE, "phase" => phase.to_owned()).set(1.0);
                phase.clone_into(&mut self.phase);
            }
            if let Some(process) = look.loadgen {
                gauge!(names::PROCESS_MEMORY).set(process.rss_bytes as f64);
            }
        });
        self.page.set_cpu(look.loadgen);
        // Latencies that nobody scrapes would pile up.
        self.page.handle.run_upkeep();
    }

    fn record(&self, fleet: &FleetBooks, calls: &CallerBooks) {
        with_local_recorder(&self.recorder, || {
            // Counts of what happened: far below the 2^52 up to which an f64 is exact.
            let set = |name: &'static str, value: u64| gauge!(name).set(value as f64);
            let count = |name: &'static str, value| counter!(name).absolute(value);
            set(names::SESSIONS, fleet.open);
            set(names::CONNECTING, fleet.connecting);
            set(names::AWAY, fleet.away.storm + fleet.away.churn);
            count(names::REGISTRATIONS, fleet.registered);
            tally(names::NOT_REGISTERED, "cause", &fleet.not_registered);
            tally(names::LOST, "cause", &fleet.lost);
            tally(names::DROPPED, "cause", &fleet.dropped);
            count(names::KEEPALIVES, fleet.keep_alives);
            count(names::WAKES, fleet.channels.wakes);
            tally(names::CHANNELS_FAILED, "cause", &fleet.channels.failed);
            for (outcome, times) in [
                ("good", calls.good()),
                ("answered-otherwise", calls.answered_otherwise()),
                ("failed", calls.failed.total()),
                ("not-sent", calls.not_sent.total()),
            ] {
                counter!(names::REQUESTS, "outcome" => outcome).absolute(times);
            }
            tally(names::ANSWERS, "status", &calls.answered);
            tally(names::REQUESTS_FAILED, "cause", &calls.failed);
            set(names::IN_FLIGHT, calls.in_flight);
        });
    }
}

impl Page {
    /// Prometheus's text.
    pub fn text(&self) -> String {
        let mut text = self.handle.render();
        let cpu_s = *self.cpu_s.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seconds) = cpu_s {
            let (name, help) = (names::PROCESS_CPU, names::help(names::PROCESS_CPU));
            // Writing to a String can't fail.
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} counter\n{name} {seconds:.2}\n\n"
            );
        }
        text
    }

    fn set_cpu(&self, process: Option<ProcessSample>) {
        let mut cpu_s = self.cpu_s.lock().unwrap_or_else(PoisonError::into_inner);
        *cpu_s = process.map(|process| process.cpu_s);
    }
}

fn describe() {
    for metric in names::ALL {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
    drop(histogram!(names::LATENCY));
    gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// A counter for each kind of a tally. Tallies are bounded, and so are these.
fn tally(name: &'static str, label: &'static str, tally: &Tally) {
    for (kind, times) in tally.iter() {
        let kind = SharedString::from(kind.to_owned());
        counter!(name, vec![Label::new(label, kind)]).absolute(times);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::histogram as empty;

    fn look(fleet: &FleetBooks) -> Look<'_> {
        Look {
            at_s: 1.0,
            fleet,
            calls: None,
            recent: None,
            gateway: None,
            loadgen: None,
        }
    }

    fn holds(page: &Page, line: &str) {
        let text = page.text();
        assert!(
            text.lines().any(|one| one == line),
            "{line} is not in\n{text}"
        );
    }

    #[test]
    fn what_the_books_say_is_what_a_scrape_reads() {
        let mut metrics = Metrics::new().expect("the buckets are good");
        let page = metrics.page();
        holds(&page, "everline_loadgen_sessions 0");
        holds(
            &page,
            r#"everline_loadgen_requests_total{outcome="not-sent"} 0"#,
        );
        holds(&page, "everline_loadgen_latency_seconds_count 0");

        let mut fleet = FleetBooks {
            open: 9,
            registered: 12,
            keep_alives: 7,
            ..FleetBooks::default()
        };
        fleet.lost.count("eof");
        fleet.not_registered.count("refused:\"odd\"\n");
        let mut calls = CallerBooks::default();
        for status in ["200", "200", "503"] {
            calls.answered.count(status);
        }
        calls.failed.count("timeout");
        let mut recent = empty();
        for micros in [800, 3_000] {
            recent.record(micros).expect("within bounds");
        }
        let process = ProcessSample {
            cpu_s: 1.5,
            rss_bytes: 1 << 20,
        };
        metrics.publish(
            Look {
                calls: Some(&calls),
                recent: Some(&recent),
                loadgen: Some(process),
                ..look(&fleet)
            },
            "ramp",
        );
        metrics.publish(look(&fleet), "noon");
        for line in [
            "everline_loadgen_sessions 9",
            "everline_loadgen_registrations_total 12",
            r#"everline_loadgen_lost_total{cause="eof"} 1"#,
            r#"everline_loadgen_not_registered_total{cause="refused:\"odd\"\n"} 1"#,
            "everline_loadgen_keepalives_total 7",
            r#"everline_loadgen_requests_total{outcome="good"} 2"#,
            r#"everline_loadgen_requests_total{outcome="answered-otherwise"} 1"#,
            r#"everline_loadgen_answers_total{status="503"} 1"#,
            r#"everline_loadgen_request_failures_total{cause="timeout"} 1"#,
            r#"everline_loadgen_latency_seconds_bucket{le="0.001"} 1"#,
            r#"everline_loadgen_latency_seconds_bucket{le="0.005"} 2"#,
            r#"everline_loadgen_phase{phase="ramp"} 0"#,
            r#"everline_loadgen_phase{phase="noon"} 1"#,
            "process_resident_memory_bytes 1048576",
        ] {
            holds(&page, line);
        }
    }

    #[test]
    fn every_name_is_told_with_its_help() {
        let mut metrics = Metrics::new().expect("the buckets are good");
        let (mut fleet, mut calls) = (FleetBooks::default(), CallerBooks::default());
        for tally in [
            &mut fleet.lost,
            &mut fleet.not_registered,
            &mut fleet.dropped,
            &mut fleet.channels.failed,
            &mut calls.failed,
            &mut calls.answered,
        ] {
            tally.count("one");
        }
        let process = ProcessSample {
            cpu_s: 1.5,
            rss_bytes: 1 << 20,
        };
        metrics.publish(
            Look {
                calls: Some(&calls),
                loadgen: Some(process),
                ..look(&fleet)
            },
            "ramp",
        );
        let text = metrics.page().text();
        for metric in names::ALL {
            assert!(
                text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)),
                "{}:\n{text}",
                metric.name
            );
        }
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let known = names::ALL
                .iter()
                .any(|metric| line.starts_with(metric.name));
            assert!(known, "{line}");
        }
    }
}
