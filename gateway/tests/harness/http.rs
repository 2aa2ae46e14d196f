//! A caller for tests: one connection a request, by hyper.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::within;

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// The slug of a problem, empty if it is none.
    pub fn slug(&self) -> String {
        let kind = self
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        if kind != Some("application/problem+json") {
            return String::new();
        }
        let kind = self.json()["type"].as_str().unwrap_or_default().to_owned();
        kind.strip_prefix("urn:everline:")
            .unwrap_or_default()
            .to_owned()
    }
}

/// GET with a Host.
pub async fn get(at: SocketAddr, host: &str, path: &str) -> Answer {
    let request = Request::builder()
        .uri(path)
        .header(header::HOST, host)
        .body(Full::default());
    call(at, request.expect("a valid request")).await
}

/// Any method without a body.
pub async fn method(at: SocketAddr, method: Method, host: &str, path: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .body(Full::default());
    call(at, request.expect("a valid request")).await
}

/// The answer to any request, whole.
pub async fn call(at: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let response = send(at, request).await;
    let (parts, body) = response.into_parts();
    let body = within("the answer's body", body.collect())
        .await
        .expect("a whole body")
        .to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

/// The head of the answer, its body to be read.
pub async fn send(at: SocketAddr, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let socket = within("a connection", TcpStream::connect(at))
        .await
        .expect("it listens");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .expect("a handshake");
    tokio::spawn(connection);
    within("an answer", sender.send_request(request))
        .await
        .expect("an HTTP answer")
}
