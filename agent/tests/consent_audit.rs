//! The audit log: the owner reads and exports it, and a remote user sees the own part (R63, R64).

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use everline_agent::owner::api::URLS;
use serde_json::{Value, json};
use support::owner::{Asking, user};
use support::{Agent, Gateway, MSISDN};
use tokio::io::AsyncBufReadExt;

#[tokio::test]
async fn r63_r64_the_log_tells_each_decision_and_what_became_of_it() {
    let mut handset = Asking::start("[consent]\nprompt_timeout_s = 1\n").await;
    let (mut done, prompt) = handset.note("alice", "one").await;
    handset
        .owner
        .answer(&prompt, json!({"answer": "always"}))
        .await;
    assert_eq!(done.answer().await.status, 201);
    let (mut unanswered, _) = handset.note("bob", "two").await;
    assert_eq!(unanswered.answer().await.status, 403);
    handset
        .send("alice", "POST /notes", r#"{"title": "three"}"#)
        .await;
    let missing = handset
        .owner
        .put(json!({"user": "alice", "resource": "notes", "action": "get", "kind": "one-time"}));
    missing.await;
    assert_eq!(handset.send("alice", "GET /notes/99", "").await.status, 404);

    let audit = handset.owner.get("/api/audit").await;
    let told: Vec<_> = audit["audit"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|line| {
            ["user", "action", "decision", "by", "outcome"]
                .map(|key| line[key].as_str().unwrap_or("").to_owned())
        })
        .collect();
    let line = |user: &str, action: &str, decision: &str, by: &str, outcome: &str| {
        [user, action, decision, by, outcome].map(str::to_owned)
    };
    assert_eq!(
        told,
        [
            line("alice", "add", "allowed", "owner", "201 /notes/1"),
            line("bob", "add", "denied", "no-answer", ""),
            line("alice", "add", "allowed", "list", "201 /notes/2"),
            line("alice", "get", "allowed", "list", "404 not-found"),
        ]
    );
    let first = audit["audit"].as_array().unwrap().last().unwrap();
    let title = json!({"name": "title", "text": "one"});
    assert!(
        first["content"].as_array().unwrap().contains(&title),
        "{first}"
    );
    assert!(first["ended"].is_string() && first["at"].is_string());

    // Pages, newest first, with the filter kept.
    let page = handset.owner.get("/api/audit?user=alice&limit=2").await;
    let next = page["next"].as_str().unwrap().to_owned();
    assert!(next.starts_with("/api/audit?user=alice&before="), "{next}");
    let last = handset.owner.get(&next).await;
    assert_eq!(
        (
            last["audit"].as_array().unwrap().len(),
            last["next"].clone()
        ),
        (1, Value::Null)
    );
    let denied = handset.owner.get("/api/audit?decision=denied").await;
    assert_eq!(denied["audit"].as_array().unwrap().len(), 1);
    // Nothing of it is in the agent's own log.
    let log = handset.agent.log();
    assert!(!log.contains("alice") && !log.contains("three"), "{log}");
}

#[tokio::test]
async fn r64_a_remote_user_sees_the_own_part_of_the_log() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("alice", "notes", "*").await;
    handset.owner.permit("bob", "notes", "*").await;
    handset
        .send("alice", "POST /notes", r#"{"title": "<of alice>"}"#)
        .await;
    for n in 0..3 {
        handset
            .send(
                "bob",
                "POST /notes",
                &format!("{{\"title\": \"of bob {n}\"}}"),
            )
            .await;
    }
    let own = handset.send("alice", "GET /audit", "").await;
    assert_eq!(
        (own.status, own.header("cache-control"), own.header("vary")),
        (200, "no-store", "Accept")
    );
    let lines = own.json()["audit"].as_array().unwrap().clone();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (
            lines[0]["resource"].as_str(),
            lines[0]["decision"].as_str(),
            lines[0]["outcome"].as_str()
        ),
        (Some("notes"), Some("allowed"), Some("201 /notes/1"))
    );
    assert!(!own.body.contains("bob"));
}

#[tokio::test]
async fn r64_the_own_part_of_the_log_comes_in_pages_and_as_xml() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("bob", "notes", "*").await;
    for n in 0..3 {
        handset
            .send("bob", "POST /notes", &format!("{{\"title\": \"<{n}>\"}}"))
            .await;
    }
    let headers = format!("{}Accept: application/xml\r\n", user("bob"));
    let xml = handset
        .gateway
        .get(&mut handset.signaling, "/audit", &headers)
        .await;
    assert!(
        xml.body
            .contains("<content name=\"title\">&lt;0&gt;</content>"),
        "{}",
        xml.body
    );
    assert!(
        xml.body.contains("<outcome>201 /notes/1</outcome>"),
        "{}",
        xml.body
    );

    let page = handset.send("bob", "GET /audit?limit=2", "").await;
    let next = page.json()["next"].as_str().unwrap().to_owned();
    assert_eq!(page.header("link"), format!("<{next}>; rel=\"next\""));
    let last = handset.send("bob", &format!("GET {next}"), "").await.json();
    assert_eq!(
        (
            last["audit"].as_array().unwrap().len(),
            last["next"].clone()
        ),
        (1, Value::Null)
    );
    // A link fits the form of the URL that was used.
    let headers = format!("{}X-Forwarded-Prefix: /{MSISDN}\r\n", user("bob"));
    let page = handset
        .gateway
        .get(&mut handset.signaling, "/audit?limit=2", &headers)
        .await;
    assert!(
        page.json()["next"]
            .as_str()
            .unwrap()
            .starts_with(&format!("/{MSISDN}/audit?before="))
    );
    for (path, status) in [("/audit?limit=0", 400), ("/audit?before=x", 400)] {
        assert_eq!(
            handset.send("bob", &format!("GET {path}"), "").await.status,
            status
        );
    }
    assert_eq!(handset.send("bob", "DELETE /audit", "").await.status, 405);
}

#[tokio::test]
async fn r61_r64_the_own_part_of_the_log_tells_no_more_of_an_item_than_was_asked() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("alice", "notes", "*").await;
    handset
        .send("alice", "POST /notes", r#"{"title": "4711 opens it"}"#)
        .await;
    for (action, kind) in [
        ("get", "permanently-denied"),
        ("delete", "permanently-denied"),
    ] {
        let entry = json!({"user": "bob", "resource": "notes", "action": action, "kind": kind});
        handset.owner.put(entry).await;
    }
    for start in ["GET /notes/1", "DELETE /notes/1", "GET /notes/2"] {
        assert_eq!(handset.send("bob", start, "").await.status, 403, "{start}");
    }
    let own = handset.send("bob", "GET /audit", "").await;
    assert!(!own.body.contains("4711"), "{}", own.body);
    let own = own.json()["audit"].as_array().unwrap().clone();
    assert!(own.len() >= 2, "alike ones may be one line: {own:?}");
    for line in own {
        let content = line["content"].as_array().unwrap();
        assert_eq!((content.len(), &content[0]["name"]), (1, &json!("id")));
    }
    let headers = format!("{}Accept: application/xml\r\n", user("bob"));
    let xml = handset
        .gateway
        .get(&mut handset.signaling, "/audit", &headers)
        .await;
    assert!(
        xml.body.contains("<content name=\"id\">1</content>") && !xml.body.contains("4711"),
        "{}",
        xml.body
    );
    // The owner sees what it was about.
    let log = handset.owner.get("/api/audit?user=bob").await;
    assert!(log.to_string().contains("4711"), "{log}");
}

#[tokio::test]
async fn r64_whoever_gets_a_name_later_is_told_nothing_of_its_former_user() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("bob", "notes", "add").await;
    let note = r#"{"title": "of the first bob"}"#;
    assert_eq!(handset.send("bob", "POST /notes", note).await.status, 201);
    let (mut waiting, _) = handset
        .begin_and_ask("bob", "GET /contacts", "see the list of contacts")
        .await;
    let bob = handset.owner.call("DELETE", "/api/users/bob", &Value::Null);
    assert_eq!(bob.await.status, 204);
    assert_eq!(waiting.answer().await.status, 403);
    let bob = json!({"name": "bob", "password": "correct horse"});
    let added = handset.owner.call("POST", "/api/users", &bob).await;
    assert_eq!(added.status, 201, "{added:?}");
    let own = handset.send("bob", "GET /audit", "").await;
    assert_eq!(own.json()["audit"], json!([]));
    // What is the second one's own is told, also after a restart.
    handset.owner.permit("bob", "notes", "add").await;
    let note = r#"{"title": "of the second bob"}"#;
    assert_eq!(handset.send("bob", "POST /notes", note).await.status, 201);
    handset.kill_and_start().await;
    let own = handset.send("bob", "GET /audit", "").await;
    assert!(
        own.body.contains("of the second") && !own.body.contains("of the first"),
        "{}",
        own.body
    );
    let log = handset.owner.get("/api/audit?user=bob").await;
    assert_eq!(log["audit"].as_array().unwrap().len(), 3, "{log}");
}

#[tokio::test]
async fn r63_nobody_can_ask_away_the_line_of_what_was_changed() {
    let mut handset = Asking::start("[consent]\naudit_rows_max = 100\n").await;
    handset.owner.permit("alice", "notes", "*").await;
    let note = r#"{"title": "one"}"#;
    assert_eq!(handset.send("alice", "POST /notes", note).await.status, 201);
    for n in 2..200 {
        let start = format!("GET /notes/{n}");
        assert_eq!(handset.send("alice", &start, "").await.status, 404);
    }
    let log = handset.owner.get("/api/audit?limit=1000").await;
    let lines = log["audit"].as_array().unwrap();
    assert_eq!(lines.len(), 100);
    assert_eq!(lines[99]["outcome"], "201 /notes/1");
    assert_eq!(lines[0]["content"][0]["text"], "199");
}

#[tokio::test]
async fn r62_r63_an_agent_that_ends_in_order_answers_who_waits_and_leaves_no_line_open() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("bob", "notes", "list").await;
    let (mut waiting, _) = handset.note("alice", "one").await;
    assert_eq!(handset.notes("bob").await, 0);
    handset.agent.terminate();
    let told = waiting.answer().await;
    assert_eq!(told.status, 403);
    assert!(
        told.body.contains("no-answer") && told.body.contains("switched off"),
        "{told:?}"
    );
    assert!(handset.agent.ended().await.success());
    handset.start_again().await;
    let audit = handset.owner.get("/api/audit").await;
    let told: Vec<_> = audit["audit"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["by"].as_str().unwrap(), line["outcome"].as_str()))
        .collect();
    assert!(told.contains(&("list", Some("200"))), "{told:?}");
    assert!(told.contains(&("no-answer", None)), "{told:?}");
}

/// What Python's own readers make of a file.
fn python(program: &str, file: &str) -> Value {
    let mut python = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python
        .stdin
        .take()
        .unwrap()
        .write_all(file.as_bytes())
        .unwrap();
    let told = python.wait_with_output().unwrap();
    assert!(told.status.success());
    serde_json::from_slice(&told.stdout).unwrap()
}

#[tokio::test]
async fn r64_the_log_is_exported_as_json_lines_and_csv() {
    const LINES: usize = 700;
    let mut handset = Asking::start_with("linger_s = 60\n", "").await;
    handset.owner.permit("alice", "notes", "*").await;
    let mut channel = handset
        .begin(
            "alice",
            "POST /notes",
            r#"{"title": "a, \"b\"\n", "text": "=1+1"}"#,
        )
        .await;
    for n in 1..LINES {
        assert_eq!(channel.answer().await.status, 201);
        let body = format!("{{\"title\": \"n{n}\"}}");
        channel
            .send(support::owner::request("alice", "POST /notes", &body).as_bytes())
            .await;
    }
    assert_eq!(channel.answer().await.status, 201);

    let mut download = handset
        .owner
        .begin("GET", "/api/audit.jsonl?user=alice", "")
        .await;
    let file = download.answer().await;
    assert_eq!(
        file.header("content-disposition"),
        "attachment; filename=\"audit.jsonl\""
    );
    let file = dechunked(&file.body);
    let lines: Vec<Value> = file
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), LINES, "more than one part of it");
    assert_eq!(lines[0]["outcome"], "201 /notes/1", "oldest first");

    let mut download = handset.owner.begin("GET", "/api/audit.csv", "").await;
    let file = download.answer().await;
    assert!(file.header("content-type").starts_with("text/csv"));
    let read = "import csv, io, json, sys; print(json.dumps(list(csv.DictReader(io.StringIO(sys.stdin.read(), newline='')))))";
    let rows = python(read, &dechunked(&file.body));
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), LINES);
    assert_eq!(
        (rows[0]["user"].as_str(), rows[0]["decision"].as_str()),
        (Some("alice"), Some("allowed"))
    );
    let content = rows[0]["content"].as_str().unwrap();
    assert!(content.starts_with("title: a, \"b\""), "{content}");
    assert_eq!(rows[LINES - 1]["outcome"], format!("201 /notes/{LINES}"));
}

/// A body without its chunks' sizes (RFC 9112 section 7.1).
fn dechunked(body: &str) -> String {
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&after[..size]);
        rest = &after[size + 2..];
        if size == 0 {
            break;
        }
    }
    whole
}

#[tokio::test]
async fn r63_the_oldest_lines_go_and_what_was_done_without_a_notifier_is_told_too() {
    let gateway = Gateway::start().await;
    let config = "linger_s = 60\nauthentication = \"none\"\n[builtin]\ndatabase = \"handset.db\"\n\
        [consent]\nenabled = false\naudit_rows_max = 100\n";
    let _agent = Agent::start(&[&gateway], config);
    let mut signaling = gateway.registered().await;
    signaling.signal().await;
    let (mut channel, _) = gateway.channel().await;
    for n in 0..150 {
        let body = format!("{{\"title\": \"n{n}\"}}");
        let request = format!(
            "POST /notes HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        channel.send(request.as_bytes()).await;
        assert_eq!(channel.answer().await.status, 201);
    }
    channel
        .send(b"GET /audit?limit=1000 HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    let log = channel.answer().await.json();
    let lines = log["audit"].as_array().unwrap();
    assert_eq!(lines.len(), 100);
    assert_eq!(
        (lines[0]["by"].as_str(), lines[0]["outcome"].as_str()),
        (Some("off"), Some("201 /notes/150"))
    );
    assert_eq!(lines[99]["outcome"], "201 /notes/51");
}

#[tokio::test]
async fn r53_r66_the_stream_tells_prompts_as_they_come_and_go() {
    let mut handset = Asking::start("").await;
    let mut stream = handset.owner.begin("GET", "/api/stream", "").await.stream;
    let mut next = async move |wanted: &str| -> Value {
        loop {
            let mut line = String::new();
            support::soon("an event", stream.read_line(&mut line))
                .await
                .unwrap();
            if line != format!("event: {wanted}\n") {
                continue;
            }
            let mut data = String::new();
            support::soon("its data", stream.read_line(&mut data))
                .await
                .unwrap();
            return serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        }
    };
    assert_eq!(next("prompts").await["prompts"], json!([]));
    let (mut waiting, prompt) = handset.note("alice", "one").await;
    let told = next("prompts").await;
    assert_eq!(told["prompts"][0]["id"], prompt["id"]);
    handset
        .owner
        .answer(&prompt, json!({"answer": "always"}))
        .await;
    assert_eq!(waiting.answer().await.status, 201);
    let answered = next("handset").await;
    assert_eq!(answered["kind"], "answer");
    assert_eq!(
        answered["data"],
        json!({"resource": "notes", "action": "add", "answer": "allowed"})
    );
    while next("prompts").await["prompts"] != json!([]) {}
    let twice = json!({"user": "bob", "resource": "notes", "action": "list", "kind": "number-of-times", "times": 2});
    handset.owner.put(twice).await;
    next("access").await;
    assert_eq!(handset.notes("bob").await, 1);
    next("access").await;
    let unlocked = handset
        .owner
        .call("POST", "/api/users/bob/unlock", &Value::Null)
        .await;
    assert_eq!(unlocked.status, 204);
    next("users").await;
}

#[tokio::test]
async fn r66_the_owner_sees_the_handset_and_what_there_is_to_permit() {
    let handset = Asking::start("").await;
    let state = handset.owner.get("/api/state").await;
    assert!(
        state["battery"]["percent"].is_u64() && state["coverage"]["bars"].is_u64(),
        "{state}"
    );
    assert_eq!(
        (
            state["mode"].as_str(),
            state["capabilities"]["sms"].as_bool()
        ),
        (Some("normal"), Some(true))
    );
    let resources = handset.owner.get("/api/resources").await;
    let listed = resources["resources"].as_array().unwrap();
    let contacts = listed
        .iter()
        .find(|resource| resource["name"] == "contacts")
        .unwrap();
    assert!(
        contacts["actions"]
            .as_array()
            .unwrap()
            .contains(&json!({"name": "delete", "says": "delete a contact"}))
    );
    handset.owner.get("/api/connection").await;
}

#[tokio::test]
async fn r66_every_url_of_the_owners_api_is_there_with_its_methods() {
    let handset = Asking::start("").await;
    for (url, methods) in URLS {
        let url = ["{id}", "{user}", "{name}"]
            .iter()
            .fold((*url).to_owned(), |url, part| url.replace(part, "1"));
        let refused = handset.owner.call("PATCH", &url, &Value::Null).await;
        let allowed = refused
            .header("allow")
            .replace(",HEAD", "")
            .replace(',', " ");
        assert_eq!((refused.status, allowed.as_str()), (405, *methods), "{url}");
    }
}

#[tokio::test]
async fn r63_what_was_done_is_in_the_log_though_the_agent_was_killed_right_after_it() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("alice", "notes", "add").await;
    for done in 1..=4 {
        let added = handset
            .send("alice", "POST /notes", r#"{"title": "one"}"#)
            .await;
        assert_eq!(added.status, 201);
        handset.kill_and_start().await;
        let audit = handset.owner.get("/api/audit?action=add").await;
        let lines = audit["audit"].as_array().unwrap();
        assert_eq!(lines.len(), done, "{audit}");
    }
}
