//! One HTTP exchange with the ingress over a pool of connections, and the name of what went wrong with it.

use std::borrow::Cow;
use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::answer::{ANSWER_LINE_FIELD, Expected};
use crate::upload::Upload;

/// More of a problem document than this is not read for its type.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;
const SLUG_BYTES_MAX: usize = 64;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Slug of its problem type, if it is one of the gateway's problems.
    pub(crate) problem: Option<String>,
    /// Length of its body.
    pub(crate) body_bytes: u64,
}

/// What an answer is held against.
struct Check {
    expected: Expected,
    head_only: bool,
}

/// Connections to one ingress.
pub(crate) struct Pool {
    ingress: SocketAddr,
    keep_alive: bool,
    idle: Arc<Mutex<Vec<SendRequest<Upload>>>>,
    opened: AtomicU64,
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(ingress: SocketAddr, keep_alive: bool) -> Self {
        Self {
            ingress,
            keep_alive,
            idle: Arc::default(),
            opened: AtomicU64::new(0),
        }
    }

    /// Connections opened so far.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Sends one request, and reads its answer to the end. The caller bounds the time. Errors are kinds to be
    /// counted: `connect:…`, `closed-early`, `reset`, `bad-http`, `body-…`, `upload-…`, `io:…`, `http`.
    pub(crate) async fn exchange(
        &self,
        mut request: http::Request<Upload>,
        expected: Option<Expected>,
    ) -> Result<Answer, Cow<'static, str>> {
        let expected = expected.map(|expected| Check {
            expected,
            head_only: request.method() == http::Method::HEAD,
        });
        loop {
            let (mut connection, used_before) = self.connection().await?;
            match connection.try_send_request(request).await {
                Ok(response) => {
                    let answer = read(response, expected).await?;
                    if self.keep_alive {
                        self.put_back(connection);
                    }
                    return Ok(answer);
                }
                Err(mut failed) => match failed.take_message() {
                    // The ingress closed an idle connection before anything was sent on it: that is no failure.
                    Some(unsent) if used_before => request = unsent,
                    _ => return Err(kind(&failed.into_error())),
                },
            }
        }
    }

    /// The answer is read to its end, but the connection may need a moment to notice: nobody's latency.
    fn put_back(&self, mut connection: SendRequest<Upload>) {
        if connection.is_ready() {
            return self
                .idle
                .lock()
                .expect("no holder of this lock panics")
                .push(connection);
        }
        let idle = self.idle.clone();
        tokio::spawn(async move {
            if connection.ready().await.is_ok() {
                idle.lock()
                    .expect("no holder of this lock panics")
                    .push(connection);
            }
        });
    }

    /// An idle connection, or a new one; and whether it was used before.
    async fn connection(&self) -> Result<(SendRequest<Upload>, bool), Cow<'static, str>> {
        while let Some(connection) = self
            .idle
            .lock()
            .expect("no holder of this lock panics")
            .pop()
        {
            if connection.is_ready() {
                return Ok((connection, true));
            }
        }
        let named = |error: io::Error| Cow::from(format!("connect:{}", io_kind(&error)));
        let stream = TcpStream::connect(self.ingress).await.map_err(named)?;
        stream.set_nodelay(true).map_err(named)?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| kind(&error))?;
        // Its errors reach whoever waits for an answer on it.
        tokio::spawn(async move { drop(connection.await) });
        Ok((sender, false))
    }
}

async fn read(
    response: http::Response<Incoming>,
    mut check: Option<Check>,
) -> Result<Answer, Cow<'static, str>> {
    let (head, mut body) = response.into_parts();
    let is_problem = head
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
    let mut body_bytes = 0;
    let mut document = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| kind(&error))?;
        let data = frame.data_ref().map_or(&[][..], Bytes::as_ref);
        body_bytes += data.len() as u64;
        if is_problem && document.len() + data.len() <= PROBLEM_BYTES_MAX {
            document.extend_from_slice(data);
        }
        if let Some(check) = &mut check {
            check.expected.take(data);
        }
    }
    let fault = check
        .filter(|_| head.status.is_success())
        .and_then(|check| check.fault(&head.headers));
    match fault {
        Some(fault) => Err(fault.into()),
        None => Ok(Answer {
            status: head.status,
            problem: slug(&document),
            body_bytes,
        }),
    }
}

impl Check {
    /// What is wrong with an answer that was read whole.
    fn fault(mut self, fields: &HeaderMap) -> Option<&'static str> {
        if self.head_only {
            let field = |name| fields.get(name).map_or(&[][..], HeaderValue::as_bytes);
            let length = std::str::from_utf8(field(CONTENT_LENGTH.as_str()));
            let length = length.ok().and_then(|length| length.parse().ok());
            self.expected.take_head(field(ANSWER_LINE_FIELD), length);
        }
        self.expected.fault()
    }
}

/// `handset-offline` of `"type": "urn:everline:handset-offline"`.
fn slug(document: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        r#type: String,
    }
    let problem: Problem = serde_json::from_slice(document).ok()?;
    let slug = problem.r#type.strip_prefix("urn:everline:")?;
    let fit = slug.len() <= SLUG_BYTES_MAX
        && slug
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    fit.then(|| slug.to_owned())
}

fn kind(error: &hyper::Error) -> Cow<'static, str> {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return "closed-early".into();
    }
    if error.is_parse() {
        return "bad-http".into();
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "reset".into(),
                io::ErrorKind::UnexpectedEof => "closed-early".into(),
                _ => format!("io:{}", io_kind(error)).into(),
            };
        }
        source = cause.source();
    }
    "http".into()
}

fn io_kind(error: &io::Error) -> Cow<'static, str> {
    match error.raw_os_error() {
        Some(errno) => crate::books::errno_name(everline_uring::Errno(errno)),
        None => format!("{:?}", error.kind()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_gateways_own_problem_types_are_named() {
        assert_eq!(
            slug(br#"{"type":"urn:everline:handset-offline","status":503}"#).as_deref(),
            Some("handset-offline")
        );
        assert_eq!(slug(br#"{"type":"about:blank"}"#), None);
        assert_eq!(slug(br#"{"type":"urn:everline:<b>"}"#), None);
        assert_eq!(slug(b"oops"), None);
    }
}
