//! How far one request reaches: not past the owner, not to what is another user's, not into the next request (R13, R49, R51).

mod support;

use serde_json::{Value, json};
use support::inside::Inside;
use support::owner::{Asking, user};
use support::{Channel, soon};
use tokio::io::AsyncBufReadExt;

/// A message with one attachment.
const EMAIL: &str = "From: ada@example.com\r\nTo: me@example.com\r\nSubject: Tea\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nAt five?\r\n\
    --b\r\nContent-Type: text/csv; name=\"a.csv\"\r\nContent-Disposition: attachment; filename=\"a.csv\"\r\n\r\nsecret\r\n--b--\r\n";

const GIF: &str = "GIF89a\u{3}\0\u{2}\0\0\0\0;";

#[tokio::test]
async fn r51_r61_every_way_to_an_item_asks_for_it() {
    let config = "[[user]]\nname = \"bob\"\npassword = \"correct horse\"\n[builtin]\ndatabase = \"handset.db\"\n\
        [[grant]]\nuser = \"bob\"\nactions = [\"add\"]\n\
        [[grant]]\nuser = \"bob\"\nactions = [\"get\", \"delete\"]\naccess = \"permanently-denied\"\n";
    let handset = Inside::start(config).await;
    let bob = user("bob").replace("Content-Type: application/json\r\n", "");
    for (path, media_type, body) in [
        ("/images", "image/gif", GIF),
        ("/emails", "message/rfc822", EMAIL),
    ] {
        let headers = format!("{bob}Content-Type: {media_type}\r\n");
        let added = handset.send(&format!("POST {path}"), &headers, body).await;
        assert_eq!(added.status, 201, "{}", added.body);
    }
    let ways = [
        "/images/1",
        "/images/1/content",
        "/images/1/thumbnail",
        "/emails/1",
        "/emails/1/parts/1",
    ];
    for way in ways {
        // There or not, in any part or form, known already or not: the answer is the same.
        let absent = way.replace("/1", "/7");
        for path in [way, &absent] {
            for more in [
                "",
                "Accept: image/*, message/rfc822\r\n",
                "Range: bytes=0-3\r\n",
                "If-None-Match: *\r\n",
            ] {
                let headers = format!("{bob}{more}");
                let told = handset.send(&format!("GET {path}"), &headers, "").await;
                assert_eq!(
                    (told.status, told.header("etag"), told.header("location")),
                    (403, "", ""),
                    "{path} {more}"
                );
                assert_eq!(told.json()["type"], "urn:everline:agent:denied", "{path}");
            }
            let mut channel = handset.begin(&format!("HEAD {path}"), &bob, "").await;
            assert_eq!(channel.head().await.status, 403, "HEAD {path}");
        }
    }
    let delete = handset
        .send("DELETE /images/1", &format!("{bob}If-Match: \"x\"\r\n"), "")
        .await;
    assert_eq!(
        delete.status, 403,
        "whether it is another one now is not told"
    );
}

/// The events of one listener.
struct Listener(Channel);

impl Listener {
    async fn of(handset: &mut Asking, name: &str) -> Self {
        let mut listener = Self(handset.begin(name, "GET /events", "").await);
        listener.line("retry: ").await;
        listener
    }

    /// What follows `begins` on the next line that begins so.
    async fn line(&mut self, begins: &str) -> String {
        soon(begins, async {
            loop {
                let mut line = String::new();
                let read = self.0.stream.read_line(&mut line).await.unwrap();
                assert_ne!(read, 0, "the stream ended");
                if let Some(rest) = line.strip_prefix(begins) {
                    return rest.trim_end().to_owned();
                }
            }
        })
        .await
    }

    async fn answer(&mut self) -> Value {
        self.line("event: answer").await;
        serde_json::from_str(&self.line("data: ").await).unwrap()
    }
}

#[tokio::test]
async fn r49_r64_what_the_owner_answered_is_told_to_the_user_alone_who_was_asked_about() {
    let mut handset = Asking::start("").await;
    for name in ["alice", "bob"] {
        handset.owner.permit(name, "events", "get").await;
    }
    let mut alices = Listener::of(&mut handset, "alice").await;
    let mut bobs = Listener::of(&mut handset, "bob").await;
    let (mut of_alice, prompt) = handset.note("alice", "one").await;
    handset
        .owner
        .answer(&prompt, json!({"answer": "once"}))
        .await;
    assert_eq!(of_alice.answer().await.status, 201);
    let (mut of_bob, prompt) = handset.note("bob", "two").await;
    handset
        .owner
        .answer(&prompt, json!({"answer": "never"}))
        .await;
    assert_eq!(of_bob.answer().await.status, 403);
    let answer = |decision| json!({"resource": "notes", "action": "add", "answer": decision});
    assert_eq!(alices.answer().await, answer("allowed"));
    assert_eq!(
        bobs.answer().await,
        answer("denied"),
        "and not what alice was told"
    );
}

#[tokio::test]
async fn r49_a_key_and_a_task_are_their_users_own() {
    let mut handset = Asking::start("").await;
    for name in ["alice", "bob"] {
        handset.owner.permit(name, "notes", "*").await;
    }
    let mut ids = Vec::new();
    for name in ["alice", "bob", "alice"] {
        let headers = format!("{}Idempotency-Key: same\r\n", user(name));
        let (gateway, signaling) = (&handset.gateway, &mut handset.signaling);
        let added = gateway
            .send(signaling, "POST /notes", &headers, r#"{"title": "same"}"#)
            .await;
        assert_eq!(added.status, 201, "{}", added.body);
        ids.push(added.header("location").to_owned());
    }
    assert_eq!(ids, ["/notes/1", "/notes/2", "/notes/1"]);
}

#[tokio::test]
async fn r13_each_request_stands_alone_with_no_session_and_no_layer_above_http() {
    let mut handset = Asking::start_with("linger_s = 60\n", "").await;
    handset.owner.permit("alice", "contacts", "*").await;
    let get = |headers: &str| format!("GET /contacts HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
    // One channel, which is kept: that alice spoke on it makes nobody else alice.
    let mut channel = handset
        .begin("alice", "POST /contacts", r#"{"name": "Ada"}"#)
        .await;
    let added = channel.answer().await;
    assert_eq!((added.status, added.headers("set-cookie").len()), (201, 0));
    for (headers, status) in [
        (user("alice"), 200),
        (String::new(), 401),
        (
            "Cookie: user=alice; session=1; everline_owner=x\r\n".to_owned(),
            401,
        ),
        (user("alice"), 200),
    ] {
        channel.send(get(&headers).as_bytes()).await;
        let told = channel.answer().await;
        assert_eq!(told.status, status, "{headers}");
        assert_eq!(told.headers("set-cookie"), Vec::<&str>::new());
    }
    // An envelope is no contact, whatever action a header of its own names.
    let envelope = "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Body><contact><name>B</name>\
        </contact></s:Body></s:Envelope>";
    for (media_type, status) in [("application/soap+xml", 415), ("text/xml", 400)] {
        let headers = user("alice").replace("application/json", media_type);
        let headers = format!(
            "{headers}SOAPAction: \"add\"\r\nContent-Length: {}\r\n",
            envelope.len()
        );
        let request = format!("POST /contacts HTTP/1.1\r\nHost: h\r\n{headers}\r\n{envelope}");
        channel.send(request.as_bytes()).await;
        assert_eq!(channel.answer().await.status, status, "{media_type}");
    }
    channel.send(get(&user("alice")).as_bytes()).await;
    let list = channel.answer().await.json();
    assert_eq!(list["contacts"].as_array().unwrap().len(), 1, "{list}");
}

#[tokio::test]
async fn r57_r65_what_is_only_read_takes_a_use_too() {
    let mut handset = Asking::start("").await;
    for (action, kind, path, times) in [
        ("list", "number-of-times", "/contacts", 2),
        ("get", "one-time", "/state/battery", 1),
    ] {
        let resource = path.rsplit('/').next();
        let mut entry =
            json!({"user": "alice", "resource": resource, "action": action, "kind": kind});
        if kind == "number-of-times" {
            entry["times"] = times.into();
        }
        handset.owner.put(entry).await;
        let start = format!("GET {path}");
        for _ in 0..times {
            assert_eq!(
                handset.send("alice", &start, "").await.status,
                200,
                "{path}"
            );
        }
        assert_eq!(handset.owner.access().await, Vec::<Value>::new(), "{path}");
        let mut beyond = handset.begin("alice", &start, "").await;
        let prompt = handset.owner.prompt("alice", "").await;
        assert_eq!(prompt["resource"].as_str(), resource);
        handset
            .owner
            .answer(&prompt, json!({"answer": "not-now"}))
            .await;
        assert_eq!(beyond.answer().await.status, 403);
    }
}
