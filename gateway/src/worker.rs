//! The thread that carries requests: it runs the ingress, the data port and everything between them on one runtime.
//!
//! `gateway` starts one a core, each with its own listeners on the shared ports. Nothing here is shared between workers
//! but [`Shared`]: a data channel that another worker accepted comes over through [`Shared::pending`].

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::LocalOptions;
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::carry::Carrier;
use crate::meters::Meters;
use crate::shared::Shared;
use crate::stream::Listener;
use crate::{data_channel, ingress};

/// How often a worker that has ended looks whether the others have.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Shorter than any time that a request is given, and long enough to cost nothing.
const BEAT: Duration = Duration::from_secs(1);

/// A worker's listeners: non-blocking, with `SO_REUSEPORT` if there are several workers.
#[derive(Debug)]
pub struct WorkerSockets {
    /// Where callers connect.
    pub ingress: TcpListener,
    /// Where handsets open data channels.
    pub data: TcpListener,
}

/// The body of worker number `index`. Blocks until `stop` says `true` (or its sender is gone): from then on no caller
/// is accepted, and it returns when the requests in flight have ended, at the latest after `drain.finish`.
pub fn run(
    index: usize,
    sockets: WorkerSockets,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async {
        // On a task, because whatever wakes the runtime's first future wakes it by way of the kernel.
        match spawn_local(serve(index, sockets, shared, stop)).await {
            Ok(served) => served,
            Err(panicked) => Err(io::Error::other(panicked)),
        }
    })
}

async fn serve(
    index: usize,
    sockets: WorkerSockets,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let write_timeout = shared.config.ingress.write_timeout;
    let callers = Listener::new(sockets.ingress, write_timeout)?;
    let handsets = Listener::new(sockets.data, write_timeout)?;
    let finish = shared.config.drain.finish;
    let meters = Rc::new(Meters::new());
    // A timer that is due before all others makes the runtime write to its own eventfd: with this one there, no request
    // sets such a timer.
    spawn_local(async {
        loop {
            sleep(BEAT).await;
        }
    });
    // Data channels are accepted until the last request has ended: those in flight may still wait for theirs.
    let data_port = spawn_local(data_channel::accept(
        handsets,
        Arc::clone(&shared),
        Rc::clone(&meters),
    ));
    let mut stopped = stop.clone();
    let time_is_over = spawn_local(async move {
        // An error is a sender that is gone, which says the same.
        let _ = stopped.wait_for(|stop| *stop).await;
        sleep(finish).await;
    });
    let carrier = Rc::new(Carrier::new(Arc::clone(&shared), meters));
    let left = ingress::accept(callers, carrier, stop, finish).await;
    // The data port is common to all workers: the kernel may bring a handset here whose request another one carries.
    tokio::select! {
        () = nothing_in_flight(&shared) => {}
        _ = time_is_over => {}
    }
    data_port.abort();
    if left > 0 {
        tracing::warn!(
            worker = index,
            connections = left,
            "requests were cut off by the end of the drain"
        );
    }
    Ok(())
}

async fn nothing_in_flight(shared: &Shared) {
    while shared.limits.in_flight() > 0 {
        sleep(LOOK_EVERY).await;
    }
}
