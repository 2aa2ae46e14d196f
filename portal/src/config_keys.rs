//! Reading a configuration file key by key: takes what is known, and tells what is wrong and what is unknown, by line.
//!
//! It knows TOML and the shapes of values; which keys there are, and what they mean, is `config.rs`'s.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderValue;
use http::uri::{Authority, Uri};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Counted from 1; `None` where no line is to blame.
    pub line: Option<usize>,
    /// The key with its table, `limits.page_items`; empty for a file that is not TOML.
    pub key: String,
    /// What is wrong and what is wanted.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)
    }
}

/// The keys of a file that nobody has taken yet, and what was wrong with those that somebody has.
pub(crate) struct Keys<'t> {
    pub(crate) values: BTreeMap<String, (usize, DeValue<'t>)>,
    lines: BTreeMap<&'static str, usize>,
    /// Every key that somebody asked for, in that order.
    pub(crate) known: Vec<&'static str>,
    errors: Vec<ConfigError>,
}

impl<'t> Keys<'t> {
    pub(crate) fn parse(text: &'t str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let errors = errors
            .into_iter()
            .map(|error| ConfigError {
                line: error.span().map(|span| line_of(text, span.start)),
                key: String::new(),
                problem: error.message().to_owned(),
            })
            .collect();
        let mut values = BTreeMap::new();
        flatten(text, "", table.into_inner(), &mut values);
        Self {
            values,
            lines: BTreeMap::new(),
            known: Vec::new(),
            errors,
        }
    }

    pub(crate) fn take<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl Fn(&DeValue<'t>) -> Result<T, String>,
    ) -> T {
        self.known.push(key);
        let Some((line, value)) = self.values.remove(key) else {
            return default;
        };
        self.lines.insert(key, line);
        read(&value).unwrap_or_else(|problem| {
            self.errors.push(ConfigError {
                line: Some(line),
                key: key.to_owned(),
                problem,
            });
            default
        })
    }

    pub(crate) fn blame(&mut self, key: &'static str, problem: &str) {
        let line = self.lines.get(key).copied();
        self.errors.push(ConfigError {
            line,
            key: key.to_owned(),
            problem: problem.to_owned(),
        });
    }

    pub(crate) fn finish(mut self) -> Result<(), Vec<ConfigError>> {
        for (key, (line, _)) in self.values {
            self.errors.push(ConfigError {
                line: Some(line),
                key,
                problem: "there is no such key".to_owned(),
            });
        }
        self.errors.sort_by_key(|error| error.line);
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(self.errors)
        }
    }
}

fn flatten<'t>(
    text: &str,
    prefix: &str,
    table: DeTable<'t>,
    into: &mut BTreeMap<String, (usize, DeValue<'t>)>,
) {
    for (key, value) in table {
        let line = line_of(text, Spanned::span(&key).start);
        let path = if prefix.is_empty() {
            key.into_inner().into_owned()
        } else {
            format!("{prefix}.{}", key.as_ref())
        };
        match value.into_inner() {
            // An empty table of an unknown name is a mistake too: it keeps its own entry.
            DeValue::Table(inner)
                if !inner.is_empty() || ["session", "limits"].contains(&path.as_str()) =>
            {
                flatten(text, &path, inner, into);
            }
            other => {
                into.insert(path, (line, other));
            }
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}

fn text_of<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    value
        .as_str()
        .ok_or_else(|| format!("is {}, but text in quotes is wanted", kind_of(value)))
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

pub(crate) fn address(value: &DeValue<'_>) -> Result<SocketAddr, String> {
    let text = text_of(value)?;
    text.parse().map_err(|_why| {
        format!("{text:?} is not an address with a port, such as \"127.0.0.1:8000\"")
    })
}

pub(crate) fn http_origin(value: &DeValue<'_>) -> Result<Authority, String> {
    let text = text_of(value)?;
    let wanted =
        || format!("{text:?} is not the gateway's address, such as \"http://127.0.0.1:8080\"");
    let uri: Uri = text.parse().map_err(|_why| wanted())?;
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority)) if bare && !authority.as_str().contains('@') => {
            Ok(authority.clone())
        }
        _ => Err(wanted()),
    }
}

pub(crate) fn domain(value: &DeValue<'_>) -> Result<HeaderValue, String> {
    let text = text_of(value)?;
    let letters = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let wanted = || format!("{text:?} is not a domain name, such as \"handsets.example\"");
    if text.len() > 253 || !text.split('.').all(letters) {
        return Err(wanted());
    }
    HeaderValue::from_str(text).map_err(|_why| wanted())
}

pub(crate) fn switch(value: &DeValue<'_>) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| format!("is {}, but true or false is wanted", kind_of(value)))
}

fn whole(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, String> {
    let DeValue::Integer(integer) = value else {
        return Err(format!(
            "is {}, but a whole number is wanted",
            kind_of(value)
        ));
    };
    match u64::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!(
            "is {}, but {least} to {most} is wanted",
            integer.as_str()
        )),
    }
}

pub(crate) fn seconds(least: u64, most: u64) -> impl Fn(&DeValue<'_>) -> Result<Duration, String> {
    move |value| whole(value, least, most).map(Duration::from_secs)
}

pub(crate) fn millis(least: u64, most: u64) -> impl Fn(&DeValue<'_>) -> Result<Duration, String> {
    move |value| whole(value, least, most).map(Duration::from_millis)
}

pub(crate) fn count(least: usize, most: usize) -> impl Fn(&DeValue<'_>) -> Result<usize, String> {
    move |value| {
        let number = whole(value, least as u64, most as u64)?;
        usize::try_from(number).map_err(|_why| format!("{number} does not fit this machine"))
    }
}
