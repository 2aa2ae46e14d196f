//! Every row of PROTOCOL 5.4 that lies on a worker, as its caller sees it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod fake_shard;

use std::time::Duration;

use everline_gateway::shard::mailbox::Letter;
use everline_gateway::shared::Phase;
use everline_gateway::store::{Cause, Options, StoreHandle};
use everline_protocol::SessionId;
use fake_shard::{Gateway, NUMBER, Wire, field, msisdn, status};

const SOON: Duration = Duration::from_millis(300);
const HOST: &str = "Host: 34600000001.localhost\r\n";

/// The problem that one request without a handset ends in; the connection is closed after it if `last`.
fn refused(request: &str, expected: (u16, &str), last: bool) {
    let gateway = Gateway::start(|_| {});
    let mut caller = gateway.caller();
    caller.send(request);
    caller.read_problem().is(expected.0, expected.1);
    if last {
        caller.read_end();
    }
    assert!(gateway.letter_now().is_none(), "no handset was woken");
}

#[test]
fn bad_request_400_for_malformed_or_ambiguous_http() {
    for request in [
        format!(
            "POST / HTTP/1.1\r\n{HOST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!(
            "POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"
        ),
        format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}Host: other\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}bad field\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST} folded\r\n\r\n"),
        format!("GET /\x7f HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET /\"<> HTTP/1.1\r\n{HOST}X: \u{1}\r\n\r\n"),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "utter nonsense\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_owned(),
    ] {
        refused(&request, (400, "bad-request"), true);
    }
    refused(
        "GET http://34600000002.localhost/ HTTP/1.1\r\nHost: 34600000001.localhost\r\n\r\n",
        (400, "bad-request"),
        false,
    );
}

#[test]
fn bad_request_400_comes_in_its_turn_behind_a_request_that_is_being_served() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.send(format!(
        "GET /first HTTP/1.1\r\n{HOST}\r\nGET /second HTTP/1.1\r\nbad field\r\n\r\nGET /third"
    ));
    let mut handset = gateway.answered();
    handset.read_head();
    handset.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
    assert_eq!(caller.read_message().1, "first");
    caller.read_problem().is(400, "bad-request");
    caller.read_end();
}

#[test]
fn bad_request_400_for_chunks_that_are_none() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.send(format!(
        "POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    ));
    let mut handset = gateway.answered();
    handset.read_until("\nabc");
    caller.send("zz\r\n");
    caller.read_problem().is(400, "bad-request");
    let (rest, _) = handset.read_to_end();
    assert!(
        !rest.contains("0\r\n\r\n"),
        "the body looks whole: {rest:?}"
    );
}

#[test]
fn bad_request_400_for_chunks_whose_lines_end_otherwise_and_nothing_behind_them_is_a_request() {
    for body in [
        "3\nabc\n0\n\n",
        "3;a\nabc\r\n0\r\n\r\n",
        "0\r\n\n",
        "0\r\nx: y\n\r\n",
        "0\r\n\r",
    ] {
        let gateway = Gateway::start(|_| {});
        gateway.register(0);
        let mut caller = gateway.caller();
        caller.send(format!(
            "POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{body}GET /smuggled HTTP/1.1\r\n{HOST}\r\n"
        ));
        let mut handset = gateway.answered();
        let (seen, _) = handset.read_to_end();
        assert!(
            !seen.contains("0\r\n\r\n"),
            "the body looks whole: {seen:?}"
        );
        caller.read_problem().is(400, "bad-request");
        caller.read_end();
        assert!(
            !matches!(gateway.letter_now(), Some(Letter::Signal { .. })),
            "{body:?}"
        );
    }
}

#[test]
fn no_such_host_404_when_neither_host_nor_path_names_a_handset() {
    refused(
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        (404, "no-such-host"),
        false,
    );
    refused(
        "GET /contacts HTTP/1.1\r\nHost: www.vodafone.example\r\n\r\n",
        (404, "no-such-host"),
        false,
    );
    refused(
        "GET / HTTP/1.1\r\nHost: 34600000001.elsewhere.example\r\n\r\n",
        (404, "no-such-host"),
        false,
    );
    refused("GET / HTTP/1.0\r\n\r\n", (404, "no-such-host"), true);
}

#[test]
fn method_not_allowed_405_for_connect() {
    refused(
        "CONNECT 34600000001.localhost:80 HTTP/1.1\r\nHost: 34600000001.localhost:80\r\n\r\n",
        (405, "method-not-allowed"),
        false,
    );
    let gateway = Gateway::start(|_| {});
    let mut caller = gateway.caller();
    caller.send(format!("CONNECT a:80 HTTP/1.1\r\n{HOST}\r\n"));
    let head = caller.read_head();
    let allowed = field(&head, "allow").expect("a 405 says what is allowed");
    assert!(allowed.contains("GET") && !allowed.contains("CONNECT"));
}

#[test]
fn a_problem_for_head_has_no_body() {
    let gateway = Gateway::start(|_| {});
    let mut caller = gateway.caller();
    caller.send(format!(
        "HEAD / HTTP/1.1\r\n{HOST}\r\nGET / HTTP/1.1\r\n{HOST}\r\n"
    ));
    let head = caller.read_head();
    assert_eq!(status(&head), 503);
    assert!(field(&head, "content-length").is_some());
    caller.read_problem().is(503, "handset-offline");
    caller.send(format!("HEAD / HTTP/1.1\r\n{HOST}bad field\r\n\r\n"));
    assert_eq!(status(&caller.read_head()), 400);
    caller.read_end();
}

#[test]
fn handset_offline_503_without_a_session() {
    let gateway = Gateway::start(|_| {});
    let mut caller = gateway.caller();
    caller.get("/");
    caller.read_problem().is(503, "handset-offline");
}

#[test]
fn handset_offline_503_when_it_says_bye_while_the_request_waits() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/");
    gateway.signal();
    assert_eq!(gateway.shared.pending.handset_left(msisdn(NUMBER)), 1);
    caller.read_problem().is(503, "handset-offline");
}

#[test]
fn handset_offline_503_when_its_session_is_lost_and_none_comes_back() {
    let gateway = Gateway::start(|config| config.request.wake_timeout = SOON);
    let place = gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/");
    gateway.signal();
    assert!(gateway.shared.directory.leave(msisdn(NUMBER), place));
    caller.read_problem().is(503, "handset-offline");
    assert!(
        gateway.letter_now().is_none(),
        "nobody is there to be signalled again"
    );
}

/// A store that has seen the handset leave just now.
fn store_of_a_handset_that_left() -> (StoreHandle, everline_gateway::store::StoreThread) {
    let (store, thread) = StoreHandle::start(Options {
        path: None,
        flush_interval: Duration::from_secs(1),
        pending_rows_max: 10,
        cache_bytes: 1 << 20,
        recent: Duration::from_secs(60),
        departures_max: 10,
    })
    .unwrap();
    store.registered(msisdn(NUMBER), SessionId(1));
    store.left(msisdn(NUMBER), SessionId(1), Cause::Lost);
    (store, thread)
}

#[test]
fn handset_offline_503_when_the_reconnect_hold_is_over() {
    let (store, _thread) = store_of_a_handset_that_left();
    let gateway = Gateway::start_with(1, store, |config| config.request.reconnect_hold = SOON);
    let mut caller = gateway.caller();
    caller.get("/");
    gateway.until("the request is held", |shared| {
        shared.pending.waiting() == 1
    });
    caller.read_problem().is(503, "handset-offline");
}

#[test]
fn a_handset_that_comes_back_within_the_hold_is_served() {
    let (store, _thread) = store_of_a_handset_that_left();
    let gateway = Gateway::start_with(1, store, |config| {
        config.request.reconnect_hold = fake_shard::PATIENCE;
    });
    let mut caller = gateway.caller();
    caller.get("/");
    gateway.until("the request is held", |shared| {
        shared.pending.waiting() == 1
    });
    // A session that becomes ready signals all that wait for it: here the test is the shard.
    gateway.register(0);
    let ids = gateway.shared.pending.of(msisdn(NUMBER));
    let mut handset = gateway.data_channel(ids[0]);
    handset.read_head();
    handset.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(status(&caller.read_head()), 204);
}

#[test]
fn a_handset_that_left_long_ago_is_not_waited_for() {
    let (store, _thread) = store_of_a_handset_that_left();
    let gateway = Gateway::start_with(1, store, |config| {
        config.request.reconnect_hold = Duration::from_secs(3600);
        config.request.recent = Duration::ZERO;
    });
    let mut caller = gateway.caller();
    caller.get("/");
    caller.read_problem().is(503, "handset-offline");
}

#[test]
fn handset_busy_429_over_the_limit_of_one_handset_until_a_response_has_ended() {
    let gateway = Gateway::start(|config| config.ingress.requests_per_handset_max = 1);
    gateway.register(0);
    let (mut first, mut second) = (gateway.caller(), gateway.caller());
    first.get("/");
    let mut handset = gateway.answered();
    handset.read_head();
    handset.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    first.read_head();
    assert_eq!(first.read_exact(1), b"o");
    second.get("/");
    second.read_problem().is(429, "handset-busy");
    handset.send("k");
    assert_eq!(first.read_exact(1), b"k");
    gateway.until("the first has ended", |shared| {
        shared.limits.in_flight() == 0
    });
    second.get("/");
    gateway.signal();
}

#[test]
fn caller_limited_429_over_the_limit_of_one_caller() {
    let gateway = Gateway::start(|config| config.ingress.requests_per_caller_max = 1);
    gateway.register(0);
    gateway.register_number(34_600_000_002, 0);
    let (mut first, mut second) = (gateway.caller(), gateway.caller());
    first.get("/");
    gateway.signal();
    second.send("GET /34600000002/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
    second.read_problem().is(429, "caller-limited");
}

#[test]
fn caller_limited_429_however_a_balancer_writes_the_callers_address() {
    let gateway = Gateway::start(|config| {
        config.ingress.requests_per_caller_max = 1;
        config.ingress.proxy_protocol = true;
    });
    gateway.register(0);
    let mut first = gateway.caller();
    first.send("PROXY TCP4 192.0.2.7 192.0.2.1 5 80\r\n");
    first.get("/");
    gateway.signal();
    let mut second = gateway.caller();
    second.send("PROXY TCP6 ::ffff:192.0.2.7 ::1 6 80\r\n");
    second.get("/");
    second.read_problem().is(429, "caller-limited");
}

#[test]
fn overloaded_503_over_all_and_when_the_shard_is_behind() {
    let gateway = Gateway::start(|config| config.ingress.requests_max = 1);
    gateway.register(0);
    let (mut first, mut second) = (gateway.caller(), gateway.caller());
    first.get("/");
    gateway.signal();
    second.get("/");
    second.read_problem().is(503, "overloaded");

    let gateway = Gateway::start(|config| config.signaling.mailbox_letters_max = 1);
    let place = gateway.register(0);
    let at = std::time::Instant::now();
    let opened = Letter::DataChannelOpened { place, at };
    gateway.shared.shards.post(place, opened).unwrap();
    let mut caller = gateway.caller();
    caller.get("/");
    caller.read_problem().is(503, "overloaded");
}

#[test]
fn overloaded_503_for_a_connection_too_many() {
    let gateway = Gateway::start(|config| config.ingress.connections_max = 1);
    let mut first = gateway.caller();
    first.get("/");
    first.read_problem().is(503, "handset-offline");
    let mut second = gateway.caller();
    second.read_problem().is(503, "overloaded");
    second.read_end();
    drop(first);
    let mut third = loop {
        let mut third = gateway.caller();
        third.get("/");
        let problem = third.read_problem();
        if problem.slug == "handset-offline" {
            break third;
        }
    };
    third.get("/");
    third.read_problem().is(503, "handset-offline");
}

#[test]
fn draining_503_once_the_gateway_is_finishing() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    gateway.shared.phase.advance(Phase::Draining);
    let mut caller = gateway.caller();
    caller.get("/");
    gateway.signal();
    gateway.shared.phase.advance(Phase::Finishing);
    let mut caller = gateway.caller();
    caller.get("/");
    caller.read_problem().is(503, "draining");
}

#[test]
fn handset_silent_504_after_one_second_signal() {
    let gateway = Gateway::start(|config| config.request.wake_timeout = SOON);
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/");
    let first = gateway.signal();
    let second = gateway.signal();
    assert_eq!(first, second, "the same request to the same session");
    caller.read_problem().is(504, "handset-silent");
    assert!(gateway.letter_now().is_none(), "two signals, no more");
    let mut late = gateway.data_channel(first.1);
    assert_eq!(late.read_until("\r\n"), "ERROR code=unknown-request\r\n");
    late.read_end();
}

#[test]
fn the_second_signal_goes_to_the_session_that_is_there_then() {
    let gateway = Gateway::start(|config| config.request.wake_timeout = Duration::from_secs(2));
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/");
    let (old, id) = gateway.signal();
    let new = gateway.register(0);
    assert_ne!(old, new);
    assert_eq!(gateway.signal(), (new, id));
    let mut handset = gateway.data_channel(id);
    handset.read_head();
    handset.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(status(&caller.read_head()), 204);
}

/// What the caller gets when the handset does this with its data channel.
fn broken_by(act: impl FnOnce(&mut Wire)) {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/");
    let mut handset = gateway.answered();
    handset.read_head();
    act(&mut handset);
    drop(handset);
    caller.read_problem().is(502, "handset-broke");
    caller.get("/the-connection-lives-on");
    gateway.signal();
}

#[test]
fn handset_broke_502_when_it_closes_or_speaks_bad_http() {
    broken_by(|_| {});
    broken_by(|handset| handset.send("HTTP/1.1 200 OK\r\nContent-Le"));
    broken_by(|handset| {
        handset.send(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        );
    });
    broken_by(|handset| handset.send("utter nonsense\r\n\r\n"));
    broken_by(|handset| {
        handset.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        );
    });
    broken_by(|handset| {
        handset.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    });
    broken_by(|handset| {
        handset.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n");
    });
    broken_by(|handset| {
        handset
            .send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    });
    broken_by(|handset| {
        handset.send(format!(
            "HTTP/1.1 200 OK\r\nX: {}\r\n\r\n",
            "x".repeat(1 << 20)
        ));
    });
}

#[test]
fn handset_broke_inside_its_body_breaks_the_callers_connection_visibly() {
    for (version, response) in [
        ("1.1", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
        (
            "1.1",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ),
        (
            "1.0",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ),
    ] {
        let gateway = Gateway::start(|_| {});
        gateway.register(0);
        let mut caller = gateway.caller();
        caller.send(format!("GET / HTTP/{version}\r\n{HOST}\r\n"));
        let mut handset = gateway.answered();
        handset.read_head();
        handset.send(response);
        caller.read_until("\nabc");
        drop(handset);
        let (rest, in_order) = caller.read_to_end();
        assert!(
            !rest.contains("0\r\n\r\n"),
            "the body looks whole: {rest:?}"
        );
        assert!(
            version == "1.1" || !in_order,
            "an end in order is a body's end to HTTP/1.0"
        );
    }
}

#[test]
fn handset_broke_behind_its_head_and_the_caller_has_the_head() {
    let gateway = Gateway::start(|_| {});
    gateway.register(0);
    for _ in 0..50 {
        let mut caller = gateway.caller();
        caller.get("/");
        let mut handset = gateway.answered();
        handset.read_head();
        handset.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
        drop(handset);
        assert_eq!(status(&caller.read_head()), 200);
        assert_eq!(caller.read_to_end(), (String::new(), false));
    }
}

#[test]
fn handset_broke_when_it_falls_silent_inside_its_body() {
    let gateway = Gateway::start(|config| config.request.response_idle_timeout = SOON);
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/");
    let mut handset = gateway.answered();
    handset.read_head();
    handset.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    caller.read_until("\nabc");
    caller.read_end();
    handset.read_to_end();
}

#[test]
fn response_timeout_504_without_a_response_head() {
    let gateway = Gateway::start(|config| config.request.response_timeout = SOON);
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/");
    let mut handset = gateway.answered();
    handset.read_head();
    caller.read_problem().is(504, "response-timeout");
    handset.read_end();
}

#[test]
fn too_large_413_by_its_length_and_by_its_chunks() {
    let gateway = Gateway::start(|config| config.ingress.body_bytes_max = 10);
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.send(format!(
        "PUT / HTTP/1.1\r\n{HOST}Content-Length: 11\r\n\r\n"
    ));
    caller.read_problem().is(413, "too-large");
    assert!(
        gateway.letter_now().is_none(),
        "its length tells: no handset was woken"
    );
    let mut caller = gateway.caller();
    caller.send(format!(
        "PUT / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n"
    ));
    let mut handset = gateway.answered();
    handset.read_until("123456789");
    caller.send("9\r\n123456789\r\n");
    caller.read_problem().is(413, "too-large");
    let (rest, _) = handset.read_to_end();
    assert!(
        !rest.contains("0\r\n\r\n"),
        "the body looks whole: {rest:?}"
    );
}

#[test]
fn headers_too_large_431_by_bytes_and_by_number() {
    let long = "x".repeat(17 * 1024);
    refused(
        &format!("GET / HTTP/1.1\r\n{HOST}X: {long}\r\n\r\n"),
        (431, "headers-too-large"),
        true,
    );
    refused(
        &format!("GET /{long} HTTP/1.1\r\n{HOST}\r\n"),
        (431, "headers-too-large"),
        true,
    );
    refused(
        &format!("GET / HTTP/1.1\r\n{HOST}{}\r\n", "X: y\r\n".repeat(64)),
        (431, "headers-too-large"),
        true,
    );
    // One that never ends is refused as well, as soon as it is too long.
    refused(
        &format!("GET / HTTP/1.1\r\n{HOST}X: {long}"),
        (431, "headers-too-large"),
        true,
    );
}

#[test]
fn request_timeout_408_for_a_head_that_does_not_end() {
    let gateway = Gateway::start(|config| config.ingress.header_timeout = SOON);
    let mut caller = gateway.caller();
    caller.send("GET / HTTP/1.1\r\nHost: ");
    caller.read_problem().is(408, "request-timeout");
    caller.read_end();
}

#[test]
fn request_timeout_408_for_a_body_that_pauses() {
    let gateway = Gateway::start(|config| config.ingress.body_idle_timeout = SOON);
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.send(format!(
        "PUT / HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nabc"
    ));
    let mut handset = gateway.answered();
    handset.read_until("\nabc");
    caller.read_problem().is(408, "request-timeout");
    handset.read_end();
}

#[test]
fn a_connection_that_is_idle_for_too_long_is_closed_without_a_word() {
    let gateway = Gateway::start(|config| config.ingress.header_timeout = SOON);
    gateway.caller().read_end();
    let mut caller = gateway.caller();
    caller.get("/");
    caller.read_problem().is(503, "handset-offline");
    caller.read_end();
}

#[test]
fn a_long_answer_does_not_run_into_the_header_timeout() {
    let gateway = Gateway::start(|config| config.ingress.header_timeout = SOON);
    gateway.register(0);
    let mut caller = gateway.caller();
    caller.get("/");
    let mut handset = gateway.answered();
    handset.read_head();
    // Another connection's timeout shows that the time has passed.
    gateway.caller().read_end();
    gateway.caller().read_end();
    handset.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(caller.read_message().1, "ok");
}
