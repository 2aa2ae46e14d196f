//! Holds the requirements against the tests: each number that the agent has to fulfil has a test that is named after it, one
//! at least of them beside this file, where the agent itself answers; and no test is named after a number that there is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `R18` and the like.
fn number(word: &str) -> Option<u32> {
    word.strip_prefix('R')?.parse().ok()
}

/// The numbers in a row of the paper: `R12`, and all of `R18–R26`.
fn numbers(row: &str) -> BTreeSet<u32> {
    let words = row.split(|c: char| !c.is_ascii_alphanumeric() && c != '–');
    let ranges = words.filter_map(|word| {
        let (first, last) = word.split_once('–').unwrap_or((word, word));
        Some(number(first)?..=number(last)?)
    });
    ranges.flatten().collect()
}

/// All numbers of the paper, and those of the agent's side.
fn required() -> (BTreeSet<u32>, BTreeSet<u32>) {
    let paper = read(&here("../docs/REQUIREMENTS.md"));
    let (mut all, mut agents) = (BTreeSet::new(), BTreeSet::new());
    for row in paper.lines().filter(|line| line.starts_with("| R")) {
        let side = row.split('|').nth(2).unwrap().trim();
        let numbers = numbers(row);
        if side.split('/').any(|side| side == "A") {
            agents.extend(&numbers);
        }
        all.extend(numbers);
    }
    (all, agents)
}

/// The sources in a folder and in those below it.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let found = paths.flat_map(|path| match path.is_dir() {
        true => sources(&path),
        false => vec![path],
    });
    found
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// The names of the tests in a source: functions behind an attribute that makes them one.
fn tests(path: &Path) -> Vec<String> {
    let (mut names, mut is_test) = (Vec::new(), false);
    for line in read(path).lines().map(str::trim) {
        assert!(!line.starts_with("#[ignore"), "{}: {line}", path.display());
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(name) = line
            .strip_prefix("async ")
            .unwrap_or(line)
            .strip_prefix("fn ")
            && std::mem::take(&mut is_test)
        {
            let end = name.find(['(', '<']).unwrap_or(name.len());
            names.push(name[..end].to_owned());
        }
    }
    names
}

/// `r12_r14_…` is named after two.
fn named_after(test: &str) -> impl Iterator<Item = u32> {
    test.split('_')
        .map_while(|word| word.strip_prefix('r')?.parse().ok())
}

/// By number, the tests that are named after it.
fn tested(folder: &str) -> BTreeMap<u32, Vec<String>> {
    let mut tested: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for test in sources(&here(folder)).iter().flat_map(|path| tests(path)) {
        for number in named_after(&test) {
            tested.entry(number).or_default().push(test.clone());
        }
    }
    tested
}

#[test]
fn each_requirement_of_the_agent_has_a_test_that_names_it() {
    let (all, agents) = required();
    assert!(
        (12..=66).all(|number| agents.contains(&number)),
        "{agents:?}"
    );
    let answered = tested("tests");
    for number in &agents {
        let names = answered.get(number).map_or(&[][..], Vec::as_slice);
        println!("R{number}: {}", names.join(", "));
    }
    let lacking: Vec<_> = agents
        .iter()
        .filter(|n| !answered.contains_key(n))
        .collect();
    assert!(
        lacking.is_empty(),
        "no test here is named after {lacking:?}"
    );
    for (number, names) in tested("src").iter().chain(&answered) {
        assert!(all.contains(number), "there is no R{number}: {names:?}");
    }
}
