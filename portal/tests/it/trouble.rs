//! R76: whatever comes between the remote user and the handset reaches the browser as a page, with a proper status.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{StatusCode, header};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::browser::{ALICE, Setup, Site};
use crate::handset::Order;

fn answer(status: u16, kind: &str, body: String) -> Option<Order> {
    let status = StatusCode::from_u16(status).expect("a status");
    Some(Order::Answer(
        status,
        vec![
            ("content-type", kind.to_owned()),
            ("retry-after", "7".to_owned()),
        ],
        body,
    ))
}

fn from_gateway(status: u16, slug: &str) -> Option<Order> {
    let body = json!({"type": format!("urn:everline:{slug}"), "title": "In the gateway's words", "status": status,
                      "request_id": "4bf92f3577b34da6"});
    answer(status, "application/problem+json", body.to_string())
}

#[tokio::test]
async fn r76_every_answer_of_the_gateway_itself_is_a_page() {
    let site = Site::start().await;
    let mut alice = site.alice().await;
    for (status, slug, shown, words) in [
        (503, "handset-offline", 503, "The handset is offline"),
        (504, "handset-silent", 504, "The handset does not answer"),
        (
            502,
            "handset-broke",
            502,
            "The connection to the handset broke",
        ),
        (504, "response-timeout", 504, "The handset took too long"),
        (429, "handset-busy", 429, "The handset is busy"),
        (429, "caller-limited", 503, "Too much is going on"),
        (503, "overloaded", 503, "Too much is going on"),
        (503, "draining", 503, "Too much is going on"),
        (
            404,
            "no-such-host",
            502,
            "The gateway does not know this handset",
        ),
        (
            400,
            "bad-request",
            502,
            "The gateway did not take the request",
        ),
        (
            405,
            "method-not-allowed",
            502,
            "The gateway did not take the request",
        ),
        (
            408,
            "request-timeout",
            502,
            "The gateway did not take the request",
        ),
        (
            431,
            "headers-too-large",
            502,
            "The gateway did not take the request",
        ),
        (413, "too-large", 413, "That is too large"),
        (
            503,
            "something-new",
            503,
            "Something went wrong in the handset",
        ),
    ] {
        site.handset.order(from_gateway(status, slug));
        let page = alice.get("/contacts").await;
        assert_eq!(page.status.as_u16(), shown, "{slug}");
        page.says(&[
            words,
            "Reference: ",
            "4bf92f3577b34da6",
            "Worth another try in 7 seconds.",
            "Try again",
        ]);
        assert_eq!(page.headers[header::RETRY_AFTER], "7");
        let page = site.browser().sign_in(&ALICE).await;
        assert_eq!(page.status.as_u16(), shown, "{slug} at the sign-in");
        page.says(&[words]);
    }
    site.handset.order(None);
    assert_eq!(
        alice.get("/contacts").await.status,
        StatusCode::OK,
        "no trouble ends a session"
    );
}

#[tokio::test]
async fn r76_what_the_handset_says_is_told_in_its_words() {
    let site = Site::start().await;
    let mut alice = site.alice().await;
    for (status, shown, words) in [
        (403, 403, "The handset&#39;s owner did not allow it"),
        (404, 404, "The handset does not have this"),
        (400, 400, "The handset did not take it"),
        (409, 409, "The handset did not take it"),
        (500, 502, "Something went wrong in the handset"),
        (501, 501, "Something went wrong in the handset"),
        (507, 507, "The handset is full"),
    ] {
        let said = json!({"type": "about:blank", "title": "Ay & <b>", "detail": "x".repeat(5_000), "status": status});
        site.handset.order(answer(
            status,
            "application/problem+json; charset=utf-8",
            said.to_string(),
        ));
        let page = alice.get("/contacts").await;
        assert_eq!(page.status.as_u16(), shown);
        page.says(&[&words.replace("&#39;", "'"), "Ay &amp; &lt;b&gt;: xxx"]);
        assert!(
            page.text.len() < 10_000,
            "what it says is cut to a decent length"
        );
        site.handset
            .order(answer(status, "text/html", "<h1>Oops</h1>".to_owned()));
        let page = alice.get("/contacts").await;
        assert_eq!(page.status.as_u16(), shown);
        assert!(!page.text.contains("Oops"));
    }
}

#[tokio::test]
async fn r76_a_password_that_is_no_longer_good_asks_for_a_new_sign_in() {
    let site = Site::start().await;
    let mut alice = site.alice().await;
    site.handset.order(answer(
        401,
        "application/problem+json",
        json!({"title": "Who?"}).to_string(),
    ));
    let page = alice.get("/contacts").await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    page.says(&[
        "You have been signed out",
        "name=\"next\" value=\"contacts\"",
    ]);
    site.handset.order(None);
    assert_eq!(alice.get("/contacts").await.status, StatusCode::SEE_OTHER);
    let inputs = page.form("/sign-in", &ALICE);
    assert_eq!(
        alice.post("/sign-in", &inputs).await.location(),
        "/contacts"
    );
    let inputs = alice
        .get("/contacts/add")
        .await
        .form("/contacts/add", &[("name", "Ada")]);
    site.handset.order(answer(401, "text/plain", String::new()));
    let reply = alice.post("/contacts/add", &inputs).await;
    let page = alice.get(reply.location()).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    page.says(&["You have been signed out"]);
}

#[tokio::test]
async fn r76_nonsense_is_told_as_such() {
    let site = Site::start().await;
    let mut alice = site.alice().await;
    let deep = "[".repeat(100_000);
    for body in [
        "",
        "<html>",
        "{}",
        "{\"contacts\":7}",
        "{\"contacts\":[{}]}",
        "{\"contacts\":[],\"next\":[1]}",
        &deep,
    ] {
        site.handset
            .order(answer(200, "application/json", body.to_owned()));
        let page = alice.get("/contacts").await;
        assert_eq!(page.status, StatusCode::BAD_GATEWAY, "{body:.40}");
        page.says(&["The handset's answer can't be read"]);
    }
    site.handset.order(answer(302, "text/plain", String::new()));
    assert_eq!(alice.get("/contacts").await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn r76_an_answer_over_the_limit_is_not_read() {
    let site = Site::configured("[limits]\nanswer_bytes_max = 2000").await;
    let mut alice = site.alice().await;
    site.handset.order(answer(
        200,
        "application/json",
        format!("{{\"contacts\":[{}]}}", " ".repeat(2_000)),
    ));
    let page = alice.get("/contacts").await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    page.says(&["The handset's answer is too large"]);
}

#[tokio::test]
async fn r76_a_handset_that_is_too_slow_leaves_the_outcome_open() {
    let site = Site::configured("[limits]\nhandset_timeout_ms = 200").await;
    let mut alice = site.alice().await;
    site.handset
        .order(Some(Order::WaitFor(Arc::new(Notify::new()))));
    let page = alice.get("/contacts").await;
    assert_eq!(page.status, StatusCode::GATEWAY_TIMEOUT);
    page.says(&["The handset took too long"]);
    let page = alice
        .act("/contacts/add", "/contacts/add", &[("name", "Ada")])
        .await;
    assert_eq!(page.status, StatusCode::GATEWAY_TIMEOUT);
    page.says(&[
        "It is not known whether the contact was added",
        "Look whether it was done",
    ]);
}

#[tokio::test]
async fn r76_a_gateway_that_is_away_is_not_blamed_on_the_handset() {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .expect("a free port");
    let nobody = listener.local_addr().expect("bound");
    drop(listener);
    let site = Site::with(Setup {
        gateway: Some(nobody),
        ..Setup::default()
    })
    .await;
    let page = site.browser().sign_in(&ALICE).await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    page.says(&[
        "The gateway can't be reached",
        "This is not about your handset.",
    ]);
}

#[tokio::test]
async fn r76_a_gateway_that_speaks_no_http_is_a_page_too() {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .expect("a free port");
    let odd = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail ready\r\n\r\n").await;
        }
    });
    let site = Site::with(Setup {
        gateway: Some(odd),
        ..Setup::default()
    })
    .await;
    let page = site.browser().sign_in(&ALICE).await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    page.says(&["The handset's answer can't be read"]);
}
