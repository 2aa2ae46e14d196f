//! Reads single keys out of a TOML document: each with its default, its range and its place in the file.
//!
//! A wrong value is noted with key and line, and its default goes on in its place, so that one reading finds all that is
//! wrong. Every key that was asked for is remembered: the rest of the document is unknown keys, and the same list is
//! what the reference page and the example are held against.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use everline_protocol::HostPort;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// `section.key`, `section`, or empty where the text is not TOML.
    pub key: String,
    /// Counted from 1; `None`: the key is not in the file.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// One key that the gateway knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The table's name, empty at the top.
    pub section: &'static str,
    /// The key's name.
    pub name: &'static str,
}

/// Which kind a duration's key ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// `_ms`
    Millis,
    /// `_s`
    Seconds,
}

/// A document on its way to a configuration.
pub(super) struct Reader<'i> {
    text: &'i str,
    root: DeTable<'i>,
    /// What was wrong so far.
    errors: Vec<ConfigError>,
    known: Vec<Key>,
}

impl<'i> Reader<'i> {
    /// Reads the text as far as it is TOML.
    pub(super) fn new(text: &'i str) -> Self {
        let (root, broken) = DeTable::parse_recoverable(text);
        let mut reader = Self {
            text,
            root: root.into_inner(),
            errors: Vec::new(),
            known: Vec::new(),
        };
        for error in broken {
            let line = error.span().map(|span| reader.line(&span));
            reader.errors.push(ConfigError {
                key: String::new(),
                line,
                message: error.message().to_owned(),
            });
        }
        reader
    }

    /// Whether the file has this key.
    pub(super) fn has(&self, section: &str, name: &str) -> bool {
        self.find(section, name).is_some()
    }

    /// Whether the file has this section, and as a table.
    pub(super) fn is_table(&self, section: &str) -> bool {
        self.find("", section)
            .is_some_and(|value| value.get_ref().is_table())
    }

    /// A whole number within `range`.
    pub(super) fn number<T>(
        &mut self,
        section: &'static str,
        name: &'static str,
        default: T,
        range: RangeInclusive<T>,
    ) -> T
    where
        T: TryFrom<i64> + PartialOrd + Display + Copy,
    {
        self.number_or_none(section, name, range).unwrap_or(default)
    }

    /// A whole number within `range`, `None` if the file has none.
    pub(super) fn number_or_none<T>(
        &mut self,
        section: &'static str,
        name: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display + Copy,
    {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(section, name, &wanted, |value| {
            let integer = value.as_integer()?;
            let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
            T::try_from(number)
                .ok()
                .filter(|number| range.contains(number))
        })
    }

    /// A duration whose unit is the last word of its key.
    pub(super) fn duration(
        &mut self,
        section: &'static str,
        name: &'static str,
        unit: Unit,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Duration {
        let count = self.number(section, name, default, range);
        match unit {
            Unit::Millis => Duration::from_millis(count),
            Unit::Seconds => Duration::from_secs(count),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, section: &'static str, name: &'static str) -> bool {
        self.read(section, name, "true or false", DeValue::as_bool)
            .unwrap_or(false)
    }

    /// Any text but an empty one.
    pub(super) fn text(&mut self, section: &'static str, name: &'static str) -> Option<String> {
        self.read(section, name, "a text between quotes, not empty", |value| {
            value
                .as_str()
                .filter(|text| !text.trim().is_empty())
                .map(str::to_owned)
        })
    }

    /// An address to listen on.
    pub(super) fn address(
        &mut self,
        section: &'static str,
        name: &'static str,
        default: SocketAddr,
    ) -> SocketAddr {
        let wanted = format!(
            "an address and a port, like \"{default}\" or \"[::1]:{}\"",
            default.port()
        );
        self.read(section, name, &wanted, |value| value.as_str()?.parse().ok())
            .unwrap_or(default)
    }

    /// `host:port` as PROTOCOL writes it.
    pub(super) fn host_port(
        &mut self,
        section: &'static str,
        name: &'static str,
    ) -> Option<HostPort> {
        let wanted =
            "a host and a port, like \"gateway.example.net:7001\" or \"[2001:db8::1]:7001\"";
        self.read(section, name, wanted, |value| {
            HostPort::parse(value.as_str()?)
        })
    }

    /// A list of texts, each of which `valid` turns into its final form.
    pub(super) fn texts(
        &mut self,
        section: &'static str,
        name: &'static str,
        wanted: &str,
        valid: impl Fn(&str) -> Option<String>,
    ) -> Vec<String> {
        let wanted = format!("a list of {wanted}");
        let list = self.read(section, name, &wanted, |value| {
            value
                .as_array()?
                .iter()
                .map(|entry| valid(entry.get_ref().as_str()?))
                .collect::<Option<Vec<_>>>()
        });
        list.unwrap_or_default()
    }

    /// A whole section given as a text instead, like `auth = "none"`.
    pub(super) fn section_as_text(&mut self, section: &'static str) -> Option<String> {
        self.know("", section);
        self.find("", section)?
            .get_ref()
            .as_str()
            .map(str::to_owned)
    }

    /// Whether something is wrong with this key already.
    pub(super) fn is_wrong(&self, section: &str, name: &str) -> bool {
        let key = dotted(section, name);
        self.errors.iter().any(|error| error.key == key)
    }

    /// Notes what is wrong with a key, or with its relation to others.
    pub(super) fn wrong(&mut self, section: &str, name: &str, message: impl Into<String>) {
        let line = self
            .find(section, name)
            .or_else(|| self.find("", section))
            .map(|value| self.line(&value.span()));
        self.errors.push(ConfigError {
            key: dotted(section, name),
            line,
            message: message.into(),
        });
    }

    /// Notes the keys that nobody asked for, and hands over all that is wrong, in the order of the lines.
    pub(super) fn finish(mut self) -> (Vec<ConfigError>, Vec<Key>) {
        let mut unknown = Vec::new();
        for (name, value) in &self.root {
            let (span, name) = (name.span(), name.get_ref().as_ref());
            let top = self
                .known
                .iter()
                .any(|key| key.section.is_empty() && key.name == name);
            let section = self.known.iter().any(|key| key.section == name);
            match value.get_ref().as_table() {
                Some(table) if section => {
                    let keys = table
                        .iter()
                        .map(|(key, _)| (key.get_ref().as_ref(), key.span()));
                    let keys = keys.filter(|(key, _)| {
                        !self
                            .known
                            .iter()
                            .any(|known| known.section == name && known.name == *key)
                    });
                    unknown.extend(keys.map(|(key, span)| self.unknown(name, key, &span)));
                }
                None if section && !top => {
                    let message = format!("is a table: write [{name}] and its keys below");
                    unknown.push(ConfigError {
                        key: name.to_owned(),
                        line: Some(self.line(&span)),
                        message,
                    });
                }
                _ if top => {}
                _ => unknown.push(self.unknown("", name, &span)),
            }
        }
        self.errors.append(&mut unknown);
        self.errors
            .sort_by_key(|error| (error.line.unwrap_or(usize::MAX), error.key.clone()));
        (self.errors, self.known)
    }

    fn read<T>(
        &mut self,
        section: &'static str,
        name: &'static str,
        wanted: &str,
        parse: impl FnOnce(&DeValue<'i>) -> Option<T>,
    ) -> Option<T> {
        self.know(section, name);
        let (parsed, is) = {
            let value = self.find(section, name)?;
            (parse(value.get_ref()), value.get_ref().type_str())
        };
        if parsed.is_none() {
            let shown = self
                .find(section, name)
                .and_then(|value| self.text.get(value.span()))
                .unwrap_or_default();
            let shown: String = shown.chars().take(60).collect();
            self.wrong(
                section,
                name,
                format!("must be {wanted}; it is the {is} {shown}"),
            );
        }
        parsed
    }

    fn know(&mut self, section: &'static str, name: &'static str) {
        let key = Key { section, name };
        if !self.known.contains(&key) {
            self.known.push(key);
        }
    }

    fn find(&self, section: &str, name: &str) -> Option<&Spanned<DeValue<'i>>> {
        let table = if section.is_empty() {
            &self.root
        } else {
            entry(&self.root, section)?.get_ref().as_table()?
        };
        entry(table, name)
    }

    fn unknown(&self, section: &str, name: &str, span: &Range<usize>) -> ConfigError {
        // At the top a name may also be meant as a section, or be a key of one.
        let places = self
            .known
            .iter()
            .flat_map(|key| [key.name, key.section])
            .filter(|known| !known.is_empty());
        let in_section = self
            .known
            .iter()
            .filter(|key| key.section == section)
            .map(|key| key.name);
        let nearest = if section.is_empty() {
            nearest(name, places)
        } else {
            nearest(name, in_section)
        };
        let elsewhere = self
            .known
            .iter()
            .find(|key| key.name == name && key.section != section);
        let message = match (elsewhere, nearest) {
            (Some(key), _) => format!("is not known here; it belongs to [{}]", key.section),
            (None, Some(nearest)) => format!("is not known; did you mean {nearest}?"),
            (None, None) => "is not known".to_owned(),
        };
        ConfigError {
            key: dotted(section, name),
            line: Some(self.line(span)),
            message,
        }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().iter().take(span.start);
        before.filter(|byte| **byte == b'\n').count() + 1
    }
}

fn entry<'t, 'i>(table: &'t DeTable<'i>, name: &str) -> Option<&'t Spanned<DeValue<'i>>> {
    table
        .iter()
        .find(|(key, _)| key.get_ref() == name)
        .map(|(_, value)| value)
}

fn dotted(section: &str, name: &str) -> String {
    match (section, name) {
        ("", name) => name.to_owned(),
        (section, "") => section.to_owned(),
        (section, name) => format!("{section}.{name}"),
    }
}

/// The name that takes the fewest edits, if they are few for its length.
fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let (edits, nearest) = known.map(|known| (edits(name, known), known)).min()?;
    (edits <= nearest.len() / 3).then_some(nearest)
}

/// Levenshtein's distance, for names of bounded length.
fn edits(from: &str, to: &str) -> usize {
    const NAME_BYTES_MAX: usize = 64;
    if from.len() > NAME_BYTES_MAX {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to.bytes()) {
            let best = (diagonal + usize::from(a != b))
                .min(left + 1)
                .min(*cell + 1);
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted_as_levenshtein_did() {
        for (from, to, count) in [
            ("", "abc", 3),
            ("listen", "listen", 0),
            ("lisen", "listen", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edits(from, to), count, "{from} to {to}");
        }
    }

    #[test]
    fn everything_wrong_is_told_with_its_line() {
        let text = "[signaling]\nlisten = 7\nlinsten = \"x\"\ntimeout = 3\n\n[other]\nflag = 1\n";
        let mut reader = Reader::new(text);
        reader.address(
            "signaling",
            "listen",
            SocketAddr::from(([127, 0, 0, 1], 7000)),
        );
        reader.flag("other", "flag");
        let (errors, _) = reader.finish();
        let told: Vec<_> = errors
            .iter()
            .map(|error| (error.key.as_str(), error.line))
            .collect();
        assert_eq!(
            told,
            [
                ("signaling.listen", Some(2)),
                ("signaling.linsten", Some(3)),
                ("signaling.timeout", Some(4)),
                ("other.flag", Some(7))
            ]
        );
        assert!(
            errors
                .iter()
                .any(|error| error.message.contains("did you mean listen?")),
            "{errors:?}"
        );
    }

    #[test]
    fn text_that_is_not_toml_is_told_line_by_line() {
        let (errors, _) = Reader::new("a = \nb = 1\n[c\n").finish();
        assert!(
            errors.iter().any(|error| error.line == Some(1)),
            "{errors:?}"
        );
        assert!(
            errors.iter().any(|error| error.line == Some(3)),
            "{errors:?}"
        );
    }
}
