//! A client that a stranger wrote in another language from PROTOCOL.md alone, `stranger.py`, against a live gateway.
//!
//! Each test starts a gateway with the configuration that its scenario speaks of and lets Python do all the talking.

mod harness;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use everline_gateway::config::Config;
use harness::{Lab, ONE, TWO};

/// Runs one scenario; at each line `ready` of its output `at_ready` is called.
fn stranger(scenario: &str, change: impl FnOnce(&mut Config), at_ready: impl Fn(&Lab)) {
    let lab = Lab::start_with(change);
    let at = lab.addresses();
    let world = serde_json::json!({
        "signaling": at.signaling.to_string(),
        "data": at.data.to_string(),
        "ingress": at.ingress.to_string(),
        "domain": "localhost",
        "tokens": { ONE.to_string(): lab.home.token(ONE), TWO.to_string(): lab.home.token(TWO) },
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stranger.py");
    let mut python = Command::new("python3")
        .args([script.as_os_str(), scenario.as_ref()])
        .arg(world.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let output = python.stdout.take().expect("it is piped");
    let mut said = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.expect("Python writes UTF-8");
        if line == "ready" {
            at_ready(&lab);
        }
        said.push(line);
    }
    let mut complaint = String::new();
    let mut errors = python.stderr.take().expect("it is piped");
    errors
        .read_to_string(&mut complaint)
        .expect("Python writes UTF-8");
    let status = python.wait().expect("it was started");
    assert!(
        status.success() && said.last().is_some_and(|line| line == "ok"),
        "{scenario}: {complaint}"
    );
    lab.gateway.stop().expect("no thread broke");
}

fn as_it_is(_: &mut Config) {}

fn nothing(_: &Lab) {}

#[test]
fn r2_r3_r4_r5_r6_r7_r8_g5_g7_it_registers_keeps_alive_serves_and_leaves() {
    stranger("lives", as_it_is, nothing);
}

#[test]
fn it_is_replaced_by_its_own_second_registration() {
    stranger("replaced", as_it_is, nothing);
}

#[test]
fn r3_it_is_refused_for_what_its_connect_says() {
    stranger("refused", as_it_is, nothing);
}

#[test]
fn its_protocol_errors_are_answered_with_their_codes() {
    stranger("broken", as_it_is, nothing);
}

#[test]
fn it_is_not_waited_for_without_limit() {
    let quick = |config: &mut Config| config.signaling.connect_timeout = Duration::from_secs(1);
    stranger("slow", quick, nothing);
}

#[test]
fn r3_it_is_refused_by_a_full_gateway() {
    stranger("full", |config| config.signaling.sessions_max = 1, nothing);
}

#[test]
fn r3_it_is_refused_by_an_overloaded_gateway_and_told_when_to_come_back() {
    let slow = |config: &mut Config| config.signaling.registrations_per_s_max = 1;
    stranger("overloaded", slow, nothing);
}

#[test]
fn r3_it_is_refused_by_a_draining_gateway_which_still_serves_its_sessions() {
    let patient = |config: &mut Config| config.drain.spread = Duration::from_secs(20);
    stranger("draining", patient, |lab| lab.gateway.drain());
}
