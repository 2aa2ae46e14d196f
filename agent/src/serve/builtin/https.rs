//! The same API over TLS on a local port (R48), for callers who reach the handset without a gateway.
//!
//! Off unless the configuration has `[https]`. TLS 1.2 and 1.3, HTTP/1.1. Every wait is bounded: the handshake, a
//! request's head, and a caller that does not read what it asked for. What the gateway says of callers is not believed
//! here: nobody came through it.

mod certificate;
pub(crate) mod stall;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use http::header::FORWARDED;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::BUFFER_BYTES_MAX;
use super::authentication::Peer;
use super::authentication::lockout::Source;
use stall::Unstalled;

pub use certificate::CertificateError;

/// Connections at a time; whoever comes then waits until one ends.
const CONNECTIONS_MAX: usize = 64;

/// Of these, those of one source, so that it does not take all of them: a browser opens six.
const SOURCE_CONNECTIONS_MAX: usize = 32;

/// How long a caller may take for its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a kept connection may be idle, and how long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a caller may leave what is sent to it unread.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Wait after an accept that failed for want of something: sockets, memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What is said of the listener.
#[derive(Debug, Clone)]
pub struct HttpsConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Certificate chain and private key; `None`: beside the database, made at first start.
    pub files: Option<(PathBuf, PathBuf)>,
}

/// The listener can't be made ready.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// Its address.
    #[error("https.listen {listen}: {source}")]
    Listen {
        /// Which.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Its certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// A listener that serves until it is closed or dropped: then it takes no more connections, and requests in progress go
/// on.
#[derive(Debug)]
pub struct Https {
    /// Where it listens; the port is the system's choice where the configuration says 0.
    pub address: SocketAddr,
    closed: watch::Sender<bool>,
    slots: Arc<Semaphore>,
}

impl Https {
    /// Listens, and serves `router` from now on. `beside`: the database, whose neighbours are made if no files are named.
    pub async fn open(
        config: &HttpsConfig,
        beside: &std::path::Path,
        router: Router,
    ) -> Result<Self, HttpsError> {
        let tls = certificate::load(config, beside)?;
        let failed = |source| HttpsError::Listen {
            listen: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(%address, "the API is served over TLS");
        let (closed, closing) = watch::channel(false);
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let callers = Callers {
            slots: Arc::clone(&slots),
            sources: Arc::default(),
            closing,
        };
        tokio::spawn(callers.accept(listener, TlsAcceptor::from(tls), router));
        Ok(Self {
            address,
            closed,
            slots,
        })
    }

    /// Takes no more connections, and ends those on which nothing is in progress.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Waits until the requests that were in progress are answered; not bounded in time.
    pub async fn finish(&self) {
        let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
        // It is never closed; whoever comes later waits for good.
        if let Ok(all) = self.slots.acquire_many(all).await {
            all.forget();
        }
    }
}

/// Those who are connected.
struct Callers {
    slots: Arc<Semaphore>,
    sources: Arc<Mutex<HashMap<Source, usize>>>,
    /// True, or its sender gone: the listener is closed.
    closing: watch::Receiver<bool>,
}

impl Callers {
    async fn accept(mut self, listener: TcpListener, acceptor: TlsAcceptor, router: Router) {
        loop {
            let next = async {
                let slot = Arc::clone(&self.slots).acquire_owned().await;
                (slot, listener.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                (Ok(slot), accepted) = next => (slot, accepted),
                () = closed(&mut self.closing) => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a TLS connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(seat) = Seat::take(&self.sources, peer) else {
                tracing::debug!("a source has as many TLS connections as it may");
                continue;
            };
            let (acceptor, router) = (acceptor.clone(), router.clone());
            let closing = self.closing.clone();
            tokio::spawn(async move {
                if let Err(error) = serve(stream, peer, &acceptor, router, closing).await {
                    tracing::debug!(%error, "a TLS connection ended early");
                }
                drop((seat, slot));
            });
        }
    }
}

/// One connection of a source, counted until it is dropped.
struct Seat {
    sources: Arc<Mutex<HashMap<Source, usize>>>,
    source: Source,
}

impl Seat {
    fn take(sources: &Arc<Mutex<HashMap<Source, usize>>>, peer: SocketAddr) -> Option<Self> {
        let source = Source::from(peer.ip());
        let mut taken = sources.lock().unwrap_or_else(PoisonError::into_inner);
        let seats = taken.entry(source).or_default();
        if *seats >= SOURCE_CONNECTIONS_MAX {
            return None;
        }
        *seats += 1;
        Some(Self {
            sources: Arc::clone(sources),
            source,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seats) = taken.get_mut(&self.source) {
            *seats -= 1;
            if *seats == 0 {
                taken.remove(&self.source);
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: &TlsAcceptor,
    router: Router,
    mut closing: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let stream = Unstalled::new(stream, STALL_TIMEOUT);
    let handshake = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
    let stream = tokio::select! {
        shaken = handshake => shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?,
        // It has asked for nothing yet.
        () = closed(&mut closing) => return Ok(()),
    };
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.headers_mut().remove(FORWARDED);
        request.headers_mut().remove("x-forwarded-prefix");
        request.extensions_mut().insert(Peer(peer));
        routes.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closed(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(io::Error::other)
}

/// Waits until the listener is closed or dropped.
async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r48_one_source_does_not_take_every_connection() {
        let sources = Arc::default();
        let take = |address: [u8; 4]| Seat::take(&sources, (address, 1).into());
        let mut seats: Vec<_> = (0..SOURCE_CONNECTIONS_MAX)
            .map(|_| take([192, 0, 2, 1]).unwrap())
            .collect();
        assert!(take([192, 0, 2, 1]).is_none());
        assert!(take([192, 0, 2, 2]).is_some(), "others come in");
        seats.pop();
        seats.push(take([192, 0, 2, 1]).unwrap());
        drop(seats);
        assert!(
            sources.lock().unwrap().is_empty(),
            "nothing is kept of who left"
        );
    }
}
