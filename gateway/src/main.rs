//! The command line: `gateway run`, `check`, `keygen`, `token`.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use everline_gateway::config::Config;
use everline_gateway::config_file::{self, ConfigErrors};
use everline_gateway::gateway::{Gateway, Sizes, StartError};
use everline_gateway::machine::Machine;
use everline_gateway::registration::{Verifier, lab};
use everline_protocol::Msisdn;
use tracing_subscriber::EnvFilter;

const EXIT_CODES: &str = "\
Exit codes:
  0  it did what it was asked to; for `run`: it drained and left
  1  it failed while running: a port in use, a thread that broke, a second signal
  2  the command line or the configuration is wrong
  3  io_uring is not available; the message says what forbids it and how to allow it";

/// Everline's permanent-connections manager: makes handsets reachable over HTTP at their phone numbers.
#[derive(Parser)]
#[command(name = "gateway", version, after_help = EXIT_CODES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT, then drain; a second signal ends it at once.
    #[command(after_help = EXIT_CODES)]
    Run(ConfigArgs),
    /// Read the configuration: tell all that is wrong with it, or what it would start.
    #[command(after_help = EXIT_CODES)]
    Check(ConfigArgs),
    /// Make a key set for a lab: jwks.json for the gateway, private.jwks.json for `gateway token`.
    Keygen {
        /// Directory to write the two files to; files that exist are not overwritten.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// EdDSA, ES256 or HS256.
        #[arg(long, default_value = "EdDSA")]
        algorithm: String,
    },
    /// Mint a handset's token for a lab and print it.
    Token {
        /// The private key set that `gateway keygen` wrote.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The handset's number, digits without `+`.
        #[arg(long)]
        msisdn: String,
        /// From now until it expires.
        #[arg(long, value_name = "SECONDS", default_value_t = 365 * 86_400)]
        lifetime_s: u64,
        /// What `aud` says, where the gateway asks for one.
        #[arg(long)]
        audience: Option<String>,
        /// Which key of the set signs; the first if absent.
        #[arg(long)]
        kid: Option<String>,
    },
}

#[derive(Args)]
struct ConfigArgs {
    /// The configuration, TOML; every key is explained in gateway.example.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Check(args) => check(&args),
        Command::Keygen { out, algorithm } => keygen(&out, &algorithm),
        Command::Token {
            key,
            msisdn,
            lifetime_s,
            audience,
            kid,
        } => token(
            &key,
            &msisdn,
            lifetime_s,
            audience.as_deref(),
            kid.as_deref(),
        ),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell if stderr is closed.
            let _ = writeln!(std::io::stderr(), "{error}");
            exit_code(&error)
        }
    }
}

/// One place maps errors to exit codes.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<StartError>() {
        Some(StartError::Ring(_)) => return ExitCode::from(3),
        Some(StartError::Keys(_)) => return ExitCode::from(2),
        _ => {}
    }
    let ours = error.is::<ConfigErrors>() || error.is::<lab::LabError>() || error.is::<Usage>();
    ExitCode::from(if ours { 2 } else { 1 })
}

/// A wrong word on the command line that clap can't judge.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn run(args: &ConfigArgs) -> anyhow::Result<()> {
    let machine = Machine::probe();
    everline_uring::limit_malloc_arenas(machine.cores);
    let config = config_file::read(&args.config, &machine)?;
    log_to_stderr(&config)?;
    let gateway = Gateway::start_obeying_signals(config)?;
    gateway.wait()?;
    gateway.stop()?;
    tracing::info!("left");
    Ok(())
}

fn log_to_stderr(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log.filter)
        .map_err(|error| Usage(format!("log.filter: {error}")))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would complain about a log that can't be written on stderr, which is that log, and panic: a collector that
        // goes away, or a full disk, must not take a million sessions with it.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // Colour is for people at a terminal: a journal would show its codes.
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    log.with_ansi(ansi)
        .try_init()
        .map_err(|error| anyhow::anyhow!("the log can't be set up: {error}"))?;
    std::panic::set_hook(Box::new(
        |panic| tracing::error!(%panic, "a thread panicked"),
    ));
    Ok(())
}

fn check(args: &ConfigArgs) -> anyhow::Result<()> {
    let machine = Machine::probe();
    let config = config_file::read(&args.config, &machine)?;
    Verifier::from_config(&config.auth).map_err(StartError::Keys)?;
    let sizes = Sizes::of(&config, &machine);
    let mut out = std::io::stdout().lock();
    writeln!(out, "ok")?;
    writeln!(out, "signaling {}", config.signaling.listen)?;
    writeln!(out, "data      {}", config.data.listen)?;
    writeln!(
        out,
        "ingress   {} for {}",
        config.ingress.listen,
        config.ingress.domains.join(", ")
    )?;
    writeln!(out, "admin     {}", config.admin.listen)?;
    writeln!(
        out,
        "{} sessions in {} shards of {} sockets, {} workers, {} file descriptors allowed",
        config.signaling.sessions_max,
        sizes.shards,
        sizes.slots,
        sizes.workers,
        machine.descriptors
    )?;
    match &config.store.path {
        Some(path) => writeln!(out, "store     {}", path.display())?,
        None => writeln!(
            out,
            "store     none: nothing is known of handsets after a restart"
        )?,
    }
    Ok(())
}

fn keygen(out: &std::path::Path, algorithm: &str) -> anyhow::Result<()> {
    let files = lab::keygen(out, algorithm)?;
    let mut stdout = std::io::stdout().lock();
    writeln!(
        stdout,
        "{}  public keys, for auth.jwks_file",
        files.public.display()
    )?;
    writeln!(
        stdout,
        "{}  private keys, for `gateway token`; kid {}",
        files.private.display(),
        files.kid
    )?;
    Ok(())
}

fn token(
    key: &std::path::Path,
    msisdn: &str,
    lifetime_s: u64,
    audience: Option<&str>,
    kid: Option<&str>,
) -> anyhow::Result<()> {
    let msisdn =
        Msisdn::parse(msisdn.as_bytes()).map_err(|error| Usage(format!("--msisdn: {error}")))?;
    let token = lab::mint(key, msisdn, Duration::from_secs(lifetime_s), audience, kid)?;
    writeln!(std::io::stdout(), "{token}")?;
    Ok(())
}
