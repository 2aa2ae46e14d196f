//! What is wrong with a scenario, all of it at once, each with the line and the key that the tester is to look at.

use std::fmt;

/// One thing that is wrong in one table of a scenario: a key of that table, and a sentence about it.
///
/// The checks of a table append these; the check of the whole adds the table's own place, and the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The key, as `per_second` or `methods.GET`; empty: the table as a whole.
    pub key: String,
    /// What is wrong with it and what to write instead.
    pub why: String,
}

impl Wrong {
    /// `key` is wrong: `why`.
    pub fn new(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            why: why.into(),
        }
    }

    /// The same, as a key of the table around: `table` is the key that leads here.
    pub(crate) fn within(self, table: &str) -> Self {
        let key = match (table, self.key.as_str()) {
            (table, "") => table.to_owned(),
            ("", key) => key.to_owned(),
            (table, key) => format!("{table}.{key}"),
        };
        Self { key, ..self }
    }
}

/// One thing that is wrong in a whole scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line of the file, counted from 1; `None`: the command line made the scenario.
    pub line: Option<usize>,
    /// As `phase "noon", requests.per_second`; empty: where the line says it all.
    pub place: String,
    /// What is wrong and what to write instead.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.why)
    }
}

/// Everything that is wrong with a scenario, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            let ending = if number == 0 { "" } else { "\n" };
            write!(f, "{ending}{problem}")?;
        }
        Ok(())
    }
}
