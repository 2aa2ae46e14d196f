//! The operator's port: one session, revoke, readiness, the drain, the numbers; and who may not use it.

mod harness;

use everline_gateway::metric_names::{ALL, Kind};
use everline_protocol::{ErrorCode, HandsetEvent};
use harness::handset::{Options, TestHandset, full, serve_one};
use harness::{Lab, ONE, TWO, http, until, within};
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode};

const HOST: &str = "localhost:9100";

#[tokio::test]
async fn a_session_is_described_and_a_departure_remembered() {
    let lab = Lab::start();
    let admin = lab.addresses().admin;
    let options = Options::new(ONE, lab.home.token(ONE))
        .timeout_s(60)
        .linger_s(5);
    let handset = TestHandset::register(lab.addresses(), options).await;
    let session = until("the first WAITING", async || {
        let session = http::get(admin, HOST, "/sessions/34600000001").await.json();
        (session["ready"] == true).then_some(session)
    })
    .await;
    assert_eq!(session["session"], handset.session.to_string());
    assert_eq!(
        (&session["timeout_s"], &session["linger_s"]),
        (&60.into(), &5.into())
    );
    for time in ["since", "last_seen"] {
        assert!(
            session[time]
                .as_str()
                .is_some_and(|time| time.starts_with("20") && time.ends_with('Z')),
            "{session}"
        );
    }
    assert!(session["shard"].is_u64());

    handset.bye().await;
    let gone = until("the departure", async || {
        let gone = http::get(admin, HOST, "/sessions/34600000001").await;
        (gone.status == StatusCode::NOT_FOUND && gone.json()["known"]["left"] == "bye")
            .then_some(gone)
    })
    .await;
    assert_eq!(gone.slug(), "no-session");
    let never = http::get(admin, HOST, "/sessions/34600000002").await;
    assert_eq!(
        (never.status, never.json()["known"].is_null()),
        (StatusCode::NOT_FOUND, true)
    );
}

#[tokio::test]
async fn a_number_that_is_none_is_refused() {
    let lab = Lab::start();
    for number in ["0123456", "34x", "1234", "+34600000001"] {
        for method in [Method::GET, Method::DELETE] {
            let answer = http::method(
                lab.addresses().admin,
                method,
                HOST,
                &format!("/sessions/{number}"),
            )
            .await;
            assert_eq!(
                (answer.status, answer.slug().as_str()),
                (StatusCode::BAD_REQUEST, "bad-msisdn"),
                "{number}"
            );
        }
    }
}

#[tokio::test]
async fn a_revoked_handset_is_told_so() {
    let lab = Lab::start();
    let handset = lab.handset(ONE).await;
    let admin = lab.addresses().admin;
    let answer = http::method(admin, Method::DELETE, HOST, "/sessions/34600000001").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(handset.end().await, Some(ErrorCode::Revoked));
    until("the next one", async || {
        let again = http::method(admin, Method::DELETE, HOST, "/sessions/34600000001").await;
        (again.status == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_drain_tells_handsets_to_move_and_serves_to_the_end() {
    let lab = Lab::start_with(|config| {
        config.drain.reconnect_to = everline_protocol::HostPort::parse("other.example:7000");
    });
    let addresses = lab.addresses();
    assert_eq!(
        http::get(addresses.admin, HOST, "/readyz").await.status,
        StatusCode::OK
    );
    let options = Options::new(ONE, lab.home.token(ONE)).silent();
    let mut handset = TestHandset::register(addresses, options).await;
    let caller = tokio::spawn(async move {
        http::get(addresses.ingress, "34600000001.localhost", "/late").await
    });
    let id = handset.request().await;

    let asked = http::method(addresses.admin, Method::POST, HOST, "/drain").await;
    assert_eq!(asked.status, StatusCode::ACCEPTED);
    let mut event = handset.event().await;
    while matches!(event, HandsetEvent::RequestPending { .. }) {
        // Signalled once more: it waits for its data channel.
        event = handset.event().await;
    }
    match event {
        HandsetEvent::Reconnect { after, to } => {
            assert!(after.0 <= 200, "within the spread: {after:?}");
            assert_eq!(
                to.map(|to| to.to_string()).as_deref(),
                Some("other.example:7000")
            );
        }
        other => panic!("expected RECONNECT, got {other:?}"),
    }
    let ready = http::get(addresses.admin, HOST, "/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        matches!(
            ready.json()["reasons"][0].as_str(),
            Some("draining" | "finishing")
        ),
        "{}",
        ready.text()
    );
    let refused =
        TestHandset::try_register(addresses, Options::new(TWO, lab.home.token(TWO))).await;
    assert_eq!(
        refused.err().map(|refusal| refusal.code.name()),
        Some("draining")
    );

    // The request was there before the drain: it is served after the handsets have had their time.
    let gateway = lab.gateway;
    let gateway = tokio::task::spawn_blocking(move || gateway.wait().map(|()| gateway));
    let gateway = within("the drain", gateway)
        .await
        .expect("no panic")
        .expect("no thread broke");
    let answer = harness::handset::serve(|_| Response::new(full("served to the end")));
    tokio::spawn(serve_one(addresses.data, id, answer, false));
    let stopped = tokio::task::spawn_blocking(move || gateway.stop());
    let answer = within("the answer", caller)
        .await
        .expect("the caller's task");
    assert_eq!(answer.text(), "served to the end");
    within("the end", stopped)
        .await
        .expect("no panic")
        .expect("no thread broke");
}

#[tokio::test]
async fn web_pages_can_neither_read_nor_act() {
    let lab = Lab::start();
    let admin = lab.addresses().admin;
    let rebound = http::get(admin, "evil.example:9100", "/metrics").await;
    assert_eq!(
        (rebound.status, rebound.slug().as_str()),
        (StatusCode::MISDIRECTED_REQUEST, "foreign-host")
    );
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/drain")
            .header("host", HOST)
            .header(name, value);
        let answer = http::call(
            admin,
            request.body(Full::default()).expect("a valid request"),
        )
        .await;
        assert_eq!(
            (answer.status, answer.slug().as_str()),
            (StatusCode::FORBIDDEN, "cross-origin"),
            "{name}: {value}"
        );
    }
    let ready = http::get(admin, "127.0.0.1", "/readyz").await;
    assert_eq!(ready.status, StatusCode::OK, "nothing was drained");
    let own = Request::builder()
        .method(Method::DELETE)
        .uri("/sessions/34600000001")
        .header("host", HOST);
    let own = own
        .header("origin", format!("http://{HOST}"))
        .header("sec-fetch-site", "same-origin");
    let answer = http::call(admin, own.body(Full::default()).expect("a valid request")).await;
    assert_eq!(
        answer.status,
        StatusCode::NOT_FOUND,
        "its own page may, and finds no session"
    );
}

#[tokio::test]
async fn the_listing_names_each_path_and_others_are_not_found() {
    let lab = Lab::start();
    let admin = lab.addresses().admin;
    let listing = http::get(admin, HOST, "/").await.text();
    for path in ["/healthz", "/readyz", "/status", "/metrics"] {
        assert!(listing.contains(path), "{listing}");
        assert_eq!(
            http::get(admin, HOST, path).await.status,
            StatusCode::OK,
            "{path}"
        );
    }
    assert_eq!(
        http::get(admin, HOST, "/favicon.ico").await.slug(),
        "not-found"
    );
    assert_eq!(
        http::method(admin, Method::PUT, HOST, "/drain")
            .await
            .slug(),
        "method-not-allowed"
    );
}

#[tokio::test]
async fn the_status_tells_who_is_there() {
    let lab = Lab::start();
    let _handset = lab.handset(ONE).await;
    let admin = lab.addresses().admin;
    let status = http::get(admin, HOST, "/status").await.json();
    assert_eq!(
        (&status["phase"], &status["sessions"], &status["expected"]),
        (&"serving".into(), &1.into(), &0.into())
    );
    assert!(status["returned_share"].is_null(), "nobody was expected");
}

#[tokio::test]
async fn a_scrape_shows_every_metric_and_what_is_there() {
    let lab = Lab::start();
    let _handset = lab.handset(ONE).await;
    let answer = http::get(lab.addresses().ingress, "34600000001.localhost", "/").await;
    assert_eq!(answer.status, StatusCode::OK);
    let text = http::get(lab.addresses().admin, HOST, "/metrics")
        .await
        .text();
    for metric in ALL {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert!(
            text.contains(&format!("# TYPE {} {kind}\n", metric.name)),
            "{} {kind}:\n{text}",
            metric.name
        );
        let series = text
            .lines()
            .filter(|line| line.starts_with(metric.name))
            .count();
        assert!(series > 0, "{} has no series", metric.name);
    }
    for number in [ONE, TWO] {
        assert!(
            !text.contains(&number.to_string()),
            "a number stands in a label"
        );
    }
    assert!(
        text.contains("everline_phase 1\n") && text.contains("everline_auth_off 0\n"),
        "{text}"
    );
    assert!(text.lines().count() < 2_000, "too many series");
}
