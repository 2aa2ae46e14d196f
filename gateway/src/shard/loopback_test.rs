//! Shards on real rings, over loopback: the kernel does what the simulation says of it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use everline_uring::{Ring, RingConfig, Sockets as _};

use super::clock::SystemClock;
use super::mailbox::{Letter, Mailbox};
use super::simulation::{config, number, shared};
use crate::registration::Verifier;
use crate::shared::Shared;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

struct Gateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Gateway {
    /// As `gateway` does it: each ring on its own thread, mailboxes first, then what is shared.
    fn start(shards: u16, slots: u32, signaling: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let (mailboxes, gathered) = mpsc::channel();
        let clock = SystemClock::default();
        let mut gates = Vec::new();
        let mut threads = Vec::new();
        for shard in 0..shards {
            let (gate, opened) = mpsc::channel::<Arc<Shared>>();
            gates.push(gate);
            let (listener, mailboxes) = (listener.try_clone().expect("a clone"), mailboxes.clone());
            threads.push(std::thread::spawn(move || {
                let ring = Ring::new(RingConfig {
                    slots,
                    buffers: 8,
                    buffer_bytes: 2048,
                    entries: 64,
                    listener: Some(listener),
                })
                .expect("a ring");
                let mailbox = Mailbox::new(64, ring.waker());
                mailboxes
                    .send((shard, mailbox.clone()))
                    .expect("the test waits");
                let shared = opened.recv().expect("the test goes on");
                let verifier = Arc::new(Verifier::anyone());
                super::run(ring, mailbox, shard, shared, verifier, clock)
            }));
        }
        let mut all: Vec<_> = gathered.iter().take(usize::from(shards)).collect();
        all.sort_by_key(|(shard, _)| *shard);
        let shared = shared(
            config(signaling),
            all.into_iter().map(|(_, mailbox)| mailbox).collect(),
        );
        for gate in gates {
            gate.send(Arc::clone(&shared)).expect("the thread waits");
        }
        Self {
            address,
            shared,
            threads,
        }
    }

    fn stop(self) {
        assert_eq!(
            self.shared.shards.post_all(|| Letter::Stop),
            self.threads.len()
        );
        for thread in self.threads {
            thread.join().expect("no panic").expect("no failure");
        }
        assert_eq!(self.shared.directory.sessions(), 0);
    }

    /// A handset that has sent its CONNECT and the first WAITING.
    fn dial(&self, nth: u64) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let msisdn = number(nth).digits().to_string();
        let connect =
            format!("CONNECT version=1 msisdn={msisdn} timeout=300 token=a\r\nWAITING\r\n");
        stream.write_all(connect.as_bytes()).expect("it is sent");
        BufReader::new(stream)
    }
}

fn line(handset: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    handset.read_line(&mut line).expect("a line in time");
    line
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_full_shard_costs_no_handset_its_connection() {
    let gateway = Gateway::start(2, 8, "");
    // All at once, and exactly as many as both tables hold together.
    let mut handsets: Vec<_> = (0..16).map(|nth| gateway.dial(nth)).collect();
    for handset in &mut handsets {
        assert!(line(handset).starts_with("CONNREGISTERED session="));
    }
    // The next one waits in the listener's queue for a slot, and is not lost.
    let mut waits = gateway.dial(99);
    let mut leaves = handsets.swap_remove(3);
    leaves.get_mut().write_all(b"BYE\r\n").expect("it is sent");
    assert!(line(&mut waits).starts_with("CONNREGISTERED session="));
    assert_eq!(line(&mut leaves), "", "closed in order");
    gateway.stop();
    for handset in &mut handsets {
        assert_eq!(line(handset), "", "closed in order");
    }
}

#[test]
fn a_request_reaches_its_handset_and_a_replaced_session_is_told() {
    let gateway = Gateway::start(2, 64, "timeout_min_s = 1");
    let mut old = gateway.dial(1);
    assert!(line(&mut old).starts_with("CONNREGISTERED"));
    let id = everline_protocol::RequestId(7);
    let _waiting = gateway.shared.pending.open(id, number(1));
    let place = gateway
        .shared
        .directory
        .lookup(number(1))
        .expect("it is registered");
    gateway
        .shared
        .shards
        .post(place, Letter::Signal { place, id })
        .expect("room");
    let asked = format!("REQUESTPENDING id={id} data=192.0.2.7:7001\r\n");
    assert_eq!(line(&mut old), asked);
    let mut new = gateway.dial(1);
    assert!(line(&mut new).starts_with("CONNREGISTERED"));
    assert_eq!(line(&mut new), asked, "it still waits");
    assert_eq!(line(&mut old), "ERROR code=replaced\r\n");
    assert_eq!(line(&mut old), "");
    drop(new);
    until("the lost session has left", || {
        gateway.shared.directory.sessions() == 0
    });
    gateway.stop();
}

#[test]
fn the_reason_of_an_error_arrives_although_more_was_sent() {
    let gateway = Gateway::start(1, 8, "");
    for _ in 0..20 {
        let mut handset = gateway.dial(1);
        assert!(line(&mut handset).starts_with("CONNREGISTERED"));
        let junk = b"HELLO\r\n".repeat(2000);
        handset.get_mut().write_all(&junk).expect("it is sent");
        let mut told = String::new();
        handset.read_to_string(&mut told).expect("an orderly end");
        assert!(told.starts_with("ERROR code=unknown-verb"), "{told}");
    }
    gateway.stop();
}
