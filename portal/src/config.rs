//! The portal's configuration: read from TOML, checked as a whole, every mistake reported at once with its key and line.
//!
//! A key exists because `Config::take` reads it; `portal.example.toml` documents the same keys, and a test compares
//! the two. Everything after this file sees only checked values.

use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderValue;
use http::uri::Authority;

use crate::config_keys::{
    ConfigError, Keys, address, count, domain, http_origin, millis, seconds, switch,
};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where browsers connect.
    pub listen: SocketAddr,
    /// The gateway's ingress, host and port.
    pub gateway: Authority,
    /// The domain under which the gateway serves handsets: the `Host` of every request to one.
    pub domain: HeaderValue,
    /// How the portal stands towards the network.
    pub exposure: Exposure,
    /// Remote users' sessions.
    pub session: SessionLimits,
    /// Everything else that has an end.
    pub limits: Limits,
}

/// How the portal stands towards the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposure {
    /// "Yes, listen beyond loopback although nothing in front speaks TLS."
    pub plaintext_beyond_loopback: bool,
    /// A proxy in front ends TLS: cookies are Secure, browsers are told to stay on https.
    pub tls_in_front: bool,
    /// A proxy in front sets X-Forwarded-For: its last entry is the caller's address.
    pub trust_proxy: bool,
}

/// `[session]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// A session that nobody used for this long is over.
    pub idle_limit: Duration,
    /// A session this old is over, used or not.
    pub lifetime: Duration,
    /// Most sessions at once; one more sign-in is refused.
    pub sessions_max: usize,
    /// Failed sign-ins a minute, for each source address and for each handset.
    pub sign_ins_per_minute: usize,
}

/// `[limits]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From asking the gateway to the end of the handset's answer.
    pub handset_timeout: Duration,
    /// To connect to the gateway.
    pub connect_timeout: Duration,
    /// For a browser to send a whole head, and then a whole form.
    pub read_timeout: Duration,
    /// Largest answer of a handset that is read.
    pub answer_bytes_max: usize,
    /// Largest form that is read.
    pub form_bytes_max: usize,
    /// Items asked for at a time, and most of them shown on one page.
    pub page_items: usize,
    /// Browser connections at once.
    pub connections_max: usize,
    /// Requests being answered at once.
    pub requests_max: usize,
}

impl Config {
    /// Reads and checks a whole file.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of its lines.
    pub fn read(text: &str) -> Result<Self, Vec<ConfigError>> {
        let mut keys = Keys::parse(text);
        let config = Self::take(&mut keys);
        keys.finish().map(|()| config)
    }

    /// Every key that a file may hold, as `table.key`.
    pub fn keys() -> Vec<&'static str> {
        let mut keys = Keys::parse("");
        Self::take(&mut keys);
        keys.known
    }

    fn take(keys: &mut Keys<'_>) -> Self {
        let config = Self {
            listen: keys.take("listen", SocketAddr::from(([127, 0, 0, 1], 8000)), address),
            gateway: keys.take(
                "gateway",
                Authority::from_static("127.0.0.1:8080"),
                http_origin,
            ),
            domain: keys.take("domain", HeaderValue::from_static("localhost"), domain),
            exposure: Exposure {
                plaintext_beyond_loopback: keys.take("plaintext_beyond_loopback", false, switch),
                tls_in_front: keys.take("tls_in_front", false, switch),
                trust_proxy: keys.take("trust_proxy", false, switch),
            },
            session: SessionLimits::take(keys),
            limits: Limits::take(keys),
        };
        config.relate(keys);
        config
    }

    /// What holds between keys.
    fn relate(&self, keys: &mut Keys<'_>) {
        if self.session.idle_limit > self.session.lifetime {
            keys.blame(
                "session.idle_limit_s",
                "must not be longer than session.lifetime_s",
            );
        }
        let Exposure {
            plaintext_beyond_loopback,
            tls_in_front,
            ..
        } = self.exposure;
        if !self.listen.ip().is_loopback() && !plaintext_beyond_loopback && !tls_in_front {
            keys.blame(
                "listen",
                "is beyond loopback, where passwords would travel in the clear: set tls_in_front = true behind a \
                 proxy that ends TLS, or plaintext_beyond_loopback = true to accept that",
            );
        }
    }
}

impl SessionLimits {
    fn take(keys: &mut Keys<'_>) -> Self {
        Self {
            idle_limit: keys.take(
                "session.idle_limit_s",
                Duration::from_secs(1_800),
                seconds(10, 604_800),
            ),
            lifetime: keys.take(
                "session.lifetime_s",
                Duration::from_secs(43_200),
                seconds(60, 2_592_000),
            ),
            sessions_max: keys.take("session.sessions_max", 1_000, count(1, 1_000_000)),
            sign_ins_per_minute: keys.take("session.sign_ins_per_minute", 10, count(1, 1_000)),
        }
    }
}

impl Limits {
    fn take(keys: &mut Keys<'_>) -> Self {
        Self {
            handset_timeout: keys.take(
                "limits.handset_timeout_ms",
                Duration::from_secs(30),
                millis(100, 600_000),
            ),
            connect_timeout: keys.take(
                "limits.connect_timeout_ms",
                Duration::from_secs(3),
                millis(10, 60_000),
            ),
            read_timeout: keys.take(
                "limits.read_timeout_ms",
                Duration::from_secs(10),
                millis(100, 120_000),
            ),
            answer_bytes_max: keys.take("limits.answer_bytes_max", 1 << 20, count(1_024, 64 << 20)),
            form_bytes_max: keys.take("limits.form_bytes_max", 64 << 10, count(1_024, 1 << 20)),
            page_items: keys.take("limits.page_items", 50, count(1, 500)),
            connections_max: keys.take("limits.connections_max", 512, count(1, 100_000)),
            requests_max: keys.take("limits.requests_max", 256, count(1, 100_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        Config::read(text)
            .err()
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = Config::read("").expect("defaults are valid");
        assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
        assert_eq!(config.gateway.as_str(), "127.0.0.1:8080");
        assert_eq!(config.session.idle_limit, Duration::from_secs(1_800));
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_key_and_line() {
        let text = "listen = \"nowhere\"\nspeed = 3\ngateway = \"https://gw\"\n[limits]\npage_items = 0\nfrom_bytes_max = 9\n[odd]\n";
        assert_eq!(
            told(text),
            [
                "line 1: listen: \"nowhere\" is not an address with a port, such as \"127.0.0.1:8000\"",
                "line 2: speed: there is no such key",
                "line 3: gateway: \"https://gw\" is not the gateway's address, such as \"http://127.0.0.1:8080\"",
                "line 5: limits.page_items: is 0, but 1 to 500 is wanted",
                "line 6: limits.from_bytes_max: there is no such key",
                "line 7: odd: there is no such key",
            ]
        );
    }

    #[test]
    fn a_file_that_is_not_toml_names_the_line() {
        assert!(
            told("listen = \"127.0.0.1:1\"\n= 4\n")[0].starts_with("line 2: "),
            "{:?}",
            told("= 4")
        );
    }

    #[test]
    fn beyond_loopback_takes_a_deliberate_word() {
        assert!(
            told("listen = \"0.0.0.0:8000\"")[0].starts_with("line 1: listen: is beyond loopback")
        );
        assert_eq!(
            told("listen = \"0.0.0.0:8000\"\nplaintext_beyond_loopback = true"),
            [""; 0]
        );
        assert_eq!(told("listen = \"[::]:8000\"\ntls_in_front = true"), [""; 0]);
    }

    #[test]
    fn the_example_documents_exactly_the_keys_that_exist() {
        let example = include_str!("../portal.example.toml");
        let config = Config::read(example).expect("the example is valid");
        assert_eq!(
            format!("{config:?}"),
            format!("{:?}", Config::read("").expect("defaults")),
            "it shows the defaults"
        );
        let documented: Vec<String> = Keys::parse(example).values.into_keys().collect();
        let mut existing = Config::keys();
        existing.sort_unstable();
        assert_eq!(documented, existing);
        let mut above = "";
        for line in example.lines() {
            assert!(
                !line.contains('=') || line.starts_with('#') || above.starts_with('#'),
                "no words above {line:?}"
            );
            above = line;
        }
    }
}
