//! The dashboards as a program reads them: panels, queries, and the metrics and labels that each query names.
//!
//! Grafana and Prometheus read the files beside this crate; it exists for the tests that hold those files against
//! what the gateway tells. It starts nothing.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

pub mod board; // a dashboard's file
pub mod query; // a panel's query

/// This folder: `dashboards/`, `prometheus/`, `provisioning/`.
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every dashboard's file, by name.
pub fn board_files() -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder().join("dashboards"))? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}
