//! What the handset gets to see of a request, and the caller of a response: header fields, targets, ids.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod fake_shard;

use fake_shard::{Gateway, field, status};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What a handset reads of a request that a caller sends as it stands here.
fn seen_by_handset(request: &str) -> String {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.send(request);
    let mut handset = gateway.answered();
    let head = handset.read_head();
    handset.send(OK);
    assert_eq!(status(&caller.read_head()), 200);
    head
}

#[test]
fn a_request_reaches_the_handset_and_its_response_comes_back() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/contacts?name=a%20b");
    let mut handset = gateway.answered();
    let head = handset.read_head();
    assert!(
        head.starts_with("GET /contacts?name=a%20b HTTP/1.1\r\n"),
        "{head}"
    );
    assert_eq!(field(&head, "host"), Some("34600000001.localhost"));
    assert_eq!(
        field(&head, "connection"),
        Some("close"),
        "linger 0: {head}"
    );
    assert_eq!(
        field(&head, "forwarded"),
        Some("for=127.0.0.1;host=34600000001.localhost;proto=http")
    );
    let id = field(&head, "x-request-id").unwrap().to_owned();
    handset.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Own: 1\r\n\r\nhello");
    let (head, body) = caller.read_message();
    assert_eq!(
        (status(&head), body.as_str(), field(&head, "x-own")),
        (200, "hello", Some("1"))
    );
    assert_eq!(field(&head, "x-request-id"), Some(id.as_str()));
    handset.read_end();
    // The caller's connection lives on.
    caller.get("/again");
    let mut handset = gateway.answered();
    assert!(handset.read_head().starts_with("GET /again HTTP/1.1\r\n"));
    handset.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(status(&caller.read_head()), 204);
    drop(caller);
    gateway.stop();
}

#[test]
fn the_path_form_loses_its_prefix_and_the_handset_is_told() {
    let head = seen_by_handset(
        "GET /34600000001/a//b%2Fc?d HTTP/1.1\r\nHost: www.Vodafone.Example:80\r\n\r\n",
    );
    assert!(head.starts_with("GET /a//b%2Fc?d HTTP/1.1\r\n"), "{head}");
    assert_eq!(
        field(&head, "host"),
        Some("www.Vodafone.Example:80"),
        "as the caller sent it"
    );
    assert_eq!(field(&head, "x-forwarded-prefix"), Some("/34600000001"));
    assert_eq!(
        field(&head, "forwarded"),
        Some("for=127.0.0.1;host=\"www.Vodafone.Example:80\";proto=http")
    );
    let head =
        seen_by_handset("GET http://localhost/34600000001?x=y HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("GET /?x=y HTTP/1.1\r\n"), "{head}");
}

#[test]
fn a_caller_cannot_speak_in_the_gateways_name() {
    let host = "Host: 34600000001.localhost\r\n";
    let head = seen_by_handset(&format!(
        "GET / HTTP/1.1\r\n{host}X-Forwarded-Prefix: /evil\r\nX-Forwarded-Prefix: /worse\r\n\r\n"
    ));
    assert_eq!(field(&head, "x-forwarded-prefix"), None, "{head}");
    let head = seen_by_handset(concat!(
        "GET /34600000001/ HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Prefix: /evil\r\n",
        "X-Forwarded-Prefix: /worse\r\nConnection: X-Forwarded-Prefix, Forwarded, X-Request-Id, Host\r\n",
        "X-Request-Id: a\r\nX-Request-Id: b\r\n\r\n"
    ));
    assert_eq!(field(&head, "x-forwarded-prefix"), Some("/34600000001"));
    assert!(!head.contains("evil") && !head.contains("worse"), "{head}");
    assert_eq!(
        field(&head, "forwarded"),
        Some("for=127.0.0.1;host=localhost;proto=http")
    );
    assert_eq!(head.matches("x-request-id: ").count(), 1, "{head}");
    assert_eq!(field(&head, "x-request-id").unwrap().len(), 32, "{head}");
    // A chain that would swallow the gateway's element is dropped.
    let head = seen_by_handset(&format!(
        "GET / HTTP/1.1\r\n{host}Forwarded: for=192.0.2.7\r\nForwarded: for=\"\r\n\r\n"
    ));
    assert_eq!(
        field(&head, "forwarded"),
        Some("for=127.0.0.1;host=34600000001.localhost;proto=http")
    );
}

#[test]
fn hop_by_hop_fields_stay_on_their_hop_and_the_others_go_on() {
    let head = seen_by_handset(concat!(
        "GET / HTTP/1.1\r\nHost: 34600000001.localhost\r\nConnection: keep-alive, X-Secret\r\nKeep-Alive: 5\r\n",
        "X-Secret: 1\r\nProxy-Connection: close\r\nProxy-Authorization: x\r\nTE: trailers, deflate\r\n",
        "Range: bytes=1-2\r\nAuthorization: Basic YTpi\r\nCookie: a=b\r\nCookie: c=d\r\n",
        "X-Request-Id: mine-7\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
        "Forwarded: for=192.0.2.7\r\n\r\n",
    ));
    for gone in [
        "x-secret",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
    ] {
        assert_eq!(field(&head, gone), None, "{head}");
    }
    assert_eq!(field(&head, "te"), Some("trailers"));
    assert_eq!(field(&head, "connection"), Some("close, te"));
    assert_eq!(field(&head, "range"), Some("bytes=1-2"));
    assert_eq!(field(&head, "authorization"), Some("Basic YTpi"));
    assert_eq!(field(&head, "x-request-id"), Some("mine-7"));
    assert_eq!(
        field(&head, "traceparent"),
        Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    );
    assert!(
        field(&head, "forwarded")
            .unwrap()
            .starts_with("for=192.0.2.7, for=127.0.0.1;"),
        "{head}"
    );
    assert_eq!(head.matches("cookie: ").count(), 2, "{head}");
}

#[test]
fn a_response_loses_its_hops_fields_and_keeps_the_others() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.send("GET / HTTP/1.1\r\nHost: 34600000001.localhost\r\nX-Request-Id: <script>\r\n\r\n");
    let mut handset = gateway.answered();
    let head = handset.read_head();
    let id = field(&head, "x-request-id").unwrap().to_owned();
    assert!(
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "an insane id is replaced: {id}"
    );
    handset.send(concat!(
        "HTTP/1.1 206 Partial Content\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n",
        "Content-Range: bytes 1-2/9\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nX-Request-Id: theirs\r\n",
        "Content-Length: 2\r\n\r\nbc",
    ));
    let (head, body) = caller.read_message();
    assert_eq!((status(&head), body.as_str()), (206, "bc"));
    for gone in ["x-hop", "keep-alive", "connection"] {
        assert_eq!(field(&head, gone), None, "{head}");
    }
    assert_eq!(field(&head, "content-range"), Some("bytes 1-2/9"));
    assert_eq!(head.matches("set-cookie: ").count(), 2, "{head}");
    assert_eq!(
        field(&head, "x-request-id"),
        Some(id.as_str()),
        "one name for one request"
    );
    caller.get("/the-connection-lives-on");
    gateway.signal();
}

#[test]
fn a_head_request_is_answered_with_a_length_and_no_body() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.send("HEAD /image HTTP/1.1\r\nHost: 34600000001.localhost\r\n\r\n");
    let mut handset = gateway.answered();
    assert!(handset.read_head().starts_with("HEAD /image "));
    handset.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    let head = caller.read_head();
    assert_eq!(field(&head, "content-length"), Some("1000000"));
    caller.get("/next");
    let mut handset = gateway.answered();
    assert!(handset.read_head().starts_with("GET /next "));
    handset.send(OK);
    assert_eq!(caller.read_message().1, "ok");
}

#[test]
fn an_http_1_0_caller_is_served_too() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.send("GET / HTTP/1.0\r\nHost: 34600000001.localhost\r\n\r\n");
    let mut handset = gateway.answered();
    assert!(handset.read_head().starts_with("GET / HTTP/1.1\r\n"));
    handset.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let (response, in_order) = caller.read_to_end();
    assert!(in_order && response.ends_with("\r\n\r\nok"), "{response}");
}

#[test]
fn an_http_1_0_caller_gets_no_interim_response() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.send("GET / HTTP/1.0\r\nHost: 34600000001.localhost\r\n\r\n");
    let mut handset = gateway.answered();
    handset.read_head();
    handset.send(format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n{OK}"
    ));
    let (response, _) = caller.read_to_end();
    assert!(response.starts_with("HTTP/1.0 200 "), "{response}");
    assert!(response.ends_with("\r\n\r\nok"), "{response}");
}
