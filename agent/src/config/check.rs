//! Holds the file against what a handset can do: ranges, addresses, users, and what goes with what.
//!
//! Everything is looked at before anything is refused, so that one run tells all that is wrong. Called by [`super::file`].

mod consent;
mod device;
mod https;
mod keepalive;
mod owner;
mod users;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use everline_protocol::{HostPort, Msisdn};
use http::Uri;
use toml::Spanned;

use super::file::{Check, File, FileBuiltin};
use super::{Config, Data, Serve, Signaling, Token, is_token};
use crate::device::simulated::SimulatedConfig;
use crate::serve::builtin::BuiltinConfig;
use crate::serve::builtin::authentication::AuthenticationConfig;
use crate::serve::builtin::consent::ConsentConfig;
use crate::serve::forward::ForwardConfig;

/// Bytes of pictures, films and messages together, if the owner does not say: sixteen films of half a gigabyte.
const CONTENT_BYTES_DEFAULT: u64 = 8 << 30;

/// Less than this would not even hold one photograph.
const CONTENT_BYTES_LEAST: u64 = 1 << 20;

impl Check<'_> {
    /// The checked configuration; `None` only if something wrong was noted.
    pub(super) fn config(&mut self, file: File) -> Option<Config> {
        let gateways = self.gateways(file.gateways);
        let msisdn = self.msisdn(file.msisdn);
        let token = self.token(file.token, file.token_file);
        let connect_timeout = self.millis("connect_timeout_ms", file.connect_timeout_ms, 10_000);
        let answer_timeout = self.millis("answer_timeout_ms", file.answer_timeout_ms, 10_000);
        let shutdown_timeout = self.millis("shutdown_timeout_ms", file.shutdown_timeout_ms, 5_000);
        let timeout = self.keepalive(
            file.timeout_s,
            file.timeout_min_s,
            file.timeout_max_s,
            file.state_file,
        );
        let told = self.told(file.status_socket, file.metrics);
        let linger_s = self.number("linger_s", file.linger_s, 0..=300, 0);
        let port = self.number("data_port", file.data_port, 1..=65_535, 7001);
        let channels_max = self.number("data_channels_max", file.data_channels_max, 1..=1_024, 128);
        let idle_s = self.number(
            "forward_idle_timeout_s",
            file.forward_idle_timeout_s,
            1..=86_400,
            3_600,
        );
        let device = self.device(file.device, file.forward.is_some());
        let authentication = self.authentication(
            file.authentication,
            file.digest_md5,
            file.user,
            file.forward.is_some(),
        );
        let https = self.https(file.https, file.forward.is_some());
        let owner = self.owner(file.owner, file.forward.is_some());
        let authenticated = authentication.as_ref().map(Option::is_some);
        let consent = self.consent(
            file.consent,
            file.grant,
            authenticated,
            owner.is_some(),
            file.forward.is_some(),
        );
        let serve = self.serve(file.forward, idle_s, file.builtin, |check, builtin| {
            let builtin = check.builtin(builtin, authentication?, linger_s, device)?;
            let owner = owner.zip(msisdn);
            let owner = owner.map(|(owner, msisdn)| owner.of(msisdn, &builtin.database));
            Some(BuiltinConfig {
                https,
                consent,
                owner,
                ..builtin
            })
        });
        Some(Config {
            signaling: Signaling {
                msisdn: msisdn?,
                token: token?,
                gateways: gateways?,
                timeout,
                linger_s,
                connect_timeout,
                answer_timeout,
            },
            data: Data {
                port: u16::try_from(port).ok()?,
                channels_max: channels_max as usize,
                connect_timeout,
            },
            serve: serve?,
            shutdown_timeout,
            told: told?,
            notes: Vec::new(),
        })
    }

    /// Who answers requests: exactly one of the two.
    fn serve(
        &mut self,
        forward: Option<Spanned<String>>,
        idle_s: u32,
        builtin: Option<Spanned<FileBuiltin>>,
        checked: impl FnOnce(&mut Self, Spanned<FileBuiltin>) -> Option<BuiltinConfig>,
    ) -> Option<Serve> {
        match (forward, builtin) {
            (Some(to), None) => self.forward(&to, idle_s).map(Serve::Forward),
            (None, Some(builtin)) => {
                let builtin = checked(self, builtin);
                builtin.map(|builtin| Serve::Builtin(Box::new(builtin)))
            }
            (Some(to), Some(_)) => {
                self.error(
                    Some(to.span()),
                    "forward: say either forward or [builtin], not both",
                );
                None
            }
            (None, None) => {
                self.error(
                    None,
                    "say who answers requests: forward = \"http://127.0.0.1:PORT\" for a local \
                     web server, or [builtin] for the embedded one",
                );
                None
            }
        }
    }

    fn msisdn(&mut self, msisdn: Option<Spanned<String>>) -> Option<Msisdn> {
        let Some(msisdn) = msisdn else {
            self.error(
                None,
                "msisdn: is missing; it is the handset's number, in digits without `+`",
            );
            return None;
        };
        match Msisdn::parse(msisdn.get_ref().as_bytes()) {
            Ok(msisdn) => Some(msisdn),
            Err(error) => {
                self.error(Some(msisdn.span()), format!("msisdn: {error}"));
                None
            }
        }
    }

    fn gateways(
        &mut self,
        gateways: Option<Spanned<Vec<Spanned<String>>>>,
    ) -> Option<Vec<HostPort>> {
        let Some(gateways) = gateways else {
            self.error(
                None,
                "gateways: is missing; it lists signaling addresses, [\"gateway.example:7000\"]",
            );
            return None;
        };
        if gateways.get_ref().is_empty() {
            self.error(Some(gateways.span()), "gateways: names no gateway");
            return None;
        }
        let mut checked = Vec::new();
        for gateway in gateways.get_ref() {
            match HostPort::parse(gateway.get_ref()) {
                Some(gateway) => checked.push(gateway),
                None => self.error(
                    Some(gateway.span()),
                    "gateways: expected host:port, an IPv6 host in brackets",
                ),
            }
        }
        (checked.len() == gateways.get_ref().len()).then_some(checked)
    }

    fn token(
        &mut self,
        token: Option<Spanned<String>>,
        file: Option<Spanned<PathBuf>>,
    ) -> Option<Token> {
        match (token, file) {
            (Some(token), None) if is_token(token.get_ref()) => {
                Some(Token::Inline(token.into_inner()))
            }
            (Some(token), None) => {
                self.error(
                    Some(token.span()),
                    "token: is empty, too long, or holds spaces or other than ASCII",
                );
                None
            }
            (None, Some(file)) => Some(Token::File(self.path(file.get_ref()))),
            (Some(_), Some(file)) => {
                self.error(
                    Some(file.span()),
                    "token_file: say either token or token_file, not both",
                );
                None
            }
            (None, None) => {
                self.error(
                    None,
                    "token_file: is missing; it or token proves the number to the gateway",
                );
                None
            }
        }
    }

    fn number(
        &mut self,
        key: &str,
        value: Option<Spanned<i64>>,
        range: RangeInclusive<u32>,
        default: u32,
    ) -> u32 {
        let Some(value) = value else {
            return default;
        };
        match u32::try_from(*value.get_ref()) {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = range.into_inner();
                self.error(
                    Some(value.span()),
                    format!("{key}: {} is not from {least} to {most}", value.get_ref()),
                );
                default
            }
        }
    }

    fn millis(&mut self, key: &str, value: Option<Spanned<i64>>, default: u32) -> Duration {
        Duration::from_millis(self.number(key, value, 1..=600_000, default).into())
    }

    fn path(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    fn forward(&mut self, to: &Spanned<String>, idle_s: u32) -> Option<ForwardConfig> {
        let uri: Option<Uri> = to.get_ref().parse().ok();
        let plain = uri.as_ref().is_some_and(|uri| {
            uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none()
        });
        let authority = uri.as_ref().and_then(Uri::authority).filter(|_| plain);
        let to_local = authority.and_then(|authority| {
            let host = authority.host();
            let port = authority.port_u16().unwrap_or(80);
            HostPort::parse(&format!("{host}:{port}"))
        });
        match to_local {
            Some(to) => Some(ForwardConfig {
                to,
                idle_timeout: Duration::from_secs(idle_s.into()),
            }),
            None => {
                self.error(
                    Some(to.span()),
                    "forward: expected http://HOST:PORT without a path: requests pass unchanged",
                );
                None
            }
        }
    }

    fn builtin(
        &mut self,
        builtin: Spanned<FileBuiltin>,
        authentication: Option<AuthenticationConfig>,
        linger_s: u32,
        device: SimulatedConfig,
    ) -> Option<BuiltinConfig> {
        let span = builtin.span();
        let FileBuiltin {
            database,
            import,
            content_bytes_max,
        } = builtin.into_inner();
        let content_bytes_max = self.content_bytes_max(content_bytes_max);
        let Some(database) = database else {
            self.error(
                Some(span),
                "builtin.database: is missing; it is the file that keeps the handset's data",
            );
            return None;
        };
        Some(BuiltinConfig {
            database: self.path(database.get_ref()),
            import: import.iter().map(|path| self.path(path)).collect(),
            authentication,
            linger_s,
            content_bytes_max,
            device,
            https: None,
            consent: ConsentConfig::default(),
            owner: None,
        })
    }

    fn content_bytes_max(&mut self, value: Option<Spanned<i64>>) -> u64 {
        let Some(value) = value else {
            return CONTENT_BYTES_DEFAULT;
        };
        let bytes = u64::try_from(*value.get_ref()).unwrap_or_default();
        if bytes < CONTENT_BYTES_LEAST {
            let fault = format!("builtin.content_bytes_max: is not {CONTENT_BYTES_LEAST} or more");
            self.error(Some(value.span()), fault);
        }
        bytes
    }
}
