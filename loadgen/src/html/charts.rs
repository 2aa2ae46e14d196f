//! Which charts a report has: a chart of what did not happen is left out.

use maud::{Markup, html};

use super::chart::{Axis, Band, Chart, Line, Scale};
use super::course::{Course, Range};
use super::unit::{Unit, span, time_ticks};
use crate::report::shown::shown;
use crate::report::{PhaseReport, Report, Second, Step};

/// Steps for each halving of what is left, as the reports have them.
const STEPS_PER_HALVING: f64 = 4.0;
/// The shares that are labelled.
const SHARES: [(f64, &str); 7] = [
    (0.0, "0 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
    (0.99999, "99.999 %"),
    (0.999_999, "99.9999 %"),
];

/// All charts of a report.
pub(super) fn section(report: &Report) -> Markup {
    let course = Course::new(&report.seconds);
    let time = time_axis(report, &course);
    let bands = bands(report);
    let over_time = |id, title, says: &str, unit, scale, lines| Chart {
        id,
        title,
        says: format!("{says}, over {}.", span(length_s(report))),
        unit,
        scale,
        axis: &time,
        lines,
        bands: &bands,
    };
    let spread = spread_axis(report);
    html! {
        @if !report.seconds.is_empty() {
            h2 { "Course of the run" }
            div.charts {
                (over_time("sessions", "Sessions", "Registered sessions at each second's end",
                    Unit::Count("sessions"), Scale::Linear, sessions(&course)).draw())
                (over_time("signaling", "Registrations and keep-alives", "Registrations and answered KEEPALIVEs of each second",
                    Unit::Count("/s"), Scale::Linear, signaling(&course)).draw())
                @if course.any(|row| row.good + row.bad > 0) {
                    (over_time("requests", "Requests", "Good answers and requests gone wrong of each second",
                        Unit::Count("/s"), Scale::Linear, requests(&course)).draw())
                    (over_time("latency", "Latency of good answers", "Percentiles of each second, from when a request was due, on a logarithmic scale",
                        Unit::Micros, Scale::Log, latencies(&course)).draw())
                }
                @if course.any(|row| row.in_flight > 0) {
                    (over_time("in-flight", "Requests in flight", "Requests without an outcome at each second's end",
                        Unit::Count("requests"), Scale::Linear, vec![count(&course, "in flight", "c2", |row| row.in_flight)]).draw())
                }
                @if course.any(|row| row.lost + row.refused + row.bad > 0) {
                    (over_time("errors", "What went wrong", "Sessions lost, registrations refused, and requests gone wrong of each second",
                        Unit::Count("/s"), Scale::Linear, errors(&course)).draw())
                }
                @if course.any(|row| row.gateway_cores.is_some() || row.loadgen_cores.is_some()) {
                    (over_time("cpu", "CPU", "CPU time of each second, 1 is one core",
                        Unit::Cores, Scale::Linear, processes(&course, |row| row.gateway_cores, |row| row.loadgen_cores)).draw())
                }
                @if course.any(|row| row.gateway_rss_bytes.is_some() || row.loadgen_rss_bytes.is_some()) {
                    (over_time("memory", "Resident memory", "Resident memory at each second's end", Unit::Bytes, Scale::Linear,
                        processes(&course, |row| Some(row.gateway_rss_bytes? as f64), |row| Some(row.loadgen_rss_bytes? as f64))).draw())
                }
            }
        }
        @if let Some(axis) = spread {
            h2 { "Distribution of latency" }
            div.charts { (spreads(report, &axis)) }
        }
    }
}

fn length_s(report: &Report) -> f64 {
    let rows = report.seconds.last().map_or(0.0, |row| row.at as f64);
    let phases = report.phases.last().map_or(0.0, PhaseReport::to_s);
    rows.max(phases).max(1.0)
}

fn time_axis(report: &Report, course: &Course<'_>) -> Axis {
    let length_s = length_s(report);
    let ticks = time_ticks(length_s).into_iter();
    Axis {
        name: "time since the run began",
        columns: course
            .moments()
            .into_iter()
            .map(|at| (at / length_s, span(at)))
            .collect(),
        ticks: ticks.map(|(at, label)| (at / length_s, label)).collect(),
    }
}

fn bands(report: &Report) -> Vec<Band> {
    let length_s = length_s(report);
    let phases = report.phases.iter();
    phases
        .map(|phase| Band {
            name: shown(&phase.name),
            from: (phase.from_s / length_s).clamp(0.0, 1.0),
            to: (phase.to_s() / length_s).clamp(0.0, 1.0),
        })
        .collect()
}

fn sessions(course: &Course<'_>) -> Vec<Line> {
    vec![Line {
        is_filled: true,
        ..count(course, "open", "c1", |row| row.open)
    }]
}

fn signaling(course: &Course<'_>) -> Vec<Line> {
    vec![
        count(course, "registrations", "c1", |row| row.registered),
        count(course, "keep-alives", "c3", |row| row.keep_alives),
    ]
}

fn requests(course: &Course<'_>) -> Vec<Line> {
    let mut lines = vec![count(course, "good", "c3", |row| row.good)];
    if course.any(|row| row.bad > 0) {
        lines.push(count(course, "gone wrong", "c4", |row| row.bad));
    }
    lines
}

fn latencies(course: &Course<'_>) -> Vec<Line> {
    type Percentile = (&'static str, &'static str, fn(&Second) -> u64);
    let percentiles: [Percentile; 3] = [
        ("p50", "c3", |row| row.p50_us),
        ("p99", "c1", |row| row.p99_us),
        ("p99.9", "c5", |row| row.p99_9_us),
    ];
    // Where nothing was answered nothing was measured: that is a gap, not a latency of 0.
    let measured = |row: &Second, value: fn(&Second) -> u64| {
        Some(value(row))
            .filter(|micros| *micros > 0)
            .map(|micros| micros as f64)
    };
    percentiles
        .into_iter()
        .map(|(name, colour, value)| line(name, colour, course.of(|row| measured(row, value))))
        .collect()
}

fn errors(course: &Course<'_>) -> Vec<Line> {
    type Kind = (&'static str, &'static str, fn(&Second) -> u64);
    let kinds: [Kind; 5] = [
        ("sessions lost", "c4", |row| row.lost),
        ("registrations refused", "c2", |row| row.refused),
        ("requests not sent", "c5", |row| row.not_sent),
        ("requests failed", "c1", |row| row.failed),
        ("answered otherwise than 2xx", "c3", |row| {
            row.answered_otherwise
        }),
    ];
    kinds
        .into_iter()
        .filter(|(_, _, value)| course.any(|row| value(row) > 0))
        .map(|(name, colour, value)| count(course, name, colour, value))
        .collect()
}

fn processes(
    course: &Course<'_>,
    gateway: fn(&Second) -> Option<f64>,
    loadgen: fn(&Second) -> Option<f64>,
) -> Vec<Line> {
    [("gateway", "c1", gateway), ("loadgen", "c2", loadgen)]
        .into_iter()
        .filter(|(_, _, value)| course.any(|row| value(row).is_some()))
        .map(|(name, colour, value)| line(name, colour, course.of(value)))
        .collect()
}

fn count(
    course: &Course<'_>,
    name: &'static str,
    colour: &'static str,
    value: impl Fn(&Second) -> u64,
) -> Line {
    line(name, colour, course.of(|row| Some(value(row) as f64)))
}

fn line(name: &'static str, colour: &'static str, values: Vec<Range>) -> Line {
    Line {
        name,
        colour,
        values,
        is_filled: false,
    }
}

/// From the fastest to the slowest, ever finer towards the slowest: as far as the largest distribution tells them apart.
fn spread_axis(report: &Report) -> Option<Axis> {
    let requests = report.requests.as_ref();
    let counts = [
        requests.map_or(0, |requests| requests.latency_us.count),
        report.registrations.latency_us.count,
    ];
    let most = counts.into_iter().max().filter(|most| *most > 0)?;
    let halvings = (most as f64).log2().clamp(4.0, 20.0);
    let steps = (halvings * STEPS_PER_HALVING).floor() as u32;
    let place = |share: f64| -(1.0 - share).log2() / halvings;
    Some(Axis {
        name: "share of all that took at most this",
        columns: (0..=steps)
            .map(share_at)
            .map(|share| (place(share), share_label(share)))
            .collect(),
        ticks: SHARES
            .into_iter()
            .map(|(share, label)| (place(share), label.to_owned()))
            .filter(|(at, _)| *at <= 1.0)
            .collect(),
    })
}

/// The share at a column of that axis.
fn share_at(step: u32) -> f64 {
    1.0 - 0.5_f64.powf(f64::from(step) / STEPS_PER_HALVING)
}

fn share_label(share: f64) -> String {
    // Two digits that are not a nine.
    let digits = (-(1.0 - share).log10()).floor().clamp(0.0, 8.0) as usize;
    format!("{:.digits$} %", share * 100.0)
}

fn spreads(report: &Report, axis: &Axis) -> Markup {
    let draw = |id, title, says: &str, lines| {
        Chart {
            id,
            title,
            says: says.to_owned(),
            unit: Unit::Micros,
            scale: Scale::Log,
            axis,
            lines,
            bands: &[],
        }
        .draw()
    };
    let requests = report
        .requests
        .as_ref()
        .filter(|requests| requests.latency_us.count > 0);
    html! {
        @if let Some(requests) = requests {
            (draw("request-spread", "Good answers", "Latency of good answers by percentile, on a logarithmic scale",
                vec![
                    line("from when it was due", "c1", resampled(&requests.latency_course, requests.latency_us.count, axis)),
                    line("from when it was sent", "c2", resampled(&requests.service_course, requests.service_us.count, axis)),
                ]))
        }
        @if report.registrations.latency_us.count > 0 {
            (draw("register-spread", "Registrations", "Latency of registrations by percentile, on a logarithmic scale",
                vec![line("from when it was due", "c1",
                    resampled(&report.registrations.latency_course, report.registrations.latency_us.count, axis))]))
        }
    }
}

/// The value at each column of the axis; none where a column is finer than so many values can tell.
fn resampled(course: &[Step], count: u64, axis: &Axis) -> Vec<Range> {
    let slowest = course.last();
    (0_u32..)
        .map(share_at)
        .take(axis.columns.len())
        .map(|share| {
            let is_told = (1.0 - share) * count as f64 >= 0.5;
            let step = course.iter().find(|step| step.share >= share).or(slowest);
            let us = step.filter(|_| is_told)?.us as f64;
            Some((us, us))
        })
        .collect()
}
