//! Reads a report that an earlier run wrote.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Report, SCHEMA};

/// Several times the report of a day.
const BYTES_MAX: u64 = 256 << 20;

/// A report that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum BadReport {
    /// No such file, or not ours to read.
    #[error("cannot read {}: {error}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Longer than any report.
    #[error("{} is no report: it is longer than {} MiB", .0.display(), BYTES_MAX >> 20)]
    TooLong(PathBuf),
    /// Not JSON, or not a report.
    #[error(
        "{} is no report of `loadgen run --report`: {error}",
        file.display()
    )]
    Form {
        /// Which.
        file: PathBuf,
        /// What is wrong, with line and column.
        error: serde_json::Error,
    },
    /// Of another version.
    #[error(
        "{} has schema {schema}, and this loadgen reads schema {SCHEMA}: use the loadgen that wrote it, or run the test anew",
        file.display()
    )]
    Schema {
        /// Which.
        file: PathBuf,
        /// Its version.
        schema: u32,
    },
}

/// What every version has.
#[derive(Deserialize)]
struct Head {
    schema: u32,
}

impl Report {
    /// The report in `file`.
    pub fn read(file: &Path) -> Result<Self, BadReport> {
        let unreadable = |error| BadReport::File {
            file: file.to_owned(),
            error,
        };
        let mut text = Vec::new();
        File::open(file)
            .and_then(|open| open.take(BYTES_MAX + 1).read_to_end(&mut text))
            .map_err(unreadable)?;
        if text.len() as u64 > BYTES_MAX {
            return Err(BadReport::TooLong(file.to_owned()));
        }
        let form = |error| BadReport::Form {
            file: file.to_owned(),
            error,
        };
        let Head { schema } = serde_json::from_slice(&text).map_err(form)?;
        if schema != SCHEMA {
            return Err(BadReport::Schema {
                file: file.to_owned(),
                schema,
            });
        }
        serde_json::from_slice(&text).map_err(form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::page;
    use crate::report::example::material;
    use crate::table::Table;

    fn read(text: &str) -> Result<Report, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Report::read(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_report_that_was_written_is_read_as_it_was() {
        let written = Report::new(material(10, "eof"));
        let read = read(&written.to_json()).unwrap();
        assert_eq!(page(&read), page(&written));
        assert_eq!(Table(&read).to_string(), Table(&written).to_string());
    }

    #[test]
    fn what_is_no_report_says_why() {
        let report = Report::new(material(10, "eof")).to_json();
        let (first_half, _) = report.split_at(report.len() / 2);
        for (text, says) in [
            ("", "is no report"),
            ("[1, 2]", "is no report"),
            (
                "{\"schema\": 1, \"ok\": true}",
                "has schema 1, and this loadgen reads schema 2",
            ),
            ("{\"schema\": 2, \"ok\": true}", "missing field"),
            (first_half, "EOF while parsing"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let missing = Report::read(Path::new("/nowhere/report.json")).unwrap_err();
        assert!(
            missing
                .to_string()
                .starts_with("cannot read /nowhere/report.json")
        );
    }
}
