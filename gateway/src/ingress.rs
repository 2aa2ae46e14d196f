//! \[1\] Accepts callers, speaks HTTP/1.1 and HTTP/2 with them, admits their requests or refuses them.
//!
//! `worker` runs one. HTTP/2 is spoken with prior knowledge only: its preface tells. What of HTTP is hyper's and what is
//! ours to say is explained in `head_gate`; what becomes of an admitted request is `carry`'s business. Over HTTP/2 the h2
//! library answers two things by itself: a header list far above our bound (431 without a body), and frames that break
//! the protocol (a reset).

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{sleep, timeout};

use crate::address::{Target, target};
use crate::carry::Carrier;
use crate::config::Ingress;
use crate::fields;
use crate::head_gate::{self, Gate, HeadGate};
use crate::meters::Counted;
use crate::problem::Problem;
use crate::relay::{self, Answer, Outgoing};
use crate::request::RequestContext;
use crate::request_body;
use crate::respond::{self, Activity, Flight, ResponseBody};
use crate::stream::{Listener, Stream};

/// What an HTTP/2 connection with prior knowledge begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// hyper's own bounds on a head lie this far above ours, so that ours are met first and answered in our form.
const HYPER_HEAD_SLACK_BYTES: usize = 16 * 1024;
const HYPER_HEAD_SLACK_FIELDS: usize = 8;
/// hyper takes this many fields unless told otherwise; told, it takes memory for the bound with every head.
const HYPER_FIELDS_MAX: usize = 100;
/// hyper's buffers on a caller's connection, either way, at least.
const BUFFER_BYTES_MIN: usize = 64 * 1024;
/// HTTP/2: what may be under way towards us, for one stream and for a connection.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// HTTP/2: what hyper may keep of a response that the caller does not take.
const STREAM_SEND_BYTES: usize = 64 * 1024;
/// HTTP/2: whether the caller is there at all is asked this often, and answered within this time.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection that was told to end may take to do so.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections over the bound that are told so at one time; further ones are closed without a word.
const REFUSALS_MAX: usize = 64;

/// Accepts callers until `stop`; then waits for their requests, at most for `finish`. Tells how many connections were
/// left.
pub async fn accept(
    listener: Listener,
    carrier: Rc<Carrier>,
    mut stop: watch::Receiver<bool>,
    finish: Duration,
) -> usize {
    let mut connections = JoinSet::new();
    let refusals = Rc::new(Cell::new(0));
    let for_connections = stop.clone();
    loop {
        tokio::select! {
            biased;
            // An error is a sender that is gone, which says the same.
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_ended) = connections.join_next() => {}
            (stream, peer) = listener.accept() => {
                match carrier.shared.limits.connect(carrier.shared.config.ingress.connections_max) {
                    Some(place) => {
                        let (carrier, stop) = (Rc::clone(&carrier), for_connections.clone());
                        connections.spawn_local(async move {
                            let _counted = Counted::one(&carrier.meters.callers);
                            converse(stream, peer, carrier, stop).await;
                            drop(place);
                        });
                    }
                    None => refuse(stream, &carrier, &refusals),
                }
            }
        }
    }
    drop(listener);
    let all_end = async { while connections.join_next().await.is_some() {} };
    // Whatever is left when the time is over is cut off by the set's drop.
    let _ = timeout(finish, all_end).await;
    connections.len()
}

/// One connection too many: says so if that is cheap.
fn refuse(mut stream: Stream, carrier: &Carrier, refusals: &Rc<Cell<usize>>) {
    carrier.meters.count(&Problem::Overloaded);
    if refusals.get() >= REFUSALS_MAX {
        return;
    }
    refusals.set(refusals.get() + 1);
    let refusals = Rc::clone(refusals);
    let wire = respond::problem_on_the_wire(&Problem::Overloaded, &carrier.ids.public());
    spawn_local(async move {
        if stream.write_all(&wire).await.is_ok() {
            stream.close_in_order().await;
        }
        refusals.set(refusals.get() - 1);
    });
}

/// One caller's connection, from its first byte to its end.
async fn converse(
    mut stream: Stream,
    peer: SocketAddr,
    carrier: Rc<Carrier>,
    stop: watch::Receiver<bool>,
) {
    let rules = carrier.shared.config.ingress.clone();
    let accepted = tokio::time::Instant::now();
    let begin = timeout(
        rules.header_timeout,
        begin(&mut stream, rules.proxy_protocol),
    );
    // A connection that says nothing, or not whom it speaks for, has asked nothing that could be answered.
    let Ok(Ok(beginning)) = begin.await else {
        return;
    };
    let peer = beginning.peer.unwrap_or(peer);
    // One caller is one address to the limits, however a socket or a balancer writes it.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    if beginning.is_http2 {
        speak_http2(stream, Caller::new(carrier, peer, None), &rules, stop).await;
    } else {
        let bounds = head_gate::Bounds {
            bytes_max: rules.header_bytes_max,
            headers_max: rules.headers_max,
            timeout: rules.header_timeout,
        };
        let (gate, control) = HeadGate::new(stream, bounds, accepted);
        speak_http1(
            gate,
            Caller::new(carrier, peer, Some(control)),
            &rules,
            stop,
        )
        .await;
    }
}

struct Beginning {
    // The caller's address, as a balancer tells it.
    peer: Option<SocketAddr>,
    is_http2: bool,
}

/// Reads the PROXY header if there must be one, and as much as tells HTTP/2 from HTTP/1.
async fn begin(stream: &mut Stream, proxy_protocol: bool) -> io::Result<Beginning> {
    let mut peer = None;
    if proxy_protocol {
        peer = stream.read_proxy_header().await?.map(|told| told.source);
    }
    let mut seen = Vec::new();
    let is_http2 = loop {
        let bytes = stream.read_some().await?;
        seen.extend_from_slice(&bytes);
        let common = seen
            .iter()
            .zip(PREFACE)
            .take_while(|(seen, preface)| seen == preface)
            .count();
        if common == PREFACE.len() || common < seen.len() || bytes.is_empty() {
            break common == PREFACE.len();
        }
    };
    stream.unread(seen.into());
    Ok(Beginning { peer, is_http2 })
}

async fn speak_http1(
    gate: HeadGate,
    caller: Rc<Caller>,
    rules: &Ingress,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(|request| answer_boxed(Rc::clone(&caller), request));
    let mut http = http1::Builder::new();
    // The gate keeps the time, and gives a head to hyper whole.
    http.header_read_timeout(None).max_buf_size(
        rules
            .header_bytes_max
            .saturating_add(HYPER_HEAD_SLACK_BYTES)
            .max(BUFFER_BYTES_MIN),
    );
    if rules.headers_max > HYPER_FIELDS_MAX {
        http.max_headers(rules.headers_max.saturating_add(HYPER_HEAD_SLACK_FIELDS));
    }
    let mut connection = http.serve_connection(gate, service);
    let mut stopping = *stop.borrow();
    if stopping {
        Pin::new(&mut connection).graceful_shutdown();
    }
    let ended = loop {
        tokio::select! {
            ended = &mut connection => break ended,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    let said_all = caller.said_last.get() && parts.io.is_between_requests();
    let mut stream = parts.io.into_stream();
    stream.unread(parts.read_buf);
    if let Err(error) = ended {
        tracing::debug!(%error, "a caller's connection ended early");
        return if caller.gate.as_ref().is_some_and(|gate| gate.is_broken()) {
            stream.reset();
        };
    }
    let tunnel = caller.tunnel.take();
    match tunnel {
        Some(Tunnel {
            handset,
            mut flight,
        }) => {
            relay::tunnel(
                stream,
                handset,
                caller.carrier.shared.config.request.response_idle_timeout,
            )
            .await;
            flight.answered();
        }
        None if said_all => stream.close().await,
        None => stream.close_in_order().await,
    }
}

async fn speak_http2(
    stream: Stream,
    caller: Rc<Caller>,
    rules: &Ingress,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(|request| answer_boxed(Rc::clone(&caller), request));
    let header_list_max = rules
        .header_bytes_max
        .saturating_add(HYPER_HEAD_SLACK_BYTES);
    let connection = http2::Builder::new(OnThisThread)
        .timer(TokioTimer::new())
        .max_concurrent_streams(rules.h2_streams_max)
        .max_header_list_size(u32::try_from(header_list_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(STREAM_SEND_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(stream, service);
    let mut connection = std::pin::pin!(connection);
    let mut stopping = *stop.borrow();
    loop {
        if stopping {
            connection.as_mut().graceful_shutdown();
            if caller.activity.is_idle() {
                // It has nothing left to wait for but the caller's own goodbye.
                let _ = timeout(GOODBYE_TIMEOUT, connection.as_mut()).await;
                return;
            }
        }
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a caller's connection ended early");
                }
                return;
            }
            _ = stop.wait_for(|stop| *stop), if !stopping => stopping = true,
            () = sleep(caller.activity.idle_left(rules.header_timeout).min(rules.write_timeout)) => {
                caller.activity.give_up_stalled(rules.write_timeout);
                stopping = stopping || caller.activity.idle_left(rules.header_timeout).is_zero();
            }
        }
    }
}

/// Runs hyper's HTTP/2 streams where the connection runs.
#[derive(Debug, Clone, Copy)]
struct OnThisThread;

impl<F: Future + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        spawn_local(async {
            future.await;
        });
    }
}

/// What the requests of one connection have in common.
struct Caller {
    carrier: Rc<Carrier>,
    peer: SocketAddr,
    // HTTP/1 only.
    gate: Option<Rc<Gate>>,
    // HTTP/1 only: the request at hand is the caller's last.
    said_last: Cell<bool>,
    tunnel: RefCell<Option<Tunnel>>,
    activity: Rc<Activity>,
}

/// What follows a `101 Switching Protocols`.
struct Tunnel {
    handset: Stream,
    flight: Flight,
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>>>>;

/// Boxed, because hyper gives a connection back only if its service's future may be moved.
fn answer_boxed(caller: Rc<Caller>, request: Request<Incoming>) -> Answering {
    Box::pin(async move { Ok(caller.answer(request).await) })
}

impl Caller {
    fn new(carrier: Rc<Carrier>, peer: SocketAddr, gate: Option<Rc<Gate>>) -> Rc<Self> {
        Rc::new(Self {
            carrier,
            peer,
            gate,
            said_last: Cell::new(false),
            tunnel: RefCell::new(None),
            activity: Rc::default(),
        })
    }

    async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Response<ResponseBody> {
        let received = Instant::now();
        let gate = self.gate.clone();
        let is_head_method = request.method() == Method::HEAD;
        self.said_last
            .set(fields::is_last(request.version(), request.headers()));
        let request_id = fields::request_id(request.headers())
            .cloned()
            .unwrap_or_else(|| self.carrier.ids.public());
        let mut flight = Flight::begin(
            Rc::clone(&self.carrier.meters),
            received,
            request_id,
            &self.activity,
        );
        match self.carry(request, received, &mut flight).await {
            Ok(Answer::Response(response)) => respond::with_answer(*response, flight, gate),
            Ok(Answer::Switched(head, protocol, stream)) => {
                let response = respond::with_switch(head, protocol, &flight, gate);
                self.tunnel.replace(Some(Tunnel {
                    handset: *stream,
                    flight,
                }));
                response
            }
            Err(problem) => respond::with_problem(&problem, is_head_method, flight, gate),
        }
    }

    async fn carry(
        &self,
        request: Request<Incoming>,
        received: Instant,
        flight: &mut Flight,
    ) -> Result<Answer, Problem> {
        if let Some(problem) = self.gate.as_ref().and_then(|gate| gate.refusal()) {
            return Err(problem);
        }
        let shared = &self.carrier.shared;
        let rules = &shared.config.ingress;
        let target = admissible(&request, rules)?;
        let permit = shared.limits.admit(self.peer.ip(), target.handset)?;
        let id = self.carrier.ids.pending().ok_or(Problem::Overloaded)?;
        flight.admitted(target.handset, permit, shared, id);
        let context = RequestContext {
            caller: self.peer,
            handset: target.handset,
            host: target.host,
            path: target.path,
            prefix: target.prefix,
            request_id: flight.request_id().clone(),
            received,
        };
        let bounds = request_body::Bounds {
            bytes_max: rules.body_bytes_max,
            idle_timeout: rules.body_idle_timeout,
        };
        // HTTP/1.0 knows no interim response: one would be taken for the response itself (RFC 9110, section 15.2).
        let knows_interim = request.version() >= Version::HTTP_11;
        let outgoing = Outgoing::new(request, &context, bounds);
        let interim = |status: StatusCode, fields: &HeaderMap| {
            if let (true, Some(gate)) = (knows_interim, &self.gate) {
                gate.interim(status, fields);
            }
        };
        self.carrier.carry(id, &context, outgoing, &interim).await
    }
}

/// What can be told of a request by its head alone.
fn admissible(request: &Request<Incoming>, rules: &Ingress) -> Result<Target, Problem> {
    if request.method() == Method::CONNECT {
        return Err(Problem::MethodNotAllowed);
    }
    let target_bytes = request
        .uri()
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    let field_bytes: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if target_bytes + field_bytes > rules.header_bytes_max
        || request.headers().len() > rules.headers_max
    {
        return Err(Problem::HeadersTooLarge);
    }
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| rules.body_bytes_max > 0 && length > rules.body_bytes_max) {
        return Err(Problem::TooLarge);
    }
    target(request, &rules.domains)
}
