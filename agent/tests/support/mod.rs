//! The harness: the real `agent` process, against a gateway that this file plays by hand from PROTOCOL.md.
//!
//! It knows nothing of the protocol crate: what the agent sends is held against the page, not against shared code.
//! Every wait has a deadline, every port is the system's choice.

#![allow(dead_code, reason = "each test file uses its part of the harness")]

pub(crate) mod foreign;
pub(crate) mod front;
pub(crate) mod handset;
pub(crate) mod inside;
pub(crate) mod local;
pub(crate) mod owner;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Bound on every wait of a test. Far above what anything takes, even on a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const MSISDN: &str = "34600000001";

/// Waits for something that has to happen.
pub(crate) async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    timeout(DEADLINE, wait)
        .await
        .unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// Waits until a condition holds that nothing announces.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A directory for one agent, with its configuration and what it logs.
pub(crate) struct Agent {
    pub(crate) directory: TempDir,
    child: Option<Child>,
}

impl Agent {
    /// Writes the configuration and starts the process. `config` stands behind the number, gateways and data port.
    pub(crate) fn start(gateways: &[&Gateway], config: &str) -> Self {
        let mut agent = Self {
            directory: tempfile::tempdir().unwrap(),
            child: None,
        };
        agent.configure(gateways, config);
        agent.run();
        agent
    }

    /// A directory and a configuration, not started.
    pub(crate) fn prepare(gateways: &[&Gateway], config: &str) -> Self {
        let agent = Self {
            directory: tempfile::tempdir().unwrap(),
            child: None,
        };
        agent.configure(gateways, config);
        agent
    }

    pub(crate) fn configure(&self, gateways: &[&Gateway], config: &str) {
        let addresses: Vec<_> = gateways
            .iter()
            .map(|g| format!("\"{}\"", g.address()))
            .collect();
        let token = match config.contains("token_file") {
            true => "",
            false => "token = \"eyJ.test.token\"\n",
        };
        let text = format!(
            "msisdn = \"{MSISDN}\"\ngateways = [{}]\ndata_port = {}\n{token}{config}",
            addresses.join(", "),
            gateways[0].data_port(),
        );
        std::fs::write(self.path("agent.toml"), text).unwrap();
    }

    pub(crate) fn run(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_agent"))
            .args(["run", "--config"])
            .arg(self.path("agent.toml"))
            .env("RUST_LOG", "everline_agent=debug")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let kill = Command::new("kill")
            .args(["-TERM", &self.pid().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    /// SIGKILL, and the process is gone.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let mut status = None;
        until("the agent ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// The most memory that the process ever held, in KiB.
    pub(crate) fn memory_peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the agent's log ---\n{}", self.log());
        }
    }
}

/// A gateway: a signaling port and a data port.
pub(crate) struct Gateway {
    signaling: TcpListener,
    data: TcpListener,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self {
            signaling: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            data: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub(crate) fn address(&self) -> String {
        self.signaling.local_addr().unwrap().to_string()
    }

    pub(crate) fn data_port(&self) -> u16 {
        self.data.local_addr().unwrap().port()
    }

    /// The next signaling connection, before its CONNECT was read.
    pub(crate) async fn accept(&self) -> Signaling {
        let (stream, _) = soon("a signaling connection", self.signaling.accept())
            .await
            .unwrap();
        Signaling {
            stream: BufReader::new(stream),
            id: 0,
        }
    }

    /// The next signaling connection, registered and waiting.
    pub(crate) async fn registered(&self) -> Signaling {
        let mut signaling = self.accept().await;
        signaling.register(300).await;
        signaling
    }

    /// The next data channel and the id that it is for.
    pub(crate) async fn channel(&self) -> (Channel, String) {
        let (stream, _) = soon("a data channel", self.data.accept()).await.unwrap();
        let mut stream = BufReader::new(stream);
        let line = read_line(&mut stream).await.expect("a DATA line");
        let id = line
            .strip_prefix("DATA id=")
            .expect("a DATA line")
            .to_owned();
        (Channel { stream }, id)
    }

    /// One request from its signal to the end of its answer, on a channel that is closed behind it.
    pub(crate) async fn request(&self, signaling: &mut Signaling, request: &str) -> Answer {
        let id = signaling.signal().await;
        let (mut channel, named) = self.channel().await;
        assert_eq!(id, named);
        channel.send(request.as_bytes()).await;
        channel.answer().await
    }

    pub(crate) async fn get(&self, signaling: &mut Signaling, path: &str, headers: &str) -> Answer {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {MSISDN}.localhost:8080\r\n{headers}\r\n");
        self.request(signaling, &request).await
    }

    pub(crate) async fn send(
        &self,
        signaling: &mut Signaling,
        start: &str,
        headers: &str,
        body: &str,
    ) -> Answer {
        let request = format!(
            "{start} HTTP/1.1\r\nHost: {MSISDN}.localhost\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        self.request(signaling, &request).await
    }
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    // A reset is an end, too.
    let read = soon("a line", stream.read_line(&mut line))
        .await
        .unwrap_or(0);
    (read > 0).then(|| line.strip_suffix("\r\n").expect("CRLF").to_owned())
}

/// A signaling connection, as the gateway has it.
pub(crate) struct Signaling {
    stream: BufReader<TcpStream>,
    id: u128,
}

impl Signaling {
    /// The next line without its ending; `None` at the end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        read_line(&mut self.stream).await
    }

    pub(crate) async fn send(&mut self, line: &str) {
        self.stream
            .get_mut()
            .write_all(format!("{line}\r\n").as_bytes())
            .await
            .unwrap();
    }

    /// Reads CONNECT, answers CONNREGISTERED, reads WAITING. Gives the CONNECT.
    pub(crate) async fn register(&mut self, timeout_s: u32) -> String {
        let connect = self.line().await.expect("CONNECT");
        assert!(connect.starts_with("CONNECT "), "{connect}");
        self.send(&format!(
            "CONNREGISTERED session=00000000000004d2 timeout={timeout_s}"
        ))
        .await;
        assert_eq!(self.line().await.as_deref(), Some("WAITING"));
        connect
    }

    /// Signals a request; gives its id.
    pub(crate) async fn signal(&mut self) -> String {
        self.id += 1;
        let id = format!("{:032x}", self.id);
        self.send(&format!("REQUESTPENDING id={id}")).await;
        id
    }
}

/// A data channel, as the gateway has it, behind DATA.
pub(crate) struct Channel {
    pub(crate) stream: BufReader<TcpStream>,
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
    /// The body again, for one that is no text.
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    /// The value of a header, `""` if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value)
    }

    /// Every value of a header, in their order.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let of_name = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value).collect()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Channel {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.unwrap();
    }

    /// Reads the head of an answer, as to a HEAD.
    pub(crate) async fn head(&mut self) -> Answer {
        let mut head = String::new();
        loop {
            let line = read_line(&mut self.stream)
                .await
                .unwrap_or_else(|| panic!("cut off: {head:?}"));
            if line.is_empty() {
                break;
            }
            head.push_str(&line);
            head.push('\n');
        }
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: String::new(),
            bytes: Vec::new(),
        }
    }

    /// Reads one answer that its length or the end of the channel delimits.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        let mut body = Vec::new();
        match answer.header("content-length").parse() {
            Ok(length) => {
                body.resize(length, 0);
                soon("the body", self.stream.read_exact(&mut body))
                    .await
                    .unwrap();
            }
            Err(_) if [204, 304].contains(&answer.status) => {}
            Err(_) => {
                soon("the body", self.stream.read_to_end(&mut body))
                    .await
                    .unwrap();
            }
        }
        answer.body = String::from_utf8_lossy(&body).into_owned();
        answer.bytes = body;
        answer
    }

    /// Whether the agent closed the channel, with nothing more on it.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut rest = [0; 1];
        soon("the channel's end", self.stream.read(&mut rest))
            .await
            .unwrap_or(0)
            == 0
    }
}

/// Runs the `agent` command to its end.
pub(crate) fn command(arguments: &[&str], config: &Path) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_agent"))
        .args(arguments)
        .arg(config)
        .output()
        .unwrap()
}
