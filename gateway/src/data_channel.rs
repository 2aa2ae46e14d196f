//! \[4\] Accepts what handsets open on the data port, and hands each channel to the request that its DATA line names.
//!
//! Every worker runs one; the request may wait on another worker. Bytes behind the DATA line break PROTOCOL 5.1 (the
//! handset has not read the request yet): such a channel is refused, and its request goes on waiting for a better one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use everline_protocol::{DataLine, DataStep, ErrorCode, RequestId, error_line};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

use crate::meters::Meters;
use crate::shared::Shared;
use crate::stream::{Listener, Stream};

/// Accepts until it is dropped.
pub async fn accept(listener: Listener, shared: Arc<Shared>, meters: Rc<Meters>) {
    let unbound = Rc::new(Unbound::default());
    loop {
        let (stream, _peer) = listener.accept().await;
        if unbound.is_full(shared.config.data.unbound_max) {
            unbound.end_oldest();
            meters.channels.refused.increment(1);
        }
        let place = Place::take(&unbound);
        let number = place.number;
        let (shared, meters) = (Arc::clone(&shared), Rc::clone(&meters));
        let task = spawn_local(async move {
            let _place = place;
            serve(stream, &shared, &meters).await;
        });
        unbound
            .tasks
            .borrow_mut()
            .insert(number, task.abort_handle());
    }
}

/// The connections that have not yet said whose they are, oldest first.
///
/// A handset says it at once, so the one that has been silent for longest is the least likely to be one: where there
/// are too many it makes room, or a crowd of strangers would keep every handset out.
#[derive(Default)]
struct Unbound {
    tasks: RefCell<BTreeMap<u64, AbortHandle>>,
    accepted: Cell<u64>,
}

impl Unbound {
    fn is_full(&self, unbound_max: usize) -> bool {
        self.tasks.borrow().len() >= unbound_max
    }

    /// Ends the oldest. Nothing is known of this peer, so nothing is said to it.
    fn end_oldest(&self) {
        let oldest = self.tasks.borrow_mut().pop_first();
        if let Some((_number, task)) = oldest {
            task.abort();
        }
    }
}

/// A connection's entry among them; given back when dropped.
struct Place {
    unbound: Rc<Unbound>,
    number: u64,
}

impl Place {
    fn take(unbound: &Rc<Unbound>) -> Self {
        let number = unbound.accepted.get();
        unbound.accepted.set(number.wrapping_add(1));
        Self {
            unbound: Rc::clone(unbound),
            number,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.unbound.tasks.borrow_mut().remove(&self.number);
    }
}

async fn serve(mut stream: Stream, shared: &Shared, meters: &Meters) {
    let named = timeout(
        shared.config.data.bind_timeout,
        named_request(&mut stream, shared),
    )
    .await;
    let refusal = match named {
        Ok(Ok(id)) => return bind(stream, id, shared, meters).await,
        Ok(Err(NoLine::Closed)) => return meters.channels.closed.increment(1),
        Ok(Err(NoLine::Bad(code))) => {
            meters.channels.bad_line.increment(1);
            code
        }
        Err(_elapsed) => {
            meters.channels.bind_timeout.increment(1);
            ErrorCode::ConnectTimeout
        }
    };
    tracing::debug!(code = refusal.name(), "a data channel was refused");
    refuse(stream, refusal).await;
}

/// Why a connection named no request.
enum NoLine {
    /// It ended, or its PROXY header was bad: nobody would read an answer.
    Closed,
    /// To be answered with this.
    Bad(ErrorCode),
}

async fn named_request(stream: &mut Stream, shared: &Shared) -> Result<RequestId, NoLine> {
    if shared.config.data.proxy_protocol {
        stream
            .read_proxy_header()
            .await
            .map_err(|_bad| NoLine::Closed)?;
    }
    let mut line = DataLine::default();
    loop {
        let bytes = stream.read_some().await.map_err(|_io| NoLine::Closed)?;
        if bytes.is_empty() {
            return Err(NoLine::Closed);
        }
        match line.input(&bytes) {
            DataStep::More => {}
            DataStep::Bound { id, used } if used == bytes.len() => return Ok(id),
            DataStep::Bound { .. } => return Err(NoLine::Bad(ErrorCode::BadLine)),
            DataStep::Bad(code) => return Err(NoLine::Bad(code)),
        }
    }
}

async fn bind(stream: Stream, id: RequestId, shared: &Shared, meters: &Meters) {
    let Some(claim) = shared.pending.take(id) else {
        meters.channels.unknown_request.increment(1);
        return refuse(stream, ErrorCode::UnknownRequest).await;
    };
    // A socket that cannot change threads is broken; the request is then told that its handset left it.
    let Ok(handover) = stream.into_handover() else {
        return meters.channels.closed.increment(1);
    };
    match claim.hand_over(handover) {
        Ok(()) => meters.channels.bound.increment(1),
        Err(handover) => {
            meters.channels.unknown_request.increment(1);
            let stream = Stream::from_handover(handover, shared.config.ingress.write_timeout);
            refuse(stream, ErrorCode::UnknownRequest).await;
        }
    }
}

/// Says why, and closes so that the handset can read it.
async fn refuse(mut stream: Stream, code: ErrorCode) {
    if stream.write_all(&error_line(code)).await.is_ok() {
        stream.close_in_order().await;
    }
}
