//! The access list through the gateway and the owner's API: exact under concurrency and across a kill, and managed (R65, R66).

mod support;

use serde_json::{Value, json};
use support::owner::Asking;

#[tokio::test]
async fn r57_r65_fifty_uses_are_fifty_acts_whoever_comes_at_once() {
    const USES: usize = 50;
    let mut handset = Asking::start("[consent]\nprompt_timeout_s = 1\n").await;
    handset.owner.permit("alice", "notes", "list").await;
    let uses = json!({"user": "alice", "resource": "notes", "action": "add", "kind": "number-of-times", "times": USES});
    handset.owner.put(uses).await;
    let mut channels = Vec::new();
    for n in 0..200 {
        let body = format!("{{\"title\": \"n{n}\"}}");
        channels.push(handset.begin("alice", "POST /notes", &body).await);
    }
    let mut permitted = 0;
    for channel in &mut channels {
        let answer = channel.answer().await;
        assert!([201, 403, 429].contains(&answer.status), "{answer:?}");
        permitted += usize::from(answer.status == 201);
    }
    assert_eq!(permitted, USES);
    assert_eq!(handset.notes("alice").await, USES);
    let entries = handset.owner.access().await;
    assert_eq!(entries.len(), 1, "what is used up is gone: {entries:?}");
    let audit = handset
        .owner
        .get("/api/audit?resource=notes&action=add&decision=allowed&limit=1000")
        .await;
    let lines = audit["audit"].as_array().unwrap();
    let times: i64 = lines
        .iter()
        .map(|line| line["times"].as_i64().unwrap())
        .sum();
    assert_eq!(times, 50);
    assert!(
        lines
            .iter()
            .all(|line| line["outcome"].as_str().unwrap().starts_with("201 /notes/"))
    );
}

#[tokio::test]
async fn r57_r65_a_kill_gives_no_use_back() {
    const USES: usize = 30;
    let mut handset = Asking::start("[consent]\nprompt_timeout_s = 1\n").await;
    handset.owner.permit("alice", "notes", "list").await;
    let uses = json!({"user": "alice", "resource": "notes", "action": "add", "kind": "number-of-times", "times": USES});
    handset.owner.put(uses).await;
    let mut acknowledged = 0;
    for round in 0..3 {
        let mut channels = Vec::new();
        for n in 0..8 {
            let body = format!("{{\"title\": \"n{round}.{n}\"}}");
            channels.push(handset.begin("alice", "POST /notes", &body).await);
        }
        // The others are somewhere between the notifier and the disk.
        for channel in channels.iter_mut().take(3) {
            assert_eq!(channel.answer().await.status, 201);
            acknowledged += 1;
        }
        handset.kill_and_start().await;
        let entries = handset.owner.access().await;
        let left = entries.iter().find_map(|entry| entry["uses_left"].as_u64());
        let left = usize::try_from(left.unwrap_or(0)).unwrap();
        let done = handset.notes("alice").await;
        assert!(
            acknowledged <= done,
            "{acknowledged} acknowledged, {done} done"
        );
        assert!(done + left <= USES, "{done} done, {left} left");
        acknowledged = done;
    }
    let mut done = handset.notes("alice").await;
    while handset
        .send("alice", "POST /notes", r#"{"title": "last"}"#)
        .await
        .status
        == 201
    {
        done += 1;
        assert!(done <= USES);
    }
    assert_eq!(handset.notes("alice").await, done);
    // What the kill interrupted is told as such, not left open.
    let audit = handset
        .owner
        .get("/api/audit?decision=allowed&limit=1000")
        .await;
    let lines = audit["audit"].as_array().unwrap();
    assert!(
        lines.iter().all(|line| line["outcome"].is_string()),
        "{audit}"
    );
}

#[tokio::test]
async fn r54_r65_what_the_owner_answered_outlives_a_kill() {
    let mut handset = Asking::start("").await;
    let (waiting, prompt) = handset.note("alice", "one").await;
    handset
        .owner
        .answer(&prompt, json!({"answer": "always"}))
        .await;
    handset.kill_and_start().await;
    // The act itself may have been cut off; its permission is there.
    drop(waiting);
    let next = handset
        .send("alice", "POST /notes", r#"{"title": "two"}"#)
        .await;
    assert_eq!(next.status, 201);
    let audit = handset.owner.get("/api/audit?user=alice").await;
    let by: Vec<_> = audit["audit"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["by"].clone())
        .collect();
    assert_eq!(by, ["list", "owner"]);
}

#[tokio::test]
async fn r66_permissions_are_added_changed_and_deleted() {
    let mut handset = Asking::start("[consent]\nprompt_timeout_s = 1\n").await;
    let status = async |handset: &mut Asking| handset.send("alice", "GET /notes", "").await.status;
    let add = json!({"user": "alice", "resource": "*", "action": "list", "kind": "one-time"});
    let added = handset.owner.call("POST", "/api/access", &add).await;
    assert_eq!(added.status, 201);
    let entry = added.json();
    assert_eq!(
        (
            entry["kind"].as_str(),
            entry["uses_left"].as_i64(),
            entry["expired"].as_bool()
        ),
        (Some("one-time"), Some(1), Some(false))
    );
    assert_eq!(status(&mut handset).await, 200);
    assert_eq!(status(&mut handset).await, 403, "it was for one time");
    let entry = handset.owner.put(add).await;
    let path = format!("/api/access/{}", entry["id"].as_str().unwrap());
    let changed = handset
        .owner
        .call("PUT", &path, &json!({"kind": "permanently-denied"}))
        .await;
    assert_eq!(
        (changed.status, changed.json()["uses_left"].clone()),
        (200, Value::Null)
    );
    assert_eq!(status(&mut handset).await, 403);
    let until = json!({"kind": "temporary", "until": "2027-11-01T00:00:00+01:00"});
    let changed = handset.owner.call("PUT", &path, &until).await;
    assert_eq!(
        changed.json()["until"],
        "2027-10-31T23:00:00Z",
        "{changed:?}"
    );
    assert_eq!(status(&mut handset).await, 200);
    let unlimited =
        json!({"user": "alice", "resource": "*", "action": "list", "kind": "unlimited"});
    let replaced = handset.owner.call("POST", "/api/access", &unlimited).await;
    assert_eq!(
        (replaced.status, replaced.json()["id"].clone()),
        (200, entry["id"].clone())
    );
    assert_eq!(
        handset
            .owner
            .call("DELETE", &path, &Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(
        handset
            .owner
            .call("DELETE", &path, &Value::Null)
            .await
            .status,
        404
    );
    assert_eq!(
        handset
            .owner
            .call("PUT", &path, &json!({"kind": "unlimited"}))
            .await
            .status,
        404
    );
    assert_eq!(status(&mut handset).await, 403);
    assert_eq!(handset.owner.access().await, Vec::<Value>::new());
}

#[tokio::test]
async fn r66_the_list_comes_in_pages_and_of_one_user() {
    let handset = Asking::start("").await;
    for resource in ["contacts", "notes", "calendar"] {
        handset.owner.permit("alice", resource, "*").await;
    }
    handset.owner.permit("bob", "notes", "*").await;
    let page = handset.owner.get("/api/access?user=alice&limit=2").await;
    assert_eq!(page["access"].as_array().unwrap().len(), 2);
    let next = page["next"].as_str().unwrap();
    assert_eq!(next, "/api/access?user=alice&after=2&limit=2");
    let last = handset.owner.get(next).await;
    assert_eq!(
        (last["access"][0]["resource"].as_str(), last["next"].clone()),
        (Some("calendar"), Value::Null)
    );
}

#[tokio::test]
async fn r66_what_does_not_fit_is_told_by_field() {
    let handset = Asking::start("").await;
    let entry = |changes: Value| {
        let mut entry =
            json!({"user": "alice", "resource": "notes", "action": "list", "kind": "unlimited"});
        for (key, value) in changes.as_object().unwrap() {
            entry[key] = value.clone();
        }
        entry
    };
    for (changes, field) in [
        (json!({"user": "carol"}), "user"),
        (json!({"resource": "note"}), "resource"),
        (json!({"action": "read"}), "action"),
        (json!({"action": "execute"}), "action"),
        (json!({"kind": "sometimes"}), "kind"),
        (json!({"times": 3}), "times"),
        (json!({"seconds": 3}), "seconds"),
        (json!({"kind": "temporary"}), "seconds"),
        (json!({"kind": "temporary", "seconds": 0}), "seconds"),
        (json!({"kind": "temporary", "until": "tomorrow"}), "until"),
        (
            json!({"kind": "temporary", "until": "2020-01-01T00:00:00Z"}),
            "until",
        ),
        (
            json!({"kind": "temporary", "until": "2900-01-01T00:00:00Z"}),
            "until",
        ),
        (json!({"kind": "number-of-times"}), "times"),
        (
            json!({"kind": "number-of-times", "times": 1_000_001}),
            "times",
        ),
    ] {
        let refused = handset
            .owner
            .call("POST", "/api/access", &entry(changes.clone()))
            .await;
        assert_eq!(
            (refused.status, refused.json()["field"].as_str()),
            (400, Some(field)),
            "{changes}"
        );
    }
    assert_eq!(handset.owner.access().await, Vec::<Value>::new());
}

#[tokio::test]
async fn r66_what_can_not_be_read_is_told() {
    let handset = Asking::start("").await;
    for body in ["", "[]", "{\"user\": \"alice\"}", "{\"kind\": 1}"] {
        let refused = handset
            .owner
            .begin("POST", "/api/access", body)
            .await
            .answer()
            .await;
        assert_eq!(
            (refused.status, refused.json()["type"].as_str()),
            (400, Some("urn:everline:agent:bad-item"))
        );
    }
    let unknown = json!({"user": "alice", "resource": "notes", "action": "list", "kind": "unlimited", "colour": 1});
    let unknown = handset.owner.call("POST", "/api/access", &unknown).await;
    assert!(unknown.body.contains("colour"), "{unknown:?}");
    for path in [
        "/api/access?limit=0",
        "/api/access?after=x",
        "/api/access?colour=1",
        "/api/audit?decision=maybe",
    ] {
        let refused = handset.owner.call("GET", path, &Value::Null).await;
        assert_eq!(
            (refused.status, refused.json()["type"].as_str()),
            (400, Some("urn:everline:agent:bad-query")),
            "{path}"
        );
    }
    let long = json!({"user": "x".repeat(20_000)});
    assert_eq!(
        handset
            .owner
            .call("POST", "/api/access", &long)
            .await
            .status,
        413
    );
    let wrong = handset
        .owner
        .call("PATCH", "/api/access", &Value::Null)
        .await;
    assert_eq!(
        (wrong.status, wrong.json()["type"].as_str()),
        (405, Some("urn:everline:agent:method-not-allowed"))
    );
    assert_eq!(handset.owner.access().await, Vec::<Value>::new());
}

#[tokio::test]
async fn r66_a_user_who_is_taken_away_takes_the_entries_along() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("bob", "notes", "list").await;
    let (mut waiting, _) = handset.note("bob", "one").await;
    let gone = handset
        .owner
        .call("DELETE", "/api/users/bob", &Value::Null)
        .await;
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(waiting.answer().await.status, 403);
    assert_eq!(handset.owner.access().await, Vec::<Value>::new());
    assert_eq!(handset.send("bob", "GET /notes", "").await.status, 401);
    // Whoever gets the name later begins with nothing.
    let added = json!({"name": "bob", "password": "correct horse"});
    let added = handset.owner.call("POST", "/api/users", &added).await;
    assert_eq!(
        (added.status, added.json()["name"].as_str()),
        (201, Some("bob")),
        "{added:?}"
    );
    let (again, _) = handset.note("bob", "two").await;
    drop(again);
    let users = handset.owner.get("/api/users").await;
    let names: Vec<_> = users["users"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["alice", "bob"]);
}

#[tokio::test]
async fn r66_who_is_kept_out_waits_for_no_answer() {
    let mut handset = Asking::start("").await;
    let (mut waiting, _) = handset.note("bob", "one").await;
    let (of_alice, _) = handset.note("alice", "one").await;
    let out = json!({"disabled": true});
    let out = handset
        .owner
        .call("PUT", "/api/users/bob/disabled", &out)
        .await;
    assert_eq!(out.status, 204, "{out:?}");
    let denied = waiting.answer().await;
    assert_eq!(denied.status, 403);
    assert!(
        denied.body.contains("does not let this user in"),
        "{denied:?}"
    );
    let prompts = handset.owner.prompts().await;
    assert_eq!((prompts.len(), &prompts[0]["user"]), (1, &json!("alice")));
    drop(of_alice);
}

#[tokio::test]
async fn r66_remote_users_are_managed() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("alice", "notes", "list").await;
    let call = async |handset: &Asking, method: &str, path: &str, body: Value| {
        handset.owner.call(method, path, &body).await.status
    };
    assert_eq!(
        call(
            &handset,
            "PUT",
            "/api/users/alice/disabled",
            json!({"disabled": true})
        )
        .await,
        204
    );
    assert_eq!(handset.send("alice", "GET /notes", "").await.status, 401);
    assert_eq!(
        call(
            &handset,
            "PUT",
            "/api/users/alice/disabled",
            json!({"disabled": false})
        )
        .await,
        204
    );
    assert_eq!(handset.send("alice", "GET /notes", "").await.status, 200);
    assert_eq!(
        call(
            &handset,
            "PUT",
            "/api/users/alice/password",
            json!({"password": "another one"})
        )
        .await,
        204
    );
    assert_eq!(handset.send("alice", "GET /notes", "").await.status, 401);
    assert_eq!(
        call(
            &handset,
            "PUT",
            "/api/users/alice/password",
            json!({"password": "short"})
        )
        .await,
        400
    );
    assert_eq!(
        call(&handset, "POST", "/api/users/alice/unlock", Value::Null).await,
        204
    );
    for path in ["/api/users/carol", "/api/users/a%2Fb"] {
        assert_eq!(
            call(&handset, "DELETE", path, Value::Null).await,
            404,
            "{path}"
        );
    }
    let taken = json!({"name": "bob", "password": "wonderland"});
    let taken = handset.owner.call("POST", "/api/users", &taken).await;
    assert_eq!(
        (taken.status, taken.json()["field"].as_str()),
        (400, Some("name")),
        "{taken:?}"
    );
}

#[tokio::test]
async fn r65_grants_of_the_configuration_are_put_in_once() {
    let grants = "[[grant]]\nuser = \"alice\"\nresource = \"notes\"\nactions = [\"list\"]\n";
    let mut handset = Asking::start(grants).await;
    assert_eq!(handset.send("alice", "GET /notes", "").await.status, 200);
    let entry = &handset.owner.access().await[0];
    let path = format!("/api/access/{}", entry["id"].as_str().unwrap());
    assert_eq!(
        handset
            .owner
            .call("DELETE", &path, &Value::Null)
            .await
            .status,
        204
    );
    handset.kill_and_start().await;
    assert_eq!(
        handset.owner.access().await,
        Vec::<Value>::new(),
        "what the owner deleted stays so"
    );
}
