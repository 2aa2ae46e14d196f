//! Rogues beside honest handsets, against the real gateway: it meets every misdeed as PROTOCOL.md says, the honest
//! notice nothing, and nothing of the rogues remains.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use everline_gateway::config_file;
use everline_gateway::gateway::{Addresses, Gateway};
use everline_gateway::machine::Machine;
use everline_gateway::registration::lab;
use everline_loadgen::address::{Sources, Targets};
use everline_loadgen::rogue::{ROGUE_SOURCES, RogueBooks, RogueKind, Rogues};
use everline_loadgen::scenario::{CallSetting, MisbehaviourTable, RogueSetting};
use everline_loadgen::tokens::Mint;
use everline_protocol::Msisdn;

const LIMIT: Duration = Duration::from_secs(60);
const HONEST: u32 = 40;

/// Short limits, so that a test need not wait for those of a network.
const CONFIG: &str = r#"
    [signaling]
    listen = "127.0.0.1:0"
    connect_timeout_ms = 1000
    timeout_min_s = 1
    shards = 2
    sessions_max = 1000
    [data]
    listen = "127.0.0.1:0"
    bind_timeout_ms = 1000
    [ingress]
    listen = "127.0.0.1:0"
    domains = ["localhost"]
    workers = 1
    [request]
    wake_timeout_ms = 1000
    [auth]
    jwks_file = "jwks.json"
    [admin]
    listen = "127.0.0.1:0"
"#;

/// As a scenario would say it.
const MISBEHAVIOUR: &str = "
    rogues = 60
    requests_per_second = 40
    pause_ms = 100
    connect_timeout_ms = 1000
    wake_timeout_ms = 1000
    slack_ms = 20000
";

fn gateway(home: &Path) -> Gateway {
    lab::keygen(home, "HS256").unwrap();
    let config = config_file::parse(CONFIG, home, &Machine::probe()).unwrap();
    Gateway::start(config).unwrap()
}

fn setting(addresses: Addresses) -> RogueSetting {
    let first = Msisdn::from_u64(34_700_100_000).unwrap();
    RogueSetting {
        signaling: addresses.signaling,
        data: addresses.data,
        targets: Targets::default(),
        sources: Some(Sources::new("127.1.0.0/16".parse().unwrap(), 100).unwrap()),
        first_source: 100 - ROGUE_SOURCES,
        first,
        calls: CallSetting {
            ingress: addresses.ingress,
            domain: "localhost".into(),
            duration: LIMIT,
            first,
            handsets: 0,
            answer_bytes: 0,
            descriptors_max: 1024,
        },
    }
}

/// Looks again and again until `done`.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "waited {LIMIT:?} for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An honest load of its own process: it says whether all went well.
fn honest(home: &Path, addresses: Addresses) -> tokio::process::Child {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["run", "--handsets", &HONEST.to_string(), "--hold", "3s"])
        .args(["--requests-per-second", "50", "--table-slots", "256"])
        .args(["--signaling", &addresses.signaling.to_string()])
        .args(["--data", &addresses.data.to_string()])
        .args(["--ingress", &addresses.ingress.to_string()])
        .args(["--key", lab::PRIVATE_FILE])
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_gateway_meets_every_misdeed_and_the_honest_notice_nothing() {
    let home = tempfile::tempdir().unwrap();
    let gateway = gateway(home.path());
    let addresses = gateway.addresses();
    let key = home.path().join(lab::PRIVATE_FILE);
    let mint = Arc::new(Mint::from_key_file(&key, None, 3600).unwrap());
    let table: MisbehaviourTable = toml::from_str(MISBEHAVIOUR).unwrap();
    let plan = table.plan(&setting(addresses)).unwrap();
    let mut rogues = Rogues::start(plan, mint, &tokio::runtime::Handle::current()).unwrap();

    let honest = honest(home.path(), addresses);
    until("every kind to be met more than once", || {
        let books = rogues.books();
        RogueKind::ALL.iter().all(|kind| books.kinds[kind].met > 2)
    })
    .await;
    let honest = tokio::time::timeout(LIMIT, honest.wait_with_output());
    let honest = honest.await.expect("the honest end").unwrap();
    let said = String::from_utf8_lossy(&honest.stdout);
    let complained = String::from_utf8_lossy(&honest.stderr);
    assert!(honest.status.success(), "{said}\n{complained}");

    rogues.leave();
    until("the rogues to leave", || rogues.have_left()).await;
    assert_met(&rogues.end().unwrap());
    until("nothing of the rogues to remain", || {
        gateway.shared().directory.sessions() == 0 && gateway.shared().pending.waiting() == 0
    })
    .await;
    tokio::task::spawn_blocking(|| gateway.stop())
        .await
        .unwrap()
        .unwrap();
}

fn assert_met(books: &RogueBooks) {
    assert_eq!(books.imbalance(), None);
    assert_eq!(books.otherwise(), 0, "{:?}", books.kinds);
    for (kind, of_kind) in &books.kinds {
        assert_eq!(of_kind.hindered.total(), 0, "{kind}: {of_kind:?}");
        assert_eq!(of_kind.open, 0, "{kind}: {of_kind:?}");
    }
    let requests = &books.requests;
    assert_eq!(
        books.requests_otherwise(),
        0,
        "{:?} {:?} {:?}",
        requests.answered,
        requests.problems,
        requests.failed
    );
    for slug in ["handset-silent", "handset-offline"] {
        assert!(requests.problems.of(slug) > 0, "{:?}", requests.problems);
    }
}
