//! A scenario file as it is written: TOML into tables, with every syntax error, every unknown key and every value of
//! a wrong type told at once, and the line of each key kept for the checks that come later.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error, ValueDeserializer};

use super::fleet::FleetTable;
use super::phase::PhaseTable;
use super::problems::{Problem, Problems};

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tables {
    pub(super) head: Head,
    pub(super) fleet: FleetTable,
    pub(super) phases: Vec<PhaseTable>,
    pub(super) lines: Lines,
}

/// The keys that stand outside every table.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) thresholds: Vec<String>,
    // Read by themselves; named here so that the list of known keys in an error is whole.
    #[serde(default, rename = "fleet")]
    _fleet: (),
    #[serde(default, rename = "phase")]
    _phase: (),
}

/// Where each key of a file stands, by its path: `phase[0].requests.per_second`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// The line of `path`, or of the nearest table around it that the file has.
    pub(super) fn of(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

/// Reads the tables of a file.
pub(super) fn read(text: &str) -> Result<Tables, Problems> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        text,
        problems: Vec::new(),
        lines: BTreeMap::new(),
    };
    reader.problems = errors
        .iter()
        .map(|error| reader.problem("", error))
        .collect();
    if !reader.problems.is_empty() {
        return Err(Problems(reader.problems));
    }
    let span = document.span();
    let mut document = document.into_inner();
    reader.note_lines("", &document);
    let fleet = document
        .remove("fleet")
        .and_then(|fleet| reader.table("fleet", fleet));
    let mut phases = Vec::new();
    match document.remove("phase").map(Spanned::into_inner) {
        None => {}
        Some(DeValue::Array(array)) => {
            for (number, phase) in array.into_iter().enumerate() {
                let place = place_of_phase(number, &phase);
                phases.extend(reader.table::<PhaseTable>(&place, phase));
            }
        }
        Some(_) => {
            let line = reader.lines.get("phase").copied();
            reader.problems.push(Problem {
                line,
                place: "phase".into(),
                why: "phases are a list: write [[phase]]".into(),
            });
        }
    }
    let head = reader.table("", Spanned::new(span, DeValue::Table(document)));
    match head {
        Some(head) if reader.problems.is_empty() => Ok(Tables {
            head,
            fleet: fleet.unwrap_or_default(),
            phases,
            lines: Lines(reader.lines),
        }),
        _ => {
            reader.problems.sort_by_key(|problem| problem.line);
            Err(Problems(reader.problems))
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    problems: Vec<Problem>,
    lines: BTreeMap<String, usize>,
}

impl Reader<'_> {
    fn table<T: DeserializeOwned>(
        &mut self,
        place: &str,
        value: Spanned<DeValue<'_>>,
    ) -> Option<T> {
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(table) => Some(table),
            Err(error) => {
                let problem = self.problem(place, &error);
                self.problems.push(problem);
                None
            }
        }
    }

    fn problem(&self, place: &str, error: &Error) -> Problem {
        Problem {
            line: Some(error.span().map_or(1, |span| self.line(span.start))),
            place: place.to_owned(),
            why: in_words(error.message()),
        }
    }

    fn note_lines(&mut self, around: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = if around.is_empty() {
                key.get_ref().to_string()
            } else {
                format!("{around}.{}", key.get_ref())
            };
            let line = self.line(key.span().start);
            self.note_value(path, line, value.get_ref());
        }
    }

    fn note_value(&mut self, path: String, line: usize, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => self.note_lines(&path, table),
            DeValue::Array(array) => {
                for (number, item) in array.iter().enumerate() {
                    let line = self.line(item.span().start);
                    self.note_value(format!("{path}[{number}]"), line, item.get_ref());
                }
            }
            _ => {}
        }
        self.lines.insert(path, line);
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }
}

/// What the library says, on one line, and without this program's own names of types.
fn in_words(message: &str) -> String {
    let mut words = message.replace('\n', ", ");
    for (name, meaning) in [
        ("u32", "a whole number from 0 to 4294967295"),
        ("u64", "a whole number from 0"),
        ("f64", "a number"),
    ] {
        if let Some(before) = words.strip_suffix(&format!("expected {name}")) {
            words = format!("{before}expected {meaning}");
        }
    }
    words
}

/// `phase "noon"`, or `phase 3` if it has no name that could be told.
fn place_of_phase(number: usize, phase: &Spanned<DeValue<'_>>) -> String {
    let name = phase
        .get_ref()
        .get("name")
        .and_then(|name| name.get_ref().as_str());
    match name {
        Some(name) => format!("phase {name:?}"),
        None => format!("phase {}", number + 1),
    }
}
