//! A run from beginning to end: starts fleets and callers, passes through the phases, collects the report.
//!
//! Fleets have a thread and a ring each, callers a runtime; this is the main thread, which wakes ten times a second
//! to look at the books, and at Ctrl-C.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use everline_uring::{
    Ring, RingConfig, RingError, Sockets as _, Wake as _, Waker, table_slots_max,
};
use tokio::runtime::Runtime;

use crate::books::{CallerBooks, FleetBooks, histogram};
use crate::caller::{CallPlan, Callers};
use crate::fleet::{Fleet, FleetEnd, FleetPlan, Share};
use crate::machine::{Machine, ProcessSample};
use crate::orders::{Desk, Order, Ramp};
use crate::progress::{Line, Progress};
use crate::report::{Border, Look, Material, PhaseMaterial, Report, Seconds};
use crate::roster::Roster;
use crate::tokens::Mint;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Slots that a fleet keeps for data channels and for handsets on the move.
const SPARE_SLOTS_MAX: u32 = 1024;
/// Buffers of a ring, and their size: a fleet's transfers are short.
const BUFFERS: u32 = 256;
const BUFFER_BYTES: usize = 16 * 1024;
const ENTRIES: u32 = 2048;
/// How long the callers' last requests may take beyond their own limit.
const CALLERS_SLACK: Duration = Duration::from_secs(5);

/// A run that was checked.
#[derive(Debug)]
pub struct RunPlan {
    /// Masked command line.
    pub command: Vec<String>,
    /// How many handsets.
    pub handsets: u32,
    /// How many fleets at least.
    pub threads: u32,
    /// Size of a ring's table; `None`: as large as it may be.
    pub table_slots: Option<u32>,
    /// Registrations under way at one time.
    pub connecting: u32,
    /// Registrations begun each second.
    pub per_second: Option<f64>,
    /// The longest ramp.
    pub ramp_limit: Duration,
    /// Length of the hold.
    pub hold: Duration,
    /// Threads of the callers' runtime.
    pub caller_threads: usize,
    /// Process to sample.
    pub gateway_pid: Option<u32>,
    /// No progress.
    pub quiet: bool,
    /// What to tell the tester at the start.
    pub notes: Vec<String>,
    /// Tokens.
    pub mint: Mint,
    /// Numbers.
    pub roster: Roster,
    /// Callers, if any.
    pub calls: Option<CallPlan>,
    /// What the fleets do.
    pub fleet: FleetPlan,
}

/// A run that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No ring.
    #[error("no io_uring, and handsets cannot be held without it: {0}")]
    Ring(#[from] RingError),
    /// No thread, runtime or signal handler.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// Makes the run. Ends early on Ctrl-C.
pub fn run(plan: RunPlan) -> Result<Report, RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(plan.caller_threads)
        .thread_name("caller")
        .enable_all()
        .build()?;
    let interrupts = count_interrupts(&runtime)?;
    let mut run = Run::start(plan, interrupts)?;
    let phases = run.phases(&runtime);
    // Whoever still hangs on a socket need not be waited for.
    runtime.shutdown_background();
    Ok(run.report(phases))
}

/// One fleet's thread.
struct Crew {
    desk: Arc<Desk>,
    waker: Waker,
    thread: Option<JoinHandle<io::Result<FleetEnd>>>,
}

struct Run {
    epoch: Instant,
    started_unix_s: u64,
    command: Vec<String>,
    handsets: u64,
    ramp_limit: Duration,
    hold: Duration,
    gateway_pid: Option<u32>,
    roster: Arc<Roster>,
    calls: Option<CallPlan>,
    callers: Option<Arc<Callers>>,
    crews: Vec<Crew>,
    ends: Vec<FleetEnd>,
    faults: Vec<String>,
    interrupts: Arc<AtomicU32>,
    progress: Progress,
    seconds: Seconds,
    open_max: u64,
}

impl Run {
    fn start(plan: RunPlan, interrupts: Arc<AtomicU32>) -> Result<Self, RunError> {
        let started_unix_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let shares = shares(&plan, plan.table_slots.map_or_else(table_slots_max, Ok)?);
        let mut progress = Progress::new(plan.quiet);
        plan.notes.iter().for_each(|note| progress.say(note));
        let (roster, mint) = (Arc::new(plan.roster), Arc::new(plan.mint));
        let mut fleet = plan.fleet;
        if fleet.sources.is_some() && !kernel_can_bind() {
            fleet.sources = None;
            progress.say("this kernel can't bind the sockets of a ring (Linux 6.11 can): all come from one address");
        }
        let fleet = Arc::new(fleet);
        let epoch = Instant::now();
        let mut crews = Vec::new();
        for (share, slots) in shares {
            let parts = (fleet.clone(), mint.clone(), roster.clone());
            let crew = hire(share, slots, parts, epoch, started_unix_s)?;
            let part = f64::from(share.handsets) / f64::from(plan.handsets);
            crew.desk.order(Order::Ramp(Ramp {
                handsets: share.handsets,
                per_second: plan.per_second.map(|rate| rate * part),
            }));
            crew.waker.wake();
            crews.push(crew);
        }
        Ok(Self {
            epoch,
            started_unix_s,
            command: plan.command,
            handsets: u64::from(plan.handsets),
            ramp_limit: plan.ramp_limit,
            hold: plan.hold,
            gateway_pid: plan.gateway_pid,
            roster,
            calls: plan.calls,
            callers: None,
            crews,
            ends: Vec::new(),
            faults: Vec::new(),
            interrupts,
            progress,
            seconds: Seconds::default(),
            open_max: 0,
        })
    }

    fn phases(&mut self, runtime: &Runtime) -> Vec<PhaseMaterial> {
        let start = self.border();
        let (handsets, limit) = (self.handsets, self.epoch + self.ramp_limit);
        let ramped = self.watch("ramp", |_, books| {
            books.settled >= handsets || Instant::now() >= limit
        });
        if ramped && self.books().settled < handsets {
            self.faults.push(
                "the ramp ended at its time limit, before every handset had tried to register"
                    .into(),
            );
        }
        let ramp = self.border();
        self.hold(runtime);
        let hold = self.border();
        self.finish();
        let phase = |name: &'static str, from: &Border, to: &Border| PhaseMaterial {
            name: name.to_owned(),
            kind: name,
            from: from.clone(),
            to: to.clone(),
            back_s: None,
        };
        vec![
            phase("ramp", &start, &ramp),
            phase("hold", &ramp, &hold),
            phase("finish", &hold, &self.border()),
        ]
    }

    fn hold(&mut self, runtime: &Runtime) {
        let until = Instant::now() + self.hold;
        let Some(calls) = self.calls.take().filter(|_| !self.is_interrupted()) else {
            self.watch("hold", |_, _| Instant::now() >= until);
            return;
        };
        let timeout = calls.timeout;
        let callers = Callers::new(calls, self.roster.clone(), rand::random());
        let calling = runtime.spawn(callers.clone().run(runtime.handle().clone()));
        self.callers = Some(callers.clone());
        self.watch("hold", |_, _| {
            Instant::now() >= until && calling.is_finished()
        });
        // Interrupted: what is in flight is still waited for.
        callers.stop();
        let until = Instant::now() + timeout + CALLERS_SLACK;
        while !calling.is_finished()
            && Instant::now() < until
            && self.interrupts.load(Ordering::Relaxed) < 2
        {
            std::thread::sleep(LOOK_EVERY);
            self.look("hold");
        }
    }

    fn finish(&mut self) {
        self.order(Order::Leave);
        while self.crews.iter().any(|crew| {
            crew.thread
                .as_ref()
                .is_some_and(|thread| !thread.is_finished())
        }) {
            if self.interrupts.load(Ordering::Relaxed) >= 2 {
                self.order(Order::Stop);
            }
            std::thread::sleep(LOOK_EVERY);
            self.look("finish");
        }
        self.progress.end();
        for crew in &mut self.crews {
            match crew.thread.take().map(JoinHandle::join) {
                Some(Ok(Ok(end))) => self.ends.push(end),
                Some(Ok(Err(error))) => self
                    .faults
                    .push(format!("a fleet's ring failed: {error}")),
                Some(Err(_panic)) => self
                    .faults
                    .push("a fleet's thread panicked; its handsets are missing here".into()),
                None => {}
            }
        }
        if self.is_interrupted() {
            self.faults.push("the run was interrupted".into());
        }
    }

    /// Looks on until `done`, or until interrupted: then it is `false`.
    fn watch(&mut self, phase: &'static str, done: impl Fn(&Self, &FleetBooks) -> bool) -> bool {
        loop {
            if self.is_interrupted() {
                return false;
            }
            let books = self.look(phase);
            if done(self, &books) {
                return true;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Reads the books; once a second adds a row and shows it.
    fn look(&mut self, phase: &'static str) -> FleetBooks {
        let books = self.books();
        self.open_max = self.open_max.max(books.open);
        let at_s = self.epoch.elapsed().as_secs_f64();
        if !self.seconds.is_due(at_s) {
            return books;
        }
        let calls = self.callers.as_ref().map(|callers| callers.books());
        let recent = self.callers.as_ref().map(|callers| callers.take_recent());
        let second = self.seconds.add(Look {
            at_s,
            fleet: &books,
            calls: calls.as_ref(),
            recent: recent.as_ref(),
            gateway: self.gateway_pid.and_then(ProcessSample::of),
            loadgen: ProcessSample::of(std::process::id()),
        });
        let errors = books.not_registered.total()
            + books.lost.total()
            + calls.as_ref().map_or(0, CallerBooks::bad);
        self.progress.show(&Line {
            phase,
            handsets: self.handsets,
            second,
            errors,
        });
        books
    }

    fn books(&self) -> FleetBooks {
        self.crews
            .iter()
            .fold(FleetBooks::default(), |mut sum, crew| {
                sum += &crew.desk.books();
                sum
            })
    }

    fn border(&self) -> Border {
        Border {
            at_s: self.epoch.elapsed().as_secs_f64(),
            fleet: self.books(),
            calls: self.callers.as_ref().map(|callers| callers.books()),
            gateway: self.gateway_pid.and_then(ProcessSample::of),
            loadgen: ProcessSample::of(std::process::id()),
        }
    }

    fn order(&self, order: Order) {
        for crew in &self.crews {
            crew.desk.order(order);
            crew.waker.wake();
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupts.load(Ordering::Relaxed) > 0
    }

    fn report(self, phases: Vec<PhaseMaterial>) -> Report {
        let mut register_latency = histogram();
        let mut fleet = FleetBooks::default();
        for end in &self.ends {
            fleet += &end.books;
            register_latency
                .add(&end.register_latency)
                .expect("all have the same bounds");
        }
        Report::new(Material {
            scenario: None,
            thresholds: Vec::new(),
            rogues: None,
            started_unix_s: self.started_unix_s,
            command: self.command,
            handsets: self.handsets,
            fleet,
            register_latency,
            calls: self
                .callers
                .map(|callers| callers.books())
                .or_else(|| self.calls.map(|_| CallerBooks::default())),
            phases,
            open_max: self.open_max,
            seconds: self.seconds.into_rows(),
            faults: self.faults,
        })
    }
}

/// The handsets of each fleet, and the slots of its ring: as few fleets as their tables allow, but `threads` at least.
fn shares(plan: &RunPlan, table_slots: u32) -> Vec<(Share, u32)> {
    let spare = (table_slots / 16).clamp(1, SPARE_SLOTS_MAX);
    let fleets = plan
        .threads
        .min(plan.handsets)
        .max(plan.handsets.div_ceil((table_slots - spare).max(1)));
    let mut first = 0;
    let split = |number: u32, whole: u32| whole / fleets + u32::from(number < whole % fleets);
    (0..fleets)
        .map(|number| {
            let handsets = split(number, plan.handsets);
            let share = Share {
                fleet: number,
                first,
                handsets,
                connecting_max: split(number, plan.connecting).max(1),
            };
            first += handsets;
            // Twice the handsets: when the gateway drains, each has two connections for a while.
            (share, table_slots.min(handsets * 2 + SPARE_SLOTS_MAX))
        })
        .collect()
}

/// Starts a fleet's thread; the ring is made there, since no other thread may use it.
fn hire(
    share: Share,
    slots: u32,
    (plan, mint, roster): (Arc<FleetPlan>, Arc<Mint>, Arc<Roster>),
    epoch: Instant,
    unix_s: u64,
) -> Result<Crew, RunError> {
    let desk = Arc::new(Desk::default());
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    let theirs = desk.clone();
    let thread = std::thread::Builder::new()
        .name(format!("fleet-{}", share.fleet))
        .spawn(move || {
            let config = RingConfig {
                slots,
                buffers: BUFFERS,
                buffer_bytes: BUFFER_BYTES,
                entries: ENTRIES,
                listener: None,
            };
            let ring = match Ring::new(config) {
                Ok(ring) => ring,
                Err(error) => {
                    // The receiver waits for exactly one word, and this is it.
                    let _ = ready.send(Err(error));
                    return Err(io::Error::other("no ring"));
                }
            };
            let _ = ready.send(Ok(ring.waker()));
            Fleet::new(ring, plan, share, mint, roster, unix_s, rand::random()).run(epoch, &theirs)
        })?;
    let waker = is_ready
        .recv()
        .map_err(|_gone| io::Error::other("a fleet's thread did not start"))??;
    Ok(Crew {
        desk,
        waker,
        thread: Some(thread),
    })
}

/// Whether a socket in a ring's table can be given a source address: IORING_OP_BIND came with Linux 6.11.
fn kernel_can_bind() -> bool {
    let kernel = Machine::this().kernel;
    let mut numbers = kernel
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(11))
}

/// Counts Ctrl-C and SIGTERM from now on.
fn count_interrupts(runtime: &Runtime) -> io::Result<Arc<AtomicU32>> {
    use tokio::signal::unix::{SignalKind, signal};
    let counter = Arc::new(AtomicU32::new(0));
    let _entered = runtime.enter();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let (mut signals, counter) = (signal(kind)?, counter.clone());
        runtime.spawn(async move {
            while signals.recv().await.is_some() {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    Ok(counter)
}
