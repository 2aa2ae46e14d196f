//! `GET /events` while the owner decides anew: who may listen no more hears no more, at once (R49, R59, R66).

mod support;

use serde_json::{Value, json};
use support::owner::Asking;
use support::{Channel, soon};
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

/// One who listens, behind the head of the answer.
struct Listener(Channel);

impl Listener {
    async fn of(handset: &mut Asking, user: &str) -> Self {
        let mut channel = handset.begin(user, "GET /events", "").await;
        let head = channel.head().await;
        assert_eq!(head.status, 200, "{head:?}");
        let mut listener = Self(channel);
        listener.until("retry: 3000").await;
        listener
    }

    /// The lines up to this one.
    async fn until(&mut self, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        soon(last, async {
            while lines.last().is_none_or(|line| line != last) {
                let mut line = String::new();
                let read = self.0.stream.read_line(&mut line).await.unwrap();
                assert_ne!(read, 0, "it ended: {lines:?}");
                lines.push(line.trim_end().to_owned());
            }
        })
        .await;
        lines
    }

    /// Reads to the end of the stream, which has to come; the agent is not ending.
    async fn ends(mut self, why: &str) {
        let mut rest = String::new();
        let read = self.0.stream.read_to_string(&mut rest);
        soon(why, read).await.unwrap();
        assert!(
            rest.ends_with("0\r\n\r\n"),
            "{why}: it ends in order: {rest:?}"
        );
    }
}

async fn mode(handset: &Asking, mode: &str) {
    let mode = json!({"mode": mode});
    let set = handset
        .owner
        .call("PUT", "/api/simulated/mode", &mode)
        .await;
    assert_eq!(set.status, 204);
}

#[tokio::test]
async fn r66_a_stream_ends_when_the_owner_takes_its_permission_back() {
    let mut handset = Asking::start("").await;
    let entry =
        json!({"user": "alice", "resource": "events", "action": "get", "kind": "unlimited"});
    let other = json!({"user": "alice", "resource": "notes", "action": "get", "kind": "unlimited"});
    let entry = handset.owner.put(entry).await;
    let path = format!("/api/access/{}", entry["id"].as_str().unwrap());
    let mut listener = Listener::of(&mut handset, "alice").await;
    // What is decided about something else, or counted, changes nothing.
    handset.owner.put(other).await;
    mode(&handset, "silent").await;
    listener.until("data: {\"mode\":\"silent\"}").await;
    let gone = handset.owner.call("DELETE", &path, &Value::Null).await;
    assert_eq!(gone.status, 204);
    listener.ends("its entry is deleted").await;

    handset.owner.permit("alice", "*", "*").await;
    let listener = Listener::of(&mut handset, "alice").await;
    let never =
        json!({"user": "alice", "resource": "events", "action": "*", "kind": "permanently-denied"});
    let never = handset.owner.put(never).await;
    listener.ends("it is denied for good").await;
    let path = format!("/api/access/{}", never["id"].as_str().unwrap());
    handset.owner.call("DELETE", &path, &Value::Null).await;

    let soon_over = json!({"user": "alice", "resource": "events", "action": "get", "kind": "temporary", "seconds": 1});
    handset.owner.put(soon_over).await;
    Listener::of(&mut handset, "alice")
        .await
        .ends("its time is over")
        .await;
}

#[tokio::test]
async fn r49_r55_a_stream_that_was_permitted_once_ends_with_its_user() {
    let mut handset = Asking::start("").await;
    let off = json!({"disabled": true});
    for (method, path, body) in [
        ("PUT", "/api/users/alice/disabled", &off),
        ("DELETE", "/api/users/bob", &Value::Null),
    ] {
        let user = if path.contains("alice") {
            "alice"
        } else {
            "bob"
        };
        let mut channel = handset.begin(user, "GET /events", "").await;
        let prompt = handset.owner.prompt(user, "").await;
        handset
            .owner
            .answer(&prompt, json!({"answer": "once"}))
            .await;
        assert_eq!(channel.head().await.status, 200);
        let mut listener = Listener(channel);
        // It goes on though no entry stands for it, and entries come and go.
        handset.owner.permit(user, "notes", "list").await;
        mode(&handset, if user == "alice" { "silent" } else { "vibrate" }).await;
        listener.until("event: mode").await;
        assert_eq!(handset.owner.call(method, path, body).await.status, 204);
        listener.ends(path).await;
    }
}

#[tokio::test]
async fn r59_of_what_the_owner_denied_for_good_a_listener_hears_nothing() {
    let mut handset = Asking::start("").await;
    for user in ["alice", "bob"] {
        handset.owner.permit(user, "events", "get").await;
    }
    for resource in ["sms", "coverage"] {
        let never = json!({"user": "alice", "resource": resource, "action": "get", "kind": "permanently-denied"});
        handset.owner.put(never).await;
    }
    let mut alices = Listener::of(&mut handset, "alice").await;
    let mut bobs = Listener::of(&mut handset, "bob").await;
    let sms = json!({"from": "600111222", "text": "secret"});
    let came = handset.owner.call("POST", "/api/simulated/sms", &sms).await;
    assert!(came.status < 300, "{came:?}");
    let off = json!({"covered": false});
    handset
        .owner
        .call("PUT", "/api/simulated/coverage", &off)
        .await;
    bobs.until("event: sms").await;
    bobs.until("event: coverage").await;
    mode(&handset, "silent").await;
    let heard = alices.until("data: {\"mode\":\"silent\"}").await.join("\n");
    assert!(
        !heard.contains("sms") && !heard.contains("coverage"),
        "{heard}"
    );
    // While alice listens, the owner says the same of the mode.
    let never =
        json!({"user": "alice", "resource": "mode", "action": "*", "kind": "permanently-denied"});
    handset.owner.put(never).await;
    mode(&handset, "vibrate").await;
    bobs.until("data: {\"mode\":\"vibrate\"}").await;
    handset
        .owner
        .call("PUT", "/api/simulated/battery", &json!({"percent": 7}))
        .await;
    let heard = alices.until("event: battery").await.join("\n");
    assert!(!heard.contains("vibrate"), "{heard}");
}

#[tokio::test]
async fn r52_who_waits_for_the_owner_keeps_nobody_from_listening() {
    use everline_agent::serve::builtin::events::stream::LISTENERS_MAX;
    let mut handset = Asking::start("").await;
    handset.owner.permit("bob", "events", "get").await;
    // Her password is known from here on: so many at once would wait for its hash otherwise.
    assert_eq!(handset.send("alice", "GET /", "").await.status, 200);
    let mut waiting = Vec::new();
    for _ in 0..LISTENERS_MAX {
        waiting.push(handset.begin("alice", "GET /events", "").await);
    }
    handset.owner.waiting(LISTENERS_MAX as u64).await;
    Listener::of(&mut handset, "bob").await;
}
