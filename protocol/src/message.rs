//! Messages: what a line says, and the line that says it. Both directions, both kinds of connection.

use std::fmt;

use crate::{Msisdn, RefusalCode};

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

/// `host:port` as `data=` and `to=` carry it; an IPv6 host stands in brackets on the wire and without them here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name, IPv4 or IPv6 address, without brackets.
    pub host: String,
    /// TCP port, not 0.
    pub port: u16,
}
