//! Starts all of it, stops all of it: listeners, shards, store, workers, admin.
//!
//! Every thread reports its end here. One that ends while nobody asked it to, by a panic or an error, ends the gateway:
//! half of one would hold handsets that nobody can reach. [`Gateway::wait`] tells; `main` turns it into an exit code.

use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use everline_uring::{Ring, RingConfig, RingError, Sockets};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{oneshot, watch};

use crate::admin::{self, Admin};
use crate::config::{Auth, Config};
use crate::directory::Directory;
use crate::drain::{self, DrainRequest};
use crate::limits::{Bounds, Limits};
use crate::machine::Machine;
use crate::metrics::{MetricsError, recorder};
use crate::pending::Pending;
use crate::registration::{Admission, KeySetError, Verifier};
use crate::shard;
use crate::shard::clock::SystemClock;
use crate::shard::mailbox::{Letter, Mailbox, Shards};
use crate::shared::{Phase, PhaseCell, Shared};
use crate::store::{self, StoreHandle, StoreThread};
use crate::worker::{self, WorkerSockets};

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;
/// Transfers under way at once in one shard; a signaling line fits into one buffer.
const RING_BUFFERS: u32 = 64;
const RING_BUFFER_BYTES: usize = 4_096;
const RING_ENTRIES: u32 = 256;
/// What a thread may take to end beyond what it was given to finish its work.
const JOIN_MARGIN: Duration = Duration::from_secs(10);

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

#[derive(Debug)]
struct Threads {
    shards: Vec<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
    stop_workers: watch::Sender<bool>,
    store: Option<StoreThread>,
    admin: JoinHandle<()>,
    stop_admin: oneshot::Sender<()>,
    admin_runtime: tokio::runtime::Handle,
}

#[derive(Debug)]
enum Happened {
    Drained,
    Ended(Broken),
}

/// A shard's thread that has made its ring and waits for the others.
struct Prepared {
    thread: JoinHandle<()>,
    go: Sender<(Arc<Shared>, Arc<Verifier>)>,
}

impl Gateway {
    /// Starts every thread and returns when handsets and callers are served.
    pub fn start(config: Config) -> Result<Self, StartError> {
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
        let shared = Arc::new(shared(config, Shards::new(mailboxes), store));
        let drain = DrainRequest::default();
        let admin = Admin {
            shared: Arc::clone(&shared),
            drain: drain.clone(),
            recorder,
        };
        let (admin, admin_runtime, stop_admin) = start_admin(admin, admin_listener, &happened)?;
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
            admin_runtime,
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

    /// From now on SIGTERM and SIGINT begin the drain, and a second one ends the process.
    pub fn handle_signals(&self) {
        let Some(threads) = &self.threads else { return };
        let request = self.drain.clone();
        threads.admin_runtime.spawn(async move {
            if let Err(error) = drain::on_signals(request).await {
                tracing::error!(%error, "cannot receive signals: only POST /drain leaves in order");
            }
        });
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

fn shared(config: Config, shards: Shards, store: StoreHandle) -> Shared {
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

/// A listening socket; `shared_port`: several of ours listen on it.
fn listen(
    section: &'static str,
    listen: SocketAddr,
    shared_port: bool,
) -> Result<TcpListener, StartError> {
    let open = || {
        let socket = Socket::new(
            Domain::for_address(listen),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared_port)?;
        // Accepted sockets inherit it: a signal must not wait for an ACK.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&listen.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from(socket))
    };
    open().map_err(listening(section, listen))
}

fn listening(section: &'static str, listen: SocketAddr) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::Listen {
        section,
        listen,
        error,
    }
}

/// One listener a worker for each of the two ports, all on the port that the first one got.
fn worker_listeners(config: &Config, workers: usize) -> Result<Vec<WorkerSockets>, StartError> {
    let ports = [
        ("ingress", config.ingress.listen),
        ("data", config.data.listen),
    ];
    for (section, address) in ports {
        // With SO_REUSEPORT a second gateway would silently share the port, and get half of the requests. Without it
        // the port must be free, so this listener comes and goes first.
        drop(listen(section, address, false)?);
    }
    let mut sockets: Vec<WorkerSockets> = Vec::with_capacity(workers);
    for _ in 0..workers {
        let [ingress, data] = ports.map(|(section, address)| {
            let first = sockets.first().map(|first| {
                if section == "ingress" {
                    &first.ingress
                } else {
                    &first.data
                }
            });
            let at = first.map_or(Ok(address), TcpListener::local_addr)?;
            listen(section, at, true)
        });
        sockets.push(WorkerSockets {
            ingress: ingress?,
            data: data?,
        });
    }
    Ok(sockets)
}

/// Starts the shards' threads: each makes its ring and gives its mailbox back, and waits for what they share.
fn prepare_shards(
    config: &Config,
    sizes: Sizes,
    listener: &TcpListener,
    happened: &Sender<Happened>,
) -> Result<(Vec<Prepared>, Vec<Mailbox>), StartError> {
    let clock = SystemClock::default();
    let mut prepared = Vec::with_capacity(sizes.shards);
    let mut mailboxes = Vec::with_capacity(sizes.shards);
    for number in 0..sizes.shards {
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        let ring = RingConfig {
            slots: sizes.slots,
            buffers: RING_BUFFERS,
            buffer_bytes: RING_BUFFER_BYTES,
            entries: RING_ENTRIES,
            listener: Some(listener.try_clone()?),
        };
        let letters_max = config.signaling.mailbox_letters_max;
        let (made, mailbox) = channel();
        let (go, start) = channel::<(Arc<Shared>, Arc<Verifier>)>();
        let body = move || {
            let ring = match Ring::new(ring) {
                Ok(ring) => ring,
                Err(error) => {
                    // The starter waits for exactly this.
                    let _ = made.send(Err(error));
                    return Ok(());
                }
            };
            let mailbox = Mailbox::new(letters_max, ring.waker());
            let _ = made.send(Ok(mailbox.clone()));
            match start.recv() {
                Ok((shared, verifier)) => {
                    shard::run(ring, mailbox, number, shared, verifier, clock)
                }
                // Another thread could not start: there is nothing to run.
                Err(_) => Ok(()),
            }
        };
        let thread = spawn(format!("shard-{number}"), happened, body)?;
        let mailbox = mailbox
            .recv()
            .map_err(|_gone| io::Error::other("a shard ended while it started"))??;
        mailboxes.push(mailbox);
        prepared.push(Prepared { thread, go });
    }
    Ok((prepared, mailboxes))
}

fn start_workers(
    sockets: Vec<WorkerSockets>,
    shared: &Arc<Shared>,
    stop: &watch::Receiver<bool>,
    happened: &Sender<Happened>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let start = |(index, sockets)| {
        let (shared, stop) = (Arc::clone(shared), stop.clone());
        spawn(format!("worker-{index}"), happened, move || {
            worker::run(index, sockets, shared, stop)
        })
    };
    sockets.into_iter().enumerate().map(start).collect()
}

type AdminThread = (JoinHandle<()>, tokio::runtime::Handle, oneshot::Sender<()>);

/// The admin's thread also carries the drain and the metrics' upkeep.
fn start_admin(
    admin: Admin,
    listener: TcpListener,
    happened: &Sender<Happened>,
) -> io::Result<AdminThread> {
    const UPKEEP_EVERY: Duration = Duration::from_secs(5);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let drained = happened.clone();
    let thread = spawn("admin".to_owned(), happened, move || {
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let (shared, request, recorder) = (Arc::clone(&admin.shared), admin.drain.clone(), admin.recorder.clone());
            tokio::spawn(async move {
                drain::leave(&shared, &request).await;
                // Nobody listens if the gateway is being stopped already.
                let _ = drained.send(Happened::Drained);
            });
            tokio::spawn(async move {
                // Histograms keep their samples until they are drained, by a scrape or by this.
                let mut tick = tokio::time::interval(UPKEEP_EVERY);
                loop {
                    tick.tick().await;
                    recorder.run_upkeep();
                }
            });
            tokio::select! {
                () = admin::serve(listener, admin) => Err(io::Error::other("the admin port closed")),
                _ = stopped => Ok(()),
            }
        })
    })?;
    Ok((thread, handle, stop))
}

/// A thread that tells when it ends though it was not stopped: bodies return `Ok` only when they were.
fn spawn(
    name: String,
    happened: &Sender<Happened>,
    body: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let (happened, thread) = (happened.clone(), name.clone());
    std::thread::Builder::new().name(name).spawn(move || {
        let why = match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("it panicked: {}", panic_text(&*panic)),
        };
        tracing::error!(%thread, %why, "a thread of the gateway ended");
        // Nobody listens if the gateway is gone.
        let _ = happened.send(Happened::Ended(Broken { thread, why }));
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

fn stop_shards(shared: &Shared) {
    let deadline = Instant::now() + JOIN_MARGIN;
    let mut untold: Vec<u16> = (0..shared.shards.len())
        .filter_map(|shard| u16::try_from(shard).ok())
        .collect();
    while !untold.is_empty() && Instant::now() < deadline {
        untold.retain(|shard| {
            shared
                .shards
                .post(drain::any_place_of(*shard), Letter::Stop)
                .is_err()
        });
        if !untold.is_empty() {
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }
}

/// Waits for the threads, with a limit over all of them; one that has not ended is left behind.
fn join(what: &str, threads: Vec<JoinHandle<()>>, limit: Duration) -> Result<(), Broken> {
    let deadline = Instant::now() + limit;
    let mut result = Ok(());
    for thread in threads {
        let name = thread.thread().name().unwrap_or(what).to_owned();
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(2));
        }
        if !thread.is_finished() {
            result = Err(Broken {
                thread: name,
                why: format!("it had not ended after {limit:?}"),
            });
        } else if thread.join().is_err() {
            // Its panic was caught and told by `spawn`; this one came after it.
            result = Err(Broken {
                thread: name,
                why: "it panicked at its end".to_owned(),
            });
        }
    }
    result
}
