//! The connections manager (R2, R10): keeps this handset registered, whatever happens to gateways and networks.
//!
//! It has one live connection, and at times one that is coming to take its place. It handles no request: see
//! [`crate::connection`] and [`crate::data_channel`].

use std::sync::Arc;
use std::time::Duration;

use everline_protocol::Millis;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{Config, KeepAlive};
use crate::connection::{Connection, End, Report, Surroundings};
use crate::data_channel::DataChannels;
use crate::keepalive::Lessons;
use crate::names::Names;
use crate::pace::{Dial, Pace};
use crate::serve::Serve;
use crate::status::{Status, add};

/// Reports that wait for the manager at most.
const REPORTS_MAX: usize = 16;

/// How long saying BYE may take.
const BYE_TIMEOUT: Duration = Duration::from_secs(2);

/// Keeps the handset registered until `shutdown`; then leaves, and lets requests in progress finish.
pub async fn run(
    config: &Config,
    serve: Serve,
    status: Status,
    shutdown: impl Future<Output = ()>,
) {
    let (reporting, mut reports) = mpsc::channel(REPORTS_MAX);
    let names = Names::default();
    let channels = DataChannels::new(&config.data, serve, names.clone(), status.clone());
    let lessons = match &config.signaling.timeout {
        KeepAlive::Fixed(_) => None,
        KeepAlive::Auto { bounds, file } => Some(Lessons::open(*bounds, file)),
    };
    let pace = Pace::new(&config.signaling.gateways);
    let mut manager = Manager {
        surroundings: Surroundings {
            signaling: Arc::new(config.signaling.clone()),
            names,
            lessons,
            status,
            channels: channels.clone(),
        },
        reporting,
        epoch: Instant::now(),
        number: 0,
        next: Some(pace.first()),
        pace,
        coming: None,
        live: None,
    };
    tracing::info!(msisdn = %config.signaling.msisdn.masked(), "the handset starts");
    tokio::pin!(shutdown);
    loop {
        let due = manager.next.as_ref().map(|dial| manager.instant(dial.at));
        tokio::select! {
            () = sleep_until(due.unwrap_or(manager.epoch)), if due.is_some() => manager.dial(),
            Some((number, report)) = reports.recv() => manager.report(number, report),
            () = &mut shutdown => break,
        }
    }
    tracing::info!("the handset leaves");
    drop(manager.coming);
    if let Some(live) = manager.live {
        live.connection.leave(BYE_TIMEOUT).await;
    }
    if timeout(config.shutdown_timeout, channels.finish())
        .await
        .is_err()
    {
        tracing::warn!("requests were still in progress");
    }
}

struct Manager {
    surroundings: Surroundings,
    reporting: mpsc::Sender<(u64, Report)>,
    pace: Pace,
    epoch: Instant,
    /// Of the connection that was started last.
    number: u64,
    /// The next attempt, unless one is coming or none is wanted.
    next: Option<Dial>,
    /// Not registered yet.
    coming: Option<Attempt>,
    /// Registered.
    live: Option<Attempt>,
}

struct Attempt {
    connection: Connection,
    dial: Dial,
    /// When it was registered; before that, when it was begun.
    since: Millis,
}

impl Manager {
    fn now(&self) -> Millis {
        Millis(u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn instant(&self, at: Millis) -> Instant {
        self.epoch + Duration::from_millis(at.0)
    }

    fn dial(&mut self) {
        let Some(dial) = self.next.take() else {
            return;
        };
        self.number += 1;
        add(&self.surroundings.status.counts().dials);
        tracing::debug!(gateway = %dial.to, "dialling");
        self.coming = Some(Attempt {
            connection: Connection::start(
                self.number,
                self.surroundings.clone(),
                dial.to.clone(),
                self.reporting.clone(),
            ),
            dial,
            since: self.now(),
        });
    }

    fn report(&mut self, number: u64, report: Report) {
        let is = |attempt: &mut Attempt| attempt.connection.number == number;
        // A connection that was closed in the meantime may have had a report on its way.
        if let Some(attempt) = self.coming.take_if(is) {
            self.of_coming(attempt, report);
        } else if let Some(attempt) = self.live.take_if(is) {
            self.of_live(attempt, report);
        }
    }

    fn of_coming(&mut self, mut attempt: Attempt, report: Report) {
        match report {
            Report::Registered {
                session,
                timeout_s,
                learnt,
            } => {
                tracing::info!(%session, timeout_s, gateway = %attempt.dial.to, "registered");
                let status = &self.surroundings.status;
                status.registered(attempt.dial.to.to_string(), timeout_s, learnt);
                attempt.since = self.now();
                self.next = self.pace.registered(&attempt.dial, attempt.since);
                // The new session is there: only now is the one that it replaces closed (PROTOCOL 3.4).
                drop(self.live.replace(attempt));
            }
            // RECONNECT comes behind CONNREGISTERED, which makes an attempt live.
            Report::Reconnect { .. } | Report::Learnt { .. } => self.coming = Some(attempt),
            Report::Ended(end) if attempt.dial.optional && self.live.is_some() => {
                tracing::info!(gateway = %attempt.dial.to, "the handset stays where it is: {end}");
                let live = self.live.as_ref().map(|live| live.dial.clone());
                let now = self.now();
                self.next = live.and_then(|live| self.pace.return_failed(&live, now));
                self.surroundings.status.ended(end.to_string(), true);
            }
            Report::Ended(end) => self.wait(&attempt, &end, None),
        }
    }

    fn of_live(&mut self, attempt: Attempt, report: Report) {
        match report {
            Report::Reconnect { after, to } => {
                if self.coming.is_none() {
                    tracing::info!(
                        after_ms = after.0,
                        "the gateway asks the handset to register anew"
                    );
                    self.next = Some(self.pace.reconnect(after, to, &attempt.dial, self.now()));
                }
                self.live = Some(attempt);
            }
            Report::Learnt { learnt, renew } => {
                self.surroundings.status.learnt(learnt);
                let free =
                    self.coming.is_none() && self.next.as_ref().is_none_or(|next| next.optional);
                if renew && free {
                    tracing::debug!("another keep-alive timeout is asked for");
                    self.next = Some(self.pace.renew(&attempt.dial, self.now()));
                }
                self.live = Some(attempt);
            }
            Report::Registered { .. } => self.live = Some(attempt),
            // The one that is coming replaced it: as it should.
            Report::Ended(end) if self.coming.is_some() => {
                tracing::debug!("the old connection ended: {end}");
            }
            Report::Ended(end) => {
                let lived = self.now().since(attempt.since);
                self.wait(&attempt, &end, Some(lived));
            }
        }
    }

    fn wait(&mut self, attempt: &Attempt, end: &End, lived: Option<Millis>) {
        let now = self.now();
        if lived.is_some() {
            add(&self.surroundings.status.counts().losses);
        }
        let live = self.live.is_some();
        self.surroundings.status.ended(end.to_string(), live);
        if let (End::Unreachable(_), Some(lessons)) = (end, &self.surroundings.lessons) {
            lessons.acquit();
        }
        // Without the system's randomness the clock's finest digits still spread handsets.
        let random = getrandom::u64().unwrap_or_else(|_| {
            let nanos = self.epoch.elapsed().subsec_nanos();
            u64::from(nanos).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let next = self.pace.ended(end, &attempt.dial, lived, now, random);
        tracing::warn!(gateway = %attempt.dial.to, retry_in_ms = next.at.since(now).0, "{end}");
        self.next = Some(next);
    }
}
