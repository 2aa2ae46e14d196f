//! `loadgen run` as a tester starts it, against a small real gateway: what it reports is what happened.

mod gateway;
mod sums;

use std::process::Command;
use std::sync::atomic::Ordering;

use everline_protocol::ErrorCode;
use serde_json::{Value, json};

use gateway::{Gateway, Order};
use sums::assert_balanced;

#[tokio::test(flavor = "multi_thread")]
async fn handsets_register_keep_alive_answer_and_leave() {
    let gateway = Gateway::start().await;
    // 300 handsets do not fit one table of 256 slots: several rings share them.
    let arguments = [
        "--handsets",
        "300",
        "--timeout",
        "1",
        "--hold",
        "3s",
        "--requests-per-second",
        "40",
    ];
    let (status, report, text) = gateway
        .load(&[&arguments[..], &["--answer-bytes", "70000"]].concat())
        .await;
    assert_eq!((status, &report["ok"]), (0, &json!(true)), "{text}");
    assert_balanced(&report);
    assert_eq!(report["sessions"]["open_max"], 300);
    assert_eq!(report["sessions"]["left"], 300);
    assert!(
        report["sessions"]["keep_alives"].as_u64() >= Some(300),
        "{text}"
    );
    assert_eq!(report["requests"]["due"], 120);
    assert_eq!(report["requests"]["answered"], json!({"200": 120}));
    assert_eq!(report["channels"]["served"], 120);
    assert_eq!(report["channels"]["body_bytes_out"], 120 * 70_000);
    assert!(
        gateway
            .state
            .tokens
            .lock()
            .unwrap()
            .iter()
            .all(|token| token == "none")
    );
    assert!(
        text.contains("All well") && text.contains("p99.9"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_read_whole_and_callers_can_be_a_fixed_number() {
    let gateway = Gateway::start().await;
    let arguments = [
        "--handsets",
        "20",
        "--hold",
        "1s",
        "--concurrency",
        "4",
        "--upload-bytes",
        "100000",
        "--close",
    ];
    let (status, report, text) = gateway.load(&arguments).await;
    assert_eq!(status, 0, "{text}");
    assert_balanced(&report);
    let sent = report["requests"]["sent"].as_u64().unwrap();
    assert!(sent > 0);
    assert_eq!(
        report["channels"]["body_bytes_in"].as_u64(),
        Some(sent * 100_000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_tokens_are_of_their_handset() {
    let gateway = Gateway::start().await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "0123456789abcdef0123456789abcdef").unwrap();
    let file = secret.path().to_str().unwrap();
    let arguments = [
        "--handsets",
        "3",
        "--hold",
        "0s",
        "--hs256-secret-file",
        file,
        "--audience",
        "lab",
    ];
    let (status, _, text) = gateway.load(&arguments).await;
    assert_eq!(status, 0, "{text}");
    let key = jsonwebtoken::DecodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
    let mut rules = jsonwebtoken::Validation::default();
    rules.set_audience(&["lab"]);
    let tokens = gateway.state.tokens.lock().unwrap().clone();
    let mut subjects: Vec<_> = tokens
        .iter()
        .map(|token| {
            jsonwebtoken::decode::<Value>(token, &key, &rules)
                .unwrap()
                .claims["sub"]
                .clone()
        })
        .collect();
    subjects.sort_by_key(Value::to_string);
    assert_eq!(subjects, ["34700000000", "34700000001", "34700000002"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_handsets_come_back_and_are_counted_by_code() {
    let gateway = Gateway::start().await;
    gateway.state.refuse_first.store(5, Ordering::Release);
    let (status, report, text) = gateway.load(&["--handsets", "20", "--hold", "3s"]).await;
    assert_eq!(status, 1, "{text}");
    assert_balanced(&report);
    assert_eq!(
        report["registrations"]["not_registered"],
        json!({"refused:bad-token": 5})
    );
    assert_eq!(report["registrations"]["attempts"], 25);
    assert_eq!(report["sessions"]["open_max"], 20);
    assert!(
        text.contains("5 attempts to register failed: refused:bad-token 5"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_sessions_are_counted_by_cause_and_come_back() {
    let gateway = Gateway::start().await;
    let losses = async {
        gateway.registered(40).await;
        gateway.order(7, || Order::Vanish);
        gateway.registered(47).await;
        gateway.order(5, || Order::End(ErrorCode::Revoked));
        gateway.registered(52).await;
    };
    let arguments = ["--handsets", "40", "--hold", "4s"];
    let ((status, report, text), ()) = tokio::join!(gateway.load(&arguments), losses);
    assert_eq!(status, 1, "{text}");
    assert_balanced(&report);
    assert_eq!(
        report["sessions"]["lost"],
        json!({"eof": 7, "error:revoked": 5})
    );
    assert_eq!(report["registrations"]["registered"], 52);
    assert_eq!(report["sessions"]["left"], 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn handsets_that_are_told_to_move_are_not_lost() {
    let gateway = Gateway::start().await;
    let moves = async {
        gateway.registered(30).await;
        gateway.order(30, || Order::Reconnect);
        gateway.registered(60).await;
    };
    let ((status, report, text), ()) =
        tokio::join!(gateway.load(&["--handsets", "30", "--hold", "2s"]), moves);
    assert_eq!(status, 0, "{text}");
    assert_balanced(&report);
    assert_eq!(
        (&report["sessions"]["moved"], &report["sessions"]["left"]),
        (&json!(30), &json!(30))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_handset_is_found() {
    let gateway = Gateway::start().await;
    gateway.state.crosses.store(true, Ordering::Relaxed);
    let arguments = [
        "--handsets",
        "10",
        "--hold",
        "1s",
        "--requests-per-second",
        "20",
    ];
    let (status, report, text) = gateway
        .load(&[&arguments[..], &["--target-msisdn", "34700000003"]].concat())
        .await;
    assert_eq!(status, 1, "{text}");
    assert_balanced(&report);
    assert_eq!(report["requests"]["failed"], json!({"body-crossed": 20}));
    assert!(
        !text.contains("34700000003") && report["command"].to_string().contains("***"),
        "numbers stay masked"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_cut_on_its_way_is_found() {
    let gateway = Gateway::start().await;
    gateway.state.cuts_uploads.store(true, Ordering::Relaxed);
    let arguments = ["--handsets", "10", "--hold", "1s"];
    let requests = ["--requests-per-second", "20", "--upload-bytes", "5000"];
    let (status, report, text) = gateway.load(&[&arguments[..], &requests].concat()).await;
    assert_eq!(status, 1, "{text}");
    assert_balanced(&report);
    assert_eq!(report["requests"]["failed"], json!({"upload-length": 20}));
    assert_eq!(report["channels"]["body_bytes_in"], 20 * 4999);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_problems_are_counted_by_slug() {
    let gateway = Gateway::start().await;
    let arguments = [
        "--handsets",
        "0",
        "--target-msisdn",
        "34600000001",
        "--requests-per-second",
        "10",
        "--hold",
        "1s",
    ];
    let (status, report, text) = gateway.load(&arguments).await;
    assert_eq!(status, 1, "{text}");
    assert_eq!(report["requests"]["answered"], json!({"503": 10}));
    assert_eq!(
        report["requests"]["problems"],
        json!({"handset-offline": 10})
    );
    assert_eq!(report["requests"]["latency_failed_us"]["count"], 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_run_early_with_its_report() {
    let gateway = Gateway::start().await;
    let interrupt = async {
        gateway.registered(10).await;
        let pid = gateway.state.loadgen.load(Ordering::Acquire);
        Command::new("kill")
            .args(["-INT", &pid.to_string()])
            .status()
            .unwrap();
    };
    let ((status, report, text), ()) = tokio::join!(
        gateway.load(&["--handsets", "10", "--hold", "1h"]),
        interrupt
    );
    assert_eq!(status, 1, "{text}");
    assert_balanced(&report);
    assert_eq!(report["sessions"]["left"], 10);
    for part in ["Ctrl-C again stops at once", "the run was interrupted"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn hosts_that_did_not_agree_are_not_loaded() {
    for target in [
        ["--signaling", "192.0.2.1:7000"],
        ["--ingress", "192.0.2.1:80"],
        ["--data", "192.0.2.1:7001"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["run", "--handsets", "1", "--concurrency", "1"])
            .args(target)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("--allow-target 192.0.2.1"), "{text}");
    }
}

#[test]
fn the_help_shows_examples_and_wrong_usage_is_told_apart() {
    let loadgen = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(arguments)
            .output()
            .unwrap()
    };
    let help = loadgen(&["run", "--help"]);
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(help.status.success());
    for part in [
        "Examples:",
        "Exit status:",
        "--requests-per-second",
        "loadgen run --handsets 1000",
    ] {
        assert!(text.contains(part), "{part}");
    }
    for wrong in [
        &["run", "--hold", "soon"][..],
        &["run", "--handsets", "0"],
        &["run", "--first-msisdn", "+34"],
    ] {
        assert_eq!(loadgen(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
