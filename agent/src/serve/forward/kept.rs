//! Connections to the local web server between two requests that came over data channels of their own.
//!
//! They live for a moment only, however busy they are: long enough for the requests that a page or a program sends
//! together, and too short to keep a server that serves one connection at a time from its other clients.

use std::io;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// How long a connection may be kept for further requests, from its dial on.
pub(super) const KEEP: Duration = Duration::from_secs(2);

/// Idle connections at a time; one more is closed instead.
const KEPT_MAX: usize = 32;

/// The idle connections; a clone holds the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// With the end of each one's time.
    idle: Vec<(Instant, TcpStream)>,
    sweeping: bool,
}

impl Kept {
    /// Keeps a connection on which a response has just ended, `until` its time is over.
    pub(super) fn put(&self, stream: TcpStream, until: Instant) {
        let mut table = self.table();
        if table.idle.len() >= KEPT_MAX || until <= Instant::now() {
            return;
        }
        table.idle.push((until, stream));
        if !table.sweeping {
            table.sweeping = true;
            tokio::spawn(self.clone().sweep());
        }
    }

    /// The connection that was idle for the shortest time, if it is still open as far as is known; and until when it
    /// may be kept.
    pub(super) fn take(&self) -> Option<(TcpStream, Instant)> {
        loop {
            let (until, stream) = self.table().idle.pop()?;
            if until > Instant::now() && is_silent(&stream) {
                return Some((stream, until));
            }
        }
    }

    /// Closes them when their time is over; ends with the last one.
    async fn sweep(self) {
        while let Some(next) = self.close_due() {
            sleep_until(next).await;
        }
    }

    fn close_due(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut table = self.table();
        table.idle.retain(|(end, _)| *end > now);
        table.sweeping = !table.idle.is_empty();
        table.idle.iter().map(|(end, _)| *end).min()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a connection on which nothing is due has brought nothing, neither bytes nor its end. The kernel is asked: the
/// runtime knows of what came only after a turn of its own, and a byte too many would begin the next caller's answer.
pub(super) fn is_silent(stream: &TcpStream) -> bool {
    let peeked = SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
