//! A worker as it runs in the gateway, with the test in place of the shard, the handset and the caller.
//!
//! Signals are read from the mailbox, data channels are plain sockets, and so is the caller: nothing here knows HTTP but
//! the test itself. Every wait has a deadline; none of them is a sleep.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "shared by several test crates, each of which uses a part"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use everline_gateway::config::{
    Admin, Auth, Config, Data, Drain, Ingress, Log, Request, Signaling, Store,
};
use everline_gateway::directory::{Directory, Place};
use everline_gateway::limits::{Bounds, Limits};
use everline_gateway::pending::Pending;
use everline_gateway::registration::Admission;
use everline_gateway::shard::mailbox::{Letter, Mailbox, Shards};
use everline_gateway::shard::turns::Turns;
use everline_gateway::shared::{Phase, PhaseCell, Shared};
use everline_gateway::store::StoreHandle;
use everline_gateway::worker::{self, WorkerSockets};
use everline_protocol::{Msisdn, RequestId};
use everline_uring::{SocketKey, Wake};
use tokio::sync::watch;

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long the shard may sleep on letters that can wait, as a timer would end it.
const TURN: Duration = Duration::from_millis(2);
/// The handset of most tests.
pub const NUMBER: u64 = 34_600_000_001;

/// Rings when a letter was posted.
#[derive(Clone, Default)]
struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Wake for Bell {
    fn wake(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// One or more workers.
pub struct Gateway {
    /// Where callers connect, by worker.
    pub ingress: Vec<SocketAddr>,
    /// Where handsets connect, by worker.
    pub data: Vec<SocketAddr>,
    pub shared: Arc<Shared>,
    mailbox: Mailbox,
    bell: Bell,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<std::io::Result<()>>>,
    slots: AtomicU32,
}

impl Gateway {
    /// With limits that no test meets by accident, changed as the test needs.
    pub fn start(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_with(1, StoreHandle::none(), change)
    }

    pub fn start_with(count: usize, store: StoreHandle, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        let bell = Bell::default();
        let mailbox = Mailbox::new(config.signaling.mailbox_letters_max, bell.clone());
        let bounds = Bounds {
            requests_max: config.ingress.requests_max,
            per_handset_max: config.ingress.requests_per_handset_max,
            per_caller_max: config.ingress.requests_per_caller_max,
        };
        let shared = Arc::new(Shared {
            config,
            directory: Directory::default(),
            pending: Pending::default(),
            limits: Limits::new(bounds),
            admission: Admission::new(0),
            turns: Turns::new(1, 1),
            shards: Shards::new(vec![mailbox.clone()]),
            store,
            phase: PhaseCell::default(),
        });
        shared.phase.advance(Phase::Serving);
        let (stop, stopped) = watch::channel(false);
        let (mut ingress, mut data, mut workers) = (vec![], vec![], vec![]);
        for index in 0..count {
            let sockets = WorkerSockets {
                ingress: listener(),
                data: listener(),
            };
            ingress.push(sockets.ingress.local_addr().unwrap());
            data.push(sockets.data.local_addr().unwrap());
            let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
            workers.push(std::thread::spawn(move || {
                worker::run(index, sockets, shared, stopped)
            }));
        }
        Self {
            ingress,
            data,
            shared,
            mailbox,
            bell,
            stop,
            workers,
            slots: AtomicU32::new(0),
        }
    }

    /// Enters a session for the handset, in place of an older one.
    pub fn register(&self, linger_s: u32) -> Place {
        self.register_number(NUMBER, linger_s)
    }

    pub fn register_number(&self, number: u64, linger_s: u32) -> Place {
        let slot = self.slots.fetch_add(1, Ordering::Relaxed);
        let place = Place::new(
            0,
            SocketKey {
                slot,
                generation: 0,
            },
            linger_s,
        );
        self.shared
            .directory
            .enter(msisdn(number), place, usize::MAX)
            .unwrap();
        place
    }

    /// A caller's connection to the first worker.
    pub fn caller(&self) -> Wire {
        Wire::connect(self.ingress[0])
    }

    /// What comes next in the shard's mailbox.
    pub fn letter(&self) -> Letter {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(letter) = self.letter_now() {
                return letter;
            }
            let mut rung = self.bell.0.0.lock().unwrap();
            while !*rung {
                let left = deadline.saturating_duration_since(Instant::now());
                assert!(!left.is_zero(), "no letter came");
                let (awake, slept) = self.bell.0.1.wait_timeout(rung, TURN).unwrap();
                rung = awake;
                if slept.timed_out() {
                    break;
                }
            }
            *rung = false;
        }
    }

    /// What is in the mailbox at this moment.
    pub fn letter_now(&self) -> Option<Letter> {
        self.mailbox.begin();
        self.mailbox.take()
    }

    /// The next signal, and to whom. That data channels were opened is passed over.
    pub fn signal(&self) -> (Place, RequestId) {
        loop {
            match self.letter() {
                Letter::Signal { place, id } => return (place, id),
                Letter::DataChannelOpened { .. } => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    /// The next signal, answered with a data channel as a handset would.
    pub fn answered(&self) -> Wire {
        let (_, id) = self.signal();
        self.data_channel(id)
    }

    pub fn data_channel(&self, id: RequestId) -> Wire {
        let mut wire = Wire::connect(self.data[0]);
        wire.send(format!("DATA id={id}\r\n"));
        wire
    }

    /// Waits until something holds.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Shared) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.shared) {
            assert!(Instant::now() < deadline, "never came true: {what}");
            std::thread::yield_now();
        }
    }

    /// Stops the workers and waits for their end.
    pub fn stop(mut self) {
        // They may have ended already.
        let _ = self.stop.send(true);
        for worker in self.workers.drain(..) {
            worker.join().unwrap().unwrap();
        }
    }

    /// Tells the workers to stop.
    pub fn begin_stop(&self) {
        self.stop.send(true).unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // A test that failed leaves requests behind: they end with the process.
        let _ = self.stop.send(true);
    }
}

pub fn msisdn(number: u64) -> Msisdn {
    Msisdn::from_u64(number).unwrap()
}

fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn config() -> Config {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Config {
        signaling: Signaling {
            listen: any,
            proxy_protocol: false,
            sessions_max: 1000,
            shards: Some(1),
            timeout_min_s: 10,
            timeout_max_s: 3600,
            connect_timeout: PATIENCE,
            grace_max: PATIENCE,
            registrations_per_s_max: 0,
            retry_after_s: 5,
            mailbox_letters_max: 1000,
        },
        data: Data {
            listen: any,
            proxy_protocol: false,
            advertise: None,
            bind_timeout: PATIENCE,
            unbound_max: 1000,
            idle_max: 1000,
        },
        ingress: Ingress {
            listen: any,
            proxy_protocol: false,
            domains: vec!["localhost".into(), "vodafone.example".into()],
            workers: Some(1),
            connections_max: 1000,
            requests_max: 1000,
            requests_per_handset_max: 1000,
            requests_per_caller_max: 1000,
            h2_streams_max: 100,
            header_bytes_max: 16 * 1024,
            headers_max: 64,
            body_bytes_max: 0,
            header_timeout: PATIENCE,
            body_idle_timeout: PATIENCE,
            write_timeout: PATIENCE,
        },
        request: Request {
            wake_timeout: 2 * PATIENCE,
            response_timeout: PATIENCE,
            response_idle_timeout: PATIENCE,
            reconnect_hold: Duration::ZERO,
            recent: Duration::from_secs(60),
        },
        auth: Auth::None,
        store: Store {
            path: None::<PathBuf>,
            flush_interval: Duration::from_secs(1),
            pending_rows_max: 1000,
            cache_bytes: 1 << 20,
        },
        admin: Admin {
            listen: any,
            beyond_loopback: false,
            hosts: vec![],
        },
        drain: Drain {
            spread: Duration::ZERO,
            finish: PATIENCE,
            reconnect_to: None,
        },
        log: Log {
            filter: "off".into(),
            msisdns_in_full: false,
        },
        plaintext_beyond_loopback: false,
    }
}

/// One end of a connection, with what was read beyond what was asked for.
pub struct Wire {
    pub socket: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub fn connect(to: SocketAddr) -> Self {
        let socket = TcpStream::connect(to).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self {
            socket,
            unread: vec![],
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// Asks for `path` of the handset in the host form.
    pub fn get(&mut self, path: &str) {
        self.send(format!(
            "GET {path} HTTP/1.1\r\nHost: {NUMBER}.localhost\r\n\r\n"
        ));
    }

    /// Whatever comes first; empty at the end.
    pub fn read_some(&mut self) -> Vec<u8> {
        if !self.unread.is_empty() {
            return std::mem::take(&mut self.unread);
        }
        let mut buffer = [0; 16 * 1024];
        let read = self.socket.read(&mut buffer).unwrap();
        buffer[..read].to_vec()
    }

    /// All up to and with `mark`.
    pub fn read_until(&mut self, mark: &str) -> String {
        let mut seen = vec![];
        loop {
            if let Some(at) = seen
                .windows(mark.len())
                .position(|window| window == mark.as_bytes())
            {
                self.unread = seen.split_off(at + mark.len());
                return String::from_utf8(seen).unwrap();
            }
            let bytes = self.read_some();
            assert!(
                !bytes.is_empty(),
                "ended before {mark:?}: {}",
                String::from_utf8_lossy(&seen)
            );
            seen.extend(bytes);
        }
    }

    /// A head, its empty line included.
    pub fn read_head(&mut self) -> String {
        self.read_until("\r\n\r\n")
    }

    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let mut seen = vec![];
        while seen.len() < count {
            let bytes = self.read_some();
            assert!(
                !bytes.is_empty(),
                "ended after {} of {count} bytes",
                seen.len()
            );
            seen.extend(bytes);
        }
        self.unread = seen.split_off(count);
        seen
    }

    /// A head, or nothing if the connection ends first, however it does.
    pub fn try_head(&mut self) -> Option<String> {
        let mut seen = vec![];
        loop {
            if let Some(at) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
                self.unread = seen.split_off(at + 4);
                return String::from_utf8(seen).ok();
            }
            seen.extend(self.try_some()?);
        }
    }

    /// So many bytes, or nothing if the connection ends first, however it does.
    pub fn try_exact(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut seen = vec![];
        while seen.len() < count {
            seen.extend(self.try_some()?);
        }
        self.unread = seen.split_off(count);
        Some(seen)
    }

    fn try_some(&mut self) -> Option<Vec<u8>> {
        if !self.unread.is_empty() {
            return Some(std::mem::take(&mut self.unread));
        }
        let mut buffer = [0; 4096];
        match self.socket.read(&mut buffer) {
            Ok(0) => None,
            Ok(read) => Some(buffer[..read].to_vec()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing came in time"),
            Err(_) => None,
        }
    }

    /// A head and the body that its Content-Length tells.
    pub fn read_message(&mut self) -> (String, String) {
        let head = self.read_head();
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let body = self.read_exact(length);
        (head, String::from_utf8(body).unwrap())
    }

    /// All up to the end; `false` if that is a reset.
    pub fn read_to_end(&mut self) -> (String, bool) {
        let mut seen = std::mem::take(&mut self.unread);
        let in_order = match self.socket.read_to_end(&mut seen) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        };
        (String::from_utf8_lossy(&seen).into_owned(), in_order)
    }

    /// Waits for the peer's end; that nothing came before it is part of it.
    pub fn read_end(&mut self) {
        assert_eq!(self.read_to_end().0, "");
    }

    /// Whether nothing has come by now.
    pub fn is_quiet(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let peeked = self.socket.peek(&mut [0]);
        self.socket.set_nonblocking(false).unwrap();
        self.unread.is_empty() && peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends until the peer takes no more for a while, at most `most` bytes: how much it took.
    pub fn fill(&mut self, most: usize) -> usize {
        self.socket
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let chunk = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        while sent < most {
            match self.socket.write(&chunk[..chunk.len().min(most - sent)]) {
                Ok(count) => sent += count,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        self.socket.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    /// The problem that a response is: its status, its slug, its head and its text.
    pub fn read_problem(&mut self) -> Problem {
        let (head, body) = self.read_message();
        Problem::new(head, &body)
    }

    pub fn end_writing(&self) {
        self.socket.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

/// A problem as the caller sees it.
#[derive(Debug)]
pub struct Problem {
    pub status: u16,
    pub slug: String,
    pub head: String,
    pub text: serde_json::Value,
}

impl Problem {
    /// Checks all that every problem must have (PROTOCOL 5.4).
    pub fn new(head: String, body: &str) -> Self {
        assert_eq!(
            field(&head, "content-type"),
            Some("application/problem+json"),
            "{head}"
        );
        let text: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let status = status(&head);
        assert_eq!(text["status"], status);
        assert_eq!(
            text["request_id"].as_str(),
            field(&head, "x-request-id"),
            "{head}"
        );
        assert!(text["title"].is_string() && text["detail"].is_string());
        let slug = text["type"]
            .as_str()
            .unwrap()
            .strip_prefix("urn:everline:")
            .unwrap()
            .to_owned();
        Self {
            status,
            slug,
            head,
            text,
        }
    }

    /// Status and slug.
    pub fn is(&self, status: u16, slug: &str) {
        assert_eq!(
            (self.status, self.slug.as_str()),
            (status, slug),
            "{self:?}"
        );
        let retry = matches!(status, 429 | 503);
        assert_eq!(
            field(&self.head, "retry-after").is_some(),
            retry,
            "Retry-After: {}",
            self.head
        );
    }
}

pub fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// The value of a field of a head, if it is there once.
pub fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut values = head.lines().skip(1).filter_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then_some(value.trim())
    });
    let value = values.next();
    assert!(values.next().is_none(), "{name} twice: {head}");
    value
}
