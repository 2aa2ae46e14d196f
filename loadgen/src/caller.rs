//! The callers: they request handsets through the gateway's ingress, at a rate or with a concurrency, and count
//! what became of every single request.
//!
//! At a rate (open loop) a request has a time at which it is due, and its latency counts from then, whether or not
//! this program or the gateway was in time: a stall is seen by all requests that fell into it. A request that can't
//! be sent because too many are in flight is counted, not put off. One exchange of HTTP stands in `exchange`.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use everline_protocol::Msisdn;
use hdrhistogram::Histogram;
use tokio::runtime::Handle;

use crate::books::{CallerBooks, histogram};
use crate::exchange::{Answer, Pool};
use crate::http::{body_length, body_start};
use crate::roster::Roster;
use crate::upload::Expected;

/// The longest that the dispatcher sleeps before it looks whether to stop.
const NAP: Duration = Duration::from_millis(50);

/// What the callers do.
#[derive(Debug, Clone)]
pub struct CallPlan {
    /// The gateway's ingress.
    pub ingress: SocketAddr,
    /// The domain under which handsets are addressed.
    pub domain: String,
    /// `<msisdn>.<domain>/path` instead of `<domain>/<msisdn>/path`.
    pub host_form: bool,
    /// Begins with `/`.
    pub path: String,
    /// Method of every request.
    pub method: http::Method,
    /// Size of every request's body.
    pub upload_bytes: u64,
    /// When requests are sent.
    pub pace: Pace,
    /// For how long.
    pub duration: Duration,
    /// Whether connections are used again.
    pub keep_alive: bool,
    /// From the sending of a request to the last byte of its answer.
    pub timeout: Duration,
    /// Size of the bodies that the handsets answer with, to be verified; `None`: whatever is answered is good.
    pub verify_bytes: Option<u64>,
    /// The one handset to request; else any registered one.
    pub target: Option<Msisdn>,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Open loop: so many are due each second, evenly; at most so many in flight.
    PerSecond(f64, u64),
    /// Closed loop: so many callers, each sends its next request when it has the answer to the last one.
    Concurrency(u32),
}

/// See the module.
pub struct Callers {
    plan: CallPlan,
    roster: Arc<Roster>,
    pool: Pool,
    books: Mutex<CallerBooks>,
    /// Latencies since somebody last asked.
    recent: Mutex<Histogram<u64>>,
    run: u32,
    sequence: AtomicU64,
    in_flight: AtomicU64,
    stopped: AtomicBool,
}

impl Callers {
    /// Callers who have not begun. `run` marks their request ids.
    pub fn new(plan: CallPlan, roster: Arc<Roster>, run: u32) -> Arc<Self> {
        Arc::new(Self {
            pool: Pool::new(plan.ingress, plan.keep_alive),
            plan,
            roster,
            books: Mutex::default(),
            recent: Mutex::new(histogram()),
            run,
            sequence: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        })
    }

    /// Sends requests for the planned duration or until [`Callers::stop`], on `runtime`; then waits for those that
    /// are still in flight, which their time limit bounds.
    pub async fn run(self: Arc<Self>, runtime: Handle) {
        let start = Instant::now();
        let until = start
            .checked_add(self.plan.duration)
            .unwrap_or(start + Duration::from_hours(24 * 365));
        match self.plan.pace {
            Pace::PerSecond(rate, in_flight_max) => {
                let this = self.clone();
                let on = runtime.clone();
                // A thread of its own: a runtime's timers are a millisecond coarse, and wait for its tasks.
                let dispatcher = runtime
                    .spawn_blocking(move || this.dispatch(&on, rate, in_flight_max, start, until));
                dispatcher.await.expect("the dispatcher does not panic");
                while self.in_flight.load(Ordering::Acquire) > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            Pace::Concurrency(callers) => {
                let callers: Vec<_> = (0..callers)
                    .map(|_| runtime.spawn(self.clone().call_one_after_the_other(until)))
                    .collect();
                for caller in callers {
                    caller.await.expect("a caller does not panic");
                }
            }
        }
    }

    /// Sends no more requests.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// The books as they stand.
    pub fn books(&self) -> CallerBooks {
        let mut books = self.lock().clone();
        books.connections = self.pool.opened();
        books
    }

    /// Latencies (from when a request was due, good answers only) since the last call.
    pub fn take_recent(&self) -> Histogram<u64> {
        let mut recent = self.recent.lock().expect("no holder of this lock panics");
        let taken = recent.clone();
        recent.reset();
        taken
    }

    fn lock(&self) -> MutexGuard<'_, CallerBooks> {
        self.books.lock().expect("no holder of this lock panics")
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn dispatch(
        self: &Arc<Self>,
        runtime: &Handle,
        rate: f64,
        in_flight_max: u64,
        start: Instant,
        until: Instant,
    ) {
        for number in 0u64.. {
            let due = start + Duration::from_secs_f64(number as f64 / rate);
            if due >= until {
                return;
            }
            loop {
                if self.is_stopped() {
                    return;
                }
                match due.saturating_duration_since(Instant::now()) {
                    Duration::ZERO => break,
                    wait => std::thread::sleep(wait.min(NAP)),
                }
            }
            if self.in_flight.load(Ordering::Acquire) >= in_flight_max {
                let mut books = self.lock();
                books.due += 1;
                books.not_sent.count("too-many-in-flight");
            } else if let Some(msisdn) = self.book_next() {
                runtime.spawn(self.clone().call(msisdn, due));
            }
        }
    }

    async fn call_one_after_the_other(self: Arc<Self>, until: Instant) {
        while !self.is_stopped() && Instant::now() < until {
            match self.book_next() {
                Some(msisdn) => self.clone().call(msisdn, Instant::now()).await,
                // Nobody is there to be called: without a pause this would only count how fast it can count.
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Chooses whom the next request is for, and books it as sent; or as not sent, if nobody is registered.
    fn book_next(&self) -> Option<Msisdn> {
        let msisdn = self
            .plan
            .target
            .or_else(|| self.roster.pick(rand::random()));
        let mut books = self.lock();
        books.due += 1;
        if msisdn.is_some() {
            books.sent += 1;
            books.in_flight += 1;
            self.in_flight.fetch_add(1, Ordering::AcqRel);
        } else {
            books.not_sent.count("nobody-registered");
        }
        msisdn
    }

    /// One request and its outcome.
    async fn call(self: Arc<Self>, msisdn: Msisdn, due: Instant) {
        let sent = Instant::now();
        let number = self.sequence.fetch_add(1, Ordering::Relaxed);
        let id = format!("lg-{:08x}-{number}", self.run);
        let request = self.request(msisdn, &id);
        let expected = self
            .plan
            .verify_bytes
            .filter(|_| self.plan.method != http::Method::HEAD)
            .map(|bytes| {
                let start = body_start(msisdn, &id);
                let length = body_length(&start, bytes);
                Expected::new(start, length)
            });
        let outcome = tokio::time::timeout(
            self.plan.timeout,
            self.pool
                .exchange(&request, self.plan.upload_bytes, expected),
        );
        let outcome = outcome
            .await
            .unwrap_or_else(|_elapsed| Err("timeout".into()));
        self.book_outcome(outcome, due, sent);
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    fn request(&self, msisdn: Msisdn, id: &str) -> http::request::Parts {
        let (plan, digits) = (&self.plan, msisdn.digits());
        let (host, path) = if plan.host_form {
            (format!("{digits}.{}", plan.domain), plan.path.clone())
        } else {
            (plan.domain.clone(), format!("/{digits}{}", plan.path))
        };
        let mut request = http::Request::builder()
            .method(plan.method.clone())
            .uri(path)
            .header(http::header::HOST, host)
            .header("x-request-id", id)
            .header(
                http::header::USER_AGENT,
                concat!("everline-loadgen/", env!("CARGO_PKG_VERSION")),
            );
        if !plan.keep_alive {
            request = request.header(http::header::CONNECTION, "close");
        }
        let request = request
            .body(())
            .expect("domain and path were checked when the command line was read");
        request.into_parts().0
    }

    fn book_outcome(
        &self,
        outcome: Result<Answer, Cow<'static, str>>,
        due: Instant,
        sent: Instant,
    ) {
        let now = Instant::now();
        let latency = micros(now.saturating_duration_since(due));
        let mut books = self.lock();
        books.in_flight -= 1;
        let good = match outcome {
            Ok(answer) => {
                books.body_bytes_in += answer.body_bytes;
                books.answered.count(answer.status.as_u16().to_string());
                if let Some(slug) = answer.problem {
                    books.problems.count(slug);
                }
                answer.status.is_success()
            }
            Err(cause) => {
                books.failed.count(cause);
                false
            }
        };
        if good {
            books.latency.saturating_record(latency);
            books
                .service
                .saturating_record(micros(now.saturating_duration_since(sent)));
            drop(books);
            self.recent
                .lock()
                .expect("no holder of this lock panics")
                .saturating_record(latency);
        } else {
            books.latency_failed.saturating_record(latency);
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1)
}
