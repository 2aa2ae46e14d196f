//! Where real callers connect: curl speaks to it as to a gateway's ingress, and what it sends goes to the agent.
//!
//! It does what PROTOCOL 5.2 says of a gateway, one request a connection: the path form's prefix goes, `Forwarded` and
//! `X-Forwarded-Prefix` come, and bodies pass both ways.

use std::process::Command;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{Gateway, MSISDN, Signaling, soon};

pub(crate) struct Front {
    pub(crate) port: u16,
}

/// What curl printed, and the status that it saw last.
#[derive(Debug)]
pub(crate) struct Curl {
    pub(crate) status: u16,
    pub(crate) output: String,
}

impl Front {
    /// Takes the gateway over: from now on it serves whoever connects, one after the other.
    pub(crate) async fn start(gateway: Gateway, mut signaling: Signaling) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (caller, _) = listener.accept().await.unwrap();
                let mut caller = BufReader::new(caller);
                let Some(head) = head(&mut caller).await else {
                    continue;
                };
                let id = signaling.signal().await;
                let (mut channel, named) = gateway.channel().await;
                assert_eq!(id, named);
                channel.send(head.as_bytes()).await;
                soon("an exchange", pass(caller, channel.stream)).await;
            }
        });
        Self { port }
    }

    pub(crate) fn host_form(&self, path: &str) -> String {
        format!("http://{MSISDN}.localhost:{}{path}", self.port)
    }

    pub(crate) fn path_form(&self, path: &str) -> String {
        format!("http://localhost:{}/{MSISDN}{path}", self.port)
    }
}

/// Runs curl. What it prints is the heads and bodies of all answers, those before the last included.
pub(crate) async fn curl(arguments: &[&str]) -> Curl {
    let mut command = Command::new("curl");
    command.args(["-sS", "-i", "--max-time", "30", "-w", "\n%{http_code}"]);
    command.args(arguments);
    let run = tokio::task::spawn_blocking(move || command.output());
    let run = run.await.unwrap().expect("curl is installed");
    let output = String::from_utf8(run.stdout).unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{told}{output}");
    let (output, status) = output.rsplit_once('\n').unwrap();
    Curl {
        status: status.parse().unwrap(),
        output: output.to_owned(),
    }
}

/// A request's head as a gateway hands it on.
async fn head(caller: &mut BufReader<TcpStream>) -> Option<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        let read = soon("a head", caller.read_line(&mut line)).await.unwrap();
        if read == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        lines.push(line);
    }
    let prefix = format!("/{MSISDN}");
    let mut ours = "Forwarded: for=192.0.2.7;host=h;proto=http\r\nConnection: close\r\n".to_owned();
    let (method, rest) = lines[0].split_once(' ').unwrap();
    if let Some(rest) = rest.strip_prefix(&prefix) {
        ours.push_str(&format!("X-Forwarded-Prefix: {prefix}\r\n"));
        let slash = if rest.starts_with('/') { "" } else { "/" };
        lines[0] = format!("{method} {slash}{rest}");
    }
    Some(format!("{}{ours}\r\n", lines.concat()))
}

/// Until the agent has closed the channel.
async fn pass(caller: BufReader<TcpStream>, channel: BufReader<TcpStream>) {
    let (mut from_caller, mut to_caller) = tokio::io::split(caller);
    let (mut from_agent, mut to_agent) = tokio::io::split(channel);
    let answer = async {
        let _ = tokio::io::copy(&mut from_agent, &mut to_caller).await;
        let _ = to_caller.shutdown().await;
    };
    tokio::select! {
        () = answer => {}
        // A caller that says no more still waits for its answer.
        () = async {
            let _ = tokio::io::copy(&mut from_caller, &mut to_agent).await;
            std::future::pending::<()>().await;
        } => {}
    }
}
