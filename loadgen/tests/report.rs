//! What a run leaves behind, as a tester and a pipeline use it: exit status, page, comparison.

mod gateway;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use gateway::Gateway;

fn loadgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_misses_a_threshold_says_which_and_fails() {
    let gateway = Gateway::start().await;
    let arguments = ["--handsets", "10", "--hold", "1s", "--threshold"];
    let reached = [&arguments[..], &["lost == 0"]].concat();
    let (status, report, text) = gateway.load(&reached).await;
    assert_eq!(status, 0, "{text}");
    assert_eq!(
        report["thresholds"],
        json!([{"threshold": "lost == 0", "met": true, "value": 0.0}])
    );
    let missed = [&reached[..], &["--threshold", "hold: p99_ms < 50"]].concat();
    let (status, report, text) = gateway.load(&missed).await;
    assert_eq!((status, &report["ok"]), (1, &json!(false)), "{text}");
    assert!(
        text.contains("MISSED  hold: p99_ms < 50") && text.contains("not measured"),
        "nothing was requested: {text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_run_is_written_and_is_drawn_again_from_its_report() {
    let gateway = Gateway::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (page, report, again) = (file("page.html"), file("report.json"), file("again.html"));
    let arguments = ["--handsets", "10", "--hold", "2s", "--html", &page];
    let (status, figures, text_of_run) = gateway
        .load(&[&arguments[..], &["--requests-per-second", "20"]].concat())
        .await;
    assert_eq!(status, 0, "{text_of_run}");
    std::fs::write(&report, figures.to_string()).unwrap();
    let output = loadgen(&["page", &report, &again]);
    assert!(output.status.success(), "{output:?}");
    let drawn = text(Path::new(&page));
    assert_eq!(text(Path::new(&again)), drawn);
    for part in ["<svg", "Latency of good answers", "All well"] {
        assert!(drawn.contains(part), "{part}");
    }
    let output = loadgen(&["compare", &report, &report]);
    let compared = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && compared.contains("p99_ms"),
        "{compared}"
    );
}

#[test]
fn what_cannot_be_read_or_written_is_told_before_anything_is_loaded() {
    let missing = loadgen(&["compare", "/nowhere/a.json", "/nowhere/b.json"]);
    assert_eq!(missing.status.code(), Some(2));
    let told = String::from_utf8_lossy(&missing.stderr);
    assert!(told.contains("cannot read /nowhere/a.json"), "{told}");
    let output = loadgen(&["run", "--handsets", "1", "--html", "/nowhere/page.html"]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("--html: cannot write /nowhere/page.html"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_fails_the_run_but_not_what_fits_elsewhere() {
    let gateway = Gateway::start().await;
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let page = page.to_str().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .arg("run")
        .args(gateway.flags())
        .args(["--token", "none", "--handsets", "5", "--hold", "0s"])
        .args(["--report", "/dev/full", "--html", page])
        .output();
    let output = run.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot write /dev/full: "), "{told}");
    assert!(text(Path::new(page)).contains("All well"));
    let twice = loadgen(&["run", "--report", page, "--html", page]);
    let told = String::from_utf8_lossy(&twice.stderr);
    assert_eq!(twice.status.code(), Some(2), "{told}");
    assert!(
        told.contains("--report and --html name the same file"),
        "{told}"
    );
}
