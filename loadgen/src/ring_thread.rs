//! A thread with a ring of its own, as each fleet and the rogues of a phase have: the ring is made on the thread, since
//! no other may use it, and whoever starts the thread hears whether there is one.

use std::io;
use std::thread::JoinHandle;

use everline_uring::{Ring, RingConfig, RingError, Sockets as _, Waker};

/// A thread or its ring that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NoRingThread {
    /// No ring.
    #[error("no io_uring, and handsets cannot be held without it: {0}")]
    Ring(#[from] RingError),
    /// No thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// Starts a thread of this name that works with a ring, and returns once that ring is there.
pub(crate) fn start<T: Send + 'static>(
    name: String,
    config: RingConfig,
    work: impl FnOnce(Ring) -> io::Result<T> + Send + 'static,
) -> Result<(Waker, JoinHandle<io::Result<T>>), NoRingThread> {
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        // The receiver waits for exactly one word; that it hears it is not this thread's concern.
        match Ring::new(config) {
            Ok(ring) => {
                let _ = ready.send(Ok(ring.waker()));
                work(ring)
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                Err(io::Error::other("no ring"))
            }
        }
    })?;
    let waker = is_ready
        .recv()
        .map_err(|_gone| io::Error::other("it did not say whether it has a ring"))??;
    Ok((waker, thread))
}
