//! State, services and their tasks (R32 to R46), with the simulated handset's controls in the test's hands.

mod support;

use everline_agent::device::simulated::Incoming;
use everline_agent::device::{Mode, Number};
use serde_json::{Value, json};
use support::inside::{Inside, OPEN, QUICK};
use support::soon;
use tokio::io::AsyncReadExt;

async fn handset() -> Inside {
    Inside::start(&format!("{OPEN}{QUICK}")).await
}

/// A handset whose calls last until somebody hangs up.
async fn patient() -> Inside {
    let device = QUICK.replace("talk_ms = 20", "talk_ms = 600000");
    Inside::start(&format!("{OPEN}{device}")).await
}

fn number(text: &str) -> Number {
    Number::parse(text).unwrap()
}

fn kind(problem: &Value) -> &str {
    problem["type"]
        .as_str()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
}

#[tokio::test]
async fn r36_r37_r38_state_is_told_as_the_device_has_it() {
    let handset = handset().await;
    handset.device.set_battery(42);
    handset.device.plug(true);
    let battery = handset.get("/state/battery").await;
    assert_eq!(battery.json(), json!({"percent": 42, "charging": true}));
    let known = format!("If-None-Match: {}\r\n", battery.header("etag"));
    let same = handset.send("GET /state/battery", &known, "").await;
    assert_eq!((same.status, same.body.as_str()), (304, ""));
    handset.device.plug(false);
    let other = handset.send("GET /state/battery", &known, "").await;
    assert_eq!(other.json(), json!({"percent": 42, "charging": false}));
    let xml = handset
        .send("GET /state/battery", "Accept: text/xml\r\n", "")
        .await;
    assert!(
        xml.body
            .ends_with("<battery><percent>42</percent><charging>false</charging></battery>\n"),
        "{xml:?}"
    );

    let covered = handset.get("/state/coverage").await.json();
    assert!(
        (1..=5).contains(&covered["bars"].as_i64().unwrap()),
        "{covered}"
    );
    assert!(
        covered["operator"].is_string() && covered["dbm"].is_i64(),
        "{covered}"
    );
    handset.device.set_covered(false);
    let lost = handset.get("/state/coverage").await.json();
    assert_eq!(lost, json!({"bars": 0, "technology": "none"}));

    for (mode, name) in [
        (Mode::Normal, "normal"),
        (Mode::High, "high"),
        (Mode::Silent, "silent"),
        (Mode::Vibrate, "vibrate"),
    ] {
        handset.device.set_mode(mode);
        assert_eq!(
            handset.get("/state/mode").await.json(),
            json!({"mode": name})
        );
    }
    for start in ["POST /state/mode", "DELETE /state/battery"] {
        let refused = handset.send(start, "", "").await;
        assert_eq!(refused.status, 405, "{start}");
        assert!(refused.header("allow").contains("GET"), "{refused:?}");
    }
    let none = handset
        .send("GET /state/mode", "Accept: image/png\r\n", "")
        .await;
    assert_eq!(none.status, 406);
}

#[tokio::test]
async fn r34_r35_r40_a_call_is_made_and_its_end_is_in_the_outgoing_log() {
    let handset = handset().await;
    for (id, (to, outcome)) in [
        ("+34600000021", "answered"),
        ("600 000 022", "busy"),
        ("600000023", "no-answer"),
        ("600000024", "failed"),
    ]
    .into_iter()
    .enumerate()
    {
        let task = handset
            .done("call", &json!({"number": to}).to_string())
            .await;
        assert_eq!(task["state"], "done", "{task}");
        assert_eq!(
            (&task["resource"], &task["action"]),
            (&json!("call"), &json!("execute"))
        );
        let href = format!("/outgoing-calls/{}", id + 1);
        assert_eq!(task["result"], href);
        let call = handset.get(&href).await.json();
        assert_eq!(call["outcome"], outcome, "{call}");
        assert_eq!(call["number"], to.replace(' ', ""));
        assert!(
            call["at"].is_string() && call["length_s"].is_i64(),
            "{call}"
        );
    }
    let refused = handset.done("call", r#"{"number": "600000025"}"#).await;
    assert_eq!(
        (refused["state"].as_str(), refused["problem"].as_str()),
        (Some("failed"), Some("refused-by-network"))
    );
    let log = handset.get("/outgoing-calls").await.json();
    assert_eq!(log["outgoing-calls"].as_array().unwrap().len(), 4);
    assert_eq!(
        handset
            .send("DELETE /outgoing-calls/2", "", "")
            .await
            .status,
        204
    );
    assert_eq!(handset.get("/outgoing-calls/2").await.status, 404);
    assert_eq!(
        handset.send("DELETE /outgoing-calls", "", "").await.status,
        204
    );
    let log = handset.get("/outgoing-calls").await.json();
    assert_eq!(log["outgoing-calls"], json!([]));
}

#[tokio::test]
async fn r40_a_call_is_hung_up_by_deleting_its_task_and_there_is_one_at_a_time() {
    let handset = patient().await;
    let begun = handset
        .post("/services/call", r#"{"number": "600000021"}"#)
        .await;
    assert_eq!(
        (begun.status, begun.json()["state"].as_str()),
        (202, Some("running"))
    );
    assert_eq!(begun.header("retry-after"), "2");
    let task = begun.header("location").to_owned();
    let second = handset.done("call", r#"{"number": "600000031"}"#).await;
    assert_eq!(
        (second["state"].as_str(), second["problem"].as_str()),
        (Some("failed"), Some("device-busy"))
    );
    assert_eq!(
        handset.send(&format!("DELETE {task}"), "", "").await.status,
        204
    );
    let ended = handset.ended(&task).await;
    assert_eq!(
        (ended["state"].as_str(), ended["result"].as_str()),
        (Some("done"), Some("/outgoing-calls/1"))
    );
    // It has ended already: nothing is left to do.
    assert_eq!(
        handset.send(&format!("DELETE {task}"), "", "").await.status,
        204
    );
}

#[tokio::test]
async fn r32_r33_r39_incoming_calls_are_in_their_log_missed_ones_too() {
    let handset = handset().await;
    let Incoming::Rings(_) = handset.device.receive_call(Some(number("+34600111222"))) else {
        panic!("it rings");
    };
    let missed = handset.becomes("/incoming-calls/1", |_| true).await;
    assert_eq!(
        (&missed["number"], &missed["outcome"]),
        (&json!("+34600111222"), &json!("no-answer"))
    );
    assert_eq!(missed["store"], "phone");
    let Incoming::Rings(call) = handset.device.receive_call(None) else {
        panic!("it rings");
    };
    assert!(handset.device.answer(call));
    let taken = handset.becomes("/incoming-calls/2", |_| true).await;
    assert_eq!(
        (taken.get("number"), &taken["outcome"]),
        (None, &json!("answered"))
    );
    let xml = handset
        .send("GET /incoming-calls", "Accept: application/xml\r\n", "")
        .await;
    assert!(xml.body.contains("<outcome>no-answer</outcome>"), "{xml:?}");
    assert_eq!(
        handset
            .send("DELETE /incoming-calls/1", "", "")
            .await
            .status,
        204
    );
    assert_eq!(
        handset.send("DELETE /incoming-calls", "", "").await.status,
        204
    );
    assert_eq!(
        handset.get("/incoming-calls").await.json()["incoming-calls"],
        json!([])
    );
    let added = handset.post("/incoming-calls", "{}").await;
    assert_eq!(added.status, 405);
}

#[tokio::test]
async fn r41_calls_are_diverted_read_back_and_cancelled() {
    let handset = handset().await;
    for body in [
        json!({"reason": "busy", "to": "+34600333444"}),
        json!({"reason": "no-answer", "to": "600555666", "after_s": 15}),
        json!({"reason": "unreachable", "to": "600777888"}),
    ] {
        let task = handset.done("divert", &body.to_string()).await;
        assert_eq!(
            (task["state"].as_str(), task["result"].as_str()),
            (Some("done"), Some("/services/divert"))
        );
    }
    let shown = handset.get("/services/divert").await.json();
    assert_eq!(
        shown["divert"],
        json!([
            {"reason": "unconditional"},
            {"reason": "busy", "to": "+34600333444"},
            {"reason": "no-answer", "to": "600555666", "after_s": 15},
            {"reason": "unreachable", "to": "600777888"},
        ])
    );
    handset
        .done(
            "divert",
            r#"{"reason": "unconditional", "to": "600999000"}"#,
        )
        .await;
    let Incoming::Diverted(diverted) = handset.device.receive_call(Some(number("600111222")))
    else {
        panic!("all calls go elsewhere");
    };
    assert_eq!(diverted.to, number("600999000"));
    let cancelled = handset
        .send("DELETE /services/divert?reason=unconditional", "", "")
        .await;
    assert_eq!((cancelled.status, cancelled.body.as_str()), (204, ""));
    assert!(matches!(
        handset.device.receive_call(None),
        Incoming::Rings(_)
    ));
    assert_eq!(
        handset
            .send("DELETE /services/divert", "Idempotency-Key: all\r\n", "")
            .await
            .status,
        204
    );
    assert_eq!(
        handset
            .send("DELETE /services/divert", "Idempotency-Key: all\r\n", "")
            .await
            .status,
        204
    );
    let shown = handset.get("/services/divert").await.json();
    assert!(
        shown["divert"]
            .as_array()
            .unwrap()
            .iter()
            .all(|d| d.get("to").is_none()),
        "{shown}"
    );
    let odd = handset
        .send("DELETE /services/divert?reason=always", "", "")
        .await;
    assert_eq!((odd.status, kind(&odd.json())), (400, "bad-query"));
}

#[tokio::test]
async fn r42_an_sms_is_sent_in_parts_and_its_delivery_is_told() {
    let handset = handset().await;
    let long = "All work and no play makes Jack a dull boy. ".repeat(8);
    let body = json!({"number": "+34600000021", "text": long}).to_string();
    let task = handset.done("send-sms", &body).await;
    assert_eq!(
        (task["state"].as_str(), task["result"].as_str()),
        (Some("done"), Some("/sms/1"))
    );
    let sms = handset
        .becomes("/sms/1", |sms| sms["state"] == "delivered")
        .await;
    assert_eq!(
        (&sms["direction"], &sms["parts"], &sms["encoding"]),
        (&json!("out"), &json!(3), &json!("gsm-7"))
    );
    assert_eq!(
        (&sms["number"], &sms["text"]),
        (&json!("+34600000021"), &json!(long.trim()))
    );
    assert!(sms["delivered_at"].is_string(), "{sms}");
    assert_eq!(
        handset
            .air()
            .iter()
            .filter(|line| line.starts_with("sms "))
            .count(),
        3
    );

    handset
        .done(
            "send-sms",
            r#"{"number": "600000024", "text": "ça va? 你好"}"#,
        )
        .await;
    let expired = handset
        .becomes("/sms/2", |sms| sms["state"] == "failed")
        .await;
    assert_eq!(
        (&expired["encoding"], &expired["parts"]),
        (&json!("ucs-2"), &json!(1))
    );
    assert!(expired["error"].is_string(), "{expired}");

    let refused = handset
        .done("send-sms", r#"{"number": "600000025", "text": "x"}"#)
        .await;
    assert_eq!(
        (refused["state"].as_str(), refused["problem"].as_str()),
        (Some("failed"), Some("refused-by-network"))
    );
    assert_eq!(refused["result"], "/sms/3");
    let failed = handset.get("/sms/3").await.json();
    assert!(
        failed["state"] == "failed" && failed["error"].is_string(),
        "{failed}"
    );

    handset.device.set_covered(false);
    let alone = handset
        .done("send-sms", r#"{"number": "600000021", "text": "x"}"#)
        .await;
    assert_eq!(alone["problem"], "no-coverage");
}

#[tokio::test]
async fn r24_an_sms_that_comes_is_whole_even_if_its_parts_come_before_and_after_a_restart() {
    let handset = handset().await;
    assert!(handset.device.receive_sms("+34600111222", "hello").unwrap());
    let sms = handset.becomes("/sms/1", |_| true).await;
    assert_eq!(
        (&sms["number"], &sms["text"], &sms["state"]),
        (&json!("+34600111222"), &json!("hello"), &json!("received"))
    );
    let text = "Three parts, of which the second comes first. ".repeat(8);
    let now = time::OffsetDateTime::now_utc();
    let parts = everline_agent::gsm::sms::deliver("Everline", text.trim(), 9, now).unwrap();
    let octets = parts.concat();
    let [first, second, third] = parts.try_into().unwrap();
    for part in [second.clone(), first, second] {
        assert!(handset.device.receive_tpdu(part));
    }
    // What came later is there: so what came before was taken, too.
    assert!(handset.device.receive_sms("600333444", "between").unwrap());
    handset
        .becomes("/sms/2", |sms| sms["text"] == "between")
        .await;
    let handset = handset.restart().await;
    assert!(handset.device.receive_tpdu(third));
    let whole = handset.becomes("/sms/3", |_| true).await;
    assert_eq!(
        (&whole["number"], &whole["text"], &whole["parts"]),
        (&json!("Everline"), &json!(text.trim()), &json!(3))
    );
    let tpdu = "Accept: application/vnd.everline.sms-tpdu\r\n";
    let mut channel = handset.begin("GET /sms/3", tpdu, "").await;
    let mut kept = Vec::new();
    soon("the answer", channel.stream.read_to_end(&mut kept))
        .await
        .unwrap();
    assert!(
        kept.starts_with(b"HTTP/1.1 200") && kept.ends_with(&octets),
        "as it came: {kept:?}"
    );
}

#[tokio::test]
async fn r24_a_part_whose_others_never_come_is_kept_as_it_is() {
    let handset = handset().await;
    let text = "Two parts, of which one is lost on its way. ".repeat(5);
    let now = time::OffsetDateTime::now_utc();
    let parts = everline_agent::gsm::sms::deliver("Everline", text.trim(), 9, now).unwrap();
    assert!(handset.device.receive_tpdu(parts[0].clone()));
    assert!(handset.device.receive_sms("600333444", "behind").unwrap());
    handset
        .becomes("/sms/1", |sms| sms["text"] == "behind")
        .await;
    let database = rusqlite::Connection::open(handset.directory.path().join("handset.db")).unwrap();
    let waiting = database.execute("UPDATE sms_parts SET at_s = 0", []);
    assert_eq!(waiting.unwrap(), 1);
    drop(database);
    let handset = handset.restart().await;
    let sms = handset.becomes("/sms/2", |_| true).await;
    let came = sms["text"].as_str().unwrap();
    assert!(text.starts_with(came) && came.len() > 100, "{sms}");
    assert_eq!(sms["number"], "Everline");
}

#[tokio::test]
async fn r43_r44_messages_go_with_the_handsets_own_files_and_are_kept_as_they_went() {
    let handset = handset().await;
    let photograph = handset.done("photograph", "").await;
    let image = photograph["result"].as_str().unwrap();
    let body =
        json!({"to": ["+34600000021"], "subject": "Look", "text": "A picture", "attach": [image]});
    let task = handset.done("send-mms", &body.to_string()).await;
    assert_eq!(
        (task["state"].as_str(), task["result"].as_str()),
        (Some("done"), Some("/mms/1")),
        "{task}"
    );
    let mms = handset.get("/mms/1").await.json();
    assert_eq!(
        (&mms["state"], &mms["direction"], &mms["to"]),
        (&json!("sent"), &json!("out"), &json!(["+34600000021"]))
    );
    assert_eq!(
        (
            &mms["subject"],
            mms["attachments"].as_array().unwrap().len()
        ),
        (&json!("Look"), 1),
        "{mms}"
    );

    let body = json!({
        "to": ["Ada <ada@example.com>"], "cc": ["bob@example.com"], "subject": "Grüße",
        "text": "Hello\nAda", "attach": [image],
    });
    let task = handset.done("send-email", &body.to_string()).await;
    assert_eq!(
        (task["state"].as_str(), task["result"].as_str()),
        (Some("done"), Some("/emails/1")),
        "{task}"
    );
    let email = handset.get("/emails/1").await.json();
    assert_eq!(
        (&email["state"], &email["subject"], &email["text"]),
        (&json!("sent"), &json!("Grüße"), &json!("Hello\nAda"))
    );
    assert_eq!(email["cc"], json!(["bob@example.com"]));
    let raw = handset
        .send("GET /emails/1", "Accept: message/rfc822\r\n", "")
        .await;
    assert_eq!(
        (raw.status, raw.header("content-type")),
        (200, "message/rfc822")
    );
    assert!(raw.body.contains("image/jpeg"), "{raw:?}");
    let air = handset.air();
    for kind in ["mms ", "email "] {
        assert_eq!(
            air.iter().filter(|line| line.starts_with(kind)).count(),
            1,
            "{air:?}"
        );
    }
    let gone = handset
        .post(
            "/services/send-mms",
            r#"{"to": ["1"], "attach": ["/images/99"]}"#,
        )
        .await;
    assert_eq!(
        (gone.status, gone.json()["field"].as_str()),
        (400, Some("attach[0]"))
    );
    assert_eq!(
        handset.get("/mms").await.json()["mms"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn r25_r26_messages_that_come_are_kept() {
    let handset = handset().await;
    let message = "From: Ada <ada@example.com>\r\nTo: me@example.com\r\nSubject: Hi\r\n\
        Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n\r\nHello\r\n";
    assert!(handset.device.receive_email(message.as_bytes().to_vec()));
    let email = handset.becomes("/emails/1", |_| true).await;
    assert_eq!(
        (&email["subject"], &email["state"], &email["direction"]),
        (&json!("Hi"), &json!("received"), &json!("in"))
    );
    let raw = handset
        .send("GET /emails/1", "Accept: message/rfc822\r\n", "")
        .await;
    assert_eq!(raw.body, message);
    let message = message.replace("ada@example.com", "+34600111222");
    assert!(handset.device.receive_mms(message.into_bytes()));
    let mms = handset.becomes("/mms/1", |_| true).await;
    assert_eq!(
        (&mms["subject"], &mms["state"]),
        (&json!("Hi"), &json!("received"))
    );
}

#[tokio::test]
async fn r45_r46_photographs_and_videos_become_images_and_videos() {
    let handset = handset().await;
    let task = handset.done("photograph", r#"{"title": "The sea"}"#).await;
    assert_eq!(
        (task["state"].as_str(), task["result"].as_str()),
        (Some("done"), Some("/images/1")),
        "{task}"
    );
    let image = handset.get("/images/1").await.json();
    assert_eq!(
        (&image["title"], &image["media_type"]),
        (&json!("The sea"), &json!("image/jpeg"))
    );
    assert!(
        image["bytes"].as_i64().unwrap() > 100 && image["width"].as_i64().unwrap() > 0,
        "{image}"
    );

    let task = handset.done("record-video", r#"{"length_s": 1}"#).await;
    assert_eq!(
        (task["state"].as_str(), task["result"].as_str()),
        (Some("done"), Some("/videos/1")),
        "{task}"
    );
    let begun = handset.post("/services/record-video", "{}").await;
    let task = begun.header("location").to_owned();
    assert_eq!(
        handset.send(&format!("DELETE {task}"), "", "").await.status,
        204
    );
    let stopped = handset.ended(&task).await;
    assert_eq!(
        (stopped["state"].as_str(), stopped["result"].as_str()),
        (Some("done"), Some("/videos/2")),
        "{stopped}"
    );
    let video = handset.get("/videos/2").await.json();
    assert_eq!(video["media_type"], "video/mp4");
    assert!(video["length_ms"].as_i64().unwrap() < 60_000, "{video}");
}

#[tokio::test]
async fn r17_what_a_service_can_not_read_is_refused_by_name_and_nothing_is_done() {
    let handset = handset().await;
    for (service, body, status, slug) in [
        ("call", "{}", 400, "bad-item"),
        ("call", r#"{"number": "x"}"#, 400, "bad-item"),
        ("call", r#"{"numbr": "1"}"#, 400, "bad-item"),
        ("send-sms", "not JSON", 400, "bad-item"),
        ("record-video", r#"{"length_s": 0}"#, 400, "bad-item"),
    ] {
        let refused = handset.post(&format!("/services/{service}"), body).await;
        assert_eq!(
            (refused.status, kind(&refused.json())),
            (status, slug),
            "{service} {body}"
        );
    }
    let plain = handset
        .send("POST /services/call", "Content-Type: text/plain\r\n", "600")
        .await;
    assert_eq!(plain.status, 415);
    let xml = "Content-Type: application/xml\r\nAccept: application/xml\r\n";
    let call = handset
        .send(
            "POST /services/call",
            xml,
            "<call><number>600000022</number></call>",
        )
        .await;
    assert_eq!(call.status, 202);
    assert!(
        call.body
            .contains("<task id=\"1\"><resource>call</resource>"),
        "{call:?}"
    );
    assert_eq!(handset.get("/services/call").await.status, 405);
    assert_eq!(handset.get("/tasks/7").await.status, 404);
    assert_eq!(handset.get("/tasks/1?wait_s=51").await.status, 400);
    assert_eq!(handset.air().len(), 1);
}

#[tokio::test]
async fn r42_a_request_that_is_sent_twice_is_done_once() {
    let handset = handset().await;
    let (key, json) = (
        "Idempotency-Key: k-1\r\n",
        "Content-Type: application/json\r\n",
    );
    let send = async |body: &str| {
        let headers = format!("{key}{json}");
        handset
            .send("POST /services/send-sms", &headers, body)
            .await
    };
    let body = r#"{"number": "600000021", "text": "once"}"#;
    let first = send(body).await;
    let task = first.header("location").to_owned();
    handset.ended(&task).await;
    let second = send(body).await;
    assert_eq!(
        (second.status, second.header("location")),
        (202, task.as_str())
    );
    assert_eq!(second.json()["state"], "done");
    let other = send(r#"{"number": "600000021", "text": "twice"}"#).await;
    assert_eq!((other.status, kind(&other.json())), (422, "key-reused"));
    assert_eq!(handset.air().len(), 1);
    let handset = handset.restart().await;
    let headers = format!("{key}{json}");
    let after = handset
        .send("POST /services/send-sms", &headers, body)
        .await;
    assert_eq!(
        (after.status, after.header("location")),
        (202, task.as_str())
    );
    assert_eq!(
        handset.get("/sms").await.json()["sms"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(handset.air().len(), 1);
}

#[tokio::test]
async fn r46_what_was_going_on_when_the_agent_ended_is_interrupted_and_not_done_again() {
    let handset = patient().await;
    let begun = handset
        .post("/services/call", r#"{"number": "600000021"}"#)
        .await;
    let task = begun.header("location").to_owned();
    soon("it dials", async {
        while handset.air().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let handset = handset.restart().await;
    let told = handset.get(&task).await.json();
    assert_eq!(
        (told["state"].as_str(), told["problem"].as_str()),
        (Some("interrupted"), Some("interrupted"))
    );
    assert_eq!(handset.air().len(), 1);
}

#[tokio::test]
async fn r42_r43_a_message_that_was_acknowledged_goes_after_a_restart_unless_the_radio_had_it() {
    let handset = handset().await;
    let body = r#"{"number": "600000021", "text": "late"}"#;
    for _ in 0..2 {
        handset.done("send-sms", body).await;
    }
    handset
        .done("send-mms", r#"{"to": ["600000021"], "text": "late"}"#)
        .await;
    for sms in ["/sms/1", "/sms/2"] {
        handset
            .becomes(sms, |sms| sms["state"] == "delivered")
            .await;
    }
    let before = handset.air().len();
    // As a kill right behind the acknowledgement leaves them; of the second the radio had heard.
    let database = rusqlite::Connection::open(handset.directory.path().join("handset.db")).unwrap();
    database
        .execute_batch(
            "UPDATE tasks SET state = 'running', handed = (id = 2);
             UPDATE sms SET content = json_set(content, '$.state', 'sending');
             UPDATE mms SET content = json_set(content, '$.state', 'sending');",
        )
        .unwrap();
    drop(database);
    let handset = handset.restart().await;
    let task = handset.ended("/tasks/1").await;
    assert_eq!(task["state"], "done", "{task}");
    let task = handset.ended("/tasks/2").await;
    assert_eq!(task["state"], "interrupted", "{task}");
    let task = handset.ended("/tasks/3").await;
    assert_eq!(task["state"], "done", "{task}");
    assert_eq!(handset.get("/sms/2").await.json()["state"], "interrupted");
    assert_eq!(handset.get("/mms/1").await.json()["state"], "sent");
    handset
        .becomes("/sms/1", |sms| sms["state"] == "delivered")
        .await;
    assert_eq!(handset.air().len(), before + 2);
    let handset = handset.restart().await;
    assert_eq!(handset.air().len(), before + 2, "nothing is left to do");
}
