//! A request's whole way through a real gateway: both forms of the address, offline, replaced, held.

mod harness;

use std::time::Duration;

use everline_protocol::ErrorCode;
use harness::handset::{Options, TestHandset, full, serve, serve_one};
use harness::{Lab, ONE, TWO, http, until, within};
use http_body_util::Full;
use hyper::{Request, Response, StatusCode};

#[tokio::test]
async fn g1_g6_g7_a_request_reaches_its_handset_in_host_form_and_path_form() {
    let lab = Lab::start();
    let (_one, _two) = (lab.handset(ONE).await, lab.handset(TWO).await);
    let ingress = lab.addresses().ingress;
    for (host, path, body) in [
        (
            "34600000001.localhost",
            "/contacts?q=1",
            "34600000001 GET /contacts?q=1",
        ),
        (
            "34600000002.LOCALHOST.:8080",
            "/contacts",
            "34600000002 GET /contacts",
        ),
        ("34600000001.handsets.example", "/", "34600000001 GET /"),
        (
            "localhost",
            "/34600000002/contacts?q=1",
            "34600000002 GET /contacts?q=1",
        ),
    ] {
        let answer = http::get(ingress, host, path).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (StatusCode::OK, body),
            "{host}{path}"
        );
    }
    lab.stop().await;
}

#[tokio::test]
async fn g2_what_the_handset_answers_is_what_the_caller_gets() {
    let lab = Lab::start();
    let answer = serve(|request| {
        let told = request
            .headers()
            .get("x-told")
            .cloned()
            .expect("the caller's field arrives");
        let builder = Response::builder()
            .status(StatusCode::IM_A_TEAPOT)
            .header("x-heard", told);
        builder
            .body(full("short and stout"))
            .expect("a valid response")
    });
    let options = Options::new(ONE, lab.home.token(ONE)).serving(answer);
    let _handset = TestHandset::register(lab.addresses(), options).await;
    let request = Request::builder()
        .uri("/tea")
        .header("host", "34600000001.localhost")
        .header("x-told", "two lumps");
    let request = request.body(Full::default()).expect("a valid request");
    let answer = http::call(lab.addresses().ingress, request).await;
    assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(
        answer.headers.get("x-heard").map(|told| told.as_bytes()),
        Some(&b"two lumps"[..])
    );
    assert_eq!(answer.text(), "short and stout");
    lab.stop().await;
}

#[tokio::test]
async fn g8_nobody_and_nowhere_are_told_apart() {
    let lab = Lab::start();
    let ingress = lab.addresses().ingress;
    let offline = http::get(ingress, "34600000009.localhost", "/").await;
    assert_eq!(
        (offline.status, offline.slug().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "handset-offline")
    );
    assert!(offline.headers.contains_key("retry-after"));
    let nowhere = http::get(ingress, "www.example.org", "/").await;
    assert_eq!(
        (nowhere.status, nowhere.slug().as_str()),
        (StatusCode::NOT_FOUND, "no-such-host")
    );
    lab.stop().await;
}

#[tokio::test]
async fn a_handset_that_says_bye_is_offline_at_once() {
    let lab = Lab::start_with(|config| config.request.reconnect_hold = Duration::from_secs(60));
    let handset = lab.handset(ONE).await;
    handset.bye().await;
    let answer = http::get(lab.addresses().ingress, "34600000001.localhost", "/").await;
    assert_eq!(
        (answer.status, answer.slug().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "handset-offline")
    );
    lab.stop().await;
}

#[tokio::test]
async fn bye_ends_the_requests_that_wait() {
    let lab = Lab::start();
    let options = Options::new(ONE, lab.home.token(ONE)).silent();
    let mut handset = TestHandset::register(lab.addresses(), options).await;
    let ingress = lab.addresses().ingress;
    let caller =
        tokio::spawn(async move { http::get(ingress, "34600000001.localhost", "/").await });
    handset.request().await;
    handset.bye().await;
    let answer = within("the answer", caller)
        .await
        .expect("the caller's task");
    assert_eq!(
        (answer.status, answer.slug().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "handset-offline")
    );
    lab.stop().await;
}

#[tokio::test]
async fn a_replaced_session_s_request_is_signalled_again_on_the_new_one() {
    let lab = Lab::start();
    let silent = Options::new(ONE, lab.home.token(ONE)).silent();
    let mut old = TestHandset::register(lab.addresses(), silent).await;
    let ingress = lab.addresses().ingress;
    let caller =
        tokio::spawn(async move { http::get(ingress, "34600000001.localhost", "/again").await });
    let id = old.request().await;
    let silent = Options::new(ONE, lab.home.token(ONE)).silent();
    let mut new = TestHandset::register(lab.addresses(), silent).await;
    assert_ne!(old.session, new.session);
    assert_eq!(old.end().await, Some(ErrorCode::Replaced));
    assert_eq!(
        new.request().await,
        id,
        "the same request, on the new session"
    );
    let answer = serve(|_| Response::new(full("here now")));
    tokio::spawn(serve_one(lab.addresses().data, id, answer, false));
    let answer = within("the answer", caller)
        .await
        .expect("the caller's task");
    assert_eq!(answer.text(), "here now");
    lab.stop().await;
}

#[tokio::test]
async fn a_request_is_held_for_a_handset_that_left_a_moment_ago() {
    let lab = Lab::start_with(|config| config.request.reconnect_hold = Duration::from_secs(20));
    drop(lab.handset(ONE).await);
    let shared = lab.gateway.shared();
    until("the gateway to notice", async || {
        (shared.directory.sessions() == 0).then_some(())
    })
    .await;
    let ingress = lab.addresses().ingress;
    let caller =
        tokio::spawn(async move { http::get(ingress, "34600000001.localhost", "/held").await });
    until("the request to wait", async || {
        (shared.limits.in_flight() == 1).then_some(())
    })
    .await;
    let _back = lab.handset(ONE).await;
    let answer = within("the answer", caller)
        .await
        .expect("the caller's task");
    assert_eq!(answer.text(), "34600000001 GET /held");
    let stranger = http::get(ingress, "34600000002.localhost", "/").await;
    assert_eq!(
        stranger.slug(),
        "handset-offline",
        "one who was never here is not waited for"
    );
    lab.stop().await;
}
