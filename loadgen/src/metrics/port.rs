//! The port on which Prometheus reads the numbers: one page, `GET /metrics`, on the callers' runtime.
//!
//! It takes nothing but the request's head, waits for nobody for long, and serves few at a time.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Page;

const PATH: &str = "/metrics";
const CONNECTIONS_MAX: usize = 16;
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// A scraper that keeps its connection comes back before this, or opens another.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Where the numbers are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsAddress(pub SocketAddr);

/// An address that others reach, without a word that this is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "--metrics: {0} is not loopback, and whoever reaches it reads the numbers without a password: \
     add --metrics-beyond-loopback if that is meant"
)]
pub struct BeyondLoopback(SocketAddr);

impl MetricsAddress {
    /// Loopback, unless the tester says otherwise.
    pub fn check(address: SocketAddr, beyond_loopback: bool) -> Result<Self, BeyondLoopback> {
        if address.ip().is_loopback() || beyond_loopback {
            Ok(Self(address))
        } else {
            Err(BeyondLoopback(address))
        }
    }

    /// Listens; the answer says on which port.
    pub async fn listen(self) -> io::Result<TcpListener> {
        TcpListener::bind(self.0)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("--metrics {}: {error}", self.0)))
    }
}

/// Serves until its future is dropped.
pub async fn serve(listener: TcpListener, page: Arc<Page>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((socket, _)) => {
                let page = page.clone();
                tokio::spawn(async move {
                    // Whether the peer left, was too slow or broke HTTP changes nothing here.
                    let _ = timeout(CONNECTION_TIMEOUT, connection(socket, page)).await;
                    drop(place);
                });
            }
            // Descriptors may be short while callers have them: that passes.
            Err(_) => sleep(PAUSE_AFTER_ERROR).await,
        }
    }
}

async fn connection(socket: TcpStream, page: Arc<Page>) -> hyper::Result<()> {
    let answer = service_fn(move |request| {
        let answer = answer(&request, &page);
        async move { Ok::<_, Infallible>(answer) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), answer)
        .await
}

fn answer(request: &Request<Incoming>, page: &Page) -> Response<Full<Bytes>> {
    let (status, text) = match request.uri().path() {
        PATH if request.method() == Method::GET || request.method() == Method::HEAD => {
            (StatusCode::OK, page.text())
        }
        PATH => (StatusCode::METHOD_NOT_ALLOWED, format!("GET {PATH}\n")),
        _ => (
            StatusCode::NOT_FOUND,
            format!("GET {PATH} is all there is\n"),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::Metrics;
    use super::*;

    async fn ask(address: SocketAddr, head: &str) -> String {
        let mut socket = TcpStream::connect(address).await.expect("it listens");
        let request = format!("{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        socket
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        let mut answer = String::new();
        socket
            .read_to_string(&mut answer)
            .await
            .expect("it answers");
        answer
    }

    #[tokio::test]
    async fn the_page_is_there_and_nothing_else_is() {
        let any = "127.0.0.1:0".parse().expect("an address");
        let address = MetricsAddress::check(any, false).expect("loopback");
        let listener = address.listen().await.expect("a free port");
        let at = listener.local_addr().expect("it is bound");
        let metrics = Metrics::new().expect("the buckets are good");
        let serving = tokio::spawn(serve(listener, metrics.page()));
        let page = ask(at, "GET /metrics").await;
        assert!(
            page.starts_with("HTTP/1.1 200") && page.contains("everline_loadgen_sessions 0"),
            "{page}"
        );
        assert!(ask(at, "POST /metrics").await.starts_with("HTTP/1.1 405"));
        assert!(ask(at, "GET /").await.starts_with("HTTP/1.1 404"));
        let taken = MetricsAddress(at)
            .listen()
            .await
            .expect_err("somebody listens there");
        assert!(
            taken.to_string().contains(&format!("--metrics {at}")),
            "{taken}"
        );
        serving.abort();
    }

    #[test]
    fn beyond_loopback_only_if_that_is_said() {
        let any: SocketAddr = "0.0.0.0:9101".parse().expect("an address");
        let refused = MetricsAddress::check(any, false).expect_err("not loopback");
        assert!(
            refused.to_string().contains("--metrics-beyond-loopback"),
            "{refused}"
        );
        assert_eq!(MetricsAddress::check(any, true), Ok(MetricsAddress(any)));
    }
}
