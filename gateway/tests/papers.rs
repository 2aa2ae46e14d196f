//! The papers say what the program does, both ways round: configuration keys and their defaults, metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use everline_gateway::config_file::{self, ConfigError};
use everline_gateway::machine::Machine;
use everline_gateway::metric_names::{ALL, Kind};

fn file(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), name].iter().collect();
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn example() -> String {
    file("gateway.example.toml")
}

fn page() -> String {
    file("../docs/config-gateway.md")
}

fn parse(text: &str) -> Result<String, Vec<ConfigError>> {
    config_file::parse(text, Path::new(""), &Machine::UNBOUNDED)
        .map(|config| format!("{config:#?}"))
}

/// `key = value`, and nothing that merely looks like it in a sentence.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(" = ")?;
    let name = |key: &str| {
        !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
    };
    name(key).then_some((key, value))
}

/// section.key → default, `None` where there is none, as the example has it.
fn keys_of_the_example() -> BTreeMap<String, Option<String>> {
    let mut keys = BTreeMap::new();
    let mut section = String::new();
    for line in example().lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = format!("{name}.");
            continue;
        }
        let (line, has_default) = match (line.strip_prefix("# "), line.strip_prefix("#: ")) {
            (Some(default), _) => (default, true),
            (_, Some(shown)) => (shown, false),
            _ => (line, false),
        };
        if let Some((key, value)) = assignment(line) {
            let default = has_default.then(|| value.to_owned());
            assert!(
                keys.insert(format!("{section}{key}"), default).is_none(),
                "{section}{key} stands twice in the example"
            );
        }
    }
    keys
}

/// The same, as the page has it.
fn keys_of_the_page() -> BTreeMap<String, Option<String>> {
    let mut keys = BTreeMap::new();
    let mut section = String::new();
    for line in page().lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let name = heading
                .strip_prefix("`[")
                .and_then(|rest| rest.strip_suffix("]`"));
            section = name.map(|name| format!("{name}.")).unwrap_or_default();
        }
        let cells: Vec<_> = line
            .trim_matches('|')
            .split(" | ")
            .map(|cell| cell.trim().trim_matches('`'))
            .collect();
        let [key, _, default, _] = cells[..] else {
            continue;
        };
        if line.starts_with("| `") {
            let default = (!matches!(default, "—" | "required")).then(|| default.to_owned());
            assert!(
                keys.insert(format!("{section}{key}"), default).is_none(),
                "{section}{key} stands twice on the page"
            );
        }
    }
    keys
}

#[test]
fn every_key_stands_in_the_example_and_on_the_page_and_no_other() {
    let known: BTreeSet<_> = config_file::keys()
        .into_iter()
        .map(|key| {
            if key.section.is_empty() {
                key.name.to_owned()
            } else {
                format!("{}.{}", key.section, key.name)
            }
        })
        .collect();
    assert!(known.len() > 40, "{known:?}");
    let shown: BTreeSet<_> = keys_of_the_example().into_keys().collect();
    assert_eq!(known, shown, "the keys and gateway.example.toml");
    let told: BTreeSet<_> = keys_of_the_page().into_keys().collect();
    assert_eq!(known, told, "the keys and docs/config-gateway.md");
}

#[test]
fn the_example_is_valid_and_its_commented_defaults_are_the_defaults() {
    let as_it_is = parse(&example()).unwrap_or_else(|errors| panic!("{errors:?}"));
    let spelt_out: Vec<_> = example()
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| assignment(rest).is_some())
                .unwrap_or(line)
                .to_owned()
        })
        .collect();
    let spelt_out = parse(&spelt_out.join("\n")).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(as_it_is, spelt_out);
}

#[test]
fn what_the_example_shows_for_keys_without_a_default_is_valid() {
    let all: Vec<_> = example()
        .lines()
        .map(|line| {
            line.strip_prefix("#: ")
                .filter(|rest| !rest.starts_with("auth = "))
                .unwrap_or(line)
                .to_owned()
        })
        .collect();
    parse(&all.join("\n")).unwrap_or_else(|errors| panic!("{errors:?}"));
}

#[test]
fn the_page_s_defaults_are_the_example_s() {
    assert_eq!(keys_of_the_page(), keys_of_the_example());
}

#[test]
fn the_page_s_least_configuration_works() {
    let page = page();
    let (_, rest) = page.split_once("```toml\n").expect("an example");
    let (least, _) = rest.split_once("```").expect("its end");
    parse(least).unwrap_or_else(|errors| panic!("{errors:?}"));
}

#[test]
fn every_metric_stands_on_its_page_and_no_other() {
    let page = file("../docs/metrics.md");
    let told: BTreeSet<_> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<_> = line
                .trim_matches('|')
                .split(" | ")
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect();
            let [name, kind, label, help] = &cells[..] else {
                panic!("four cells: {line}")
            };
            let metric = ALL
                .iter()
                .find(|metric| metric.name == name)
                .unwrap_or_else(|| panic!("{name} is no metric"));
            assert!(
                help.starts_with(metric.help),
                "{name} is explained as `{}` in the program",
                metric.help
            );
            (name.clone(), kind.clone(), label.clone())
        })
        .collect();
    let known: BTreeSet<_> = ALL
        .iter()
        .map(|metric| {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            (
                metric.name.to_owned(),
                kind.to_owned(),
                metric.labels.first().unwrap_or(&"—").to_string(),
            )
        })
        .collect();
    assert_eq!(known, told);
}
