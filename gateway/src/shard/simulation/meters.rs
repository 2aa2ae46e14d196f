//! What an operator would see of a simulation: a recorder of its own for each, read as Prometheus would.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Runs with a recorder of its own; the handle reads what an operator would see.
pub(super) fn measured<T>(test: impl FnOnce(&PrometheusHandle) -> T) -> T {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || test(&handle))
}

/// The sum over all series of a metric whose labels contain `label`.
pub(super) fn read(handle: &PrometheusHandle, metric: &str, label: &str) -> i64 {
    let text = handle.render();
    let series = text.lines().filter(|line| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        name == metric && line.contains(label)
    });
    series
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .map(|value| value as i64)
        .sum()
}
