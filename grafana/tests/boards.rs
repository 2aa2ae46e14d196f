//! Every dashboard is whole, reads only what the gateway tells, and keeps to the pattern that its readers know.

use std::collections::BTreeSet;

use everline_gateway::metric_names::{ALL, Kind, Metric};
use everline_grafana::board::{Board, Panel};
use everline_grafana::board_files;
use everline_grafana::query::{Choices, Selector, anatomy, fill};

/// What Prometheus itself tells of every target.
const OF_PROMETHEUS: [&str; 3] = ["up", "scrape_duration_seconds", "scrape_samples_scraped"];
/// Labels that Prometheus gives every series.
const OF_THE_TARGET: [&str; 2] = ["job", "instance"];

fn boards() -> Vec<Board> {
    let files = board_files().expect("a folder of dashboards");
    assert!(!files.is_empty());
    let read =
        |file: &std::path::PathBuf| Board::read(file).unwrap_or_else(|error| panic!("{error}"));
    files.iter().map(read).collect()
}

/// The metric behind a series' name: a histogram has three.
fn metric(series: &str) -> Option<&'static Metric> {
    ALL.iter().find(|metric| match metric.kind {
        Kind::Histogram => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|suffix| series.strip_suffix(suffix) == Some(metric.name)),
        Kind::Counter | Kind::Gauge => metric.name == series,
    })
}

fn labels_of(selector: &Selector, place: &str) -> Vec<&'static str> {
    if OF_PROMETHEUS.contains(&selector.metric.as_str()) {
        return OF_THE_TARGET.to_vec();
    }
    let metric = metric(&selector.metric)
        .unwrap_or_else(|| panic!("{place}: docs/metrics.md has no {}", selector.metric));
    let of_a_bucket = (metric.kind == Kind::Histogram).then_some("le");
    OF_THE_TARGET
        .into_iter()
        .chain(metric.labels.iter().copied())
        .chain(of_a_bucket)
        .collect()
}

#[test]
fn every_query_reads_what_the_gateway_tells_and_only_the_chosen_gateways() {
    let (job, instance) = ("chosen-job", "chosen-instance");
    let choices = Choices::one(job, instance, "1m");
    for board in boards() {
        let queries = board
            .panel_queries()
            .into_iter()
            .chain(board.annotation_queries());
        for query in queries {
            let place = &query.place;
            let found = anatomy(&fill(&query.text, &choices))
                .unwrap_or_else(|error| panic!("{place}: {error} in {}", query.text));
            assert!(!found.selectors.is_empty(), "{place} asks for nothing");
            for selector in &found.selectors {
                let known = labels_of(selector, place);
                for (label, _, _) in &selector.labels {
                    assert!(
                        known.contains(&label.as_str()),
                        "{place}: {} has no label {label}",
                        selector.metric
                    );
                }
                for (label, value) in [("job", job), ("instance", instance)] {
                    let wanted = (label.to_owned(), "=~", value.to_owned());
                    assert!(
                        selector.labels.contains(&wanted),
                        "{place}: {} is not of the chosen {label}",
                        selector.metric
                    );
                }
            }
            let known: BTreeSet<_> = found
                .selectors
                .iter()
                .flat_map(|one| labels_of(one, place))
                .collect();
            for label in &found.grouped_by {
                assert!(
                    known.contains(label.as_str()),
                    "{place}: grouped by {label}, which no series of it has"
                );
            }
            let fixed = found.windows_ms.iter().any(|window| *window != 60_000);
            assert!(!fixed, "{place}: a window other than $__rate_interval");
        }
    }
}

#[test]
fn a_counter_is_never_shown_as_it_stands() {
    for board in boards() {
        for query in board.panel_queries() {
            for metric in ALL.iter().filter(|metric| metric.kind == Kind::Counter) {
                for (before, _) in query.text.match_indices(metric.name) {
                    let function = query.text[..before].ends_with("rate(")
                        || query.text[..before].ends_with("increase(");
                    assert!(function, "{}: {} without rate()", query.place, metric.name);
                }
            }
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_and_in_what() {
    for board in boards() {
        for panel in board.panels() {
            let place = format!(
                "{}: panel {} `{}`",
                board.name(),
                panel.json["id"],
                panel.title()
            );
            assert!(!panel.title().is_empty(), "{place} has no title");
            assert!(!panel.unit().is_empty(), "{place} has no unit");
            assert!(
                panel.description().ends_with('.'),
                "{place} is not described in sentences"
            );
            assert!(panel.queries().count() > 0, "{place} has no query");
            let thresholds = &panel.json["fieldConfig"]["defaults"]["thresholds"]["steps"];
            assert!(
                thresholds[0]["value"].is_null() || panel.json["type"] == "heatmap",
                "{place}: a threshold has no base"
            );
            for target in panel.json["targets"].as_array().expect("targets") {
                assert!(
                    target["legendFormat"]
                        .as_str()
                        .is_some_and(|legend| !legend.is_empty()),
                    "{place} has no legend"
                );
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{place}");
            }
            assert_eq!(panel.json["datasource"]["uid"], "${datasource}", "{place}");
        }
    }
}

/// Columns and lines of a panel.
fn cells(panel: Panel<'_>) -> impl Iterator<Item = (u64, u64)> {
    let side = |name: &str| {
        panel.json["gridPos"][name]
            .as_u64()
            .expect("a place on the grid")
    };
    let (x, y, w, h) = (side("x"), side("y"), side("w"), side("h"));
    (x..x + w).flat_map(move |column| (y..y + h).map(move |line| (column, line)))
}

#[test]
fn ids_are_unique_and_no_panel_lies_on_another() {
    let mut boards_seen = BTreeSet::new();
    for board in boards() {
        let uid = board.json["uid"].as_str().expect("a uid").to_owned();
        assert!(boards_seen.insert(uid.clone()), "two boards are {uid}");
        assert!(
            board.json["id"].is_null(),
            "{uid}: the id is given by the Grafana that it is loaded into"
        );
        let (mut ids, mut titles, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for panel in board.panels_and_rows() {
            let title = panel.title();
            assert!(
                ids.insert(panel.json["id"].as_u64().expect("an id")),
                "{uid}: {title}"
            );
            assert!(
                titles.insert(title.to_owned()),
                "{uid}: two panels are `{title}`"
            );
            for cell in cells(panel) {
                assert!(cell.0 < 24, "{uid}: {title} is wider than the board");
                assert!(taken.insert(cell), "{uid}: {title} lies on another panel");
            }
        }
    }
}

#[test]
fn the_operator_chooses_data_source_job_and_instance() {
    for board in boards() {
        let names: Vec<_> = board.variables().iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names[..3],
            ["datasource", "job", "instance"],
            "{}",
            board.name()
        );
        for (name, query) in board.variables().into_iter().skip(1) {
            assert!(
                query.starts_with("label_values(everline_build_info"),
                "{}: ${name} is {query}",
                board.name()
            );
        }
    }
}
