//! The names of the agent's metrics, and how they are written for Prometheus.
//!
//! `docs/agent-metrics.md` lists them; a test holds the two against each other. There are no labels: an agent is one
//! handset, and who that is stands in no metric.

use std::fmt::Write;

use super::Snapshot;

/// A metric: name, type, and what it is.
pub type Metric = (&'static str, &'static str, &'static str);

/// 1 while the handset is registered.
pub const REGISTERED: Metric = (
    "everline_agent_registered",
    "gauge",
    "1 while the handset is registered with a gateway, else 0.",
);
/// The timeout in force.
pub const TIMEOUT: Metric = (
    "everline_agent_keepalive_timeout_seconds",
    "gauge",
    "Seconds between two signs of life, as the gateway set them; 0 while not registered.",
);
/// What it costs.
pub const PACKETS: Metric = (
    "everline_agent_keepalive_packets_per_hour",
    "gauge",
    "Packets an hour that signs of life cost; 0 while not registered.",
);
/// What the network lets live.
pub const SURVIVED: Metric = (
    "everline_agent_network_silence_seconds",
    "gauge",
    "The longest silence that the network is known to let live; 0 unless timeout_s is \"auto\".",
);
/// KEEPALIVEs.
pub const KEEPALIVES: Metric = (
    "everline_agent_keepalives_total",
    "counter",
    "KEEPALIVEs that were answered.",
);
/// Registrations after the first.
pub const RECONNECTS: Metric = (
    "everline_agent_reconnects_total",
    "counter",
    "Registrations after the first.",
);
/// Data channels opened.
pub const CHANNELS_OPENED: Metric = (
    "everline_agent_data_channels_opened_total",
    "counter",
    "Data channels that were opened, one for each request that was signalled; one that is kept (linger_s) brings more.",
);
/// Requests left.
pub const REQUESTS_LEFT: Metric = (
    "everline_agent_requests_left_total",
    "counter",
    "Requests that were left to the gateway, because as many were in progress as may be.",
);
/// Data channels.
pub const CHANNELS: Metric = (
    "everline_agent_data_channels",
    "gauge",
    "Data channels that are open.",
);
/// Prompts.
pub const PROMPTS: Metric = (
    "everline_agent_prompts",
    "gauge",
    "Prompts that wait for the owner.",
);
/// Uptime.
pub const UPTIME: Metric = (
    "everline_agent_uptime_seconds",
    "gauge",
    "Seconds since the agent was started.",
);

/// All of them, in the order in which they are written.
pub const ALL: &[Metric] = &[
    REGISTERED,
    TIMEOUT,
    PACKETS,
    SURVIVED,
    KEEPALIVES,
    RECONNECTS,
    CHANNELS_OPENED,
    REQUESTS_LEFT,
    CHANNELS,
    PROMPTS,
    UPTIME,
];

/// The text format of Prometheus, version 0.0.4.
pub fn text(snapshot: &Snapshot) -> String {
    let values: [u64; ALL.len()] = [
        snapshot.registered.into(),
        snapshot.timeout_s.unwrap_or_default().into(),
        snapshot
            .keepalive_packets_per_hour
            .unwrap_or_default()
            .into(),
        snapshot.learnt.map_or(0, |learnt| learnt.survived_s).into(),
        snapshot.keepalives,
        snapshot.reconnects,
        snapshot.channels_opened,
        snapshot.requests_left,
        snapshot.channels,
        snapshot.prompts.unwrap_or_default(),
        snapshot.uptime_s,
    ];
    let mut text = String::new();
    for ((name, kind, help), value) in ALL.iter().zip(values) {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
        );
    }
    text
}
