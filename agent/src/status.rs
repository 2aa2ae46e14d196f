//! What the agent says of itself: whether it is registered, what that costs, what it has done.
//!
//! The connections manager and the data channels write here; `agent status`, the metrics and the owner's screen read.
//! There is nothing personal in it: no number, no user, no request.

pub mod metrics;
pub mod told;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::keepalive::packets_per_hour;

/// What is known at this moment; a clone is the same one.
#[derive(Clone)]
pub struct Status(Arc<Shared>);

struct Shared {
    started: SystemTime,
    link: Mutex<Link>,
    counts: Counts,
    /// Asked when somebody wants to know.
    prompts: OnceLock<Box<dyn Fn() -> usize + Send + Sync>>,
}

/// The signaling connection.
#[derive(Debug, Clone, Default)]
struct Link {
    /// Where it is registered, and since when.
    registered: Option<(String, SystemTime)>,
    timeout_s: u32,
    learnt: Option<Learnt>,
    last_fault: Option<String>,
}

/// What was learnt of the network; see [`crate::keepalive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learnt {
    /// The longest silence that survived.
    pub survived_s: u32,
    /// Whether the search is over.
    pub settled: bool,
}

/// What has happened since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Signaling connections that were begun.
    pub dials: AtomicU64,
    /// Those that were registered.
    pub registrations: AtomicU64,
    /// Registered ones that were lost.
    pub losses: AtomicU64,
    /// KEEPALIVEs that were answered.
    pub keepalives: AtomicU64,
    /// Data channels that were opened, one for each request that was signalled; a kept one brings more of them.
    pub channels_opened: AtomicU64,
    /// Requests that were signalled and left to the gateway.
    pub requests_left: AtomicU64,
    /// Data channels that are open.
    pub channels: AtomicU64,
}

/// All of it, as `agent status --json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The agent's version.
    pub version: String,
    /// Seconds since its start.
    pub uptime_s: u64,
    /// Whether the handset is registered.
    pub registered: bool,
    /// With which gateway.
    pub gateway: Option<String>,
    /// Since when, RFC 3339.
    pub since: Option<String>,
    /// Seconds between two signs of life.
    pub timeout_s: Option<u32>,
    /// What was learnt of the network, if the timeout is `"auto"`.
    pub learnt: Option<Learnt>,
    /// What signs of life cost.
    pub keepalive_packets_per_hour: Option<u32>,
    /// KEEPALIVEs that were answered.
    pub keepalives: u64,
    /// Registrations after the first.
    pub reconnects: u64,
    /// Why the last connection ended or could not be made.
    pub last_fault: Option<String>,
    /// Data channels that were opened, one for each request that was signalled; a kept one brings more of them.
    pub channels_opened: u64,
    /// Requests that were left to the gateway: too many at once.
    pub requests_left: u64,
    /// Data channels that are open.
    pub channels: u64,
    /// Prompts that wait for the owner; null: there is no notifier.
    pub prompts: Option<u64>,
}

impl Default for Status {
    fn default() -> Self {
        Self(Arc::new(Shared {
            started: SystemTime::now(),
            link: Mutex::default(),
            counts: Counts::default(),
            prompts: OnceLock::new(),
        }))
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

impl Status {
    /// For those who count.
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Says who knows how many prompts wait; the first who does is asked.
    pub fn watch_prompts(&self, prompts: impl Fn() -> usize + Send + Sync + 'static) {
        let _ = self.0.prompts.set(Box::new(prompts));
    }

    /// The handset is registered.
    pub fn registered(&self, gateway: String, timeout_s: u32, learnt: Option<Learnt>) {
        add(&self.counts().registrations);
        let mut link = self.link();
        link.registered = Some((gateway, SystemTime::now()));
        link.timeout_s = timeout_s;
        link.learnt = learnt;
    }

    /// More is known of the network.
    pub fn learnt(&self, learnt: Learnt) {
        self.link().learnt = Some(learnt);
    }

    /// A connection ended, or was not made. `live`: another one is registered all the same.
    pub fn ended(&self, fault: String, live: bool) {
        let mut link = self.link();
        link.last_fault = Some(fault);
        if !live {
            link.registered = None;
        }
    }

    /// As `GET /api/connection` of the owner's API.
    pub fn connection(&self) -> serde_json::Value {
        let Snapshot {
            registered,
            gateway,
            since,
            timeout_s,
            keepalive_packets_per_hour,
            last_fault,
            ..
        } = self.snapshot();
        serde_json::json!({
            "registered": registered,
            "gateway": gateway,
            "since": since,
            "timeout_s": timeout_s,
            "keepalive_packets_per_hour": keepalive_packets_per_hour,
            "last_fault": last_fault,
        })
    }

    /// All of it.
    pub fn snapshot(&self) -> Snapshot {
        let link = self.link().clone();
        let counts = self.counts();
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let since = link.registered.as_ref().map(|(_, since)| *since);
        let moment = |at: SystemTime| {
            OffsetDateTime::from(at)
                .replace_nanosecond(0)
                .ok()?
                .format(&Rfc3339)
                .ok()
        };
        let prompts = self.0.prompts.get();
        let timeout_s = since.map(|_| link.timeout_s);
        Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.0.started.elapsed().unwrap_or_default().as_secs(),
            registered: since.is_some(),
            since: since.and_then(moment),
            gateway: link.registered.map(|(gateway, _)| gateway),
            timeout_s,
            learnt: link.learnt,
            keepalive_packets_per_hour: timeout_s.map(packets_per_hour),
            keepalives: count(&counts.keepalives),
            reconnects: count(&counts.registrations).saturating_sub(1),
            last_fault: link.last_fault,
            channels_opened: count(&counts.channels_opened),
            requests_left: count(&counts.requests_left),
            channels: count(&counts.channels),
            prompts: prompts.map(|prompts| prompts() as u64),
        }
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.0.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more.
pub fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// For a person.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = "?";
        if self.registered {
            let gateway = self.gateway.as_deref().unwrap_or(unknown);
            let since = self.since.as_deref().unwrap_or(unknown);
            writeln!(f, "registered  with {gateway} since {since}")?;
        } else {
            writeln!(f, "registered  no")?;
        }
        if let (Some(timeout_s), Some(packets)) = (self.timeout_s, self.keepalive_packets_per_hour)
        {
            writeln!(
                f,
                "keep-alive  every {timeout_s} s, {packets} packets an hour, {} answered",
                self.keepalives
            )?;
        }
        if let Some(Learnt {
            survived_s,
            settled,
        }) = self.learnt
        {
            let search = if settled {
                "which is the longest that does"
            } else {
                "longer ones are being tried"
            };
            writeln!(
                f,
                "network     lets {survived_s} s of silence live, {search}"
            )?;
        }
        writeln!(f, "reconnects  {}", self.reconnects)?;
        if let Some(fault) = &self.last_fault {
            writeln!(f, "last fault  {fault}")?;
        }
        writeln!(
            f,
            "channels    {} opened for requests, {} open now, {} requests left to the gateway",
            self.channels_opened, self.channels, self.requests_left
        )?;
        if let Some(prompts) = self.prompts {
            writeln!(f, "prompts     {prompts} waiting for the owner")?;
        }
        write!(
            f,
            "agent       {}, up for {} s",
            self.version, self.uptime_s
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r10_the_status_follows_the_connection() {
        let status = Status::default();
        assert!(
            status
                .snapshot()
                .to_string()
                .starts_with("registered  no\nreconnects  0\n")
        );
        let learnt = Learnt {
            survived_s: 600,
            settled: false,
        };
        status.registered("g:7000".to_owned(), 300, Some(learnt));
        status.watch_prompts(|| 2);
        let told = status.snapshot().to_string();
        assert!(
            told.starts_with("registered  with g:7000 since 2"),
            "{told}"
        );
        assert!(told.contains("every 300 s, 36 packets an hour"), "{told}");
        assert!(
            told.contains("lets 600 s of silence live, longer ones are being tried"),
            "{told}"
        );
        assert!(told.contains("2 waiting for the owner"), "{told}");
        add(&status.counts().channels_opened);
        let told = status.snapshot().to_string();
        assert!(
            told.contains("channels    1 opened for requests, 0 open now"),
            "{told}"
        );
        status.ended("lost".to_owned(), true);
        assert!(status.snapshot().registered, "another one took over");
        status.ended("lost".to_owned(), false);
        let gone = status.snapshot();
        assert_eq!(
            (gone.registered, gone.timeout_s, gone.last_fault.as_deref()),
            (false, None, Some("lost"))
        );
    }
}
