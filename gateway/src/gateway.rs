//! Starts all of it, stops all of it: listeners, shards, store, workers, admin.
//!
//! Every thread reports its end here. One that ends while nobody asked it to, by a panic or an error, ends the gateway:
//! half of one would hold handsets that nobody can reach. [`Gateway::wait`] tells; `main` turns it into an exit code.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use everline_uring::RingError;
use tokio::sync::watch;

use crate::admin::{self, Admin};
use crate::config::{Auth, Config};
use crate::directory::Directory;
use crate::drain::DrainRequest;
use crate::limits::{Bounds, Limits};
use crate::machine::Machine;
use crate::metrics::{MetricsError, recorder};
use crate::pending::Pending;
use crate::registration::{Admission, KeySetError, Verifier};
use crate::shard;
use crate::shard::mailbox::Shards;
use crate::shard::turns::Turns;
use crate::shared::{Phase, PhaseCell, Shared};
use crate::store::{self, StoreHandle};

mod listeners;
mod threads;

use listeners::{listen, listening, worker_listeners};
use threads::{
    Happened, JOIN_MARGIN, Threads, join, prepare_shards, start_admin, start_workers, stop_shards,
};

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No ring: the kernel, or what surrounds it, does not offer one.
    #[error("io_uring: {0}")]
    Ring(#[from] RingError),
    /// The keys can't be read.
    #[error("auth.jwks_file: {0}")]
    Keys(#[from] KeySetError),
    /// A port can't be listened on.
    #[error("cannot listen on {listen} ([{section}]): {error}")]
    Listen {
        /// Of the configuration.
        section: &'static str,
        /// As configured.
        listen: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The metrics can't be set up.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A thread or a runtime can't be started.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// A thread ended though nobody asked it to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the thread {thread} ended: {why}")]
pub struct Broken {
    /// Its name.
    pub thread: String,
    /// Its error, or its panic's text.
    pub why: String,
}

/// Where the gateway listens; differs from the configuration where that says port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Handsets connect here.
    pub signaling: SocketAddr,
    /// Handsets open data channels here.
    pub data: SocketAddr,
    /// Callers connect here.
    pub ingress: SocketAddr,
    /// The operator's port.
    pub admin: SocketAddr,
}

/// How many threads there are, and how large their tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Shard threads.
    pub shards: usize,
    /// Slots of each shard's table.
    pub slots: u32,
    /// Worker threads.
    pub workers: usize,
}

impl Sizes {
    /// What this configuration asks for on this machine.
    pub fn of(config: &Config, machine: &Machine) -> Self {
        let table = machine.table_slots as usize;
        let (cores, sessions) = match config.signaling.shards {
            // As many shards as the operator said hold the sessions among themselves.
            Some(shards) => (
                shards,
                config
                    .signaling
                    .sessions_max
                    .min(shards.saturating_mul(table)),
            ),
            None => (machine.cores, config.signaling.sessions_max),
        };
        let (wanted, slots) = shard::shard_count(sessions, cores, table);
        let (shards, slots) = match config.signaling.shards {
            Some(shards) if shards < wanted => (shards, machine.table_slots),
            Some(shards) => (shards, slots),
            None => (wanted, slots),
        };
        Self {
            shards,
            slots,
            workers: config.ingress.workers.unwrap_or(machine.cores).max(1),
        }
    }
}

/// A running gateway. Dropping it stops it.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    addresses: Addresses,
    drain: DrainRequest,
    events: Receiver<Happened>,
    threads: Option<Threads>,
}

impl Gateway {
    /// Starts every thread and returns when handsets and callers are served.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, false)
    }

    /// The same, and before it serves SIGTERM and SIGINT are taken over: the first begins the drain, a second one ends
    /// the process.
    pub fn start_obeying_signals(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, true)
    }

    fn start_with(config: Config, obey_signals: bool) -> Result<Self, StartError> {
        let machine = Machine::probe();
        let sizes = Sizes::of(&config, &machine);
        let recorder = recorder()?;
        let verifier = Arc::new(Verifier::from_config(&config.auth)?);
        let signaling = listen("signaling", config.signaling.listen, false)?;
        let workers = worker_listeners(&config, sizes.workers)?;
        let admin_listener =
            admin::bind(config.admin.listen).map_err(listening("admin", config.admin.listen))?;
        let (signaling_at, admin_at) = (signaling.local_addr()?, admin_listener.local_addr()?);
        let first = workers
            .first()
            .ok_or_else(|| io::Error::other("no worker"))?;
        let addresses = Addresses {
            signaling: signaling_at,
            data: first.data.local_addr()?,
            ingress: first.ingress.local_addr()?,
            admin: admin_at,
        };

        let (happened, events) = channel();
        let (prepared, mailboxes) = prepare_shards(&config, sizes, &signaling, &happened)?;
        drop(signaling);
        let (store, store_thread) = StoreHandle::start(store_options(&config))?;
        let shared = Arc::new(shared(config, Shards::new(mailboxes), machine.cores, store));
        let drain = DrainRequest::default();
        let admin = Admin {
            shared: Arc::clone(&shared),
            drain: drain.clone(),
            recorder,
        };
        let (admin, stop_admin) = start_admin(admin, admin_listener, obey_signals, &happened)?;
        let (stop_workers, stop) = watch::channel(false);
        let workers = start_workers(workers, &shared, &stop, &happened)?;
        let shards = prepared
            .into_iter()
            .map(|shard| {
                // A shard that is gone already has said so in `events`.
                let _ = shard.go.send((Arc::clone(&shared), Arc::clone(&verifier)));
                shard.thread
            })
            .collect();
        warn_if_anyone_may_register(&shared.config);
        shared.phase.advance(Phase::Serving);
        tracing::info!(
            signaling = %addresses.signaling, data = %addresses.data, ingress = %addresses.ingress, admin = %addresses.admin,
            shards = sizes.shards, slots = sizes.slots, workers = sizes.workers, "the gateway serves"
        );
        let store = Some(store_thread);
        let threads = Threads {
            shards,
            workers,
            stop_workers,
            store,
            admin,
            stop_admin,
        };
        Ok(Self {
            shared,
            addresses,
            drain,
            events,
            threads: Some(threads),
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What its threads share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Begins to leave in order; [`Gateway::wait`] tells when the handsets have had their time.
    pub fn drain(&self) {
        self.drain.leave();
    }

    /// Blocks until the drain is over (then [`Gateway::stop`] ends what is left), or a thread ended unasked.
    pub fn wait(&self) -> Result<(), Broken> {
        match self.events.recv() {
            Ok(Happened::Drained) | Err(_) => Ok(()),
            Ok(Happened::Ended(broken)) => Err(broken),
        }
    }

    /// Ends it: requests in flight may finish (bounded by `drain.finish`), handsets are cut off, the store is written.
    /// The error names a thread that broke or did not end.
    pub fn stop(mut self) -> Result<(), Broken> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Broken> {
        let Some(threads) = self.threads.take() else {
            return Ok(());
        };
        self.shared.phase.advance(Phase::Finishing);
        // Workers that are gone need no word.
        let _ = threads.stop_workers.send(true);
        let finish = self.shared.config.drain.finish + JOIN_MARGIN;
        let mut ended = join("worker", threads.workers, finish);
        stop_shards(&self.shared);
        ended = ended.and(join("shard", threads.shards, JOIN_MARGIN));
        if threads.store.is_some_and(|store| !store.stop(JOIN_MARGIN)) {
            tracing::error!("the session store did not end in time; it is left behind");
        }
        // An admin that is gone needs no word.
        let _ = threads.stop_admin.send(());
        ended = ended.and(join("admin", vec![threads.admin], JOIN_MARGIN));
        let broken = self.events.try_iter().find_map(|happened| match happened {
            Happened::Ended(broken) => Some(broken),
            Happened::Drained => None,
        });
        broken.map_or(ended, Err)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Err(broken) = self.end() {
            tracing::error!(%broken, "the gateway did not end in order");
        }
    }
}

fn shared(config: Config, shards: Shards, cores: usize, store: StoreHandle) -> Shared {
    let ingress = &config.ingress;
    let bounds = Bounds {
        requests_max: ingress.requests_max,
        per_handset_max: ingress.requests_per_handset_max,
        per_caller_max: ingress.requests_per_caller_max,
    };
    Shared {
        directory: Directory::default(),
        pending: Pending::default(),
        limits: Limits::new(bounds),
        admission: Admission::new(config.signaling.registrations_per_s_max),
        turns: Turns::new(shards.len(), cores),
        shards,
        store,
        phase: PhaseCell::default(),
        config,
    }
}

fn store_options(config: &Config) -> store::Options {
    let held = !config.request.reconnect_hold.is_zero();
    store::Options {
        path: config.store.path.clone(),
        flush_interval: config.store.flush_interval,
        pending_rows_max: config.store.pending_rows_max,
        cache_bytes: config.store.cache_bytes,
        recent: if held {
            config.request.recent
        } else {
            Duration::ZERO
        },
        departures_max: config.signaling.sessions_max,
    }
}

fn warn_if_anyone_may_register(config: &Config) {
    if matches!(config.auth, Auth::None) {
        tracing::warn!(
            "AUTHENTICATION IS OFF (auth = \"none\"): any program on this machine may register as any handset"
        );
    }
}
