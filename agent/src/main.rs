//! The `agent` command: `run` and `check`. Everything it does is in the library.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use everline_agent::config::{Config, ConfigError};
use everline_agent::manager;
use everline_agent::owner::secret::Secret;
use everline_agent::serve::Serve;
use everline_agent::serve::builtin::media::apart;
use everline_agent::status::{Status, told};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The exit code of a configuration that can't be used.
const EXIT_CONFIG: u8 = 2;

/// What runs on the handset: the connections manager and the embedded web server.
#[derive(Debug, Parser)]
#[command(name = "agent", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Register with the gateway and answer requests, until SIGTERM or Ctrl-C
    Run {
        /// The configuration file (see agent.example.toml)
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Tell where the owner's screen is, and where its secret
    Owner {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print the address with the secret in it, to open the screen: keep it to yourself
        #[arg(long)]
        secret: bool,
    },
    /// Tell how the agent that runs with this configuration is: registered or not, and what that costs
    Status {
        /// The configuration file of the agent that runs
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make a small picture of the one on standard input: the agent runs itself for this, apart
    #[command(hide = true)]
    Thumbnail {
        /// What the picture is: image/jpeg
        media_type: String,
    },
    /// Check a configuration file and tell everything that is wrong with it
    Check {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let path = match &arguments.command {
        Command::Thumbnail { media_type } => return apart::main(media_type),
        Command::Run { config }
        | Command::Owner { config, .. }
        | Command::Status { config, .. }
        | Command::Check { config } => config,
    };
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if let Command::Check { .. } = arguments.command {
        for ConfigError { line, fault } in &config.notes {
            let line = line.map_or(String::new(), |line| format!(":{line}"));
            eprintln!("{}{line}: note: {fault}", path.display());
        }
        eprintln!("{}: good", path.display());
        return ExitCode::SUCCESS;
    }
    if let Command::Owner { secret, .. } = arguments.command {
        return owner(&config, path, secret);
    }
    if let Command::Status { json, .. } = arguments.command {
        return status(&config, json);
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would complain about a log that can't be written on stderr, which is that log, and panic.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    apart::allow();
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Tells where the owner's screen is. It makes no secret: the agent that runs has its own.
#[expect(clippy::print_stdout, reason = "what it was asked for")]
fn owner(config: &Config, path: &Path, secret: bool) -> ExitCode {
    let screen = match &config.serve {
        everline_agent::config::Serve::Builtin(builtin) => builtin.owner.as_ref(),
        everline_agent::config::Serve::Forward(_) => None,
    };
    let Some(screen) = screen else {
        eprintln!(
            "{}: has no [owner] table, so there is no owner's screen",
            path.display()
        );
        return ExitCode::from(EXIT_CONFIG);
    };
    let address = match screen.listen.port() {
        0 => {
            eprintln!("the port is another one at each start: the agent's log tells it");
            format!("http://{}:PORT/", screen.listen.ip())
        }
        _ => format!("http://{}/", screen.listen),
    };
    if !secret {
        println!(
            "screen  {address}\nsecret  {}",
            screen.secret_file.display()
        );
        return ExitCode::SUCCESS;
    }
    match Secret::read(&screen.secret_file) {
        Ok(Some(secret)) => {
            println!("{address}?secret={}", secret.text());
            ExitCode::SUCCESS
        }
        Ok(None) => {
            eprintln!("there is no secret yet: `agent run` makes it at its first start");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Asks the agent that runs.
#[expect(clippy::print_stdout, reason = "what it was asked for")]
fn status(config: &Config, json: bool) -> ExitCode {
    let socket = &config.told.socket;
    let snapshot = match told::ask(socket) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            eprintln!("{}: {}", socket.display(), told::advice(&error));
            return ExitCode::FAILURE;
        }
    };
    match serde_json::to_string_pretty(&snapshot) {
        Ok(text) if json => println!("{text}"),
        _ => println!("{snapshot}"),
    }
    ExitCode::SUCCESS
}

fn run(config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // For names and password hashes; the thread is gone again soon after.
        .max_blocking_threads(4)
        .build()
        .context("starting the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        let status = Status::default();
        let serve = Serve::open(&config.serve, &status).await?;
        let _told = told::start(&config.told, &status).await?;
        let mut signalled = async move || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let (end, leave) = tokio::sync::oneshot::channel();
        let running = manager::run(config, serve, status, async {
            let _ = leave.await;
        });
        tokio::pin!(running);
        tokio::select! {
            () = signalled() => {}
            () = &mut running => return Ok(()),
        }
        let _ = end.send(());
        // A second signal ends the agent at once, whatever is still in progress.
        tokio::select! {
            () = signalled() => {}
            () = running => {}
        }
        Ok(())
    })
}
