//! Data channels from their DATA line to their end: binding, linger and its race, callers and handsets that go.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod fake_shard;

use std::time::Duration;

use everline_gateway::shard::mailbox::Letter;
use everline_gateway::store::StoreHandle;
use everline_protocol::RequestId;
use fake_shard::{Gateway, NUMBER, Wire, field, msisdn, status};

const HOST: &str = "Host: 34600000001.localhost\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A lingering channel that has served one request, and its caller's connection.
fn lingering(gateway: &Gateway) -> (Wire, Wire) {
    let mut caller = gateway.caller();
    caller.get("/first");
    let mut handset = gateway.answered();
    assert_eq!(
        field(&handset.read_head(), "connection"),
        None,
        "a lingering channel is not closed"
    );
    handset.send(OK);
    assert_eq!(caller.read_message().1, "ok");
    (caller, handset)
}

fn no_signal(gateway: &Gateway) {
    while let Some(letter) = gateway.letter_now() {
        assert!(
            matches!(letter, Letter::DataChannelOpened { .. }),
            "{letter:?}"
        );
    }
}

#[test]
fn a_bound_channel_keeps_its_session_alive() {
    let gateway = Gateway::start(|_| {});
    let place = gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/");
    let _handset = gateway.answered();
    assert!(
        matches!(gateway.letter(), Letter::DataChannelOpened { place: told, .. } if told == place)
    );
}

#[test]
fn an_unknown_or_used_id_is_answered_with_an_error_line() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut stranger = gateway.data_channel(RequestId(7));
    assert_eq!(
        stranger.read_until("\r\n"),
        "ERROR code=unknown-request\r\n"
    );
    stranger.read_end();
    let mut caller = gateway.caller();
    caller.get("/");
    let (_, id) = gateway.signal();
    let mut handset = gateway.data_channel(id);
    handset.read_head();
    let mut second = gateway.data_channel(id);
    assert_eq!(second.read_until("\r\n"), "ERROR code=unknown-request\r\n");
    handset.send(OK);
    assert_eq!(caller.read_message().1, "ok");
}

#[test]
fn bad_lines_are_refused_and_the_request_waits_for_a_better_channel() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/");
    let (_, id) = gateway.signal();
    for (line, code) in [
        ("GET / HTTP/1.1\r\n".to_owned(), "bad-line"),
        ("WAITING\r\n".to_owned(), "unexpected-verb"),
        ("DATA id=12\r\n".to_owned(), "bad-line"),
        ("x".repeat(2049), "line-too-long"),
        // A handset must not answer what it has not read (PROTOCOL 5.1).
        (
            format!("DATA id={id}\r\nHTTP/1.1 200 OK\r\n\r\n"),
            "bad-line",
        ),
    ] {
        let mut wire = Wire::connect(gateway.data[0]);
        wire.send(&line);
        let answer = wire.read_until("\r\n");
        assert!(
            answer.starts_with(&format!("ERROR code={code}")),
            "{line:?}: {answer:?}"
        );
        wire.read_end();
    }
    let mut handset = Wire::connect(gateway.data[0]);
    for byte in format!("DATA id={id}\n").bytes() {
        handset.send([byte]);
    }
    handset.read_head();
    handset.send(OK);
    assert_eq!(caller.read_message().1, "ok");
}

#[test]
fn a_channel_without_a_line_is_closed_in_time() {
    let gateway = Gateway::start(|config| {
        config.data.bind_timeout = Duration::from_millis(300);
    });
    let mut slow = [
        Wire::connect(gateway.data[0]),
        Wire::connect(gateway.data[0]),
    ];
    slow[0].send("DATA id=");
    for wire in &mut slow {
        assert_eq!(wire.read_until("\r\n"), "ERROR code=connect-timeout\r\n");
    }
}

#[test]
fn a_crowd_of_silent_channels_is_bounded_and_keeps_no_handset_out() {
    let gateway = Gateway::start(|config| {
        config.data.bind_timeout = Duration::from_secs(60);
        config.data.unbound_max = 2;
    });
    gateway.register(0);
    let mut silent: Vec<_> = (0..5).map(|_| Wire::connect(gateway.data[0])).collect();
    // All but the two youngest have made room.
    for wire in &mut silent[..3] {
        wire.read_end();
    }
    let mut caller = gateway.caller();
    caller.get("/");
    let mut handset = gateway.answered();
    handset.read_head();
    handset.send(OK);
    assert_eq!(caller.read_message().1, "ok");
    silent[3].read_end();
}

#[test]
fn a_channel_that_another_worker_accepts_reaches_the_request() {
    let gateway = Gateway::start_with(2, StoreHandle::none(), |_| {});
    gateway.register(5);
    let mut caller = gateway.caller();
    caller.get("/");
    let (_, id) = gateway.signal();
    let mut handset = Wire::connect(gateway.data[1]);
    handset.send(format!("DATA id={id}\r\n"));
    handset.read_head();
    handset.send(OK);
    assert_eq!(caller.read_message().1, "ok");
    // It lingers with the worker of its request.
    caller.get("/second");
    assert!(handset.read_head().starts_with("GET /second "));
    handset.send(OK);
    assert_eq!(caller.read_message().1, "ok");
    no_signal(&gateway);
    drop(caller);
    gateway.stop();
}

#[test]
fn linger_0_closes_the_channel_when_the_response_is_complete() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/");
    let mut handset = gateway.answered();
    assert_eq!(field(&handset.read_head(), "connection"), Some("close"));
    handset.send(OK);
    caller.read_message();
    handset.read_end();
}

#[test]
fn a_lingering_channel_serves_the_next_requests_without_a_signal() {
    let gateway = Gateway::start(|_| {});
    gateway.register(5);
    let (mut caller, mut handset) = lingering(&gateway);
    for number in 0..20 {
        caller.get(&format!("/{number}"));
        assert!(handset.read_head().starts_with(&format!("GET /{number} ")));
        handset.send(OK);
        assert_eq!(caller.read_message().1, "ok");
    }
    no_signal(&gateway);
}

#[test]
fn a_lingering_channel_is_closed_when_its_linger_is_over() {
    let gateway = Gateway::start(|_| {});
    gateway.register(1);
    let (mut caller, mut handset) = lingering(&gateway);
    handset.read_end();
    caller.get("/woken");
    let mut handset = gateway.answered();
    assert!(handset.read_head().starts_with("GET /woken "));
}

#[test]
fn a_lingering_channel_belongs_to_its_session() {
    let gateway = Gateway::start(|_| {});
    gateway.register(60);
    let (mut caller, _handset) = lingering(&gateway);
    let new = gateway.register(60);
    caller.get("/second");
    assert_eq!(
        gateway.signal().0,
        new,
        "the replaced session's channel is not used"
    );
}

#[test]
fn idle_channels_are_bounded_and_the_oldest_goes() {
    let gateway = Gateway::start(|config| config.data.idle_max = 1);
    gateway.register(60);
    let (mut first, mut second) = (gateway.caller(), gateway.caller());
    first.get("/1");
    let mut old = gateway.answered();
    old.read_head();
    second.get("/2");
    let mut new = gateway.answered();
    new.read_head();
    old.send(OK);
    first.read_message();
    new.send(OK);
    second.read_message();
    old.read_end();
    first.get("/3");
    assert!(new.read_head().starts_with("GET /3 "));
}

#[test]
fn a_response_that_closes_ends_the_linger() {
    let gateway = Gateway::start(|_| {});
    gateway.register(60);
    let mut caller = gateway.caller();
    caller.get("/");
    let mut handset = gateway.answered();
    handset.read_head();
    handset.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    caller.read_message();
    handset.read_end();
    caller.get("/again");
    gateway.signal();
}

/// A second request of `method`, sent on a lingering channel whose handset closes it instead of answering, after it has
/// written `seen`.
fn race(gateway: &Gateway, request: &str, seen: &str) -> Wire {
    let (mut caller, mut handset) = lingering(gateway);
    caller.send(request);
    handset.read_head();
    handset.send(seen);
    drop(handset);
    caller
}

#[test]
fn the_linger_race_is_signalled_again_if_the_method_is_idempotent() {
    let gateway = Gateway::start(|_| {});
    gateway.register(60);
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PUT"] {
        let mut caller = race(
            &gateway,
            &format!("{method} /second HTTP/1.1\r\n{HOST}\r\n"),
            "",
        );
        let mut handset = gateway.answered();
        let head = handset.read_head();
        assert!(head.starts_with(&format!("{method} /second ")), "{head}");
        assert!(
            field(&head, "forwarded").is_some() && field(&head, "x-request-id").is_some(),
            "{head}"
        );
        handset.send("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(status(&caller.read_head()), 204);
        drop(handset);
    }
}

#[test]
fn the_linger_race_is_a_502_if_the_method_is_not_idempotent_or_a_byte_was_seen() {
    let gateway = Gateway::start(|_| {});
    gateway.register(60);
    let mut caller = race(
        &gateway,
        &format!("POST /second HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\nabc"),
        "",
    );
    caller.read_problem().is(502, "handset-broke");
    let mut caller = race(
        &gateway,
        &format!("GET /second HTTP/1.1\r\n{HOST}\r\n"),
        "HTTP/1.1 2",
    );
    caller.read_problem().is(502, "handset-broke");
}

#[test]
fn a_channel_that_was_closed_before_the_request_is_not_used() {
    let gateway = Gateway::start(|_| {});
    gateway.register(60);
    let (mut caller, handset) = lingering(&gateway);
    drop(handset);
    caller.send(format!(
        "POST /second HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\nabc"
    ));
    let mut handset = gateway.answered();
    handset.read_until("\nabc");
    handset.send(OK);
    assert_eq!(caller.read_message().1, "ok");
}

#[test]
fn an_idempotent_request_with_a_body_does_not_enter_the_race() {
    let gateway = Gateway::start(|_| {});
    gateway.register(60);
    let (mut caller, handset) = lingering(&gateway);
    caller.send(format!(
        "PUT /second HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\nabc"
    ));
    let mut fresh = gateway.answered();
    fresh.read_until("\nabc");
    fresh.send(OK);
    assert_eq!(caller.read_message().1, "ok");
    assert!(handset.is_quiet());
}

#[test]
fn a_caller_that_goes_while_the_handset_is_woken_leaves_nothing_behind() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/");
    let (_, id) = gateway.signal();
    drop(caller);
    gateway.until("the request is given up", |shared| {
        shared.pending.waiting() == 0
    });
    gateway.until("its place is free", |shared| shared.limits.in_flight() == 0);
    let mut late = gateway.data_channel(id);
    assert_eq!(late.read_until("\r\n"), "ERROR code=unknown-request\r\n");
    assert!(gateway.shared.pending.of(msisdn(NUMBER)).is_empty());
}

#[test]
fn a_caller_that_goes_closes_the_data_channel() {
    let gateway = Gateway::start(|_| {});
    gateway.register(60);
    // Before the response's head, and inside its body.
    for begun in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"] {
        let mut caller = gateway.caller();
        caller.get("/");
        let mut handset = gateway.answered();
        handset.read_head();
        handset.send(begun);
        if !begun.is_empty() {
            caller.read_until("\nabc");
        }
        drop(caller);
        handset.read_end();
    }
}

#[test]
fn an_upload_that_is_cut_does_not_look_whole() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    for framing in [
        "Content-Length: 10\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let mut caller = gateway.caller();
        caller.send(format!("PUT / HTTP/1.1\r\n{HOST}{framing}"));
        let mut handset = gateway.answered();
        handset.read_until("\nabc");
        drop(caller);
        let (rest, _) = handset.read_to_end();
        assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
    }
}

#[test]
fn a_proxy_header_tells_who_calls() {
    let gateway = Gateway::start(|config| {
        config.ingress.proxy_protocol = true;
        config.data.proxy_protocol = true;
    });
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.send("PROXY TCP6 2001:db8::9 2001:db8::1 4711 80\r\n");
    caller.get("/");
    let (_, id) = gateway.signal();
    let mut handset = Wire::connect(gateway.data[0]);
    handset.send(format!(
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nDATA id={id}\r\n"
    ));
    let head = handset.read_head();
    assert!(
        field(&head, "forwarded")
            .unwrap()
            .starts_with("for=\"[2001:db8::9]\";"),
        "{head}"
    );
    handset.send(OK);
    assert_eq!(caller.read_message().1, "ok");
    let mut without = gateway.caller();
    without.get("/");
    without.read_to_end();
}

#[test]
fn a_worker_that_stops_finishes_its_requests_and_takes_no_more() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut idle = gateway.caller();
    idle.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    idle.read_problem().is(404, "no-such-host");
    let mut caller = gateway.caller();
    caller.get("/");
    let (_, id) = gateway.signal();
    gateway.begin_stop();
    idle.read_end();
    let mut handset = gateway.data_channel(id);
    handset.read_head();
    handset.send(OK);
    assert_eq!(caller.read_message().1, "ok");
    caller.read_end();
    gateway.stop();
}

#[test]
fn a_worker_that_stops_does_not_wait_for_ever() {
    let gateway = Gateway::start(|config| config.drain.finish = Duration::from_millis(300));
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/");
    gateway.signal();
    gateway.stop();
    caller.read_to_end();
}

#[test]
fn requests_that_a_caller_sends_ahead_are_answered_in_their_order() {
    let gateway = Gateway::start(|_| {});
    gateway.register(60);
    let mut caller = gateway.caller();
    caller.get("/0");
    let mut handset = gateway.answered();
    handset.read_head();
    // They arrive while the first is served, in pieces that end nowhere in particular.
    caller.send(format!(
        "PUT /1 HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\nab"
    ));
    caller.send(format!(
        "cGET /2 HTTP/1.1\r\n{HOST}\r\nGET /3 HTTP/1.1\r\n{HOST}"
    ));
    handset.send(OK);
    assert_eq!(caller.read_message().1, "ok");
    let mut fresh = gateway.answered();
    assert!(fresh.read_until("\nabc").starts_with("PUT /1 "));
    fresh.send(OK);
    assert_eq!(caller.read_message().1, "ok");
    // The channel that was idle for the shortest time goes first.
    assert!(fresh.read_head().starts_with("GET /2 "));
    caller.send("\r\n");
    fresh.send(OK);
    assert_eq!(caller.read_message().1, "ok");
    assert!(fresh.read_head().starts_with("GET /3 "));
    fresh.send(OK);
    assert_eq!(caller.read_message().1, "ok");
}
