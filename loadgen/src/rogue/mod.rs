//! Rogues: handsets that misbehave, beside the honest ones, so that a tester sees what a gateway does with them.
//!
//! Each rogue does one kind of misbehaviour again and again, and every act is held against PROTOCOL.md. They have a
//! thread, a ring, numbers and books of their own, so that the books of the honest say what the honest met.
//!
//! | module | what it is |
//! |---|---|
//! | [`kind`] | the kinds, and who does which |
//! | `act`, `garbage` | one act, sans-io: what is sent, and how it must be met |
//! | [`crowd`] | all of them on one ring |
//! | [`books`] | what became of it |

mod act;
pub mod books;
pub mod crowd;
mod garbage;
pub mod kind;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use everline_protocol::{BadMsisdn, Millis, Msisdn};
use everline_uring::{Ring, RingConfig, Wake as _, Waker};
use tokio::runtime::Handle;

pub use act::Limits;
pub use books::{KindBooks, RogueBooks};
pub use kind::RogueKind;

use crate::address::{Sources, Targets};
use crate::caller::{CallPlan, Callers};
use crate::ring_thread::{self, NoRingThread};
use crate::roster::Roster;
use crate::tokens::Mint;
use crowd::{Crowd, SLOTS_PER_ROGUE};

/// The most rogues of one process: they are there to be a nuisance, not a load.
pub const ROGUES_MAX: u32 = 5_000;
/// Loopback addresses that rogues connect from.
pub const ROGUE_SOURCES: u32 = 16;
/// Slots beyond those that rogues need at one time: a closed socket keeps its own for a moment.
const SPARE_SLOTS: u32 = 64;
const BUFFERS: u32 = 64;
const BUFFER_BYTES: usize = 4096;
const ENTRIES: u32 = 512;
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
const TURN_MAX: Duration = Duration::from_millis(500);
/// How long the end of the last requests may take beyond their own limit.
const CALLERS_SLACK: Duration = Duration::from_secs(5);

/// What the rogues of one phase do.
#[derive(Debug)]
pub struct RoguePlan {
    /// The gateway's signaling address.
    pub signaling: SocketAddr,
    /// Where data channels go unless REQUESTPENDING says otherwise.
    pub data: SocketAddr,
    /// Where connections may go at all.
    pub targets: Targets,
    /// Where loopback connections come from.
    pub sources: Option<Sources>,
    /// The first of the [`ROGUE_SOURCES`] addresses that are the rogues' own.
    pub first_source: u32,
    /// The first of their numbers; as many follow as there are rogues.
    pub first: Msisdn,
    /// What each of them does.
    pub kinds: Vec<RogueKind>,
    /// How long things may take at this gateway.
    pub limits: Limits,
    /// Between two acts of a rogue, on average.
    pub pause: Millis,
    /// The requests sent to rogues, if any.
    pub calls: Option<CallPlan>,
}

/// Rogues that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum RogueError {
    /// No thread, or no ring.
    #[error("the rogues of a phase stayed away: {0}")]
    Thread(#[from] NoRingThread),
    /// The numbers run out.
    #[error(
        "the numbers of the rogues, which follow those of the handsets, go beyond the last MSISDN"
    )]
    Numbers(#[from] BadMsisdn),
}

/// The rogues of a phase, at work from [`Rogues::start`] to [`Rogues::leave`].
pub struct Rogues {
    desk: Arc<Desk>,
    waker: Waker,
    thread: Option<JoinHandle<io::Result<()>>>,
    callers: Option<Arc<Callers>>,
    calling: Option<tokio::task::JoinHandle<()>>,
    /// How long requests may take after [`Rogues::leave`], and so until when they are waited for.
    calls_limit: Duration,
    given_up: Option<Instant>,
}

/// What the thread is told, and tells.
struct Desk {
    stop: AtomicBool,
    books: Mutex<RogueBooks>,
}

impl Desk {
    fn books(&self) -> MutexGuard<'_, RogueBooks> {
        self.books.lock().expect("no holder of this lock panics")
    }
}

impl Rogues {
    /// Lets them loose, in a thread of their own; their requests run on `runtime`.
    pub fn start(
        mut plan: RoguePlan,
        mint: Arc<Mint>,
        runtime: &Handle,
    ) -> Result<Self, RogueError> {
        let books = RogueBooks::of(&plan.kinds);
        let roster = Arc::new(Roster::new(plan.first, books.rogues)?);
        let calls = plan.calls.take();
        let desk = Arc::new(Desk {
            stop: AtomicBool::new(false),
            books: Mutex::new(books),
        });
        let (waker, thread) = hire(plan, mint, roster.clone(), desk.clone())?;
        let calls_limit = calls.as_ref().map_or(Duration::ZERO, |calls| calls.timeout);
        let callers = calls.map(|calls| Callers::new(calls, roster, rand::random()));
        let calling = callers
            .clone()
            .map(|callers| runtime.spawn(callers.run(runtime.clone())));
        Ok(Self {
            desk,
            waker,
            thread: Some(thread),
            callers,
            calling,
            calls_limit: calls_limit + CALLERS_SLACK,
            given_up: None,
        })
    }

    /// The books as of a moment ago.
    pub fn books(&self) -> RogueBooks {
        let mut books = self.desk.books().clone();
        if let Some(callers) = &self.callers {
            books.requests = callers.books();
        }
        books
    }

    /// No more misdeeds and no more requests. What is under way is broken off; but the gateway may keep requests for
    /// handsets that have gone until its wake timeout, and they are to be counted too: see [`Rogues::have_left`].
    pub fn leave(&mut self) {
        if let Some(callers) = &self.callers {
            callers.stop();
        }
        self.desk.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
        self.given_up
            .get_or_insert_with(|| Instant::now() + self.calls_limit);
    }

    /// Whether nothing is open any more after [`Rogues::leave`], or that has taken too long.
    pub fn have_left(&self) -> bool {
        let thread_ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        let calls_ended = self
            .calling
            .as_ref()
            .is_none_or(tokio::task::JoinHandle::is_finished);
        (thread_ended && calls_ended) || self.given_up.is_some_and(|at| Instant::now() >= at)
    }

    /// The final books; whatever is still open stays so in them. Fails only if the ring did.
    pub fn end(mut self) -> io::Result<RogueBooks> {
        self.leave();
        self.join()?;
        Ok(self.books())
    }

    /// Seconds at most, after [`Rogues::leave`].
    fn join(&mut self) -> io::Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(ended)) => ended,
            Some(Err(_panic)) => Err(io::Error::other("the thread of the rogues panicked")),
        }
    }
}

/// A run that ends early leaves no rogue behind.
impl Drop for Rogues {
    fn drop(&mut self) {
        self.leave();
        // Whoever wants to know how it ended calls `end`.
        let _ = self.join();
    }
}

fn hire(
    plan: RoguePlan,
    mint: Arc<Mint>,
    roster: Arc<Roster>,
    desk: Arc<Desk>,
) -> Result<(Waker, JoinHandle<io::Result<()>>), NoRingThread> {
    let config = RingConfig {
        slots: roster.handsets() * SLOTS_PER_ROGUE + SPARE_SLOTS,
        buffers: BUFFERS,
        buffer_bytes: BUFFER_BYTES,
        entries: ENTRIES,
        listener: None,
    };
    ring_thread::start("rogues".into(), config, move |ring| {
        let unix_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let (plan, seed) = (Arc::new(plan), rand::random());
        run(Crowd::new(ring, plan, mint, roster, unix_s, seed), &desk)
    })
}

/// Runs the crowd until it is told to stop. Fails only if the ring does.
fn run(mut crowd: Crowd<Ring>, desk: &Desk) -> io::Result<()> {
    let epoch = Instant::now();
    let since = || u64::try_from(epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut events = Vec::new();
    let (mut published, mut news) = (epoch, true);
    while !crowd.is_gone() {
        crowd.step(since());
        if desk.stop.load(Ordering::Relaxed) {
            crowd.stop();
        }
        let limit = if news { PUBLISH_EVERY } else { TURN_MAX };
        news |= crowd.turn(crowd.wait().min(limit), &mut events, since)?;
        if news && published.elapsed() >= PUBLISH_EVERY {
            desk.books().clone_from(crowd.books());
            (published, news) = (Instant::now(), false);
        }
    }
    desk.books().clone_from(crowd.books());
    Ok(())
}
