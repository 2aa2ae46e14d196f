//! The gateway's threads: how each is started, how it tells its end, how it is stopped and joined, with limits.

use std::any::Any;
use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use everline_uring::{Ring, RingConfig, Sockets};
use tokio::sync::{oneshot, watch};

use super::{Broken, Sizes, StartError};
use crate::admin::{self, Admin};
use crate::config::Config;
use crate::drain::{self, Signals};
use crate::registration::Verifier;
use crate::shard;
use crate::shard::clock::SystemClock;
use crate::shard::mailbox::{Letter, Mailbox};
use crate::shared::Shared;
use crate::store::StoreThread;
use crate::worker::{self, WorkerSockets};

/// Transfers under way at once in one shard; a signaling line fits into one buffer.
const RING_BUFFERS: u32 = 64;
const RING_BUFFER_BYTES: usize = 4_096;
const RING_ENTRIES: u32 = 256;
/// What a thread may take to end beyond what it was given to finish its work.
pub(super) const JOIN_MARGIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Threads {
    pub(super) shards: Vec<JoinHandle<()>>,
    pub(super) workers: Vec<JoinHandle<()>>,
    pub(super) stop_workers: watch::Sender<bool>,
    pub(super) store: Option<StoreThread>,
    pub(super) admin: JoinHandle<()>,
    pub(super) stop_admin: oneshot::Sender<()>,
}

#[derive(Debug)]
pub(super) enum Happened {
    Drained,
    Ended(Broken),
}

/// A shard's thread that has made its ring and waits for the others.
pub(super) struct Prepared {
    pub(super) thread: JoinHandle<()>,
    pub(super) go: Sender<(Arc<Shared>, Arc<Verifier>)>,
}

/// Starts the shards' threads: each makes its ring and gives its mailbox back, and waits for what they share.
pub(super) fn prepare_shards(
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

pub(super) fn start_workers(
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

type AdminThread = (JoinHandle<()>, oneshot::Sender<()>);

/// The admin's thread also carries the drain, the signals and the metrics' upkeep.
pub(super) fn start_admin(
    admin: Admin,
    listener: TcpListener,
    obey_signals: bool,
    happened: &Sender<Happened>,
) -> io::Result<AdminThread> {
    const UPKEEP_EVERY: Duration = Duration::from_secs(5);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if obey_signals {
        let _entered = runtime.enter();
        runtime.spawn(Signals::install()?.obey(admin.drain.clone()));
    }
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
    Ok((thread, stop))
}

/// A thread that tells when it ends though it was not stopped: bodies return `Ok` only when they were.
pub(super) fn spawn(
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

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

pub(super) fn stop_shards(shared: &Shared) {
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
pub(super) fn join(
    what: &str,
    threads: Vec<JoinHandle<()>>,
    limit: Duration,
) -> Result<(), Broken> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(body: impl FnOnce() -> io::Result<()> + Send + 'static) -> Option<Broken> {
        let (happened, events) = channel();
        let thread = spawn("shard-7".to_owned(), &happened, body).expect("a thread");
        drop(happened);
        thread.join().expect("its panic is caught");
        events.iter().find_map(|happened| match happened {
            Happened::Ended(broken) => Some(broken),
            Happened::Drained => None,
        })
    }

    #[test]
    fn a_thread_that_breaks_says_so_and_one_that_was_stopped_does_not() {
        assert_eq!(end_of(|| Ok(())), None);
        let failed = end_of(|| Err(io::Error::other("the ring is gone"))).expect("it is told");
        assert_eq!(
            failed.to_string(),
            "the thread shard-7 ended: the ring is gone"
        );
        let panicked = end_of(|| panic!("a bug of ours")).expect("it is told");
        assert_eq!(
            panicked.to_string(),
            "the thread shard-7 ended: it panicked: a bug of ours"
        );
    }

    #[test]
    fn a_thread_that_does_not_end_is_left_behind_and_named() {
        let (release, wait) = channel::<()>();
        let thread = std::thread::Builder::new().name("worker-3".to_owned());
        // An error is what releases it.
        let thread = thread
            .spawn(move || wait.recv().unwrap_or(()))
            .expect("a thread");
        let broken = join("worker", vec![thread], Duration::from_millis(1));
        assert_eq!(
            broken.map_err(|broken| broken.thread),
            Err("worker-3".to_owned())
        );
        drop(release);
    }
}
