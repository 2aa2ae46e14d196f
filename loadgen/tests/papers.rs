//! What is written about the load generator is what it does: its metrics.

use std::collections::BTreeSet;

use everline_loadgen::metrics::names::{ALL, Kind};

#[test]
fn every_metric_stands_on_its_page_and_no_other() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/loadgen-metrics.md");
    let page = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let told: BTreeSet<_> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            let cells: Vec<_> = cells.map(|cell| cell.trim().trim_matches('`')).collect();
            let [name, kind, label, help] = cells[..] else {
                panic!("four cells: {line}")
            };
            let metric = ALL.iter().find(|metric| metric.name == name);
            let metric = metric.unwrap_or_else(|| panic!("{name} is no metric"));
            assert!(
                help.starts_with(metric.help),
                "{name} is explained as `{}` in the program",
                metric.help
            );
            (name.to_owned(), kind.to_owned(), label.to_owned())
        })
        .collect();
    let known: BTreeSet<_> = ALL
        .iter()
        .map(|metric| {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let label = metric.labels.first().unwrap_or(&"—");
            (metric.name.to_owned(), kind.to_owned(), (*label).to_owned())
        })
        .collect();
    assert_eq!(known, told);
}
