//! The callers against an ingress that stalls: no wait is hidden, and every request has one outcome.

use std::sync::Arc;
use std::time::Duration;

use everline_loadgen::books::CallerBooks;
use everline_loadgen::caller::{CallPlan, Callers, Pace};
use everline_loadgen::roster::Roster;
use everline_protocol::Msisdn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const LIMIT: Duration = Duration::from_secs(60);

/// An ingress that answers as the handsets would, but not before the test opens the gate.
struct Ingress {
    plan: CallPlan,
    arrived: watch::Receiver<u64>,
    gate: watch::Sender<bool>,
}

impl Ingress {
    async fn start(pace: Pace, duration: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ingress = listener.local_addr().unwrap();
        let (count, arrived) = watch::channel(0);
        let (gate, open) = watch::channel(false);
        tokio::spawn(async move {
            let count = Arc::new(count);
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, count.clone(), open.clone()));
            }
        });
        let plan = CallPlan {
            ingress,
            domain: "localhost".into(),
            host_form: false,
            path: "/x".into(),
            method: http::Method::GET,
            upload_bytes: 0,
            pace,
            duration,
            keep_alive: true,
            timeout: LIMIT,
            verify_bytes: Some(64),
            target: None,
        };
        Self {
            plan,
            arrived,
            gate,
        }
    }

    async fn call(mut self, open_when: impl Fn(u64, &CallerBooks) -> bool) -> CallerBooks {
        let roster = Arc::new(Roster::new(Msisdn::from_u64(34_700_000_000).unwrap(), 100).unwrap());
        (0..100).for_each(|place| roster.set(place, true));
        let callers = Callers::new(self.plan, roster, 7);
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
        assert_eq!(books.imbalance(), None);
        books
    }
}

async fn serve(
    mut stream: TcpStream,
    count: Arc<watch::Sender<u64>>,
    mut open: watch::Receiver<bool>,
) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).ok()?;
        let msisdn = head.strip_prefix("GET /")?.split('/').next()?;
        let id = head
            .lines()
            .find_map(|line| line.strip_prefix("x-request-id: "))?;
        count.send_modify(|count| *count += 1);
        open.wait_for(|open| *open).await.ok()?;
        let body = format!("{:.<64}", format!("msisdn={msisdn} request={id}\n"));
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_in_the_latency_of_every_request_that_was_due_in_it() {
    let ingress = Ingress::start(Pace::PerSecond(200.0, 1000), Duration::from_millis(500)).await;
    // Nobody is answered before the last of the hundred has come, which is due 495 ms after the first.
    let books = ingress.call(|arrived, _| arrived == 100).await;
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
    let ingress = Ingress::start(Pace::PerSecond(400.0, 10), Duration::from_millis(250)).await;
    let books = ingress.call(|_, books| books.not_sent.total() == 90).await;
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
    let ingress = Ingress::start(Pace::Concurrency(5), Duration::from_millis(300)).await;
    let books = ingress.call(|arrived, _| arrived == 5).await;
    assert!(
        books.sent >= 5 && books.answered.of("200") == books.sent,
        "{books:?}"
    );
    assert_eq!(books.connections, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_never_answered_is_given_up_and_counted() {
    let mut ingress = Ingress::start(Pace::PerSecond(100.0, 100), Duration::from_millis(50)).await;
    ingress.plan.timeout = Duration::from_millis(100);
    let books = ingress.call(|_, books| books.failed.total() == 5).await;
    assert_eq!((books.sent, books.failed.of("timeout")), (5, 5));
    assert!(books.latency_failed.min() >= 99_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_that_is_not_there_is_named_by_its_errno() {
    let mut ingress = Ingress::start(Pace::PerSecond(100.0, 100), Duration::from_millis(50)).await;
    // Bound and closed again: nobody listens there now.
    ingress.plan.ingress = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let books = ingress.call(|_, books| books.failed.total() == 5).await;
    assert_eq!(books.failed.of("connect:ECONNREFUSED"), 5);
}
