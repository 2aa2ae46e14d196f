//! The lab of these tests: a gateway under load, and the Prometheus that watches it.

use std::time::Duration;

pub(crate) mod gateway;
pub(crate) mod prometheus;

/// Longer than anything that a passing test waits for, on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at something that is to come.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);
