//! The report as one page that needs nothing else: no network, no fonts, no script to be complete.
//!
//! What stands in it from outside (kinds of errors come from the network, names from a scenario) is escaped, and the
//! page's own policy forbids everything that is not in it.

use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::shown::{grouped, shown};
use crate::report::{PhaseReport, Report};

mod chart;
mod charts;
mod course;
mod tables;
#[cfg(test)]
mod tests;
mod unit;

use unit::{Unit, span};

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/page.js");

/// The page of a report.
pub fn page(report: &Report) -> String {
    let title = shown(report.scenario.as_deref().unwrap_or("Load test"));
    // Only this very script may run, and nothing may be fetched.
    let script_hash = STANDARD.encode(digest::digest(&digest::SHA256, SCRIPT.as_bytes()));
    let policy =
        format!("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script_hash}'");
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Everline: " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(report, &title))
                main {
                    (not_well(report))
                    (key_figures(report))
                    (charts::section(report))
                    (tables::sections(report))
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn header(report: &Report, title: &str) -> Markup {
    let started = UNIX_EPOCH
        .checked_add(Duration::from_secs(report.started_unix_s))
        .filter(|_| report.started_unix_s < 253_402_300_800)
        .map(httpdate::fmt_http_date)
        .unwrap_or_default();
    let length_s = report.phases.last().map_or(0.0, PhaseReport::to_s);
    let build = &report.build;
    html! {
        header {
            p.sub { "Everline load test" }
            h1 { (title) }
            p.sub {
                (grouped(report.registrations.handsets)) " handsets · " (span(length_s)) " · " (started)
            }
            p.sub {
                "loadgen " (build.version) " (" (build.profile) ", " (build.target)
                @if let Some(commit) = &build.commit { ", " (commit) }
                ") on " (report.machine.cores) " cores, "
                (Unit::Bytes.show(report.machine.memory_bytes as f64))
            }
            @if report.ok {
                p.verdict.good { "✓ " (verdict(report)) }
            } @else {
                p.verdict.bad { "✗ " (verdict(report)) }
            }
        }
    }
}

/// The outcome in one sentence.
pub(crate) fn verdict(report: &Report) -> String {
    let (met, all) = (report.met(), report.thresholds.len());
    match (report.ok, all) {
        _ if !report.faults.is_empty() => "The run is not valid".into(),
        (true, 0) => "All well: nothing was lost, refused or failed".into(),
        (false, 0) => "Not well".into(),
        (true, 1) => "The threshold is met".into(),
        (true, _) => format!("All {all} thresholds are met"),
        (false, _) => format!("{} of {all} thresholds missed", all - met),
    }
}

fn not_well(report: &Report) -> Markup {
    let findings = if report.ok {
        "What was not well, but within the thresholds"
    } else {
        "What was not well"
    };
    html! {
        @if !report.thresholds.is_empty() { (tables::thresholds(&report.thresholds)) }
        @for (title, sentences) in [("What makes the run invalid", &report.faults), (findings, &report.findings)] {
            @if !sentences.is_empty() {
                h2 { (title) }
                div.panel { ul.sentences { @for sentence in sentences { li { (shown(sentence)) } } } }
            }
        }
    }
}

/// One figure, what it is called, and what belongs to it.
struct Tile {
    name: &'static str,
    value: String,
    beside: String,
}

fn key_figures(report: &Report) -> Markup {
    let tiles = handset_tiles(report)
        .into_iter()
        .chain(request_tiles(report))
        .chain(process_tiles(report));
    html! {
        h2 { "Key figures" }
        dl.tiles {
            @for tile in tiles {
                div { dt { (tile.name) } dd { (tile.value) } dd { (tile.beside) } }
            }
        }
    }
}

fn handset_tiles(report: &Report) -> Vec<Tile> {
    let (registrations, sessions) = (&report.registrations, &report.sessions);
    let lost: u64 = sessions.lost.values().sum();
    let storms = report.phases.iter().filter_map(|phase| phase.back_s);
    let mut tiles = vec![
        Tile {
            name: "Sessions at one time",
            value: grouped(sessions.open_max),
            beside: format!("of {} handsets", grouped(registrations.handsets)),
        },
        Tile {
            name: "Registrations",
            value: format!("{}/s", Unit::Count("").show(registrations.per_second)),
            beside: format!("best second {}", grouped(registrations.per_second_max)),
        },
        Tile {
            name: "Sessions lost",
            value: grouped(lost),
            beside: format!(
                "{} attempts not registered",
                grouped(registrations.not_registered.values().sum())
            ),
        },
    ];
    tiles.extend(storms.max_by(f64::total_cmp).map(|back_s| Tile {
        name: "Back after a storm",
        value: span(back_s),
        beside: "all handsets".into(),
    }));
    tiles
}

fn request_tiles(report: &Report) -> Vec<Tile> {
    let Some(requests) = report.requests.as_ref().filter(|requests| requests.due > 0) else {
        return Vec::new();
    };
    let spread = &requests.latency_us;
    vec![
        Tile {
            name: "Good answers",
            value: format!("{}/s", Unit::Count("").show(requests.per_second)),
            beside: format!("of {} requests", grouped(requests.due)),
        },
        Tile {
            name: "Latency p99",
            value: Unit::Micros.show(spread.p99 as f64),
            beside: format!(
                "p50 {}, p99.9 {}",
                Unit::Micros.show(spread.p50 as f64),
                Unit::Micros.show(spread.p99_9 as f64)
            ),
        },
        Tile {
            name: "Requests gone wrong",
            value: grouped(requests.bad()),
            beside: "not sent, failed or not 2xx".into(),
        },
    ]
}

fn process_tiles(report: &Report) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let processes = [
        ("Gateway memory", "Gateway CPU", report.gateway.as_ref()),
        ("Loadgen memory", "Loadgen CPU", Some(&report.loadgen)),
    ];
    for (memory, cpu, process) in processes {
        let Some(process) = process else { continue };
        if let Some(rss_bytes) = process.rss_bytes_max {
            tiles.push(Tile {
                name: memory,
                value: Unit::Bytes.show(rss_bytes as f64),
                beside: process
                    .rss_bytes_per_session
                    .map_or_else(String::new, |bytes| format!("{bytes:.0} bytes a session")),
            });
        }
        if let Some(cores) = process.cores_in_hold {
            tiles.push(Tile {
                name: cpu,
                value: format!("{:.1} %", cores * 100.0),
                beside: process.cpu_us_per_registration.map_or_else(
                    || "of a core in the hold".into(),
                    |us| format!("of a core in the hold; {us:.0} µs a registration"),
                ),
            });
        }
    }
    tiles
}
