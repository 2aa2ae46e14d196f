//! A distribution of latencies: the percentiles that everybody asks for, and its course in full.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// How finely a course is told.
const STEPS_PER_HALVING: u32 = 4;

/// A distribution in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// The least.
    pub min: u64,
    /// The mean.
    pub mean: u64,
    /// Half were at most this.
    pub p50: u64,
    /// 90 % were at most this.
    pub p90: u64,
    /// 99 % were at most this.
    pub p99: u64,
    /// 99.9 % were at most this.
    pub p99_9: u64,
    /// The most.
    pub max: u64,
}

/// A point of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// So many of all, 1 is all of them, …
    pub share: f64,
    /// … took at most this, microseconds.
    pub us: u64,
}

impl Percentiles {
    /// Of what was measured.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        Self {
            count: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean() as u64,
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p99_9: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}

/// A distribution in so many steps for each halving of what is left: the slowest few are told apart best.
pub(super) fn course(histogram: &Histogram<u64>) -> Vec<Step> {
    histogram
        .iter_quantiles(STEPS_PER_HALVING)
        .map(|step| Step {
            share: step.quantile_iterated_to(),
            us: step.value_iterated_to(),
        })
        .collect()
}
