//! What a tester and a Prometheus see of a run while it goes on: on a terminal, in a file, at the metrics' address.

mod gateway;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gateway::{Gateway, LIMIT};

const ARGUMENTS: [&str; 10] = [
    "--handsets",
    "20",
    "--token",
    "none",
    "--rate",
    "20",
    "--hold",
    "3s",
    "--requests-per-second",
    "40",
];

/// Runs it on a pseudo-terminal of this size, and gives back what the terminal was sent.
async fn on_a_terminal(columns: u16, rows: u16, environment: &[(&str, &str)]) -> Vec<u8> {
    let gateway = Gateway::start().await;
    let words = [&gateway.flags()[..], &ARGUMENTS.map(str::to_owned)].concat();
    let run = format!(
        "stty cols {columns} rows {rows}; exec {} run {}",
        env!("CARGO_BIN_EXE_loadgen"),
        words.join(" ")
    );
    let mut command = tokio::process::Command::new("script");
    command
        .args(["--quiet", "--return", "--command", &run, "/dev/null"])
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .env("LC_ALL", "C.UTF-8")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await;
    let output = output.expect("the run ends").expect("script runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    output.stdout
}

/// The screens that a terminal of this size shows, one after the other: a picture ends by clearing what is below it.
fn screens(sent: &[u8], columns: u16, rows: u16) -> Vec<String> {
    let cells = |number| NonZero::new(number).expect("a terminal has some");
    let mut terminal = vt100::Parser::new(cells(rows), cells(columns), 0);
    let mut screens = Vec::new();
    let mut rest = sent;
    while let Some(end) = rest.windows(3).position(|three| three == b"\x1b[J") {
        terminal.process(&rest[..end + 3]);
        screens.push(terminal.screen().contents());
        rest = &rest[end + 3..];
    }
    screens
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_one_picture_that_moves_on() {
    let sent = on_a_terminal(80, 24, &[]).await;
    let screens = screens(&sent, 80, 24);
    assert!(screens.len() >= 3, "{screens:#?}");
    let (last, running) = screens.split_last().expect("screens");
    for screen in running {
        assert_eq!(
            screen.matches("handsets ").count(),
            1,
            "one picture, not two:\n{screen}"
        );
        assert!(
            screen.lines().all(|line| line.chars().count() < 80),
            "{screen}"
        );
    }
    let held = screens.iter().find(|screen| screen.contains("▸ hold"));
    let held = held.unwrap_or_else(|| panic!("the hold is never shown: {screens:#?}"));
    for part in [
        "✓ ramp",
        " %",
        "left",
        "20 open of 20",
        "registrations/s",
        "keep-alives/s",
        "p99.9",
        "errors     none",
        "loadgen ",
    ] {
        assert!(held.contains(part), "no {part:?} in\n{held}");
    }
    assert!(
        last.contains("✓ ramp") && last.contains("✓ hold") && last.contains("✓ finish"),
        "{last}"
    );
    let sent = String::from_utf8_lossy(&sent);
    assert!(sent.contains("\x1b[32m✓\x1b[0m"), "in colours");
    assert!(
        !sent.contains("\x1b[?25l"),
        "the cursor is never hidden, so it need not be shown again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_terminal_without_colours_is_served_too() {
    let sent = on_a_terminal(34, 12, &[("NO_COLOR", "1"), ("LC_ALL", "C")]).await;
    let screens = screens(&sent, 34, 12);
    let (_, running) = screens.split_last().expect("screens");
    for screen in running {
        assert!(screen.is_ascii(), "{screen}");
        assert_eq!(screen.matches("handsets ").count(), 1, "{screen}");
    }
    assert!(
        !String::from_utf8_lossy(&sent).contains("\x1b[3"),
        "no colours"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gets_plain_lines() {
    let gateway = Gateway::start().await;
    let arguments = ["--handsets", "20", "--token", "none", "--hold", "6s"];
    let (status, _, text) = gateway.load(&arguments).await;
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("   5 s hold   open 20/20  reg 0/s"), "{text}");
    for phase in [
        "   0 s ramp   begins",
        " s hold   begins",
        " s finish begins",
    ] {
        assert!(text.contains(phase), "{phase}: {text}");
    }
    assert!(!text.contains('\x1b'), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_how_the_run_goes() {
    let gateway = Gateway::start().await;
    let mut run = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .arg("run")
        .args(gateway.flags())
        .args(ARGUMENTS)
        .args(["--metrics", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut said = BufReader::new(run.stderr.take().expect("it is piped")).lines();
    let address = said.by_ref().map_while(Result::ok).find_map(|line| {
        let url = line.strip_prefix("metrics at http://")?;
        Some(url.strip_suffix("/metrics")?.to_owned())
    });
    let address = address.expect("it says where the metrics are");
    let deadline = Instant::now() + LIMIT;
    loop {
        let page = scrape(&address);
        let holds = |line: &str| page.lines().any(|one| one == line);
        let good = page.lines().any(|line| {
            let times = line.strip_prefix(r#"everline_loadgen_requests_total{outcome="good"} "#);
            times.is_some_and(|times| times != "0")
        });
        if good
            && holds("everline_loadgen_sessions 20")
            && holds(r#"everline_loadgen_phase{phase="hold"} 1"#)
        {
            break;
        }
        assert!(Instant::now() < deadline, "{page}");
        std::thread::sleep(Duration::from_millis(20));
    }
    // To the end: who writes where nobody reads may be stopped by that.
    said.for_each(drop);
    assert!(run.wait().expect("it ends").success());
}

fn scrape(address: &str) -> String {
    let mut socket = TcpStream::connect(address).expect("it listens");
    let head = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers");
    answer
}
