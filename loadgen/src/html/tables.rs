//! The figures of a report as tables.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::unit::{Unit, span};
use crate::report::shown::{figure, grouped, shown, shown_words};
use crate::report::{Misdeeds, Percentiles, PhaseReport, Report, Rogues};
use crate::thresholds::Verdict;

/// All tables but the thresholds, each under its title.
pub(super) fn sections(report: &Report) -> Markup {
    html! {
        (errors(report))
        h2 { "Phases" }
        (phases(&report.phases))
        @if report.phases.iter().any(|phase| phase.requests.is_some()) { (phase_requests(&report.phases)) }
        (costs(report))
        h2 { "Latency" }
        (latencies(report))
        h2 { "Books" }
        (books(report))
        @if let Some(rogues) = &report.rogues {
            h2 { "Handsets that misbehave" }
            (misdeeds(rogues))
        }
        h2 { "What ran where" }
        (machine(report))
    }
}

/// What the run was to reach.
pub(super) fn thresholds(verdicts: &[Verdict]) -> Markup {
    html! {
        h2 { "Thresholds" }
        div.panel { table {
            thead { tr { th scope="col" { "Threshold" } th scope="col" { "Measured" } th scope="col" { "Verdict" } } }
            tbody { @for verdict in verdicts { tr {
                th scope="row" { (shown(&verdict.threshold)) }
                td { @if let Some(value) = verdict.value { (figure(value)) } @else { "not measured" } }
                @if verdict.met { td.met { "✓ met" } } @else { td.missed { "✗ missed" } }
            } } }
        } }
    }
}

/// Everything that went wrong by kind, the most frequent first.
fn errors(report: &Report) -> Markup {
    let not_good = |answered: &BTreeMap<String, u64>| {
        let otherwise = answered
            .iter()
            .filter(|(status, _)| !status.starts_with('2'));
        otherwise
            .map(|(status, times)| (status.clone(), *times))
            .collect()
    };
    let mut tallies = vec![
        ("sessions lost", report.sessions.lost.clone()),
        (
            "not registered",
            report.registrations.not_registered.clone(),
        ),
        (
            "data channels not opened",
            report.channels.not_opened.clone(),
        ),
        ("data channels failed", report.channels.failed.clone()),
    ];
    if let Some(requests) = &report.requests {
        tallies.push(("requests not sent", requests.not_sent.clone()));
        tallies.push(("requests failed", requests.failed.clone()));
        tallies.push(("answered otherwise", not_good(&requests.answered)));
        tallies.push(("problems told", requests.problems.clone()));
    }
    let mut rows: Vec<_> = tallies
        .into_iter()
        .flat_map(|(place, tally)| {
            tally
                .into_iter()
                .map(move |(kind, times)| (place, kind, times))
        })
        .collect();
    rows.sort_by_key(|(_, _, times)| std::cmp::Reverse(*times));
    let most = rows.first().map_or(1, |(_, _, times)| *times).max(1);
    html! {
        @if !rows.is_empty() {
            h2 { "What went wrong, by kind" }
            div.panel { table {
                thead { tr { th scope="col" { "Where" } th.text scope="col" { "Kind" } th scope="col" { "Times" } th.bar {} } }
                tbody { @for (place, kind, times) in &rows { tr {
                    th scope="row" { (place) }
                    td.text { code { (shown(kind)) } }
                    td { (grouped(*times)) }
                    td.bar { svg width="100%" height="10" aria-hidden="true" {
                        rect width=(format!("{:.2}%", *times as f64 / most as f64 * 100.0)) height="10" rx="2" {}
                    } }
                } } }
            } }
        }
    }
}

fn phases(phases: &[PhaseReport]) -> Markup {
    html! {
        div.panel { table {
            caption { "Handsets" }
            thead { tr {
                @for name in ["Phase", "Kind", "Length", "Registered", "Per second", "Slowest 10 s", "Refused", "Lost", "Open at its end", "Keep-alives", "Back after"] {
                    th scope="col" { (name) }
                }
            } }
            tbody { @for phase in phases { tr {
                th scope="row" { (shown(&phase.name)) }
                td { (phase.kind) }
                td { (span(phase.seconds)) }
                td { (grouped(phase.registered)) }
                td { (figure(phase.registrations_per_s.round())) }
                td { (or_dash(phase.registrations_per_s_slowest_10s, |rate| figure(rate.round()))) }
                td { (grouped(phase.refused)) }
                td { (grouped(phase.lost)) }
                td { (grouped(phase.open_at_end)) }
                td { (grouped(phase.keep_alives)) }
                td { (or_dash(phase.back_s, span)) }
            } } }
        } }
    }
}

fn phase_requests(phases: &[PhaseReport]) -> Markup {
    let asked = phases
        .iter()
        .filter_map(|phase| Some((phase, phase.requests.as_ref()?)));
    html! {
        div.panel { table {
            caption { "Requests; latency from when they were due" }
            thead { tr {
                @for name in ["Phase", "Due", "Sent", "Good", "Gone wrong", "Good per second", "p50", "p90", "p99", "p99.9", "max"] {
                    th scope="col" { (name) }
                }
            } }
            tbody { @for (phase, requests) in asked { tr {
                th scope="row" { (shown(&phase.name)) }
                td { (grouped(requests.due)) }
                td { (grouped(requests.sent)) }
                td { (grouped(requests.good)) }
                td { (grouped(requests.bad)) }
                td { (figure(requests.per_second.round())) }
                (spread(&requests.latency_us))
            } } }
        } }
    }
}

fn costs(report: &Report) -> Markup {
    let bytes = |bytes: Option<u64>| or_dash(bytes, |bytes| Unit::Bytes.show(bytes as f64));
    let seconds = |cpu_s: Option<f64>| or_dash(cpu_s, |cpu_s| format!("{cpu_s:.2} s"));
    let share = |cores: Option<f64>| or_dash(cores, |cores| format!("{:.1} %", cores * 100.0));
    html! {
        div.panel { table {
            caption { "Cost; CPU in seconds and in shares of a core, memory at the phase's end" }
            thead { tr {
                @for name in ["Phase", "Gateway CPU", "of a core", "Gateway memory", "Loadgen CPU", "of a core", "Loadgen memory"] {
                    th scope="col" { (name) }
                }
            } }
            tbody { @for phase in &report.phases { tr {
                th scope="row" { (shown(&phase.name)) }
                td { (seconds(phase.gateway_cpu_s)) }
                td { (share(phase.gateway_cores)) }
                td { (bytes(phase.gateway_rss_bytes)) }
                td { (seconds(phase.loadgen_cpu_s)) }
                td { (share(phase.loadgen_cores)) }
                td { (bytes(phase.loadgen_rss_bytes)) }
            } } }
        } }
    }
}

fn latencies(report: &Report) -> Markup {
    let mut rows = vec![(
        "Registration, from when it was due",
        &report.registrations.latency_us,
    )];
    if let Some(requests) = &report.requests {
        rows.push((
            "Good answers, from when the request was due",
            &requests.latency_us,
        ));
        rows.push(("Good answers, from when it was sent", &requests.service_us));
        rows.push((
            "Other outcomes, from when the request was due",
            &requests.latency_failed_us,
        ));
    }
    html! {
        div.panel { table {
            thead { tr {
                @for name in ["", "Measured", "p50", "p90", "p99", "p99.9", "max"] { th scope="col" { (name) } }
            } }
            tbody { @for (name, percentiles) in rows { tr {
                th scope="row" { (name) }
                td { (grouped(percentiles.count)) }
                (spread(percentiles))
            } } }
        } }
    }
}

fn spread(percentiles: &Percentiles) -> Markup {
    let Percentiles {
        count,
        p50,
        p90,
        p99,
        p99_9,
        max,
        ..
    } = *percentiles;
    html! {
        @for micros in [p50, p90, p99, p99_9, max] {
            td { @if count > 0 { (Unit::Micros.show(micros as f64)) } @else { "–" } }
        }
    }
}

/// The sums that come out in every run: all that was begun, and what became of it.
fn books(report: &Report) -> Markup {
    let total = |tally: &BTreeMap<String, u64>| tally.values().sum::<u64>();
    let (registrations, sessions, channels) =
        (&report.registrations, &report.sessions, &report.channels);
    let mut rows = vec![
        (
            "Attempts to register",
            registrations.attempts,
            vec![
                ("registered", registrations.registered),
                ("not registered", total(&registrations.not_registered)),
                ("given up at the end", registrations.abandoned),
                ("connecting", registrations.connecting),
            ],
        ),
        (
            "Sessions",
            registrations.registered,
            vec![
                ("left at the end", sessions.left),
                ("dropped by the scenario", total(&sessions.dropped)),
                ("moved", sessions.moved),
                ("lost", total(&sessions.lost)),
                ("open", sessions.open),
            ],
        ),
        (
            "Wakes",
            channels.wakes,
            vec![
                ("data channels opened", channels.opened),
                ("not opened", total(&channels.not_opened)),
                ("queued", channels.queued),
            ],
        ),
        (
            "Data channels",
            channels.opened,
            vec![
                ("ended in order", channels.ended),
                ("failed", total(&channels.failed)),
                ("open", channels.open),
            ],
        ),
    ];
    if let Some(requests) = &report.requests {
        rows.push((
            "Requests due",
            requests.due,
            vec![
                ("sent", requests.sent),
                ("not sent", total(&requests.not_sent)),
            ],
        ));
        rows.push((
            "Requests sent",
            requests.sent,
            vec![
                ("answered", total(&requests.answered)),
                ("failed", total(&requests.failed)),
                ("in flight", requests.in_flight),
            ],
        ));
    }
    html! {
        div.panel { table {
            caption { "Everything that was begun has exactly one outcome" }
            tbody { @for (whole, count, parts) in rows { tr {
                th scope="row" { (whole) }
                td { (grouped(count)) }
                td.text {
                    "= " @for (number, (name, count)) in parts.iter().enumerate() {
                        @if number > 0 { " + " } (grouped(*count)) " " (name)
                    }
                }
            } } }
        } }
    }
}

fn misdeeds(rogues: &Rogues) -> Markup {
    let list = |tally: &BTreeMap<String, u64>| {
        let kinds = tally
            .iter()
            .map(|(kind, times)| format!("{} {}", shown(kind), grouped(*times)));
        kinds.collect::<Vec<_>>().join(", ")
    };
    html! {
        div.panel { table {
            caption {
                (grouped(rogues.rogues.into())) " of them; " (grouped(rogues.requests_sent)) " requests to them, "
                (grouped(rogues.requests_otherwise)) " of which ended otherwise than they must"
            }
            thead { tr {
                @for name in ["Kind", "Begun", "Met as it must be", "Met otherwise", "Hindered", "Broken off", "Longest"] {
                    th scope="col" { (name) }
                }
            } }
            tbody { @for Misdeeds { kind, begun, met, otherwise, hindered, cut, met_us_max, .. } in &rogues.kinds { tr {
                th scope="row" { (shown(kind)) }
                td { (grouped(*begun)) }
                td { (grouped(*met)) }
                td class=[(!otherwise.is_empty()).then_some("missed")] { (list(otherwise)) }
                td { (list(hindered)) }
                td { (grouped(*cut)) }
                td { (Unit::Micros.show(*met_us_max as f64)) }
            } } }
        } }
    }
}

fn machine(report: &Report) -> Markup {
    let (machine, build) = (&report.machine, &report.build);
    let mut rows = vec![
        (
            "Processor",
            format!("{}, {} cores", machine.cpu, machine.cores),
        ),
        ("Memory", Unit::Bytes.show(machine.memory_bytes as f64)),
        ("Kernel", format!("Linux {}", machine.kernel)),
        ("Descriptors allowed", grouped(machine.descriptors_max)),
        ("loadgen", format!("{} ({})", build.version, build.profile)),
        ("Compiled for", build.target.clone()),
    ];
    rows.extend(build.commit.iter().map(|commit| ("Commit", commit.clone())));
    html! {
        div.panel { table { tbody {
            @for (name, value) in rows { tr { th scope="row" { (name) } td.text { (shown(&value)) } } }
            tr { th scope="row" { "Command" } td.text { code { (shown_words(&report.command)) } } }
        } } }
    }
}

fn or_dash<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "–".into(), show)
}
