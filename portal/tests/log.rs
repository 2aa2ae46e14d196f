//! The log never holds personal data: no whole number, no user, no password, no contact, no cookie.

use std::io;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use serde_json::json;
use tracing_subscriber::EnvFilter;

#[path = "support/browser.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod browser;
#[path = "support/handset.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod handset;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn r76_no_personal_data_is_logged() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info,everline_portal=trace"))
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let site = browser::Site::start().await;
    let mut alice = site.alice().await;
    let cookie = alice.cookies.values().next().expect("a cookie").clone();
    alice
        .act(
            "/contacts/add",
            "/contacts/add",
            &[
                ("name", "Ada Lovelace"),
                ("phones.0.number", "+34611222333"),
            ],
        )
        .await;
    alice.get("/contacts/delete?id=Ada").await;
    let said = json!({"title": "Ada", "detail": "Ada", "request_id": "f00d"}).to_string();
    let order = (
        StatusCode::FORBIDDEN,
        vec![("content-type", "application/problem+json".to_owned())],
        said,
    );
    site.handset
        .order(Some(handset::Order::Answer(order.0, order.1, order.2)));
    alice.get("/contacts?after=Ada").await;
    alice.get("/34600000001/contacts").await;
    alice.post("/contacts/delete", &[]).await;
    let text = String::from_utf8(log.0.lock().expect("whole").clone()).expect("UTF-8");
    for told in [
        "34…0001",
        "trouble=\"denied\"",
        "f00d",
        "page=\"/{resource}/add\"",
        "without this visitor's token",
    ] {
        assert!(text.contains(told), "{told} is not in: {text}");
    }
    for secret in [
        "600000001",
        "alice",
        "YWxpY2U",
        "wonderland",
        "Ada",
        "611222333",
        cookie.as_str(),
    ] {
        assert!(!text.contains(secret), "{secret} is in: {text}");
    }
}
