//! Leaving in order: not ready, handsets told to move, requests served to their end, then out.
//!
//! SIGTERM, SIGINT and the admin's `POST /drain` begin it; a second signal ends the process at once. [`leave`] runs on
//! the admin's thread and tells when the handsets have had their time; `gateway` ends the threads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use everline_uring::SocketKey;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::directory::Place;
use crate::shard::mailbox::Letter;
use crate::shared::{Phase, Shared};

/// How often it is looked whether anything is left to wait for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Begins the drain; clones share it.
#[derive(Debug, Clone)]
pub struct DrainRequest(Arc<watch::Sender<bool>>);

impl Default for DrainRequest {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl DrainRequest {
    /// Leave; `false` if that was said before.
    pub fn leave(&self) -> bool {
        !self.0.send_replace(true)
    }

    async fn requested(&self) {
        let mut asked = self.0.subscribe();
        // An error would mean that the sender is gone, and we hold it.
        let _ = asked.wait_for(|asked| *asked).await;
    }
}

/// Waits until the drain is asked for, tells all handsets to move, and returns when they have had their time: from then
/// on new requests are refused ([`Phase::Finishing`]) and those in flight may finish.
pub async fn leave(shared: &Shared, request: &DrainRequest) {
    request.requested().await;
    shared.phase.advance(Phase::Draining);
    let drain = &shared.config.drain;
    let sessions = shared.directory.sessions();
    tracing::info!(
        sessions,
        spread_ms = drain.spread.as_millis() as u64,
        "draining: handsets are told to move, requests go on being served"
    );
    let deadline = Instant::now() + drain.spread;
    let mut untold: Vec<u16> = (0..shared.shards.len())
        .filter_map(|shard| u16::try_from(shard).ok())
        .collect();
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        look.tick().await;
        let left = deadline.saturating_duration_since(Instant::now());
        // A mailbox that is full now has room soon: the shard reads it once a turn.
        untold.retain(|shard| {
            let letter = Letter::Drain {
                spread: left,
                to: drain.reconnect_to.clone(),
            };
            shared.shards.post(any_place_of(*shard), letter).is_err()
        });
        let nobody = shared.directory.sessions() == 0 && shared.limits.in_flight() == 0;
        if left.is_zero() || nobody {
            break;
        }
    }
    shared.phase.advance(Phase::Finishing);
    tracing::info!(
        sessions = shared.directory.sessions(),
        requests = shared.limits.in_flight(),
        "finishing: the requests in flight, and no new ones"
    );
}

/// A letter to a whole shard is addressed by any place of it.
pub(crate) fn any_place_of(shard: u16) -> Place {
    Place::new(
        shard,
        SocketKey {
            slot: 0,
            generation: 0,
        },
        0,
    )
}

/// SIGTERM and SIGINT, which from here on no longer end the process by themselves.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over; must be called inside a runtime.
    pub fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Turns the first one into a drain, and the second into the end of the process.
    pub async fn obey(mut self, request: DrainRequest) {
        let signal = self.next().await;
        tracing::info!(signal, "leaving; a second signal ends at once");
        request.leave();
        let signal = self.next().await;
        tracing::warn!(signal, "a second signal: ending at once");
        std::process::exit(1);
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
