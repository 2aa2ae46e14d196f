//! The command: what `check` says and how it ends, and that `run` answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

fn portal() -> Command {
    Command::new(env!("CARGO_BIN_EXE_portal"))
}

#[test]
fn check_tells_every_mistake_with_key_and_line_and_ends_with_2() {
    let config = file("listen = 8000\n\n[limits]\npage_items = 0\ncolour = \"red\"\n");
    for command in ["check", "run"] {
        let output = portal()
            .arg(command)
            .arg("--config")
            .arg(config.path())
            .output()
            .expect("ran");
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8(output.stderr).expect("UTF-8");
        for words in [
            "line 1: listen: ",
            "line 4: limits.page_items: ",
            "line 5: limits.colour: there is no such key",
        ] {
            assert!(told.contains(words), "{told}");
        }
    }
    let missing = portal()
        .args(["check", "--config", "/nowhere/portal.toml"])
        .output()
        .expect("ran");
    assert_eq!(missing.status.code(), Some(2));
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/portal.example.toml");
    let output = portal()
        .args(["check", "--config", example])
        .output()
        .expect("ran");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn run_serves_until_it_is_told_to_end() {
    let config = file("listen = \"127.0.0.1:0\"\n");
    let mut running = portal()
        .args(["run", "--config"])
        .arg(config.path())
        .env("RUST_LOG", "info")
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut log = BufReader::new(running.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("portal is up") {
        line.clear();
        assert_ne!(log.read_line(&mut line).expect("text"), 0, "it ended");
    }
    let address = line
        .split("address=")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .expect("an address");
    let mut stream = TcpStream::connect(address).expect("connected");
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .expect("sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    assert!(
        page.starts_with("HTTP/1.1 200 OK") && page.contains("Everline"),
        "{page}"
    );
    let told = Command::new("kill")
        .args(["-TERM", &running.id().to_string()])
        .status()
        .expect("told");
    assert!(told.success());
    assert!(running.wait().expect("ended").success());
}
