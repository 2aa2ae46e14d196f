//! A run from beginning to end: starts fleets, passes through the phases of its plan, collects the report.
//!
//! Fleets and rogues have threads of their own, callers a runtime; this is the main thread, which looks at the books
//! ten times a second, says when a phase is over, and hears Ctrl-C.

mod crews;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use everline_uring::{RingError, table_slots_max};
use hdrhistogram::Histogram;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use self::crews::{Common, Crews, Layout};
use crate::books::{CallerBooks, FleetBooks, histogram};
use crate::caller::{CallPlan, Callers};
use crate::fleet::{FleetEnd, FleetPlan};
use crate::machine::{Machine, ProcessSample};
use crate::metrics::Metrics;
use crate::metrics::port::{MetricsAddress, serve};
use crate::orders::Order;
use crate::report::{Border, Look, Material, PhaseMaterial, Report, Second, Seconds};
use crate::ring_thread::NoRingThread;
use crate::rogue::{RogueBooks, RoguePlan, Rogues};
use crate::roster::Roster;
use crate::scenario::{Course, FINISH, PhasePlan};
use crate::screen::Screen;
use crate::thresholds::Threshold;
use crate::tokens::Mint;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the callers' last requests may take beyond their own limit.
const CALLERS_SLACK: Duration = Duration::from_secs(5);

/// A run that was checked.
#[derive(Debug)]
pub struct RunPlan {
    /// Masked command line.
    pub command: Vec<String>,
    /// Name of the scenario; `None`: the command line says what to do.
    pub scenario: Option<String>,
    /// What happens, in order.
    pub phases: Vec<PhasePlan>,
    /// What the run is to reach.
    pub thresholds: Vec<Threshold>,
    /// How many handsets are to have registered in the end.
    pub wanted: u32,
    /// How many fleets at least.
    pub threads: u32,
    /// Size of a ring's table; `None`: as large as it may be.
    pub table_slots: Option<u32>,
    /// Registrations under way at one time.
    pub connecting: u32,
    /// Threads of the callers' runtime.
    pub caller_threads: usize,
    /// Process to sample.
    pub gateway_pid: Option<u32>,
    /// Where Prometheus may read how it goes.
    pub metrics: Option<MetricsAddress>,
    /// Nothing on the screen while it runs.
    pub quiet: bool,
    /// What to tell the tester at the start.
    pub notes: Vec<String>,
    /// Tokens.
    pub mint: Mint,
    /// Numbers.
    pub roster: Roster,
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

impl From<NoRingThread> for RunError {
    fn from(error: NoRingThread) -> Self {
        match error {
            NoRingThread::Ring(error) => Self::Ring(error),
            NoRingThread::Thread(error) => Self::Start(error),
        }
    }
}

/// Makes the run. Ends early on Ctrl-C.
pub fn run(mut plan: RunPlan) -> Result<Report, RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(plan.caller_threads)
        .thread_name("caller")
        .enable_all()
        .build()?;
    let interrupts = count_interrupts(&runtime)?;
    let phases = std::mem::take(&mut plan.phases);
    let metrics = plan.metrics;
    let mut run = Run::start(plan, &phases, interrupts)?;
    if let Some(address) = metrics {
        run.open_to_prometheus(address, &runtime)?;
    }
    let mut passed = Vec::new();
    for phase in phases {
        if run.is_interrupted() {
            break;
        }
        passed.push(run.pass(phase, &runtime));
    }
    passed.push(run.finish());
    // Whoever still hangs on a socket need not be waited for.
    runtime.shutdown_background();
    Ok(run.report(passed))
}

struct Run {
    epoch: Instant,
    started_unix_s: u64,
    command: Vec<String>,
    scenario: Option<String>,
    thresholds: Vec<Threshold>,
    wanted: u32,
    gateway_pid: Option<u32>,
    mint: Arc<Mint>,
    roster: Arc<Roster>,
    crews: Crews,
    ends: Vec<FleetEnd>,
    calling: Option<Calling>,
    /// Of the phases that are over; `None`: nobody has called yet.
    calls_before: Option<CallerBooks>,
    /// Latencies of theirs that no row of the course has yet.
    recent_before: Histogram<u64>,
    rogues: Option<Rogues>,
    /// Those of phases that are over, whose last requests may still hang.
    rogues_leaving: Vec<Rogues>,
    /// Storms ordered so far.
    storms: u64,
    faults: Vec<String>,
    interrupts: Arc<AtomicU32>,
    /// The tester was told that the first of them was heard.
    is_interrupt_told: bool,
    screen: Screen,
    metrics: Option<Metrics>,
    seconds: Seconds,
    open_max: u64,
}

/// The callers of a phase.
struct Calling {
    callers: Arc<Callers>,
    task: JoinHandle<()>,
    timeout: Duration,
}

impl Run {
    fn start(
        plan: RunPlan,
        phases: &[PhasePlan],
        interrupts: Arc<AtomicU32>,
    ) -> Result<Self, RunError> {
        let started_unix_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let mut screen = Screen::new(plan.quiet, u64::from(plan.wanted), phases);
        plan.notes.iter().for_each(|note| screen.say(note));
        let mut fleet = plan.fleet;
        if fleet.sources.is_some() && !kernel_can_bind() {
            fleet.sources = None;
            screen.say("this kernel can't bind the sockets of a ring (Linux 6.11 can): all come from one address");
        }
        let layout = Layout {
            handsets: plan.roster.handsets(),
            threads: plan.threads,
            table_slots: plan.table_slots.map_or_else(table_slots_max, Ok)?,
            connecting: plan.connecting,
        };
        let common = Common {
            plan: Arc::new(fleet),
            mint: Arc::new(plan.mint),
            roster: Arc::new(plan.roster),
            epoch: Instant::now(),
            epoch_unix_s: started_unix_s,
        };
        Ok(Self {
            crews: Crews::hire(layout, &common)?,
            epoch: common.epoch,
            started_unix_s,
            command: plan.command,
            scenario: plan.scenario,
            thresholds: plan.thresholds,
            wanted: plan.wanted,
            gateway_pid: plan.gateway_pid,
            mint: common.mint,
            roster: common.roster,
            ends: Vec::new(),
            calling: None,
            calls_before: None,
            recent_before: histogram(),
            rogues: None,
            rogues_leaving: Vec::new(),
            storms: 0,
            faults: Vec::new(),
            interrupts,
            is_interrupt_told: false,
            screen,
            metrics: None,
            seconds: Seconds::default(),
            open_max: 0,
        })
    }

    fn open_to_prometheus(&mut self, at: MetricsAddress, runtime: &Runtime) -> io::Result<()> {
        let metrics = Metrics::new().map_err(io::Error::other)?;
        let listener = runtime.block_on(at.listen())?;
        let at = listener.local_addr()?;
        self.screen
            .say(format_args!("metrics at http://{at}/metrics"));
        runtime.spawn(serve(listener, metrics.page()));
        self.metrics = Some(metrics);
        Ok(())
    }

    /// Passes through one phase.
    fn pass(&mut self, phase: PhasePlan, runtime: &Runtime) -> PhaseMaterial {
        let from = self.border();
        let kind = phase.course.kind();
        self.screen.enter(&phase.name, from.at_s, &from.fleet);
        if let Some(churn) = phase.churn {
            self.crews.order(Order::Churn(Some(churn)));
        }
        if let Some(plan) = phase.calls {
            self.start_callers(plan, runtime);
        }
        if let Some(plan) = phase.rogues {
            self.start_rogues(plan, runtime);
        }
        let back_s = self.follow(&phase.name, phase.course, from.at_s);
        if phase.churn.is_some() {
            self.crews.order(Order::Churn(None));
        }
        self.stop_callers();
        self.stop_rogues();
        PhaseMaterial {
            name: phase.name,
            kind,
            from,
            to: self.border(),
            back_s,
        }
    }

    /// Orders what drives a phase, and looks on until that is over. Of a storm it tells after how many seconds from
    /// `begun_s` all were back.
    fn follow(&mut self, name: &str, course: Course, begun_s: f64) -> Option<f64> {
        let limit = Instant::now() + course.limit();
        match course {
            Course::Ramp {
                handsets,
                per_second,
                ..
            } => {
                self.crews.ramp(handsets, per_second);
                let settled = |books: &FleetBooks| books.settled >= u64::from(handsets);
                let in_time = self.watch(|_, books| settled(books) || Instant::now() >= limit);
                let books = self.crews.books();
                if in_time && !settled(&books) {
                    let missing = u64::from(handsets) - books.settled;
                    self.faults.push(format!(
                        "phase {name:?} ended at its time limit, with {missing} of {handsets} handsets neither registered nor failed"
                    ));
                }
                None
            }
            Course::Storm { storm, .. } => {
                let dropped_before = self.crews.books().dropped.of("storm");
                self.crews.order(Order::Storm(storm));
                self.storms += 1;
                let dropped = self.storms * self.crews.count();
                let over = |books: &FleetBooks| books.storms >= dropped && books.away.storm == 0;
                self.watch(|_, books| over(books) || Instant::now() >= limit);
                let books = self.crews.books();
                if over(&books) {
                    // Where nobody was dropped, nobody can have come back.
                    return (books.dropped.of("storm") > dropped_before)
                        .then(|| books.back_us as f64 / 1e6 - begun_s);
                }
                if !self.is_interrupted() {
                    self.faults.push(format!(
                        "phase {name:?} ended at its time limit, with {} handsets not back",
                        books.away.storm
                    ));
                }
                None
            }
            Course::Hold(_) => {
                // The last requests that are due belong to the phase, and so does the wait for their answers.
                self.watch(|run, _| {
                    let now = Instant::now();
                    let calling = run.calling.as_ref();
                    let ended = calling.is_none_or(|calling| {
                        calling.task.is_finished() || now >= limit + calling.timeout + CALLERS_SLACK
                    });
                    now >= limit && ended
                });
                None
            }
        }
    }

    fn start_callers(&mut self, plan: CallPlan, runtime: &Runtime) {
        let timeout = plan.timeout;
        let callers = Callers::new(plan, self.roster.clone(), rand::random());
        let task = runtime.spawn(callers.clone().run(runtime.handle().clone()));
        self.calling = Some(Calling {
            callers,
            task,
            timeout,
        });
    }

    /// No more requests; what is in flight is still waited for.
    fn stop_callers(&mut self) {
        if let Some(calling) = &self.calling {
            calling.callers.stop();
            let until = Instant::now() + calling.timeout + CALLERS_SLACK;
            while self
                .calling
                .as_ref()
                .is_some_and(|calling| !calling.task.is_finished())
                && Instant::now() < until
                && self.interrupts.load(Ordering::Relaxed) < 2
            {
                std::thread::sleep(LOOK_EVERY);
                self.look();
            }
        }
        self.calls_before = self.calls();
        if let Some(calling) = self.calling.take() {
            self.recent_before += calling.callers.take_recent();
        }
    }

    fn start_rogues(&mut self, plan: RoguePlan, runtime: &Runtime) {
        match Rogues::start(plan, self.mint.clone(), runtime.handle()) {
            Ok(rogues) => self.rogues = Some(rogues),
            Err(error) => self.faults.push(error.to_string()),
        }
    }

    /// No more misdeeds. A gateway keeps requests to rogues that have gone until its wake timeout: the finish waits
    /// for those, not the phase, which would be the longer for it.
    fn stop_rogues(&mut self) {
        if let Some(mut rogues) = self.rogues.take() {
            rogues.leave();
            self.rogues_leaving.push(rogues);
        }
    }

    /// What all rogues have done; `None`: nobody misbehaved.
    fn collect_rogues(&mut self) -> Option<RogueBooks> {
        let mut sum: Option<RogueBooks> = None;
        for rogues in self.rogues_leaving.drain(..) {
            match rogues.end() {
                Ok(books) => *sum.get_or_insert_default() += &books,
                Err(error) => self
                    .faults
                    .push(format!("the rogues' ring failed: {error}")),
            }
        }
        sum
    }

    fn finish(&mut self) -> PhaseMaterial {
        let from = self.border();
        self.screen.enter(FINISH, from.at_s, &from.fleet);
        self.crews.order(Order::Leave);
        let twice = |run: &Self| run.interrupts.load(Ordering::Relaxed) >= 2;
        let rogues_left = |run: &Self| run.rogues_leaving.iter().all(Rogues::have_left);
        while !self.crews.are_gone() || !(rogues_left(self) || twice(self)) {
            if twice(self) {
                self.crews.order(Order::Stop);
            }
            std::thread::sleep(LOOK_EVERY);
            self.look();
        }
        self.screen.end(self.epoch.elapsed().as_secs_f64());
        let books = self.crews.books();
        self.observe(&books, |seconds, look| {
            seconds.add_last(look);
            None
        });
        let (ends, faults) = self.crews.collect();
        self.ends = ends;
        self.faults.extend(faults);
        if self.is_interrupted() {
            self.faults.push("the run was interrupted".into());
        }
        PhaseMaterial {
            name: FINISH.into(),
            kind: FINISH,
            from,
            to: self.border(),
            back_s: None,
        }
    }

    /// Looks on until `done`, or until interrupted: then it is `false`.
    fn watch(&mut self, done: impl Fn(&Self, &FleetBooks) -> bool) -> bool {
        loop {
            if self.is_interrupted() {
                return false;
            }
            let books = self.look();
            if done(self, &books) {
                return true;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Reads the books; once a second adds a row and shows it.
    fn look(&mut self) -> FleetBooks {
        if self.is_interrupted() && !std::mem::replace(&mut self.is_interrupt_told, true) {
            self.screen
                .say("interrupted: what is in flight ends and handsets leave; Ctrl-C again stops at once");
        }
        let books = self.books();
        if self.seconds.is_due(self.epoch.elapsed().as_secs_f64()) {
            self.observe(&books, |seconds, look| Some(seconds.add(look)));
        }
        books
    }

    /// Adds a row by `add`, and shows it if it is to be shown.
    fn observe(
        &mut self,
        books: &FleetBooks,
        add: impl FnOnce(&mut Seconds, Look<'_>) -> Option<Second>,
    ) {
        let calls = self.calls();
        let mut recent = std::mem::replace(&mut self.recent_before, histogram());
        if let Some(calling) = &self.calling {
            recent += calling.callers.take_recent();
        }
        let look = Look {
            at_s: self.epoch.elapsed().as_secs_f64(),
            fleet: books,
            calls: calls.as_ref(),
            recent: calls.is_some().then_some(&recent),
            gateway: self.gateway_pid.and_then(ProcessSample::of),
            loadgen: ProcessSample::of(std::process::id()),
        };
        let Some(second) = add(&mut self.seconds, look) else {
            return;
        };
        self.screen.show(look, &second);
        if let Some(metrics) = &mut self.metrics {
            metrics.publish(look, self.screen.phase());
        }
    }

    /// The callers' books of all phases so far.
    fn calls(&self) -> Option<CallerBooks> {
        let now = self.calling.as_ref().map(|calling| calling.callers.books());
        match (self.calls_before.clone(), now) {
            (Some(mut before), Some(now)) => {
                before += &now;
                Some(before)
            }
            (before, now) => before.or(now),
        }
    }

    fn books(&mut self) -> FleetBooks {
        let books = self.crews.books();
        self.open_max = self.open_max.max(books.open);
        books
    }

    fn border(&mut self) -> Border {
        Border {
            at_s: self.epoch.elapsed().as_secs_f64(),
            fleet: self.books(),
            calls: self.calls(),
            gateway: self.gateway_pid.and_then(ProcessSample::of),
            loadgen: ProcessSample::of(std::process::id()),
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupts.load(Ordering::Relaxed) > 0
    }

    fn report(mut self, phases: Vec<PhaseMaterial>) -> Report {
        let rogues = self.collect_rogues();
        let mut register_latency = histogram();
        let mut fleet = FleetBooks::default();
        for end in &self.ends {
            fleet += &end.books;
            register_latency += &end.register_latency;
        }
        Report::new(Material {
            scenario: self.scenario,
            thresholds: self.thresholds,
            started_unix_s: self.started_unix_s,
            command: self.command,
            handsets: u64::from(self.wanted),
            fleet,
            register_latency,
            calls: self.calls_before,
            rogues,
            phases,
            open_max: self.open_max,
            seconds: self.seconds.into_rows(),
            faults: self.faults,
        })
    }
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
