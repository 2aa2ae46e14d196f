//! The command line: what `loadgen run` takes, and the one check that turns it into a plan.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use everline_protocol::{Millis, Msisdn};

use crate::address::{BadSources, Block, Forbidden, HANDSETS_PER_SOURCE, Sources, Targets};
use crate::caller::CallPlan;
use crate::fleet::{DATA_SOURCES, FleetPlan};
use crate::machine::descriptors_max;
use crate::orders::Leave;
use crate::run::RunPlan;
use crate::scenario::{CallSetting, RequestsTable, Size};
use crate::tokens::{BadKey, Mint};

/// Where the private keys of a lab may lie: as in the examples, or left by the demo.
const LAB_KEYS: [&str; 2] = [
    "gateway-keys/private.jwks.json",
    ".demo/keys/private.jwks.json",
];

/// Simulates handsets and their callers against an Everline gateway.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Registers handsets, holds them, requests them through the ingress, and reports.
    #[command(after_long_help = EXAMPLES)]
    Run(Box<RunArgs>),
}

const EXAMPLES: &str = "\
Examples:
  A thousand handsets on a gateway on this machine, held for a minute:
    loadgen run --handsets 1000

  The same against a lab gateway with auth = \"none\", with 50 requests a second to random handsets:
    loadgen run --handsets 1000 --token none --requests-per-second 50

  A hundred thousand handsets, three minutes of keep-alive at 60 s, with the gateway's CPU and memory in the report:
    loadgen run --handsets 100000 --timeout 60 --hold 3m --requests-per-second 50 \\
      --key gateway-keys/private.jwks.json --gateway-pid \"$(pidof gateway)\" --report out.json

  As many requests as 64 callers can make, over data channels that stay open:
    loadgen run --handsets 100 --linger 5 --concurrency 64 --body-bytes 1024

  Only callers, for a handset that somebody else runs:
    loadgen run --handsets 0 --target-msisdn 34600000001 --path /contacts --requests-per-second 10

Phases: ramp (register), hold (keep alive, and request if asked to), finish (leave). Ctrl-C goes on to the finish and
the report; a second Ctrl-C stops at once, still with the report.

Exit status: 0 all well; 1 something was lost, refused, failed or not sent; 2 wrong usage; 3 no io_uring here.";

/// What `run` takes.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// How many handsets to hold.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        help_heading = "Handsets"
    )]
    pub handsets: u32,
    /// Number of the first handset; the others follow it.
    #[arg(long, value_name = "MSISDN", default_value = "34700000000", value_parser = msisdn, help_heading = "Handsets")]
    pub first_msisdn: Msisdn,
    /// Keep-alive timeout that the handsets ask for, in seconds (1 to 86400).
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400), help_heading = "Handsets")]
    pub timeout: u32,
    /// Seconds for which handsets keep an idle data channel for the next request; 0: one channel a request.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=86_400), help_heading = "Handsets")]
    pub linger: u32,
    /// Size of the handsets' answers. They begin with a line that names handset and request, and are never shorter.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 64,
        help_heading = "Handsets"
    )]
    pub body_bytes: u64,
    /// Handsets that were lost or refused do not come back.
    #[arg(long, help_heading = "Handsets")]
    pub no_reconnect: bool,
    /// How handsets leave at the end.
    #[arg(long, value_enum, default_value = "bye", help_heading = "Handsets")]
    pub leave: Leave,
    /// How long a handset waits for a connection, for CONNREGISTERED, and for a KEEPALIVE that is overdue.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = span, help_heading = "Handsets")]
    pub answer_limit: Duration,

    /// Registrations begun each second [default: as fast as --connecting lets them].
    #[arg(long, value_name = "PER_SECOND", value_parser = rate, help_heading = "Ramp")]
    pub rate: Option<f64>,
    /// Registrations under way at one time.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Ramp")]
    pub connecting: u32,
    /// The ramp ends after this time even if handsets are missing.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = span, help_heading = "Ramp")]
    pub ramp_limit: Duration,

    /// The gateway's signaling address.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:7000",
        help_heading = "Gateway"
    )]
    pub signaling: SocketAddr,
    /// Where data channels go, unless the gateway says otherwise [default: the signaling address, on --data-port].
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        conflicts_with = "data_port",
        help_heading = "Gateway"
    )]
    pub data: Option<SocketAddr>,
    /// Port for data channels on the signaling address.
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 7001,
        help_heading = "Gateway"
    )]
    pub data_port: u16,
    /// Allows a target that is not this machine: you are allowed to load it. Repeatable.
    #[arg(long, value_name = "CIDR", help_heading = "Gateway")]
    pub allow_target: Vec<Block>,
    /// Loopback addresses to connect from, at most 10,000 handsets each; used when the target is loopback.
    #[arg(
        long,
        value_name = "CIDR",
        default_value = "127.1.0.0/16",
        help_heading = "Gateway"
    )]
    pub sources: Block,
    /// Samples this process's CPU and memory for the report.
    #[arg(long, value_name = "PID", help_heading = "Gateway")]
    pub gateway_pid: Option<u32>,

    /// JWK or JWKS file with the private key that signs the handsets' tokens [default: gateway-keys/private.jwks.json
    /// or .demo/keys/private.jwks.json if there is one, else as --token none].
    #[arg(long, value_name = "FILE", group = "tokens", help_heading = "Tokens")]
    pub key: Option<PathBuf>,
    /// File with the shared secret that signs them with HS256.
    #[arg(long, value_name = "FILE", group = "tokens", help_heading = "Tokens")]
    pub hs256_secret_file: Option<PathBuf>,
    /// Sends this text as every handset's token: `none` for a lab gateway with auth = "none".
    #[arg(long, value_name = "TEXT", group = "tokens", value_parser = token, help_heading = "Tokens")]
    pub token: Option<String>,
    /// The tokens' `aud`.
    #[arg(long, value_name = "TEXT", help_heading = "Tokens")]
    pub audience: Option<String>,
    /// How long tokens are valid from the moment of their registration.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = span, help_heading = "Tokens")]
    pub token_valid: Duration,

    /// Open loop: so many requests are due each second, whatever became of those before; latency counts from then.
    #[arg(long, value_name = "R", value_parser = rate, conflicts_with = "concurrency", help_heading = "Callers")]
    pub requests_per_second: Option<f64>,
    /// Closed loop: so many callers, one request each at a time.
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Callers")]
    pub concurrency: Option<u32>,
    /// The gateway's ingress.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8080",
        help_heading = "Callers"
    )]
    pub ingress: SocketAddr,
    /// Domain under which the gateway addresses handsets.
    #[arg(long, value_name = "NAME", default_value = "localhost", value_parser = domain, help_heading = "Callers")]
    pub domain: String,
    /// Addresses handsets as MSISDN.DOMAIN/PATH (host form) instead of DOMAIN/MSISDN/PATH (path form).
    #[arg(long, help_heading = "Callers")]
    pub host_form: bool,
    /// Path to request.
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = path, help_heading = "Callers")]
    pub path: String,
    /// Method to request with [default: GET, or POST with --upload-bytes].
    #[arg(long, value_name = "METHOD", help_heading = "Callers")]
    pub method: Option<http::Method>,
    /// Size of the requests' bodies.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 0,
        help_heading = "Callers"
    )]
    pub upload_bytes: u64,
    /// Requests only this handset, instead of any registered one.
    #[arg(long, value_name = "MSISDN", value_parser = msisdn, help_heading = "Callers")]
    pub target_msisdn: Option<Msisdn>,
    /// A new connection for each request.
    #[arg(long, help_heading = "Callers")]
    pub close: bool,
    /// Longest time from the sending of a request to the last byte of its answer.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = span, help_heading = "Callers")]
    pub request_timeout: Duration,
    /// Most requests in flight at a rate; those beyond are counted as not sent. At most half of this process's descriptors.
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Callers")]
    pub in_flight: u64,
    /// Takes every answer as good, whatever its body; so it is with --target-msisdn for a handset not of this run.
    #[arg(long, help_heading = "Callers")]
    pub no_verify: bool,

    /// How long to hold the handsets, and to request them, after the ramp.
    #[arg(long, visible_alias = "duration", value_name = "TIME", default_value = "60s", value_parser = span, help_heading = "Run")]
    pub hold: Duration,
    /// Threads for handsets; more are used if their rings' tables could not hold all [default: half of the cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Run")]
    pub threads: Option<u32>,
    /// Slots of a ring's table [default: as many as descriptors are allowed].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..), help_heading = "Run")]
    pub table_slots: Option<u32>,
    /// Threads for callers.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Run")]
    pub caller_threads: u32,
    /// Writes the report as JSON to this file (docs/loadgen-report.md describes it).
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub report: Option<PathBuf>,
    /// No progress, only the report at the end.
    #[arg(long, help_heading = "Run")]
    pub quiet: bool,
}

/// Arguments that are well-formed, but not together.
#[derive(Debug, thiserror::Error)]
pub enum Usage {
    /// A target that is not loopback.
    #[error("{0}")]
    Forbidden(#[from] Forbidden),
    /// Source addresses.
    #[error("--sources: {0}")]
    Sources(#[from] BadSources),
    /// Key files.
    #[error("{0}")]
    Key(#[from] BadKey),
    /// The numbers run out.
    #[error("--first-msisdn with --handsets goes beyond 999999999999999, the last MSISDN")]
    Numbers,
    /// What callers are to do.
    #[error("requests: {0}")]
    Requests(String),
    /// Nothing to do.
    #[error(
        "--handsets 0 leaves nothing to do without --target-msisdn and --requests-per-second or --concurrency"
    )]
    Nothing,
    /// Process to sample.
    #[error("--gateway-pid: there is no process {0} that can be looked at")]
    NoProcess(u32),
}

impl RunArgs {
    /// The plan, if the arguments fit together. `command` is the command line as it was typed.
    pub fn plan(self, command: &[String]) -> Result<RunPlan, Usage> {
        let targets = Targets::new(self.allow_target.clone());
        targets.check(self.signaling)?;
        let data = self
            .data
            .unwrap_or(SocketAddr::new(self.signaling.ip(), self.data_port));
        targets.check(data)?;
        let calls = self.call_plan()?;
        if let Some(calls) = &calls {
            targets.check(calls.ingress)?;
        }
        if self.handsets == 0 && (calls.is_none() || self.target_msisdn.is_none()) {
            return Err(Usage::Nothing);
        }
        if let Some(pid) = self.gateway_pid {
            crate::machine::ProcessSample::of(pid).ok_or(Usage::NoProcess(pid))?;
        }
        let roster = crate::roster::Roster::new(self.first_msisdn, self.handsets)
            .map_err(|_range| Usage::Numbers)?;
        let handset_sources = self.handsets.div_ceil(HANDSETS_PER_SOURCE);
        let loopback_v4 =
            |to: SocketAddr| to.ip().is_loopback() && matches!(to.ip(), IpAddr::V4(_));
        let sources = (loopback_v4(self.signaling) || loopback_v4(data))
            .then(|| Sources::new(self.sources, handset_sources + DATA_SOURCES))
            .transpose()?;
        let (mint, token_note) = self.mint()?;
        Ok(RunPlan {
            command: masked(command),
            handsets: self.handsets,
            threads: self.threads.unwrap_or_else(half_the_cores),
            table_slots: self.table_slots,
            connecting: self.connecting,
            per_second: self.rate,
            ramp_limit: self.ramp_limit,
            hold: self.hold,
            caller_threads: self.caller_threads as usize,
            gateway_pid: self.gateway_pid,
            quiet: self.quiet,
            notes: token_note.into_iter().collect(),
            mint,
            roster,
            calls,
            fleet: FleetPlan {
                signaling: self.signaling,
                data,
                targets,
                sources,
                handset_sources,
                timeout_s: self.timeout,
                linger_s: self.linger,
                body_bytes: self.body_bytes,
                answer_limit: Millis(
                    u64::try_from(self.answer_limit.as_millis()).unwrap_or(u64::MAX),
                ),
                reconnect: !self.no_reconnect,
                leave: self.leave,
            },
        })
    }

    /// The flags of callers as the table that a scenario has for them.
    fn requests(&self) -> Option<RequestsTable> {
        if self.requests_per_second.is_none() && self.concurrency.is_none() {
            return None;
        }
        let target = self.target_msisdn;
        let method = self.method.as_ref();
        Some(RequestsTable {
            per_second: self.requests_per_second,
            concurrency: self.concurrency,
            targets: target.map_or("uniform".into(), |one| one.digits().to_string()),
            methods: method
                .map(|method| (method.to_string(), 1))
                .into_iter()
                .collect(),
            upload_bytes: Size::Fixed(self.upload_bytes),
            keep_alive: !self.close,
            host_form: self.host_form,
            path: self.path.clone(),
            timeout_s: self.request_timeout.as_secs_f64(),
            in_flight_max: self.in_flight,
            verify: !self.no_verify,
            ..RequestsTable::default()
        })
    }

    fn call_plan(&self) -> Result<Option<CallPlan>, Usage> {
        let setting = CallSetting {
            ingress: self.ingress,
            domain: self.domain.clone(),
            duration: self.hold,
            first: self.first_msisdn,
            handsets: self.handsets,
            answer_bytes: self.body_bytes,
            descriptors_max: descriptors_max(),
        };
        let plan = self.requests().map(|table| table.plan(&setting));
        plan.transpose().map_err(|wrong| {
            let wrong = wrong.iter().map(|wrong| format!("{}: {}", wrong.key, wrong.why));
            Usage::Requests(wrong.collect::<Vec<_>>().join("; "))
        })
    }

    /// The mint, and what to tell the tester of a choice that was made for him.
    fn mint(&self) -> Result<(Mint, Option<String>), BadKey> {
        let (audience, valid_s) = (self.audience.clone(), self.token_valid.as_secs().max(1));
        if let Some(text) = &self.token {
            return Ok((Mint::Fixed(text.clone()), None));
        }
        if let Some(file) = &self.hs256_secret_file {
            return Ok((Mint::from_secret_file(file, audience, valid_s)?, None));
        }
        if let Some(file) = &self.key {
            return Ok((Mint::from_key_file(file, audience, valid_s)?, None));
        }
        if let Some(keys) = LAB_KEYS.into_iter().find(|keys| Path::new(keys).exists()) {
            let note = format!("tokens are signed with {keys}");
            return Ok((
                Mint::from_key_file(Path::new(keys), audience, valid_s)?,
                Some(note),
            ));
        }
        let places = LAB_KEYS.join(" or ");
        let note = format!(
            "no --key, and no {places} here: handsets register with token=none, which only a lab gateway takes"
        );
        Ok((Mint::Fixed("none".into()), Some(note)))
    }
}

/// The command line without what may be a secret or somebody's number.
fn masked(command: &[String]) -> Vec<String> {
    let secret = |flag: &str| flag == "--token" || flag == "--target-msisdn";
    let mut mask_next = false;
    let mut masked = Vec::with_capacity(command.len());
    for word in command {
        masked.push(match word.split_once('=') {
            _ if std::mem::take(&mut mask_next) && word != "none" => "***".to_owned(),
            Some((flag, value)) if secret(flag) && value != "none" => format!("{flag}=***"),
            _ => {
                mask_next = secret(word);
                word.clone()
            }
        });
    }
    masked
}

fn half_the_cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    u32::try_from(cores / 2).unwrap_or(1).max(1)
}

/// `90`, `90s`, `500ms`, `3m`, `2h`.
fn span(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_s = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("expected a time such as 90s, 500ms, 3m or 2h".into()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_bad| "expected a time such as 90s, 500ms, 3m or 2h")?;
    Duration::try_from_secs_f64(number * unit_s)
        .ok()
        .filter(|span| *span <= Duration::from_hours(24 * 365))
        .ok_or_else(|| "longer than a year".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_bad| "expected a number")?;
    if (0.001..=10_000_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("expected 0.001 to 10000000 a second".into())
    }
}

fn msisdn(text: &str) -> Result<Msisdn, String> {
    Msisdn::parse(text.as_bytes()).map_err(|error| error.to_string())
}

fn token(text: &str) -> Result<String, String> {
    let fit =
        !text.is_empty() && text.len() <= 1500 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fit {
        Ok(text.into())
    } else {
        Err("expected 1 to 1500 visible ASCII characters".into())
    }
}

fn domain(text: &str) -> Result<String, String> {
    let fit =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    if !text.is_empty() && text.len() <= 253 && text.bytes().all(fit) {
        Ok(text.into())
    } else {
        Err("expected a domain name".into())
    }
}

fn path(text: &str) -> Result<String, String> {
    match text.parse::<http::uri::PathAndQuery>() {
        Ok(_) if text.starts_with('/') => Ok(text.into()),
        _ => Err("expected a path that begins with /".into()),
    }
}
