//! `Idempotency-Key` where several things happen at once: the owner is asked, callers repeat themselves, and the agent is
//! ended in between (R29, R42, R53, R58).

mod support;

use serde_json::{Value, json};
use support::owner::{Asking, user};
use support::{Answer, Channel, MSISDN};

const NOTE: &str = "{\"title\": \"milk\"}";

async fn begin(handset: &mut Asking, name: &str, headers: &str, body: &str) -> Channel {
    let id = handset.signaling.signal().await;
    let (mut channel, named) = handset.gateway.channel().await;
    assert_eq!(id, named);
    let request = format!(
        "POST /notes HTTP/1.1\r\nHost: {MSISDN}.localhost\r\nIdempotency-Key: k-1\r\nContent-Length: {}\r\n{}{headers}\r\n{body}",
        body.len(),
        user(name)
    );
    channel.send(request.as_bytes()).await;
    channel
}

async fn send(handset: &mut Asking, name: &str, body: &str) -> Answer {
    begin(handset, name, "", body).await.answer().await
}

fn kind(answer: &Answer) -> (u16, String) {
    let kind = answer.json()["type"].as_str().unwrap().to_owned();
    (answer.status, kind.rsplit(':').next().unwrap().to_owned())
}

async fn answer(handset: &Asking, name: &str, answer: &str) {
    let prompt = handset.owner.prompt(name, "milk").await;
    handset
        .owner
        .answer(&prompt, json!({"answer": answer}))
        .await;
}

#[tokio::test]
async fn r29_r58_a_key_that_was_denied_may_ask_again_and_is_done_once() {
    let mut handset = Asking::start("").await;
    let mut denied = begin(&mut handset, "alice", "", NOTE).await;
    answer(&handset, "alice", "not-now").await;
    assert_eq!(kind(&denied.answer().await), (403, "denied-now".to_owned()));

    // The same again, and while the owner is asked once more.
    let mut asked = begin(&mut handset, "alice", "", NOTE).await;
    handset.owner.prompt("alice", "milk").await;
    let early = send(&mut handset, "alice", NOTE).await;
    assert_eq!(kind(&early), (409, "in-progress".to_owned()));
    assert_eq!(early.header("retry-after"), "1");
    answer(&handset, "alice", "once").await;
    let added = asked.answer().await;
    assert_eq!((added.status, added.header("location")), (201, "/notes/1"));

    // Nobody is asked about what was done before.
    let again = send(&mut handset, "alice", NOTE).await;
    assert_eq!((again.status, again.header("location")), (201, "/notes/1"));
    assert_eq!(again.json()["title"], "milk");
    let other = send(&mut handset, "alice", "{\"title\": \"milk and eggs\"}").await;
    assert_eq!(kind(&other), (422, "key-reused".to_owned()));
    assert_eq!(handset.owner.prompts().await, Vec::<Value>::new());

    // The key is alice's: bob's is another one, about which the owner is asked.
    let mut bobs = begin(&mut handset, "bob", "", NOTE).await;
    answer(&handset, "bob", "once").await;
    assert_eq!(bobs.answer().await.header("location"), "/notes/2");

    handset.kill_and_start().await;
    let again = send(&mut handset, "alice", NOTE).await;
    assert_eq!((again.status, again.header("location")), (201, "/notes/1"));
}

#[tokio::test]
async fn r29_r53_a_task_and_a_repeated_request_are_one() {
    let mut handset = Asking::start("").await;
    let prefer = "Prefer: respond-async\r\n";
    let told = begin(&mut handset, "alice", prefer, NOTE)
        .await
        .answer()
        .await;
    assert_eq!(told.status, 202, "{told:?}");
    let task = told.header("location").to_owned();
    let early = begin(&mut handset, "alice", prefer, NOTE)
        .await
        .answer()
        .await;
    assert_eq!(kind(&early), (409, "in-progress".to_owned()));
    answer(&handset, "alice", "once").await;
    let wait = format!("GET {task}?wait_s=50");
    let ended = handset.send("alice", &wait, "").await.json();
    assert_eq!(
        (&ended["state"], &ended["result"]),
        (&json!("done"), &json!("/notes/1"))
    );
    let again = begin(&mut handset, "alice", prefer, NOTE)
        .await
        .answer()
        .await;
    assert_eq!((again.status, again.header("location")), (201, "/notes/1"));
    handset.owner.permit("alice", "notes", "list").await;
    assert_eq!(handset.notes("alice").await, 1);
}

#[tokio::test]
async fn r49_whoever_gets_a_name_again_begins_with_no_keys_and_no_tasks() {
    let mut handset = Asking::start("").await;
    let prefer = "Prefer: respond-async\r\n";
    let told = begin(&mut handset, "alice", prefer, NOTE)
        .await
        .answer()
        .await;
    let task = told.header("location").to_owned();
    answer(&handset, "alice", "once").await;
    let wait = format!("GET {task}?wait_s=50");
    assert_eq!(
        handset.send("alice", &wait, "").await.json()["state"],
        "done"
    );
    let gone = handset
        .owner
        .call("DELETE", "/api/users/alice", &Value::Null)
        .await;
    assert_eq!(gone.status, 204);
    let new = json!({"name": "alice", "password": "wonderland"});
    let added = handset.owner.call("POST", "/api/users", &new).await;
    assert_eq!(added.status, 201, "{added:?}");
    for path in [&task, &format!("{task}/response")] {
        let other = handset.send("alice", &format!("GET {path}"), "").await;
        assert_eq!(other.status, 404, "{path}: {other:?}");
    }
    let tasks = handset.send("alice", "GET /tasks", "").await.json();
    assert_eq!(tasks["tasks"], json!([]));
    // The key is a new one, and the owner is asked.
    let mut first = begin(&mut handset, "alice", "", NOTE).await;
    answer(&handset, "alice", "once").await;
    assert_eq!(first.answer().await.header("location"), "/notes/2");
}
