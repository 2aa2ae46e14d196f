//! The notifier through the gateway and the owner's API: prompts, their answers, and who gets none (R49 to R64).

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::owner::{Asking, request};
use support::{Agent, Answer, Gateway, command};

/// Status and slug of a refusal.
fn refusal(answer: &Answer) -> (u16, String) {
    let kind = answer.json()["type"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status, kind.replace("urn:everline:agent:", ""))
}

#[tokio::test]
async fn r50_a_notifier_without_authentication_does_not_start() {
    let gateway = Gateway::start().await;
    let open = "authentication = \"none\"\n[builtin]\ndatabase = \"handset.db\"\n";
    let agent = Agent::prepare(&[&gateway], open);
    let told = command(&["run", "--config"], &agent.path("agent.toml"));
    assert_eq!(told.status.code(), Some(2));
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(
        told.contains(
            "consent.enabled: the owner can only be asked about callers who say who they are"
        ),
        "{told}"
    );
    assert!(!agent.path("handset.db").exists());
    let users = "[[user]]\nname = \"alice\"\npassword = \"wonderland\"\n[builtin]\ndatabase = \"handset.db\"\n";
    agent.configure(&[&gateway], users);
    let told = command(&["check", "--config"], &agent.path("agent.toml"));
    let noted = String::from_utf8(told.stderr).unwrap();
    assert!(
        noted.contains("without [owner] there is no screen to answer on"),
        "{noted}"
    );
    agent.configure(&[&gateway], &format!("{open}[consent]\nenabled = false\n"));
    let told = command(&["check", "--config"], &agent.path("agent.toml"));
    assert_eq!(told.status.code(), Some(0), "{told:?}");
}

#[tokio::test]
async fn r49_r51_r52_r53_the_owner_is_shown_who_wants_what() {
    let mut handset = Asking::start("").await;
    let (mut waiting, prompt) = handset.note("alice", "<b>shopping</b>").await;
    assert_eq!(
        (
            prompt["user"].as_str(),
            prompt["resource"].as_str(),
            prompt["action"].as_str()
        ),
        (Some("alice"), Some("notes"), Some("add"))
    );
    assert_eq!(
        (prompt["says"].as_str(), prompt["waiting"].as_u64()),
        (Some("add a note"), Some(1))
    );
    let left_ms = prompt["left_ms"].as_u64().unwrap();
    assert!((1..=60_000).contains(&left_ms), "{prompt}");
    let title = json!({"name": "title", "text": "<b>shopping</b>"});
    assert!(
        prompt["content"].as_array().unwrap().contains(&title),
        "{prompt}"
    );
    // Bob's is another prompt: it is the identity of the authentication that counts.
    let (mut of_bob, _) = handset.note("bob", "<b>shopping</b>").await;
    assert_eq!(handset.owner.prompts().await.len(), 2);
    handset
        .owner
        .answer(&prompt, json!({"answer": "once"}))
        .await;
    assert_eq!(waiting.answer().await.status, 201);
    let prompts = handset.owner.prompts().await;
    assert_eq!(
        (prompts.len(), prompts[0]["user"].as_str()),
        (1, Some("bob"))
    );
    handset
        .owner
        .answer(&prompts[0], json!({"answer": "not-now"}))
        .await;
    assert_eq!(
        refusal(&of_bob.answer().await),
        (403, "denied-now".to_owned())
    );
    // Nobody gets to the owner's side through the gateway.
    for path in ["/api/prompts", "/api/access", "/api/stream"] {
        let answer = handset.send("alice", &format!("GET {path}"), "").await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

/// What each answer does to the request that waits, to the next one, and to the list.
async fn answered(answer: Value, first: u16, next: Option<u16>, kind: Option<&str>) {
    let mut handset = Asking::start("").await;
    let (mut waiting, prompt) = handset.note("alice", "one").await;
    handset.owner.answer(&prompt, answer.clone()).await;
    assert_eq!(waiting.answer().await.status, first, "{answer}");
    let entries = handset.owner.access().await;
    let kinds: Vec<_> = entries
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, Vec::from_iter(kind), "{answer}");
    match next {
        Some(status) => {
            let next = handset
                .send("alice", "POST /notes", r#"{"title": "two"}"#)
                .await;
            assert_eq!(next.status, status, "{answer}: {next:?}");
            assert_eq!(handset.owner.prompts().await, Vec::<Value>::new());
        }
        // Asked again.
        None => drop(handset.note("alice", "two").await),
    }
}

#[tokio::test]
async fn r54_r60_always_runs_from_now_on_with_no_window() {
    answered(
        json!({"answer": "always"}),
        201,
        Some(201),
        Some("unlimited"),
    )
    .await;
}

#[tokio::test]
async fn r55_once_is_one_act() {
    answered(json!({"answer": "once"}), 201, None, None).await;
}

#[tokio::test]
async fn r56_for_a_time_runs_until_then() {
    let answer = json!({"answer": "for-a-time", "seconds": 600});
    answered(answer, 201, Some(201), Some("temporary")).await;
}

#[tokio::test]
async fn r57_a_number_of_times_is_that_many() {
    let answer = json!({"answer": "a-number-of-times", "times": 2});
    answered(answer, 201, Some(201), Some("number-of-times")).await;
    answered(
        json!({"answer": "a-number-of-times", "times": 1}),
        201,
        None,
        None,
    )
    .await;
}

#[tokio::test]
async fn r58_r64_not_now_denies_this_one() {
    answered(json!({"answer": "not-now"}), 403, None, None).await;
}

#[tokio::test]
async fn r59_r61_never_denies_from_now_on_with_no_window() {
    answered(
        json!({"answer": "never"}),
        403,
        Some(403),
        Some("permanently-denied"),
    )
    .await;
}

#[tokio::test]
async fn r56_a_time_that_is_over_permits_nothing() {
    let mut handset = Asking::start("").await;
    let (mut waiting, prompt) = handset.note("alice", "one").await;
    handset
        .owner
        .answer(&prompt, json!({"answer": "for-a-time", "seconds": 1}))
        .await;
    assert_eq!(waiting.answer().await.status, 201);
    let expired = async {
        while handset.owner.access().await[0]["expired"] == false {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    support::soon("the entry's end", expired).await;
    assert_eq!(
        handset.owner.access().await[0]["kind"],
        "temporary",
        "it is still shown"
    );
    handset.note("alice", "two").await;
}

#[tokio::test]
async fn r62_unanswered_it_is_not_done() {
    let mut handset = Asking::start("[consent]\nprompt_timeout_s = 1\n").await;
    let (mut waiting, prompt) = handset.note("alice", "one").await;
    assert_eq!(
        refusal(&waiting.answer().await),
        (403, "no-answer".to_owned())
    );
    assert_eq!(handset.owner.prompts().await, Vec::<Value>::new());
    let path = format!("/api/prompts/{}/answer", prompt["id"].as_str().unwrap());
    let late = handset
        .owner
        .call("POST", &path, &json!({"answer": "always"}))
        .await;
    assert_eq!(refusal(&late), (404, "not-found".to_owned()));
    handset.owner.permit("alice", "notes", "list").await;
    assert_eq!(handset.notes("alice").await, 0);
}

#[tokio::test]
async fn r62_a_caller_who_goes_away_withdraws_the_request() {
    let mut handset = Asking::start("").await;
    let (first, _) = handset.note("alice", "one").await;
    let second = handset
        .begin("alice", "POST /notes", r#"{"title": "one", "text": "one"}"#)
        .await;
    handset.owner.waiting(2).await;
    drop(first);
    handset.owner.waiting(1).await;
    drop(second);
    handset.owner.waiting(0).await;
    assert_eq!(handset.owner.prompts().await, Vec::<Value>::new());
    let audit = handset.owner.get("/api/audit").await;
    let lines = audit["audit"].as_array().unwrap();
    let withdrawn: i64 = lines
        .iter()
        .map(|line| line["times"].as_i64().unwrap())
        .sum();
    assert_eq!(withdrawn, 2, "{audit}");
    assert!(
        lines.iter().all(|line| line["by"] == "withdrawn"),
        "{audit}"
    );
}

#[tokio::test]
async fn r53_r55_r57_requests_for_the_same_thing_share_one_prompt() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("alice", "notes", "list").await;
    for (answer, permitted) in [
        (json!({"answer": "once"}), 1),
        (json!({"answer": "a-number-of-times", "times": 2}), 2),
        (json!({"answer": "not-now"}), 0),
        (json!({"answer": "always"}), 3),
    ] {
        let before = handset.notes("alice").await;
        let mut waiting = Vec::new();
        for _ in 0..3 {
            waiting.push(
                handset
                    .begin("alice", "POST /notes", r#"{"title": "same"}"#)
                    .await,
            );
        }
        handset.owner.waiting(3).await;
        let prompts = handset.owner.prompts().await;
        assert_eq!(prompts.len(), 1, "{prompts:?}");
        let told = handset.owner.answer(&prompts[0], answer.clone()).await;
        assert_eq!(
            told,
            json!({"permitted": permitted, "denied": 3 - permitted})
        );
        let mut done = 0;
        for channel in &mut waiting {
            match channel.answer().await {
                answer if answer.status == 201 => done += 1,
                answer => assert_eq!(refusal(&answer), (403, "denied-now".to_owned())),
            }
        }
        assert_eq!(done, permitted, "{answer}");
        assert_eq!(handset.notes("alice").await, before + done);
    }
}

#[tokio::test]
async fn r52_r66_what_the_list_says_meanwhile_decides_those_who_wait() {
    let mut handset = Asking::start("").await;
    let (mut first, prompt) = handset.note("alice", "one").await;
    let (mut second, _) = handset.note("alice", "two").await;
    let (mut of_bob, _) = handset.note("bob", "three").await;
    handset
        .owner
        .answer(&prompt, json!({"answer": "always"}))
        .await;
    assert_eq!(first.answer().await.status, 201);
    assert_eq!(
        second.answer().await.status,
        201,
        "the entry decides the other prompt, too"
    );
    let deny = json!({"user": "bob", "resource": "*", "action": "*", "kind": "permanently-denied"});
    handset.owner.put(deny).await;
    assert_eq!(refusal(&of_bob.answer().await), (403, "denied".to_owned()));
    assert_eq!(handset.owner.prompts().await, Vec::<Value>::new());
}

#[tokio::test]
async fn r53_prompts_are_bounded_and_can_be_silenced() {
    let mut handset = Asking::start("").await;
    let mut waiting = Vec::new();
    for n in 0..4 {
        waiting.push(handset.note("alice", &format!("n{n}")).await.0);
    }
    let beyond = handset
        .send("alice", "POST /notes", r#"{"title": "n4"}"#)
        .await;
    assert_eq!(refusal(&beyond), (429, "too-many-prompts".to_owned()));
    assert_eq!(beyond.header("retry-after"), "60");
    let (mut of_bob, prompt) = handset.note("bob", "b").await;
    let silence = json!({"user": "alice", "seconds": 600});
    let silenced = handset.owner.call("POST", "/api/silences", &silence).await;
    assert_eq!(silenced.status, 200);
    for channel in &mut waiting {
        assert_eq!(
            refusal(&channel.answer().await),
            (403, "denied-now".to_owned())
        );
    }
    let at_once = handset
        .send("alice", "POST /notes", r#"{"title": "n5"}"#)
        .await;
    assert_eq!(refusal(&at_once), (403, "denied-now".to_owned()));
    let list = handset.owner.get("/api/prompts").await;
    assert_eq!(list["silenced"][0]["user"], "alice");
    assert_eq!(
        list["prompts"].as_array().unwrap().len(),
        1,
        "bob is not silenced"
    );
    handset
        .owner
        .answer(&prompt, json!({"answer": "once"}))
        .await;
    assert_eq!(of_bob.answer().await.status, 201);
    let ended = handset
        .owner
        .call("DELETE", "/api/silences/alice", &Value::Null)
        .await;
    assert_eq!(ended.status, 204);
    handset.note("alice", "n6").await;
    let again = handset
        .owner
        .call("DELETE", "/api/silences/alice", &Value::Null)
        .await;
    assert_eq!(again.status, 404);
}

#[tokio::test]
async fn r53_a_flood_leaves_the_owner_able_to_answer() {
    const REQUESTS: usize = 2_000;
    let mut handset = Asking::start_with("linger_s = 60\n", "").await;
    let (mut of_bob, prompt) = handset.note("bob", "b").await;
    let mut kept = Vec::new();
    for n in 0..4 {
        kept.push(handset.note("alice", &format!("n{n}")).await.0);
    }
    // Each on a channel of its own that is kept, one request behind the other, as fast as they are refused.
    let request = request("alice", "POST /notes", r#"{"title": "flood"}"#);
    let mut floods = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut channel = handset
            .begin("alice", "POST /notes", r#"{"title": "flood"}"#)
            .await;
        let request = request.clone();
        floods.spawn(async move {
            for _ in 0..REQUESTS / 8 {
                let answer = channel.answer().await;
                assert_eq!(refusal(&answer), (429, "too-many-prompts".to_owned()));
                channel.send(request.as_bytes()).await;
            }
        });
    }
    let asked = std::time::Instant::now();
    assert_eq!(handset.owner.prompts().await.len(), 5);
    handset
        .owner
        .answer(&prompt, json!({"answer": "once"}))
        .await;
    assert_eq!(of_bob.answer().await.status, 201);
    let answered = asked.elapsed();
    assert!(!floods.is_empty(), "the flood goes on meanwhile");
    while let Some(flood) = floods.join_next().await {
        flood.unwrap();
    }
    eprintln!(
        "answered within {answered:?}, the whole flood took {:?}",
        asked.elapsed()
    );
    // Refusals that are alike are one line of the log each time it is written, with their number.
    let audit = handset
        .owner
        .get("/api/audit?user=alice&decision=denied&limit=1000")
        .await;
    let lines = audit["audit"].as_array().unwrap();
    let times: i64 = lines
        .iter()
        .map(|line| line["times"].as_i64().unwrap())
        .sum();
    assert!(times >= i64::try_from(REQUESTS).unwrap(), "{times}");
    assert!(lines.len() < REQUESTS / 2, "{}", lines.len());
    assert!(handset.agent.memory_peak_kib() < 128 * 1024);
}
