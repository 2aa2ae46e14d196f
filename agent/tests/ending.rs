//! An agent that is ended in order while services are under way: what can be brought to an end is, and is kept (R40, R42,
//! R46, R62).

mod support;

use serde_json::{Value, json};
use support::inside::OPEN;
use support::owner::{Asking, user};
use support::{Agent, Gateway, MSISDN, Signaling, until};

/// Calls that last until somebody hangs up, and messages of which each part takes a while.
const DEVICE: &str = "[device]\nkind = \"simulated\"\ndial_ms = 5\nring_ms = 5\ntalk_ms = 600000\nsend_ms = 100\nlog = \"air.log\"\n";

async fn begin(
    gateway: &Gateway,
    signaling: &mut Signaling,
    service: &str,
    body: &Value,
) -> String {
    let json = "Content-Type: application/json\r\n";
    let start = format!("POST /services/{service}");
    let begun = gateway
        .send(signaling, &start, json, &body.to_string())
        .await;
    assert_eq!(begun.status, 202, "{begun:?}");
    begun.header("location").to_owned()
}

#[tokio::test]
async fn r40_r42_r46_an_agent_that_ends_brings_to_an_end_what_it_has_in_hand() {
    let gateway = Gateway::start().await;
    let config = format!("shutdown_timeout_ms = 60000\n{OPEN}{DEVICE}");
    let mut agent = Agent::start(&[&gateway], &config);
    let mut signaling = gateway.registered().await;
    let text = "x".repeat(3 * 153);
    let mut tasks = Vec::new();
    for (service, body) in [
        ("record-video", json!({})),
        ("call", json!({"number": "600000021"})),
        ("send-sms", json!({"number": "600000021", "text": text})),
    ] {
        tasks.push(begin(&gateway, &mut signaling, service, &body).await);
    }
    let air = agent.path("air.log");
    let aired = |what: &str| {
        let log = std::fs::read_to_string(&air).unwrap_or_default();
        log.lines().filter(|line| line.starts_with(what)).count()
    };
    until("it dials, and the first part goes", || {
        aired("dial") == 1 && aired("sms") >= 1
    })
    .await;
    agent.terminate();
    assert!(agent.ended().await.success());
    assert_eq!(aired("sms"), 3, "every part went");
    agent.run();
    signaling = gateway.registered().await;
    for (task, result) in tasks
        .iter()
        .zip(["/videos/1", "/outgoing-calls/1", "/sms/1"])
    {
        let told = gateway.get(&mut signaling, task, "").await.json();
        assert_eq!(
            (&told["state"], &told["result"]),
            (&json!("done"), &json!(result)),
            "{told}"
        );
        assert_eq!(gateway.get(&mut signaling, result, "").await.status, 200);
    }
    let call = gateway
        .get(&mut signaling, "/outgoing-calls/1", "")
        .await
        .json();
    assert!(
        call["outcome"].is_string() && call["length_s"].is_i64(),
        "{call}"
    );
}

#[tokio::test]
async fn r62_who_waits_for_the_owner_of_an_agent_that_ends_is_told_so() {
    let mut handset = Asking::start("").await;
    let id = handset.signaling.signal().await;
    let (mut channel, named) = handset.gateway.channel().await;
    assert_eq!(id, named);
    let body = "{\"title\": \"milk\"}";
    let request = format!(
        "POST /notes HTTP/1.1\r\nHost: {MSISDN}.localhost\r\nPrefer: respond-async\r\nContent-Length: {}\r\n{}\r\n{body}",
        body.len(),
        user("alice")
    );
    channel.send(request.as_bytes()).await;
    let told = channel.answer().await;
    assert_eq!(told.status, 202, "{told:?}");
    let task = told.header("location").to_owned();
    let (mut waiting, _) = handset.note("alice", "eggs").await;
    handset.agent.terminate();
    let denied = waiting.answer().await;
    assert_eq!(
        (denied.status, &denied.json()["type"]),
        (403, &json!("urn:everline:agent:no-answer"))
    );
    drop((waiting, channel));
    assert!(handset.agent.ended().await.success());
    handset.start_again().await;
    let told = handset
        .send("alice", &format!("GET {task}"), "")
        .await
        .json();
    assert_eq!(
        (&told["state"], &told["problem"]),
        (&json!("denied"), &json!("no-answer")),
        "{told}"
    );
}
