//! The metrics that a worker touches for every request, as handles: looked up once a thread, then only counted.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::metric_names::{
    CALLERS, DATA_CHANNELS, IN_FLIGHT, PROBLEMS, REQUESTS, STAGE_SECONDS, WAITING, WAKES,
};
use crate::problem::{Problem, SLUGS};

/// One worker's handles.
pub struct Meters {
    /// Requests that ended in the handset's response.
    pub answered: Counter,
    /// Requests that ended in a problem.
    pub problem: Counter,
    /// Requests whose caller went away first.
    pub abandoned: Counter,
    /// Requests admitted and not yet ended.
    pub in_flight: Gauge,
    /// Requests that wait for a data channel.
    pub waiting: Gauge,
    /// Callers' connections.
    pub callers: Gauge,
    /// From the signal to the bound channel, seconds.
    pub wake: Histogram,
    /// From the bound channel to the response's head, seconds.
    pub response: Histogram,
    /// From the request's head to the response's last byte, seconds.
    pub total: Histogram,
    /// Second signals for one request.
    pub repeated: Counter,
    /// Signals that found the shard's mailbox full.
    pub mailbox_full: Counter,
    /// What became of data channels.
    pub channels: Channels,
    problems: Vec<(&'static str, Counter)>,
}

/// Data channels by what became of them.
pub struct Channels {
    /// Bound to the request that they named.
    pub bound: Counter,
    /// Used for a further request.
    pub reused: Counter,
    /// Named a request that does not wait.
    pub unknown_request: Counter,
    /// Sent no whole DATA line in time.
    pub bind_timeout: Counter,
    /// Sent something else.
    pub bad_line: Counter,
    /// Ended before their DATA line was whole.
    pub closed: Counter,
    /// Found as many unbound channels as there may be.
    pub refused: Counter,
}

impl Meters {
    /// Looks all of them up.
    pub fn new() -> Self {
        let outcome = |outcome| counter!(REQUESTS, "outcome" => outcome);
        let stage = |stage| histogram!(STAGE_SECONDS, "stage" => stage);
        let channel = |result| counter!(DATA_CHANNELS, "result" => result);
        Self {
            answered: outcome("answered"),
            problem: outcome("problem"),
            abandoned: outcome("abandoned"),
            in_flight: gauge!(IN_FLIGHT),
            waiting: gauge!(WAITING),
            callers: gauge!(CALLERS),
            wake: stage("wake"),
            response: stage("response"),
            total: stage("total"),
            repeated: counter!(WAKES, "result" => "repeated"),
            mailbox_full: counter!(WAKES, "result" => "mailbox-full"),
            channels: Channels {
                bound: channel("bound"),
                reused: channel("reused"),
                unknown_request: channel("unknown-request"),
                bind_timeout: channel("bind-timeout"),
                bad_line: channel("bad-line"),
                closed: channel("closed"),
                refused: channel("refused"),
            },
            problems: SLUGS
                .iter()
                .map(|slug| (*slug, counter!(PROBLEMS, "slug" => *slug)))
                .collect(),
        }
    }

    /// Counts a problem by its slug.
    pub fn count(&self, problem: &Problem) {
        let slug = problem.row().slug;
        if let Some((_, counter)) = self.problems.iter().find(|(known, _)| *known == slug) {
            counter.increment(1);
        }
    }
}

impl Default for Meters {
    fn default() -> Self {
        Self::new()
    }
}

/// Adds one to a gauge for as long as it lives.
pub struct Counted(Gauge);

impl Counted {
    /// From now on.
    pub fn one(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
