//! Bodies on their way, both directions: a part at a time, with back-pressure, trailers, interim responses, upgrades.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod fake_shard;

use std::time::Duration;

use fake_shard::{Gateway, Wire, field, status};

const HOST: &str = "Host: 34600000001.localhost\r\n";
/// More than all the sockets' buffers on the way can hold together, by far.
const FLOOD: usize = 96 << 20;
/// What the sockets' buffers and the gateway may take before the other end has read a byte (Linux grows a socket's
/// buffers to 6 MB and 4 MB; there are two connections).
const UNDER_WAY_MAX: usize = 40 << 20;

/// A request that has reached its handset: gateway, caller, handset, and the head that the handset read.
fn under_way(request: &str) -> (Gateway, Wire, Wire, String) {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.send(request);
    let mut handset = gateway.answered();
    let head = handset.read_head();
    (gateway, caller, handset, head)
}

fn read_flood(wire: &mut Wire, length: usize) {
    let mut left = length;
    while left > 0 {
        let bytes = wire.read_some();
        assert!(!bytes.is_empty() && bytes.iter().all(|byte| *byte == b'x'));
        left -= bytes.len();
    }
}

#[test]
fn a_response_waits_for_a_caller_that_does_not_read() {
    let (_gateway, mut caller, mut handset, _) =
        under_way(&format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    handset.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {FLOOD}\r\n\r\n"
    ));
    let taken = handset.fill(FLOOD);
    assert!(
        taken < UNDER_WAY_MAX,
        "{taken} bytes are buffered somewhere"
    );
    caller.read_head();
    let rest = std::thread::spawn(move || handset.send(vec![b'x'; FLOOD - taken]));
    read_flood(&mut caller, FLOOD);
    rest.join().unwrap();
}

#[test]
fn a_request_waits_for_a_handset_that_does_not_read() {
    let (_gateway, mut caller, mut handset, head) = under_way(&format!(
        "PUT / HTTP/1.1\r\n{HOST}Content-Length: {FLOOD}\r\n\r\n"
    ));
    assert_eq!(
        field(&head, "content-length"),
        Some(FLOOD.to_string().as_str())
    );
    let taken = caller.fill(FLOOD);
    assert!(
        taken < UNDER_WAY_MAX,
        "{taken} bytes are buffered somewhere"
    );
    let rest = std::thread::spawn(move || {
        caller.send(vec![b'x'; FLOOD - taken]);
        caller
    });
    read_flood(&mut handset, FLOOD);
    handset.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(status(&rest.join().unwrap().read_head()), 201);
}

#[test]
fn each_event_of_a_stream_is_passed_on_as_it_comes() {
    let (_gateway, mut caller, mut handset, _) =
        under_way(&format!("GET /events HTTP/1.1\r\n{HOST}\r\n"));
    handset.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    caller.read_head();
    for number in 0..100 {
        let event = format!("data: {number:02}\n\n");
        handset.send(format!("{:x}\r\n{event}\r\n", event.len()));
        // The next one is sent only when this one is here.
        caller.read_until(&format!("{event}\r\n"));
    }
    handset.send("0\r\n\r\n");
    assert_eq!(caller.read_until("0\r\n\r\n"), "0\r\n\r\n");
}

#[test]
fn both_directions_stream_at_once() {
    let (_gateway, mut caller, mut handset, head) = under_way(&format!(
        "POST /echo HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n"
    ));
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    handset.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    caller.read_head();
    for number in 0..20 {
        let line = format!("line {number:02}");
        caller.send(format!("7\r\n{line}\r\n"));
        handset.read_until(&line);
        handset.send(format!("7\r\n{line}\r\n"));
        caller.read_until(&line);
    }
    caller.send("0\r\n\r\n");
    handset.read_until("0\r\n\r\n");
    handset.send("0\r\n\r\n");
    caller.read_until("0\r\n\r\n");
}

#[test]
fn a_get_with_a_body_keeps_it() {
    let (_gateway, mut caller, mut handset, _) = under_way(&format!(
        "GET / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    ));
    handset.read_until("3\r\nabc\r\n");
    handset.read_until("0\r\n\r\n");
    handset.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(status(&caller.read_head()), 204);
}

#[test]
fn trailers_pass_both_ways() {
    let (_gateway, mut caller, mut handset, head) = under_way(&format!(
        "POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\nTE: trailers\r\nConnection: TE\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"
    ));
    assert_eq!(
        (field(&head, "trailer"), field(&head, "te")),
        (Some("X-Sum"), Some("trailers"))
    );
    handset.read_until("0\r\nx-sum: 7\r\n\r\n");
    handset.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Hash\r\n\r\n2\r\nok\r\n0\r\nX-Hash: 9\r\n\r\n");
    assert_eq!(field(&caller.read_head(), "trailer"), Some("X-Hash"));
    caller.read_until("2\r\nok\r\n0\r\nx-hash: 9\r\n\r\n");
}

#[test]
fn a_caller_is_told_to_continue_when_the_handset_says_so() {
    let (_gateway, mut caller, mut handset, head) = under_way(&format!(
        "PUT / HTTP/1.1\r\n{HOST}Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert_eq!(field(&head, "expect"), Some("100-continue"));
    assert!(caller.is_quiet(), "the handset has not said so yet");
    handset.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(caller.read_head(), "HTTP/1.1 100 Continue\r\n\r\n");
    caller.send("abc");
    assert_eq!(handset.read_exact(3), b"abc");
    handset.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(status(&caller.read_head()), 201);
}

#[test]
fn a_caller_that_waits_to_continue_gets_a_refusal_instead() {
    let (_gateway, mut caller, mut handset, _) = under_way(&format!(
        "PUT / HTTP/1.1\r\n{HOST}Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    ));
    handset.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(status(&caller.read_head()), 417);
    caller.read_end();
    handset.read_end();
}

#[test]
fn a_handset_that_knows_nothing_of_continue_gets_the_body_all_the_same() {
    let (_gateway, mut caller, mut handset, _) = under_way(&format!(
        "PUT / HTTP/1.1\r\n{HOST}Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert_eq!(
        caller.read_head(),
        "HTTP/1.1 100 Continue\r\n\r\n",
        "by and by"
    );
    caller.send("abc");
    assert_eq!(handset.read_exact(3), b"abc");
}

#[test]
fn other_interim_responses_pass_through() {
    let (_gateway, mut caller, mut handset, _) =
        under_way(&format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    handset.send(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\nContent-Length: 9\r\n\r\n",
    );
    assert_eq!(
        caller.read_head(),
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"
    );
    handset.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(caller.read_head(), "HTTP/1.1 102 Processing\r\n\r\n");
    assert_eq!(caller.read_message().1, "ok");
}

#[test]
fn a_response_may_end_before_the_request_does() {
    let (gateway, mut caller, mut handset, _) = under_way(&format!(
        "PUT / HTTP/1.1\r\n{HOST}Content-Length: {FLOOD}\r\n\r\nabc"
    ));
    handset.read_until("abc");
    handset.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let (head, body) = caller.read_message();
    assert_eq!((status(&head), body.as_str()), (403, "no"));
    handset.read_end();
    gateway.until("the request has ended", |shared| {
        shared.limits.in_flight() == 0
    });
    caller.read_end();
}

#[test]
fn a_response_counts_even_if_the_handset_closes_on_the_request_behind_it() {
    let (_gateway, mut caller, mut handset, _) = under_way(&format!(
        "PUT / HTTP/1.1\r\n{HOST}Content-Length: {FLOOD}\r\n\r\n"
    ));
    let flood = std::thread::spawn({
        let mut body = caller.socket.try_clone().unwrap();
        // The gateway closes before all of it is sent.
        move || std::io::Write::write_all(&mut body, &vec![b'x'; FLOOD]).is_err()
    });
    handset.read_until("x");
    handset.send("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
    // Closed with bytes unread, so the gateway's next write meets a reset.
    drop(handset);
    let (head, body) = caller.read_message();
    assert_eq!((status(&head), body.as_str()), (403, "no"));
    assert!(flood.join().unwrap());
}

#[test]
fn an_upgrade_is_a_tunnel_until_both_sides_have_ended() {
    let (gateway, mut caller, mut handset, head) = under_way(&format!(
        "GET /chat HTTP/1.1\r\n{HOST}Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhl\r\n\r\n"
    ));
    assert_eq!(
        (field(&head, "upgrade"), field(&head, "connection")),
        (Some("websocket"), Some("upgrade"))
    );
    assert_eq!(field(&head, "sec-websocket-key"), Some("dGhl"));
    handset.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pP\r\n\r\nfirst");
    let head = caller.read_head();
    assert_eq!(
        (
            status(&head),
            field(&head, "upgrade"),
            field(&head, "connection")
        ),
        (101, Some("websocket"), Some("upgrade"))
    );
    assert_eq!(caller.read_exact(5), b"first");
    for _ in 0..3 {
        caller.send("\x00\r\n\r\nping");
        assert_eq!(handset.read_exact(9), b"\x00\r\n\r\nping");
        handset.send("pong");
        assert_eq!(caller.read_exact(4), b"pong");
    }
    assert_eq!(gateway.shared.limits.in_flight(), 1);
    // An echo of more than fits on the way: neither direction waits for the other.
    let mut echo = handset;
    let echo = std::thread::spawn(move || {
        loop {
            let bytes = echo.read_some();
            if bytes.is_empty() {
                return echo;
            }
            echo.send(bytes);
        }
    });
    let taken = caller.fill(FLOOD);
    read_flood(&mut caller, taken);
    caller.end_writing();
    let echo = echo.join().unwrap();
    echo.end_writing();
    caller.read_end();
    gateway.until("the request has ended", |shared| {
        shared.limits.in_flight() == 0
    });
}

#[test]
fn an_upgrade_that_the_handset_declines_is_an_ordinary_response() {
    let (gateway, mut caller, mut handset, _) = under_way(&format!(
        "GET / HTTP/1.1\r\n{HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    ));
    handset.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
    assert_eq!(caller.read_message().1, "no");
    caller.get("/next");
    gateway.signal();
}

#[test]
fn a_tunnel_in_which_nobody_speaks_ends() {
    let gateway =
        Gateway::start(|config| config.request.response_idle_timeout = Duration::from_millis(300));
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.send(format!(
        "GET / HTTP/1.1\r\n{HOST}Connection: Upgrade\r\nUpgrade: x\r\n\r\n"
    ));
    let mut handset = gateway.answered();
    handset.read_head();
    handset.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    caller.read_head();
    caller.read_end();
    handset.read_end();
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    let gateway =
        Gateway::start(|config| config.ingress.write_timeout = Duration::from_millis(300));
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/");
    let mut handset = gateway.answered();
    handset.read_head();
    handset.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {FLOOD}\r\n\r\n"
    ));
    let flood = std::thread::spawn(move || {
        let chunk = vec![b'x'; 1 << 20];
        std::iter::repeat(())
            .take_while(|()| std::io::Write::write_all(&mut handset.socket, &chunk).is_ok())
            .count()
    });
    gateway.until("the request has ended", |shared| {
        shared.limits.in_flight() == 0
    });
    assert!(
        flood.join().unwrap() < FLOOD >> 20,
        "the handset is told by a closed channel"
    );
}
