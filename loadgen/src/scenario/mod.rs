//! Scenarios: what a run is to do, phase by phase, as a tester writes it down in TOML.

mod problems;
mod requests;

pub use problems::{Problem, Wrong};
pub use requests::{CallSetting, Range, RequestsTable, Size};
