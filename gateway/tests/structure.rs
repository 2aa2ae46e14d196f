//! Rules of the source that a compiler cannot see: which stage may know which, and how a file begins and how long it is.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A file above this many lines explains itself, or is split.
const FILE_LINES_MAX: usize = 800;

/// Files that are compiled for tests only.
const ONLY_TESTS: [&str; 2] = ["shard/simulation", "_test.rs"];

/// The module groups of `lib.rs`, in their order: heading → modules in the order listed.
fn groups() -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for line in fs::read_to_string(source().join("lib.rs"))
        .expect("lib.rs is there")
        .lines()
    {
        if let Some(heading) = line.strip_prefix("// ") {
            groups.push((heading.to_owned(), Vec::new()));
        } else if let Some(rest) = line.strip_prefix("pub mod ") {
            let name = rest.split(';').next().expect("a split has a first part");
            groups
                .last_mut()
                .expect("a heading stands before the first module")
                .1
                .push(name.to_owned());
        }
    }
    groups
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every Rust file below `folder`, those that hold only tests left out: they may know everything.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if is_rust(&path) {
            files.push(path);
        }
    }
    files
}

fn is_rust(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with(".rs") && !ONLY_TESTS.iter().any(|part| name.contains(part))
}

/// The modules of this crate that a file names, its tests left out.
fn imports(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a source file can be read");
    let code = text
        .split("#[cfg(test)]")
        .next()
        .expect("a split has a first part");
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let mut named = Vec::new();
    for line in lines {
        for rest in line.split("crate::").skip(1) {
            let name: String = rest
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            named.push(name);
        }
    }
    named
}

#[test]
fn a_stage_knows_only_later_stages_and_what_is_shared() {
    let groups = groups();
    let group = |start: &str| {
        &groups
            .iter()
            .find(|(heading, _)| heading.starts_with(start))
            .unwrap_or_else(|| panic!("no group {start}"))
            .1
    };
    let (way, shared, around) = (
        group("The way"),
        group("What the stages share"),
        group("Around"),
    );
    let position: HashMap<&str, usize> = way
        .iter()
        .enumerate()
        .map(|(at, name)| (name.as_str(), at))
        .collect();
    let mut checked = 0;
    for (name, at) in &position {
        let single = source().join(format!("{name}.rs"));
        let files = if single.exists() {
            vec![single]
        } else {
            rust_files(&source().join(name))
        };
        assert!(!files.is_empty(), "lib.rs lists {name}, which has no file");
        for file in files {
            for import in imports(&file) {
                checked += 1;
                // The directory is a stage of a request's way and a table of everybody's: it starts nothing.
                let allowed = import == "directory"
                    || shared.contains(&import)
                    || position
                        .get(import.as_str())
                        .is_some_and(|other| other >= at);
                assert!(
                    allowed,
                    "{} reaches back up: it names crate::{import}",
                    file.display()
                );
            }
        }
    }
    assert!(
        checked > 20,
        "the rule was held against {checked} imports: it no longer sees them"
    );
    for name in shared {
        let single = source().join(format!("{name}.rs"));
        let files = if single.exists() {
            vec![single]
        } else {
            rust_files(&source().join(name))
        };
        for file in files {
            for import in imports(&file) {
                // The mailbox is how a shard is spoken to.
                let known =
                    ["directory", "shard"].contains(&import.as_str()) || !way.contains(&import);
                assert!(
                    known && !around.contains(&import),
                    "{} is shared, yet it names crate::{import}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn every_file_says_its_job_in_its_first_line_and_is_short_enough_to_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the workspace")
        .to_owned();
    let mut files = 0;
    for part in ["protocol", "uring", "gateway", "agent", "portal", "loadgen"] {
        for file in rust_files(&root.join(part)) {
            files += 1;
            let text = fs::read_to_string(&file).expect("a source file can be read");
            assert!(
                text.starts_with("//! "),
                "{} does not begin with its job",
                file.display()
            );
            let lines = text.lines().count();
            assert!(
                lines <= FILE_LINES_MAX,
                "{} has {lines} lines",
                file.display()
            );
        }
    }
    assert!(
        files > 40,
        "only {files} files found: the rule no longer sees them"
    );
}
