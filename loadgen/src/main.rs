//! The `loadgen` command: reads the command line, makes the run, prints the report, says by its exit status how it went.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use everline_loadgen::cli::{Cli, Command};
use everline_loadgen::report::Report;
use everline_loadgen::run::{RunError, run};
use everline_loadgen::table::Table;

const NOT_WELL: u8 = 1;
const USAGE: u8 = 2;
const NO_IO_URING: u8 = 3;

fn main() -> ExitCode {
    let Command::Run(arguments) = Cli::parse().command;
    let command: Vec<String> = std::env::args().collect();
    let file = arguments.report.clone();
    let plan = match arguments.plan(&command) {
        Ok(plan) => plan,
        Err(error) => return fail(USAGE, &error.to_string()),
    };
    // A report that can't be written should not be found out after hours.
    if let Some(file) = &file
        && let Err(error) = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
    {
        return fail(
            USAGE,
            &format!("--report: cannot write {}: {error}", file.display()),
        );
    }
    match run(plan) {
        Ok(report) => tell(&report, file.as_deref()),
        Err(error @ RunError::Ring(_)) => fail(NO_IO_URING, &error.to_string()),
        Err(error) => fail(NOT_WELL, &error.to_string()),
    }
}

fn tell(report: &Report, file: Option<&Path>) -> ExitCode {
    if write!(std::io::stdout(), "{}", Table(report)).is_err() && file.is_none() {
        return ExitCode::from(NOT_WELL);
    }
    if let Some(file) = file
        && let Err(error) = std::fs::write(file, report.to_json() + "\n")
    {
        return fail(
            NOT_WELL,
            &format!("cannot write {}: {error}", file.display()),
        );
    }
    if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_WELL)
    }
}

fn fail(status: u8, why: &str) -> ExitCode {
    // Nothing is left to do if even this can't be said.
    let _ = writeln!(std::io::stderr(), "loadgen: {why}");
    ExitCode::from(status)
}
