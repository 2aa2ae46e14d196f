//! A handset's response body on its way to the caller: each part at once, bounded in silence, never cut short in silence.
//!
//! `relay` makes it, `respond` hands it to the caller's connection. When it has ended whole, its data channel goes back
//! to the idle ones; in every other case the channel is closed by being dropped.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::channel::Channel;
use crate::directory::Place;
use crate::idle_channels::IdleChannels;
use crate::request_body::Upload;

/// The body, and all that hangs on its end.
pub struct Download {
    incoming: Incoming,
    upload: Upload,
    idle_timeout: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    pausing: bool,
    state: State,
    channel: Option<Channel>,
    keep: Option<(IdleChannels, Place)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Going,
    Ended,
    Broken,
}

/// The handset closed or fell silent inside its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the handset's response broke off")]
pub struct BrokeOff;

impl Download {
    /// Of a response whose head has come over `channel`. `keep`: where the channel goes afterwards, if it may live on.
    pub fn new(
        incoming: Incoming,
        upload: Upload,
        channel: Channel,
        idle_timeout: Duration,
        keep: Option<(IdleChannels, Place)>,
    ) -> Self {
        Self {
            incoming,
            upload,
            idle_timeout,
            pause: None,
            pausing: false,
            state: State::Going,
            channel: Some(channel),
            keep,
        }
    }

    /// Whether all of it was given to the caller's connection.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended || (self.state == State::Going && self.incoming.is_end_stream())
    }

    /// Whether it broke off, by the handset's fault.
    pub fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let pause = self
            .pause
            .get_or_insert_with(|| Box::pin(sleep(self.idle_timeout)));
        if !self.pausing {
            self.pausing = true;
            pause.as_mut().reset(Instant::now() + self.idle_timeout);
        }
        pause.as_mut().poll(cx)
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending => {
                ready!(self.poll_pause(cx));
                self.state = State::Broken;
                Poll::Ready(Some(Err(BrokeOff)))
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.pausing = false;
                if frame.is_trailers() {
                    self.state = State::Ended;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_broken))) => {
                self.state = State::Broken;
                Poll::Ready(Some(Err(BrokeOff)))
            }
            Poll::Ready(None) => {
                self.state = State::Ended;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // A request that was not sent whole leaves the channel in the middle of it.
        let clean = self.is_ended() && self.upload.is_finished();
        if let (true, Some(channel), Some((idle, place))) =
            (clean, self.channel.take(), self.keep.take())
        {
            idle.keep(place, channel);
        }
    }
}
