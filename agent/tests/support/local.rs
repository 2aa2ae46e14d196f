//! The web server on the handset that an agent forwards to, played by the test connection by connection.

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{Agent, Gateway, Signaling, soon};

/// Where the agent connects to.
pub(crate) struct Local {
    listener: TcpListener,
}

impl Local {
    pub(crate) async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    pub(crate) async fn accept(&self) -> BufReader<TcpStream> {
        let (stream, _) = soon("a local connection", self.listener.accept())
            .await
            .unwrap();
        BufReader::new(stream)
    }
}

/// The head of a request, its blank line included.
pub(crate) async fn head(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(
            soon("a head", stream.read_line(&mut head)).await.unwrap(),
            0,
            "{head}"
        );
    }
    head
}

pub(crate) async fn forwarding(config: &str) -> (Gateway, Local, Agent, Signaling) {
    let (gateway, local) = (Gateway::start().await, Local::start().await);
    let agent = Agent::start(
        &[&gateway],
        &format!("forward = \"{}\"\n{config}", local.url()),
    );
    let signaling = gateway.registered().await;
    (gateway, local, agent, signaling)
}
