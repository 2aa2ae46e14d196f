//! A run as tests need one: a ramp, a hold with requests, a storm and a finish, with something of everything.
//! Its figures can be told without a computer, so that tests may hold what a report says against them.

use super::{Border, Look, Material, PhaseMaterial, Seconds};
use crate::books::{CallerBooks, FleetBooks, histogram};
use crate::machine::ProcessSample;
use crate::rogue::{RogueBooks, RogueKind};

/// Handsets of the run.
pub(crate) const HANDSETS: u64 = 20_000;
const RAMP_S: u64 = 20;
const FINISH_S: u64 = 3;

/// A run of `hold_s` seconds of requests, and half as long a storm, in which `kind` is what went wrong.
pub(crate) fn material(hold_s: u64, kind: &'static str) -> Material {
    let mut run = Example {
        kind,
        ..Example::default()
    };
    let storm_s = hold_s / 2;
    let start = run.border();
    run.seconds_of(RAMP_S, |run, _| {
        let new = HANDSETS / RAMP_S;
        run.fleet.attempts += new;
        run.fleet.registered += new;
        run.fleet.open += new;
        run.fleet.settled += new;
        run.fleet.settled_us = run.at_s * 1_000_000;
    });
    let ramped = run.border();
    run.seconds_of(hold_s, |run, second| {
        run.fleet.keep_alives += 60 + second % 7;
        run.requests(200, second);
        if second.is_multiple_of(10) {
            run.fleet.lost.count(run.kind);
            run.fleet.open -= 1;
        }
    });
    let held = run.border();
    run.seconds_of(storm_s, |run, second| {
        if second == 0 {
            run.fleet.dropped.count("storm");
            run.fleet.open -= 1;
        }
        if second + 1 == storm_s {
            run.fleet.attempts += 2;
            run.fleet.not_registered.count("refused:overloaded");
            run.fleet.registered += 1;
            run.fleet.open += 1;
        }
    });
    let back = run.border();
    run.seconds_of(FINISH_S, |run, second| {
        if second == 0 {
            run.fleet.left = std::mem::take(&mut run.fleet.open);
        }
    });
    let end = run.border();
    Material {
        scenario: Some("example".into()),
        thresholds: ["lost == 0", "noon: p99_ms < 50"]
            .map(|text| text.parse().unwrap())
            .into(),
        started_unix_s: 1_795_000_000,
        command: vec![
            "loadgen".into(),
            "run".into(),
            "--scenario".into(),
            "example".into(),
        ],
        handsets: HANDSETS,
        register_latency: run.latencies(1),
        rogues: Some(run.rogues()),
        phases: vec![
            phase("ramp", "ramp", &start, &ramped, None),
            phase("noon", "hold", &ramped, &held, None),
            phase("storm", "storm", &held, &back, Some(storm_s as f64)),
            phase("finish", "finish", &back, &end, None),
        ],
        open_max: HANDSETS,
        fleet: run.fleet,
        calls: Some(run.calls),
        seconds: run.rows.into_rows(),
        faults: Vec::new(),
    }
}

fn phase(
    name: &str,
    kind: &'static str,
    from: &Border,
    to: &Border,
    back_s: Option<f64>,
) -> PhaseMaterial {
    PhaseMaterial {
        name: name.to_owned(),
        kind,
        from: from.clone(),
        to: to.clone(),
        back_s,
    }
}

#[derive(Default)]
struct Example {
    kind: &'static str,
    at_s: u64,
    fleet: FleetBooks,
    calls: CallerBooks,
    rows: Seconds,
}

impl Example {
    fn seconds_of(&mut self, seconds: u64, happens: impl Fn(&mut Self, u64)) {
        for second in 0..seconds {
            self.at_s += 1;
            happens(self, second);
            let mut recent = histogram();
            if self.calls.due > 0 {
                (0..50_u64).for_each(|spread| {
                    recent
                        .record(900 + spread.pow(2) * (1 + second % 5))
                        .unwrap();
                });
            }
            self.rows.add(Look {
                at_s: self.at_s as f64,
                fleet: &self.fleet,
                calls: Some(&self.calls),
                recent: Some(&recent),
                gateway: self.process(40),
                loadgen: self.process(90),
            });
        }
    }

    fn requests(&mut self, due: u64, second: u64) {
        self.calls.due += due;
        self.calls.sent += due;
        for place in 1..due {
            self.calls.answered.count("200");
            let micros = 900 + place * (1 + second % 5) * 7;
            self.calls.latency.record(micros).unwrap();
            self.calls.service.record(micros - 50).unwrap();
        }
        self.calls.failed.count(self.kind);
        self.calls.latency_failed.record(30_000_000).unwrap();
    }

    fn latencies(&self, factor: u64) -> hdrhistogram::Histogram<u64> {
        let mut latencies = histogram();
        (0..self.fleet.registered).for_each(|place| {
            latencies.record(300 + place % 997 * factor).unwrap();
        });
        latencies
    }

    fn rogues(&self) -> RogueBooks {
        let mut books = RogueBooks::default();
        let frozen = books.kinds.entry(RogueKind::Frozen).or_default();
        (frozen.begun, frozen.met) = (3, 2);
        frozen.otherwise.count(self.kind);
        books
    }

    fn process(&self, share: u64) -> Option<ProcessSample> {
        Some(ProcessSample {
            cpu_s: (self.at_s * share) as f64 / 100.0,
            rss_bytes: (20 << 20) + self.fleet.open * 300,
        })
    }

    fn border(&self) -> Border {
        Border {
            at_s: self.at_s as f64,
            fleet: self.fleet.clone(),
            calls: Some(self.calls.clone()),
            gateway: self.process(40),
            loadgen: self.process(90),
        }
    }
}
