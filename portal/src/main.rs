//! The command `portal`: reads its configuration and serves, or only says what is wrong with it.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use everline_portal::{CATALOGUE, Clock, Config, Portal, router, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What the process ends with when its configuration is at fault.
const BAD_CONFIG: u8 = 2;

/// The web site from which a remote user manages a handset.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or Ctrl-C.
    Run {
        /// The configuration; without one, the defaults (see portal.example.toml).
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Tell everything that is wrong with a configuration, and end.
    Check {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a command: it answers on the terminal"
)]
fn main() -> ExitCode {
    let command = Cli::parse().command;
    let path = match &command {
        Command::Run { config } => config.as_deref(),
        Command::Check { config } => Some(config.as_path()),
    };
    let config = match read(path) {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            return ExitCode::from(BAD_CONFIG);
        }
    };
    if let Command::Check { config } = command {
        println!("{}: fine", config.display());
        return ExitCode::SUCCESS;
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portal: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn read(path: Option<&Path>) -> Result<Config, Vec<String>> {
    let text = match path {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| vec![format!("{}: {error}", path.display())])?,
    };
    let place = path
        .map(|path| format!("{}: ", path.display()))
        .unwrap_or_default();
    Config::read(&text).map_err(|errors| {
        errors
            .iter()
            .map(|error| format!("{place}{error}"))
            .collect()
    })
}

fn run(config: Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would complain about a log that can't be written on stderr, which is that log, and panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("can't listen on {}", config.listen))?;
        let address = listener.local_addr().context("no address")?;
        let mut terminated = signal(SignalKind::terminate()).context("no signals")?;
        let mut interrupted = signal(SignalKind::interrupt()).context("no signals")?;
        let limits = config.limits;
        if config.exposure.plaintext_beyond_loopback && !config.listen.ip().is_loopback() {
            tracing::warn!(
                "passwords travel in the clear: nothing in front of this portal speaks TLS"
            );
        }
        tracing::info!(%address, gateway = %config.gateway, "portal is up");
        let portal = Portal::new(config, CATALOGUE, Clock::real()).context("no randomness")?;
        let stop = async {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
            tracing::info!("ending; answers under way are finished first");
        };
        serve(listener, router(portal), &limits, stop).await;
        Ok(())
    })
}
