//! Every metric: its name, its labels, what it counts. `docs/metrics.md` says the same, and a test holds them together.
//!
//! No label ever holds an MSISDN, an address or an id: the number of series does not grow with the number of handsets.

/// One metric as the operator sees it.
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
    // Signaling.
    SESSIONS = "everline_sessions", Gauge, [], "Registered handsets.";
    SESSIONS_EXPECTED = "everline_sessions_expected", Gauge, [], "Handsets that the store knew as connected when the gateway started.";
    SESSIONS_RETURNED = "everline_sessions_returned", Gauge, [], "Handsets of the expected that have registered again.";
    CONNECTIONS = "everline_signaling_connections", Gauge, [], "Signaling connections, registered or not.";
    REGISTRATIONS = "everline_registrations_total", Counter, ["result"], "CONNECTs by result: registered, replaced, or the refusal's code.";
    DEPARTURES = "everline_departures_total", Counter, ["cause"], "Registered sessions that ended, by cause: bye, dead, closed, reset, slow, drained, or the error's code.";
    CONNECTIONS_FAILED = "everline_signaling_failures_total", Counter, ["cause"], "Signaling connections that ended before they registered, by cause.";
    KEEPALIVES = "everline_keepalives_total", Counter, ["result"], "KEEPALIVEs by result: sent, answered, missed.";
    WAKES = "everline_wakes_total", Counter, ["result"], "REQUESTPENDINGs by result: sent, repeated, not-ready, stale, mailbox-full.";
    STALE = "everline_stale_total", Counter, ["what"], "Late completions and letters that named a recycled slot, dropped.";
    TIMER_LAG = "everline_timer_lag_seconds", Histogram, [], "How late a shard served its timers.";

    // Requests.
    REQUESTS = "everline_requests_total", Counter, ["outcome"], "Requests by outcome: answered, problem, abandoned by the caller.";
    PROBLEMS = "everline_problems_total", Counter, ["slug"], "Requests that ended in a problem, by its slug.";
    IN_FLIGHT = "everline_requests_in_flight", Gauge, [], "Requests admitted and not yet ended.";
    WAITING = "everline_requests_waiting", Gauge, [], "Requests that wait for a data channel.";
    STAGE_SECONDS = "everline_stage_seconds", Histogram, ["stage"], "Time of a request's stages: wake (signal to bound), response (bound to response head), total (head to last byte).";
    DATA_CHANNELS = "everline_data_channels_total", Counter, ["result"], "Data channels by result: bound, reused, unknown-request, bind-timeout, bad-line, closed, refused.";
    CALLERS = "everline_caller_connections", Gauge, [], "Callers' connections.";

    // Store.
    STORE_ROWS = "everline_store_rows_written_total", Counter, [], "Rows that the session store has written.";
    STORE_DROPPED = "everline_store_rows_dropped_total", Counter, [], "Rows dropped because too many waited to be written.";
    STORE_LAG = "everline_store_lag_seconds", Gauge, [], "Age of the oldest row that waits to be written.";
    STORE_UP = "everline_store_up", Gauge, [], "1 while the session store works, 0 while the gateway runs without it.";

    // The process.
    PHASE = "everline_phase", Gauge, [], "0 starting, 1 serving, 2 draining, 3 finishing.";
    AUTH_OFF = "everline_auth_off", Gauge, [], "1 if anyone may register as anybody (auth = none).";
    BUILD_INFO = "everline_build_info", Gauge, ["version"], "1, with the version as its label.";
    PROCESS_MEMORY = "process_resident_memory_bytes", Gauge, [], "Memory of the process that is in RAM, bytes.";
    PROCESS_CPU = "process_cpu_seconds_total", Counter, [], "CPU time of the process, user and system, seconds.";
    PROCESS_FDS = "process_open_fds", Gauge, [], "Descriptors that the process holds open.";
    PROCESS_FDS_MAX = "process_max_fds", Gauge, [], "Descriptors that the process may hold open.";
    PROCESS_START = "process_start_time_seconds", Gauge, [], "When the process started, seconds since 1970.";
    PROCESS_THREADS = "process_threads", Gauge, [], "Threads of the process.";
}
