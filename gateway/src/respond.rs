//! \[6\] What the caller gets: the handset's response, or one problem; and the account of how the request ended.
//!
//! Called by `ingress` with what `carry` came back with. It knows the one form that problems have (RFC 9457).

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use everline_protocol::{Msisdn, RequestId};
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::fields::X_REQUEST_ID;
use crate::head_gate::Gate;
use crate::limits::Permit;
use crate::meters::{Counted, Meters};
use crate::problem::Problem;
use crate::response_body::{BrokeOff, Download};
use crate::shared::Shared;

/// `Allow` of a 405 (RFC 9110, section 15.5.6): every method but CONNECT goes on to the handset.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";

/// Whether a caller's connection has requests in flight, and since when it has none.
pub struct Activity {
    active: Cell<usize>,
    idle_since: Cell<Instant>,
    // HTTP/2 only: a caller that takes nothing of one stream does not stall the socket, where it would be noticed.
    transfers: RefCell<Vec<Weak<Transfer>>>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            active: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            transfers: RefCell::default(),
        }
    }
}

impl Activity {
    /// Whether no request is in flight.
    pub fn is_idle(&self) -> bool {
        self.active.get() == 0
    }

    /// How long the connection may still have no request, if it may have none for `limit`.
    pub fn idle_left(&self, limit: Duration) -> Duration {
        if self.is_idle() {
            limit.saturating_sub(self.idle_since.get().elapsed())
        } else {
            limit
        }
    }
}

impl Activity {
    /// Gives up the responses of which the caller has taken nothing for `write_timeout`: their data channels are closed
    /// and their places given back. The caller is told when it asks for more.
    pub fn give_up_stalled(&self, write_timeout: Duration) {
        self.transfers.borrow_mut().retain(|transfer| {
            let Some(transfer) = transfer.upgrade() else {
                return false;
            };
            let stalled = transfer
                .given
                .get()
                .is_some_and(|since| since.elapsed() >= write_timeout);
            if stalled {
                drop(transfer.download.take());
                drop(transfer.flight.take());
            }
            !stalled
        });
    }
}

/// A request from its head to its response's last byte. However it ends, it ends here: dropped without another word,
/// it was abandoned by its caller.
pub struct Flight {
    meters: Rc<Meters>,
    activity: Rc<Activity>,
    received: Instant,
    request_id: HeaderValue,
    handset: Option<Msisdn>,
    permit: Option<Permit>,
    counted: Option<Counted>,
    row: Option<Row>,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Abandoned,
    Answered,
    Problem,
}

/// The request's row among the incoming connections sessions (G4).
struct Row {
    shared: Arc<Shared>,
    id: RequestId,
}

impl Drop for Row {
    fn drop(&mut self) {
        self.shared.store.request_ended(self.id);
    }
}

impl Flight {
    /// Of a request whose head has just come.
    pub fn begin(
        meters: Rc<Meters>,
        received: Instant,
        request_id: HeaderValue,
        activity: &Rc<Activity>,
    ) -> Self {
        activity.active.set(activity.active.get() + 1);
        Self {
            meters,
            activity: Rc::clone(activity),
            received,
            request_id,
            handset: None,
            permit: None,
            counted: None,
            row: None,
            outcome: Outcome::Abandoned,
        }
    }

    /// The request may go on: it counts against the limits until it ends, and is noted in the store.
    pub fn admitted(
        &mut self,
        handset: Msisdn,
        permit: Permit,
        shared: &Arc<Shared>,
        id: RequestId,
    ) {
        shared.store.request_arrived(id, handset);
        let shared = Arc::clone(shared);
        self.row = Some(Row { shared, id });
        self.handset = Some(handset);
        self.permit = Some(permit);
        self.counted = Some(Counted::one(&self.meters.in_flight));
    }

    /// What the caller knows the request by.
    pub fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    /// Ended in the handset's response, whole.
    pub fn answered(&mut self) {
        self.outcome = Outcome::Answered;
    }

    /// Ended in a problem.
    fn failed(&mut self, problem: &Problem) {
        self.outcome = Outcome::Problem;
        self.meters.count(problem);
        let row = problem.row();
        let handset = self
            .handset
            .map(|handset| handset.masked().to_string())
            .unwrap_or_default();
        tracing::debug!(
            request_id = self.request_id.to_str().unwrap_or_default(), %handset, status = row.status.as_u16(), slug = row.slug, fault = ?row.fault,
            "{problem}"
        );
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        match self.outcome {
            Outcome::Answered => self.meters.answered.increment(1),
            Outcome::Problem => self.meters.problem.increment(1),
            Outcome::Abandoned => self.meters.abandoned.increment(1),
        }
        self.meters
            .total
            .record(self.received.elapsed().as_secs_f64());
        self.activity
            .active
            .set(self.activity.active.get().saturating_sub(1));
        self.activity.idle_since.set(Instant::now());
    }
}

/// A response's body, with its request's account.
pub struct ResponseBody {
    content: Content,
    // Of an answer of ours over HTTP/1: the request is in flight until its last byte is hyper's.
    _flight: Option<Flight>,
    gate: Option<Rc<Gate>>,
}

enum Content {
    Handset(Rc<Transfer>),
    Ours(Option<Bytes>),
}

/// A handset's response on its way to the caller. Its parts are gone once it was given up.
struct Transfer {
    download: RefCell<Option<Download>>,
    flight: RefCell<Option<Flight>>,
    // Since when hyper has something of it that it has not come back from; `None` while the handset is waited for.
    given: Cell<Option<Instant>>,
    // It broke off, and what came before is still on its way to the caller.
    broke: Cell<bool>,
}

/// The handset's response. `gate`: of the caller's connection, if that speaks HTTP/1.
pub fn with_answer(
    answer: Response<Download>,
    flight: Flight,
    gate: Option<Rc<Gate>>,
) -> Response<ResponseBody> {
    let (mut head, download) = answer.into_parts();
    name(&mut head.headers, &flight.request_id);
    let activity = Rc::clone(&flight.activity);
    let transfer = Rc::new(Transfer {
        download: RefCell::new(Some(download)),
        flight: RefCell::new(Some(flight)),
        given: Cell::new(Some(Instant::now())),
        broke: Cell::new(false),
    });
    match &gate {
        Some(gate) => gate.answering(),
        None => activity
            .transfers
            .borrow_mut()
            .push(Rc::downgrade(&transfer)),
    }
    let content = Content::Handset(transfer);
    Response::from_parts(
        head,
        ResponseBody {
            content,
            _flight: None,
            gate,
        },
    )
}

/// `101 Switching Protocols`, as the handset gave it; the flight stays with whoever copies the bytes from then on.
pub fn with_switch(
    answer: Response<()>,
    protocol: HeaderValue,
    flight: &Flight,
    gate: Option<Rc<Gate>>,
) -> Response<ResponseBody> {
    let (mut head, ()) = answer.into_parts();
    name(&mut head.headers, &flight.request_id);
    head.headers
        .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(UPGRADE, protocol);
    Response::from_parts(
        head,
        ResponseBody {
            content: Content::Ours(None),
            _flight: None,
            gate,
        },
    )
}

/// A problem, as `application/problem+json`.
pub fn with_problem(
    problem: &Problem,
    is_head_method: bool,
    mut flight: Flight,
    gate: Option<Rc<Gate>>,
) -> Response<ResponseBody> {
    flight.failed(problem);
    let (mut fields, text) = problem_parts(problem, flight.request_id());
    name(&mut fields, &flight.request_id);
    let text = (!is_head_method).then_some(text);
    let mut response = Response::new(ResponseBody {
        content: Content::Ours(text),
        // Over HTTP/2 a caller that opens no window keeps the body for as long as it likes: its request ends here, so
        // that it neither holds a place nor keeps its connection from being idle.
        _flight: gate.is_some().then_some(flight),
        gate,
    });
    *response.status_mut() = problem.row().status;
    *response.headers_mut() = fields;
    response
}

/// A problem as bytes on the wire, for a caller whose connection never reached HTTP.
pub fn problem_on_the_wire(problem: &Problem, request_id: &HeaderValue) -> Vec<u8> {
    let (mut fields, text) = problem_parts(problem, request_id);
    name(&mut fields, request_id);
    let status = problem.row().status;
    let mut wire = format!("HTTP/1.1 {} {}\r\n", status.as_str(), reason(status)).into_bytes();
    for (name, value) in &fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            wire.extend_from_slice(part);
        }
    }
    wire.extend_from_slice(b"connection: close\r\n\r\n");
    wire.extend_from_slice(&text);
    wire
}

fn problem_parts(problem: &Problem, request_id: &HeaderValue) -> (HeaderMap, Bytes) {
    let row = problem.row();
    let text = serde_json::json!({
        "type": format!("urn:everline:{}", row.slug),
        "title": reason(row.status),
        "status": row.status.as_u16(),
        "detail": problem.to_string(),
        "request_id": request_id.to_str().unwrap_or_default(),
    })
    .to_string();
    let mut fields = HeaderMap::new();
    fields.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    fields.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    if *problem == Problem::MethodNotAllowed {
        fields.insert(ALLOW, HeaderValue::from_static(METHODS));
    }
    if let Some(wait) = problem.retry_after() {
        fields.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    (fields, text.into())
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Problem")
}

/// Every response says which request it answers.
fn name(fields: &mut HeaderMap, request_id: &HeaderValue) {
    fields.insert(X_REQUEST_ID, request_id.clone());
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match &mut self.content {
            Content::Handset(transfer) => {
                let polled = transfer.poll_frame(cx);
                if let (Poll::Ready(Some(Err(_))), Some(gate)) = (&polled, &self.gate) {
                    ready!(gate.poll_flushed(cx));
                }
                polled
            }
            Content::Ours(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Handset(transfer) => transfer
                .download
                .borrow()
                .as_ref()
                .is_some_and(Body::is_end_stream),
            Content::Ours(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Handset(transfer) => transfer
                .download
                .borrow()
                .as_ref()
                .map(Body::size_hint)
                .unwrap_or_default(),
            Content::Ours(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

impl Transfer {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        if self.broke.get() {
            return Poll::Ready(Some(Err(BrokeOff)));
        }
        let polled = match self.download.borrow_mut().as_mut() {
            Some(download) => Pin::new(download).poll_frame(cx),
            None => Poll::Ready(Some(Err(BrokeOff))),
        };
        self.broke.set(matches!(polled, Poll::Ready(Some(Err(_)))));
        self.given.set(polled.is_ready().then(Instant::now));
        polled
    }

    /// Settles the account; `true` if the response broke off.
    fn settle(&self) -> bool {
        let download = self.download.borrow();
        let mut flight = self.flight.borrow_mut();
        let (Some(download), Some(flight)) = (download.as_ref(), flight.as_mut()) else {
            return false;
        };
        if download.is_ended() {
            flight.answered();
        } else if download.is_broken() {
            flight.failed(&Problem::HandsetBroke("inside the response's body"));
            return true;
        }
        false
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let broke = matches!(&self.content, Content::Handset(transfer) if transfer.settle());
        if let Some(gate) = &self.gate {
            if broke {
                // The caller has the head already: all that is left is to break its connection under the body.
                gate.broke_off();
            }
            gate.served();
        }
    }
}
