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
    // A list that could not be read has been told already.
    if config.ingress.domains.is_empty() && !reader.is_wrong("ingress", "domains") {
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
    if matches!(config.auth, Auth::None) {
        for (section, listen) in listeners(config) {
            if !listen.ip().is_loopback() {
                let message = format!(
                    "{listen} is beyond loopback: with auth = \"none\" anyone may be any handset, which is for a lab on \
                     one machine"
                );
                reader.wrong(section, "listen", message);
            }
        }
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
        (
            "data.unbound_max",
            config.data.unbound_max.saturating_mul(workers),
        ),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse;
    use super::*;

    const SMALL: Machine = Machine {
        cores: 2,
        descriptors: 20_000,
        table_slots: 20_000,
    };

    /// The keys that are told to be wrong in `text`, which is put before what every file needs.
    fn wrong(text: &str) -> Vec<String> {
        let text = format!("{text}\n[ingress]\ndomains = [\"localhost\"]\n");
        let text = if text.contains("auth") {
            text
        } else {
            format!("{text}[auth]\njwks_file = \"keys\"\n")
        };
        let told = parse(&text, Path::new(""), &SMALL)
            .err()
            .unwrap_or_default();
        told.into_iter().map(|error| error.key).collect()
    }

    #[test]
    fn each_relation_is_held_and_names_the_key_to_change() {
        for (text, keys) in [
            ("", &[][..]),
            ("[signaling]\nlisten = \"[::1]:7000\"", &[]),
            (
                "[signaling]\nlisten = \"0.0.0.0:7000\"",
                &["signaling.listen"],
            ),
            ("[data]\nlisten = \"10.0.0.1:7001\"", &["data.listen"]),
            (
                "plaintext_beyond_loopback = true\n[data]\nlisten = \"10.0.0.1:7001\"",
                &[],
            ),
            (
                "plaintext_beyond_loopback = true\nauth = \"none\"\n[signaling]\nlisten = \"0.0.0.0:7000\"",
                &["signaling.listen"],
            ),
            (
                "plaintext_beyond_loopback = true\nauth = \"none\"\n[data]\nlisten = \"[::]:7001\"\n\
                 [admin]\nlisten = \"0.0.0.0:9100\"\nbeyond_loopback = true",
                &["data.listen", "admin.listen"],
            ),
            ("[admin]\nlisten = \"0.0.0.0:9100\"", &["admin.listen"]),
            (
                "[admin]\nlisten = \"0.0.0.0:9100\"\nbeyond_loopback = true",
                &[],
            ),
            ("[data]\nlisten = \"127.0.0.1:7000\"", &["data.listen"]),
            (
                "[data]\nlisten = \"127.0.0.1:0\"\n[signaling]\nlisten = \"127.0.0.1:0\"",
                &[],
            ),
            (
                "[signaling]\ntimeout_min_s = 60\ntimeout_max_s = 30",
                &["signaling.timeout_min_s"],
            ),
            (
                "[request]\nreconnect_hold_ms = 5000\nrecent_s = 4",
                &["request.reconnect_hold_ms"],
            ),
            (
                "[request]\nwake_timeout_ms = 60000\nresponse_timeout_ms = 1000",
                &["request.wake_timeout_ms"],
            ),
            (
                "[signaling]\nshards = 2\nsessions_max = 50000",
                &["signaling.shards"],
            ),
            ("[data]\nunbound_max = 15000", &["data.unbound_max"]),
            ("[data]\nidle_max = 15000", &["data.idle_max"]),
            ("[log]\nfilter = \"everline_gateway=debug,warn\"", &[]),
            ("[log]\nfilter = \"infoo\"", &["log.filter"]),
            ("[log]\nfilter = \"info,sled=of\"", &["log.filter"]),
            ("auth = 3", &["auth"]),
        ] {
            assert_eq!(wrong(text), keys, "{text}");
        }
    }

    #[test]
    fn a_machine_too_small_is_told_with_the_numbers() {
        let machine = Machine {
            descriptors: 1_024,
            table_slots: 1_024,
            ..SMALL
        };
        let text = "auth = \"none\"\n[ingress]\ndomains = [\"localhost\"]\n";
        let told = parse(text, Path::new(""), &machine)
            .expect_err("8,192 connections do not fit into 1,024");
        let told: Vec<_> = told
            .iter()
            .map(|error| format!("{}: {}", error.key, error.message))
            .collect();
        assert!(
            told.iter()
                .any(|line| line.starts_with("ingress.connections_max: ")
                    && line.contains("may open 1024")),
            "{told:?}"
        );
    }

    #[test]
    fn what_the_gateway_needs_is_counted_for_every_thread() {
        let text = "auth = \"none\"\n[signaling]\nsessions_max = 1000000\n[ingress]\ndomains = [\"localhost\"]\nworkers = 64\n";
        let config = parse(text, Path::new(""), &SMALL).expect("64 workers fit");
        let sum: usize = descriptors_needed(&config, &SMALL)
            .iter()
            .map(|(_, count)| count)
            .sum();
        assert!((15_360 + 64 * 8..20_000).contains(&sum), "{sum}");
        let data = &config.data;
        assert_eq!(
            (data.unbound_max, data.idle_max),
            (1_024 / 64, 2_048 / 64),
            "the file's bounds are for all workers together"
        );
    }
}
