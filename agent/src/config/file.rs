//! Reads the configuration file: TOML to a file struct, all errors at once with key and line. `check` goes on.
//!
//! `agent.example.toml` documents every key; a test holds the two against each other.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Config;

/// Errors of one file that are collected at most.
const ERRORS_MAX: usize = 50;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Line of the file, from 1; `None` for a key that is missing.
    pub line: Option<usize>,
    /// What is wrong, beginning with the key.
    pub fault: String,
}

/// Everything that is wrong with one file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file's path as it was given.
    pub file: String,
    /// At least one.
    pub errors: Vec<ConfigError>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, ConfigError { line, fault }) in self.errors.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            match line {
                Some(line) => write!(f, "{separator}{}:{line}: {fault}", self.file)?,
                None => write!(f, "{separator}{}: {fault}", self.file)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The file as it is written. Everything is optional here: what must be there is checked with all the rest.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) msisdn: Option<Spanned<String>>,
    pub(super) gateways: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) data_port: Option<Spanned<i64>>,
    pub(super) token: Option<Spanned<String>>,
    pub(super) token_file: Option<Spanned<PathBuf>>,
    pub(super) timeout_s: Option<Spanned<toml::Value>>,
    pub(super) timeout_min_s: Option<Spanned<i64>>,
    pub(super) timeout_max_s: Option<Spanned<i64>>,
    pub(super) state_file: Option<Spanned<PathBuf>>,
    pub(super) status_socket: Option<Spanned<PathBuf>>,
    pub(super) linger_s: Option<Spanned<i64>>,
    pub(super) connect_timeout_ms: Option<Spanned<i64>>,
    pub(super) answer_timeout_ms: Option<Spanned<i64>>,
    pub(super) shutdown_timeout_ms: Option<Spanned<i64>>,
    pub(super) data_channels_max: Option<Spanned<i64>>,
    pub(super) forward: Option<Spanned<String>>,
    pub(super) forward_idle_timeout_s: Option<Spanned<i64>>,
    pub(super) authentication: Option<Spanned<String>>,
    pub(super) digest_md5: Option<Spanned<bool>>,
    pub(super) user: Vec<Spanned<FileUser>>,
    pub(super) builtin: Option<Spanned<FileBuiltin>>,
    pub(super) device: Option<Spanned<FileDevice>>,
    pub(super) consent: Option<Spanned<FileConsent>>,
    pub(super) grant: Vec<Spanned<FileGrant>>,
    pub(super) https: Option<Spanned<FileHttps>>,
    pub(super) metrics: Option<Spanned<FileMetrics>>,
    pub(super) owner: Option<Spanned<FileOwner>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileUser {
    pub(super) name: Option<Spanned<String>>,
    pub(super) password: Option<Spanned<String>>,
    pub(super) password_hash: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileBuiltin {
    pub(super) database: Option<Spanned<PathBuf>>,
    pub(super) import: Vec<PathBuf>,
    pub(super) content_bytes_max: Option<Spanned<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileMetrics {
    pub(super) listen: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileHttps {
    pub(super) listen: Option<Spanned<String>>,
    pub(super) certificate: Option<Spanned<PathBuf>>,
    pub(super) key: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileOwner {
    pub(super) listen: Option<Spanned<String>>,
    pub(super) secret_file: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileDevice {
    pub(super) kind: Option<Spanned<String>>,
    pub(super) seed: Option<Spanned<i64>>,
    pub(super) battery_percent: Option<Spanned<i64>>,
    pub(super) drain_s: Option<Spanned<i64>>,
    pub(super) charge_s: Option<Spanned<i64>>,
    pub(super) dial_ms: Option<Spanned<i64>>,
    pub(super) ring_ms: Option<Spanned<i64>>,
    pub(super) no_answer_ms: Option<Spanned<i64>>,
    pub(super) talk_ms: Option<Spanned<i64>>,
    pub(super) send_ms: Option<Spanned<i64>>,
    pub(super) delivery_ms: Option<Spanned<i64>>,
    pub(super) log: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileConsent {
    pub(super) enabled: Option<Spanned<bool>>,
    pub(super) prompt_timeout_s: Option<Spanned<i64>>,
    pub(super) audit_rows_max: Option<Spanned<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileGrant {
    pub(super) user: Option<Spanned<String>>,
    pub(super) resource: Option<Spanned<String>>,
    pub(super) actions: Option<Vec<Spanned<String>>>,
    pub(super) access: Option<Spanned<String>>,
}

impl Config {
    /// Reads and checks a file. Relative paths in it count from its own directory.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigErrors {
            file: path.display().to_string(),
            errors: vec![ConfigError {
                line: None,
                fault: format!("can't be read: {error}"),
            }],
        })?;
        Self::parse(&text, path)
    }

    /// Checks a file's text; `path` names it in errors, and gives the directory for relative paths.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigErrors> {
        let mut check = Check {
            text,
            directory: path.parent().unwrap_or(Path::new("")),
            stem: path
                .file_stem()
                .map(Path::new)
                .unwrap_or(Path::new("agent")),
            errors: Vec::new(),
            notes: Vec::new(),
        };
        let file = check.read();
        let config = check.config(file);
        let Check {
            mut errors,
            mut notes,
            ..
        } = check;
        match config {
            Some(mut config) if errors.is_empty() => {
                notes.sort_by_key(|note| note.line.unwrap_or(usize::MAX));
                config.notes = notes;
                Ok(config)
            }
            _ => {
                errors.truncate(ERRORS_MAX);
                errors.sort_by_key(|error| error.line.unwrap_or(usize::MAX));
                let file = path.display().to_string();
                Err(ConfigErrors { file, errors })
            }
        }
    }
}

/// A file while it is read: its text, and what was found wrong so far.
pub(super) struct Check<'a> {
    text: &'a str,
    /// Relative paths count from here.
    pub(super) directory: &'a Path,
    /// What files are called that are named after this one: several agents may share a directory.
    pub(super) stem: &'a Path,
    errors: Vec<ConfigError>,
    /// What the owner should know, and can be used all the same.
    notes: Vec<ConfigError>,
}

impl Check<'_> {
    /// Notes something that can be used and may surprise, at the line in which `span` begins.
    pub(super) fn note(&mut self, span: Option<Range<usize>>, fault: impl Into<String>) {
        let line = self.line(span);
        let fault = fault.into();
        self.notes.push(ConfigError { line, fault });
    }

    fn line(&self, span: Option<Range<usize>>) -> Option<usize> {
        let before = span.and_then(|span| self.text.get(..span.start));
        before.map(|before| before.matches('\n').count() + 1)
    }

    /// Notes something wrong, at the line in which `span` begins.
    pub(super) fn error(&mut self, span: Option<Range<usize>>, fault: impl Into<String>) {
        let line = self.line(span);
        let fault = fault.into();
        self.errors.push(ConfigError { line, fault });
    }

    /// serde stops at the first thing that does not fit: that is told and cut out, and the rest read again.
    fn read(&mut self) -> File {
        let (mut table, faults) = DeTable::parse_recoverable(self.text);
        for fault in faults {
            self.error(fault.span(), fault.message());
        }
        while self.errors.len() < ERRORS_MAX {
            let fault = match File::deserialize(toml::Deserializer::from(table.clone())) {
                Ok(file) => return file,
                Err(fault) => fault,
            };
            let span = fault.span();
            let cut = span.as_ref().and_then(|span| cut(table.get_mut(), span));
            match &cut {
                // An unknown key is named by the message itself.
                Some(key) if !fault.message().starts_with("unknown field") => {
                    // serde names the type of the struct; the owner knows it as a number.
                    let fault = fault
                        .message()
                        .replace("expected i64", "expected a whole number");
                    self.error(span, format!("{key}: {fault}"));
                }
                _ => self.error(span, fault.message()),
            }
            if cut.is_none() {
                break;
            }
        }
        File::default()
    }
}

/// Cuts the innermost entry that `span` lies in out of the table, and tells its key.
fn cut(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let within = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let mut found = None;
    for (key, value) in table.iter_mut() {
        let inside = match value.get_mut() {
            DeValue::Table(inner) => cut(inner, span),
            DeValue::Array(inner) => inner.iter_mut().find_map(|value| match value.get_mut() {
                DeValue::Table(inner) => cut(inner, span),
                _ => None,
            }),
            _ => None,
        };
        if let Some(inner) = inside {
            return Some(format!("{}.{inner}", key.get_ref()));
        }
        if within(key.span()) || within(value.span()) {
            found = Some(key.get_ref().to_string());
        }
    }
    let key = found?;
    table.remove(key.as_str());
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::super::{KeepAlive, Serve};
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigErrors> {
        Config::parse(text, Path::new("/etc/everline/agent.toml"))
    }

    const GOOD: &str = "msisdn = \"34600000001\"\ngateways = [\"127.0.0.1:7000\", \"[::1]:7000\"]\ntoken = \"SECRET\"\n";

    #[test]
    fn defaults_and_relative_paths() {
        let config = parse(&format!("{GOOD}authentication = \"none\"\n[consent]\nenabled = false\n[builtin]\ndatabase = \"a.db\"\nimport = [\"/b.vcf\", \"c.vcf\"]"))
            .unwrap();
        assert_eq!(
            (
                config.signaling.timeout,
                config.signaling.linger_s,
                config.data.port
            ),
            (KeepAlive::Fixed(300), 0, 7001)
        );
        let Serve::Builtin(builtin) = config.serve else {
            panic!()
        };
        assert_eq!(builtin.database, Path::new("/etc/everline/a.db"));
        assert_eq!(
            builtin.import,
            [Path::new("/b.vcf"), Path::new("/etc/everline/c.vcf")]
        );
        assert!(builtin.authentication.is_none());
    }

    #[test]
    fn forward_is_an_address_without_a_path() {
        for (to, address) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8081"),
            ("http://localhost/", "localhost:80"),
            ("http://[::1]:81", "[::1]:81"),
        ] {
            let config = parse(&format!("{GOOD}forward = \"{to}\"")).unwrap();
            let Serve::Forward(forward) = config.serve else {
                panic!()
            };
            assert_eq!(forward.to.to_string(), address);
        }
        for wrong in [
            "https://127.0.0.1",
            "127.0.0.1:80",
            "http://a/b",
            "http://",
            "http://a:0",
        ] {
            assert!(
                parse(&format!("{GOOD}forward = \"{wrong}\"")).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn all_errors_are_told_at_once_with_key_and_line() {
        let errors = parse(
            "msisdn = \"+34\"\ngateways = [\"a:1\", \"b\"]\ntimeout_s = \"long\"\nlinger_s = 301\ncolour = 1\n\
             authentication = \"kerberos\"\n[[user]]\nname = \"a\"\npassword = \"\"\n[[user]]\nnames = \"b\"\n\
             [builtin]\nimport = 1\n",
        )
        .unwrap_err();
        insta::assert_snapshot!(errors.to_string(), @r#"
        /etc/everline/agent.toml:1: msisdn: not an MSISDN: expected 5 to 15 digits without `+`, not starting with 0
        /etc/everline/agent.toml:2: gateways: expected host:port, an IPv6 host in brackets
        /etc/everline/agent.toml:3: timeout_s: expected a whole number of seconds, or "auto"
        /etc/everline/agent.toml:4: linger_s: 301 is not from 0 to 300
        /etc/everline/agent.toml:5: unknown field `colour`, expected one of `msisdn`, `gateways`, `data_port`, `token`, `token_file`, `timeout_s`, `timeout_min_s`, `timeout_max_s`, `state_file`, `status_socket`, `linger_s`, `connect_timeout_ms`, `answer_timeout_ms`, `shutdown_timeout_ms`, `data_channels_max`, `forward`, `forward_idle_timeout_s`, `authentication`, `digest_md5`, `user`, `builtin`, `device`, `consent`, `grant`, `https`, `metrics`, `owner`
        /etc/everline/agent.toml:6: authentication: expected "digest basic", "digest", "basic" or "none"
        /etc/everline/agent.toml:8: user: say one of password and password_hash, and not an empty one
        /etc/everline/agent.toml:10: user.name: is missing, empty, or holds a colon
        /etc/everline/agent.toml:11: unknown field `names`, expected one of `name`, `password`, `password_hash`
        /etc/everline/agent.toml:12: builtin.database: is missing; it is the file that keeps the handset's data
        /etc/everline/agent.toml:13: builtin.import: invalid type: integer `1`, expected a sequence
        /etc/everline/agent.toml: token_file: is missing; it or token proves the number to the gateway
        "#);
    }

    #[test]
    fn two_users_of_one_name_are_refused() {
        let user = "[[user]]\nname = \"alice\"\npassword = \"x\"\n";
        let errors = parse(&format!("{GOOD}{user}{user}[builtin]\ndatabase = \"a\"")).unwrap_err();
        insta::assert_snapshot!(errors.to_string(), @"/etc/everline/agent.toml:8: user.name: is there twice");
    }

    #[test]
    fn broken_toml_is_told_by_line() {
        let errors = parse("msisdn = \n\ntoken = \"").unwrap_err();
        assert!(errors.errors.iter().any(|e| e.line == Some(1)), "{errors}");
        assert!(errors.errors.iter().any(|e| e.line == Some(3)), "{errors}");
    }

    #[test]
    fn secrets_are_masked() {
        let config = parse(&format!(
            "{GOOD}[[user]]\nname = \"alice\"\npassword = \"SECRET\"\n[builtin]\ndatabase = \"a\""
        ));
        let shown = format!("{:?}", config.unwrap());
        assert!(
            !shown.contains("SECRET")
                && !shown.contains("argon2")
                && !shown.contains("34600000001"),
            "{shown}"
        );
    }
}
