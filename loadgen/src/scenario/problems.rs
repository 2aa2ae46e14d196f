//! What is wrong with a scenario, all of it at once, each with the line and the key that the tester is to look at.

use std::fmt;

/// One thing that is wrong in one table of a scenario: a key of that table, and a sentence about it.
///
/// The checks of a table append these; the reader of the file adds the table's own place, and the line.
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
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// Of the whole file, as `phase "noon", requests.per_second`; empty: where the line says it all.
    pub place: String,
    /// What is wrong and what to write instead.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.why)
    }
}
