//! The command line: what `loadgen` takes. `plan` turns the arguments of a run into its plan, with the one check of
//! them; `phases` holds the flags that a scenario stands in for.

mod phases;
mod plan;
pub(crate) mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub use self::phases::PhaseFlags;
pub use self::plan::Usage;
use self::values::{domain, host_port, span, token};
use crate::address::Block;
use crate::scenario::FleetTable;
use crate::scenario::part::Part;

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
    /// Lists the scenarios that are shipped, or prints one to be copied.
    Scenarios {
        /// The one to print.
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Says everything that is wrong with a scenario, or what a run of it would do.
    Check {
        /// File, or name of a shipped scenario.
        #[arg(value_name = "FILE")]
        file: String,
    },
    /// Puts the figures of two runs side by side, with their ratio and what else differs.
    Compare {
        /// Report of the run that the other is held against (`loadgen run --report`).
        #[arg(value_name = "A.json")]
        a: PathBuf,
        /// Report of the other run.
        #[arg(value_name = "B.json")]
        b: PathBuf,
    },
    /// Draws the page of a report that was written earlier, as `loadgen run --html` does.
    Page {
        /// The report (`loadgen run --report`).
        #[arg(value_name = "REPORT.json")]
        report: PathBuf,
        /// The page to write.
        #[arg(value_name = "PAGE.html")]
        page: PathBuf,
    },
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
    loadgen run --handsets 100 --linger 5 --concurrency 64 --answer-bytes 1024

  A scenario that is shipped, with fewer handsets than it says; and one of your own, made from it:
    loadgen run --scenario storm --handsets 2000
    loadgen scenarios storm > mine.toml; loadgen check mine.toml; loadgen run --scenario mine.toml

  One run shared by two processes, each with half of the handsets and rates; start both within a second or two:
    loadgen run --scenario million --part 1/2 --report 1.json & loadgen run --scenario million --part 2/2 --report 2.json

  A run whose page shows somebody how it went; and how it did beside an earlier one:
    loadgen run --scenario storm --handsets 2000 --report new.json --html new.html
    loadgen compare old.json new.json

  Only callers, for a handset that somebody else runs:
    loadgen run --handsets 0 --target-msisdn 34600000001 --path /contacts --requests-per-second 10

Without --scenario the phases are: ramp (register), hold (keep alive, and request if asked to), finish (leave).
docs/loadgen-scenarios.md describes the phases of a scenario. Ctrl-C goes on to the finish and the report; a second
Ctrl-C stops at once, still with the report.

Exit status: 0 all well; 1 a threshold was missed or, without thresholds, something was lost, refused, failed or not
sent; 2 wrong usage; 3 no io_uring here.";

/// What `run` takes.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// What to do: a shipped scenario (`loadgen scenarios` lists them) or a file. Flags about handsets, gateway and
    /// tokens go before what it says.
    #[arg(long, value_name = "NAME|FILE", help_heading = "Run")]
    pub scenario: Option<String>,
    /// A figure to reach, such as "p99_ms < 50", beside those of the scenario; exit status 1 tells that one was
    /// missed (docs/loadgen-report.md lists the figures). Repeatable.
    #[arg(long, value_name = "THRESHOLD", help_heading = "Run")]
    pub threshold: Vec<String>,
    /// This process's part of a run that N processes share: the K-th of N equal ranges of handsets, and the same share
    /// of every rate, of all callers and of the source addresses.
    #[arg(long, value_name = "K/N", default_value_t = Part::WHOLE, help_heading = "Run")]
    pub part: Part,
    /// What the handsets are like.
    #[command(flatten)]
    pub fleet: FleetTable,
    /// Handsets that were lost or refused do not come back.
    #[arg(long, help_heading = "Handsets")]
    pub no_reconnect: bool,
    /// What happens, without a scenario.
    #[command(flatten)]
    pub phases: PhaseFlags,

    /// The gateway's signaling address; a name is looked up once.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7000", value_parser = host_port, help_heading = "Gateway")]
    pub signaling: String,
    /// Where data channels go, unless the gateway says otherwise [default: the signaling address, on --data-port].
    #[arg(long, value_name = "HOST:PORT", value_parser = host_port, conflicts_with = "data_port", help_heading = "Gateway")]
    pub data: Option<String>,
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
        default_value_t = Block::SOURCES,
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

    /// The gateway's ingress.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080", value_parser = host_port, help_heading = "Callers")]
    pub ingress: String,
    /// Domain under which the gateway addresses handsets.
    #[arg(long, value_name = "NAME", default_value = "localhost", value_parser = domain, help_heading = "Callers")]
    pub domain: String,
    /// Threads for handsets; more are used if their rings' tables could not hold all [default: half of the cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Run")]
    pub threads: Option<u32>,
    /// Slots of a ring's table [default: as many as descriptors are allowed].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..), help_heading = "Run")]
    pub table_slots: Option<u32>,
    /// Threads for callers.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Run")]
    pub caller_threads: u32,
    /// Lets Prometheus read how the run is doing, at GET /metrics on this address (docs/loadgen-metrics.md).
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Run")]
    pub metrics: Option<SocketAddr>,
    /// Allows --metrics an address that is not loopback: whoever reaches it reads the numbers.
    #[arg(long, requires = "metrics", help_heading = "Run")]
    pub metrics_beyond_loopback: bool,
    /// Writes the report as JSON to this file (docs/loadgen-report.md describes it).
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub report: Option<PathBuf>,
    /// Writes the report as one page with charts to this file; it needs no network, and no server to be looked at.
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub html: Option<PathBuf>,
    /// No progress, only the report at the end.
    #[arg(long, help_heading = "Run")]
    pub quiet: bool,
}
