//! What a request is called and whom it is for: its caller's address, its handset, its ids. Starts nothing.

use std::net::SocketAddr;
use std::time::Instant;

use everline_protocol::Msisdn;
use http::HeaderValue;
use http::uri::PathAndQuery;

/// One admitted request, apart from its HTTP.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The caller's address: the peer's, or the one that a trusted PROXY header names.
    pub caller: SocketAddr,
    /// Which handset the URL names.
    pub handset: Msisdn,
    /// The host as the caller sent it, port and case untouched.
    pub host: String,
    /// The path and query as the handset is asked for it.
    pub path: PathAndQuery,
    /// `/<msisdn>`, if the caller used the path form and it was removed (PROTOCOL 5.2).
    pub prefix: Option<String>,
    /// `X-Request-Id`: the caller's if it was sane, else ours. Not the id of REQUESTPENDING, which is a secret.
    pub request_id: HeaderValue,
    /// When the request's head was there.
    pub received: Instant,
}
