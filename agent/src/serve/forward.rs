//! Hands the requests of a data channel to a local web server, byte for byte.
//!
//! Nothing of HTTP is read on the way, so everything passes: uploads, upgrades, event streams, trailers, interim
//! responses. Only when the local server can't be reached does the agent answer itself, with one plain 502. `alone` tells
//! which requests can share a local connection one after the other, and `kept` keeps it between two of them.

mod alone;
mod kept;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use everline_protocol::HostPort;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::close;
use alone::{Alone, Response};
use kept::{KEEP, Kept, is_silent};

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

/// Forwards to one local web server; a clone shares its idle connections.
#[derive(Debug, Clone)]
pub struct Forward {
    config: ForwardConfig,
    kept: Kept,
}

impl Forward {
    /// Forwards as configured; connects to nothing yet.
    pub fn new(config: &ForwardConfig) -> Self {
        Self {
            config: config.clone(),
            kept: Kept::default(),
        }
    }

    /// A connection to the local server, or why there is none.
    pub async fn connect(&self) -> Local {
        match self.kept.take() {
            Some((stream, until)) => Local::Connected(Box::new(Connected {
                forward: self.clone(),
                stream,
                until,
                kept: true,
            })),
            None => self.dial().await,
        }
    }

    async fn dial(&self) -> Local {
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
                Local::Connected(Box::new(Connected {
                    forward: self.clone(),
                    stream,
                    until: Instant::now() + KEEP,
                    kept: false,
                }))
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
    Connected(Box<Connected>),
    /// Not to be reached; the log says where and why.
    Unreachable,
}

impl Local {
    /// Passes bytes both ways until one side ends; `first` came from the channel already.
    pub async fn splice(self, mut channel: TcpStream, first: &[u8]) {
        let alone = Alone::read(first);
        let mut local = self;
        while let Self::Connected(connected) = local {
            match connected.serve(&mut channel, first, alone.as_ref()).await {
                Ok(spliced) => return spliced.end(channel).await,
                Err(forward) => local = forward.dial().await,
            }
        }
        if channel.write_all(&unreachable()).await.is_ok() {
            close(channel).await;
        }
    }
}

/// A connection to the local server.
#[derive(Debug)]
pub struct Connected {
    forward: Forward,
    stream: TcpStream,
    /// When it is too old to be kept.
    until: Instant,
    /// It has served a request before: the server may be closing it at this very moment.
    kept: bool,
}

impl Connected {
    /// Serves a channel to its end. An error: the request is as it was, and wants a fresh connection.
    async fn serve(
        mut self: Box<Self>,
        channel: &mut TcpStream,
        first: &[u8],
        alone: Option<&Alone>,
    ) -> Result<Spliced, Forward> {
        // Between the dial or the last request and this one time has passed.
        let silent = is_silent(&self.stream);
        let (request, mut response) = match alone {
            Some(_) if self.kept && !silent => return Err(self.forward),
            // A server that speaks before it is asked may answer again: nobody else is to get that.
            Some(alone) if silent => (alone.head.as_slice(), Some(alone.response())),
            None if self.kept => {
                self.forward.kept.put(self.stream, self.until);
                return Err(self.forward);
            }
            _ => (first, None),
        };
        let idle_timeout = self.forward.config.idle_timeout;
        let spliced = both_ways(
            channel,
            &mut self.stream,
            request,
            response.as_mut(),
            idle_timeout,
        )
        .await;
        match (&spliced, response) {
            (Spliced::Answered { .. } | Spliced::Cut(_), Some(response))
                if self.kept && !response.is_seen() && !spliced.is_late() =>
            {
                return Err(self.forward);
            }
            (Spliced::Answered { asked: true }, Some(response)) if response.is_ended() => {
                self.forward.kept.put(self.stream, self.until);
            }
            _ => {}
        }
        Ok(spliced)
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
    /// The local server's answer is over, and all of it was passed on. `asked`: it was an answer to all of what came
    /// first on the channel; else some of that is still to be written.
    Answered { asked: bool },
    /// The gateway closed: nobody waits for the rest.
    GatewayLeft,
    /// The local server broke off, or nothing passed for too long.
    Cut(io::Error),
}

impl Spliced {
    fn is_late(&self) -> bool {
        matches!(self, Self::Cut(error) if error.kind() == io::ErrorKind::TimedOut)
    }

    async fn end(self, channel: TcpStream) {
        match self {
            Self::Answered { .. } => close(channel).await,
            Self::GatewayLeft => {}
            Self::Cut(error) => {
                tracing::debug!(%error, "a forwarded data channel was cut");
                // A reset, not an orderly end: a response that its end alone delimits must not look complete.
                let _ = channel.set_zero_linger();
            }
        }
    }
}

/// How one direction ended.
enum Passed {
    /// The reader ended, or what it had to say did.
    All,
    /// The reader failed.
    Unread(io::Error),
    /// The writer takes no more.
    Unwritten,
}

/// `response`: of a request that is alone, which `first` is all of.
async fn both_ways(
    channel: &mut TcpStream,
    local: &mut TcpStream,
    first: &[u8],
    response: Option<&mut Response>,
    idle_timeout: Duration,
) -> Spliced {
    let active = Activity::new();
    let (mut from_gateway, to_gateway) = channel.split();
    let (from_local, mut to_local) = local.split();
    let is_alone = response.is_some();
    let asked = AtomicBool::new(false);
    let request = async {
        if to_local.write_all(first).await.is_err() {
            return Passed::Unwritten;
        }
        asked.store(true, Ordering::Relaxed);
        if is_alone {
            // Only the channel's end can follow; of anything else the local connection must hear nothing.
            let _ = from_gateway.read(&mut [0]).await;
            return Passed::All;
        }
        pass(from_gateway, to_local, None, &active).await
    };
    let answer = pass(from_local, to_gateway, response, &active);
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
        Passed::All => Spliced::Answered {
            asked: asked.load(Ordering::Relaxed),
        },
        Passed::Unread(error) => Spliced::Cut(error),
        Passed::Unwritten => Spliced::GatewayLeft,
    }
}

/// Copies until the reader ends, or the `response` that it reads.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut response: Option<&mut Response>,
    active: &Activity,
) -> Passed {
    let mut buffer = vec![0; BUFFER_BYTES_MIN];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(count) => count,
            Err(error) => return Passed::Unread(error),
        };
        active.note();
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return Passed::All;
        }
        if to.write_all(bytes).await.is_err() {
            return Passed::Unwritten;
        }
        active.note();
        if let Some(response) = &mut response {
            response.input(bytes);
            if response.is_ended() {
                return Passed::All;
            }
        }
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
