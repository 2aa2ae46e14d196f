//! \[5\] The request out on the data channel, the response back; after an upgrade, the bytes of both sides.
//!
//! `carry` calls it with a channel that is bound and a request that it may have to send twice. It decides what of the
//! request goes on and tells whether a failure left the request whole; whether to try again is for `carry` to say.
//!
//! Limits that are hyper's: over HTTP/1 trailers pass only if the message announced them in `Trailer`, and to a caller
//! only if it sent `TE: trailers` (both as RFC 9110 section 6.5 allows); over HTTP/2 a caller gets no interim response
//! but what its own body needs.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::rt::Write;
use tokio::time::{Instant, sleep_until};

use crate::channel::Channel;
use crate::directory::Place;
use crate::fields::{
    X_FORWARDED_PREFIX, X_REQUEST_ID, append_forwarded, expects_continue, join_cookies,
    remove_hop_by_hop, takes_trailers, upgrade,
};
use crate::idle_channels::IdleChannels;
use crate::problem::Problem;
use crate::request::RequestContext;
use crate::request_body::{Bounds, Upload};
use crate::response_body::Download;
use crate::stream::Stream;

/// How long the handset may leave `Expect: 100-continue` unanswered before the body is sent all the same: a server
/// that knows nothing of it waits for the body (RFC 9110, section 10.1.1).
const CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);
/// Interim responses of one request that wait to be passed on; more are dropped.
const INTERIM_MAX: usize = 8;
/// Most bytes of an upgraded connection that are under way in one direction.
const TUNNEL_BYTES: usize = 32 * 1024;

/// Passes interim responses (1xx, but 100 and 101) on to the caller.
pub type Interim<'f> = &'f dyn Fn(StatusCode, &HeaderMap);

/// A request as the handset gets it, in a form that can be sent more than once.
pub struct Outgoing {
    method: Method,
    path: PathAndQuery,
    fields: HeaderMap,
    upload: Upload,
    upgrade: Option<HeaderValue>,
    takes_trailers: bool,
    expects_continue: bool,
}

impl Outgoing {
    /// From what the caller sent: its own hop's fields are gone, ours are there (PROTOCOL 5.2).
    pub fn new(request: Request<Incoming>, context: &RequestContext, bounds: Bounds) -> Self {
        let (head, body) = request.into_parts();
        let mut fields = head.headers;
        let upgrade = if head.version == Version::HTTP_11 {
            upgrade(&fields)
        } else {
            None
        };
        let takes_trailers = takes_trailers(&fields);
        let expects_continue = head.version >= Version::HTTP_11 && expects_continue(&fields);
        remove_hop_by_hop(&mut fields);
        if head.version == Version::HTTP_2 {
            join_cookies(&mut fields);
        }
        append_forwarded(&mut fields, context.caller.ip(), &context.host);
        fields.insert(X_REQUEST_ID, context.request_id.clone());
        let text = |text: &str| HeaderValue::from_str(text).ok();
        let as_sent = fields
            .get(HOST)
            .filter(|host| host.as_bytes() == context.host.as_bytes());
        let ours = [
            (HOST, as_sent.cloned().or_else(|| text(&context.host))),
            (X_REQUEST_ID, Some(context.request_id.clone())),
            (X_FORWARDED_PREFIX, context.prefix.as_deref().and_then(text)),
        ];
        for (name, value) in ours {
            // What a caller says in a field of ours is no word of ours: without a value of ours, the field goes.
            match value {
                Some(value) => fields.insert(name, value),
                None => fields.remove(name),
            };
        }
        let upload = Upload::new(body, bounds, expects_continue);
        if !upload.is_empty() && !upload.has_length() {
            // hyper leaves a GET's body out unless it is told that there is one.
            fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Self {
            method: head.method,
            path: context.path.clone(),
            fields,
            upload,
            upgrade,
            takes_trailers,
            expects_continue,
        }
    }

    /// Whether it may be sent on a channel that its handset may be closing at this moment: what cannot be sent again
    /// although it must be (PROTOCOL 5.3) is an idempotent request with a body, of which nothing is kept.
    pub fn may_lose_a_race(&self) -> bool {
        self.upload.is_empty() || !self.method.is_idempotent()
    }

    /// What hyper sends. `last`: the gateway closes the channel afterwards.
    fn request(&mut self, last: bool, again: bool) -> Request<crate::request_body::RequestBody> {
        let mut fields = if again {
            self.fields.clone()
        } else {
            std::mem::take(&mut self.fields)
        };
        let mut connection = Vec::with_capacity(3);
        if let Some(protocol) = &self.upgrade {
            fields.insert(UPGRADE, protocol.clone());
            connection.push("upgrade");
        } else if last {
            connection.push("close");
        }
        if self.takes_trailers {
            fields.insert(TE, HeaderValue::from_static("trailers"));
            connection.push("te");
        }
        if let (false, Ok(value)) = (
            connection.is_empty(),
            HeaderValue::try_from(connection.join(", ")),
        ) {
            fields.insert(CONNECTION, value);
        }
        let mut request = Request::new(self.upload.body());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.headers_mut() = fields;
        request
    }
}

/// What an exchange is bounded by, and where its channel goes afterwards.
pub struct Terms<'t> {
    /// From the request's head, or the last part of its body, to the response's head.
    pub response_timeout: Duration,
    /// Longest pause inside the response's body.
    pub response_idle_timeout: Duration,
    /// Whose channel it is.
    pub place: Place,
    /// Where it goes.
    pub idle: &'t IdleChannels,
    /// Whether it has carried a request before, so that its end may be no fault of the handset's.
    pub reused: bool,
}

/// What came back.
pub enum Answer {
    /// A final response.
    Response(Box<Response<Download>>),
    /// `101 Switching Protocols`: its head, the protocol, and the handset's stream.
    Switched(Response<()>, HeaderValue, Box<Stream>),
}

/// Why nothing came back.
pub enum Failure {
    /// The channel ended under the request with no byte of a response seen, and the request may be sent again.
    Again(Box<Outgoing>),
    /// All is over.
    Problem(Problem),
}

/// Sends the request, and waits for the response's head.
pub async fn exchange(
    mut channel: Channel,
    mut outgoing: Outgoing,
    terms: Terms<'_>,
    interim: Interim<'_>,
) -> Result<Answer, Failure> {
    let received = channel.meter.received();
    channel.meter.begin_message();
    let last = terms.place.linger_s() == 0;
    let mut request = outgoing.request(last, terms.reused);
    if outgoing.upgrade.is_some() {
        channel.will_upgrade();
    }
    let told = Arc::new(Told::default());
    let tell = Arc::clone(&told);
    hyper::ext::on_informational(&mut request, move |response| {
        tell.tell(response.status(), response.headers());
    });
    let answer = channel.sender.try_send_request(request);
    let answer = await_head(answer, &outgoing, &told, terms.response_timeout, interim).await;
    match answer {
        Some(Ok(response)) => answered(response, outgoing, channel, terms)
            .await
            .map_err(Failure::Problem),
        Some(Err(error)) => {
            let unseen = channel.meter.received() == received;
            let unsent = error.message().is_some() || !channel.meter.has_sent_of_message();
            Err(failed(
                error.error(),
                outgoing,
                terms.reused && unseen,
                unsent,
            ))
        }
        None => Err(Failure::Problem(Problem::ResponseTimeout)),
    }
}

/// Waits for the head while the body goes out, and lets the caller have what comes before it. `None`: too late.
async fn await_head<T>(
    answer: impl Future<Output = T>,
    outgoing: &Outgoing,
    told: &Told,
    response_timeout: Duration,
    interim: Interim<'_>,
) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    let begun = Instant::now();
    let mut deadline = begun + response_timeout;
    loop {
        tokio::select! {
            biased;
            (status, mut fields) = poll_fn(|cx| told.poll_next(cx)) => {
                if status == StatusCode::CONTINUE {
                    outgoing.upload.release();
                } else {
                    remove_hop_by_hop(&mut fields);
                    // It has no body whose length it could tell (RFC 9110, section 8.6).
                    fields.remove(CONTENT_LENGTH);
                    interim(status, &fields);
                }
            }
            answer = &mut answer => return Some(answer),
            () = sleep_until(begun + CONTINUE_TIMEOUT), if outgoing.expects_continue && outgoing.upload.is_held() => {
                outgoing.upload.release();
            }
            () = sleep_until(deadline) => {
                // A body that still moves is no silence of the handset's.
                let moved = outgoing.upload.progress() + response_timeout;
                if moved <= deadline {
                    return None;
                }
                deadline = moved;
            }
        }
    }
}

/// Interim responses on their way from hyper to whoever waits for the final one. Most requests have none, and pay for
/// none: a channel's first block would be three kilobytes.
#[derive(Debug, Default)]
struct Told(Mutex<Interims>);

#[derive(Debug, Default)]
struct Interims {
    responses: VecDeque<(StatusCode, HeaderMap)>,
    waker: Option<Waker>,
}

impl Told {
    fn tell(&self, status: StatusCode, fields: &HeaderMap) {
        let mut interims = self.interims();
        // As many as that mean a handset that floods: interim responses may be dropped.
        if interims.responses.len() < INTERIM_MAX {
            interims.responses.push_back((status, fields.clone()));
        }
        if let Some(waker) = interims.waker.take() {
            waker.wake();
        }
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<(StatusCode, HeaderMap)> {
        let mut interims = self.interims();
        if let Some(response) = interims.responses.pop_front() {
            return Poll::Ready(response);
        }
        match &mut interims.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn interims(&self) -> MutexGuard<'_, Interims> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answered(
    response: Response<Incoming>,
    outgoing: Outgoing,
    channel: Channel,
    terms: Terms<'_>,
) -> Result<Answer, Problem> {
    let (mut head, body) = response.into_parts();
    if head.headers.contains_key(CONTENT_LENGTH) && head.headers.contains_key(TRANSFER_ENCODING) {
        return Err(Problem::HandsetBroke(
            "its response has both Content-Length and Transfer-Encoding",
        ));
    }
    // The coding is its hop's and goes with it: a body that is still coded would reach the caller as something else.
    let codings = head.headers.get_all(TRANSFER_ENCODING);
    if !codings
        .iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(Problem::HandsetBroke(
            "its response's Transfer-Encoding is not chunked alone",
        ));
    }
    let protocol = head.headers.get(UPGRADE).cloned();
    remove_hop_by_hop(&mut head.headers);
    head.version = Version::HTTP_11;
    head.extensions.clear();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let (Some(_asked), Some(protocol)) = (outgoing.upgrade, protocol) else {
            return Err(Problem::HandsetBroke("it switched protocols unasked"));
        };
        let stream = channel
            .into_stream()
            .await
            .ok_or(Problem::HandsetBroke("it closed as it switched protocols"))?;
        return Ok(Answer::Switched(
            Response::from_parts(head, ()),
            protocol,
            Box::new(stream),
        ));
    }
    // A final response without 100 Continue means that the body is not wanted (RFC 9110, section 10.1.1); one that
    // goes on reading it has sent 100 before.
    let keep = (terms.place.linger_s() > 0).then(|| (terms.idle.clone(), terms.place));
    let body = Download::new(
        body,
        outgoing.upload,
        channel,
        terms.response_idle_timeout,
        keep,
    );
    Ok(Answer::Response(Box::new(Response::from_parts(head, body))))
}

fn failed(error: &hyper::Error, outgoing: Outgoing, unseen: bool, unsent: bool) -> Failure {
    if let Some(problem) = outgoing.upload.problem() {
        return Failure::Problem(problem);
    }
    if unseen && outgoing.upload.is_whole() && (unsent || outgoing.method.is_idempotent()) {
        return Failure::Again(Box::new(outgoing));
    }
    Failure::Problem(Problem::HandsetBroke(if error.is_parse() {
        "it spoke bad HTTP"
    } else {
        "it closed the data channel before its response"
    }))
}

/// Copies the bytes of an upgraded connection both ways until both sides have ended, one has broken, or neither has
/// sent anything for `idle_timeout`.
pub async fn tunnel(mut caller: Stream, mut handset: Stream, idle_timeout: Duration) {
    let (mut out, mut back) = (Half::default(), Half::default());
    let mut silence = std::pin::pin!(sleep_until(Instant::now() + idle_timeout));
    poll_fn(|cx| {
        let (out_moved, out_over) = out.poll(&mut caller, &mut handset, cx);
        let (back_moved, back_over) = back.poll(&mut handset, &mut caller, cx);
        if out_moved || back_moved {
            silence.as_mut().reset(Instant::now() + idle_timeout);
        }
        match (out_over, back_over) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(())))
            | (Poll::Ready(Err(_)), _)
            | (_, Poll::Ready(Err(_))) => Poll::Ready(()),
            _ => silence.as_mut().poll(cx),
        }
    })
    .await;
    tokio::join!(caller.close_in_order(), handset.close_in_order());
}

/// One direction of a tunnel. It reads only when all that it read has been taken.
#[derive(Default)]
struct Half {
    pending: Bytes,
    ended: bool,
    over: bool,
}

impl Half {
    /// Moves what can be moved; tells whether anything was, and whether this direction is over.
    fn poll(
        &mut self,
        from: &mut Stream,
        to: &mut Stream,
        cx: &mut Context<'_>,
    ) -> (bool, Poll<io::Result<()>>) {
        let mut moved = false;
        let over = loop {
            if self.over {
                break Poll::Ready(Ok(()));
            }
            let step = if !self.pending.is_empty() {
                Pin::new(&mut *to)
                    .poll_write(cx, &self.pending)
                    .map_ok(|sent| self.pending.advance(sent))
            } else if self.ended {
                self.over = true;
                Poll::Ready(to.finish_writing())
            } else {
                from.poll_read_some(cx, TUNNEL_BYTES).map_ok(|bytes| {
                    self.ended = bytes.is_empty();
                    self.pending = bytes;
                })
            };
            match step {
                Poll::Ready(Ok(())) => moved = true,
                other => break other,
            }
        };
        (moved, over)
    }
}
