//! Debian's Prometheus on the shipped scrape configuration, with its targets replaced and its patience shortened.
//!
//! `prometheus` and `promtool` are found on the PATH, or where `./test` unpacks Debian's package.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use everline_grafana::folder;
use serde_json::Value;
use tempfile::TempDir;

use super::{DEADLINE, PAUSE};

/// Where `./test` unpacks it, seen from this folder.
const UNPACKED: &str = "../target/prometheus/usr/bin";
const GATEWAY: &str = "127.0.0.1:9100";
const LOADGEN: &str = "127.0.0.1:9101";

/// Ends with the test.
pub(crate) struct Prometheus {
    child: Child,
    address: String,
    _home: TempDir,
}

impl Prometheus {
    /// Starts it on `gateway`, an admin port.
    pub(crate) fn start(gateway: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let config = home.path().join("prometheus.yml");
        std::fs::write(&config, configuration(gateway)).expect("the home can be written");
        let checked = output(program("promtool").args(["check", "config"]).arg(&config));
        assert!(
            checked.status.success(),
            "{}",
            String::from_utf8_lossy(&checked.stdout)
        );
        let mut child = program("prometheus")
            .arg("--config.file")
            .arg(&config)
            .arg("--storage.tsdb.path")
            .arg(home.path().join("data"))
            .args(["--web.listen-address", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus: {error}"));
        let log = BufReader::new(child.stderr.take().expect("it is piped"));
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            // To the end: a log that nobody reads would stop its writer.
            for line in log.lines().map_while(Result::ok) {
                // The test may have failed meanwhile.
                let _ = tell.send(line);
            }
        });
        let mut prometheus = Self {
            child,
            address: String::new(),
            _home: home,
        };
        prometheus.address = Self::ready(&told);
        prometheus
    }

    /// Waits until it serves; it listens, and tells where, before that.
    fn ready(log: &mpsc::Receiver<String>) -> String {
        let deadline = Instant::now() + DEADLINE;
        let (mut said, mut listens) = (Vec::new(), None);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = log.recv_timeout(left) else {
                panic!("prometheus did not start:\n{}", said.join("\n"));
            };
            if let Some((_, address)) = line.split_once(r#"msg="Listening on" address="#) {
                listens = Some(address.trim().to_owned());
            }
            if line.contains(r#"msg="Server is ready"#) {
                return listens.expect("it tells where it listens before it is ready");
            }
            said.push(line);
        }
    }

    /// The values that a query gives at a moment, seconds since 1970; the error is Prometheus's.
    pub(crate) fn query(&self, query: &str, moment: f64) -> Result<Vec<f64>, String> {
        let samples = self.ask(query, Some(moment))?;
        Ok(samples
            .iter()
            .filter_map(|sample| value(sample, 1))
            .collect())
    }

    /// Waits until a query gives something, and tells when that was.
    pub(crate) fn until(&self, query: &str) -> f64 {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let samples = self
                .ask(query, None)
                .unwrap_or_else(|error| panic!("{error}"));
            if let Some(moment) = samples.first().and_then(|sample| value(sample, 0)) {
                return moment;
            }
            assert!(Instant::now() < deadline, "waited {DEADLINE:?} for {query}");
            std::thread::sleep(PAUSE);
        }
    }

    fn ask(&self, query: &str, moment: Option<f64>) -> Result<Vec<Value>, String> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("query", query);
        if let Some(moment) = moment {
            form.append_pair("time", &moment.to_string());
        }
        let answer = self
            .post("/api/v1/query", &form.finish())
            .map_err(|error| format!("{query}: {error}"))?;
        let answer: Value =
            serde_json::from_slice(&answer).map_err(|error| format!("{query}: {error}"))?;
        let samples = answer["data"]["result"].as_array();
        samples.cloned().ok_or_else(|| format!("{query}: {answer}"))
    }

    /// The body of an answer. Under HTTP/1.0 it ends with the connection, and nothing need be decoded.
    fn post(&self, path: &str, form: &str) -> std::io::Result<Vec<u8>> {
        let mut socket = TcpStream::connect(&self.address)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        let length = form.len();
        write!(
            socket,
            "POST {path} HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
        )?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        Ok(answer.split_off(head.map_or(0, |head| head + 4)))
    }
}

/// Of a sample: 0 its time, 1 its value.
fn value(sample: &Value, which: usize) -> Option<f64> {
    let value = &sample["value"][which];
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The shipped configuration, for one gateway and no load generator, scraped four times a second.
fn configuration(gateway: &str) -> String {
    let file = folder().join("prometheus/prometheus.yml");
    let mut text = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let quoted = |address: &str| format!("\"{address}\"");
    for (shipped, ours) in [
        ("scrape_interval: 15s", "scrape_interval: 250ms".to_owned()),
        ("scrape_timeout: 10s", "scrape_timeout: 250ms".to_owned()),
        (&quoted(GATEWAY), quoted(gateway)),
        (&quoted(LOADGEN), String::new()),
    ] {
        assert_eq!(
            text.matches(shipped).count(),
            1,
            "{shipped} in {}",
            file.display()
        );
        text = text.replace(shipped, &ours);
    }
    text
}

/// A program of Debian's package.
fn program(name: &str) -> Command {
    let unpacked: PathBuf = folder().join(UNPACKED).join(name);
    let mut command = Command::new(if unpacked.exists() {
        unpacked
    } else {
        name.into()
    });
    // Never asks a proxy of the environment for loopback.
    command.env("NO_PROXY", "127.0.0.1");
    command
}

fn output(command: &mut Command) -> Output {
    let ran = command.stdin(Stdio::null()).output();
    ran.unwrap_or_else(|error| panic!("{:?}: {error}; `./test` installs it", command.get_program()))
}
