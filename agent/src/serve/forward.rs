//! Hands the requests of a data channel to a local web server, byte for byte.
//!
//! Nothing of HTTP is read here, so everything passes: uploads, upgrades, event streams, trailers, interim responses.
//! Only when the local server can't be reached does the agent answer itself, with one plain 502.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use everline_protocol::HostPort;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::close;

/// Bound on dialling the local server; it is on this handset, or near it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What one direction of a channel copies through: little while little passes, more once reads fill it.
const BUFFER_BYTES_MIN: usize = 2 * 1024;
const BUFFER_BYTES_MAX: usize = 32 * 1024;

/// Where requests are forwarded to.
#[derive(Debug, Clone)]
pub struct ForwardConfig {
    /// The local web server.
    pub to: HostPort,
    /// A channel on which no byte passed for this long is closed. Generous, because a response may be silent.
    pub idle_timeout: Duration,
}

/// Forwards to one local web server.
#[derive(Debug, Clone)]
pub struct Forward {
    config: ForwardConfig,
}

impl Forward {
    /// Forwards as configured; connects to nothing yet.
    pub fn new(config: &ForwardConfig) -> Self {
        Self {
            config: config.clone(),
        }
    }

    /// A fresh connection to the local server, or why there is none.
    pub async fn connect(&self) -> Local {
        let HostPort { host, port } = &self.config.to;
        let connected =
            match timeout(CONNECT_TIMEOUT, TcpStream::connect((host.as_str(), *port))).await {
                Ok(connected) => connected,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
        match connected {
            Ok(stream) => {
                // Small messages of an event stream or a WebSocket must not wait for each other.
                let _ = stream.set_nodelay(true);
                Local::Connected {
                    stream,
                    idle_timeout: self.config.idle_timeout,
                }
            }
            Err(error) => {
                tracing::warn!(to = %self.config.to, %error, "the local web server can't be reached: is it running?");
                Local::Unreachable
            }
        }
    }
}

/// The local side of one data channel.
#[derive(Debug)]
pub enum Local {
    /// Connected.
    Connected {
        /// To the local server.
        stream: TcpStream,
        /// See [`ForwardConfig::idle_timeout`].
        idle_timeout: Duration,
    },
    /// Not to be reached; the log says where and why.
    Unreachable,
}

impl Local {
    /// Passes bytes both ways until one side ends; `first` came from the channel already.
    pub async fn splice(self, mut channel: TcpStream, first: &[u8]) {
        match self {
            Self::Connected {
                mut stream,
                idle_timeout,
            } => match both_ways(&mut channel, &mut stream, first, idle_timeout).await {
                Spliced::Answered => close(channel).await,
                Spliced::GatewayLeft => {}
                Spliced::Cut(error) => {
                    tracing::debug!(%error, "a forwarded data channel was cut");
                    // A reset, not an orderly end: a response that its end alone delimits must not look complete.
                    let _ = channel.set_zero_linger();
                }
            },
            Self::Unreachable => {
                if channel.write_all(&unreachable()).await.is_ok() {
                    close(channel).await;
                }
            }
        }
    }
}

/// What the caller is told instead of an answer: what is wrong, and not what the handset's own network looks like.
fn unreachable() -> Vec<u8> {
    let body = serde_json::json!({
        "type": "urn:everline:agent:local-server-unreachable",
        "title": "The handset's web server can't be reached",
        "status": 502,
        "detail": "The agent on this handset hands requests to a web server beside it, which can't be reached. \
                   Its owner finds the address and the reason in the agent's log.",
    })
    .to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 502 Bad Gateway\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// How a channel ended.
enum Spliced {
    /// The local server ended its stream, and all of it was passed on.
    Answered,
    /// The gateway closed: nobody waits for the rest.
    GatewayLeft,
    /// The local server broke off, or nothing passed for too long.
    Cut(io::Error),
}

/// How one direction ended.
enum Passed {
    /// The reader ended, and the writer was told.
    All,
    /// The reader failed.
    Unread(io::Error),
    /// The writer takes no more.
    Unwritten,
}

async fn both_ways(
    channel: &mut TcpStream,
    local: &mut TcpStream,
    first: &[u8],
    idle_timeout: Duration,
) -> Spliced {
    let active = Activity::new();
    let (from_gateway, to_gateway) = channel.split();
    let (from_local, to_local) = local.split();
    let answer = pass(from_local, to_gateway, &[], &active);
    let request = pass(from_gateway, to_local, first, &active);
    let idle = active.ceased_for(idle_timeout);
    tokio::pin!(answer, request, idle);
    let answered = tokio::select! {
        answered = &mut answer => answered,
        requested = &mut request => match requested {
            Passed::All | Passed::Unread(_) => return Spliced::GatewayLeft,
            // A server may answer and close before it has read the whole request: its answer still counts.
            Passed::Unwritten => tokio::select! {
                answered = &mut answer => answered,
                () = &mut idle => return Spliced::Cut(io::ErrorKind::TimedOut.into()),
            },
        },
        () = &mut idle => return Spliced::Cut(io::ErrorKind::TimedOut.into()),
    };
    match answered {
        Passed::All => Spliced::Answered,
        Passed::Unread(error) => Spliced::Cut(error),
        Passed::Unwritten => Spliced::GatewayLeft,
    }
}

/// Copies until the reader ends, then tells the writer so.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    first: &[u8],
    active: &Activity,
) -> Passed {
    if to.write_all(first).await.is_err() {
        return Passed::Unwritten;
    }
    let mut buffer = vec![0; BUFFER_BYTES_MIN];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(count) => count,
            Err(error) => return Passed::Unread(error),
        };
        active.note();
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            // A writer that is gone already needs not be told.
            let _ = to.shutdown().await;
            return Passed::All;
        }
        if to.write_all(bytes).await.is_err() {
            return Passed::Unwritten;
        }
        active.note();
        if count == buffer.len() && count < BUFFER_BYTES_MAX {
            buffer.resize(BUFFER_BYTES_MAX, 0);
        }
    }
}

/// When bytes passed last. Written by both directions, on one thread: atomic only because tasks have to be `Send`.
struct Activity {
    begun: Instant,
    /// Milliseconds after `begun`.
    last_ms: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            last_ms: AtomicU64::new(0),
        }
    }

    fn note(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
    }

    /// Returns once nothing has passed for `idle`. One timer a channel, moved when it fires and not at each byte.
    async fn ceased_for(&self, idle: Duration) {
        loop {
            let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let due = self.begun + last + idle;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }
}
