//! The `loadgen` command: reads the command line, makes the run, prints the report, says by its exit status how it
//! went; or tells of scenarios without a run.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use everline_loadgen::cli::{Cli, Command, RunArgs};
use everline_loadgen::report::Report;
use everline_loadgen::run::{RunError, run};
use everline_loadgen::scenario::describe::Described;
use everline_loadgen::scenario::{Lab, NoScenario, Scenario, shipped};
use everline_loadgen::table::Table;

const NOT_WELL: u8 = 1;
const USAGE: u8 = 2;
const NO_IO_URING: u8 = 3;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(arguments) => run_as(*arguments),
        Command::Scenarios { name: None } => list(),
        Command::Scenarios { name: Some(name) } => show(&name),
        Command::Check { file } => check(&file),
    }
}

fn run_as(arguments: RunArgs) -> ExitCode {
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

/// The shipped scenarios, a line each.
fn list() -> ExitCode {
    let mut text = String::new();
    for name in shipped::names() {
        let scenario = match Scenario::find(name) {
            Ok(scenario) => scenario,
            Err(error) => return fail(NOT_WELL, &error.to_string()),
        };
        text += &format!("{name:<10} {}\n", scenario.description.trim());
    }
    say(&text)
}

/// The file of a shipped scenario, to be copied.
fn show(name: &str) -> ExitCode {
    match shipped::text(name) {
        Some(text) => say(text),
        None => fail(USAGE, &NoScenario::Unknown(name.to_owned()).to_string()),
    }
}

fn check(file: &str) -> ExitCode {
    let scenario = match Scenario::find(file) {
        Ok(scenario) => scenario,
        Err(error) => return fail(USAGE, &error.to_string()),
    };
    match scenario.plan(&Lab::default()) {
        Ok(plan) => say(&Described(&scenario, &plan).to_string()),
        Err(problems) => fail(
            USAGE,
            &NoScenario::Wrong(file.to_owned(), problems).to_string(),
        ),
    }
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_listens) => ExitCode::from(NOT_WELL),
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
