//! What a shard tells the operator: handles made once, gauges moved once a turn.

use everline_protocol::{ErrorCode, Millis, RefusalCode};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::metric_names as names;
use crate::store;

/// Why a connection ended. Each connection ends with exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The handset left on purpose.
    Bye,
    /// No line within the grace.
    Dead,
    /// The handset closed the connection.
    Closed,
    /// The connection broke.
    Reset,
    /// The handset does not read what it is sent.
    Slow,
    /// This gateway is leaving.
    Drained,
    /// CONNREFUSED.
    Refused,
    /// No PROXY header where one is expected.
    BadProxyHeader,
    /// ERROR.
    Broken(ErrorCode),
}

impl Cause {
    fn label(self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::Dead => "dead",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Slow => "slow",
            Self::Drained => "drained",
            Self::Refused => "refused",
            Self::BadProxyHeader => "bad-proxy-header",
            Self::Broken(code) => code.name(),
        }
    }

    /// As the store keeps it.
    pub(super) fn in_store(self) -> store::Cause {
        match self {
            Self::Bye => store::Cause::Bye,
            Self::Dead => store::Cause::Dead,
            Self::Closed | Self::Reset | Self::Slow => store::Cause::Lost,
            Self::Drained => store::Cause::Drained,
            Self::Broken(ErrorCode::Replaced) => store::Cause::Replaced,
            Self::Broken(ErrorCode::Revoked) => store::Cause::Revoked,
            Self::Refused | Self::BadProxyHeader | Self::Broken(_) => store::Cause::Broken,
        }
    }
}

/// One counter for each value of a label, made when it is first used.
struct Labelled {
    name: &'static str,
    label: &'static str,
    counters: Vec<(&'static str, Counter)>,
}

impl Labelled {
    fn new(name: &'static str, label: &'static str) -> Self {
        Self {
            name,
            label,
            counters: Vec::new(),
        }
    }

    fn count(&mut self, value: &'static str, by: u64) {
        let known = |(known, _): &&(&'static str, Counter)| *known == value;
        if let Some((_, counter)) = self.counters.iter().find(known) {
            return counter.increment(by);
        }
        let counter = counter!(self.name, self.label => value);
        counter.increment(by);
        self.counters.push((value, counter));
    }
}

/// Every metric of one shard; the series are common to all shards.
pub(super) struct Counters {
    connections: Gauge,
    connections_moved: i32,
    sessions: Gauge,
    sessions_moved: i32,
    registrations: Labelled,
    departures: Labelled,
    failures: Labelled,
    keepalives: Labelled,
    wakes: Labelled,
    stale: Labelled,
    stale_completions: u64,
    timer_lag: Histogram,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            connections: gauge!(names::CONNECTIONS),
            connections_moved: 0,
            sessions: gauge!(names::SESSIONS),
            sessions_moved: 0,
            registrations: Labelled::new(names::REGISTRATIONS, "result"),
            departures: Labelled::new(names::DEPARTURES, "cause"),
            failures: Labelled::new(names::CONNECTIONS_FAILED, "cause"),
            keepalives: Labelled::new(names::KEEPALIVES, "result"),
            wakes: Labelled::new(names::WAKES, "result"),
            stale: Labelled::new(names::STALE, "what"),
            stale_completions: 0,
            timer_lag: histogram!(names::TIMER_LAG),
        }
    }

    pub(super) fn opened(&mut self) {
        self.connections_moved += 1;
    }

    pub(super) fn closed(&mut self) {
        self.connections_moved -= 1;
    }

    /// The directory holds one more session, or as many as before.
    pub(super) fn registered(&mut self, replaced: bool) {
        self.sessions_moved += i32::from(!replaced);
        let result = if replaced { "replaced" } else { "registered" };
        self.registrations.count(result, 1);
    }

    pub(super) fn refused(&mut self, code: RefusalCode) {
        self.registrations.count(code.name(), 1);
    }

    /// A registered session ended; `current` if the directory still named it.
    pub(super) fn departed(&mut self, cause: Cause, current: bool) {
        self.sessions_moved -= i32::from(current);
        self.departures.count(cause.label(), 1);
    }

    /// A connection ended that was not registered.
    pub(super) fn failed(&mut self, cause: Cause) {
        self.failures.count(cause.label(), 1);
    }

    pub(super) fn keepalive(&mut self, result: &'static str) {
        self.keepalives.count(result, 1);
    }

    pub(super) fn wake(&mut self, result: &'static str) {
        self.wakes.count(result, 1);
    }

    pub(super) fn stale(&mut self, what: &'static str) {
        self.stale.count(what, 1);
    }

    pub(super) fn timers_served(&self, lag: Millis) {
        // Up to 49 days are exact.
        let milliseconds = u32::try_from(lag.0).unwrap_or(u32::MAX);
        self.timer_lag.record(f64::from(milliseconds) / 1000.0);
    }

    /// Moves the gauges; `stale_completions` is the ring's count since its start.
    pub(super) fn publish(&mut self, stale_completions: u64) {
        for (gauge, moved) in [
            (&self.connections, &mut self.connections_moved),
            (&self.sessions, &mut self.sessions_moved),
        ] {
            if *moved != 0 {
                gauge.increment(f64::from(std::mem::take(moved)));
            }
        }
        let new = stale_completions.saturating_sub(self.stale_completions);
        if new > 0 {
            self.stale_completions = stale_completions;
            self.stale.count("completion", new);
        }
    }
}
