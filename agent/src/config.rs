//! What the owner said, checked: every value here is in range and goes with every other.
//!
//! [`mod@file`] reads the TOML and reports all errors at once; everyone else sees only these structs, nested by layer.

mod check;
pub mod file;

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use everline_protocol::{HostPort, Identity, LINE_BYTES_MAX, Msisdn};

use crate::keepalive::Bounds;
use crate::serve::builtin::BuiltinConfig;
use crate::serve::forward::ForwardConfig;
use crate::status::told::ToldConfig;

pub use file::{ConfigError, ConfigErrors};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The signaling connection.
    pub signaling: Signaling,
    /// The data channels.
    pub data: Data,
    /// Who answers the requests.
    pub serve: Serve,
    /// How long requests in progress may take to finish when the agent is told to end.
    pub shutdown_timeout: Duration,
    /// Where the agent tells its status.
    pub told: ToldConfig,
    /// What the owner should know of the file, and can be used all the same.
    pub notes: Vec<ConfigError>,
}

/// The signaling connection.
#[derive(Debug, Clone)]
pub struct Signaling {
    /// The handset's number.
    pub msisdn: Msisdn,
    /// Proves the number.
    pub token: Token,
    /// Signaling addresses in the order of preference; at least one.
    pub gateways: Vec<HostPort>,
    /// Keep-alive interval to ask for.
    pub timeout: KeepAlive,
    /// Seconds for which an idle data channel is kept; 0: never.
    pub linger_s: u32,
    /// Bounds the dialling of a gateway.
    pub connect_timeout: Duration,
    /// Bounds the wait for the answer to CONNECT, and is the slack of a KEEPALIVE that is due.
    pub answer_timeout: Duration,
}

/// The keep-alive interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepAlive {
    /// Seconds.
    Fixed(u32),
    /// As long as the network lets live.
    Auto {
        /// Between which to look.
        bounds: Bounds,
        /// Where it is remembered.
        file: PathBuf,
    },
}

/// The data channels.
#[derive(Debug, Clone)]
pub struct Data {
    /// The gateway's data port, where REQUESTPENDING names no address.
    pub port: u16,
    /// Data channels at a time; a request beyond them is left to the gateway to answer.
    pub channels_max: usize,
    /// Bounds the dialling of a data channel.
    pub connect_timeout: Duration,
}

/// Who answers the requests.
#[derive(Debug, Clone)]
pub enum Serve {
    /// A local web server.
    Forward(ForwardConfig),
    /// The embedded one.
    Builtin(Box<BuiltinConfig>),
}

/// Where the token is. `Debug` never shows it.
#[derive(Clone)]
pub enum Token {
    /// In the configuration.
    Inline(String),
    /// In a file, read at each registration: who renews it has nothing to restart.
    File(PathBuf),
}

impl Token {
    /// The token as it is now. A file is read blocking: it is small, and local.
    pub fn read(&self) -> io::Result<String> {
        let path = match self {
            Self::Inline(token) => return Ok(token.clone()),
            Self::File(path) => path,
        };
        let mut text = String::new();
        let limit = LINE_BYTES_MAX as u64;
        std::fs::File::open(path)?
            .take(limit)
            .read_to_string(&mut text)?;
        let token = text.trim();
        if !is_token(token) {
            let fault =
                "it holds no token: one line of visible ASCII, shorter than a protocol line";
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
        }
        Ok(token.to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl Signaling {
    /// What the handset says of itself now, asking for this keep-alive interval.
    pub fn identity(&self, timeout_s: u32) -> io::Result<Identity> {
        Ok(Identity {
            msisdn: self.msisdn,
            token: self.token.read()?,
            timeout_s,
            linger_s: self.linger_s,
            agent: Some(concat!("everline-agent/", env!("CARGO_PKG_VERSION")).to_owned()),
        })
    }
}

/// Whether the text can stand as a value of CONNECT, with room for the line's other keys.
fn is_token(text: &str) -> bool {
    (1..=LINE_BYTES_MAX - 256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}
