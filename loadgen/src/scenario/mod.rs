//! Scenarios: what a run is to do, phase by phase, as a tester writes it down in TOML.

mod problems;

pub use problems::{Problem, Wrong};
