//! What other sites, odd contacts, huge forms and stubborn connections can't do.

use std::sync::Arc;

use http::{Method, StatusCode, header};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::browser::Site;
use crate::handset::Order;

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn a_form_without_this_visitors_token_does_nothing() {
    let site = Site::start().await;
    let id = site.handset.put("contacts", json!({"name": "Ada"}));
    let mut alice = site.alice().await;
    let mut other = site.alice().await;
    let page = format!("/contacts/delete?id={id}");
    let others = other.get(&page).await.form("/contacts/delete", &[]);
    site.handset.forget();
    let without = [("id".to_owned(), id.clone())];
    let garbled = [
        ("token".to_owned(), "AAAA".to_owned()),
        ("id".to_owned(), id.clone()),
    ];
    for inputs in [without.as_slice(), garbled.as_slice(), others.as_slice()] {
        let reply = alice.post("/contacts/delete", inputs).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
        reply.says(&["The form was not accepted", "Nothing was done."]);
        assert_eq!(
            alice.post("/contacts/add", inputs).await.status,
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            alice.post("/sign-out", inputs).await.status,
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            site.browser().post("/sign-in", inputs).await.status,
            StatusCode::FORBIDDEN
        );
    }
    for kind in ["text/plain", "application/json", ""] {
        let reply = alice
            .send(Method::POST, "/contacts/delete", kind, format!("id={id}"))
            .await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    assert_eq!(site.handset.seen().len(), 0);
    assert_eq!(
        alice.get("/contacts").await.status,
        StatusCode::OK,
        "still signed in"
    );
}

#[tokio::test]
async fn nothing_that_a_handset_holds_becomes_markup() {
    let site = Site::start().await;
    let evil = "\"><script>alert(1)</script>' onx='";
    let item = json!({
        "name": evil, "store": evil, "organization": evil, "note": evil,
        "phones": [{"type": evil, "number": "javascript:alert(1)"}, {"type": "cell", "number": evil}],
        "emails": [{"type": "home", "address": "javascript:alert(1)@x"}],
    });
    site.handset.put("contacts", item);
    site.handset
        .put("contacts", json!({"name": "\u{202e}desrever مرحبا"}));
    let mut alice = site.alice().await;
    let list = alice.get("/contacts").await;
    list.says(&[
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "<bdi>\u{202e}desrever مرحبا</bdi>",
        "href=\"tel:1\"",
    ]);
    let question = alice.get("/contacts/delete?id=1").await;
    let typed = [("name", evil), ("note", "</textarea><script>")];
    let added = alice.act("/contacts/add", "/contacts/add", &typed).await;
    let sign_in = site
        .browser()
        .sign_in(&[("msisdn", evil), ("user", evil)])
        .await;
    let nowhere = alice.get("/%3Cscript%3E").await;
    for page in [list, question, added, sign_in, nowhere] {
        assert!(!page.text.contains("<script"), "{}", page.text);
        assert!(!page.text.contains("href=\"javascript"), "{}", page.text);
        assert!(
            !page.text.contains("style="),
            "no inline style, which the policy would refuse"
        );
    }
}

#[tokio::test]
async fn an_id_can_be_anything_and_stays_one_segment() {
    let site = Site::start().await;
    let mut alice = site.alice().await;
    for (asked, target) in [
        ("a%2Fb", "/34600000001/contacts/a%2Fb"),
        (
            "..%2F..%2Fx%3Fy%23z",
            "/34600000001/contacts/..%2F..%2Fx%3Fy%23z",
        ),
        (
            "%F0%9F%93%9E%0d%0a",
            "/34600000001/contacts/%F0%9F%93%9E%0D%0A",
        ),
    ] {
        site.handset.forget();
        alice.get(&format!("/contacts/delete?id={asked}")).await;
        assert_eq!(site.handset.seen()[0].target, target);
    }
    site.handset.forget();
    for asked in ["", "..", "."] {
        let page = alice.get(&format!("/contacts/delete?id={asked}")).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{asked}");
    }
    assert_eq!(
        site.handset.seen().len(),
        0,
        "a dot segment names something else than an item"
    );
}

#[tokio::test]
async fn every_response_keeps_the_browser_strict() {
    let site = Site::start().await;
    let mut alice = site.alice().await;
    for target in ["/", "/contacts", "/nowhere", "/assets/icon.svg", "/healthz"] {
        let reply = alice.get(target).await;
        let policy = reply.headers[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .expect("text");
        assert!(
            policy.starts_with("default-src 'none';") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(reply.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(reply.headers[header::X_FRAME_OPTIONS], "DENY");
        assert_eq!(reply.headers[header::REFERRER_POLICY], "same-origin");
    }
    let page = alice.get("/contacts").await;
    assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
    let style = page
        .text
        .split("href=\"")
        .find(|part| part.starts_with("/assets/style-"))
        .expect("a style sheet");
    let style = alice.get(style.split('"').next().expect("a path")).await;
    assert_eq!(style.status, StatusCode::OK);
    assert!(
        style.headers[header::CACHE_CONTROL]
            .to_str()
            .expect("text")
            .contains("immutable")
    );
}

#[tokio::test]
async fn a_form_over_the_limit_is_refused() {
    let site = Site::configured("[limits]\nform_bytes_max = 1024").await;
    let mut alice = site.alice().await;
    let reply = alice
        .send(Method::POST, "/contacts/add", FORM, "x".repeat(2_000))
        .await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(site.handset.seen().len(), 0);
}

#[tokio::test]
async fn more_requests_than_it_can_answer_are_told_so_and_the_portal_stays_healthy() {
    let site = Site::configured("[limits]\nrequests_max = 1").await;
    let mut alice = site.alice().await;
    let told = Arc::new(Notify::new());
    site.handset.order(Some(Order::WaitFor(Arc::clone(&told))));
    let mut patient = alice.clone();
    let patient = tokio::spawn(async move { patient.get("/contacts").await });
    site.handset.saw(1).await;
    let page = alice.get("/").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(page.headers[header::RETRY_AFTER], "2");
    page.says(&["Too much is going on"]);
    assert_eq!(alice.get("/healthz").await.status, StatusCode::OK);
    told.notify_one();
    assert_eq!(patient.await.expect("answered").status, StatusCode::OK);
    assert_eq!(alice.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_head_or_a_form_that_does_not_come_is_not_waited_for() {
    let site = Site::configured("[limits]\nread_timeout_ms = 150").await;
    let form = format!(
        "POST /sign-in HTTP/1.1\r\nhost: x\r\ncontent-type: {FORM}\r\ncontent-length: 9\r\n\r\nmsi"
    );
    for (sent, status) in [
        ("GET / HTTP/1.1\r\nhost:", ""),
        (form.as_str(), "HTTP/1.1 408 "),
    ] {
        let mut stream = TcpStream::connect(site.address).await.expect("connected");
        stream.write_all(sent.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .await
            .expect("the portal closes");
        assert!(answer.starts_with(status), "{answer}");
    }
}

#[tokio::test]
async fn the_portal_ends_when_told_although_a_browser_stays_connected() {
    let site = Site::start().await;
    let mut stream = TcpStream::connect(site.address).await.expect("connected");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("sent");
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    site.stop.send(()).expect("running");
    site.served.await.expect("ends");
    assert!(
        TcpStream::connect(site.address).await.is_err(),
        "the door is shut"
    );
}
