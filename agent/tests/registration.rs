//! The connections manager against a gateway: R1 to R8 and R10, PROTOCOL sections 3 and 5.1.

mod support;

use std::time::{Duration, Instant};

use support::{Agent, Channel, Gateway, MSISDN, Signaling, command, soon, until};

const OPEN: &str =
    "authentication = \"none\"\n[builtin]\ndatabase = \"handset.db\"\n[consent]\nenabled = false\n";

#[tokio::test]
async fn r2_r3_r4_it_dials_out_connects_and_waits() {
    let gateway = Gateway::start().await;
    let agent = Agent::start(
        &[&gateway],
        &format!("timeout_s = 77\nlinger_s = 5\n{OPEN}"),
    );
    let mut signaling = gateway.accept().await;
    let connect = signaling.register(60).await;
    let mut words: Vec<_> = connect.split(' ').skip(1).collect();
    words.sort_unstable();
    assert!(words[0].starts_with("agent=everline-agent/"), "{connect}");
    let msisdn = format!("msisdn={MSISDN}");
    assert_eq!(
        words[1..],
        [
            "linger=5",
            &msisdn,
            "timeout=77",
            "token=eyJ.test.token",
            "version=1"
        ]
    );
    until("the log says so", || {
        agent.log().contains("registered session=00000000000004d2")
    })
    .await;
    let log = agent.log();
    assert!(!log.contains(MSISDN) && !log.contains("eyJ.test"), "{log}");
}

#[tokio::test]
async fn r8_each_keepalive_is_answered_with_waiting() {
    let gateway = Gateway::start().await;
    let _agent = Agent::start(&[&gateway], OPEN);
    let mut signaling = gateway.registered().await;
    for _ in 0..3 {
        signaling.send("KEEPALIVE").await;
        assert_eq!(signaling.line().await.as_deref(), Some("WAITING"));
    }
}

#[tokio::test]
async fn r5_r7_several_requests_are_served_at_once_and_the_session_stays() {
    let gateway = Gateway::start().await;
    let _agent = Agent::start(&[&gateway], OPEN);
    let mut signaling = gateway.registered().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(signaling.signal().await);
    }
    let mut channels: Vec<(Channel, String)> = Vec::new();
    for _ in 0..5 {
        channels.push(gateway.channel().await);
    }
    // All five are open before the first is answered, and they are answered in the order of this test.
    channels.reverse();
    for (channel, id) in &mut channels {
        ids.retain(|known| known != id);
        channel
            .send(b"GET /contacts HTTP/1.1\r\nHost: h\r\n\r\n")
            .await;
        assert_eq!(channel.answer().await.status, 200);
        assert!(channel.is_closed().await);
    }
    assert!(ids.is_empty(), "every request got its channel");
    signaling.send("KEEPALIVE").await;
    assert_eq!(signaling.line().await.as_deref(), Some("WAITING"));
}

#[tokio::test]
async fn over_its_bound_requests_wait_their_turn_and_then_are_left_to_the_gateway() {
    let gateway = Gateway::start().await;
    let agent = Agent::start(&[&gateway], &format!("data_channels_max = 1\n{OPEN}"));
    let mut signaling = gateway.registered().await;
    let first = signaling.signal().await;
    let (mut channel, id) = gateway.channel().await;
    assert_eq!(id, first);
    let second = signaling.signal().await;
    signaling.signal().await;
    until("the agent says that it is too much", || {
        agent.log().contains("every data channel is in use")
    })
    .await;
    channel.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(channel.answer().await.status, 200);
    drop(channel);
    let (_channel, id) = soon("the channel of the one that waited", gateway.channel()).await;
    assert_eq!(id, second);
}

#[tokio::test]
async fn a_request_that_is_signalled_twice_gets_one_channel() {
    let gateway = Gateway::start().await;
    let _agent = Agent::start(&[&gateway], OPEN);
    let mut signaling = gateway.registered().await;
    let id = signaling.signal().await;
    signaling.send(&format!("REQUESTPENDING id={id}")).await;
    let other = signaling.signal().await;
    let (_first, one) = gateway.channel().await;
    let (_second, two) = gateway.channel().await;
    let mut opened = [one, two];
    opened.sort();
    assert_eq!(opened, [id, other]);
}

#[tokio::test]
async fn a_data_channel_goes_where_the_signal_says() {
    let (gateway, elsewhere) = (Gateway::start().await, Gateway::start().await);
    let _agent = Agent::start(&[&gateway], OPEN);
    let mut signaling = gateway.registered().await;
    let id = "9f86d081884c7d659a2feaa0c55ad015";
    let port = elsewhere.data_port();
    signaling
        .send(&format!("REQUESTPENDING id={id} data=127.0.0.1:{port}"))
        .await;
    assert_eq!(elsewhere.channel().await.1, id);
}

#[tokio::test]
async fn a_refused_data_channel_is_closed_in_peace() {
    let gateway = Gateway::start().await;
    let agent = Agent::start(&[&gateway], OPEN);
    let mut signaling = gateway.registered().await;
    signaling.signal().await;
    let (mut channel, _) = gateway.channel().await;
    channel.send(b"ERROR code=unknown-request\r\n").await;
    assert!(channel.is_closed().await, "no HTTP answer to a refusal");
    assert!(!agent.log().contains("WARN"));
}

#[tokio::test]
async fn r10_a_lost_connection_is_made_anew() {
    let gateway = Gateway::start().await;
    let _agent = Agent::start(&[&gateway], OPEN);
    drop(gateway.registered().await);
    let mut signaling = gateway.registered().await;
    let answer = gateway.get(&mut signaling, "/contacts", "").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn r10_a_gateway_that_falls_silent_is_left() {
    let gateway = Gateway::start().await;
    let agent = Agent::start(&[&gateway], &format!("answer_timeout_ms = 100\n{OPEN}"));
    // Of no answer to CONNECT, and of no KEEPALIVE long after one was due.
    let mut unanswered = gateway.accept().await;
    assert!(unanswered.line().await.is_some());
    assert_eq!(unanswered.line().await, None);
    let mut quiet = gateway.accept().await;
    quiet.register(1).await;
    assert_eq!(quiet.line().await, None);
    let _signaling = gateway.registered().await;
    assert_eq!(agent.log().matches("fell silent").count(), 2);
}

#[tokio::test]
async fn r10_a_gateway_that_breaks_the_protocol_is_left_and_tried_again() {
    let gateway = Gateway::start().await;
    let agent = Agent::start(&[&gateway], OPEN);
    let mut signaling = gateway.accept().await;
    signaling.line().await;
    signaling.send("HTTP/1.1 400 Bad Request").await;
    let _signaling = gateway.registered().await;
    assert!(agent.log().contains("does not speak the handset protocol"));
}

#[tokio::test]
async fn r3_a_refusal_is_explained_and_its_retry_after_kept() {
    let gateway = Gateway::start().await;
    let agent = Agent::start(&[&gateway], OPEN);
    let mut signaling = gateway.accept().await;
    signaling.line().await;
    let refused = Instant::now();
    signaling
        .send("CONNREFUSED code=overloaded retry-after=1 reason=too%20much")
        .await;
    assert_eq!(signaling.line().await, None, "the agent closes");
    let _signaling = gateway.registered().await;
    assert!(refused.elapsed() >= Duration::from_secs(1));
    assert!(agent.log().contains("refused: overloaded (too much)"));
}

#[tokio::test]
async fn r3_a_bad_token_is_explained() {
    let gateway = Gateway::start().await;
    let agent = Agent::start(&[&gateway], OPEN);
    let mut signaling = gateway.accept().await;
    signaling.line().await;
    signaling.send("CONNREFUSED code=bad-token").await;
    until("advice", || {
        agent
            .log()
            .contains("get a new one and put it into `token` or `token_file`")
    })
    .await;
}

#[tokio::test]
async fn r10_the_next_gateway_is_tried() {
    let (first, second) = (Gateway::start().await, Gateway::start().await);
    let mut agent = Agent::prepare(&[&first, &second], OPEN);
    drop(first);
    agent.run();
    let mut signaling = second.registered().await;
    signaling.send("KEEPALIVE").await;
    assert_eq!(signaling.line().await.as_deref(), Some("WAITING"));
}

#[tokio::test]
async fn a_token_file_is_read_at_each_registration() {
    let gateway = Gateway::start().await;
    let mut agent = Agent::prepare(&[&gateway], &format!("token_file = \"token\"\n{OPEN}"));
    std::fs::write(agent.path("token"), "first.token\n").unwrap();
    agent.run();
    let mut signaling = gateway.accept().await;
    assert!(signaling.register(300).await.contains("token=first.token"));
    std::fs::write(agent.path("token"), "second.token\n").unwrap();
    drop(signaling);
    let connect = gateway.accept().await.register(300).await;
    assert!(connect.contains("token=second.token"), "{connect}");
}

/// The old connection serves until the new one is registered, and is closed only then.
async fn moves(old: &mut Signaling, from: &Gateway, to: &Gateway) -> Signaling {
    let mut new = to.accept().await;
    assert!(new.line().await.unwrap().starts_with("CONNECT "));
    // The new one is not answered yet: the old one has to work.
    assert_eq!(from.get(old, "/contacts", "").await.status, 200);
    new.send("CONNREGISTERED session=00000000000004d3 timeout=300")
        .await;
    assert_eq!(new.line().await.as_deref(), Some("WAITING"));
    assert_eq!(old.line().await, None, "the old one is closed, without BYE");
    new
}

#[tokio::test]
async fn reconnect_leaves_no_gap() {
    let (gateway, other) = (Gateway::start().await, Gateway::start().await);
    let _agent = Agent::start(&[&gateway], OPEN);
    let mut old = gateway.registered().await;
    old.send("RECONNECT after=1").await;
    let mut new = moves(&mut old, &gateway, &gateway).await;
    new.send(&format!("RECONNECT after=1 to={}", other.address()))
        .await;
    let mut third = moves(&mut new, &gateway, &other).await;
    assert_eq!(gateway.get(&mut third, "/contacts", "").await.status, 200);
}

#[tokio::test]
async fn a_reconnect_that_fails_is_tried_again_while_the_old_session_serves() {
    let gateway = Gateway::start().await;
    let _agent = Agent::start(&[&gateway], OPEN);
    let mut old = gateway.registered().await;
    old.send("RECONNECT after=1").await;
    let mut refused = gateway.accept().await;
    refused.line().await;
    refused
        .send("CONNREFUSED code=overloaded retry-after=1")
        .await;
    moves(&mut old, &gateway, &gateway).await;
}

#[tokio::test]
async fn a_replaced_agent_does_not_fight() {
    let gateway = Gateway::start().await;
    let agent = Agent::start(&[&gateway], OPEN);
    let mut signaling = gateway.registered().await;
    signaling.send("ERROR code=replaced").await;
    assert_eq!(signaling.line().await, None);
    until("patience", || {
        agent.log().contains("replaced: another agent")
    })
    .await;
    let log = agent.log();
    let wait = log
        .split("retry_in_ms=")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    assert!(wait.parse::<u64>().unwrap() >= 30_000, "{log}");
}

#[tokio::test]
async fn sigterm_says_bye_and_lets_a_request_finish() {
    let gateway = Gateway::start().await;
    let mut agent = Agent::start(&[&gateway], OPEN);
    let mut signaling = gateway.registered().await;
    signaling.signal().await;
    let (mut channel, _) = gateway.channel().await;
    agent.terminate();
    assert_eq!(signaling.line().await.as_deref(), Some("BYE"));
    assert_eq!(signaling.line().await, None);
    channel
        .send(b"GET /contacts HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert_eq!(channel.answer().await.status, 200);
    drop(channel);
    assert!(agent.ended().await.success());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let gateway = Gateway::start().await;
    let mut agent = Agent::start(
        &[&gateway],
        &format!("shutdown_timeout_ms = 600000\n{OPEN}"),
    );
    let mut signaling = gateway.registered().await;
    signaling.signal().await;
    let _channel = gateway.channel().await;
    agent.terminate();
    assert_eq!(signaling.line().await.as_deref(), Some("BYE"));
    agent.terminate();
    agent.ended().await;
}

#[tokio::test]
async fn a_configuration_that_can_not_be_used_has_its_own_exit_code() {
    let gateway = Gateway::start().await;
    let agent = Agent::prepare(&[&gateway], "timeout_s = 0\nlinger_s = -1\n");
    for verb in ["run", "check"] {
        let output = command(&[verb, "--config"], &agent.path("agent.toml"));
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("agent.toml:5: timeout_s"), "{told}");
        assert!(told.contains("agent.toml:6: linger_s"), "{told}");
        assert!(told.contains("say who answers requests"), "{told}");
    }
    agent.configure(&[&gateway], OPEN);
    assert!(
        command(&["check", "--config"], &agent.path("agent.toml"))
            .status
            .success()
    );
}
