//! Scenarios as a tester writes and runs them: files that are wrong, those that are shipped, storms and churn against a
//! small real gateway, and a run that two processes share.

mod gateway;
mod sums;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use everline_loadgen::rogue::RogueKind;
use everline_loadgen::scenario::{
    ChurnTable, FleetTable, Lab, MisbehaviourTable, PhaseTable, RampTable, RequestsTable, Scenario,
    StormTable, shipped,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use gateway::Gateway;
use sums::assert_balanced;

fn loadgen(arguments: &[&str]) -> (i32, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(arguments)
        .output()
        .unwrap();
    let text = [stdout, stderr].concat();
    (
        status.code().unwrap_or(-1),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn written(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn name(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

#[test]
fn every_shipped_scenario_is_right_and_can_be_copied() {
    let (status, list) = loadgen(&["scenarios"]);
    assert_eq!(status, 0, "{list}");
    for scenario in ["smoke", "million", "storm", "mixed-day", "hostile"] {
        assert!(list.contains(scenario), "{scenario} is shipped");
    }
    for scenario in shipped::names() {
        let (status, text) = loadgen(&["scenarios", scenario]);
        assert_eq!(status, 0, "{text}");
        let copy = written(&text);
        let (status, told) = loadgen(&["check", name(&copy)]);
        assert_eq!(status, 0, "{told}");
        assert!(told.starts_with(&format!("{scenario}: ")), "{told}");
        assert!(
            told.contains("to be reached: "),
            "{scenario} has thresholds"
        );
        let plan = Scenario::find(scenario).unwrap().plan(&Lab::default());
        assert!(plan.is_ok_and(|plan| plan.handsets > 0));
    }
}

#[test]
fn a_name_that_is_neither_shipped_nor_a_file_is_told_with_those_that_are() {
    for arguments in [
        &["run", "--scenario", "nothing"][..],
        &["check", "nothing"],
        &["scenarios", "nothing"],
    ] {
        let (status, text) = loadgen(arguments);
        assert_eq!(status, 2, "{text}");
        assert!(
            text.contains("no scenario \"nothing\"") && text.contains("smoke"),
            "{text}"
        );
    }
}

#[test]
fn everything_that_is_wrong_with_a_file_is_told_at_once() {
    let bad = written(
        r#"name = "bad"
thresholds = ["p99_ms < 50", "p98_ms < 50", "dusk: lost == 0"]
[fleet]
timeout_s = 0
first_msisdn = "+34"
reconnect = false
[[phase]]
name = "dawn"
ramp = { per_second = -1, handsets = 5000 }
[[phase]]
name = "dawn"
duration_s = 5
ramp = {}
[[phase]]
name = "noon"
storm = { over_s = 20, limit_s = 10 }
[phase.requests]
per_second = 10
concurrency = 5
methods = { CONNECT = 1 }
[[phase]]
name = "finish"
duration_s = -5
churn = { percent_per_minute = 0 }
misbehaviour = { rogues = 0 }
[[phase]]
name = "dusk\u001b"
duration_s = 1
"#,
    );
    let (status, text) = loadgen(&["check", name(&bad)]);
    assert_eq!(status, 2, "{text}");
    for part in [
        "line 2: thresholds[1]: ",
        "no phase \"dusk\"",
        "line 4: fleet.timeout_s: 0 is not from 1 to 86400",
        "line 5: fleet.first_msisdn: ",
        "line 9: phase \"dawn\", ramp.per_second: -1",
        "line 9: phase \"dawn\", ramp.handsets: the run has 1000 handsets, not 5000",
        "line 10: phase \"dawn\": needs exactly one of duration_s, ramp and storm",
        "line 11: phase \"dawn\", name: \"dawn\" is taken",
        "line 16: phase \"noon\", storm.limit_s: must be longer than over_s",
        "line 16: phase \"noon\", storm: handsets that do not reconnect",
        "line 18: phase \"noon\", requests.per_second: give either",
        "line 20: phase \"noon\", requests.methods.CONNECT: ",
        "line 22: phase \"finish\", name: ",
        "line 23: phase \"finish\", duration_s: -5",
        "line 24: phase \"finish\", churn.percent_per_minute: 0",
        "line 25: phase \"finish\", misbehaviour.rogues: 0",
        "line 27: phase \"dusk\\u{1b}\", name: needs 1 to 64 characters on one line",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    let (status, same) = loadgen(&["run", "--scenario", name(&bad)]);
    assert_eq!(status, 2);
    assert!(same.contains("line 23: "), "a run says the same: {same}");
}

#[test]
fn unknown_keys_and_wrong_types_are_told_at_once_too() {
    let bad = written(
        r#"name = "bad"
handsets = 5
[fleet]
handset = 5
[[phase]]
name = "one"
duration_s = "long"
[[phase]]
name = "two"
duration_s = 1
requests = { per_minute = 5 }
[[phase]]
name = "three"
ramp = true
[[phase]]
name = "four"
ramp = { handsets = -1 }
"#,
    );
    let (status, text) = loadgen(&["check", name(&bad)]);
    assert_eq!(status, 2, "{text}");
    for part in [
        "line 2: unknown field `handsets`",
        "line 4: fleet: unknown field `handset`",
        "line 7: phase \"one\": ",
        "line 11: phase \"two\": unknown field `per_minute`",
        "line 14: phase \"three\": invalid type: boolean `true`, expected a table such as {",
        "line 17: phase \"four\": invalid value: integer `-1`, expected a whole number from 0 to 4294967295",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    let broken = written("name = \"x\nfleet = {\n[[phase]\n");
    let (status, text) = loadgen(&["check", name(&broken)]);
    assert_eq!(status, 2, "{text}");
    assert!(
        text.contains("line 1: ") && text.lines().count() > 2,
        "{text}"
    );
}

#[test]
fn a_ramp_that_cannot_be_over_in_time_is_told_before_it_is_run() {
    let slow = written(
        r#"name = "slow"
[[phase]]
name = "some"
ramp = { per_second = 10, handsets = 900, limit_s = 90 }
[[phase]]
name = "all"
ramp = { per_second = 1, limit_s = 99 }
"#,
    );
    let (status, text) = loadgen(&["check", name(&slow)]);
    assert_eq!(status, 2, "{text}");
    let why = "ramp.limit_s: 100 handsets take 100 s at this rate, longer than the 99 s";
    assert!(text.contains(why) && text.lines().count() == 2, "{text}");
    let flags = ["--rate", "10", "--ramp-limit", "99s"];
    let (status, text) = loadgen(&[&["run"][..], &flags].concat());
    assert_eq!(status, 2, "{text}");
    assert!(
        text.contains("--ramp-limit: 1000 handsets take 100 s"),
        "{text}"
    );
}

#[test]
fn flags_that_a_scenario_stands_in_for_do_not_go_with_one() {
    for flag in [
        ["--hold", "5s"],
        ["--rate", "5"],
        ["--requests-per-second", "5"],
    ] {
        let (status, text) = loadgen(&["run", "--scenario", "smoke", flag[0], flag[1]]);
        assert_eq!(status, 2, "{text}");
        assert!(
            text.contains(flag[0]) && text.contains("--scenario"),
            "{text}"
        );
    }
    let (status, text) = loadgen(&["run", "--timeout", "0", "--threshold", "p98_ms < 5"]);
    assert_eq!(status, 2, "{text}");
    assert!(
        text.contains("--timeout: 0 is not") && text.contains("--threshold: "),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_and_churn_lose_nobody_and_the_books_balance() {
    let gateway = Gateway::start().await;
    let scenario = written(
        r#"name = "stormy"
thresholds = ["lost == 0", "not_registered == 0", "storm: back_s < 30", "calm: bad == 0"]
[fleet]
handsets = 300
[[phase]]
name = "some"
ramp = { handsets = 100, per_second = 500 }
[[phase]]
name = "all"
ramp = {}
[[phase]]
name = "storm"
storm = { over_s = 0.5 }
[[phase]]
name = "churn"
duration_s = 2
requests = { per_second = 20 }
churn = { percent_per_minute = 1000, gone_s = 0.5 }
[[phase]]
name = "calm"
duration_s = 1
requests = { per_second = 20 }
"#,
    );
    let (status, report, text) = gateway.load(&["--scenario", name(&scenario)]).await;
    assert_balanced(&report);
    assert_eq!(
        (status, &report["scenario"]),
        (0, &json!("stormy")),
        "{text}"
    );
    assert_eq!(report["sessions"]["dropped"]["storm"], 300);
    let churned = report["sessions"]["dropped"]["churn"].as_u64().unwrap();
    // 50 each second for two seconds, in fleets that each round down.
    assert!((95..=100).contains(&churned), "{churned}");
    assert_eq!(report["sessions"]["lost"], json!({}));
    let phases = report["phases"].as_array().unwrap();
    let of = |name: &str, field: &str| {
        let phase = phases.iter().find(|phase| phase["name"] == name);
        phase.map_or(Value::Null, |phase| phase[field].clone())
    };
    assert_eq!(of("some", "open_at_end"), 100);
    assert_eq!(of("all", "open_at_end"), 300);
    assert_eq!(of("storm", "kind"), "storm");
    assert!(of("storm", "back_s").as_f64() > Some(0.5), "{report}");
    assert_eq!(of("churn", "requests")["due"], 40);
    assert_eq!(of("calm", "requests")["good"], 20);
    assert_eq!(report["requests"]["due"], 60, "phases are summed");
    assert_eq!(of("finish", "kind"), "finish");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_threshold_that_is_missed_fails_the_run() {
    let gateway = Gateway::start().await;
    let arguments = ["--handsets", "5", "--hold", "0s", "--threshold"];
    let with = |threshold| [&arguments[..], &[threshold]].concat();
    let (status, report, text) = gateway.load(&with("lost == 0")).await;
    assert_eq!((status, &report["ok"]), (0, &json!(true)), "{text}");
    let (status, report, text) = gateway.load(&with("lost > 0")).await;
    assert_eq!((status, &report["ok"]), (1, &json!(false)), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_run_are_all_its_handsets_each_once() {
    let gateway = Gateway::start().await;
    let secret = written("0123456789abcdef0123456789abcdef");
    let scenario = written(
        r#"name = "shared"
[fleet]
handsets = 101
[[phase]]
name = "ramp"
ramp = {}
[[phase]]
name = "hold"
duration_s = 2
requests = { per_second = 30 }
"#,
    );
    let part = |part: &'static str| {
        let arguments = ["--hs256-secret-file", name(&secret), "--part", part];
        [&["--scenario", name(&scenario)], &arguments[..]].concat()
    };
    let parts = [part("1/3"), part("2/3"), part("3/3")];
    let (one, two, three) = tokio::join!(
        gateway.load(&parts[0]),
        gateway.load(&parts[1]),
        gateway.load(&parts[2]),
    );
    let mut registered = Vec::new();
    for (status, report, text) in [one, two, three] {
        assert_eq!(status, 0, "{text}");
        assert_balanced(&report);
        assert_eq!(report["requests"]["due"], 20, "a third of the rate");
        registered.push(report["registrations"]["registered"].as_u64().unwrap());
    }
    assert_eq!(registered, [33, 34, 34]);
    let key = jsonwebtoken::DecodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
    let tokens = gateway.state.tokens.lock().unwrap().clone();
    let subjects = tokens.iter().map(|token| {
        let rules = jsonwebtoken::Validation::default();
        let claims = jsonwebtoken::decode::<Value>(token, &key, &rules);
        claims.unwrap().claims["sub"].as_str().unwrap().to_owned()
    });
    let all: Vec<_> = (0..101)
        .map(|place| (34_700_000_000u64 + place).to_string())
        .collect();
    let mut seen: Vec<_> = subjects.collect();
    seen.sort();
    assert_eq!(seen, all);
}

/// The keys that a table takes, as its refusal of another lists them.
fn keys<T: DeserializeOwned>() -> BTreeSet<String> {
    let refusal = match toml::from_str::<T>("no_such_key = 1") {
        Ok(_) => panic!("the table takes any key"),
        Err(refusal) => refusal.message().to_owned(),
    };
    quoted(&refusal).skip(1).collect()
}

fn quoted(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

#[test]
fn the_page_describes_every_key_and_no_other() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/loadgen-scenarios.md");
    let page = std::fs::read_to_string(page).unwrap();
    let section = |heading: &str| {
        let (_, rest) = page
            .split_once(&format!("\n## {heading}\n"))
            .unwrap_or_else(|| panic!("no section {heading}"));
        rest.split("\n## ").next().unwrap().to_owned()
    };
    let described = |heading: &str| -> BTreeSet<String> {
        let section = section(heading);
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        rows.map(|row| quoted(row).next().unwrap()).collect()
    };
    let head = Scenario::read("no_such_key = 1").unwrap_err().to_string();
    let head: BTreeSet<_> = quoted(&head).skip(1).collect();
    assert_eq!(described("Top level"), head);
    assert_eq!(described("fleet"), keys::<FleetTable>());
    assert_eq!(described("phase"), keys::<PhaseTable>());
    assert_eq!(described("ramp"), keys::<RampTable>());
    assert_eq!(described("storm"), keys::<StormTable>());
    assert_eq!(described("churn"), keys::<ChurnTable>());
    assert_eq!(described("requests"), keys::<RequestsTable>());
    let kinds = RogueKind::ALL.map(|kind| kind.name().to_owned());
    let mut misbehaviour = keys::<MisbehaviourTable>();
    misbehaviour.extend(kinds);
    assert_eq!(described("misbehaviour"), misbehaviour);
    let shipped: BTreeSet<_> = shipped::names().map(str::to_owned).collect();
    let opening = page.split("\n## ").next().unwrap();
    let listed = opening.lines().filter(|line| line.starts_with("| `"));
    let listed: BTreeSet<_> = listed.map(|row| quoted(row).next().unwrap()).collect();
    assert_eq!(listed, shipped);
}
