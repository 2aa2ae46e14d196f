//! Who would rather not wait for the owner: `Prefer: respond-async`, tasks, and the responses that wait there (R53, R62).

mod support;

use serde_json::{Value, json};
use support::owner::{Asking, user};
use support::{Answer, Channel, MSISDN};

const ASYNC: &str = "Prefer: respond-async, wait=10\r\n";

async fn begin(
    handset: &mut Asking,
    name: &str,
    start: &str,
    headers: &str,
    body: &str,
) -> Channel {
    let id = handset.signaling.signal().await;
    let (mut channel, named) = handset.gateway.channel().await;
    assert_eq!(id, named);
    let request = format!(
        "{start} HTTP/1.1\r\nHost: {MSISDN}.localhost\r\nContent-Length: {}\r\n{}{headers}\r\n{body}",
        body.len(),
        user(name)
    );
    channel.send(request.as_bytes()).await;
    channel
}

async fn send(handset: &mut Asking, name: &str, start: &str, headers: &str, body: &str) -> Answer {
    begin(handset, name, start, headers, body)
        .await
        .answer()
        .await
}

/// A note to be added, of which the owner is asked; the task's URL and the prompt.
async fn asked(handset: &mut Asking, title: &str) -> (String, Value) {
    let body = json!({"title": title}).to_string();
    let told = send(handset, "alice", "POST /notes", ASYNC, &body).await;
    assert_eq!(
        (told.status, told.header("preference-applied")),
        (202, "respond-async"),
        "{told:?}"
    );
    assert_eq!(
        (
            told.json()["state"].as_str(),
            told.json()["resource"].as_str()
        ),
        (Some("asking"), Some("notes"))
    );
    let task = told.header("location").to_owned();
    assert_eq!(
        task,
        format!("/tasks/{}", told.json()["id"].as_str().unwrap())
    );
    let prompt = handset.owner.prompt("alice", title).await;
    (task, prompt)
}

async fn ended(handset: &mut Asking, task: &str) -> Value {
    let told = send(handset, "alice", &format!("GET {task}?wait_s=50"), "", "").await;
    assert_eq!(told.status, 200, "{told:?}");
    told.json()
}

#[tokio::test]
async fn r53_r63_the_task_has_the_response_when_the_owner_has_answered() {
    let mut handset = Asking::start("").await;
    let (task, prompt) = asked(&mut handset, "milk").await;
    let response = format!("GET {task}/response");
    let early = send(&mut handset, "alice", &response, "", "").await;
    assert_eq!((early.status, early.header("retry-after")), (404, "2"));
    let show = format!("GET {task}?wait_s=50");
    let mut waiting = begin(&mut handset, "alice", &show, "", "").await;
    handset
        .owner
        .answer(&prompt, json!({"answer": "once"}))
        .await;
    let told = waiting.answer().await.json();
    assert_eq!(
        (
            told["state"].as_str(),
            told["status"].as_i64(),
            told["result"].as_str()
        ),
        (Some("done"), Some(201), Some("/notes/1")),
        "{told}"
    );
    for _ in 0..2 {
        let added = send(&mut handset, "alice", &response, "", "").await;
        assert_eq!((added.status, added.header("location")), (201, "/notes/1"));
        assert_eq!(added.json()["title"], "milk");
    }
    // Nobody else's business.
    for start in [&response, &show, &format!("DELETE {task}")] {
        assert_eq!(
            send(&mut handset, "bob", start, "", "").await.status,
            404,
            "{start}"
        );
    }
    let bobs = send(&mut handset, "bob", "GET /tasks", "", "").await;
    assert_eq!(bobs.json(), json!({"tasks": [], "next": null}));
}

#[tokio::test]
async fn r58_r64_a_denied_request_is_a_denied_task() {
    let mut handset = Asking::start("").await;
    let (task, prompt) = asked(&mut handset, "milk").await;
    handset
        .owner
        .answer(&prompt, json!({"answer": "not-now"}))
        .await;
    let told = ended(&mut handset, &task).await;
    assert_eq!(
        (told["state"].as_str(), told["problem"].as_str()),
        (Some("denied"), Some("denied-now"))
    );
    let response = send(
        &mut handset,
        "alice",
        &format!("GET {task}/response"),
        "",
        "",
    )
    .await;
    assert_eq!(
        (response.status, response.header("content-type")),
        (403, "application/problem+json")
    );
    assert_eq!(response.json()["type"], "urn:everline:agent:denied-now");
}

#[tokio::test]
async fn r60_who_has_a_standing_answer_is_answered_at_once() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("alice", "notes", "add").await;
    let added = send(
        &mut handset,
        "alice",
        "POST /notes",
        ASYNC,
        r#"{"title": "milk"}"#,
    )
    .await;
    assert_eq!(
        (added.status, added.header("preference-applied")),
        (201, "")
    );
    let tasks = send(&mut handset, "alice", "GET /tasks", "", "").await;
    assert_eq!(tasks.json()["tasks"], json!([]));
}

#[tokio::test]
async fn r62_a_task_that_its_user_takes_back_takes_the_prompt_along() {
    let mut handset = Asking::start("").await;
    let (task, _) = asked(&mut handset, "milk").await;
    let taken = send(&mut handset, "alice", &format!("DELETE {task}"), "", "").await;
    assert_eq!(taken.status, 204);
    let told = ended(&mut handset, &task).await;
    assert_eq!(
        (told["state"].as_str(), told["problem"].as_str()),
        (Some("interrupted"), Some("withdrawn"))
    );
    handset.owner.waiting(0).await;
    let response = send(
        &mut handset,
        "alice",
        &format!("GET {task}/response"),
        "",
        "",
    )
    .await;
    assert_eq!(
        (response.status, response.json()["type"].as_str()),
        (410, Some("urn:everline:agent:response-gone"))
    );
}

#[tokio::test]
async fn r62_a_task_that_was_asking_when_the_agent_was_killed_is_interrupted() {
    let mut handset = Asking::start("").await;
    let (task, _) = asked(&mut handset, "milk").await;
    handset.kill_and_start().await;
    let told = ended(&mut handset, &task).await;
    assert_eq!(
        (told["state"].as_str(), told["problem"].as_str()),
        (Some("interrupted"), Some("interrupted"))
    );
    handset.owner.permit("alice", "notes", "list").await;
    assert_eq!(handset.notes("alice").await, 0);
}

#[tokio::test]
async fn r53_r40_the_owner_sees_the_number_and_the_task_leads_to_the_calls() {
    let quick = "[device]\nkind = \"simulated\"\ndial_ms = 5\nring_ms = 5\ntalk_ms = 20\n";
    let mut handset = Asking::start(quick).await;
    let body = r#"{"number": "+34600000022"}"#;
    let told = send(&mut handset, "alice", "POST /services/call", ASYNC, body).await;
    assert_eq!(told.status, 202, "{told:?}");
    let prompt = handset.owner.prompt("alice", "+34600000022").await;
    assert_eq!(
        (&prompt["resource"], &prompt["action"]),
        (&json!("call"), &json!("execute"))
    );
    handset
        .owner
        .answer(&prompt, json!({"answer": "once"}))
        .await;
    let asked = ended(&mut handset, told.header("location")).await;
    assert_eq!(
        (asked["state"].as_str(), asked["status"].as_i64()),
        (Some("done"), Some(202))
    );
    let call = ended(&mut handset, asked["result"].as_str().unwrap()).await;
    assert_eq!(
        (call["state"].as_str(), call["result"].as_str()),
        (Some("done"), Some("/outgoing-calls/1"))
    );
}

#[tokio::test]
async fn r40_what_is_attached_needs_a_permit_of_its_own() {
    let mut handset = Asking::start("[device]\nkind = \"simulated\"\n").await;
    handset.owner.permit("alice", "send-email", "execute").await;
    let body = r#"{"to": ["ada@example.com"], "attach": ["/images/1"]}"#;
    let mut waiting = begin(&mut handset, "alice", "POST /services/send-email", "", body).await;
    let prompt = handset.owner.prompt("alice", "").await;
    assert_eq!(
        (&prompt["resource"], &prompt["action"]),
        (&json!("images"), &json!("get"))
    );
    handset
        .owner
        .answer(&prompt, json!({"answer": "never"}))
        .await;
    assert_eq!(waiting.answer().await.status, 403);
}

#[tokio::test]
async fn r53_who_sends_a_file_waits_for_the_owner_and_the_file_is_kept() {
    let mut handset = Asking::start("").await;
    let png = include_bytes!("messages/dot.png");
    let id = handset.signaling.signal().await;
    let (mut channel, named) = handset.gateway.channel().await;
    assert_eq!(id, named);
    let head = format!(
        "POST /images HTTP/1.1\r\nHost: {MSISDN}.localhost\r\nContent-Length: {}\r\n{}{ASYNC}\r\n",
        png.len(),
        user("alice").replace("application/json", "image/png")
    );
    channel.send(head.as_bytes()).await;
    let prompt = handset.owner.prompt("alice", "").await;
    handset
        .owner
        .answer(&prompt, json!({"answer": "once"}))
        .await;
    // A gateway sends nothing more once there is an answer: it has to come behind the file.
    channel.send(png).await;
    let added = channel.answer().await;
    assert_eq!(
        (added.status, added.header("location")),
        (201, "/images/1"),
        "{added:?}"
    );
}

#[tokio::test]
async fn r53_a_preference_keeps_nobody_from_what_they_accept() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("alice", "images", "get").await;
    let headers = format!("{ASYNC}Accept: image/jpeg\r\n");
    let start = "GET /images/1/content";
    let none = send(&mut handset, "alice", start, &headers, "").await;
    assert_eq!(none.status, 404, "{none:?}");
}
