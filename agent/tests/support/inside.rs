//! The embedded web server in the test's own process, where the test holds the simulated handset's controls.
//!
//! It is opened from a configuration like the real one's, and answers on a socket, without the gateway between.

use std::sync::Arc;

use everline_agent::config::{self, Config};
use everline_agent::device::simulated::Simulated;
use everline_agent::serve::builtin::Builtin;
use everline_agent::status::Status;
use tempfile::TempDir;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};

use super::{Answer, Channel, soon};

/// A simulated handset that does in milliseconds what takes a real one minutes.
pub(crate) const QUICK: &str = "[device]\nkind = \"simulated\"\ndial_ms = 5\nring_ms = 5\nno_answer_ms = 20\ntalk_ms = 20\nsend_ms = 5\n\
    delivery_ms = 20\nlog = \"air.log\"\n";

/// Everybody may do everything.
pub(crate) const OPEN: &str =
    "authentication = \"none\"\n[builtin]\ndatabase = \"handset.db\"\n[consent]\nenabled = false\n";

/// A handset and its controls.
pub(crate) struct Inside {
    pub(crate) directory: TempDir,
    config: String,
    pub(crate) builtin: Builtin,
    pub(crate) device: Arc<Simulated>,
}

impl Inside {
    pub(crate) async fn start(config: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config).await
    }

    async fn start_in(directory: TempDir, config: &str) -> Self {
        let text = format!(
            "msisdn = \"34600000001\"\ngateways = [\"127.0.0.1:1\"]\ntoken = \"t\"\n{config}"
        );
        let parsed = Config::parse(&text, &directory.path().join("agent.toml"));
        let config::Serve::Builtin(builtin) = parsed.unwrap().serve else {
            panic!("the configuration has the embedded web server");
        };
        let builtin = Builtin::open(&builtin, &Status::default()).await.unwrap();
        let device = builtin.simulated.clone().unwrap();
        Self {
            directory,
            config: config.to_owned(),
            builtin,
            device,
        }
    }

    /// Ends it, and starts another on the same files.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            directory, config, ..
        } = self;
        Self::start_in(directory, &config).await
    }

    /// A connection on which nothing was sent yet.
    pub(crate) async fn connect(&self) -> Channel {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (builtin, (server, _)) = (self.builtin.clone(), server.unwrap());
        tokio::spawn(async move {
            // How it ended is what the test reads.
            let _ = builtin.serve(server).await;
        });
        Channel {
            stream: BufReader::new(client.unwrap()),
        }
    }

    /// Sends a request whose answer may never end, and gives the connection.
    pub(crate) async fn begin(&self, start: &str, headers: &str, body: &str) -> Channel {
        let mut channel = self.connect().await;
        let request = format!(
            "{start} HTTP/1.1\r\nHost: handset\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        channel.send(request.as_bytes()).await;
        channel
    }

    pub(crate) async fn send(&self, start: &str, headers: &str, body: &str) -> Answer {
        let mut channel = self.begin(start, headers, body).await;
        channel.answer().await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), "", "").await
    }

    /// POST of JSON.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        let json = "Content-Type: application/json\r\n";
        self.send(&format!("POST {path}"), json, body).await
    }

    /// Waits at the URL of a task until it has ended; gives it.
    pub(crate) async fn ended(&self, task: &str) -> serde_json::Value {
        soon("a task to end", async {
            loop {
                let told = self.get(&format!("{task}?wait_s=20")).await;
                assert_eq!(told.status, 200, "{told:?}");
                let told = told.json();
                if !["asking", "running"].contains(&told["state"].as_str().unwrap()) {
                    return told;
                }
            }
        })
        .await
    }

    /// Has a service done, to its end; gives its task.
    pub(crate) async fn done(&self, service: &str, body: &str) -> serde_json::Value {
        let begun = self.post(&format!("/services/{service}"), body).await;
        assert_eq!(begun.status, 202, "{begun:?}");
        let task = begun.header("location").to_owned();
        assert_eq!(
            task,
            format!("/tasks/{}", begun.json()["id"].as_str().unwrap())
        );
        self.ended(&task).await
    }

    /// Asks for an item until it is so.
    pub(crate) async fn becomes(
        &self,
        path: &str,
        is: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        soon(path, async {
            loop {
                let item = self.get(path).await;
                if item.status == 200 && is(&item.json()) {
                    return item.json();
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await
    }

    /// What went on the air, line by line.
    pub(crate) fn air(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.directory.path().join("air.log"));
        log.unwrap_or_default().lines().map(str::to_owned).collect()
    }
}
