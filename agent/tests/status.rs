//! What the agent says of itself, and how it keeps its connection: R10.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use support::{Agent, Gateway, MSISDN, Signaling, command, soon, until};

const OPEN: &str =
    "authentication = \"none\"\n[consent]\nenabled = false\n[builtin]\ndatabase = \"handset.db\"\n";

fn status(agent: &Agent) -> Value {
    let told = command(&["status", "--json", "--config"], &agent.path("agent.toml"));
    assert!(
        told.status.success(),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
    serde_json::from_slice(&told.stdout).unwrap()
}

#[tokio::test]
async fn r10_the_status_is_told_to_the_owner() {
    let gateway = Gateway::start().await;
    let mut agent = Agent::start(&[&gateway], OPEN);
    let mut signaling = gateway.accept().await;
    until("it answers", || agent.path("agent.sock").exists()).await;
    assert_eq!(status(&agent)["registered"], false);
    signaling.register(120).await;
    until("it is registered", || status(&agent)["registered"] == true).await;
    assert_eq!(gateway.get(&mut signaling, "/", "").await.status, 200);
    signaling.send("KEEPALIVE").await;
    assert_eq!(signaling.line().await.as_deref(), Some("WAITING"));
    let told = status(&agent);
    assert_eq!(told["gateway"], gateway.address());
    assert_eq!(
        (&told["timeout_s"], &told["keepalive_packets_per_hour"]),
        (&120.into(), &90.into())
    );
    assert_eq!(
        (
            &told["channels_opened"],
            &told["keepalives"],
            &told["reconnects"]
        ),
        (&1.into(), &1.into(), &0.into())
    );
    let text = command(&["status", "--config"], &agent.path("agent.toml"));
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("keep-alive  every 120 s, 90 packets an hour"),
        "{text}"
    );
    assert!(!text.contains(MSISDN) && !told.to_string().contains(MSISDN));
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(agent.path("agent.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // Killed, it leaves its socket behind; the next one takes its place.
    agent.kill();
    let nobody = command(&["status", "--config"], &agent.path("agent.toml"));
    assert!(!nobody.status.success());
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("is it running?"));
    agent.run();
    let _signaling = gateway.registered().await;
    until("the next one is registered", || {
        status(&agent)["registered"] == true
    })
    .await;
    agent.terminate();
    agent.ended().await;
    assert!(!agent.path("agent.sock").exists());
}

#[tokio::test]
async fn r10_metrics_are_told_on_loopback() {
    let gateway = Gateway::start().await;
    let agent = Agent::start(
        &[&gateway],
        &format!("{OPEN}[metrics]\nlisten = \"127.0.0.1:0\"\n"),
    );
    let _signaling = gateway.registered().await;
    until("it is registered", || {
        agent.log().contains("registered session")
    })
    .await;
    let log = agent.log();
    let line = log
        .lines()
        .find(|line| line.contains("metrics address="))
        .unwrap();
    let port: u16 = line.rsplit(':').next().unwrap().parse().unwrap();
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(support::DEADLINE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let scrape = ask("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(
        scrape.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"),
        "{scrape}"
    );
    assert!(
        scrape.contains("\neverline_agent_registered 1\n"),
        "{scrape}"
    );
    assert!(
        scrape.contains("\neverline_agent_keepalive_packets_per_hour 36\n"),
        "{scrape}"
    );
    assert!(!scrape.contains(MSISDN));
    assert!(ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert!(ask("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
    let refused = format!("{OPEN}[metrics]\nlisten = \"0.0.0.0:9101\"\n");
    agent.configure(&[&gateway], &refused);
    let told = command(&["check", "--config"], &agent.path("agent.toml"));
    assert!(String::from_utf8_lossy(&told.stderr).contains("is not an address of loopback"));
}

/// The timeout of a CONNECT.
fn asked(connect: &str) -> u32 {
    let word = connect
        .split(' ')
        .find_map(|word| word.strip_prefix("timeout="));
    word.unwrap().parse().unwrap()
}

/// The gateway's timer runs out, and its KEEPALIVE comes through: the silence is what this is about.
async fn survives(signaling: &mut Signaling, timeout_s: u64) {
    tokio::time::sleep(Duration::from_secs(timeout_s)).await;
    signaling.send("KEEPALIVE").await;
    assert_eq!(signaling.line().await.as_deref(), Some("WAITING"));
}

#[tokio::test]
async fn r10_a_timeout_that_lives_is_lengthened_without_a_gap_and_one_that_dies_is_left() {
    let gateway = Gateway::start().await;
    let config = format!(
        "timeout_s = \"auto\"\ntimeout_min_s = 1\ntimeout_max_s = 2\nanswer_timeout_ms = 200\n{OPEN}"
    );
    let mut agent = Agent::start(&[&gateway], &config);
    let mut old = gateway.accept().await;
    assert_eq!(
        asked(&old.register(2).await),
        2,
        "the longest is tried first where that is short"
    );
    // The network lost it: no KEEPALIVE comes. The next one is careful.
    assert_eq!(soon("it gives up", old.line()).await, None);
    let mut careful = gateway.accept().await;
    assert_eq!(asked(&careful.register(1).await), 1);
    survives(&mut careful, 1).await;
    until("it knows what lives", || {
        status(&agent)["learnt"]["settled"] == true
    })
    .await;
    assert_eq!(status(&agent)["learnt"]["survived_s"], 1);
    // It is remembered across a kill.
    agent.kill();
    drop(careful);
    agent.run();
    let mut again = gateway.accept().await;
    assert_eq!(asked(&again.register(1).await), 1);
}

#[tokio::test]
async fn r10_another_timeout_is_asked_for_while_the_old_connection_serves() {
    let gateway = Gateway::start().await;
    let (_agent, mut old, mut new) = renewing(&gateway, "").await;
    assert_eq!(
        gateway.get(&mut old, "/", "").await.status,
        200,
        "the old one serves"
    );
    new.send("CONNREGISTERED session=00000000000004d3 timeout=2")
        .await;
    assert_eq!(new.line().await.as_deref(), Some("WAITING"));
    assert_eq!(old.line().await, None, "and is closed only then");
    assert_eq!(gateway.get(&mut new, "/", "").await.status, 200);
}

/// Writes what was learnt of this gateway's network: what survived, and what is being tried.
fn remember(agent: &Agent, gateway: &Gateway, proven_s: u32, trial_s: &str) {
    let learnt = format!(
        r#"{{"{} from 127.0.0.0/24": {{"used": 1, "learner": {{"proven_s": {proven_s}, "failed_s": null,
            "trial_s": {trial_s}, "survived": 0, "retry_after": 64}}}}}}"#,
        gateway.address()
    );
    std::fs::write(agent.path("agent.state"), learnt).unwrap();
}

#[tokio::test]
async fn r10_a_gateway_that_does_not_answer_says_nothing_of_the_network() {
    let gateway = Gateway::start().await;
    let config = format!(
        "timeout_s = \"auto\"\ntimeout_min_s = 1\ntimeout_max_s = 8\nanswer_timeout_ms = 200\n{OPEN}"
    );
    let mut agent = Agent::prepare(&[&gateway], &config);
    remember(&agent, &gateway, 8, "null");
    agent.run();
    let mut unanswered = gateway.accept().await;
    assert_eq!(asked(&unanswered.line().await.unwrap()), 8);
    assert_eq!(soon("it gives up", unanswered.line()).await, None);
    let mut again = gateway.accept().await;
    assert_eq!(
        asked(&again.register(8).await),
        8,
        "nothing was silent too long"
    );
}

/// A handset that has a session with a timeout of 1 s, and has just asked on another connection for 2 s.
async fn renewing(gateway: &Gateway, config: &str) -> (Agent, Signaling, Signaling) {
    let config =
        format!("timeout_s = \"auto\"\ntimeout_min_s = 1\ntimeout_max_s = 4\n{config}{OPEN}");
    let mut agent = Agent::prepare(&[gateway], &config);
    remember(&agent, gateway, 1, "1");
    agent.run();
    let mut old = gateway.accept().await;
    assert_eq!(asked(&old.register(1).await), 1);
    survives(&mut old, 1).await;
    survives(&mut old, 1).await;
    let mut new = gateway.accept().await;
    assert_eq!(asked(&new.line().await.unwrap()), 2);
    (agent, old, new)
}

#[tokio::test]
async fn r10_a_reconnect_counts_though_another_timeout_is_being_asked_for() {
    let (gateway, other) = (Gateway::start().await, Gateway::start().await);
    let (agent, mut old, mut unanswered) = renewing(&gateway, "answer_timeout_ms = 600000\n").await;
    old.send(&format!("RECONNECT after=1 to={}", other.address()))
        .await;
    let mut moved = other.accept().await;
    assert!(moved.line().await.unwrap().starts_with("CONNECT "));
    assert_eq!(unanswered.line().await, None, "it is not waited for");
    assert_eq!(gateway.get(&mut old, "/", "").await.status, 200, "no gap");
    moved
        .send("CONNREGISTERED session=00000000000004d3 timeout=300")
        .await;
    assert_eq!(moved.line().await.as_deref(), Some("WAITING"));
    assert_eq!(old.line().await, None);
    until("it says where it is", || {
        status(&agent)["gateway"] == other.address()
    })
    .await;
}

#[tokio::test]
async fn r10_the_status_knows_that_a_session_is_lost_though_another_is_coming() {
    let gateway = Gateway::start().await;
    let (agent, old, mut new) = renewing(&gateway, "answer_timeout_ms = 600000\n").await;
    assert_eq!(status(&agent)["registered"], true);
    drop(old);
    until("it is told", || status(&agent)["registered"] == false).await;
    new.send("CONNREGISTERED session=00000000000004d3 timeout=2")
        .await;
    until("it is back", || status(&agent)["registered"] == true).await;
}

/// The most memory that an idle agent may have, in KiB. That of a release build is 15 MiB; one that is built for tests
/// carries code that was not optimized.
const IDLE_KIB_MAX: u64 = 48 * 1_024;

/// How long it is watched being idle.
const IDLE_WATCH: Duration = Duration::from_secs(5);

/// Times that each thread of the process has gone to sleep, by thread id.
fn sleeps(agent: &Agent) -> Vec<(String, u64)> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap();
    let mut sleeps: Vec<_> = tasks
        .filter_map(|task| {
            let task = task.unwrap().path();
            let status = std::fs::read_to_string(task.join("status")).ok()?;
            let line = status
                .lines()
                .find(|line| line.starts_with("voluntary_ctxt_switches:"))?;
            let times = line.split_whitespace().nth(1)?.parse().ok()?;
            Some((task.display().to_string(), times))
        })
        .collect();
    sleeps.sort();
    sleeps
}

#[tokio::test]
async fn r10_an_idle_agent_is_small_and_does_not_wake_up() {
    let gateway = Gateway::start().await;
    let everything = "timeout_s = \"auto\"\n[[user]]\nname = \"alice\"\npassword = \"wonderland\"\n\
        [builtin]\ndatabase = \"handset.db\"\n[https]\nlisten = \"127.0.0.1:0\"\n\
        [metrics]\nlisten = \"127.0.0.1:0\"\n[owner]\nlisten = \"127.0.0.1:0\"\n";
    let agent = Agent::start(&[&gateway], everything);
    let mut signaling = gateway.registered().await;
    // The largest thing that an idle handset may have left behind is the memory of a password's hash.
    let alice = "Authorization: Basic YWxpY2U6d29uZGVybGFuZA==\r\n";
    assert_eq!(gateway.get(&mut signaling, "/", alice).await.status, 200);
    // What begins with it ends: helper threads go after ten seconds.
    let watch = async {
        loop {
            let before = sleeps(&agent);
            tokio::time::sleep(IDLE_WATCH).await;
            if sleeps(&agent) == before {
                break;
            }
        }
    };
    soon("a while in which no thread wakes up", watch).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let idle_kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(idle_kib <= IDLE_KIB_MAX, "{idle_kib} KiB");
    signaling.send("KEEPALIVE").await;
    assert_eq!(signaling.line().await.as_deref(), Some("WAITING"));
}
