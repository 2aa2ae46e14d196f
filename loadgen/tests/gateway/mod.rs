//! The smallest gateway that a load can be put on: real sockets, `everline_protocol::Session`, path form, no limits.
//!
//! It is told by the test how to misbehave, so that the load generator's books can be held against what happened.
#![allow(dead_code, reason = "every file of tests uses a part of it")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use everline_protocol::{
    Beat, DataLine, DataStep, ErrorCode, Millis, Refusal, RefusalCode, RequestId, Rules, Session,
    SessionEvent, SessionId, SessionOutput,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// Nothing in a test takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A running gateway; it ends with the test's runtime.
pub(crate) struct Gateway {
    /// What the test looks at, and changes.
    pub(crate) state: Arc<State>,
    signaling: SocketAddr,
    data: SocketAddr,
    ingress: SocketAddr,
}

/// See the module.
pub(crate) struct State {
    epoch: Instant,
    sessions: Mutex<HashMap<u64, mpsc::UnboundedSender<Order>>>,
    pending: Mutex<HashMap<RequestId, oneshot::Sender<TcpStream>>>,
    /// Handsets that have registered and sent their first WAITING, so far.
    pub(crate) registered: AtomicU64,
    /// So many of the next CONNECTs are refused.
    pub(crate) refuse_first: AtomicU64,
    /// Sends requests to the handset one above the one that was asked for.
    pub(crate) crosses: AtomicBool,
    /// Keeps the last byte of every request's body to itself.
    pub(crate) cuts_uploads: AtomicBool,
    /// Process of the load generator.
    pub(crate) loadgen: AtomicU32,
    /// Tokens seen.
    pub(crate) tokens: Mutex<Vec<String>>,
}

/// What a session is told to do.
pub(crate) enum Order {
    Signal(RequestId),
    End(ErrorCode),
    Reconnect,
    Vanish,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(State {
            epoch: Instant::now(),
            sessions: Mutex::default(),
            pending: Mutex::default(),
            registered: AtomicU64::new(0),
            refuse_first: AtomicU64::new(0),
            crosses: false.into(),
            cuts_uploads: false.into(),
            loadgen: AtomicU32::new(0),
            tokens: Mutex::default(),
        });
        let signaling = listen(state.clone(), |stream, state| async move {
            session(stream, state).await;
        })
        .await;
        let data = listen(state.clone(), |stream, state| async move {
            data_channel(stream, state).await;
        })
        .await;
        let ingress = listen(state.clone(), |stream, state| async move {
            ingress(stream, state).await;
        })
        .await;
        Self {
            state,
            signaling,
            data,
            ingress,
        }
    }

    /// What tells `loadgen run` where this gateway is.
    pub(crate) fn flags(&self) -> Vec<String> {
        let flags = [
            ("--signaling", self.signaling.to_string()),
            ("--data", self.data.to_string()),
            ("--ingress", self.ingress.to_string()),
            ("--table-slots", "256".into()),
        ];
        let words = flags
            .into_iter()
            .map(|(flag, value)| [flag.to_owned(), value]);
        words.flatten().collect()
    }

    /// Runs `loadgen run` against this gateway to its end. Returns its exit status, report and output.
    pub(crate) async fn load(&self, arguments: &[&str]) -> (i32, Value, String) {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("report.json");
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command
            .arg("run")
            .args(self.flags())
            .arg("--report")
            .arg(&report)
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let child = command.spawn().unwrap();
        self.state
            .loadgen
            .store(child.id().unwrap(), Ordering::Release);
        let output = tokio::time::timeout(LIMIT, child.wait_with_output())
            .await
            .expect("the run ends")
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let report = std::fs::read(&report).unwrap_or_default();
        let report = serde_json::from_slice(&report).unwrap_or(Value::Null);
        (output.status.code().unwrap_or(-1), report, text)
    }

    /// Waits until so many handsets have registered, counted from the start.
    pub(crate) async fn registered(&self, count: u64) {
        let wait = async {
            while self.state.registered.load(Ordering::Acquire) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, wait)
            .await
            .expect("handsets register");
    }

    /// Gives `count` sessions an order.
    pub(crate) fn order(&self, count: usize, order: impl Fn() -> Order) {
        for session in self.state.sessions.lock().unwrap().values().take(count) {
            session.send(order()).unwrap();
        }
    }
}

async fn listen<F>(
    state: Arc<State>,
    serve: impl Fn(TcpStream, Arc<State>) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, state.clone()));
        }
    });
    address
}

async fn session(mut stream: TcpStream, state: Arc<State>) {
    let now = || Millis(u64::try_from(state.epoch.elapsed().as_millis()).unwrap());
    let rules = Rules {
        timeout_s: 1..=3600,
        connect_limit: Millis(10_000),
        grace_max: Millis(30_000),
        beat: Beat::default(),
    };
    let mut machine = Session::new(now(), &rules);
    let mut out = SessionOutput::default();
    let (orders, mut order) = mpsc::unbounded_channel();
    let mut who = None;
    let mut buffer = [0; 4096];
    loop {
        let due = machine.deadline().map_or(Duration::from_secs(3600), |at| {
            Duration::from_millis(at.since(now()).0)
        });
        tokio::select! {
            read = stream.read(&mut buffer) => match read {
                Ok(0) | Err(_) => break,
                Ok(count) => machine.input(&buffer[..count], now(), &rules, &mut out),
            },
            Some(order) = order.recv() => match order {
                Order::Signal(id) => drop(machine.signal(id, None, &mut out)),
                Order::End(code) => machine.end(code, &mut out),
                Order::Reconnect => machine.reconnect(Millis(50), None, &mut out),
                Order::Vanish => break,
            },
            () = tokio::time::sleep(due) => machine.on_deadline(now(), &rules, &mut out),
        }
        let ended = on_events(
            &state,
            &mut machine,
            &orders,
            &mut who,
            (now(), &rules),
            &mut out,
        );
        let sent = stream.write_all(&out.wire).await;
        out.wire.clear();
        if ended || sent.is_err() {
            break;
        }
    }
    let mut sessions = state.sessions.lock().unwrap();
    if let Some(who) = who
        && sessions
            .get(&who)
            .is_some_and(|session| session.same_channel(&orders))
    {
        sessions.remove(&who);
    }
}

/// Does what the machine tells; `true` if the session has ended.
fn on_events(
    state: &State,
    machine: &mut Session,
    orders: &mpsc::UnboundedSender<Order>,
    who: &mut Option<u64>,
    (now, rules): (Millis, &Rules),
    out: &mut SessionOutput,
) -> bool {
    let mut ended = false;
    while !out.events.is_empty() {
        match out.events.remove(0) {
            SessionEvent::Authenticate(connect) => {
                state.tokens.lock().unwrap().push(connect.token.clone());
                let left = |left: u64| left.checked_sub(1);
                if state
                    .refuse_first
                    .fetch_update(Ordering::AcqRel, Ordering::Acquire, left)
                    .is_ok()
                {
                    let refusal = Refusal {
                        code: RefusalCode::BadToken,
                        retry_after_s: None,
                        reason: None,
                    };
                    machine.refuse(&refusal, out);
                } else {
                    *who = Some(connect.msisdn.as_u64());
                    let old = state
                        .sessions
                        .lock()
                        .unwrap()
                        .insert(connect.msisdn.as_u64(), orders.clone());
                    let _ = old.map(|old| old.send(Order::End(ErrorCode::Replaced)));
                    machine.admit(SessionId(1), now, rules, out);
                }
            }
            SessionEvent::Refused(_)
            | SessionEvent::Left
            | SessionEvent::Broken(_)
            | SessionEvent::Dead => ended = true,
            // Only now: a session that vanishes with its WAITING unread is reset, not closed.
            SessionEvent::Ready => {
                state.registered.fetch_add(1, Ordering::AcqRel);
            }
            SessionEvent::KeepAliveSent | SessionEvent::KeepAliveAnswered => {}
        }
    }
    ended
}

async fn data_channel(mut stream: TcpStream, state: Arc<State>) {
    let mut line = DataLine::default();
    let mut byte = [0; 1];
    while let Ok(1) = stream.read(&mut byte).await {
        match line.input(&byte) {
            DataStep::More => {}
            DataStep::Bound { id, .. } => {
                if let Some(waiting) = state.pending.lock().unwrap().remove(&id) {
                    let _ = waiting.send(stream);
                }
                return;
            }
            DataStep::Bad(_) => return,
        }
    }
}

/// One request a connection: `/<msisdn>/…` in path form, bodies by Content-Length.
async fn ingress(mut caller: TcpStream, state: Arc<State>) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(caller.read_u8().await.ok()?);
    }
    let head = String::from_utf8(request).ok()?;
    let (method, rest) = head.split_once(" /")?;
    let (digits, rest) = rest.split_once('/')?;
    let length = rest.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    let msisdn = digits.parse::<u64>().ok()? + u64::from(state.crosses.load(Ordering::Relaxed));
    let session = state.sessions.lock().unwrap().get(&msisdn).cloned();
    let Some(session) = session else {
        let body = r#"{"type":"urn:everline:handset-offline","status":503}"#;
        let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nConnection: close";
        let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        return caller.write_all(answer.as_bytes()).await.ok();
    };
    let id = RequestId(rand::random());
    let (bound, channel) = oneshot::channel();
    state.pending.lock().unwrap().insert(id, bound);
    session.send(Order::Signal(id)).ok()?;
    let mut channel = channel.await.ok()?;
    let cuts = state.cuts_uploads.load(Ordering::Relaxed);
    let rest = rest
        .replacen("\r\n", "\r\nConnection: close\r\n", 1)
        .replace(
            &format!("content-length: {}", length.unwrap_or(0)),
            &format!(
                "content-length: {}",
                length.unwrap_or(0) - usize::from(cuts)
            ),
        );
    channel
        .write_all(format!("{method} /{rest}").as_bytes())
        .await
        .ok()?;
    let mut body = vec![0; length.unwrap_or(0)];
    caller.read_exact(&mut body).await.ok()?;
    if cuts {
        body.pop();
    }
    channel.write_all(&body).await.ok()?;
    let mut answer = Vec::new();
    let mut piece = [0; 16_384];
    // The gateway is the one to close a data channel without linger (PROTOCOL 5.3), so the answer's length counts.
    while !is_whole(&answer) {
        let count = channel
            .read(&mut piece)
            .await
            .ok()
            .filter(|count| *count > 0)?;
        answer.extend_from_slice(&piece[..count]);
    }
    caller.write_all(&answer).await.ok()
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}
