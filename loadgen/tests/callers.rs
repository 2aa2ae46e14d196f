//! The callers against an ingress that the test directs: no wait is hidden, every request has one outcome, and each
//! key of the `requests` table does what it says.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use everline_loadgen::answer::Answer;
use everline_loadgen::books::CallerBooks;
use everline_loadgen::caller::Callers;
use everline_loadgen::http::{Progress, RequestReader};
use everline_loadgen::roster::Roster;
use everline_loadgen::scenario::{CallSetting, Range, RequestsTable, Size};
use everline_protocol::{Msisdn, RequestId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const LIMIT: Duration = Duration::from_secs(60);
const FIRST: u64 = 34_700_000_000;
const HANDSETS: u32 = 100;

/// What is done to an answer before it goes out.
type Spoil = fn(&mut Vec<u8>);

/// An ingress that answers as the handsets would, but not before the test opens the gate.
struct Ingress {
    setting: CallSetting,
    state: Arc<State>,
    arrived: watch::Receiver<u64>,
    gate: watch::Sender<bool>,
}

struct State {
    count: watch::Sender<u64>,
    open: watch::Receiver<bool>,
    spoil: Spoil,
    /// Head, and size of body, of each request.
    seen: Mutex<Vec<Seen>>,
}

struct Seen {
    head: String,
    upload_bytes: u64,
    answer_bytes: u64,
}

impl Ingress {
    async fn start() -> Self {
        Self::that_spoils(|_| {}).await
    }

    async fn that_spoils(spoil: Spoil) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ingress = listener.local_addr().unwrap();
        let (count, arrived) = watch::channel(0);
        let (gate, open) = watch::channel(false);
        let state = Arc::new(State {
            count,
            open,
            spoil,
            seen: Mutex::default(),
        });
        let theirs = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, theirs.clone()));
            }
        });
        let setting = CallSetting {
            ingress,
            domain: "localhost".into(),
            duration: Duration::from_millis(300),
            first: Msisdn::from_u64(FIRST).unwrap(),
            handsets: HANDSETS,
            answer_bytes: 64,
            descriptors_max: 20_000,
        };
        Self {
            setting,
            state,
            arrived,
            gate,
        }
    }

    /// Opens the gate when that is so, and waits for the callers' end.
    async fn call(
        mut self,
        table: &RequestsTable,
        open_when: impl Fn(u64, &CallerBooks) -> bool,
    ) -> (CallerBooks, Vec<Seen>) {
        let roster = Arc::new(Roster::new(self.setting.first, HANDSETS).unwrap());
        (0..HANDSETS).for_each(|place| roster.set(place, true));
        let callers = Callers::new(table.plan(&self.setting).unwrap(), roster, 7);
        let calls = tokio::spawn(callers.clone().run(tokio::runtime::Handle::current()));
        let open = async {
            while !open_when(*self.arrived.borrow_and_update(), &callers.books()) {
                // Not every condition is an arrival: look again soon in any case.
                let _ =
                    tokio::time::timeout(Duration::from_millis(5), self.arrived.changed()).await;
            }
            self.gate.send(true).unwrap();
            calls.await.unwrap();
        };
        tokio::time::timeout(LIMIT, open)
            .await
            .expect("the callers come to an end");
        let books = callers.books();
        assert_eq!((books.imbalance(), books.in_flight), (None, 0));
        let seen = std::mem::take(&mut *self.state.seen.lock().unwrap());
        (books, seen)
    }

    /// Calls with the gate open from the start.
    async fn serve(self, table: &RequestsTable) -> (CallerBooks, Vec<Seen>) {
        self.call(table, |_, _| true).await
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) -> Option<()> {
    let mut open = state.open.clone();
    let mut bytes = Vec::new();
    let mut reader = RequestReader::default();
    loop {
        let mut whole = Vec::new();
        let request = loop {
            let (used, progress) = reader.input(&bytes);
            whole.extend(bytes.drain(..used));
            match progress.ok()? {
                Progress::Whole(request) => break request,
                _ => {
                    let mut piece = [0; 16_384];
                    let count = stream
                        .read(&mut piece)
                        .await
                        .ok()
                        .filter(|count| *count > 0)?;
                    bytes.extend_from_slice(&piece[..count]);
                }
            }
        };
        let head_bytes = whole.windows(4).position(|end| end == b"\r\n\r\n")?;
        let head = String::from_utf8(whole[..head_bytes].to_vec()).ok()?;
        let msisdn = number_in(&head)?;
        state.count.send_modify(|count| *count += 1);
        open.wait_for(|open| *open).await.ok()?;
        let mut answer = Answer::new(&request, RequestId(1), msisdn, 64, request.keep_alive);
        let mut out = std::mem::take(&mut answer.start);
        while answer.filling.left() > 0 {
            let piece = answer.filling.piece(usize::MAX);
            out.extend_from_slice(piece);
            answer.filling.skip(piece.len() as u64);
        }
        state.seen.lock().unwrap().push(Seen {
            head,
            upload_bytes: request.body_bytes,
            answer_bytes: answer.body_bytes,
        });
        (state.spoil)(&mut out);
        stream.write_all(&out).await.ok()?;
    }
}

/// The first 11 digits after a `/`, or after `host: `.
fn number_in(head: &str) -> Option<Msisdn> {
    let number = |text: &str| Msisdn::parse(text.get(..11)?.as_bytes()).ok();
    head.split_once('/')
        .and_then(|(_, path)| number(path))
        .or_else(|| number(head.split_once("host: ")?.1))
}

fn per_second(rate: f64, in_flight_max: u64) -> RequestsTable {
    RequestsTable {
        per_second: Some(rate),
        in_flight_max,
        ..RequestsTable::default()
    }
}

fn concurrency(callers: u32) -> RequestsTable {
    RequestsTable {
        concurrency: Some(callers),
        ..RequestsTable::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_in_the_latency_of_every_request_that_was_due_in_it() {
    let mut ingress = Ingress::start().await;
    ingress.setting.duration = Duration::from_millis(500);
    // Nobody is answered before the last of the hundred has come, which is due 495 ms after the first.
    let (books, _) = ingress
        .call(&per_second(200.0, 1000), |arrived, _| arrived == 100)
        .await;
    assert_eq!(
        (books.due, books.sent, books.answered.of("200")),
        (100, 100, 100)
    );
    assert!(books.latency.max() >= 490_000, "{}", books.latency.max());
    assert!(
        books.latency.value_at_quantile(0.5) >= 240_000,
        "{}",
        books.latency.value_at_quantile(0.5)
    );
    assert_eq!(books.latency.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_limit_in_flight_are_counted_and_not_put_off() {
    let mut ingress = Ingress::start().await;
    ingress.setting.duration = Duration::from_millis(250);
    let (books, _) = ingress
        .call(&per_second(400.0, 10), |_, books| {
            books.not_sent.total() == 90
        })
        .await;
    assert_eq!(
        (
            books.due,
            books.sent,
            books.not_sent.of("too-many-in-flight")
        ),
        (100, 10, 90)
    );
    assert_eq!(books.answered.of("200"), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_loop_keeps_its_number_and_its_connections() {
    let ingress = Ingress::start().await;
    let (books, _) = ingress
        .call(&concurrency(5), |arrived, _| arrived == 5)
        .await;
    assert!(
        books.sent >= 5 && books.answered.of("200") == books.sent,
        "{books:?}"
    );
    assert_eq!(books.connections, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_think_send_less() {
    let ingress = Ingress::start().await;
    let table = RequestsTable {
        think_time_ms: Some(Size::Fixed(3_600_000)),
        ..concurrency(5)
    };
    // An hour of thinking is cut short by the end of the phase, 300 ms after its beginning.
    let (books, _) = ingress.serve(&table).await;
    assert_eq!((books.sent, books.answered.of("200")), (5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_never_answered_is_given_up_and_counted() {
    let mut ingress = Ingress::start().await;
    ingress.setting.duration = Duration::from_millis(50);
    let table = RequestsTable {
        timeout_s: 0.1,
        ..per_second(100.0, 100)
    };
    let (books, _) = ingress
        .call(&table, |_, books| books.failed.total() == 5)
        .await;
    assert_eq!((books.sent, books.failed.of("timeout")), (5, 5));
    assert!(books.latency_failed.min() >= 99_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_that_is_not_there_is_named_by_its_errno() {
    let mut ingress = Ingress::start().await;
    ingress.setting.duration = Duration::from_millis(50);
    // Bound and closed again: nobody listens there now.
    ingress.setting.ingress = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let (books, _) = ingress
        .call(&per_second(100.0, 100), |_, books| {
            books.failed.total() == 5
        })
        .await;
    assert_eq!(books.failed.of("connect:ECONNREFUSED"), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_and_sizes_are_those_of_the_table() {
    let ingress = Ingress::start().await;
    let weights = [("GET", 3), ("HEAD", 3), ("POST", 3), ("REPORT", 1)];
    let table = RequestsTable {
        methods: weights.map(|(name, weight)| (name.into(), weight)).into(),
        upload_bytes: Size::Range(Range {
            min: 1_000,
            max: 100_000,
        }),
        answer_bytes: Some(Size::Range(Range {
            min: 0,
            max: 100_000,
        })),
        ..per_second(1000.0, 1000)
    };
    let (books, seen) = ingress.serve(&table).await;
    assert_eq!(
        (books.due, books.answered.of("200")),
        (300, 300),
        "{books:?}"
    );
    let mut by_method: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for request in &seen {
        let method = request.head.split(' ').next().unwrap();
        by_method.entry(method).or_default().push(request);
    }
    let methods: Vec<_> = by_method.keys().copied().collect();
    assert_eq!(methods, ["GET", "HEAD", "POST", "REPORT"]);
    for (method, requests) in by_method {
        let uploads = matches!(method, "POST" | "REPORT");
        assert!(requests.iter().all(|request| if uploads {
            (1_000..=100_000).contains(&request.upload_bytes)
        } else {
            request.upload_bytes == 0
        }));
        let sizes: HashSet<_> = requests
            .iter()
            .map(|request| request.answer_bytes)
            .collect();
        assert_eq!(sizes == HashSet::from([0]), method == "HEAD", "{sizes:?}");
        assert!(sizes.iter().all(|size| *size <= 100_000));
    }
    let bodies = seen.iter().map(|request| request.answer_bytes).sum::<u64>();
    assert_eq!(books.body_bytes_in, bodies);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handset_is_in_the_path_or_in_the_host() {
    for host_form in [false, true] {
        let table = RequestsTable {
            host_form,
            path: "/contacts?all".into(),
            targets: "34700000042".into(),
            ..concurrency(1)
        };
        let (books, seen) = Ingress::start().await.serve(&table).await;
        assert_eq!(books.answered.of("200"), books.sent);
        let (line, host) = if host_form {
            ("GET /contacts?all ", "host: 34700000042.localhost\r\n")
        } else {
            ("GET /34700000042/contacts?all ", "host: localhost\r\n")
        };
        assert!(
            seen.iter()
                .all(|request| request.head.starts_with(line) && request.head.contains(host)),
            "{}",
            seen[0].head
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keep_alive_each_request_has_its_connection() {
    let table = RequestsTable {
        keep_alive: false,
        ..per_second(100.0, 100)
    };
    let (books, seen) = Ingress::start().await.serve(&table).await;
    assert_eq!((books.sent, books.connections), (30, 30));
    assert!(
        seen.iter()
            .all(|request| request.head.contains("connection: close"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_spread_or_skewed() {
    let mut shares = Vec::new();
    for targets in ["uniform", "skewed"] {
        let table = RequestsTable {
            targets: targets.into(),
            skew: (targets == "skewed").then_some(2.0),
            ..per_second(1000.0, 1000)
        };
        let (_, seen) = Ingress::start().await.serve(&table).await;
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        for request in &seen {
            *times
                .entry(number_in(&request.head).unwrap().as_u64())
                .or_default() += 1;
        }
        shares.push(times.into_values().max().unwrap());
    }
    // Of 300 requests to 100 handsets; with an exponent of 2 the first gets 61 of 100.
    assert!(shares[0] < 20 && shares[1] > 130, "{shares:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_answer_is_no_good_answer() {
    let spoils: [(&str, Spoil); 5] = [
        ("body-crossed", |out| {
            replace(out, "msisdn=347", "msisdn=346");
        }),
        ("body-foreign", |out| replace(out, "msisdn=", "MSISDN=")),
        ("upload-length", |out| {
            replace(out, "upload=5000", "upload=4999");
        }),
        ("upload-crossed", |out| {
            replace(out, "5000\n", "5000 other\n");
        }),
        ("body-crossed", |out| {
            let at = out.len() - 100;
            out.swap(at, at + 1);
            out[at + 2] = b'.';
        }),
    ];
    for (kind, spoil) in spoils {
        let table = RequestsTable {
            upload_bytes: Size::Fixed(5000),
            answer_bytes: Some(Size::Fixed(1000)),
            ..per_second(100.0, 100)
        };
        let (books, _) = Ingress::that_spoils(spoil).await.serve(&table).await;
        assert_eq!((books.failed.of(kind), books.good()), (30, 0), "{books:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_others_are_taken_as_they_are_where_nothing_is_verified() {
    for targets in ["uniform", "34600000001"] {
        let table = RequestsTable {
            targets: targets.into(),
            // A handset that is not of this run is not held to it in any case.
            verify: targets != "uniform",
            ..per_second(100.0, 100)
        };
        let ingress = Ingress::that_spoils(|out| replace(out, "msisdn=", "MSISDN=")).await;
        let (books, _) = ingress.serve(&table).await;
        assert_eq!(books.good(), 30, "{books:?}");
    }
}

fn replace(out: &mut Vec<u8>, from: &str, to: &str) {
    let text = String::from_utf8(std::mem::take(out)).unwrap();
    // The length of the head's body stays as it was: what is longer is cut.
    let length = text.len();
    *out = text.replacen(from, to, 1).into_bytes();
    out.truncate(length);
}
