//! Every metric of the load generator. `docs/loadgen-metrics.md` says the same, and a test holds them together.
//!
//! No label holds an MSISDN, an address or an id. Labels whose values are kinds of outcomes have as many as the books
//! have kinds, which are bounded.

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

/// Prometheus's kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Explicit buckets, seconds.
    Histogram,
}

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*

        /// All of them.
        pub const ALL: &[Metric] = &[$(Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help }),*];
    };
}

metrics! {
    // Handsets.
    SESSIONS = "everline_loadgen_sessions", Gauge, [], "Handsets that are registered.";
    CONNECTING = "everline_loadgen_connecting", Gauge, [], "Handsets that are registering.";
    AWAY = "everline_loadgen_away", Gauge, [], "Handsets that a storm or churn keeps away.";
    REGISTRATIONS = "everline_loadgen_registrations_total", Counter, [], "Registrations that the gateway took.";
    NOT_REGISTERED = "everline_loadgen_not_registered_total", Counter, ["cause"], "Attempts that ended before they were registered, by cause.";
    LOST = "everline_loadgen_lost_total", Counter, ["cause"], "Sessions that were lost, by cause.";
    DROPPED = "everline_loadgen_dropped_total", Counter, ["cause"], "Sessions that the scenario ended: storm, churn.";
    KEEPALIVES = "everline_loadgen_keepalives_total", Counter, [], "KEEPALIVEs answered.";
    WAKES = "everline_loadgen_wakes_total", Counter, [], "REQUESTPENDINGs received.";
    CHANNELS_FAILED = "everline_loadgen_data_channel_failures_total", Counter, ["cause"], "Data channels that did not end in order, by cause.";

    // Callers.
    REQUESTS = "everline_loadgen_requests_total", Counter, ["outcome"], "Requests that were due, by outcome: good, answered-otherwise, failed, not-sent.";
    ANSWERS = "everline_loadgen_answers_total", Counter, ["status"], "Answers, by status code.";
    REQUESTS_FAILED = "everline_loadgen_request_failures_total", Counter, ["cause"], "Requests without an answer, or with a wrong one, by cause.";
    IN_FLIGHT = "everline_loadgen_requests_in_flight", Gauge, [], "Requests without an outcome.";
    LATENCY = "everline_loadgen_latency_seconds", Histogram, [], "Good answers, from when the request was due to the last byte.";

    // The run and its process.
    PHASE = "everline_loadgen_phase", Gauge, ["phase"], "1 for the phase that runs, 0 for those before it.";
    BUILD_INFO = "everline_loadgen_build_info", Gauge, ["version"], "1, with the version as its label.";
    PROCESS_MEMORY = "process_resident_memory_bytes", Gauge, [], "Memory of the process that is in RAM, bytes.";
    PROCESS_CPU = "process_cpu_seconds_total", Counter, [], "CPU time of the process, user and system, seconds.";
}

/// What a metric means; empty for one that there is not.
pub fn help(name: &str) -> &'static str {
    let metric = ALL.iter().find(|metric| metric.name == name);
    metric.map_or("", |metric| metric.help)
}
