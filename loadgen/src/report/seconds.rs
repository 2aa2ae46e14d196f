//! The course of a run: one row a second, made from books that only grow.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::books::{CallerBooks, FleetBooks};
use crate::machine::ProcessSample;

/// A report has no more rows than a day has seconds.
const ROWS_MAX: usize = 86_400;

/// What happened in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Seconds since the run began.
    pub at: u64,
    /// Registrations.
    pub registered: u64,
    /// Sessions at its end.
    pub open: u64,
    /// Sessions lost.
    pub lost: u64,
    /// Registrations that the gateway refused.
    pub refused: u64,
    /// KEEPALIVE answered.
    pub keep_alives: u64,
    /// Good answers.
    pub good: u64,
    /// Requests that were not sent, failed or answered otherwise: the sum of the next three.
    pub bad: u64,
    /// Requests that were not sent.
    pub not_sent: u64,
    /// Requests without an answer, or with a wrong one.
    pub failed: u64,
    /// Requests answered otherwise than 2xx.
    pub answered_otherwise: u64,
    /// Requests without an outcome at its end.
    pub in_flight: u64,
    /// Half of the good answers took at most this, from when they were due, microseconds.
    pub p50_us: u64,
    /// 99 % did.
    pub p99_us: u64,
    /// 99.9 % did.
    pub p99_9_us: u64,
    /// CPU of the gateway's process: 1 is one core.
    pub gateway_cores: Option<f64>,
    /// Its memory.
    pub gateway_rss_bytes: Option<u64>,
    /// CPU of this process.
    pub loadgen_cores: Option<f64>,
    /// Its memory.
    pub loadgen_rss_bytes: Option<u64>,
}

/// The rows of a run as it goes on.
#[derive(Debug, Default)]
pub struct Seconds {
    rows: Vec<Second>,
    last: Totals,
}

/// What a row is made of: where everything stands now.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Seconds since the run began.
    pub at_s: f64,
    /// All fleets' books.
    pub fleet: &'a FleetBooks,
    /// The callers' books; `None`: nobody has called yet.
    pub calls: Option<&'a CallerBooks>,
    /// Latencies of good answers since the last row.
    pub recent: Option<&'a Histogram<u64>>,
    /// The gateway's process.
    pub gateway: Option<ProcessSample>,
    /// This process.
    pub loadgen: Option<ProcessSample>,
}

/// Totals at the last row.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    at_s: f64,
    registered: u64,
    lost: u64,
    refused: u64,
    keep_alives: u64,
    good: u64,
    not_sent: u64,
    failed: u64,
    answered_otherwise: u64,
    gateway: Option<ProcessSample>,
    loadgen: Option<ProcessSample>,
}

impl Seconds {
    /// Whether a row is due at `at_s` seconds since the run began.
    pub fn is_due(&self, at_s: f64) -> bool {
        !self.is_full() && at_s as u64 > self.last_at()
    }

    /// Adds the row of the second that is over, and returns it.
    pub fn add(&mut self, look: Look<'_>) -> Second {
        self.add_at(look.at_s as u64, look)
    }

    /// Adds the row of the second in which the run ended: without it the rows would not add up to the run.
    pub fn add_last(&mut self, look: Look<'_>) {
        if !self.is_full() {
            self.add_at((look.at_s.ceil() as u64).max(self.last_at() + 1), look);
        }
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= ROWS_MAX
    }

    fn last_at(&self) -> u64 {
        self.rows.last().map_or(0, |row| row.at)
    }

    fn add_at(&mut self, at: u64, look: Look<'_>) -> Second {
        let (now, last) = (Totals::at(look), self.last);
        let span_s = now.at_s - last.at_s;
        let cores = |now: Option<ProcessSample>, last: Option<ProcessSample>| {
            (span_s > 0.0)
                .then(|| Some(thousandths((now?.cpu_s - last?.cpu_s) / span_s)))
                .flatten()
        };
        let spread = |share| {
            look.recent
                .map_or(0, |recent| recent.value_at_quantile(share))
        };
        let mut row = Second {
            at,
            registered: now.registered.saturating_sub(last.registered),
            open: look.fleet.open,
            lost: now.lost.saturating_sub(last.lost),
            refused: now.refused.saturating_sub(last.refused),
            keep_alives: now.keep_alives.saturating_sub(last.keep_alives),
            good: now.good.saturating_sub(last.good),
            bad: 0,
            not_sent: now.not_sent.saturating_sub(last.not_sent),
            failed: now.failed.saturating_sub(last.failed),
            answered_otherwise: now
                .answered_otherwise
                .saturating_sub(last.answered_otherwise),
            in_flight: look.calls.map_or(0, |calls| calls.in_flight),
            p50_us: spread(0.5),
            p99_us: spread(0.99),
            p99_9_us: spread(0.999),
            gateway_cores: cores(now.gateway, last.gateway),
            gateway_rss_bytes: now.gateway.map(|sample| sample.rss_bytes),
            loadgen_cores: cores(now.loadgen, last.loadgen),
            loadgen_rss_bytes: now.loadgen.map(|sample| sample.rss_bytes),
        };
        row.bad = row.not_sent + row.failed + row.answered_otherwise;
        self.last = now;
        self.rows.push(row);
        row
    }

    /// All of them.
    pub fn into_rows(self) -> Vec<Second> {
        self.rows
    }
}

impl Totals {
    fn at(look: Look<'_>) -> Self {
        let Look { fleet, calls, .. } = look;
        Self {
            at_s: look.at_s,
            registered: fleet.registered,
            lost: fleet.lost.total(),
            refused: fleet.refused(),
            keep_alives: fleet.keep_alives,
            good: calls.map_or(0, CallerBooks::good),
            not_sent: calls.map_or(0, |calls| calls.not_sent.total()),
            failed: calls.map_or(0, |calls| calls.failed.total()),
            answered_otherwise: calls.map_or(0, CallerBooks::answered_otherwise),
            gateway: look.gateway,
            loadgen: look.loadgen,
        }
    }
}

/// Finer than the kernel counts. A process that was started again begins anew.
fn thousandths(cores: f64) -> f64 {
    (cores * 1e3).round().max(0.0) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::histogram;

    fn sample(cpu_s: f64, rss_bytes: u64) -> Option<ProcessSample> {
        Some(ProcessSample { cpu_s, rss_bytes })
    }

    #[test]
    fn a_row_holds_what_came_to_pass_since_the_one_before() {
        let mut seconds = Seconds::default();
        let mut fleet = FleetBooks {
            registered: 10,
            open: 10,
            ..FleetBooks::default()
        };
        fn look(at_s: f64, fleet: &FleetBooks) -> Look<'_> {
            Look {
                at_s,
                fleet,
                calls: None,
                recent: None,
                gateway: None,
                loadgen: sample(1.0, 100),
            }
        }
        assert!(!seconds.is_due(0.9) && seconds.is_due(1.05));
        let first = seconds.add(look(1.0, &fleet));
        assert_eq!((first.at, first.registered, first.open), (1, 10, 10));
        assert_eq!(
            (first.gateway_cores, first.loadgen_cores),
            (None, None),
            "nothing to compare with yet"
        );
        assert!(!seconds.is_due(1.9));
        fleet.registered = 15;
        fleet.lost.count("eof");
        fleet.not_registered.count("refused:overloaded");
        fleet.not_registered.count("silent");
        let mut calls = CallerBooks::default();
        for status in ["200", "204", "503"] {
            calls.answered.count(status);
        }
        calls.failed.count("timeout");
        calls.not_sent.count("too-many-in-flight");
        calls.in_flight = 4;
        let mut recent = histogram();
        recent.record(2000).unwrap();
        let second = seconds.add(Look {
            calls: Some(&calls),
            recent: Some(&recent),
            gateway: sample(3.0, 300),
            loadgen: sample(2.0, 200),
            ..look(3.0, &fleet)
        });
        assert_eq!((second.registered, second.lost, second.refused), (5, 1, 1));
        assert_eq!((second.good, second.bad, second.in_flight), (2, 3, 4));
        assert_eq!((second.p50_us, second.p99_9_us), (2000, 2000));
        assert_eq!(
            (second.gateway_cores, second.gateway_rss_bytes),
            (None, Some(300))
        );
        assert_eq!(
            second.loadgen_cores,
            Some(0.5),
            "one second of CPU in two seconds"
        );
        fleet.registered = 16;
        seconds.add_last(look(3.4, &fleet));
        let rows = seconds.into_rows();
        let last = rows.last().unwrap();
        assert_eq!((rows.len(), last.at, last.registered), (3, 4, 1));
        assert_eq!(rows.iter().map(|row| row.registered).sum::<u64>(), 16);
    }
}
