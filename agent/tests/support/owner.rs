//! The owner's side of a handset: the owner's API as a script uses it, and callers who wait for the owner.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::BufReader;
use tokio::net::TcpStream;

use super::{Agent, Answer, Channel, Gateway, MSISDN, Signaling, soon, until};

/// Two users who may call, and an owner's screen. More tables may stand behind it.
pub(crate) const ASKING: &str = "data_channels_max = 300\n\
    [[user]]\nname = \"alice\"\npassword = \"wonderland\"\n\
    [[user]]\nname = \"bob\"\npassword = \"correct horse\"\n\
    [builtin]\ndatabase = \"handset.db\"\n[owner]\nlisten = \"127.0.0.1:0\"\n";

/// The headers of a JSON request of this user.
pub(crate) fn user(name: &str) -> String {
    let password = match name {
        "alice" => "wonderland",
        _ => "correct horse",
    };
    let pair = STANDARD.encode(format!("{name}:{password}"));
    format!("Authorization: Basic {pair}\r\nContent-Type: application/json\r\n")
}

/// A JSON request of this user.
pub(crate) fn request(name: &str, start: &str, body: &str) -> String {
    format!(
        "{start} HTTP/1.1\r\nHost: {MSISDN}.localhost\r\nContent-Length: {}\r\n{}\r\n{body}",
        body.len(),
        user(name)
    )
}

/// A handset whose owner is asked, registered.
pub(crate) struct Asking {
    pub(crate) gateway: Gateway,
    pub(crate) agent: Agent,
    pub(crate) signaling: Signaling,
    pub(crate) owner: Owner,
}

impl Asking {
    /// `tables` stand behind [`ASKING`].
    pub(crate) async fn start(tables: &str) -> Self {
        Self::start_with("", tables).await
    }

    /// And `keys` before it.
    pub(crate) async fn start_with(keys: &str, tables: &str) -> Self {
        let gateway = Gateway::start().await;
        let agent = Agent::start(&[&gateway], &format!("{keys}{ASKING}{tables}"));
        let signaling = gateway.registered().await;
        let owner = Owner::of(&agent).await;
        Self {
            gateway,
            agent,
            signaling,
            owner,
        }
    }

    /// SIGKILL, and started anew.
    pub(crate) async fn kill_and_start(&mut self) {
        self.agent.kill();
        self.start_again().await;
    }

    /// Started anew, after it has ended.
    pub(crate) async fn start_again(&mut self) {
        std::fs::remove_file(self.agent.path("log")).unwrap();
        self.agent.run();
        self.signaling = self.gateway.registered().await;
        self.owner = Owner::of(&self.agent).await;
    }

    /// Sends a request and does not wait for its answer.
    pub(crate) async fn begin(&mut self, name: &str, start: &str, body: &str) -> Channel {
        let id = self.signaling.signal().await;
        let (mut channel, named) = self.gateway.channel().await;
        assert_eq!(id, named);
        channel.send(request(name, start, body).as_bytes()).await;
        channel
    }

    /// One request to the end of its answer.
    pub(crate) async fn send(&mut self, name: &str, start: &str, body: &str) -> Answer {
        self.begin(name, start, body).await.answer().await
    }

    /// A request to add a note, and the prompt that it opens.
    pub(crate) async fn note(&mut self, name: &str, title: &str) -> (Channel, Value) {
        let body = json!({"title": title, "text": title}).to_string();
        let channel = self.begin(name, "POST /notes", &body).await;
        let prompt = self.owner.prompt(name, title).await;
        (channel, prompt)
    }

    /// A request without a body, and the prompt that it opens.
    pub(crate) async fn begin_and_ask(
        &mut self,
        name: &str,
        start: &str,
        says: &str,
    ) -> (Channel, Value) {
        let channel = self.begin(name, start, "").await;
        let prompt = self.owner.prompt(name, "").await;
        assert_eq!(prompt["says"], says);
        (channel, prompt)
    }

    /// How many notes there are; the owner has permitted to see them.
    pub(crate) async fn notes(&mut self, name: &str) -> usize {
        let list = self.send(name, "GET /notes", "").await;
        assert_eq!(list.status, 200, "{list:?}");
        list.json()["notes"].as_array().unwrap().len()
    }
}

/// Who has the secret.
pub(crate) struct Owner {
    pub(crate) address: String,
    pub(crate) secret: String,
}

impl Owner {
    async fn of(agent: &Agent) -> Self {
        let told = || {
            let log = agent.log();
            let (_, after) = log.split_once("screen is at http://")?;
            after.split_once('/').map(|(address, _)| address.to_owned())
        };
        until("the owner's screen", || told().is_some()).await;
        let secret = std::fs::read_to_string(agent.path("handset.owner.secret")).unwrap();
        Self {
            address: told().unwrap(),
            secret: secret.trim().to_owned(),
        }
    }

    /// One request whose answer is still to be read.
    pub(crate) async fn begin(&self, method: &str, path: &str, body: &str) -> Channel {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let mut channel = Channel {
            stream: BufReader::new(stream),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            self.secret,
            body.len()
        );
        channel.send(request.as_bytes()).await;
        channel
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        self.begin(method, path, &body).await.answer().await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, &Value::Null).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    pub(crate) async fn prompts(&self) -> Vec<Value> {
        let list = self.get("/api/prompts").await;
        list["prompts"].as_array().unwrap().clone()
    }

    /// The user's prompt whose content names `text`, once it is there; any of the user's for an empty text.
    pub(crate) async fn prompt(&self, name: &str, text: &str) -> Value {
        let content = |prompt: &Value| prompt["content"].to_string().contains(text);
        let wanted = |prompt: &Value| prompt["user"] == name && content(prompt);
        soon(&format!("a prompt of {name}"), async {
            loop {
                if let Some(prompt) = self.prompts().await.into_iter().find(wanted) {
                    return prompt;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// Waits until so many requests wait at the prompts, all together.
    pub(crate) async fn waiting(&self, count: u64) {
        soon(&format!("{count} waiting"), async {
            loop {
                let prompts = self.prompts().await;
                let waiting: u64 = prompts.iter().map(|p| p["waiting"].as_u64().unwrap()).sum();
                if waiting == count {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    pub(crate) async fn answer(&self, prompt: &Value, answer: Value) -> Value {
        let path = format!("/api/prompts/{}/answer", prompt["id"].as_str().unwrap());
        let answered = self.call("POST", &path, &answer).await;
        assert_eq!(answered.status, 200, "{answered:?}");
        answered.json()
    }

    /// Puts an entry into the access list.
    pub(crate) async fn put(&self, entry: Value) -> Value {
        let put = self.call("POST", "/api/access", &entry).await;
        assert!([200, 201].contains(&put.status), "{put:?}");
        put.json()
    }

    /// Permits one action, without end.
    pub(crate) async fn permit(&self, name: &str, resource: &str, action: &str) {
        self.put(
            json!({"user": name, "resource": resource, "action": action, "kind": "unlimited"}),
        )
        .await;
    }

    pub(crate) async fn access(&self) -> Vec<Value> {
        let list = self.get("/api/access").await;
        list["access"].as_array().unwrap().clone()
    }
}
