//! The gateway as its users run it: the binary, a configuration file, signals.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use everline_gateway::gateway::Addresses;
use rustix::process::{Pid, Signal, kill_process};

use super::{DEADLINE, Home};

pub const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");

/// Runs the command line to its end.
pub fn gateway(arguments: &[&str]) -> Output {
    Command::new(GATEWAY)
        .args(arguments)
        .output()
        .expect("the binary runs")
}

/// A child that serves.
pub struct Process {
    child: Child,
    pub addresses: Addresses,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Writes the configuration into the home, runs the gateway and waits until it serves.
    pub fn run(home: &Home, toml: &str) -> Self {
        Self::run_read(home, toml, true)
    }

    /// The same, and nobody reads its log from the moment on in which it serves.
    pub fn run_unread(home: &Home, toml: &str) -> Self {
        Self::run_read(home, toml, false)
    }

    fn run_read(home: &Home, toml: &str, to_the_end: bool) -> Self {
        let file = write_config(home, toml);
        let mut child = Command::new(GATEWAY)
            .args(["run", "--config"])
            .arg(file)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let log = Arc::new(Mutex::new(String::new()));
        let (serves, started) = mpsc::channel();
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut lines = stderr.lines().map_while(Result::ok);
            while let Some(line) = lines.next() {
                let serving = line.contains("the gateway serves");
                if serving && !to_the_end {
                    drop(lines);
                    let _ = serves.send(addresses(&line));
                    return;
                }
                if serving {
                    // The test may have failed meanwhile.
                    let _ = serves.send(addresses(&line));
                }
                written
                    .lock()
                    .expect("no panic while it is held")
                    .push_str(&(line + "\n"));
            }
        });
        match started.recv_timeout(DEADLINE) {
            Ok(addresses) => Self {
                child,
                addresses,
                log,
            },
            Err(_) => {
                let _ = child.kill();
                panic!(
                    "the gateway did not start:\n{}",
                    log.lock().expect("no panic while it is held")
                );
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the process is there");
    }

    /// kill -9, and wait until it is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("the process is there");
        self.child.wait().expect("the process ends");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self
                .child
                .try_wait()
                .expect("the process can be waited for")
            {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "it does not end:\n{}",
                self.log()
            );
            std::thread::yield_now();
        }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.log.lock().expect("no panic while it is held").clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The configuration as a file of this home.
pub fn write_config(home: &Home, toml: &str) -> PathBuf {
    let file = home.path().join("gateway.toml");
    std::fs::write(&file, toml).expect("the home can be written");
    file
}

fn addresses(line: &str) -> Addresses {
    let address = |key: &str| -> SocketAddr {
        let text = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        text.and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("no {key} in {line}"))
    };
    Addresses {
        signaling: address("signaling"),
        data: address("data"),
        ingress: address("ingress"),
        admin: address("admin"),
    }
}
