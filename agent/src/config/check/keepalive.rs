//! The part of the check that is about signs of life, and about who may ask how the agent is.

use std::path::{Path, PathBuf};

use toml::{Spanned, Value};

use super::super::KeepAlive;
use super::super::file::{Check, FileMetrics};
use crate::keepalive::Bounds;
use crate::status::told::ToldConfig;

/// Seconds that a timeout may have (PROTOCOL 3.1).
const LONGEST_S: u32 = 86_400;

impl Check<'_> {
    /// The keep-alive interval, or between which to look for it.
    pub(super) fn keepalive(
        &mut self,
        timeout: Option<Spanned<Value>>,
        min: Option<Spanned<i64>>,
        max: Option<Spanned<i64>>,
        file: Option<Spanned<PathBuf>>,
    ) -> KeepAlive {
        let span = timeout.as_ref().map(Spanned::span);
        let fixed = match timeout.map(Spanned::into_inner) {
            None => None,
            Some(Value::Integer(seconds)) => Some(seconds),
            Some(Value::String(word)) if word == "auto" => {
                let min_s = self.number("timeout_min_s", min, 1..=LONGEST_S, 60);
                let upper = max.as_ref().map(Spanned::span);
                let max_s = self.number("timeout_max_s", max, 1..=LONGEST_S, 3_600);
                if min_s > max_s {
                    self.error(upper.or(span), "timeout_max_s: is less than timeout_min_s");
                }
                let bounds = Bounds {
                    min_s,
                    max_s: max_s.max(min_s),
                };
                let file = self.beside(file, ".state");
                return KeepAlive::Auto { bounds, file };
            }
            Some(_) => {
                self.error(
                    span.clone(),
                    "timeout_s: expected a whole number of seconds, or \"auto\"",
                );
                None
            }
        };
        let unused = min.map(|min| min.span()).or(max.map(|max| max.span()));
        if let Some(unused) = unused.or(file.map(|file| file.span())) {
            self.error(
                Some(unused),
                "timeout_min_s, timeout_max_s, state_file: have no effect without timeout_s = \"auto\"",
            );
        }
        let fixed = fixed
            .zip(span)
            .map(|(seconds, span)| Spanned::new(span, seconds));
        KeepAlive::Fixed(self.number("timeout_s", fixed, 1..=LONGEST_S, 300))
    }

    /// A file that was named, or the one beside the configuration that is named after it.
    fn beside(&self, said: Option<Spanned<PathBuf>>, ending: &str) -> PathBuf {
        let mut named = self.stem.as_os_str().to_owned();
        named.push(ending);
        self.path(
            said.as_ref()
                .map_or(Path::new(&named), |said| said.get_ref()),
        )
    }

    /// Where the agent tells its status.
    pub(super) fn told(
        &mut self,
        socket: Option<Spanned<PathBuf>>,
        metrics: Option<Spanned<FileMetrics>>,
    ) -> Option<ToldConfig> {
        let socket = self.beside(socket, ".sock");
        let Some(metrics) = metrics else {
            return Some(ToldConfig {
                socket,
                metrics: None,
            });
        };
        let span = metrics.span();
        let Some(listen) = metrics.into_inner().listen else {
            self.error(
                Some(span),
                "metrics.listen: is missing; it is an address of loopback and a port, \"127.0.0.1:9101\"",
            );
            return None;
        };
        let address = self.address("metrics.listen", &listen)?;
        if !address.ip().is_loopback() {
            self.error(
                Some(listen.span()),
                "metrics.listen: is not an address of loopback; metrics are told to this handset alone",
            );
        }
        Some(ToldConfig {
            socket,
            metrics: Some(address),
        })
    }
}
