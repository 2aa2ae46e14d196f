//! Between the web server and every manager stands the notifier: nothing is done that it did not permit (R51, R63, R64).

mod support;

use everline_agent::serve::builtin::resource::{self, Action, Manager, Resource};
use serde_json::{Value, json};
use support::Answer;
use support::owner::{Asking, user};

/// The smallest picture there is: a GIF of one pixel.
const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// A WAV file that plays nothing.
const WAV: &[u8] =
    b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\0\0\0\0";

/// The first box of an MP4 file.
const MP4: &[u8] = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2\0\0\0\x08mdat";

/// Something that can be added to the resource, or executed; its type, and the bytes.
fn body(resource: &Resource) -> (&'static str, Vec<u8>) {
    let json = |json: Value| ("application/json", json.to_string().into_bytes());
    match resource.name {
        "contacts" => json(json!({"name": "Ada"})),
        "notes" => json(json!({"title": "Shopping"})),
        "calendar" => json(json!({"title": "Lunch", "begins": "2026-11-23T12:00:00Z"})),
        "images" => ("image/gif", GIF.to_vec()),
        "sounds" => ("audio/wav", WAV.to_vec()),
        "videos" => ("video/mp4", MP4.to_vec()),
        "sms" => json(json!({"number": "+34600123456", "text": "Hi"})),
        "mms" => json(json!({"from": "+34600123456", "text": "Hi"})),
        "emails" => json(json!({"from": "a@example.com", "text": "Hi"})),
        "call" => json(json!({"number": "+34600123456"})),
        "divert" => json(json!({"reason": "busy", "to": "+34600123456"})),
        "send-sms" => json(json!({"number": "+34600123456", "text": "Hi"})),
        "send-mms" => json(json!({"to": ["+34600123456"], "text": "Hi"})),
        "send-email" => json(json!({"to": ["a@example.com"], "text": "Hi"})),
        "photograph" | "record-video" => json(json!({})),
        other => panic!("what could be added to {other}?"),
    }
}

/// The request that asks for this, and how often each resource is to be asked.
fn request(resource: &Resource, action: Action) -> Vec<u8> {
    let path = resource.path();
    let (method, url) = match action {
        Action::List => ("GET", format!("/{path}")),
        Action::Get if resource.manager == Manager::PersonalData && resource.is_collection() => {
            ("GET", format!("/{path}/1"))
        }
        Action::Get => ("GET", format!("/{path}")),
        Action::Add | Action::Execute => ("POST", format!("/{path}")),
        Action::Delete if resource.manager == Manager::Service => {
            ("DELETE", format!("/{path}?reason=busy"))
        }
        Action::Delete => ("DELETE", format!("/{path}/1")),
        Action::DeleteAll => ("DELETE", format!("/{path}")),
    };
    let (kind, body) = match method {
        "POST" => body(resource),
        _ => ("application/json", Vec::new()),
    };
    let headers = user("alice").replace("application/json", kind);
    let head = format!(
        "{method} {url} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

async fn send(handset: &mut Asking, request: &[u8]) -> Answer {
    handset.signaling.signal().await;
    let (mut channel, _) = handset.gateway.channel().await;
    channel.send(request).await;
    channel.answer().await
}

#[tokio::test]
async fn r51_r61_r64_what_is_denied_is_denied_by_every_manager() {
    let mut handset = Asking::start("").await;
    let deny =
        json!({"user": "alice", "resource": "*", "action": "*", "kind": "permanently-denied"});
    handset.owner.put(deny).await;
    let mut acts = 0;
    for resource in resource::ALL {
        for action in resource.actions {
            let answer = send(&mut handset, &request(resource, *action)).await;
            let told = format!("{} {}: {answer:?}", resource.name, action.name());
            assert_eq!(answer.status, 403, "{told}");
            assert_eq!(answer.json()["type"], "urn:everline:agent:denied", "{told}");
            acts += 1;
        }
    }
    // Each was looked up under its own name, and nothing else was.
    let audit = handset.owner.get("/api/audit?user=alice&limit=1000").await;
    let lines = audit["audit"].as_array().unwrap();
    let mut told: Vec<_> = lines
        .iter()
        .map(|line| (line["resource"].to_string(), line["action"].to_string()))
        .collect();
    told.sort();
    told.dedup();
    assert_eq!((told.len(), lines.len()), (acts, acts), "{told:?}");
    assert!(
        lines
            .iter()
            .all(|line| line["by"] == "list" && line["decision"] == "denied")
    );
}

#[tokio::test]
async fn r53_the_owner_is_shown_the_content_of_what_is_sent() {
    let mut handset = Asking::start("").await;
    let cases = [
        (
            "/services/send-sms",
            json!({"number": "+34600123456", "text": "See you at 8"}),
            "send an SMS",
            "See you at 8",
        ),
        (
            "/services/send-email",
            json!({"to": ["a@example.com"], "subject": "Lunch"}),
            "send an email",
            "a@example.com",
        ),
        (
            "/services/call",
            json!({"number": "+34600123456"}),
            "make a call",
            "+34600123456",
        ),
        (
            "/services/divert",
            json!({"reason": "busy", "to": "+34600123456"}),
            "divert incoming calls",
            "busy",
        ),
        (
            "/contacts",
            json!({"name": "Ada Lovelace", "phones": [{"number": "1815"}]}),
            "add a contact",
            "Ada Lovelace",
        ),
    ];
    for (path, body, says, shown) in cases {
        let mut waiting = handset
            .begin("alice", &format!("POST {path}"), &body.to_string())
            .await;
        let prompt = handset.owner.prompt("alice", shown).await;
        assert_eq!(prompt["says"], says);
        handset
            .owner
            .answer(&prompt, json!({"answer": "not-now"}))
            .await;
        assert_eq!(waiting.answer().await.status, 403);
    }
}

#[tokio::test]
async fn r53_what_differs_beyond_the_screen_is_another_prompt() {
    let mut handset = Asking::start("").await;
    let mut waiting = Vec::new();
    for end in ["yours, Ada", "your fired"] {
        let text = format!("{}{end}", "x".repeat(2_000));
        let body = json!({"to": ["a@example.com"], "text": text}).to_string();
        waiting.push(
            handset
                .begin("alice", "POST /services/send-email", &body)
                .await,
        );
    }
    handset.owner.waiting(2).await;
    let prompts = handset.owner.prompts().await;
    assert_eq!(prompts.len(), 2, "{prompts:?}");
    for (prompt, channel) in prompts.iter().zip(&mut waiting) {
        let shown = prompt["content"].to_string();
        assert!(shown.contains("x… (10 more characters)"), "{shown}");
        handset
            .owner
            .answer(prompt, json!({"answer": "not-now"}))
            .await;
        assert_eq!(channel.answer().await.status, 403);
    }
}
