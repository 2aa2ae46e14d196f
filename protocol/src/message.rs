//! Messages: what a line says, and the line that says it. Both directions, both kinds of connection.

use std::fmt;
use std::net::Ipv6Addr;

use crate::line::{Line, LineWriter, Verb};
use crate::{ErrorCode, Millis, Msisdn, RefusalCode, RequestId, SessionId, text};

/// Range of `timeout` in seconds (PROTOCOL 3.1).
pub const TIMEOUT_S: std::ops::RangeInclusive<u32> = 1..=86_400;

/// Longest host name in bytes: that of DNS.
const HOST_BYTES_MAX: usize = 253;

/// One line of the protocol, either direction, either kind of connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Handset: registers (PROTOCOL 3.1).
    Connect(Connect),
    /// Gateway: registered (PROTOCOL 3.1).
    Registered {
        /// Names this registration.
        session: SessionId,
        /// The timeout in force, seconds, 1 to 86,400.
        timeout_s: u32,
    },
    /// Gateway: not registered (PROTOCOL 3.1).
    Refused(Refusal),
    /// Handset: is there (PROTOCOL 3.2).
    Waiting,
    /// Gateway: asks whether the handset is there (PROTOCOL 3.2).
    KeepAlive,
    /// Gateway: a request waits for a data channel (PROTOCOL 3.3).
    RequestPending {
        /// To be sent in DATA.
        id: RequestId,
        /// Where to; absent: the signaling address, on the data port.
        data: Option<HostPort>,
    },
    /// Gateway: is leaving (PROTOCOL 3.4).
    Reconnect {
        /// How long the handset waits first.
        after: Millis,
        /// Where it registers then; absent: the same address.
        to: Option<HostPort>,
    },
    /// Handset: is leaving (PROTOCOL 3.4).
    Bye,
    /// Either: closes for this reason (PROTOCOL sections 2, 4 and 5.1).
    Error {
        /// Why.
        code: ErrorCode,
        /// Free text, percent-decoded.
        reason: Option<String>,
    },
    /// Handset: takes a request, first line of a data channel (PROTOCOL 5.1).
    Data(RequestId),
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A CONNECT that is answered with CONNREFUSED (PROTOCOL 3.1).
    Refused(RefusalCode),
    /// A line that is answered with ERROR (PROTOCOL sections 2 and 4).
    Broken(ErrorCode),
}

impl From<ErrorCode> for Fault {
    fn from(code: ErrorCode) -> Self {
        Self::Broken(code)
    }
}

impl Message {
    /// Reads a line, given without its ending.
    ///
    /// A key that the verb needs and that is missing or malformed is [`ErrorCode::BadLine`], except for the four keys
    /// of CONNECT that have refusals of their own. Keys of no meaning are ignored.
    pub fn parse(line: &[u8]) -> Result<Self, Fault> {
        Self::read(&Line::parse(line)?)
    }

    /// Reads a line whose verb the caller has already looked at.
    pub fn read(line: &Line<'_>) -> Result<Self, Fault> {
        let id = || {
            line.value("id")
                .and_then(|id| RequestId::parse(id.as_bytes()))
        };
        let message = match line.verb() {
            Verb::Connect => return Connect::read(line).map(Self::Connect),
            Verb::ConnRegistered => Self::registered(line),
            Verb::ConnRefused => Self::refused(line),
            Verb::Waiting => Some(Self::Waiting),
            Verb::KeepAlive => Some(Self::KeepAlive),
            Verb::RequestPending => id()
                .zip(optional(line, "data", HostPort::parse))
                .map(|(id, data)| Self::RequestPending { id, data }),
            Verb::Reconnect => line
                .value("after")
                .and_then(decimal)
                .zip(optional(line, "to", HostPort::parse))
                .map(|(after, to)| Self::Reconnect {
                    after: Millis(after),
                    to,
                }),
            Verb::Bye => Some(Self::Bye),
            Verb::Error => line.value("code").map(|code| Self::Error {
                code: ErrorCode::parse(code.as_bytes()),
                reason: line.value("reason").map(text::decode),
            }),
            Verb::Data => id().map(Self::Data),
        };
        message.ok_or(Fault::Broken(ErrorCode::BadLine))
    }

    /// Appends the line, its CRLF included. No value can add a space or a line break: see [`LineWriter`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Connect(connect) => connect.encode(out),
            Self::Registered { session, timeout_s } => LineWriter::new(Verb::ConnRegistered, out)
                .pair("session", session)
                .pair("timeout", timeout_s)
                .end(),
            Self::Refused(refusal) => refusal.encode(out),
            Self::Waiting => LineWriter::new(Verb::Waiting, out).end(),
            Self::KeepAlive => LineWriter::new(Verb::KeepAlive, out).end(),
            Self::RequestPending { id, data } => encode_request_pending(*id, data.as_ref(), out),
            Self::Reconnect { after, to } => encode_reconnect(*after, to.as_ref(), out),
            Self::Bye => LineWriter::new(Verb::Bye, out).end(),
            Self::Error { code, reason } => {
                LineWriter::new(Verb::Error, out)
                    .pair("code", code.name())
                    .text("reason", reason.as_deref())
                    .end();
            }
            Self::Data(id) => LineWriter::new(Verb::Data, out).pair("id", id).end(),
        }
    }

    fn registered(line: &Line<'_>) -> Option<Self> {
        let session = SessionId::parse(line.value("session")?.as_bytes())?;
        let timeout_s = line.value("timeout").and_then(timeout)?;
        Some(Self::Registered { session, timeout_s })
    }

    fn refused(line: &Line<'_>) -> Option<Self> {
        Some(Self::Refused(Refusal {
            code: RefusalCode::parse(line.value("code")?.as_bytes()),
            retry_after_s: optional(line, "retry-after", seconds)?,
            reason: line.value("reason").map(text::decode),
        }))
    }
}

/// A well-formed CONNECT whose token is not yet checked (PROTOCOL 3.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// Who registers.
    pub msisdn: Msisdn,
    /// Keep-alive interval the handset asks for, seconds, 1 to 86,400; not yet clamped.
    pub timeout_s: u32,
    /// The JWT, unchecked. Never logged.
    pub token: String,
    /// Seconds for which the handset keeps an idle data channel; 0: never.
    pub linger_s: u32,
    /// `name/version` of the handset's software, if it said.
    pub agent: Option<String>,
}

impl Connect {
    /// Reads a CONNECT in PROTOCOL's order: version, msisdn, timeout, token, each refused by its own code when missing
    /// or bad. PROTOCOL has no refusal for a `linger` that is no number of seconds, so that is a bad line.
    fn read(line: &Line<'_>) -> Result<Self, Fault> {
        let refused = |code| Fault::Refused(code);
        if line.value("version") != Some("1") {
            return Err(refused(RefusalCode::BadVersion));
        }
        let msisdn = line
            .value("msisdn")
            .and_then(|digits| Msisdn::parse(digits.as_bytes()).ok());
        let msisdn = msisdn.ok_or(refused(RefusalCode::BadMsisdn))?;
        let timeout_s = line
            .value("timeout")
            .and_then(timeout)
            .ok_or(refused(RefusalCode::BadTimeout))?;
        let token = line
            .value("token")
            .ok_or(refused(RefusalCode::BadToken))?
            .to_owned();
        let linger_s = optional(line, "linger", seconds)
            .ok_or(ErrorCode::BadLine)?
            .unwrap_or(0);
        let agent = line.value("agent").map(text::decode);
        Ok(Self {
            msisdn,
            timeout_s,
            token,
            linger_s,
            agent,
        })
    }

    /// Appends the line. A token that is no token at all still makes one line (its odd bytes are percent-encoded), and
    /// one of more than about 1,700 bytes makes a line that the gateway refuses as too long.
    pub fn encode(&self, out: &mut Vec<u8>) {
        LineWriter::new(Verb::Connect, out)
            .pair("version", 1)
            .pair("msisdn", self.msisdn.digits())
            .pair("timeout", self.timeout_s)
            .pair("token", &self.token)
            .pair("linger", self.linger_s)
            .text("agent", self.agent.as_deref())
            .end();
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("msisdn", &self.msisdn)
            .field("timeout_s", &self.timeout_s)
            .field("linger_s", &self.linger_s)
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

/// A refused CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub code: RefusalCode,
    /// Seconds to wait at least before the next attempt.
    pub retry_after_s: Option<u32>,
    /// Free text, percent-decoded.
    pub reason: Option<String>,
}

impl Refusal {
    /// A refusal that says no more than its code.
    pub fn new(code: RefusalCode) -> Self {
        Self {
            code,
            retry_after_s: None,
            reason: None,
        }
    }

    /// Appends the CONNREFUSED line.
    pub fn encode(&self, out: &mut Vec<u8>) {
        LineWriter::new(Verb::ConnRefused, out)
            .pair("code", self.code.name())
            .maybe("retry-after", self.retry_after_s)
            .text("reason", self.reason.as_deref())
            .end();
    }
}

/// `host:port` as `data=` and `to=` carry it; an IPv6 host stands in brackets on the wire and without them here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name, IPv4 or IPv6 address, without brackets.
    pub host: String,
    /// TCP port, not 0.
    pub port: u16,
}

impl HostPort {
    /// Parses `name:port`, `1.2.3.4:port` or `[v6]:port`. A name is 1 to 253 letters, digits, `-`, `_` and `.`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = decimal(port)
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0)?;
        let host = match host.strip_prefix('[') {
            Some(bracketed) => {
                let address = bracketed.strip_suffix(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                address
            }
            None => {
                let allowed =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
                if !(1..=HOST_BYTES_MAX).contains(&host.len()) || !host.bytes().all(allowed) {
                    return None;
                }
                host
            }
        };
        Some(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// The wire form.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Appends REQUESTPENDING without owning its address: a gateway sends the same one in every signal.
pub(crate) fn encode_request_pending(id: RequestId, data: Option<&HostPort>, out: &mut Vec<u8>) {
    LineWriter::new(Verb::RequestPending, out)
        .pair("id", id)
        .maybe("data", data)
        .end();
}

/// Appends RECONNECT without owning its address.
pub(crate) fn encode_reconnect(after: Millis, to: Option<&HostPort>, out: &mut Vec<u8>) {
    LineWriter::new(Verb::Reconnect, out)
        .pair("after", after.0)
        .maybe("to", to)
        .end();
}

/// Appends the ERROR line with which this side closes: a protocol error tells its reason (PROTOCOL section 2), any
/// other code speaks for itself.
pub(crate) fn encode_error(code: ErrorCode, out: &mut Vec<u8>) {
    LineWriter::new(Verb::Error, out)
        .pair("code", code.name())
        .text("reason", code.reason())
        .end();
}

/// Outer `None`: there is a value and it is malformed. Inner `None`: there is none.
#[allow(
    clippy::option_option,
    reason = "absent and malformed are two answers, and zip() joins them with others"
)]
fn optional<T>(
    line: &Line<'_>,
    key: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<Option<T>> {
    match line.value(key) {
        None => Some(None),
        Some(value) => parse(value).map(Some),
    }
}

/// Digits alone: `str::parse` would take a sign too.
fn decimal(value: &str) -> Option<u64> {
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    value.parse().ok()
}

fn seconds(value: &str) -> Option<u32> {
    decimal(value).and_then(|seconds| u32::try_from(seconds).ok())
}

fn timeout(value: &str) -> Option<u32> {
    seconds(value).filter(|seconds| TIMEOUT_S.contains(seconds))
}
