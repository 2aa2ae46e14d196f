//! The agent killed while it adds and sends: nothing that it acknowledged is lost, and nothing goes twice (R29, R42).

mod support;

use std::collections::{BTreeMap, BTreeSet};

use everline_agent::gsm::sms::join;
use everline_agent::gsm::tpdu::Tpdu;
use support::inside::{OPEN, QUICK};
use support::{Agent, Answer, Channel, Gateway, MSISDN, Signaling, soon};
use tokio::io::AsyncReadExt;

/// How often it is killed, each time a little later.
const ROUNDS: usize = 5;

/// Requests of one round, half of which add a contact, and half of which send an SMS.
const REQUESTS: usize = 12;

/// What one request asks for, told from all others by its name.
fn request(name: &str) -> String {
    let (path, body) = match name.starts_with("sms") {
        true => (
            "/services/send-sms",
            format!("{{\"number\": \"600000021\", \"text\": \"{name}\"}}"),
        ),
        false => ("/contacts", format!("{{\"name\": \"{name}\"}}")),
    };
    format!(
        "POST {path} HTTP/1.1\r\nHost: {MSISDN}.localhost\r\nIdempotency-Key: {name}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends requests at once; gives each with its channel.
async fn begin(
    gateway: &Gateway,
    signaling: &mut Signaling,
    names: &[String],
) -> Vec<(String, Channel)> {
    let mut begun = Vec::new();
    for name in names {
        signaling.signal().await;
        let (mut channel, _) = gateway.channel().await;
        channel.send(request(name).as_bytes()).await;
        begun.push((name.clone(), channel));
    }
    begun
}

/// The `Location` of an acknowledgement, if one came before the agent was gone.
async fn acknowledged(channel: &mut Channel) -> Option<String> {
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = soon("the channel's end", channel.stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8(answer).unwrap();
    let head = answer.split_once("\r\n\r\n")?.0;
    assert!(
        head.starts_with("HTTP/1.1 201") || head.starts_with("HTTP/1.1 202"),
        "{head}"
    );
    let mut lines = head
        .lines()
        .filter_map(|line| line.strip_prefix("location: "));
    lines.next().map(str::to_owned)
}

/// How often each text went on the air.
fn aired(agent: &Agent) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let log = std::fs::read_to_string(agent.path("air.log")).unwrap_or_default();
    for line in log.lines().filter(|line| line.starts_with("sms ")) {
        let digits = line.rsplit(' ').next().unwrap();
        let octet = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let tpdu: Vec<u8> = (0..digits.len()).step_by(2).map(octet).collect();
        let Ok(Tpdu::Submit(submit)) = Tpdu::decode(&tpdu) else {
            panic!("{line}");
        };
        *counts
            .entry(join([(submit.scheme, &submit.data)]))
            .or_default() += 1;
    }
    counts
}

async fn task_state(gateway: &Gateway, signaling: &mut Signaling, task: &str) -> String {
    loop {
        let told = gateway
            .get(signaling, &format!("{task}?wait_s=20"), "")
            .await;
        let state = told.json()["state"].as_str().unwrap().to_owned();
        if state != "running" {
            return state;
        }
    }
}

#[tokio::test]
async fn r29_r42_nothing_acknowledged_is_lost_and_nothing_goes_twice() {
    let gateway = Gateway::start().await;
    let config = format!("linger_s = 0\n{OPEN}{QUICK}");
    let mut agent = Agent::start(&[&gateway], &config);
    let mut signaling = gateway.registered().await;
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for round in 0..ROUNDS {
        let kinds = ["contact", "sms"].iter().cycle();
        let names: Vec<_> = kinds
            .enumerate()
            .map(|(n, kind)| format!("{kind}-{round}-{n}"))
            .take(REQUESTS)
            .collect();
        let mut begun = begin(&gateway, &mut signaling, &names).await;
        // Later in each round: some are done, some in hand, some not read yet.
        let mut told: BTreeMap<String, String> = BTreeMap::new();
        for (name, channel) in begun.iter_mut().take(round * 2) {
            let location = acknowledged(channel).await.expect("it is still there");
            told.insert(name.clone(), location);
        }
        agent.kill();
        for (name, mut channel) in begun.into_iter().skip(round * 2) {
            if let Some(location) = acknowledged(&mut channel).await {
                told.insert(name, location);
            }
        }
        agent.run();
        signaling = gateway.registered().await;
        for name in names {
            let again: Answer = gateway.request(&mut signaling, &request(&name)).await;
            assert!([201, 202].contains(&again.status), "{name}: {again:?}");
            let location = again.header("location").to_owned();
            if let Some(first) = told.get(&name) {
                assert_eq!(*first, location, "{name} was acknowledged before");
            }
            all.insert(name, location);
        }
    }
    let locations: BTreeSet<_> = all.values().collect();
    assert_eq!(locations.len(), all.len(), "each has its own");
    let contacts = gateway.get(&mut signaling, "/contacts", "").await.json();
    let contacts = contacts["contacts"].as_array().unwrap().clone();
    let names: BTreeSet<_> = contacts
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        (names.len(), contacts.len()),
        (ROUNDS * REQUESTS / 2, ROUNDS * REQUESTS / 2)
    );
    for (name, task) in all.iter().filter(|(name, _)| name.starts_with("sms")) {
        let state = task_state(&gateway, &mut signaling, task).await;
        let went = aired(&agent).get(name).copied().unwrap_or_default();
        match state.as_str() {
            "done" => assert_eq!(went, 1, "{name}"),
            "interrupted" => assert!(went <= 1, "{name} went {went} times"),
            other => panic!("{name}: {other}"),
        }
    }
    let messages = gateway.get(&mut signaling, "/sms", "").await.json();
    for sms in messages["sms"].as_array().unwrap() {
        assert_ne!(sms["state"], "sending", "{sms}");
    }
}
