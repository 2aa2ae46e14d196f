//! A caller's request body on its way out: held until the handset wants it, bounded in size and silence.
//!
//! `relay` gives hyper a [`RequestBody`] and keeps the [`Upload`]; both look at one body. What hyper never touched is
//! still whole after a data channel failed, so the request can go out on another one.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::problem::Problem;

/// The bounds on a request's body.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// In all; 0: no bound.
    pub bytes_max: u64,
    /// Longest pause while the handset wants more.
    pub idle_timeout: Duration,
}

/// The relay's side.
#[derive(Debug, Clone)]
pub struct Upload(Rc<Shared>);

/// hyper's side.
#[derive(Debug)]
pub struct RequestBody(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    incoming: RefCell<Incoming>,
    bounds: Bounds,
    empty: bool,
    held: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    touched: Cell<bool>,
    finished: Cell<bool>,
    bytes: Cell<u64>,
    progress: Cell<Instant>,
    pause: RefCell<Option<Pin<Box<Sleep>>>>,
    pausing: Cell<bool>,
    problem: RefCell<Option<Problem>>,
}

/// Why hyper could not go on sending a body; [`Upload::problem`] tells the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request's body broke off")]
pub struct BrokeOff;

impl Upload {
    /// Of a request that was just received. `held`: nothing of it is asked of the caller before [`Upload::release`].
    pub fn new(incoming: Incoming, bounds: Bounds, held: bool) -> Self {
        let empty = incoming.is_end_stream();
        Self(Rc::new(Shared {
            incoming: RefCell::new(incoming),
            bounds,
            empty,
            held: Cell::new(held),
            waker: RefCell::new(None),
            touched: Cell::new(false),
            finished: Cell::new(empty),
            bytes: Cell::new(0),
            progress: Cell::new(Instant::now()),
            pause: RefCell::new(None),
            pausing: Cell::new(false),
            problem: RefCell::new(None),
        }))
    }

    /// For hyper, to be sent.
    pub fn body(&self) -> RequestBody {
        RequestBody(Rc::clone(&self.0))
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.0.empty
    }

    /// Whether its length is known before it is sent.
    pub fn has_length(&self) -> bool {
        self.0.incoming.borrow().size_hint().exact().is_some()
    }

    /// Whether it still waits for [`Upload::release`].
    pub fn is_held(&self) -> bool {
        self.0.held.get()
    }

    /// Lets it go: the handset said `100 Continue`, or will not.
    pub fn release(&self) {
        self.0.held.set(false);
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }

    /// Whether all of it is still there to be sent (again).
    pub fn is_whole(&self) -> bool {
        self.0.empty || !self.0.touched.get()
    }

    /// Whether all of it was given to hyper.
    pub fn is_finished(&self) -> bool {
        self.0.finished.get()
    }

    /// When its last part was given to hyper; its receipt, if none was.
    pub fn progress(&self) -> Instant {
        self.0.progress.get()
    }

    /// What went wrong with it, if that is why a request failed.
    pub fn problem(&self) -> Option<Problem> {
        self.0.problem.borrow().clone()
    }
}

impl Shared {
    fn fail(&self, problem: Problem) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        *self.problem.borrow_mut() = Some(problem);
        Poll::Ready(Some(Err(BrokeOff)))
    }

    /// The caller sends nothing: for how long already?
    fn poll_pause(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut pause = self.pause.borrow_mut();
        let idle_timeout = self.bounds.idle_timeout;
        let pause = pause.get_or_insert_with(|| Box::pin(sleep(idle_timeout)));
        if !self.pausing.replace(true) {
            pause.as_mut().reset(Instant::now() + idle_timeout);
        }
        pause.as_mut().poll(cx)
    }

    fn note(&self, frame: &Frame<Bytes>) -> Result<(), Problem> {
        self.progress.set(Instant::now());
        self.pausing.set(false);
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        self.bytes.set(self.bytes.get().saturating_add(bytes));
        let max = self.bounds.bytes_max;
        if max > 0 && self.bytes.get() > max {
            Err(Problem::TooLarge)
        } else {
            Ok(())
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        let shared = &self.0;
        if shared.held.get() {
            *shared.waker.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        shared.touched.set(true);
        let polled = Pin::new(&mut *shared.incoming.borrow_mut()).poll_frame(cx);
        match polled {
            Poll::Pending => {
                ready!(shared.poll_pause(cx));
                shared.fail(Problem::RequestTimeout)
            }
            Poll::Ready(None) => {
                shared.finished.set(true);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_broken))) => {
                shared.fail(Problem::BadRequest("its body is malformed or broke off"))
            }
            Poll::Ready(Some(Ok(frame))) => match shared.note(&frame) {
                Ok(()) => {
                    let ended = shared.incoming.borrow().is_end_stream();
                    shared.finished.set(ended || frame.is_trailers());
                    Poll::Ready(Some(Ok(frame)))
                }
                Err(problem) => shared.fail(problem),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.incoming.borrow().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.incoming.borrow().size_hint()
    }
}
