//! The connections manager (R2, R10): keeps this handset registered, whatever happens to gateways and networks.
//!
//! It has one live connection, and at times one that is coming to take its place. It handles no request: see
//! [`crate::connection`] and [`crate::data_channel`].

use std::sync::Arc;
use std::time::Duration;

use everline_protocol::{ErrorCode, Millis};
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

/// How long writing down the last of what was done may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

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
        put_off: None,
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
    // Also if some were cut off: what others did is to stand in the audit log.
    if timeout(WRITE_TIMEOUT, channels.written()).await.is_err() {
        tracing::warn!("the last of what was done could not be written down in time");
    }
}

struct Manager {
    surroundings: Surroundings,
    reporting: mpsc::Sender<(u64, Report)>,
    pace: Pace,
    epoch: Instant,
    /// Of the connection that was started last.
    number: u64,
    /// The next attempt, if one is wanted. While one is coming it is a RECONNECT's alone, which takes its place.
    next: Option<Dial>,
    /// The return to a gateway of higher preference that would be next, were another timeout not asked for first.
    put_off: Option<Dial>,
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
                self.next = self.after(&attempt);
                // The new session is there: only now is the one that it replaces closed (PROTOCOL 3.4).
                drop(self.live.replace(attempt));
            }
            // RECONNECT comes behind CONNREGISTERED, which makes an attempt live.
            Report::Reconnect { .. } | Report::Learnt { .. } => self.coming = Some(attempt),
            Report::Ended(end) if attempt.dial.optional && self.live.is_some() => {
                tracing::info!(gateway = %attempt.dial.to, "the handset stays where it is: {end}");
                self.surroundings.status.ended(end.to_string(), true);
                self.stay(&attempt.dial);
            }
            Report::Ended(end) => self.wait(&attempt, &end, None),
        }
    }

    fn of_live(&mut self, attempt: Attempt, report: Report) {
        match report {
            Report::Reconnect { after, to } => {
                // One that is coming only for something better is no answer to it, and may come to nothing.
                if self
                    .coming
                    .as_ref()
                    .is_none_or(|coming| coming.dial.optional)
                {
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
                    self.put_off = self.next.take();
                    self.next = Some(self.pace.renew(&attempt.dial, self.now()));
                }
                self.live = Some(attempt);
            }
            Report::Registered { .. } => self.live = Some(attempt),
            Report::Ended(end) if self.coming.is_some() => {
                tracing::debug!("the old connection ended: {end}");
                // The one that is coming replaced it, as it should; otherwise there is none for the moment.
                if !matches!(end, End::Closed(ErrorCode::Replaced)) {
                    add(&self.surroundings.status.counts().losses);
                    self.surroundings.status.ended(end.to_string(), false);
                }
            }
            Report::Ended(end) => {
                let lived = self.now().since(attempt.since);
                self.wait(&attempt, &end, Some(lived));
            }
        }
    }

    /// What is next once `attempt` is registered.
    fn after(&mut self, attempt: &Attempt) -> Option<Dial> {
        let Attempt { dial, since, .. } = attempt;
        let renewed = self
            .live
            .as_ref()
            .is_some_and(|live| live.dial.to == dial.to);
        let put_off = self.put_off.take().filter(|_| renewed);
        // A RECONNECT that came meanwhile is not answered by another session with the same gateway.
        let asked = self.next.take().filter(|next| renewed && !next.optional);
        asked.or_else(|| self.pace.registered(dial, put_off, *since))
    }

    /// An attempt at something better failed, and the session goes on.
    fn stay(&mut self, failed: &Dial) {
        let (Some(live), None) = (&self.live, &self.next) else {
            // A RECONNECT came meanwhile.
            return;
        };
        let (live, put_off, now) = (live.dial.clone(), self.put_off.take(), self.now());
        self.next = match failed.to == live.to {
            // It was for another timeout, which says nothing of gateways of higher preference.
            true => self.pace.registered(&live, put_off, now),
            false => self.pace.return_failed(&live, now),
        };
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
