//! The `loadgen` command: reads the command line, makes the run, prints the report, says by its exit status how it
//! went; or tells of scenarios, and of earlier runs, without a run.
#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use everline_loadgen::cli::{Cli, Command, RunArgs};
use everline_loadgen::compare::Comparison;
use everline_loadgen::html;
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
        Command::Compare { a, b } => compare(&a, &b),
        Command::Page { report, page } => draw(&report, &page),
    }
}

fn run_as(arguments: RunArgs) -> ExitCode {
    let command: Vec<String> = std::env::args().collect();
    let files = Files {
        report: arguments.report.clone(),
        page: arguments.html.clone(),
    };
    let plan = match arguments.plan(&command) {
        Ok(plan) => plan,
        Err(error) => return fail(USAGE, &error.to_string()),
    };
    if files.report.is_some() && files.report == files.page {
        return fail(
            USAGE,
            "--report and --html name the same file: each needs one of its own",
        );
    }
    // A report that can't be written should not be found out after hours.
    for (flag, file) in [("--report", &files.report), ("--html", &files.page)] {
        if let Some(file) = file
            && let Err(error) = OpenOptions::new().create(true).append(true).open(file)
        {
            let why = format!("{flag}: cannot write {}: {error}", file.display());
            return fail(USAGE, &why);
        }
    }
    match run(plan) {
        Ok(report) => tell(&report, &files),
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

/// Where the report goes beside the terminal.
struct Files {
    report: Option<PathBuf>,
    page: Option<PathBuf>,
}

fn tell(report: &Report, files: &Files) -> ExitCode {
    let is_told = write!(std::io::stdout(), "{}", Table(report)).is_ok();
    let json = |file: &PathBuf| (file.clone(), report.to_json() + "\n");
    let html = |file: &PathBuf| (file.clone(), html::page(report));
    let written = [
        files.report.as_ref().map(json),
        files.page.as_ref().map(html),
    ];
    let mut is_written = true;
    for (file, text) in written.iter().flatten() {
        if let Err(error) = std::fs::write(file, text) {
            fail(
                NOT_WELL,
                &format!("cannot write {}: {error}", file.display()),
            );
            is_written = false;
        }
    }
    if report.ok && is_written && (is_told || files.report.is_some() || files.page.is_some()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_WELL)
    }
}

fn compare(a: &Path, b: &Path) -> ExitCode {
    match (Report::read(a), Report::read(b)) {
        (Ok(a), Ok(b)) => say(&Comparison { a: &a, b: &b }.to_string()),
        (Err(error), _) | (_, Err(error)) => fail(USAGE, &error.to_string()),
    }
}

fn draw(report: &Path, page: &Path) -> ExitCode {
    let report = match Report::read(report) {
        Ok(report) => report,
        Err(error) => return fail(USAGE, &error.to_string()),
    };
    match std::fs::write(page, html::page(&report)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(USAGE, &format!("cannot write {}: {error}", page.display())),
    }
}

fn fail(status: u8, why: &str) -> ExitCode {
    // Nothing is left to do if even this can't be said.
    let _ = writeln!(std::io::stderr(), "loadgen: {why}");
    ExitCode::from(status)
}
