//! What the protocol's lines cost: read, written, and a whole registration and keep-alive through both state machines.
//!
//! `cargo bench -p everline-protocol --bench codec`; compare the rows of one run.

use divan::{Bencher, black_box};
use everline_protocol::{
    Beat, Connect, Handset, HandsetOutput, HostPort, Identity, Message, Millis, Msisdn, RequestId,
    Rules, Session, SessionId, SessionOutput,
};

/// One of each kind that a gateway meets or sends in numbers.
const KINDS: [&str; 6] = [
    "CONNECT",
    "CONNREGISTERED",
    "WAITING",
    "KEEPALIVE",
    "REQUESTPENDING",
    "DATA",
];
/// As long as an HS256 token with its usual claims.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6Imh2Q1Z2eEpMd2ciLCJ0eXAiOiJKV1QifQ.eyJleHAiOjE3NjM5ODA4MDAsInN1YiI6IjM0NjEwNTE1MTUxIn0.9q0ZC3bGq1nJYxj3hW0q7XxkJ5h5zq1iGk8b0pVQ2rA";

fn main() {
    divan::main();
}

fn msisdn() -> Msisdn {
    Msisdn::parse(b"34610515151").expect("a valid number")
}

fn id() -> RequestId {
    RequestId::parse(b"9f86d081884c7d659a2feaa0c55ad015").expect("32 digits")
}

fn message(kind: &str) -> Message {
    match kind {
        "CONNECT" => Message::Connect(Connect {
            msisdn: msisdn(),
            timeout_s: 300,
            token: TOKEN.into(),
            linger_s: 5,
            agent: None,
        }),
        "CONNREGISTERED" => Message::Registered {
            session: SessionId(1234),
            timeout_s: 300,
        },
        "WAITING" => Message::Waiting,
        "KEEPALIVE" => Message::KeepAlive,
        "REQUESTPENDING" => Message::RequestPending {
            id: id(),
            data: HostPort::parse("203.0.113.7:7001"),
        },
        "DATA" => Message::Data(id()),
        other => unreachable!("{other} is none of KINDS"),
    }
}

#[divan::bench(args = KINDS)]
fn encode(bencher: Bencher<'_, '_>, kind: &str) {
    let message = message(kind);
    let mut out = Vec::with_capacity(2048);
    bencher.bench_local(|| {
        out.clear();
        black_box(&message).encode(&mut out);
        out.len()
    });
}

#[divan::bench(args = KINDS)]
fn parse(bencher: Bencher<'_, '_>, kind: &str) {
    let mut line = Vec::new();
    message(kind).encode(&mut line);
    let line = line.strip_suffix(b"\r\n").expect("a whole line").to_vec();
    bencher.bench_local(|| Message::parse(black_box(&line)));
}

fn rules() -> Rules {
    Rules {
        timeout_s: 10..=3600,
        connect_limit: Millis::from_secs(10),
        grace_max: Millis::from_secs(30),
        beat: Beat::default(),
    }
}

/// CONNECT, CONNREGISTERED and WAITING; the tokens and the network are left out.
fn registered(
    identity: &Identity,
    rules: &Rules,
    down: &mut SessionOutput,
    up: &mut HandsetOutput,
) -> (Session, Handset) {
    let now = Millis(0);
    let mut handset = Handset::connect(identity, now, Millis::from_secs(10), up);
    let mut session = Session::new(now, rules);
    session.input(&up.wire, now, rules, down);
    session.admit(SessionId(1234), now, rules, down);
    up.wire.clear();
    handset.input(&down.wire, now, up);
    session.input(&up.wire, now, rules, down);
    (session, handset)
}

fn empty(down: &mut SessionOutput, up: &mut HandsetOutput) {
    down.wire.clear();
    down.events.clear();
    up.wire.clear();
    up.events.clear();
}

fn identity() -> Identity {
    Identity {
        msisdn: msisdn(),
        token: TOKEN.into(),
        timeout_s: 300,
        linger_s: 0,
        agent: None,
    }
}

#[divan::bench]
fn registration_both_sides(bencher: Bencher<'_, '_>) {
    let (identity, rules) = (identity(), rules());
    let (mut down, mut up) = (SessionOutput::default(), HandsetOutput::default());
    bencher.bench_local(|| {
        empty(&mut down, &mut up);
        registered(&identity, &rules, &mut down, &mut up)
    });
}

#[divan::bench]
fn keep_alive_both_sides(bencher: Bencher<'_, '_>) {
    let (identity, rules) = (identity(), rules());
    let (mut down, mut up) = (SessionOutput::default(), HandsetOutput::default());
    let (mut session, mut handset) = registered(&identity, &rules, &mut down, &mut up);
    bencher.bench_local(|| {
        empty(&mut down, &mut up);
        let now = session.deadline().expect("a registered session has one");
        session.on_deadline(now, &rules, &mut down);
        handset.input(&down.wire, now, &mut up);
        session.input(&up.wire, now, &rules, &mut down);
    });
}
