//! What the operator said, checked: every value here is in range and goes with every other.
//!
//! `config_file` reads the TOML and reports all errors at once; everyone else sees only these structs, nested by layer.
//! Durations are [`Duration`], sizes bytes; the keys of the file carry their unit as their last word.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use everline_protocol::HostPort;

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The signaling port and its sessions.
    pub signaling: Signaling,
    /// The data port.
    pub data: Data,
    /// The callers' port.
    pub ingress: Ingress,
    /// What a request may wait for.
    pub request: Request,
    /// Who may register.
    pub auth: Auth,
    /// The session store.
    pub store: Store,
    /// The operator's port.
    pub admin: Admin,
    /// Leaving in order.
    pub drain: Drain,
    /// Logging.
    pub log: Log,
    /// "Yes, bind signaling, data or ingress beyond loopback without TLS."
    pub plaintext_beyond_loopback: bool,
}

/// `[signaling]`
#[derive(Debug, Clone)]
pub struct Signaling {
    /// Where handsets connect.
    pub listen: SocketAddr,
    /// Expect a PROXY protocol header before anything else.
    pub proxy_protocol: bool,
    /// Most registered handsets; one more is refused as `full`.
    pub sessions_max: usize,
    /// Shard threads; `None`: as many as the sessions, the cores and the file table ask for.
    pub shards: Option<usize>,
    /// Keep-alive timeouts are clamped into this range, seconds.
    pub timeout_min_s: u32,
    /// See `timeout_min_s`.
    pub timeout_max_s: u32,
    /// From the accept to a whole CONNECT, and from CONNREGISTERED to the first WAITING.
    pub connect_timeout: Duration,
    /// Longest grace after KEEPALIVE.
    pub grace_max: Duration,
    /// New sessions a second over all shards before `overloaded`; 0: no bound.
    pub registrations_per_s_max: u32,
    /// What `overloaded` and `draining` tell a handset to wait, seconds.
    pub retry_after_s: u32,
    /// Letters that one shard's mailbox holds.
    pub mailbox_letters_max: usize,
}

/// `[data]`
#[derive(Debug, Clone)]
pub struct Data {
    /// Where handsets open data channels.
    pub listen: SocketAddr,
    /// Expect a PROXY protocol header before anything else.
    pub proxy_protocol: bool,
    /// `data=` of REQUESTPENDING; `None`: the handset uses the address that it used for signaling, on the default port.
    pub advertise: Option<HostPort>,
    /// From the accept to a whole DATA line.
    pub bind_timeout: Duration,
    /// Connections of one worker that have not yet sent their DATA line (the file's key is for all workers together).
    pub unbound_max: usize,
    /// Idle data channels kept for the next request, over all handsets of one worker (the file's key is for all
    /// workers together).
    pub idle_max: usize,
}

/// `[ingress]`
#[derive(Debug, Clone)]
pub struct Ingress {
    /// Where callers connect.
    pub listen: SocketAddr,
    /// Expect a PROXY protocol header before anything else.
    pub proxy_protocol: bool,
    /// Domains under which handsets are addressed, lower case, without a trailing dot.
    pub domains: Vec<String>,
    /// Worker threads; `None`: one a core.
    pub workers: Option<usize>,
    /// Callers' connections, over all workers.
    pub connections_max: usize,
    /// Requests in flight over all.
    pub requests_max: usize,
    /// Requests in flight for one handset.
    pub requests_per_handset_max: u32,
    /// Requests in flight for one caller address.
    pub requests_per_caller_max: u32,
    /// Concurrent HTTP/2 streams of one connection.
    pub h2_streams_max: u32,
    /// Header fields of a request, bytes in all.
    pub header_bytes_max: usize,
    /// Header fields of a request, their number.
    pub headers_max: usize,
    /// A request's body, bytes; 0: no bound (bodies stream, nothing is kept).
    pub body_bytes_max: u64,
    /// From a connection's accept, or the end of the last response, to a whole request head.
    pub header_timeout: Duration,
    /// Longest pause inside a request's body.
    pub body_idle_timeout: Duration,
    /// Longest time in which a caller takes not one byte that we have for it.
    pub write_timeout: Duration,
}

/// `[request]`
#[derive(Debug, Clone)]
pub struct Request {
    /// From the signal to a data channel; signalled again once at half of it.
    pub wake_timeout: Duration,
    /// From the request's head on the data channel, or the last part of its body, to the response's head.
    pub response_timeout: Duration,
    /// Longest pause inside a response's body or an upgraded connection, both directions silent.
    pub response_idle_timeout: Duration,
    /// How long a request waits for a handset that left recently to come back.
    pub reconnect_hold: Duration,
    /// What "recently" is.
    pub recent: Duration,
}

/// `[auth]`
#[derive(Debug, Clone)]
pub enum Auth {
    /// Tokens signed by a key of this JWKS file, `aud` if the operator asks for one.
    Jwks {
        /// Public keys (and HS256 secrets).
        jwks_file: PathBuf,
        /// What `aud` must hold.
        audience: Option<String>,
    },
    /// Anyone may be anybody: a lab on loopback.
    None,
}

/// `[store]`
#[derive(Debug, Clone)]
pub struct Store {
    /// Directory of the database; `None`: nothing is kept.
    pub path: Option<PathBuf>,
    /// From a change to the disk.
    pub flush_interval: Duration,
    /// Rows waiting to be written; further handsets' rows are dropped and counted.
    pub pending_rows_max: usize,
    /// The database's own cache, bytes.
    pub cache_bytes: u64,
}

/// `[admin]`
#[derive(Debug, Clone)]
pub struct Admin {
    /// Loopback, unless `beyond_loopback`.
    pub listen: SocketAddr,
    /// "Yes, let others than this machine read and drain."
    pub beyond_loopback: bool,
    /// Names under which it may be asked, beside its address, `localhost` and loopback addresses; lower case.
    pub hosts: Vec<String>,
}

/// `[drain]`
#[derive(Debug, Clone)]
pub struct Drain {
    /// Handsets are told to reconnect elsewhere, spread over this time.
    pub spread: Duration,
    /// After that, requests in flight get this long to finish.
    pub finish: Duration,
    /// `to=` of RECONNECT.
    pub reconnect_to: Option<HostPort>,
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// A `tracing` filter: `info`, `everline_gateway=debug`.
    pub filter: String,
    /// Write whole MSISDNs.
    pub msisdns_in_full: bool,
}
