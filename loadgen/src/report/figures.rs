//! The figures of a report that have a name of their own: thresholds are set on them, and two runs compared by them.
//!
//! `docs/loadgen-report.md` describes each, and a test holds the two against each other.

use super::phase::{PhaseReport, PhaseRequests};
use super::{Percentiles, ProcessReport, Report, Requests, Second, ratio};

/// One figure.
#[derive(Debug)]
pub struct Figure {
    /// As in `p99_ms < 50`; ends in its unit.
    pub name: &'static str,
    /// Which way is better.
    pub better: Better,
    /// Of the whole run; `None`: not measured.
    pub of_run: fn(&Report) -> Option<f64>,
    /// Of one phase; absent if it is known of the whole run only.
    pub of_phase: Option<fn(&Report, &PhaseReport) -> Option<f64>>,
}

/// Which way a figure should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// A rate.
    More,
    /// A time, a cost or a count of losses.
    Less,
}

impl Figure {
    /// The figure of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        FIGURES.iter().find(|figure| figure.name == name)
    }

    const fn new(name: &'static str, better: Better, of_run: fn(&Report) -> Option<f64>) -> Self {
        Self {
            name,
            better,
            of_run,
            of_phase: None,
        }
    }

    const fn and(self, of_phase: fn(&Report, &PhaseReport) -> Option<f64>) -> Self {
        Self {
            of_phase: Some(of_phase),
            ..self
        }
    }
}

use Better::{Less, More};

/// All of them, in the order in which a tester asks.
pub static FIGURES: &[Figure] = &[
    Figure::new("registrations_per_s", More, |run| {
        positive(run.registrations.per_second)
    })
    .and(|_, phase| positive(phase.registrations_per_s)),
    Figure::new("registrations_per_s_slowest_10s", More, |run| {
        least(run, |phase| {
            (phase.kind == "ramp")
                .then_some(phase.registrations_per_s_slowest_10s)
                .flatten()
        })
    })
    .and(|_, phase| phase.registrations_per_s_slowest_10s),
    Figure::new("register_p50_ms", Less, |run| {
        ms(&run.registrations.latency_us, |spread| spread.p50)
    }),
    Figure::new("register_p99_ms", Less, |run| {
        ms(&run.registrations.latency_us, |spread| spread.p99)
    }),
    Figure::new("register_max_ms", Less, |run| {
        ms(&run.registrations.latency_us, |spread| spread.max)
    }),
    Figure::new("not_registered", Less, |run| {
        Some(run.registrations.not_registered.values().sum::<u64>() as f64)
    })
    .and(|_, phase| Some(phase.not_registered as f64)),
    Figure::new("refused", Less, |run| {
        Some(run.phases.iter().map(|phase| phase.refused).sum::<u64>() as f64)
    })
    .and(|_, phase| Some(phase.refused as f64)),
    Figure::new("lost", Less, |run| {
        Some(run.sessions.lost.values().sum::<u64>() as f64)
    })
    .and(|_, phase| Some(phase.lost as f64)),
    Figure::new("open_share", More, |run| {
        share(run.sessions.open_before_finish, run.registrations.handsets)
    })
    .and(|run, phase| share(phase.open_at_end, run.registrations.handsets)),
    Figure::new("back_s", Less, |run| {
        most(run.phases.iter().filter(|phase| phase.kind == "storm"))
    })
    .and(|_, phase| phase.back_s),
    Figure::new("requests_per_s", More, |run| {
        asked(run).map(|requests| requests.per_second)
    })
    .and(|_, phase| Some(phase.requests.as_ref()?.per_second)),
    Figure::new("bad", Less, |run| {
        asked(run).map(|requests| requests.bad() as f64)
    })
    .and(|_, phase| Some(phase.requests.as_ref()?.bad as f64)),
    Figure::new("bad_share", Less, |run| {
        asked(run).and_then(|requests| share(requests.bad(), requests.due))
    })
    .and(|_, phase| {
        let requests = phase.requests.as_ref()?;
        share(requests.bad, requests.due)
    }),
    Figure::new("failed", Less, |run| {
        asked(run).map(|requests| requests.failed.values().sum::<u64>() as f64)
    })
    .and(|_, phase| Some(phase.requests.as_ref()?.failed as f64)),
    Figure::new("failed_share", Less, |run| {
        asked(run).and_then(|requests| share(requests.failed.values().sum(), requests.sent))
    })
    .and(|_, phase| {
        let requests = phase.requests.as_ref()?;
        share(requests.failed, requests.sent)
    }),
    Figure::new("p50_ms", Less, |run| latency(run, |spread| spread.p50))
        .and(|_, phase| phase_latency(phase, |spread| spread.p50)),
    Figure::new("p90_ms", Less, |run| latency(run, |spread| spread.p90))
        .and(|_, phase| phase_latency(phase, |spread| spread.p90)),
    Figure::new("p99_ms", Less, |run| latency(run, |spread| spread.p99))
        .and(|_, phase| phase_latency(phase, |spread| spread.p99)),
    Figure::new("p99_9_ms", Less, |run| latency(run, |spread| spread.p99_9))
        .and(|_, phase| phase_latency(phase, |spread| spread.p99_9)),
    Figure::new("max_ms", Less, |run| latency(run, |spread| spread.max))
        .and(|_, phase| phase_latency(phase, |spread| spread.max)),
    Figure::new("service_p50_ms", Less, |run| {
        ms(&asked(run)?.service_us, |spread| spread.p50)
    })
    .and(|_, phase| service(phase, |spread| spread.p50)),
    Figure::new("service_p99_ms", Less, |run| {
        ms(&asked(run)?.service_us, |spread| spread.p99)
    })
    .and(|_, phase| service(phase, |spread| spread.p99)),
    Figure::new("gateway_cpu_us_per_registration", Less, |run| {
        run.gateway.as_ref()?.cpu_us_per_registration
    })
    .and(|_, phase| cpu_us_per_registration(phase, phase.gateway_cpu_s)),
    Figure::new("gateway_cores_in_hold", Less, |run| {
        run.gateway.as_ref()?.cores_in_hold
    }),
    Figure::new("gateway_cores", Less, |run| {
        cores(run, run.gateway.as_ref())
    })
    .and(|_, phase| phase.gateway_cores),
    Figure::new("gateway_rss_mb", Less, |run| {
        Some(run.gateway.as_ref()?.rss_bytes_max? as f64 / 1e6)
    })
    .and(|run, phase| {
        rss_mb(run, phase, phase.gateway_rss_bytes, |row| {
            row.gateway_rss_bytes
        })
    }),
    Figure::new("gateway_rss_bytes_per_session", Less, |run| {
        run.gateway.as_ref()?.rss_bytes_per_session
    }),
    Figure::new("loadgen_cpu_us_per_registration", Less, |run| {
        run.loadgen.cpu_us_per_registration
    })
    .and(|_, phase| cpu_us_per_registration(phase, phase.loadgen_cpu_s)),
    Figure::new("loadgen_cores_in_hold", Less, |run| {
        run.loadgen.cores_in_hold
    }),
    Figure::new("loadgen_cores", Less, |run| cores(run, Some(&run.loadgen)))
        .and(|_, phase| phase.loadgen_cores),
    Figure::new("loadgen_rss_mb", Less, |run| {
        Some(run.loadgen.rss_bytes_max? as f64 / 1e6)
    })
    .and(|run, phase| {
        rss_mb(run, phase, phase.loadgen_rss_bytes, |row| {
            row.loadgen_rss_bytes
        })
    }),
    Figure::new("loadgen_rss_bytes_per_session", Less, |run| {
        run.loadgen.rss_bytes_per_session
    }),
    Figure::new("loadgen_cpu_by_gateway_cpu", Less, |run| {
        ratio(run.loadgen.cpu_s?, run.gateway.as_ref()?.cpu_s?)
    })
    .and(|_, phase| ratio(phase.loadgen_cpu_s?, phase.gateway_cpu_s?)),
    Figure::new("rogues_met_otherwise", Less, |run| {
        Some(run.rogues.as_ref()?.met_otherwise as f64)
    }),
    Figure::new("rogue_requests_otherwise", Less, |run| {
        Some(run.rogues.as_ref()?.requests_otherwise as f64)
    }),
];

/// The requests, if any were due: a run without them has no share and no rate of them.
fn asked(run: &Report) -> Option<&Requests> {
    run.requests.as_ref().filter(|requests| requests.due > 0)
}

fn latency(run: &Report, of: fn(&Percentiles) -> u64) -> Option<f64> {
    ms(&asked(run)?.latency_us, of)
}

fn phase_latency(phase: &PhaseReport, of: fn(&Percentiles) -> u64) -> Option<f64> {
    let requests: &PhaseRequests = phase.requests.as_ref()?;
    ms(&requests.latency_us, of)
}

fn service(phase: &PhaseReport, of: fn(&Percentiles) -> u64) -> Option<f64> {
    ms(&phase.requests.as_ref()?.service_us, of)
}

fn ms(spread: &Percentiles, of: fn(&Percentiles) -> u64) -> Option<f64> {
    (spread.count > 0).then(|| of(spread) as f64 / 1e3)
}

fn share(of: u64, whole: u64) -> Option<f64> {
    ratio(of as f64, whole as f64)
}

/// A rate of which nothing came is none.
fn positive(rate: f64) -> Option<f64> {
    (rate > 0.0).then_some(rate)
}

fn least(run: &Report, of: fn(&PhaseReport) -> Option<f64>) -> Option<f64> {
    run.phases.iter().filter_map(of).min_by(f64::total_cmp)
}

/// The longest return of all storms; not known if not all handsets came back in one.
fn most<'a>(storms: impl Iterator<Item = &'a PhaseReport>) -> Option<f64> {
    let back: Option<Vec<_>> = storms.map(|storm| storm.back_s).collect();
    back?.into_iter().max_by(f64::total_cmp)
}

fn cores(run: &Report, process: Option<&ProcessReport>) -> Option<f64> {
    ratio(process?.cpu_s?, run.phases.last()?.to_s())
}

fn cpu_us_per_registration(phase: &PhaseReport, cpu_s: Option<f64>) -> Option<f64> {
    ratio(cpu_s? * 1e6, phase.registered as f64)
}

/// The most memory in a phase.
fn rss_mb(
    run: &Report,
    phase: &PhaseReport,
    at_end: Option<u64>,
    of: fn(&Second) -> Option<u64>,
) -> Option<f64> {
    let within = |row: &&Second| (phase.from_s..phase.to_s()).contains(&(row.at as f64));
    let rows = run.seconds.iter().filter(within).filter_map(of);
    rows.chain(at_end).max().map(|bytes| bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::{HANDSETS, material};

    fn of_run(run: &Report, name: &str) -> Option<f64> {
        (Figure::named(name).unwrap().of_run)(run)
    }

    fn of_phase(run: &Report, phase: &str, name: &str) -> Option<f64> {
        let phase = run.phases.iter().find(|known| known.name == phase);
        Figure::named(name).unwrap().of_phase.unwrap()(run, phase.unwrap())
    }

    #[test]
    fn figures_are_those_of_the_run() {
        let run = Report::new(material(20, "eof"));
        let all = HANDSETS as f64;
        for (name, value) in [
            ("registrations_per_s", 1000.0),
            ("registrations_per_s_slowest_10s", 1000.0),
            ("lost", 2.0),
            ("refused", 1.0),
            ("not_registered", 1.0),
            ("open_share", (all - 2.0) / all),
            ("back_s", 10.0),
            ("requests_per_s", 199.0),
            ("bad", 20.0),
            ("bad_share", 0.005),
            ("failed_share", 0.005),
            ("gateway_cores", 0.4),
            ("gateway_cores_in_hold", 0.4),
            ("gateway_cpu_us_per_registration", 400.0),
            ("gateway_rss_bytes_per_session", 300.0),
            ("gateway_rss_mb", 26.97152),
            ("loadgen_cpu_by_gateway_cpu", 2.25),
            ("rogues_met_otherwise", 1.0),
            ("rogue_requests_otherwise", 0.0),
        ] {
            let measured = of_run(&run, name).unwrap();
            assert!(
                (measured - value).abs() < 1e-6 * value.max(1.0),
                "{name}: {measured}"
            );
        }
        assert_eq!(of_run(&run, "p99_ms"), Some(7.551));
    }

    #[test]
    fn figures_of_a_phase_are_of_it_alone() {
        let run = Report::new(material(20, "eof"));
        assert_eq!(of_phase(&run, "ramp", "lost"), Some(0.0));
        assert_eq!(of_phase(&run, "noon", "lost"), Some(2.0));
        assert_eq!(of_phase(&run, "noon", "requests_per_s"), Some(199.0));
        assert_eq!(
            of_phase(&run, "ramp", "p99_ms"),
            None,
            "nothing was requested"
        );
        assert_eq!(of_phase(&run, "storm", "back_s"), Some(10.0));
        let most = of_phase(&run, "ramp", "gateway_rss_mb").unwrap();
        assert!((most - 26.97152).abs() < 1e-9, "{most}");
    }

    #[test]
    fn what_was_not_measured_has_no_figure() {
        let mut nothing = material(10, "eof");
        (nothing.calls, nothing.rogues) = (None, None);
        nothing.phases.clear();
        nothing.seconds.clear();
        let run = Report::new(nothing);
        for name in [
            "bad",
            "failed",
            "p50_ms",
            "back_s",
            "gateway_rss_mb",
            "rogues_met_otherwise",
            "registrations_per_s",
        ] {
            assert_eq!(of_run(&run, name), None, "{name}");
        }
    }
}
