//! The API over TLS on a port of the handset: R48.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use support::front::curl;
use support::{Agent, Gateway, Signaling, soon, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const CONFIG: &str = "[[user]]\nname = \"alice\"\npassword = \"wonderland\"\n\
    [consent]\nenabled = false\n[https]\nlisten = \"127.0.0.1:0\"\n[builtin]\ndatabase = \"handset.db\"\n";

/// A handset, the port of its listener, and the certificate that it made.
struct Handset {
    _gateway: Gateway,
    signaling: Signaling,
    agent: Agent,
    port: u16,
    certificate: String,
}

impl Handset {
    async fn start(config: &str) -> Self {
        let gateway = Gateway::start().await;
        let agent = Agent::start(&[&gateway], config);
        let signaling = gateway.registered().await;
        Self {
            port: port(&agent),
            certificate: agent
                .path("handset.db.certificate.pem")
                .display()
                .to_string(),
            _gateway: gateway,
            signaling,
            agent,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// A connection that is shaken and has asked for nothing yet.
    async fn connect(&self) -> TlsStream<tokio::net::TcpStream> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(&self.certificate).unwrap();
        roots.add(certificate).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await;
        let name = ServerName::try_from("localhost").unwrap();
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream.unwrap());
        soon("a handshake", shaken).await.unwrap()
    }
}

fn port(agent: &Agent) -> u16 {
    let log = agent.log();
    let line = log
        .lines()
        .rfind(|line| line.contains("served over TLS"))
        .expect("it listens");
    line.rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn r48_the_same_api_is_served_over_tls() {
    let handset = Handset::start(CONFIG).await;
    let trusting = ["--cacert", &handset.certificate];
    for version in [
        ["--tlsv1.2", "--tls-max", "1.2"],
        ["--tlsv1.3", "--tls-max", "1.3"],
    ] {
        for scheme in ["--basic", "--digest"] {
            let user = [scheme, "-u", "alice:wonderland"];
            let told = curl(&[&trusting[..], &version, &user, &[&handset.url("/")]].concat()).await;
            assert_eq!(told.status, 200, "{}", told.output);
            assert!(
                told.output.contains("\"user\":\"alice\""),
                "{}",
                told.output
            );
        }
    }
    let refused = curl(&[&trusting[..], &[&handset.url("/contacts")]].concat()).await;
    assert_eq!(refused.status, 401);
    let user = [
        "-u",
        "alice:wonderland",
        "-H",
        "Content-Type: application/json",
    ];
    let url = handset.url("/contacts");
    let add = [&trusting[..], &user, &["-d", r#"{"name":"Ada"}"#, &url]].concat();
    assert_eq!(curl(&add).await.status, 201);
    // Two requests on one connection.
    let twice = curl(&[&trusting[..], &user, &[&url, &url]].concat()).await;
    assert_eq!(
        twice.output.matches("\"name\":\"Ada\"").count(),
        2,
        "{}",
        twice.output
    );
}

#[tokio::test]
async fn r48_nobody_else_can_pose_as_the_handset_and_old_tls_is_not_spoken() {
    let handset = Handset::start(CONFIG).await;
    let run = |arguments: &[&str]| {
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "20"])
            .args(arguments)
            .arg(handset.url("/"))
            .output();
        output.unwrap()
    };
    let distrusting = run(&[]);
    assert_eq!(distrusting.status.code(), Some(60), "{distrusting:?}");
    let old = run(&["-k", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"]);
    assert_eq!(old.status.code(), Some(35), "{old:?}");
    // The fingerprint in the log is the one that other programs show.
    let shown = Command::new("openssl")
        .args([
            "x509",
            "-noout",
            "-fingerprint",
            "-sha256",
            "-in",
            &handset.certificate,
        ])
        .output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    let fingerprint = shown.trim().split('=').nth(1).unwrap();
    assert!(handset.agent.log().contains(fingerprint), "{fingerprint}");
}

#[tokio::test]
async fn r48_what_a_caller_says_of_a_gateway_is_not_believed() {
    let handset = Handset::start(CONFIG).await;
    let claims = [
        "-H",
        "X-Forwarded-Prefix: /34600000001",
        "-u",
        "alice:wonderland",
    ];
    let told = curl(
        &[
            &["--cacert", &*handset.certificate],
            &claims[..],
            &[&handset.url("/")],
        ]
        .concat(),
    )
    .await;
    assert!(
        told.output.contains("\"href\":\"/contacts\""),
        "{}",
        told.output
    );
    // Failures are counted where they come from, whatever they say.
    for guess in 0..4 {
        let claims = format!("Forwarded: for=10.0.0.{guess}");
        let user = format!("alice:guess{guess}");
        let told = curl(&[
            "--cacert",
            &handset.certificate,
            "-H",
            &claims,
            "-u",
            &user,
            &handset.url("/"),
        ])
        .await;
        assert_eq!(told.status, 401);
    }
    let told = curl(&[
        "--cacert",
        &handset.certificate,
        "-u",
        "alice:wonderland",
        &handset.url("/"),
    ])
    .await;
    assert_eq!(told.status, 429);
}

#[tokio::test]
async fn r48_callers_that_do_not_speak_tls_do_not_keep_others_out() {
    let handset = Handset::start(CONFIG).await;
    let mut silent: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(("127.0.0.1", handset.port)).unwrap())
        .collect();
    for stream in silent.iter_mut().take(10) {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .unwrap();
    }
    let told = curl(&[
        "--cacert",
        &handset.certificate,
        "-u",
        "alice:wonderland",
        &handset.url("/"),
    ])
    .await;
    assert_eq!(told.status, 200);
    let mut rest = Vec::new();
    let _ = silent[0].read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP"), "nothing is told in plain");
}

#[tokio::test]
async fn r48_the_certificate_is_the_owners_or_lasts() {
    let mut handset = Handset::start(CONFIG).await;
    let made = std::fs::read(&handset.certificate).unwrap();
    handset.agent.kill();
    handset.agent.run();
    until("it listens again", || {
        handset.agent.log().matches("served over TLS").count() == 2
    })
    .await;
    assert_eq!(std::fs::read(&handset.certificate).unwrap(), made);
    let told = curl(&[
        "--cacert",
        &handset.certificate,
        "-u",
        "alice:wonderland",
        &format!("https://localhost:{}/", port(&handset.agent)),
    ])
    .await;
    assert_eq!(told.status, 200);
    // Another one's, by name.
    let given = CONFIG.replace(
        "127.0.0.1:0\"\n",
        "127.0.0.1:0\"\ncertificate = \"other.pem\"\nkey = \"other.pem\"\n",
    );
    let gateway = Gateway::start().await;
    let mut agent = Agent::prepare(&[&gateway], &given);
    let key = std::fs::read(handset.agent.path("handset.db.key.pem")).unwrap();
    std::fs::write(agent.path("other.pem"), [made, key].concat()).unwrap();
    agent.run();
    let _signaling = gateway.registered().await;
    let url = format!("https://localhost:{}/", port(&agent));
    assert_eq!(
        curl(&[
            "--cacert",
            &handset.certificate,
            "-u",
            "alice:wonderland",
            &url
        ])
        .await
        .status,
        200
    );
    assert!(!agent.path("handset.db.key.pem").exists());
}

#[tokio::test]
async fn r48_a_request_in_progress_is_answered_when_the_agent_ends() {
    let mut handset = Handset::start(&format!("shutdown_timeout_ms = 600000\n{CONFIG}")).await;
    // Those who ask for nothing do not hold it up: one that is idle, and one that does not even shake hands.
    let mut idle = handset.connect().await;
    let _silent = TcpStream::connect(("127.0.0.1", handset.port)).unwrap();
    let mut asking = handset.connect().await;
    let body = r#"{"name":"Ada"}"#;
    let head = format!(
        "POST /contacts HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic YWxpY2U6d29uZGVybGFuZA==\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    asking.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    let read = asking.read_exact(&mut go_on);
    soon("the body is waited for", read).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    handset.agent.terminate();
    assert_eq!(handset.signaling.line().await.as_deref(), Some("BYE"));
    until("nobody else comes in", || {
        TcpStream::connect(("127.0.0.1", handset.port)).is_err()
    })
    .await;
    asking.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = asking.read_to_string(&mut answer);
    soon("the answer", read).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let mut rest = Vec::new();
    let ended = soon("the idle one is closed", idle.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "{ended:?}");
    assert!(handset.agent.ended().await.success());
}
