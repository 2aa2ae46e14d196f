//! The callers: they request handsets through the gateway's ingress, at a rate or with a concurrency, and count
//! what became of every single request.
//!
//! At a rate (open loop) a request has a time at which it is due, and its latency counts from then, whether or not
//! this program or the gateway was in time: a stall is seen by all requests that fell into it. A request that can't
//! be sent because too many are in flight is counted, not put off. What a request is stands in `choice`, one exchange
//! of HTTP in `exchange`.

mod choice;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use http::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use tokio::runtime::Handle;

use crate::answer::{ANSWER_BYTES_FIELD, Expected};
use crate::books::{CallerBooks, Tally, histogram};
use crate::exchange::{Answer, Pool};
use crate::roster::Roster;
use crate::upload::Upload;

pub use choice::{AnswerSize, Methods, Spread, Whom};
use choice::{Call, Dice};

/// The longest that the dispatcher sleeps before it looks whether to stop.
const NAP: Duration = Duration::from_millis(50);
/// How late the kernel may wake the dispatcher.
const SLACK_NS: u64 = 1;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ANSWER_BYTES: HeaderName = HeaderName::from_static(ANSWER_BYTES_FIELD);

/// What the callers do.
#[derive(Debug, Clone)]
pub struct CallPlan {
    /// The gateway's ingress.
    pub ingress: SocketAddr,
    /// The domain under which handsets are addressed.
    pub domain: String,
    /// For how long requests are sent.
    pub duration: Duration,
    /// When they are.
    pub pace: Pace,
    /// To whom.
    pub whom: Whom,
    /// By which methods.
    pub methods: Methods,
    /// Size of the bodies of those that have one.
    pub upload_bytes: Spread,
    /// Size of the answers' bodies.
    pub answer: AnswerSize,
    /// `<msisdn>.<domain>/path` instead of `<domain>/<msisdn>/path`.
    pub host_form: bool,
    /// Begins with `/`.
    pub path: String,
    /// Whether connections are used again.
    pub keep_alive: bool,
    /// From the sending of a request to the last byte of its answer.
    pub timeout: Duration,
    /// Whether a good answer must be the one that a handset of this program gives; else whatever is answered is good.
    pub verify: bool,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Open loop.
    PerSecond {
        /// So many are due each second, evenly.
        rate: f64,
        /// At most so many are in flight.
        in_flight_max: u64,
    },
    /// Closed loop.
    Concurrency {
        /// So many callers, each sends its next request when it has the answer to the last one,
        callers: u32,
        /// and has waited for so long.
        think_ms: Spread,
    },
}

/// See the module.
pub struct Callers {
    plan: CallPlan,
    roster: Arc<Roster>,
    pool: Pool,
    /// Locked before `ended` where both are.
    begun: Mutex<Begun>,
    ended: Mutex<Ended>,
    run: u32,
    sequence: AtomicU64,
    /// Changed only under the lock of `begun` (up) or `ended` (down).
    in_flight: AtomicU64,
    stopped: AtomicBool,
}

/// What was counted when requests were due.
#[derive(Default)]
struct Begun {
    due: u64,
    sent: u64,
    not_sent: Tally,
}

/// What was counted when requests had their outcome. Apart from [`Begun`], so that who reads these histograms holds
/// up no request that is due.
struct Ended {
    /// Without what is in `begun`.
    books: CallerBooks,
    /// Latencies since somebody last asked.
    recent: Histogram<u64>,
}

impl Callers {
    /// Callers who have not begun. `run` marks their request ids.
    pub fn new(plan: CallPlan, roster: Arc<Roster>, run: u32) -> Arc<Self> {
        Arc::new(Self {
            pool: Pool::new(plan.ingress, plan.keep_alive),
            plan,
            roster,
            begun: Mutex::default(),
            ended: Mutex::new(Ended {
                books: CallerBooks::default(),
                recent: histogram(),
            }),
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
            Pace::PerSecond {
                rate,
                in_flight_max,
            } => {
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
            Pace::Concurrency { callers, think_ms } => {
                let callers: Vec<_> = (0..callers)
                    .map(|_| runtime.spawn(self.clone().call_one_after_the_other(until, think_ms)))
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
        let (begun, ended) = (self.begun(), self.ended());
        CallerBooks {
            due: begun.due,
            sent: begun.sent,
            not_sent: begun.not_sent.clone(),
            in_flight: self.in_flight.load(Ordering::Acquire),
            connections: self.pool.opened(),
            ..ended.books.clone()
        }
    }

    /// Latencies (from when a request was due, good answers only) since the last call.
    pub fn take_recent(&self) -> Histogram<u64> {
        let empty = histogram();
        std::mem::replace(&mut self.ended().recent, empty)
    }

    fn begun(&self) -> MutexGuard<'_, Begun> {
        self.begun.lock().expect("no holder of this lock panics")
    }

    fn ended(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().expect("no holder of this lock panics")
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
        // A sleep ends up to 50 us late by default, and every latency would have that in it. Where it can't be had, so be it.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(SLACK_NS));
        let mut dice = self.dice();
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
                let mut begun = self.begun();
                begun.due += 1;
                begun.not_sent.count("too-many-in-flight");
            } else if let Some(call) = self.next_call(&mut dice) {
                runtime.spawn(self.clone().call(call, due));
            }
        }
    }

    async fn call_one_after_the_other(self: Arc<Self>, until: Instant, think_ms: Spread) {
        let mut dice = self.dice();
        let may_go_on = || !self.is_stopped() && Instant::now() < until;
        while may_go_on() {
            let Some(call) = self.next_call(&mut dice) else {
                // Nobody is there to be called: without a pause this would only count how fast it can count.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            self.clone().call(call, Instant::now()).await;
            let next = Instant::now() + Duration::from_millis(dice.draw(&think_ms));
            while may_go_on() && Instant::now() < next {
                let left = next.saturating_duration_since(Instant::now());
                tokio::time::sleep(left.min(NAP)).await;
            }
        }
    }

    fn dice(&self) -> Dice {
        Dice::new(&self.plan, &self.roster, rand::random())
    }

    /// Draws the next request, and books it as sent; or as not sent, if nobody is registered.
    fn next_call(&self, dice: &mut Dice) -> Option<Call> {
        let call = dice.call(&self.plan, &self.roster);
        let mut begun = self.begun();
        begun.due += 1;
        if call.is_some() {
            begun.sent += 1;
            self.in_flight.fetch_add(1, Ordering::AcqRel);
        } else {
            begun.not_sent.count("nobody-registered");
        }
        call
    }

    /// One request and its outcome.
    async fn call(self: Arc<Self>, call: Call, due: Instant) {
        let sent = Instant::now();
        let number = self.sequence.fetch_add(1, Ordering::Relaxed);
        let id = format!("lg-{:08x}-{number}", self.run);
        let Call {
            msisdn,
            upload_bytes,
            answer_bytes,
            ..
        } = call;
        let expected = self
            .plan
            .verify
            .then(|| Expected::new(msisdn, &id, upload_bytes, answer_bytes));
        let exchange = self.pool.exchange(self.request(call, &id), expected);
        let outcome = tokio::time::timeout(self.plan.timeout, exchange)
            .await
            .unwrap_or_else(|_elapsed| Err("timeout".into()));
        self.book_outcome(outcome, due, sent);
    }

    fn request(&self, call: Call, id: &str) -> http::Request<Upload> {
        let plan = &self.plan;
        let mut addressed = String::with_capacity(64);
        // Writing to a String does not fail.
        let _ = write!(addressed, "{}", call.msisdn.digits());
        let (host, path) = if plan.host_form {
            addressed.extend([".", &plan.domain]);
            (addressed, plan.path.clone())
        } else {
            addressed.insert(0, '/');
            addressed.push_str(&plan.path);
            (plan.domain.clone(), addressed)
        };
        let checked = "domain and path were checked before the run";
        let mut fields = HeaderMap::with_capacity(8);
        fields.insert(HOST, HeaderValue::try_from(host).expect(checked));
        let id_field = HeaderValue::from_str(id).expect("an id is hexadecimal");
        fields.insert(REQUEST_ID, id_field);
        let agent = concat!("everline-loadgen/", env!("CARGO_PKG_VERSION"));
        fields.insert(USER_AGENT, HeaderValue::from_static(agent));
        if plan.answer.is_asked() {
            fields.insert(ANSWER_BYTES, HeaderValue::from(call.answer_bytes));
        }
        if !plan.keep_alive {
            fields.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let mut request = http::Request::new(Upload::new(id, call.upload_bytes));
        *request.method_mut() = call.method;
        *request.uri_mut() = http::Uri::try_from(path).expect(checked);
        *request.headers_mut() = fields;
        request
    }

    fn book_outcome(
        &self,
        outcome: Result<Answer, Cow<'static, str>>,
        due: Instant,
        sent: Instant,
    ) {
        let now = Instant::now();
        let latency = micros(now.saturating_duration_since(due));
        let mut ended = self.ended();
        let Ended { books, recent } = &mut *ended;
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        let good = match outcome {
            Ok(answer) => {
                books.body_bytes_in += answer.body_bytes;
                books.answered.count(status_name(answer.status));
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
            let service = micros(now.saturating_duration_since(sent));
            books.latency.saturating_record(latency);
            books.service.saturating_record(service);
            recent.saturating_record(latency);
        } else {
            books.latency_failed.saturating_record(latency);
        }
    }
}

/// The most frequent one costs no memory.
fn status_name(status: http::StatusCode) -> Cow<'static, str> {
    match status {
        http::StatusCode::OK => "200".into(),
        other => other.as_str().to_owned().into(),
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A plan for tests of what the callers draw.
    pub(crate) fn plan(whom: Whom) -> CallPlan {
        CallPlan {
            ingress: "127.0.0.1:1".parse().unwrap(),
            domain: "localhost".into(),
            duration: Duration::from_secs(1),
            pace: Pace::Concurrency {
                callers: 1,
                think_ms: Spread::fixed(0),
            },
            whom,
            methods: Methods::one(http::Method::GET),
            upload_bytes: Spread::fixed(0),
            answer: AnswerSize::HandsetsOwn(64),
            host_form: false,
            path: "/x".into(),
            keep_alive: true,
            timeout: Duration::from_secs(1),
            verify: true,
        }
    }

    #[test]
    fn a_request_says_what_was_drawn() {
        let roster = Arc::new(Roster::new(msisdn(), 1).unwrap());
        let mut plan = plan(Whom::One(msisdn()));
        plan.answer = AnswerSize::Asked(Spread::fixed(500));
        plan.keep_alive = false;
        let call = Call {
            msisdn: msisdn(),
            method: http::Method::PUT,
            upload_bytes: 7,
            answer_bytes: 500,
        };
        let request = Callers::new(plan.clone(), roster.clone(), 1).request(call.clone(), "r-1");
        assert_eq!(request.method(), http::Method::PUT);
        assert_eq!(request.uri(), "/34700000000/x");
        let fields = request.headers();
        assert_eq!(fields["host"], "localhost");
        assert_eq!(fields["x-request-id"], "r-1");
        assert_eq!(fields["loadgen-answer-bytes"], "500");
        assert_eq!(fields["connection"], "close");
        plan.host_form = true;
        plan.answer = AnswerSize::HandsetsOwn(64);
        let request = Callers::new(plan, roster, 1).request(call, "r-1");
        assert_eq!(request.uri(), "/x");
        assert_eq!(request.headers()["host"], "34700000000.localhost");
        assert!(!request.headers().contains_key("loadgen-answer-bytes"));
    }

    fn msisdn() -> everline_protocol::Msisdn {
        everline_protocol::Msisdn::from_u64(34_700_000_000).unwrap()
    }
}
