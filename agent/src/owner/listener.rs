//! The owner's socket: on loopback, few connections, each bounded in its head and its silence.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use crate::serve::builtin::https::stall::Unstalled;

/// Connections at a time: ten windows of a browser. More wait in the kernel until one ends.
const CONNECTIONS_MAX: usize = 64;

/// How long the head of a request may take, and a kept connection may be silent.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a response may wait for whoever does not read it.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Buffer of one connection at most, in bytes; also the most that a request's head may have.
const BUFFER_BYTES_MAX: usize = 32 * 1024;

/// Pause after a connection could not be taken: mostly the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Ends the listener and its connections when it is dropped.
#[derive(Debug)]
pub(super) struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens on an address of loopback; the configuration lets no other through.
pub(super) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    assert!(address.ip().is_loopback(), "the owner's screen is local");
    TcpListener::bind(address).await
}

/// Answers what comes, until the answer is dropped.
pub(super) fn run(listener: TcpListener, router: Router) -> Running {
    let task = tokio::spawn(async move {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // Dropped with this task: its connections end with it, streams included.
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let router = router.clone();
                    connections.spawn(async move {
                        serve(stream, router).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "the owner's screen took no connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    Running(task.abort_handle())
}

async fn serve(stream: TcpStream, router: Router) {
    let stream = Unstalled::new(stream, STALL_TIMEOUT);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection of the owner's screen ended early");
    }
}
