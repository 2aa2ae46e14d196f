//! Connections to the local web server between two requests that came over data channels of their own.
//!
//! They live for a moment only: long enough for the requests that a page or a program sends together, and too short to
//! keep a server that serves one connection at a time from its other clients.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// How long an idle connection is kept.
const KEEP: Duration = Duration::from_secs(1);

/// Idle connections at a time; one more is closed instead.
const KEPT_MAX: usize = 32;

/// The idle connections; a clone holds the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// With the end of each one's time, which ascends.
    idle: Vec<(Instant, TcpStream)>,
    sweeping: bool,
}

impl Kept {
    /// Keeps a connection on which a response has just ended.
    pub(super) fn put(&self, stream: TcpStream) {
        let mut table = self.table();
        if table.idle.len() >= KEPT_MAX {
            return;
        }
        table.idle.push((Instant::now() + KEEP, stream));
        if !table.sweeping {
            table.sweeping = true;
            tokio::spawn(self.clone().sweep());
        }
    }

    /// The connection that was idle for the shortest time, if it is still open as far as is known.
    pub(super) fn take(&self) -> Option<TcpStream> {
        loop {
            let (_, stream) = self.table().idle.pop()?;
            // Nothing is due on it: whatever it has, be it its end or a byte too many, it is of no use.
            match stream.try_read(&mut [0]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Some(stream);
                }
                _ => {}
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
        table.idle.first().map(|(end, _)| *end)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
