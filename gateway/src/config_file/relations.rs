//! What goes with what: addresses and safety, limits and the machine. Each rule names the key to change.

use std::net::SocketAddr;

use super::reader::Reader;
use crate::config::{Auth, Config};
use crate::machine::Machine;
use crate::shard::shard_count;

/// Checks every relation between keys, and between them and the machine.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>, machine: &Machine) {
    addresses(config, reader);
    exposure(config, reader);
    times(config, reader);
    shards(config, reader, machine);
    descriptors(config, reader, machine);
    if config.ingress.domains.is_empty() {
        reader.wrong(
            "ingress",
            "domains",
            "must name at least one domain under which handsets are addressed",
        );
    }
    for (index, domain) in config.ingress.domains.iter().enumerate() {
        if config
            .ingress
            .domains
            .iter()
            .take(index)
            .any(|earlier| earlier == domain)
        {
            reader.wrong("ingress", "domains", format!("names {domain} twice"));
        }
    }
}

fn listeners(config: &Config) -> [(&'static str, SocketAddr); 4] {
    [
        ("signaling", config.signaling.listen),
        ("data", config.data.listen),
        ("ingress", config.ingress.listen),
        ("admin", config.admin.listen),
    ]
}

fn addresses(config: &Config, reader: &mut Reader<'_>) {
    let listeners = listeners(config);
    for (index, (section, listen)) in listeners.iter().enumerate() {
        let clash = listeners.iter().take(index).find(|(_, other)| {
            let same_host = other.ip() == listen.ip()
                || other.ip().is_unspecified()
                || listen.ip().is_unspecified();
            listen.port() != 0 && other.port() == listen.port() && same_host
        });
        if let Some((other, _)) = clash {
            reader.wrong(
                section,
                "listen",
                format!("{listen} is also the port of [{other}]"),
            );
        }
    }
}

/// Nothing is open to others by mistake (PROTOCOL 1: TLS is optional, so plaintext must be meant).
fn exposure(config: &Config, reader: &mut Reader<'_>) {
    let [signaling, data, ingress, admin] = listeners(config);
    for (section, listen) in [signaling, data, ingress] {
        if !listen.ip().is_loopback() && !config.plaintext_beyond_loopback {
            let message = format!(
                "{listen} would take plaintext from beyond this machine: listen on loopback behind a TLS proxy, \
                 or write plaintext_beyond_loopback = true at the top"
            );
            reader.wrong(section, "listen", message);
        }
    }
    let (section, listen) = signaling;
    if matches!(config.auth, Auth::None) && !listen.ip().is_loopback() {
        let message = format!(
            "{listen} is beyond loopback, and with auth = \"none\" anyone there could register as anybody"
        );
        reader.wrong(section, "listen", message);
    }
    let (section, listen) = admin;
    if !listen.ip().is_loopback() && !config.admin.beyond_loopback {
        let message = format!(
            "{listen} would let others than this machine revoke and drain: write beyond_loopback = true if they may"
        );
        reader.wrong(section, "listen", message);
    }
}

fn times(config: &Config, reader: &mut Reader<'_>) {
    let signaling = &config.signaling;
    if signaling.timeout_min_s > signaling.timeout_max_s {
        let message = format!(
            "{} is more than timeout_max_s = {}",
            signaling.timeout_min_s, signaling.timeout_max_s
        );
        reader.wrong("signaling", "timeout_min_s", message);
    }
    let request = &config.request;
    if request.wake_timeout > request.response_timeout + config.data.bind_timeout {
        // A handset that is woken so late is one whose caller has long given up.
        reader.wrong(
            "request",
            "wake_timeout_ms",
            "is more than response_timeout_ms and data.bind_timeout_ms together",
        );
    }
    if request.reconnect_hold > request.recent {
        reader.wrong(
            "request",
            "reconnect_hold_ms",
            "is longer than recent_s: no handset would be held for so long",
        );
    }
}

fn shards(config: &Config, reader: &mut Reader<'_>, machine: &Machine) {
    let (sessions, slots) = (config.signaling.sessions_max, machine.table_slots as usize);
    let Some(shards) = config.signaling.shards else {
        let most = slots.saturating_mul(crate::directory::SHARDS_MAX);
        if sessions > most {
            reader.wrong(
                "signaling",
                "sessions_max",
                format!("{sessions} is more than this machine can hold, {most}"),
            );
        }
        return;
    };
    if shards.saturating_mul(slots) < sessions {
        let least = sessions.div_ceil(slots.max(1));
        let message = format!(
            "{shards} shards hold {} sockets on this machine ({slots} each, which is the limit of open files), fewer than \
             sessions_max = {sessions}: say {least} or more, or leave it out",
            shards.saturating_mul(slots)
        );
        reader.wrong("signaling", "shards", message);
    }
}

/// Descriptors that a gateway of this configuration may need at once; signaling sockets need none.
pub(super) fn descriptors_needed(config: &Config, machine: &Machine) -> [(&'static str, usize); 5] {
    const ADMIN_CONNECTIONS: usize = crate::admin::CONNECTIONS_MAX;
    /// Standard streams, the store's files, epoll and timers, what the libraries open for a moment.
    const MARGIN: usize = 128;
    /// A ring, its eventfd, its reference to the listener.
    const PER_SHARD: usize = 4;
    /// Two listeners, and what its runtime holds.
    const PER_WORKER: usize = 8;
    let workers = config.ingress.workers.unwrap_or(machine.cores);
    let shards = config.signaling.shards.unwrap_or_else(|| {
        shard_count(
            config.signaling.sessions_max,
            machine.cores,
            machine.table_slots as usize,
        )
        .0
    });
    [
        ("ingress.connections_max", config.ingress.connections_max),
        ("ingress.requests_max", config.ingress.requests_max),
        ("data.unbound_max", config.data.unbound_max),
        (
            "data.idle_max",
            config.data.idle_max.saturating_mul(workers),
        ),
        (
            "",
            workers * PER_WORKER + shards * PER_SHARD + ADMIN_CONNECTIONS + MARGIN,
        ),
    ]
}

fn descriptors(config: &Config, reader: &mut Reader<'_>, machine: &Machine) {
    let needs = descriptors_needed(config, machine);
    let sum = needs
        .iter()
        .fold(0usize, |sum, (_, count)| sum.saturating_add(*count));
    if sum as u64 <= machine.descriptors {
        return;
    }
    let parts: Vec<_> = needs
        .iter()
        .map(|(key, count)| {
            if key.is_empty() {
                format!("{count} for the gateway itself")
            } else {
                format!("{key} = {count}")
            }
        })
        .collect();
    let largest = needs
        .iter()
        .filter(|(key, _)| !key.is_empty())
        .max_by_key(|(_, count)| *count);
    let key = largest.map_or("ingress.connections_max", |(key, _)| *key);
    let (section, name) = key.split_once('.').unwrap_or(("", key));
    let message = format!(
        "the limits need {sum} file descriptors ({}), and this process may open {}: lower {key} first, or raise the \
         limit (ulimit -Hn, LimitNOFILE=)",
        parts.join(", "),
        machine.descriptors
    );
    reader.wrong(section, name, message);
}
