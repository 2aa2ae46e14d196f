//! Callers that speak HTTP/2 with prior knowledge, to handsets that speak HTTP/1.1.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod fake_shard;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use fake_shard::{Gateway, Wire, field};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Channel, Empty, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

type Body = BoxBody<Bytes, Infallible>;

/// A caller that speaks HTTP/2, on a runtime of its own: the test plays the handset in the foreground.
struct Caller {
    runtime: Runtime,
    sender: SendRequest<Body>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Caller {
    fn connect(gateway: &Gateway) -> Self {
        Self::connect_with_window(gateway, 64 * 1024)
    }

    /// A caller that takes so many bytes of a stream before it has read some.
    fn connect_with_window(gateway: &Gateway, window_bytes: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (sender, connection) = runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(gateway.ingress[0])
                .await
                .unwrap();
            hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(window_bytes)
                .handshake(TokioIo::new(socket))
                .await
                .unwrap()
        });
        let connection = runtime.spawn(connection);
        Self {
            runtime,
            sender,
            connection,
        }
    }

    fn send(&mut self, request: Request<Body>) -> JoinHandle<hyper::Result<Response<Incoming>>> {
        self.runtime.spawn(self.sender.send_request(request))
    }

    fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(async {
            tokio::time::timeout(fake_shard::PATIENCE, what)
                .await
                .expect("in time")
        })
    }

    fn response(&self, sent: JoinHandle<hyper::Result<Response<Incoming>>>) -> Response<Incoming> {
        self.wait(sent).unwrap().unwrap()
    }

    fn text(&self, response: Response<Incoming>) -> (String, Option<HeaderMap>) {
        let body = self.wait(response.into_body().collect()).unwrap();
        let trailers = body.trailers().cloned();
        (
            String::from_utf8(body.to_bytes().to_vec()).unwrap(),
            trailers,
        )
    }

    fn problem(&self, response: Response<Incoming>, status: u16, slug: &str) {
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let id = response.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let text: serde_json::Value = serde_json::from_str(&self.text(response).0).unwrap();
        assert_eq!(
            (
                text["type"].as_str().unwrap(),
                text["request_id"].as_str().unwrap()
            ),
            (format!("urn:everline:{slug}").as_str(), id.as_str())
        );
    }
}

fn get(uri: &str) -> http::request::Builder {
    Request::builder().uri(uri)
}

fn empty() -> Body {
    Empty::new().boxed()
}

#[test]
fn a_request_is_translated_and_so_is_its_response() {
    let gateway = Gateway::start(|_| {});
    gateway.register(5);
    let mut caller = Caller::connect(&gateway);
    let request = get("http://34600000001.localhost:8080/contacts?a=b")
        .header("te", "trailers")
        .header("cookie", "a=b")
        .header("cookie", "c=d");
    let sent = caller.send(request.body(empty()).unwrap());
    let mut handset = gateway.answered();
    let head = handset.read_head();
    assert!(head.starts_with("GET /contacts?a=b HTTP/1.1\r\n"), "{head}");
    assert_eq!(
        field(&head, "host"),
        Some("34600000001.localhost:8080"),
        "from :authority"
    );
    assert_eq!(field(&head, "connection"), Some("te"));
    assert_eq!(field(&head, "te"), Some("trailers"));
    assert_eq!(field(&head, "cookie"), Some("a=b; c=d"));
    assert_eq!(
        field(&head, "transfer-encoding"),
        None,
        "no body, so no framing: {head}"
    );
    handset.send(concat!(
        "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTransfer-Encoding: chunked\r\n",
        "Trailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
    ));
    let response = caller.response(sent);
    assert_eq!(response.status(), StatusCode::OK);
    for gone in ["connection", "x-hop", "keep-alive", "transfer-encoding"] {
        assert!(!response.headers().contains_key(gone), "{gone}");
    }
    let (text, trailers) = caller.text(response);
    assert_eq!(
        (text.as_str(), trailers.unwrap()["x-sum"].to_str().unwrap()),
        ("ok", "7")
    );
    // The channel lingers and serves a body whose length nobody knows.
    let sent = caller.send(
        Request::post("http://localhost/34600000001/x")
            .body(Full::new("abc".into()).boxed())
            .unwrap(),
    );
    let head = handset.read_head();
    assert_eq!(field(&head, "content-length"), Some("3"));
    assert_eq!(field(&head, "x-forwarded-prefix"), Some("/34600000001"));
    assert_eq!(handset.read_exact(3), b"abc");
    handset.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(caller.response(sent).status(), StatusCode::CREATED);
}

#[test]
fn bodies_stream_and_trailers_pass() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = Caller::connect(&gateway);
    let (mut parts, body) = Channel::<Bytes, Infallible>::new(1);
    let request = Request::post("http://34600000001.localhost/")
        .header("trailer", "x-sum")
        .body(body.boxed())
        .unwrap();
    let sent = caller.send(request);
    let mut handset = gateway.answered();
    assert_eq!(
        field(&handset.read_head(), "transfer-encoding"),
        Some("chunked")
    );
    for part in ["one", "two"] {
        caller.wait(parts.send_data(part.into())).unwrap();
        handset.read_until(&format!("3\r\n{part}\r\n"));
    }
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
    caller.wait(parts.send_trailers(trailers)).unwrap();
    drop(parts);
    handset.read_until("0\r\nx-sum: 7\r\n\r\n");
    handset.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut response = caller.response(sent);
    for number in 0..20 {
        handset.send(format!("2\r\n{number:02}\r\n"));
        let frame = caller.wait(response.frame()).unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("{number:02}"));
    }
    handset.send("0\r\n\r\n");
    assert_eq!(caller.text(response), (String::new(), None));
}

#[test]
fn streams_share_a_connection_and_not_a_fate() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = Caller::connect(&gateway);
    let sent: Vec<_> = (0..3)
        .map(|n| {
            caller.send(
                get(&format!("http://34600000001.localhost/{n}"))
                    .body(empty())
                    .unwrap(),
            )
        })
        .collect();
    let mut handsets: Vec<Wire> = sent.iter().map(|_| gateway.answered()).collect();
    let mut broken = handsets.remove(1);
    let broken_head = broken.read_head();
    broken.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    drop(broken);
    for handset in &mut handsets {
        let head = handset.read_head();
        let path = head.split(' ').nth(1).unwrap();
        handset.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{path}"
        ));
    }
    for (number, sent) in sent.into_iter().enumerate() {
        let response = caller.response(sent);
        if broken_head.starts_with(&format!("GET /{number} ")) {
            assert!(
                caller.wait(response.into_body().collect()).is_err(),
                "it broke off, visibly"
            );
        } else {
            assert_eq!(caller.text(response).0, format!("/{number}"));
        }
    }
    assert!(!caller.connection.is_finished());
}

#[test]
fn problems_are_told_in_the_same_form() {
    let gateway = Gateway::start(|config| config.ingress.body_bytes_max = 10);
    let mut caller = Caller::connect(&gateway);
    let long = "x".repeat(17 * 1024);
    let many = (0..70).fold(get("http://34600000001.localhost/"), |request, n| {
        request.header(format!("x-{n}"), "y")
    });
    for (request, status, slug) in [
        (
            get("http://localhost/").body(empty()).unwrap(),
            404,
            "no-such-host",
        ),
        (
            get("http://34600000001.localhost/").body(empty()).unwrap(),
            503,
            "handset-offline",
        ),
        (
            get(&format!("http://34600000001.localhost/{long}"))
                .body(empty())
                .unwrap(),
            431,
            "headers-too-large",
        ),
        (
            get("http://34600000001.localhost/")
                .header("x", long)
                .body(empty())
                .unwrap(),
            431,
            "headers-too-large",
        ),
        (many.body(empty()).unwrap(), 431, "headers-too-large"),
        (
            get("http://34600000001.localhost/")
                .header("host", "34600000002.localhost")
                .body(empty())
                .unwrap(),
            400,
            "bad-request",
        ),
        (
            Request::put("http://34600000001.localhost/")
                .body(Full::new("12345678901".into()).boxed())
                .unwrap(),
            413,
            "too-large",
        ),
    ] {
        let sent = caller.send(request);
        caller.problem(caller.response(sent), status, slug);
    }
}

#[test]
fn a_stream_that_is_reset_gives_its_request_up() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = Caller::connect(&gateway);
    let sent = caller.send(get("http://34600000001.localhost/").body(empty()).unwrap());
    gateway.signal();
    sent.abort();
    gateway.until("the request is given up", |shared| {
        shared.pending.waiting() == 0 && shared.limits.in_flight() == 0
    });
    assert!(!caller.connection.is_finished());
}

#[test]
fn a_stream_whose_caller_takes_nothing_is_given_up() {
    let gateway =
        Gateway::start(|config| config.ingress.write_timeout = Duration::from_millis(300));
    gateway.register(0);
    let mut caller = Caller::connect(&gateway);
    let sent = caller.send(get("http://34600000001.localhost/").body(empty()).unwrap());
    let mut handset = gateway.answered();
    handset.read_head();
    handset.send("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n");
    handset.send(vec![b'x'; 300_000]);
    let response = caller.response(sent);
    gateway.until("the request has ended", |shared| {
        shared.limits.in_flight() == 0
    });
    handset.read_to_end();
    assert!(
        caller.wait(response.into_body().collect()).is_err(),
        "it broke off, visibly"
    );
    assert!(!caller.connection.is_finished(), "other streams live on");
}

#[test]
fn a_problem_whose_caller_takes_nothing_holds_no_place_and_no_connection() {
    let gateway =
        Gateway::start(|config| config.ingress.header_timeout = Duration::from_millis(300));
    let mut caller = Caller::connect_with_window(&gateway, 0);
    let sent = caller.send(get("http://34600000001.localhost/").body(empty()).unwrap());
    let response = caller.response(sent);
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    gateway.until("the request has ended", |shared| {
        shared.limits.in_flight() == 0
    });
    let Caller {
        runtime,
        sender: _sender,
        connection,
    } = caller;
    // However it ends.
    let _ = runtime
        .block_on(async { tokio::time::timeout(fake_shard::PATIENCE, connection).await })
        .expect("the connection ends in time");
}

#[test]
fn a_connection_without_requests_is_closed_in_time() {
    let gateway =
        Gateway::start(|config| config.ingress.header_timeout = Duration::from_millis(300));
    let caller = Caller::connect(&gateway);
    let Caller {
        runtime,
        sender: _sender,
        connection,
    } = caller;
    runtime
        .block_on(async { tokio::time::timeout(fake_shard::PATIENCE, connection).await })
        .unwrap()
        .unwrap()
        .unwrap();
    // So is one that stops inside the preface, and one that stops behind it.
    let mut slow = gateway.caller();
    slow.send("PRI * HTTP/2.0\r\n");
    slow.read_end();
    let mut slow = gateway.caller();
    slow.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    slow.read_to_end();
}

#[test]
fn a_worker_that_stops_lets_http_2_callers_finish() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = Caller::connect(&gateway);
    let sent = caller.send(get("http://34600000001.localhost/").body(empty()).unwrap());
    let (_, id) = gateway.signal();
    gateway.begin_stop();
    let mut handset = gateway.data_channel(id);
    handset.read_head();
    handset.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let response = caller.response(sent);
    assert_eq!(caller.text(response).0, "ok");
    gateway.stop();
}
