//! The gateway as its users run it: exit codes, signals, kill -9, a store full of garbage.

mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use everline_protocol::ErrorCode;
use harness::handset::{Options, TestHandset};
use harness::process::{Process, gateway, write_config};
use harness::{Home, Lab, ONE, TWO, http, until};
use hyper::{Method, StatusCode};
use rustix::process::Signal;

async fn metric(at: std::net::SocketAddr, name: &str) -> f64 {
    let text = http::get(at, "localhost", "/metrics").await.text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("no {name}:\n{text}"))
}

async fn register(process: &Process, home: &Home, number: u64) -> TestHandset {
    TestHandset::register(process.addresses, Options::new(number, home.token(number))).await
}

/// Until what was noted has gone to the disk.
async fn written(process: &Process) {
    until("the store to write", async || {
        let rows = metric(process.addresses.admin, "everline_store_rows_written_total").await;
        let lag = metric(process.addresses.admin, "everline_store_lag_seconds").await;
        (rows > 0.0 && lag == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sigterm_drains_and_exits_with_0() {
    let home = Home::new();
    let mut process = Process::run(&home, &home.toml());
    let handset = register(&process, &home, ONE).await;
    let answer = http::get(process.addresses.ingress, "34600000001.localhost", "/").await;
    assert_eq!(answer.status, StatusCode::OK);
    process.signal(Signal::TERM);
    assert_eq!(
        handset.end().await,
        None,
        "told to move, then closed without an error"
    );
    assert_eq!(process.wait().code(), Some(0), "{}", process.log());
    assert!(
        !process.log().contains("34600000001"),
        "numbers are masked:\n{}",
        process.log()
    );
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let home = Home::new();
    let mut process = Process::run(
        &home,
        &home
            .toml()
            .replace("spread_ms = 200", "spread_ms = 3600000"),
    );
    let _handset = register(&process, &home, ONE).await;
    process.signal(Signal::TERM);
    let admin = process.addresses.admin;
    until("the drain", async || {
        (metric(admin, "everline_phase").await >= 2.0).then_some(())
    })
    .await;
    process.signal(Signal::INT);
    assert_eq!(process.wait().code(), Some(1), "{}", process.log());
}

#[tokio::test]
async fn a_log_that_nobody_reads_any_more_ends_nothing() {
    let home = Home::new();
    let mut process = Process::run_unread(&home, &home.toml());
    let one = register(&process, &home, ONE).await;
    let two = register(&process, &home, TWO).await;
    let admin = process.addresses.admin;
    let revoked = http::method(admin, Method::DELETE, "localhost", "/sessions/34600000001").await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    assert_eq!(one.end().await, Some(ErrorCode::Revoked));
    let answer = http::get(process.addresses.ingress, "34600000002.localhost", "/").await;
    assert_eq!(answer.status, StatusCode::OK);
    process.signal(Signal::TERM);
    assert_eq!(two.end().await, None);
    assert_eq!(process.wait().code(), Some(0));
}

#[tokio::test]
async fn g3_g4_after_kill_9_the_store_tells_who_ought_to_come_back() {
    let home = Home::new();
    let process = Process::run(&home, &home.toml());
    let (one, two) = (
        register(&process, &home, ONE).await,
        register(&process, &home, TWO).await,
    );
    two.bye().await;
    let options = Options::new(TWO + 1, home.token(TWO + 1)).silent();
    let mut silent = TestHandset::register(process.addresses, options).await;
    let ingress = process.addresses.ingress;
    let caller =
        tokio::spawn(async move { http::get(ingress, "34600000003.localhost", "/").await });
    silent.request().await;
    written(&process).await;
    process.kill();
    caller.abort();
    assert_eq!(one.end().await, None);

    let process = Process::run(&home, &home.toml());
    let admin = process.addresses.admin;
    until("what the store knew", async || {
        (metric(admin, "everline_store_up").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(metric(admin, "everline_sessions_expected").await, 2.0);
    assert!(
        process.log().contains("leftover=1"),
        "the cut request is told:\n{}",
        process.log()
    );
    let known = http::get(admin, "localhost", "/sessions/34600000002")
        .await
        .json();
    assert_eq!(known["known"]["left"], "bye");
    assert_eq!(
        http::get(process.addresses.ingress, "34600000001.localhost", "/")
            .await
            .slug(),
        "handset-offline"
    );
    let _back = register(&process, &home, ONE).await;
    assert_eq!(
        http::get(process.addresses.ingress, "34600000001.localhost", "/")
            .await
            .status,
        StatusCode::OK
    );
    until("one of the two to be counted as back", async || {
        let status = http::get(admin, "localhost", "/status").await.json();
        assert_eq!(status["expected"], 2);
        (status["returned_share"] == 0.5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_store_overwritten_with_garbage_is_set_aside_and_the_gateway_serves() {
    let home = Home::new();
    let process = Process::run(&home, &home.toml());
    let handset = register(&process, &home, ONE).await;
    written(&process).await;
    process.kill();
    drop(handset);
    let store = home.path().join("sessions");
    assert_eq!(
        fs::metadata(&store)
            .expect("the store is there")
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
    for entry in fs::read_dir(&store).expect("a directory").flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let length = entry.metadata().expect("a file").len();
            let garbage: Vec<u8> = (0..length)
                .map(|at| (at.wrapping_mul(0x9E37_79B9) >> 7) as u8)
                .collect();
            fs::write(entry.path(), garbage).expect("it can be overwritten");
        }
    }
    let process = Process::run(&home, &home.toml());
    assert_eq!(
        metric(process.addresses.admin, "everline_store_up").await,
        1.0,
        "a fresh one:\n{}",
        process.log()
    );
    let names = fs::read_dir(home.path())
        .expect("the home")
        .flatten()
        .map(|entry| entry.file_name());
    let aside = names
        .filter(|name| name.to_string_lossy().starts_with("sessions.broken-"))
        .count();
    assert_eq!(aside, 1, "{}", process.log());
    let _handset = register(&process, &home, ONE).await;
    assert_eq!(
        http::get(process.addresses.ingress, "34600000001.localhost", "/")
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn without_a_usable_store_the_gateway_serves_all_the_same() {
    for in_the_way in ["a file", "someone else's directory"] {
        let home = Home::new();
        let store = home.path().join("sessions");
        if in_the_way == "a file" {
            fs::write(&store, "mine").expect("the home can be written");
        } else {
            fs::create_dir(&store).expect("the home can be written");
            fs::write(store.join("diary.txt"), "mine").expect("the home can be written");
        }
        let lab = Lab::start_in(home, |_| {});
        assert!(!lab.gateway.shared().store.up(), "{in_the_way}");
        let _handset = lab.handset(ONE).await;
        let answer = http::get(lab.addresses().ingress, "34600000001.localhost", "/").await;
        assert_eq!(answer.status, StatusCode::OK, "{in_the_way}");
        let home = lab.stop().await;
        let kept = if in_the_way == "a file" {
            home.path().join("sessions")
        } else {
            home.path().join("sessions/diary.txt")
        };
        assert_eq!(
            fs::read_to_string(kept).ok().as_deref(),
            Some("mine"),
            "{in_the_way} is left alone"
        );
    }
}

#[tokio::test]
async fn two_gateways_do_not_share_a_store_or_a_port() {
    let home = Home::new();
    let first = Process::run(&home, &home.toml());
    let second = Process::run(&home, &home.toml());
    assert_eq!(
        metric(first.addresses.admin, "everline_store_up").await,
        1.0
    );
    assert_eq!(
        metric(second.addresses.admin, "everline_store_up").await,
        0.0,
        "{}",
        second.log()
    );
    let names = fs::read_dir(home.path())
        .expect("the home")
        .flatten()
        .map(|entry| entry.file_name());
    assert!(
        !names
            .into_iter()
            .any(|name| name.to_string_lossy().contains("broken")),
        "a locked store is not a broken one"
    );

    for (section, address) in [
        ("signaling", first.addresses.signaling),
        ("ingress", first.addresses.ingress),
    ] {
        let from = format!("[{section}]\n            listen = \"127.0.0.1:0\"");
        let to = format!("[{section}]\n            listen = \"{address}\"");
        let file = write_config(&home, &home.toml().replace(&from, &to));
        let output = gateway(&["run", "--config", &file.to_string_lossy()]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains(&format!("cannot listen on {address} ([{section}])")),
            "{told}"
        );
    }
}

#[test]
fn check_tells_what_would_be_started() {
    let home = Home::new();
    let file = write_config(&home, &home.toml());
    let output = gateway(&["check", "--config", &file.to_string_lossy()]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for part in [
        "ok\n",
        "signaling 127.0.0.1:0",
        "for localhost, handsets.example\n",
        "1000 sessions in 2 shards of ",
    ] {
        assert!(told.contains(part), "{part}:\n{told}");
    }
}

#[test]
fn check_tells_everything_that_is_wrong_with_key_and_line() {
    let home = Home::new();
    let toml = "[signaling]\nlisten = \"here\"\ntimeout_min_s = 0\nsesions_max = 5\n\n[ingress]\ndomains = []\n\
                \n[auth]\njwks_file = 3\n";
    let file = write_config(&home, toml);
    let output = gateway(&["check", "--config", &file.to_string_lossy()]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    for part in [
        ":2: signaling.listen: must be an address",
        ":3: signaling.timeout_min_s: must be a whole number from 1 to 86400",
        ":4: signaling.sesions_max: is not known; did you mean sessions_max?",
        ":7: ingress.domains: must name at least one domain",
        ":10: auth.jwks_file: must be a text",
    ] {
        assert!(told.contains(part), "{part}:\n{told}");
    }
    assert_eq!(told.lines().count(), 5, "{told}");
}

#[test]
fn a_file_without_an_end_is_told_as_too_large() {
    let output = gateway(&["check", "--config", "/dev/zero"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("larger than"), "{told}");
    let home = Home::new();
    let toml = "[ingress]\ndomains = [\"localhost\"]\n[auth]\njwks_file = \"/dev/zero\"\n";
    let file = write_config(&home, toml);
    let output = gateway(&["check", "--config", &file.to_string_lossy()]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("auth.jwks_file: /dev/zero: larger than"),
        "{told}"
    );
}

#[test]
fn no_authentication_beyond_loopback_is_refused_whatever_else_is_said() {
    let home = Home::new();
    let toml = "auth = \"none\"\nplaintext_beyond_loopback = true\n[signaling]\nlisten = \"0.0.0.0:0\"\n\
                [ingress]\ndomains = [\"localhost\"]\n";
    let file = write_config(&home, toml);
    let output = gateway(&["run", "--config", &file.to_string_lossy()]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains(":4: signaling.listen: ") && told.contains("auth = \"none\""),
        "{told}"
    );
}

#[tokio::test]
async fn a_few_lines_are_enough_for_a_lab_and_it_says_that_anyone_may_register() {
    let home = Home::new();
    let toml = "auth = \"none\"\n[signaling]\nlisten = \"127.0.0.1:0\"\n[data]\nlisten = \"127.0.0.1:0\"\n\
                [ingress]\nlisten = \"127.0.0.1:0\"\ndomains = [\"localhost\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    let process = Process::run(&home, toml);
    let anybody = Options::new(ONE, "anything".to_owned());
    let _handset = TestHandset::register(process.addresses, anybody).await;
    assert_eq!(
        metric(process.addresses.admin, "everline_auth_off").await,
        1.0
    );
    assert!(
        process.log().contains("AUTHENTICATION IS OFF"),
        "{}",
        process.log()
    );
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    for arguments in [
        &["run"][..],
        &["fly"],
        &["token", "--key", "/nowhere", "--msisdn", "12"],
        &["check", "--config", "/nowhere"],
    ] {
        let output = gateway(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let help = gateway(&["--help"]);
    let told = String::from_utf8_lossy(&help.stdout).into_owned();
    for code in ["0  ", "1  ", "2  ", "3  "] {
        assert!(told.contains(code), "{told}");
    }
}

#[test]
fn keys_and_tokens_of_each_algorithm_are_made_for_a_lab() {
    for algorithm in ["EdDSA", "ES256", "HS256"] {
        let home = tempfile::tempdir().expect("a temporary directory");
        let out = home.path().join("keys");
        let made = gateway(&[
            "keygen",
            "--out",
            &out.to_string_lossy(),
            "--algorithm",
            algorithm,
        ]);
        assert_eq!(
            made.status.code(),
            Some(0),
            "{algorithm}: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let key = out.join("private.jwks.json");
        let minted = gateway(&[
            "token",
            "--key",
            &key.to_string_lossy(),
            "--msisdn",
            "34600000001",
            "--lifetime-s",
            "60",
        ]);
        let token = String::from_utf8_lossy(&minted.stdout).into_owned();
        assert_eq!(
            token.trim_end().split('.').count(),
            3,
            "{algorithm}: {token}"
        );
        let again = gateway(&["keygen", "--out", &out.to_string_lossy()]);
        assert_eq!(
            again.status.code(),
            Some(2),
            "keys that are there are not overwritten"
        );
    }
}
