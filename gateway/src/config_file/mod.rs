//! Reads the operator's file into a checked [`Config`], or tells all that is wrong with it: each with key and line.
//!
//! `gateway run` and `gateway check` call it. What a key means to the rest stands in `config`; what goes with what, in
//! `relations`; the page `docs/config-gateway.md` and `gateway.example.toml` name every key, and a test holds the
//! three together.

use std::fmt;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::config::{Admin, Auth, Config, Data, Drain, Ingress, Log, Request, Signaling, Store};
use crate::directory::SHARDS_MAX;
use crate::machine::Machine;

mod reader;
mod relations;

pub use reader::{ConfigError, Key};
use reader::{Reader, Unit};

/// sled tells its errors twice: once to the log, once to us.
const FILTER: &str = "info,sled=off";
/// No configuration is larger, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// A day: no wait of ours is longer.
const DAY_S: u32 = 86_400;
const DAY_MS: u64 = 86_400_000;

/// Everything that is wrong with a file; displays as one line each, `file:line: key: what`.
#[derive(Debug)]
pub struct ConfigErrors {
    /// Which file.
    pub file: PathBuf,
    /// Never empty.
    pub errors: Vec<ConfigError>,
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.file.display())?;
            if let Some(line) = error.line {
                write!(f, ":{line}")?;
            }
            if !error.key.is_empty() {
                write!(f, ": {}", error.key)?;
            }
            write!(f, ": {}", error.message)?;
        }
        Ok(())
    }
}

/// Reads and checks the file; relative paths in it begin at its directory.
pub fn read(file: &Path, machine: &Machine) -> Result<Config, ConfigErrors> {
    let failed = |message: String| ConfigErrors {
        file: file.to_owned(),
        errors: vec![ConfigError {
            key: String::new(),
            line: None,
            message,
        }],
    };
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| failed(format!("can't be read: {error}")))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(format!(
            "is no configuration: larger than {FILE_BYTES_MAX} bytes"
        )));
    }
    let base = file.parent().unwrap_or(Path::new(""));
    parse(&text, base, machine).map_err(|errors| ConfigErrors {
        file: file.to_owned(),
        errors,
    })
}

/// Checks a text; relative paths in it begin at `base`.
pub fn parse(text: &str, base: &Path, machine: &Machine) -> Result<Config, Vec<ConfigError>> {
    let mut reader = Reader::new(text);
    let config = config(&mut reader, base, machine);
    relations::check(&config, &mut reader, machine);
    let (errors, _) = reader.finish();
    if errors.is_empty() {
        Ok(config)
    } else {
        Err(errors)
    }
}

/// Every key that a file may hold.
pub fn keys() -> Vec<Key> {
    let mut reader = Reader::new("");
    config(&mut reader, Path::new(""), &Machine::UNBOUNDED);
    reader.finish().1
}

fn config(reader: &mut Reader<'_>, base: &Path, machine: &Machine) -> Config {
    let ingress = ingress(reader);
    let workers = ingress.workers.unwrap_or(machine.cores);
    Config {
        signaling: signaling(reader),
        data: data(reader, workers),
        ingress,
        request: request(reader),
        auth: auth(reader, base),
        store: store(reader, base),
        admin: admin(reader),
        drain: drain(reader),
        log: log(reader),
        plaintext_beyond_loopback: reader.flag("", "plaintext_beyond_loopback"),
    }
}

fn signaling(reader: &mut Reader<'_>) -> Signaling {
    let table = "signaling";
    Signaling {
        listen: reader.address(table, "listen", loopback(7000)),
        proxy_protocol: reader.flag(table, "proxy_protocol"),
        sessions_max: reader.number(table, "sessions_max", 100_000, 1..=1_000_000_000),
        shards: reader.number_or_none(table, "shards", 1..=SHARDS_MAX),
        timeout_min_s: reader.number(table, "timeout_min_s", 10, 1..=DAY_S),
        timeout_max_s: reader.number(table, "timeout_max_s", 3_600, 1..=DAY_S),
        connect_timeout: reader.duration(
            table,
            "connect_timeout_ms",
            Unit::Millis,
            10_000,
            10..=600_000,
        ),
        grace_max: reader.duration(table, "grace_max_ms", Unit::Millis, 30_000, 10..=3_600_000),
        registrations_per_s_max: reader.number(table, "registrations_per_s_max", 0, 0..=10_000_000),
        retry_after_s: reader.number(table, "retry_after_s", 5, 1..=3_600),
        mailbox_letters_max: reader.number(table, "mailbox_letters_max", 4_096, 16..=1_048_576),
    }
}

fn data(reader: &mut Reader<'_>, workers: usize) -> Data {
    let table = "data";
    let idle_max: usize = reader.number(table, "idle_max", 2_048, 0..=1_000_000);
    let unbound_max: usize = reader.number(table, "unbound_max", 1_024, 1..=1_000_000);
    Data {
        listen: reader.address(table, "listen", loopback(7001)),
        proxy_protocol: reader.flag(table, "proxy_protocol"),
        advertise: reader.host_port(table, "advertise"),
        bind_timeout: reader.duration(table, "bind_timeout_ms", Unit::Millis, 10_000, 10..=600_000),
        unbound_max: unbound_max.div_ceil(workers.max(1)),
        idle_max: idle_max.div_ceil(workers.max(1)),
    }
}

fn ingress(reader: &mut Reader<'_>) -> Ingress {
    let table = "ingress";
    let domains = "domain names in quotes, like [\"handsets.example.net\"]";
    Ingress {
        listen: reader.address(table, "listen", loopback(8080)),
        proxy_protocol: reader.flag(table, "proxy_protocol"),
        domains: reader.texts(table, "domains", domains, domain),
        workers: reader.number_or_none(table, "workers", 1..=1_024),
        connections_max: reader.number(table, "connections_max", 8_192, 1..=10_000_000),
        requests_max: reader.number(table, "requests_max", 4_096, 1..=10_000_000),
        requests_per_handset_max: reader.number(
            table,
            "requests_per_handset_max",
            32,
            1..=1_000_000,
        ),
        requests_per_caller_max: reader.number(
            table,
            "requests_per_caller_max",
            512,
            1..=10_000_000,
        ),
        h2_streams_max: reader.number(table, "h2_streams_max", 128, 1..=10_000),
        header_bytes_max: reader.number(table, "header_bytes_max", 32_768, 1_024..=1_048_576),
        headers_max: reader.number(table, "headers_max", 100, 8..=1_024),
        body_bytes_max: reader.number(table, "body_bytes_max", 0, 0..=u64::MAX >> 1),
        header_timeout: reader.duration(
            table,
            "header_timeout_ms",
            Unit::Millis,
            30_000,
            10..=DAY_MS,
        ),
        body_idle_timeout: reader.duration(
            table,
            "body_idle_timeout_ms",
            Unit::Millis,
            30_000,
            10..=DAY_MS,
        ),
        write_timeout: reader.duration(
            table,
            "write_timeout_ms",
            Unit::Millis,
            60_000,
            10..=DAY_MS,
        ),
    }
}

fn request(reader: &mut Reader<'_>) -> Request {
    let table = "request";
    Request {
        wake_timeout: reader.duration(table, "wake_timeout_ms", Unit::Millis, 10_000, 20..=600_000),
        response_timeout: reader.duration(
            table,
            "response_timeout_ms",
            Unit::Millis,
            90_000,
            10..=DAY_MS,
        ),
        response_idle_timeout: reader.duration(
            table,
            "response_idle_timeout_ms",
            Unit::Millis,
            300_000,
            10..=DAY_MS,
        ),
        reconnect_hold: reader.duration(table, "reconnect_hold_ms", Unit::Millis, 0, 0..=600_000),
        recent: reader.duration(table, "recent_s", Unit::Seconds, 120, 1..=u64::from(DAY_S)),
    }
}

fn auth(reader: &mut Reader<'_>, base: &Path) -> Auth {
    let jwks_file = reader.text("auth", "jwks_file").map(|file| base.join(file));
    let audience = reader.text("auth", "audience");
    match reader.section_as_text("auth").as_deref() {
        Some("none") => return Auth::None,
        Some(_) => {
            let wrong = "as a text can only be \"none\" (a lab on loopback); else write [auth] and jwks_file below it";
            reader.wrong("", "auth", wrong);
        }
        None if reader.has("", "auth") && !reader.is_table("auth") => {
            reader.wrong(
                "",
                "auth",
                "must be the text \"none\" or a table: write [auth] and jwks_file below it",
            );
        }
        None if jwks_file.is_none() && !reader.has("auth", "jwks_file") => {
            let missing = "is missing: name the handsets' public keys (`gateway keygen` makes some for a lab), \
                           or write auth = \"none\" at the top, for a lab on loopback";
            reader.wrong("auth", "jwks_file", missing);
        }
        None => {}
    }
    Auth::Jwks {
        jwks_file: jwks_file.unwrap_or_default(),
        audience,
    }
}

fn store(reader: &mut Reader<'_>, base: &Path) -> Store {
    let table = "store";
    Store {
        path: reader.text(table, "path").map(|path| base.join(path)),
        flush_interval: reader.duration(
            table,
            "flush_interval_ms",
            Unit::Millis,
            1_000,
            10..=3_600_000,
        ),
        pending_rows_max: reader.number(table, "pending_rows_max", 500_000, 1..=10_000_000),
        cache_bytes: reader.number(table, "cache_bytes", 4 << 20, 1 << 20..=1 << 40),
    }
}

fn admin(reader: &mut Reader<'_>) -> Admin {
    let table = "admin";
    Admin {
        listen: reader.address(table, "listen", loopback(9100)),
        beyond_loopback: reader.flag(table, "beyond_loopback"),
        hosts: reader.texts(
            table,
            "hosts",
            "host names in quotes, like [\"gateway-1.example.net\"]",
            domain,
        ),
    }
}

fn drain(reader: &mut Reader<'_>) -> Drain {
    let table = "drain";
    Drain {
        spread: reader.duration(table, "spread_ms", Unit::Millis, 30_000, 0..=DAY_MS),
        finish: reader.duration(table, "finish_ms", Unit::Millis, 30_000, 0..=DAY_MS),
        reconnect_to: reader.host_port(table, "reconnect_to"),
    }
}

fn log(reader: &mut Reader<'_>) -> Log {
    let filter = reader
        .text("log", "filter")
        .unwrap_or_else(|| FILTER.to_owned());
    let wrong = match filter.parse::<Targets>() {
        Err(error) => Some(error.to_string()),
        // A word alone is taken for a module all of whose lines are wanted: a level misspelt would silence all others.
        Ok(_) => filter
            .split(',')
            .map(str::trim)
            .find(|word| !word.contains('=') && word.parse::<LevelFilter>().is_err())
            .map(|word| format!("{word:?} is no level (off, error, warn, info, debug, trace)")),
    };
    if let Some(wrong) = wrong {
        reader.wrong(
            "log",
            "filter",
            format!("must be a filter like \"info\" or \"everline_gateway=debug\": {wrong}"),
        );
    }
    Log {
        filter,
        msisdns_in_full: reader.flag("log", "msisdns_in_full"),
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// A host name in lower case, without the trailing dot; addresses are not names.
fn domain(text: &str) -> Option<String> {
    const NAME_BYTES_MAX: usize = 253;
    const LABEL_BYTES_MAX: usize = 63;
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let valid = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(letters)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_name = name.len() <= NAME_BYTES_MAX && name.split('.').all(valid);
    // A last label of digits alone would be an IPv4 address to every client.
    let is_address = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    (is_name && !is_address).then_some(name)
}
