//! The same API over TLS on a local port (R48), for callers who reach the handset without a gateway.
//!
//! Off unless the configuration has `[https]`. TLS 1.2 and 1.3, HTTP/1.1. Every wait is bounded: the handshake, a
//! request's head, and a caller that does not read what it asked for. What the gateway says of callers is not believed
//! here: nobody came through it.

mod certificate;
pub(crate) mod stall;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::header::FORWARDED;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::BUFFER_BYTES_MAX;
use super::authentication::Peer;
use stall::Unstalled;

pub use certificate::CertificateError;

/// Connections at a time; whoever comes then waits until one ends.
const CONNECTIONS_MAX: usize = 64;

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

/// A listener that serves until it is dropped: then it takes no more connections, and requests in progress go on.
#[derive(Debug)]
pub struct Https {
    /// Where it listens; the port is the system's choice where the configuration says 0.
    pub address: SocketAddr,
    _open: watch::Sender<()>,
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
        let (open, closed) = watch::channel(());
        tokio::spawn(accept(listener, tls, router, closed));
        Ok(Self {
            address,
            _open: open,
        })
    }
}

async fn accept(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    mut closed: watch::Receiver<()>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // The sender is gone: nothing is ever sent.
            _ = closed.changed() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a TLS connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, router, closed) = (acceptor.clone(), router.clone(), closed.clone());
        tokio::spawn(async move {
            if let Err(error) = serve(stream, peer, &acceptor, router, closed).await {
                tracing::debug!(%error, "a TLS connection ended early");
            }
            drop(slot);
        });
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: &TlsAcceptor,
    router: Router,
    mut closed: watch::Receiver<()>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let stream = Unstalled::new(stream, STALL_TIMEOUT);
    let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
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
        _ = closed.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(io::Error::other)
}
