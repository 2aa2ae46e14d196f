//! The door: accepts browsers' connections, within limits on their number, their silence and their age.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt as _;

use crate::config::Limits;
use crate::state::Peer;

/// A connection this old is closed after the answer that it is waiting for.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(600);
/// What is left for that answer, and for all answers once the portal ends.
const LAST_ANSWER: Duration = Duration::from_secs(40);
/// After an accept that failed: the usual reason, no free descriptor, does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Room for one request's head.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// Serves until `stop` is done, then lets the answers under way finish.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &Limits,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let (ending, ended) = watch::channel(());
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.read_timeout)
        .max_buf_size(HEAD_BYTES_MAX);
    let mut stop = std::pin::pin!(stop);
    loop {
        // A full house leaves callers in the kernel's queue, which is bounded too.
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = &mut stop => break,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (builder, router, ended) = (builder.clone(), router.clone(), ended.clone());
        tokio::spawn(async move {
            attend(&builder, stream, router, Peer(peer.ip()), ended).await;
            drop(place);
        });
    }
    drop(listener);
    drop(ending);
    // Whoever holds every place has outlasted every connection.
    let all = u32::try_from(limits.connections_max).unwrap_or(u32::MAX);
    if tokio::time::timeout(LAST_ANSWER, places.acquire_many(all))
        .await
        .is_err()
    {
        tracing::warn!("gave up waiting for the last answers");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

async fn attend(
    builder: &http1::Builder,
    stream: TcpStream,
    router: Router,
    peer: Peer,
    mut ended: watch::Receiver<()>,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        outcome = &mut connection => Some(outcome),
        _ = ended.changed() => None,
        () = tokio::time::sleep(CONNECTION_AGE_MAX) => None,
    };
    let outcome = match outcome {
        Some(outcome) => Ok(outcome),
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(LAST_ANSWER, connection).await
        }
    };
    if let Ok(Err(error)) = outcome {
        tracing::debug!(%error, "connection ended");
    }
}
