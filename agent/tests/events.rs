//! `GET /events`: what happens on the handset, told while it happens (R15), to those whom it concerns.

mod support;

use everline_agent::device::{Mode, Number};
use everline_agent::serve::builtin::events::BEHIND_MAX;
use everline_agent::serve::builtin::events::stream::LISTENERS_MAX;
use serde_json::{Value, json};
use support::inside::{Inside, OPEN, QUICK};
use support::{Agent, Channel, Gateway, soon};
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

async fn handset() -> Inside {
    Inside::start(&format!("{OPEN}{QUICK}")).await
}

/// One who listens, behind the head of the answer.
struct Listener(Channel);

impl Listener {
    async fn of(handset: &Inside, headers: &str) -> Self {
        let mut listener = Self(handset.begin("GET /events", headers, "").await);
        let head = listener.lines(|line| line.is_empty()).await;
        assert!(head[0].contains(" 200 "), "{head:?}");
        assert!(
            head.iter()
                .any(|line| line == "content-type: text/event-stream"),
            "{head:?}"
        );
        listener.lines(|line| line.starts_with("retry: ")).await;
        listener
    }

    async fn lines(&mut self, until: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        soon("an event", async {
            loop {
                let mut line = String::new();
                assert_ne!(
                    self.0.stream.read_line(&mut line).await.unwrap(),
                    0,
                    "{lines:?}"
                );
                let line = line.trim_end().to_owned();
                let last = until(&line);
                lines.push(line);
                if last {
                    return;
                }
            }
        })
        .await;
        lines
    }

    /// The next event: id, kind, data.
    async fn next(&mut self) -> (String, String, Value) {
        let lines = self.lines(|line| line.starts_with("data: ")).await;
        let value = |name: &str| {
            let mut values = lines.iter().filter_map(|line| line.strip_prefix(name));
            values.next().unwrap().to_owned()
        };
        let data = serde_json::from_str(&value("data: ")).unwrap();
        (value("id: "), value("event: "), data)
    }

    /// The next event of this kind.
    async fn of_kind(&mut self, wanted: &str) -> (String, Value) {
        loop {
            let (id, kind, data) = self.next().await;
            if kind == wanted {
                return (id, data);
            }
        }
    }
}

#[tokio::test]
async fn r15_state_calls_messages_and_tasks_are_told_as_they_happen() {
    let handset = handset().await;
    let mut listener = Listener::of(&handset, "Accept: text/event-stream\r\n").await;
    handset.device.set_battery(33);
    let (_, battery) = listener.of_kind("battery").await;
    assert_eq!(battery["percent"], 33);
    handset.device.set_mode(Mode::Silent);
    assert_eq!(listener.of_kind("mode").await.1, json!({"mode": "silent"}));
    handset.device.set_covered(false);
    assert_eq!(listener.of_kind("coverage").await.1["technology"], "none");
    handset.device.set_covered(true);
    handset.device.receive_call(Number::parse("600111222"));
    let (_, ringing) = listener.of_kind("call").await;
    assert_eq!(
        ringing,
        json!({"direction": "in", "state": "ringing", "href": null})
    );
    let (_, missed) = listener.of_kind("call").await;
    assert_eq!(
        missed,
        json!({"direction": "in", "state": "ended", "href": "/incoming-calls/1"})
    );
    assert!(handset.device.receive_sms("600111222", "secret").unwrap());
    let (_, sms) = listener.of_kind("sms").await;
    assert_eq!(sms, json!({"href": "/sms/1", "state": "received"}));
    handset
        .post(
            "/services/send-sms",
            r#"{"number": "600000021", "text": "x"}"#,
        )
        .await;
    let (_, task) = listener.of_kind("task").await;
    assert_eq!(
        (&task["href"], &task["state"]),
        (&json!("/tasks/1"), &json!("running"))
    );
    assert_eq!(listener.of_kind("task").await.1["state"], "done");
    loop {
        let (_, sms) = listener.of_kind("sms").await;
        assert_eq!(sms["href"], "/sms/2");
        if sms["state"] == "delivered" {
            break;
        }
    }
}

#[tokio::test]
async fn r15_a_listener_who_comes_back_hears_what_it_missed_or_that_it_did() {
    let handset = handset().await;
    let mut listener = Listener::of(&handset, "").await;
    handset.device.set_battery(10);
    let (first, _) = listener.of_kind("battery").await;
    drop(listener);
    handset.device.set_battery(20);
    handset.device.set_battery(30);
    let mut back = Listener::of(&handset, &format!("Last-Event-ID: {first}\r\n")).await;
    assert_eq!(back.of_kind("battery").await.1["percent"], 20);
    assert_eq!(back.of_kind("battery").await.1["percent"], 30);
    for strange in ["0-7", "nothing"] {
        let mut other = Listener::of(&handset, &format!("Last-Event-ID: {strange}\r\n")).await;
        assert_eq!(other.next().await.1, "lost");
    }
    let mut watcher = Listener::of(&handset, "").await;
    for n in 0..BEHIND_MAX + 2 {
        handset.device.set_battery(u8::try_from(n % 100).unwrap());
        // One by one: the device's own queue is as long, and must not be what overflows.
        watcher.of_kind("battery").await;
    }
    let mut late = Listener::of(&handset, &format!("Last-Event-ID: {first}\r\n")).await;
    assert_eq!(late.next().await.1, "lost");
    assert_eq!(late.next().await.1, "battery");
}

#[tokio::test]
async fn r15_listeners_are_bounded_and_their_places_are_given_back() {
    let handset = handset().await;
    let mut listeners = Vec::new();
    for _ in 0..LISTENERS_MAX {
        listeners.push(Listener::of(&handset, "").await);
    }
    let refused = handset.get("/events").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "30"));
    assert_eq!(
        refused.json()["type"],
        "urn:everline:agent:too-many-listeners"
    );
    listeners.pop();
    soon("a place is free", async {
        loop {
            let mut next = handset.begin("GET /events", "", "").await;
            let mut line = String::new();
            next.stream.read_line(&mut line).await.unwrap();
            if line.contains(" 200 ") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let picky = handset
        .send("GET /events", "Accept: application/json\r\n", "")
        .await;
    assert_eq!(picky.status, 406);
}

#[tokio::test]
async fn r49_tasks_are_told_to_their_own_user_alone() {
    let users = "[[user]]\nname = \"alice\"\npassword = \"wonderland\"\n\
        [[user]]\nname = \"bob\"\npassword = \"correct horse\"\n";
    let handset = Inside::start(&format!(
        "{users}[builtin]\ndatabase = \"handset.db\"\n[consent]\nenabled = false\n{QUICK}"
    ))
    .await;
    let (alice, bob) = (support::owner::user("alice"), support::owner::user("bob"));
    let mut alices = Listener::of(&handset, &alice).await;
    let mut bobs = Listener::of(&handset, &bob).await;
    let begun = handset
        .send("POST /services/call", &alice, r#"{"number": "600000022"}"#)
        .await;
    assert_eq!(begun.status, 202);
    assert_eq!(alices.of_kind("task").await.1["state"], "running");
    assert_eq!(alices.of_kind("task").await.1["state"], "done");
    handset.device.set_battery(5);
    loop {
        let (_, kind, _) = bobs.next().await;
        assert_ne!(kind, "task");
        if kind == "battery" {
            break;
        }
    }
}

#[tokio::test]
async fn r11_links_fit_the_form_in_which_the_listener_came() {
    let handset = handset().await;
    let mut listener = Listener::of(&handset, "X-Forwarded-Prefix: /34600000001\r\n").await;
    assert!(handset.device.receive_sms("600111222", "hello").unwrap());
    let (_, sms) = listener.of_kind("sms").await;
    assert_eq!(sms["href"], "/34600000001/sms/1");
}

#[tokio::test]
async fn r15_listeners_and_those_who_wait_for_a_task_do_not_hold_up_the_agents_end() {
    let gateway = Gateway::start().await;
    // Far longer than the test may take.
    let config = format!("shutdown_timeout_ms = 60000\n{OPEN}[device]\nkind = \"simulated\"\n");
    let mut agent = Agent::start(&[&gateway], &config);
    let mut signaling = gateway.registered().await;
    let request = |start: &str| format!("{start} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    let video = gateway
        .request(&mut signaling, &request("POST /services/record-video"))
        .await;
    assert_eq!(video.status, 202);
    let mut begun = Vec::new();
    for start in ["GET /events", "GET /tasks/1?wait_s=50"] {
        signaling.signal().await;
        let (mut channel, _) = gateway.channel().await;
        channel.send(request(start).as_bytes()).await;
        begun.push(channel);
    }
    let mut events = Listener(begun.remove(0));
    events.lines(|line| line.starts_with("retry: ")).await;
    agent.terminate();
    let task = begun.remove(0).answer().await;
    assert_eq!(
        (task.status, task.json()["state"].as_str()),
        (200, Some("running"))
    );
    let mut rest = String::new();
    soon(
        "the stream's end",
        events.0.stream.read_to_string(&mut rest),
    )
    .await
    .unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "it ends in order: {rest:?}");
    drop((begun, events, signaling));
    assert!(agent.ended().await.success());
}
