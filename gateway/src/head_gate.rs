//! A caller's HTTP/1.1 connection as hyper reads and writes it: every request head is judged before hyper sees it.
//!
//! hyper refuses bad heads without a body, drops a Content-Length beside a Transfer-Encoding in silence, closes at its
//! header timeout without a word, and has no way to send interim responses. So `ingress` puts this in between: a head
//! that is refused is replaced by a harmless request, which the service answers with the [`Gate::refusal`] like any
//! other problem, in its turn and as the connection's last; interim responses go out between two of hyper's messages.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use everline_protocol::{BodyFraming, Follower};
use http::{HeaderMap, StatusCode};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::framing::{head_len, judge};
use crate::problem::Problem;
use crate::stream::{READ_BYTES, Stream};

/// Bytes of interim responses that wait for the caller to take them; more are dropped, as they may be.
const INTERIM_BYTES_MAX: usize = 16 * 1024;
/// Most bytes that one read of a body moves.
const BODY_READ_BYTES: usize = 64 * 1024;

/// What hyper is given instead of a head that was refused: the connection's last request.
const INSTEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
const INSTEAD_OF_HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// The bounds on a request's head.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of the head.
    pub bytes_max: usize,
    /// Number of its fields.
    pub headers_max: usize,
    /// From the first moment at which a head may come to its last byte.
    pub timeout: Duration,
}

/// What the connection and the service that answers its requests tell each other.
#[derive(Debug, Default)]
pub struct Gate {
    serving: Cell<bool>,
    // All that hyper wrote has gone to the kernel.
    flushed: Cell<bool>,
    // hyper has written something of the answer at hand.
    begun: Cell<bool>,
    // Of the answer's body, while it waits for what it gave to reach the kernel.
    writer: RefCell<Option<Waker>>,
    broken: Cell<bool>,
    refusal: RefCell<Option<Problem>>,
    interim: RefCell<BytesMut>,
    // Of the connection's task, while a head may not be looked at yet.
    reader: RefCell<Option<Waker>>,
}

impl Gate {
    /// Why the request at hand was refused before hyper saw it, if it was. Asked first of all by the service.
    pub fn refusal(&self) -> Option<Problem> {
        self.refusal.borrow_mut().take()
    }

    /// The response to the request at hand has been given to hyper whole, or will never be: the next head may come.
    pub fn served(&self) {
        self.serving.set(false);
        self.wake_if_due();
    }

    fn writes(&self) {
        self.flushed.set(false);
        self.begun.set(true);
    }

    /// Whether hyper is between two requests, so that an end or a refusal now cuts nothing off.
    fn is_due(&self) -> bool {
        !self.serving.get() && self.flushed.get()
    }

    /// hyper does not ask again for what was not there: neither for a head that we hold back, nor to start its timer.
    fn wake_if_due(&self) {
        if self.is_due()
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
    }

    /// hyper is given the answer to the request at hand.
    pub fn answering(&self) {
        self.begun.set(false);
    }

    /// Waits until the answer's head, and all of its body that hyper was given, has gone to the kernel: hyper forgets
    /// what it holds back once a body breaks off, and the caller would see nothing at all.
    pub fn poll_flushed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.begun.get() && self.flushed.get() {
            return Poll::Ready(());
        }
        *self.writer.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The response to the request at hand ended before its body did: a caller must be able to tell.
    pub fn broke_off(&self) {
        self.broken.set(true);
    }

    /// Whether a response broke off.
    pub fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Sends an interim response before the final one. Only between messages, so not while an earlier response is
    /// still on its way: then it is dropped, as RFC 9110 section 15.2 allows.
    pub fn interim(&self, status: StatusCode, fields: &HeaderMap) {
        let mut interim = self.interim.borrow_mut();
        if !self.flushed.get() || interim.len() > INTERIM_BYTES_MAX {
            return;
        }
        // Writing to a BytesMut fails only beyond usize::MAX.
        let _ = write!(
            interim,
            "HTTP/1.1 {} {}\r\n",
            status.as_str(),
            status.canonical_reason().unwrap_or_default()
        );
        for (name, value) in fields {
            interim.extend_from_slice(name.as_str().as_bytes());
            interim.extend_from_slice(b": ");
            interim.extend_from_slice(value.as_bytes());
            interim.extend_from_slice(b"\r\n");
        }
        interim.extend_from_slice(b"\r\n");
    }
}

/// The connection.
#[derive(Debug)]
pub struct HeadGate {
    stream: Stream,
    gate: Rc<Gate>,
    bounds: Bounds,
    reading: Reading,
    // Read from the stream and not yet judged or followed.
    buffer: BytesMut,
    // How much of `buffer` was searched for the end of a head.
    seen: usize,
    timer: Pin<Box<Sleep>>,
    timing: bool,
}

#[derive(Debug)]
enum Reading {
    /// A head is due, or will be when the request at hand has been served.
    Head,
    /// A head that may go on, then its body.
    Released(Bytes, Follower),
    /// A body.
    Body(Follower),
    /// Nothing more will be read: the last request was refused.
    Refused,
    /// The caller ended, or was idle for too long.
    End,
}

impl HeadGate {
    /// Of a connection of which nothing has been read but what was put back. The first head's time began at `accepted`.
    pub fn new(stream: Stream, bounds: Bounds, accepted: Instant) -> (Self, Rc<Gate>) {
        let gate = Rc::new(Gate {
            flushed: Cell::new(true),
            ..Gate::default()
        });
        let this = Self {
            stream,
            gate: Rc::clone(&gate),
            bounds,
            reading: Reading::Head,
            buffer: BytesMut::new(),
            seen: 0,
            timer: Box::pin(sleep_until(accepted + bounds.timeout)),
            timing: true,
        };
        (this, gate)
    }

    /// Whether the last request has been read to its end, and nothing beyond it.
    pub fn is_between_requests(&self) -> bool {
        matches!(self.reading, Reading::Head) && self.buffer.is_empty()
    }

    /// The connection behind an upgrade, or to be closed; what was read ahead is put back.
    pub fn into_stream(mut self) -> Stream {
        self.stream.unread(self.buffer.freeze());
        self.stream
    }

    /// Moves on to a head's release, its refusal, or the end.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.gate.is_due() {
                if let Some(len) = head_len(&self.buffer, self.seen) {
                    self.pass(len);
                    return Poll::Ready(Ok(()));
                }
                self.seen = self.buffer.len();
                if self.buffer.len() >= self.bounds.bytes_max {
                    self.refuse(Problem::HeadersTooLarge, false);
                    return Poll::Ready(Ok(()));
                }
                if self.poll_timer(cx).is_ready() {
                    if self.buffer.is_empty() {
                        self.reading = Reading::End;
                    } else {
                        self.refuse(Problem::RequestTimeout, false);
                    }
                    return Poll::Ready(Ok(()));
                }
            } else {
                *self.gate.reader.borrow_mut() = Some(cx.waker().clone());
                if self.buffer.len() >= self.bounds.bytes_max {
                    // Enough is read ahead.
                    return Poll::Pending;
                }
            }
            let bytes = ready!(self.stream.poll_read_some(cx, READ_BYTES))?;
            if bytes.is_empty() {
                self.reading = Reading::End;
                return Poll::Ready(Ok(()));
            }
            self.buffer.extend_from_slice(&bytes);
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.timing {
            self.timing = true;
            self.timer
                .as_mut()
                .reset(Instant::now() + self.bounds.timeout);
        }
        self.timer.as_mut().poll(cx)
    }

    fn pass(&mut self, len: usize) {
        if len > self.bounds.bytes_max {
            return self.refuse(Problem::HeadersTooLarge, false);
        }
        let head = self.buffer.split_to(len).freeze();
        match judge(&head, self.bounds.headers_max) {
            Ok(judged) => self.release(head, Follower::new(judged.body)),
            Err(refused) => self.refuse(refused.problem, refused.is_head_method),
        }
    }

    fn release(&mut self, head: Bytes, body: Follower) {
        self.seen = 0;
        self.timing = false;
        self.gate.serving.set(true);
        self.reading = Reading::Released(head, body);
    }

    fn refuse(&mut self, problem: Problem, is_head_method: bool) {
        *self.gate.refusal.borrow_mut() = Some(problem);
        self.gate.serving.set(true);
        let instead = if is_head_method {
            INSTEAD_OF_HEAD
        } else {
            INSTEAD
        };
        // The length is that of a request without a body, so what follows is never looked at: see `after_head`.
        self.reading = Reading::Released(
            Bytes::from_static(instead),
            Follower::new(BodyFraming::Length(0)),
        );
    }

    fn after_head(&self, body: Follower) -> Reading {
        if self.gate.refusal.borrow().is_some() {
            Reading::Refused
        } else if body.is_end() {
            Reading::Head
        } else {
            Reading::Body(body)
        }
    }

    /// Gives hyper the part of a body that is here; an error once its chunks turn out to be none, so that what follows
    /// is never taken for another request.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        mut follower: Follower,
        cursor: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            let room = cursor.remaining().min(BODY_READ_BYTES);
            let bytes = ready!(self.stream.poll_read_some(cx, room))?;
            if bytes.is_empty() {
                self.reading = Reading::End;
                return Poll::Ready(Ok(()));
            }
            let of_body = follower.advance(&bytes);
            cursor.put_slice(bytes.get(..of_body).unwrap_or_default());
            self.buffer
                .extend_from_slice(bytes.get(of_body..).unwrap_or_default());
            if of_body == 0 && follower.is_lost() {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        } else {
            let room = cursor.remaining().min(self.buffer.len());
            let of_body = follower.advance(self.buffer.get(..room).unwrap_or_default());
            if of_body == 0 && follower.is_lost() {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            cursor.put_slice(&self.buffer.split_to(of_body));
        }
        self.reading = if follower.is_end() {
            Reading::Head
        } else {
            Reading::Body(follower)
        };
        Poll::Ready(Ok(()))
    }

    /// Sends the interim responses that wait.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut interim = self.gate.interim.borrow_mut();
        while !interim.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &interim))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            interim.advance(sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl Read for HeadGate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.reading {
                Reading::Head => ready!(self.poll_head(cx))?,
                Reading::Released(head, body) => {
                    let part = head.split_to(head.len().min(cursor.remaining()));
                    cursor.put_slice(&part);
                    if head.is_empty() {
                        let body = *body;
                        self.reading = self.after_head(body);
                    }
                    return Poll::Ready(Ok(()));
                }
                Reading::Body(follower) => {
                    let follower = *follower;
                    return self.poll_body(cx, follower, &mut cursor);
                }
                // No end is told: hyper would take it for a caller that left and drop the answer. It closes by itself.
                Reading::Refused => return Poll::Pending,
                Reading::End => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl Write for HeadGate {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.gate.writes();
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.gate.flushed.set(true);
        self.gate.wake_if_due();
        if self.gate.begun.get()
            && let Some(writer) = self.gate.writer.take()
        {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper has flushed before it asks, which is all that is wanted of it: how the connection ends is the ingress's.
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.gate.writes();
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}
