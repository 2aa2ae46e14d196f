//! A handset that takes what other software wrote, and the files with that.

use serde_json::Value;

use super::{Answer, handset};

pub(crate) const CALENDAR: &str = "Content-Type: text/calendar; charset=utf-8\r\n";

pub(crate) const CARDS: &[&str] = &[
    "android-2.1.vcf",
    "android-3.0.vcf",
    "ios-3.0.vcf",
    "outlook-2.1.vcf",
    "thunderbird-4.0.vcf",
    "older-3.0.vcf",
];

pub(crate) const ENTRIES: &[&str] = &["google.ics", "apple.ics", "outlook.ics", "thunderbird.ics"];

/// [`handset::Handset`], in the words of these tests.
pub(crate) struct Handset(handset::Handset);

impl Handset {
    pub(crate) async fn start() -> Self {
        Self(handset::Handset::start().await)
    }

    /// Adds an item; gives its URL and what the handset says of it.
    pub(crate) async fn add(&mut self, path: &str, headers: &str, body: &str) -> (String, Value) {
        let start = format!("POST {path}");
        let added = self.0.send(&start, headers, body).await;
        assert_eq!(added.status, 201, "{}\n{body}", added.body);
        (added.header("location").to_owned(), added.json())
    }

    pub(crate) async fn refused(&mut self, path: &str, headers: &str, body: &str) -> String {
        let start = format!("POST {path}");
        let refused = self.0.send(&start, headers, body).await;
        assert_eq!(refused.status, 400, "{}\n{body}", refused.body);
        refused.json()["detail"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn get(&mut self, path: &str, accept: &str) -> Answer {
        let accept = format!("Accept: {accept}\r\n");
        let answer = self.0.get(path, &accept).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer
    }
}

pub(crate) fn file(name: &str) -> String {
    let path = format!("{}/tests/foreign/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}
