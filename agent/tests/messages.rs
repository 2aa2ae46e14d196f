//! Emails and multimedia messages of other programs go in, and come out byte for byte: R25, R26.
//!
//! The files in `messages/` are written as Thunderbird, iOS, Gmail, Outlook and a message centre write them.

mod support;

use serde_json::{Value, json};
use support::{Agent, Answer, Gateway, Signaling};

const OPEN: &str =
    "authentication = \"none\"\n[builtin]\ndatabase = \"handset.db\"\n[consent]\nenabled = false\n";

struct Handset {
    gateway: Gateway,
    _agent: Agent,
    signaling: Signaling,
}

impl Handset {
    async fn start() -> Self {
        let gateway = Gateway::start().await;
        let agent = Agent::start(&[&gateway], OPEN);
        let signaling = gateway.registered().await;
        Self {
            gateway,
            _agent: agent,
            signaling,
        }
    }

    async fn post(&mut self, path: &str, media_type: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.signaling.signal().await;
        let (mut channel, _) = self.gateway.channel().await;
        channel.send(head.as_bytes()).await;
        channel.send(body).await;
        channel.answer().await
    }

    async fn get(&mut self, path: &str, headers: &str) -> Answer {
        self.gateway.get(&mut self.signaling, path, headers).await
    }

    /// Adds a message as it is, and sees it come out the same. Gives its URL and its fields.
    async fn kept(&mut self, path: &str, file: &[u8]) -> (String, Value) {
        let added = self.post(path, "message/rfc822", file).await;
        assert_eq!(added.status, 201, "{}", added.body);
        let url = added.header("location").to_owned();
        let again = self.get(&url, "Accept: message/rfc822\r\n").await;
        assert_eq!(again.status, 200, "{}", again.body);
        assert_eq!(again.header("content-type"), "message/rfc822");
        assert!(again.bytes == file, "{url} came out changed");
        (url, added.json())
    }

    async fn part(&mut self, url: &str, number: u32) -> Answer {
        let part = self.get(&format!("{url}/parts/{number}"), "").await;
        assert_eq!(part.status, 200, "{url} {number}: {}", part.body);
        part
    }
}

fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/messages/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Holds each of these fields against the item; others may be there.
fn says(item: &Value, fields: &Value) {
    for (name, value) in fields.as_object().unwrap() {
        assert_eq!(&item[name], value, "{name}");
    }
}

#[tokio::test]
async fn r26_an_email_from_thunderbird_is_kept_and_read() {
    let mut handset = Handset::start().await;
    let (url, item) = handset.kept("/emails", &file("thunderbird.eml")).await;
    says(
        &item,
        &json!({
            "direction": "out", "state": "stored",
            "from": "Züleiha Öztürk <zuleiha@example.org>",
            "to": ["Jürgen Müller <juergen@example.net>", "Team, intern <team@example.net>"],
            "cc": ["Ada <ada@example.com>"],
            "bcc": [],
            "subject": "Größe und Gewicht: die neue Übersicht für Köln",
            "at": "2026-11-21T18:04:09+01:00",
            "text": "Hallo zusammen,\n\nanbei die Übersicht: 5 € pro Stück, ab Montag. \nViele Grüße\n-- \nZüleiha",
            "message_id": "4b8fd1a2-7a53-11ef-9a01-0242ac120002@example.org",
            "attachments": [{"type": "application/pdf", "name": "Übersicht für Köln.pdf"}],
        }),
    );
    let part = handset.part(&url, 1).await;
    assert!(part.bytes == file("plan.pdf"));
    assert_eq!(part.header("content-type"), "application/pdf");
    assert_eq!(
        part.header("content-disposition"),
        "inline; filename=\"_bersicht f_r K_ln.pdf\"; filename*=UTF-8''%C3%9Cbersicht%20f%C3%BCr%20K%C3%B6ln.pdf"
    );
    assert_eq!(part.header("x-content-type-options"), "nosniff");
    assert!(part.header("content-security-policy").contains("sandbox"));
}

#[tokio::test]
async fn r26_an_email_from_ios_is_kept_and_read() {
    let mut handset = Handset::start().await;
    let (url, item) = handset.kept("/emails", &file("ios.eml")).await;
    says(
        &item,
        &json!({
            "direction": "in", "state": "read",
            "from": "Marie-Hélène Lefèvre <marie@example.fr>",
            "to": ["ada@example.com"],
            "subject": "Été à la plage",
            "at": "2026-11-20T08:15:41+01:00",
            "text": "Voilà la photo d’hier, prise juste avant la pluie. On y retourne demain 🏖️\n\nSent from my iPhone",
            "attachments": [{"type": "image/png", "name": "IMG_0042.png"}],
        }),
    );
    let part = handset.part(&url, 1).await;
    assert!(part.bytes == file("dot.png"));
    assert_eq!(part.header("content-type"), "image/png");
}

#[tokio::test]
async fn r26_an_email_from_gmail_is_kept_and_read() {
    let mut handset = Handset::start().await;
    let (url, item) = handset.kept("/emails", &file("gmail.eml")).await;
    says(
        &item,
        &json!({
            "direction": "in",
            "from": "佐藤 健二 <kenji@example.jp>",
            "to": ["Ada Lovelace <ada@example.com>"],
            "cc": [],
            "subject": "Re: 来週の予定 🎉",
            "at": "2026-11-20T15:01:20+09:00",
            "text": "Let's meet on *Tuesday* — 10:00 at Café Éclair, café opens at 9.",
            "attachments": [
                {"type": "application/pdf", "name": "plan (1).pdf"},
                {"type": "text/csv", "name": "übersicht.csv"},
            ],
        }),
    );
    assert!(handset.part(&url, 1).await.bytes == file("plan.pdf"));
    // A text keeps the character set that it was written in, and says so.
    let csv = handset.part(&url, 2).await;
    assert_eq!(csv.bytes, b"Gr\xf6\xdfe;Preis\r\n1;5\r\n");
    assert_eq!(csv.header("content-type"), "text/csv; charset=iso-8859-1");
}

#[tokio::test]
async fn r26_an_email_from_outlook_is_kept_and_read() {
    let mut handset = Handset::start().await;
    let (url, item) = handset.kept("/emails", &file("outlook.eml")).await;
    says(
        &item,
        &json!({
            "from": "Lovelace, Ada <ada@example.com>",
            "to": ["O'Brien, \"Mac\" <mac@example.com>"],
            "subject": "会議の議事録",
            "text": "Dear Ada,\n\nthe minutes – “final” – are attached… 50 € each.",
            "attachments": [
                {"type": "image/png", "name": "image001.png"},
                {"type": "message/rfc822", "name": "The engine"},
            ],
        }),
    );
    assert!(handset.part(&url, 1).await.bytes == file("dot.png"));
    let inner = handset.part(&url, 2).await;
    assert_eq!(inner.header("content-type"), "message/rfc822");
    assert!(
        inner
            .body
            .starts_with("From: Charles <charles@example.com>\r\n")
    );
    assert!(
        inner.body.trim_end().ends_with("\r\n\r\nIt works."),
        "{}",
        inner.body
    );
    // An attached message is a message itself.
    let (_, inner) = handset.kept("/emails", &inner.bytes).await;
    says(
        &inner,
        &json!({"subject": "The engine", "text": "It works."}),
    );
}

#[tokio::test]
async fn r26_a_message_without_mime_is_kept_and_read() {
    let mut handset = Handset::start().await;
    let (url, item) = handset.kept("/emails", &file("plain.eml")).await;
    says(
        &item,
        &json!({
            "subject": "backup done",
            "at": "2026-11-16T10:00:00Z",
            "text": "42 files, 0 errors.\n>From here on nothing is left to do.",
            "attachments": [],
        }),
    );
    for part in ["0", "1", "01", "-1", "x", "99999999999999999999"] {
        let none = handset.get(&format!("{url}/parts/{part}"), "").await;
        assert_eq!(none.status, 404, "{part}");
        assert_eq!(none.json()["type"], "urn:everline:agent:not-found");
    }
}

#[tokio::test]
async fn r25_a_multimedia_message_is_kept_and_read() {
    let mut handset = Handset::start().await;
    let (url, item) = handset.kept("/mms", &file("mms.eml")).await;
    says(
        &item,
        &json!({
            "from": "+34600123456",
            "to": ["+34600000001"],
            "subject": "Mira esto ¡ya!",
            "text": "¡Mañana más!",
            "at": "2026-11-23T08:15:00Z",
            "message_id": "20261123-0815@mmsc.example.net",
            "attachments": [
                {"type": "application/smil", "name": "smil"},
                {"type": "image/png", "name": "dot.png"},
                {"type": "text/plain", "name": "text_0.txt"},
            ],
        }),
    );
    assert!(handset.part(&url, 2).await.bytes == file("dot.png"));
    let text = handset.part(&url, 3).await;
    assert_eq!(
        (text.header("content-type"), &*text.body),
        ("text/plain; charset=utf-8", "¡Mañana más!")
    );
    let range = handset
        .get(&format!("{url}/parts/2"), "Range: bytes=1-3\r\n")
        .await;
    assert_eq!((range.status, &range.bytes[..]), (206, &b"PNG"[..]));
    // The message itself goes in any part, too.
    let accept = "Accept: message/rfc822\r\n";
    let range = format!("{accept}Range: bytes=2-12\r\n");
    let range = handset.get(&url, &range).await;
    assert_eq!((range.status, &*range.body), (206, "Mms-Message"));
    let known = format!("{accept}If-None-Match: {}\r\n", range.header("etag"));
    assert_eq!(handset.get(&url, &known).await.status, 304);
    // In XML it is the same.
    let xml = handset.get(&url, "Accept: application/xml\r\n").await;
    assert!(
        xml.body.contains("<text>¡Mañana más!</text>"),
        "{}",
        xml.body
    );
    assert!(
        xml.body
            .contains("<attachment type=\"image/png\">dot.png</attachment>"),
        "{}",
        xml.body
    );
    // What was deleted has no parts.
    let request = format!("DELETE {url} HTTP/1.1\r\nHost: h\r\n\r\n");
    let gone = handset
        .gateway
        .request(&mut handset.signaling, &request)
        .await;
    assert_eq!(gone.status, 204);
    assert_eq!(handset.get(&format!("{url}/parts/2"), "").await.status, 404);
}

#[tokio::test]
async fn r26_an_email_in_json_comes_out_as_a_message_that_says_the_same() {
    let mut handset = Handset::start().await;
    let sent = json!({
        "from": "Zoë \"Z\" Ørsted <zoe@example.org>",
        "to": ["Ada Lovelace <ada@example.com>", "bob@example.com"],
        "cc": ["佐藤 <sato@example.jp>"],
        "subject": format!("Żółć: {}", "a long subject that has to be folded 🎈 ".repeat(6)),
        "at": "2026-11-23T12:00:00Z",
        "text": format!("Dear Ada,\n\n.a dot, a = sign, a tab\tand a line of {}\nFrom Zoë", "x".repeat(1_200)),
    });
    let added = handset
        .post("/emails", "application/json", sent.to_string().as_bytes())
        .await;
    assert_eq!(added.status, 201, "{}", added.body);
    let url = added.header("location").to_owned();
    let message = handset.get(&url, "Accept: message/rfc822\r\n").await;
    assert!(
        message
            .body
            .lines()
            .all(|line| line.len() <= 998 && line.is_ascii()),
        "{}",
        message.body
    );
    assert_eq!(
        message.body.matches('\n').count(),
        message.body.matches("\r\n").count()
    );
    let again = handset.get(&url, "Accept: message/rfc822\r\n").await;
    assert_eq!(again.body, message.body, "the same each time");
    let (_, item) = handset.kept("/emails", &message.bytes).await;
    let mut sent = sent;
    let subject = sent["subject"].as_str().unwrap().trim().to_owned();
    sent["subject"] = json!(subject);
    says(&item, &sent);
}

#[tokio::test]
async fn r26_what_is_no_message_is_refused_and_says_why() {
    let mut handset = Handset::start().await;
    for body in ["", "hello", "X-Foo: bar\r\n\r\nbaz", "\0\0\0\0"] {
        let refused = handset
            .post("/emails", "message/rfc822", body.as_bytes())
            .await;
        assert_eq!(refused.status, 400, "{body:?}");
        assert!(
            refused.json()["detail"]
                .as_str()
                .unwrap()
                .contains("RFC 5322"),
            "{}",
            refused.body
        );
    }
}
