//! The store's own thread: opens the database, writes what the buffer holds, answers the admin, survives all of it.
//!
//! Everything that sled may do wrong is contained here: it may panic on garbage (caught), refuse (reported, tried
//! again later), find its files damaged (set aside under a new name, a fresh database takes their place) or hang (the
//! gateway waits for it with a limit, at the start and at the end).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use std::{io, thread};

use everline_protocol::Msisdn;
use metrics::{Counter, counter};
use tokio::sync::oneshot;

use super::aside::set_aside;
use super::backend::{Backend, StoreError};
use super::buffer::{Buffer, Changes, SessionChange};
use super::departures::Departures;
use super::disk::Disk;
use super::{Cause, Inner, Options, Row, StoreHandle};
use crate::metric_names::{STORE_DROPPED, STORE_ROWS};

/// How long the gateway's start waits for the database; after that it opens while the gateway serves.
const OPEN_WAIT: Duration = Duration::from_secs(10);
/// And how long for what the previous run left to be read: a million rows take longer, and handsets wait meanwhile.
const LOAD_WAIT: Duration = Duration::from_millis(500);
/// From a failure to the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// From one complaint in the log to the next, while it goes on failing.
const COMPLAIN_EVERY: Duration = Duration::from_secs(300);
/// Handsets that were connected before the start and have not come back after this time count as lost on disk too.
const RETURN_WITHIN: Duration = Duration::from_secs(3600);
/// As many of them in one go: others' changes wait meanwhile.
const SETTLED_AT_ONCE: usize = 100_000;
/// Questions that may wait for the thread.
const QUESTIONS_MAX: usize = 64;

/// What other threads ask.
#[derive(Debug)]
pub(crate) enum Question {
    /// One handset's row.
    Row {
        msisdn: Msisdn,
        answer: oneshot::Sender<Option<Row>>,
    },
    /// Look whether to stop.
    Wake,
}

/// The running thread; [`StoreThread::stop`] ends it.
#[derive(Debug)]
pub struct StoreThread {
    thread: JoinHandle<()>,
    questions: SyncSender<Question>,
    stop: Arc<AtomicBool>,
}

impl StoreThread {
    /// Lets the thread write what it has and end. `false` if it has not ended within `limit`: it is left behind.
    pub fn stop(self, limit: Duration) -> bool {
        self.stop.store(true, Ordering::Release);
        // A full queue wakes the thread as well as one more question would.
        let (Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) =
            self.questions.try_send(Question::Wake);
        let deadline = Instant::now() + limit;
        while !self.thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::park_timeout(Duration::from_millis(2));
        }
        self.thread.join().is_ok()
    }
}

/// How long the thread waits for things to mend by themselves.
#[derive(Debug, Clone, Copy)]
struct Patience {
    retry_after: Duration,
    return_within: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            retry_after: RETRY_AFTER,
            return_within: RETURN_WITHIN,
        }
    }
}

/// Makes the database: at the start, and again whenever it has failed.
type Open = Box<dyn FnMut() -> Result<Box<dyn Backend>, StoreError> + Send>;

pub(super) fn start(options: Options) -> io::Result<(StoreHandle, StoreThread)> {
    let (path, cache_bytes) = (
        options.path.clone().unwrap_or_default(),
        options.cache_bytes,
    );
    let open: Open = Box::new(move || Ok(Box::new(Disk::open(&path, cache_bytes)?)));
    start_with(options, open, Patience::default())
}

fn start_with(
    options: Options,
    open: Open,
    patience: Patience,
) -> io::Result<(StoreHandle, StoreThread)> {
    let (questions, asked) = sync_channel(QUESTIONS_MAX);
    let (progress, first_attempt) = sync_channel(2);
    let stop = Arc::new(AtomicBool::new(false));
    let inner = Arc::new(Inner {
        buffer: options
            .path
            .is_some()
            .then(|| Mutex::new(Buffer::new(options.pending_rows_max))),
        departures: Departures::new(options.recent, options.departures_max),
        questions: questions.clone(),
        expected: 0.into(),
        returned: 0.into(),
        leftover: 0.into(),
        up: false.into(),
    });
    let keeper = Keeper {
        inner: Arc::clone(&inner),
        asked,
        stop: Arc::clone(&stop),
        rows: counter!(STORE_ROWS),
        dropped: counter!(STORE_DROPPED),
        open,
        backend: None,
        patience,
        retry_at: Instant::now(),
        complained: None,
        started: SystemTime::now(),
        loaded: false,
        unsettled: None,
        progress,
        options,
    };
    let thread = thread::Builder::new()
        .name("store".into())
        .spawn(move || keeper.run())?;
    // An error means that it takes longer: the thread goes on with it while the gateway serves.
    let opened = first_attempt.recv_timeout(OPEN_WAIT);
    let _ = opened.map(|()| first_attempt.recv_timeout(LOAD_WAIT));
    Ok((
        StoreHandle(Some(inner)),
        StoreThread {
            thread,
            questions,
            stop,
        },
    ))
}

struct Keeper {
    inner: Arc<Inner>,
    options: Options,
    asked: Receiver<Question>,
    stop: Arc<AtomicBool>,
    rows: Counter,
    dropped: Counter,
    open: Open,
    backend: Option<Box<dyn Backend>>,
    patience: Patience,
    retry_at: Instant,
    complained: Option<Instant>,
    started: SystemTime,
    /// Whether it is known what the previous run left.
    loaded: bool,
    /// When those who did not come back are written off; `None` once that is done.
    unsettled: Option<Instant>,
    /// Tells the starter twice: the database is open, and read. It may have stopped waiting.
    progress: SyncSender<()>,
}

impl Keeper {
    fn run(mut self) {
        self.open();
        // Once for each that the starter may still wait for, if opening failed.
        let _ = self.progress.try_send(());
        let _ = self.progress.try_send(());
        let mut flush_at = Instant::now() + self.options.flush_interval;
        let mut prune_at = Instant::now() + self.prune_interval();
        loop {
            let wait = flush_at.saturating_duration_since(Instant::now());
            match self.asked.recv_timeout(wait) {
                Ok(Question::Row { msisdn, answer }) => {
                    // The admin may have stopped waiting.
                    let _ = answer.send(self.row(msisdn));
                }
                Ok(Question::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let stopping = self.stop.load(Ordering::Acquire);
            if Instant::now() >= flush_at || stopping {
                self.flush();
                flush_at = Instant::now() + self.options.flush_interval;
            }
            if Instant::now() >= prune_at {
                self.inner.departures.prune();
                prune_at = Instant::now() + self.prune_interval();
            }
            if stopping {
                self.close();
                return;
            }
        }
    }

    fn prune_interval(&self) -> Duration {
        (self.inner.departures.keep() / 4).max(Duration::from_secs(1))
    }

    /// Opens the database; a damaged one is set aside and a fresh one opened, once.
    fn open(&mut self) {
        let Some(path) = self.options.path.clone() else {
            return;
        };
        let first = contained(|| self.open_and_load());
        let opened = match first {
            Err(StoreError::Damaged(why)) => {
                tracing::error!(%why, path = %path.display(), "the session store is damaged");
                self.inner.expected.store(0, Ordering::Relaxed);
                self.inner.returned.store(0, Ordering::Relaxed);
                set_aside(&path).and_then(|aside| {
                    tracing::error!(aside = %aside.display(), "set the damaged session store aside; a fresh one takes its place");
                    contained(|| self.open_and_load())
                })
            }
            other => other,
        };
        match opened {
            Ok(backend) => {
                self.backend = Some(backend);
                self.inner.up.store(true, Ordering::Relaxed);
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Reads what the previous run left: whom to expect, and which requests it cut off.
    fn open_and_load(&mut self) -> Result<Box<dyn Backend>, StoreError> {
        let mut backend = (self.open)()?;
        let _ = self.progress.try_send(());
        let mut expected = 0;
        let first = !self.loaded;
        let unreadable = backend.load(&mut |msisdn, row| {
            if first && row.left.is_none() {
                expected += 1;
                self.inner.departures.note(msisdn);
            }
        })?;
        let leftover = backend.clear_requests()?;
        if first {
            self.loaded = true;
            self.unsettled = Some(Instant::now() + self.patience.return_within);
            self.inner.expected.store(expected, Ordering::Relaxed);
            self.inner.leftover.store(leftover, Ordering::Relaxed);
            tracing::info!(
                expected,
                leftover,
                unreadable,
                "the session store is open: so many handsets ought to come back, so many requests were cut off"
            );
        }
        Ok(backend)
    }

    fn flush(&mut self) {
        if self.options.path.is_some() && self.backend.is_none() && Instant::now() >= self.retry_at
        {
            self.open();
        }
        let Some(mut buffer) = self.inner.buffer() else {
            return;
        };
        self.dropped.increment(buffer.take_dropped());
        if self.backend.is_none() {
            return;
        }
        let changes = buffer.take();
        drop(buffer);
        let some = !changes.is_empty();
        let written = self.write(&changes);
        if let Some(mut buffer) = self.inner.buffer() {
            match &written {
                Ok(()) => buffer.written(),
                Err(_) => buffer.give_back(changes),
            }
        }
        match written {
            Ok(()) => {
                // A database that opens need not take rows: a full disk shows at the first of them.
                if some && self.complained.take().is_some() {
                    tracing::info!("the session store is written again");
                }
                self.settle();
            }
            Err(error) => self.failed(&error),
        }
    }

    fn write(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let Some(backend) = self.backend.as_mut().filter(|_| !changes.is_empty()) else {
            return Ok(());
        };
        let mut sessions: Vec<_> = changes
            .sessions
            .iter()
            .map(|(msisdn, change)| (*msisdn, *change))
            .collect();
        let mut requests: Vec<_> = changes
            .requests
            .iter()
            .map(|(id, change)| (*id, *change))
            .collect();
        sessions.sort_unstable_by_key(|(msisdn, _)| *msisdn);
        requests.sort_unstable_by_key(|(id, _)| *id);
        let (started, returned) = (self.started, &self.inner.returned);
        // Counted by the row that the first registration of this run replaces: no table of those who are expected.
        let mut count = |row: Row, change: &SessionChange| {
            let expected = row.left.is_none() && row.since < started;
            if expected && change.since.is_some_and(|since| since >= started) {
                returned.fetch_add(1, Ordering::Relaxed);
            }
        };
        contained(|| backend.write(&sessions, &requests, &mut count))?;
        self.rows.increment(changes.len() as u64);
        Ok(())
    }

    /// Writes off those who were connected before the start and have not come back: the next start expects only
    /// handsets that this run has seen.
    fn settle(&mut self) {
        if self.unsettled.is_none_or(|at| Instant::now() < at) {
            return;
        }
        let (Some(backend), started) = (self.backend.as_mut(), self.started) else {
            return;
        };
        let settled = contained(|| {
            let mut gone = Vec::new();
            backend.load(&mut |msisdn, row| {
                if gone.len() < SETTLED_AT_ONCE && row.left.is_none() && row.since < started {
                    let change = SessionChange {
                        session: row.session,
                        since: Some(row.since),
                        seen: row.last_seen,
                        left: Some(Cause::Lost),
                    };
                    gone.push((msisdn, change));
                }
            })?;
            backend.write(&gone, &[], &mut |_, _| {})?;
            Ok(gone.len())
        });
        match settled {
            // The rest at the next flush.
            Ok(SETTLED_AT_ONCE) => {}
            Ok(handsets) => {
                self.unsettled = None;
                tracing::info!(
                    handsets,
                    "handsets that did not come back after the restart are written off"
                );
            }
            Err(error) => self.failed(&error),
        }
    }

    fn row(&mut self, msisdn: Msisdn) -> Option<Row> {
        self.flush();
        let backend = self.backend.as_mut()?;
        match contained(|| backend.row(msisdn)) {
            Ok(row) => row,
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    /// The gateway goes on without the database, which is tried again later.
    fn failed(&mut self, error: &StoreError) {
        self.close();
        self.retry_at = Instant::now() + self.patience.retry_after;
        if self
            .complained
            .is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY)
        {
            self.complained = Some(Instant::now());
            tracing::error!(%error, retry_after_s = self.patience.retry_after.as_secs(), "the gateway runs without its session store");
        }
    }

    fn close(&mut self) {
        self.inner.up.store(false, Ordering::Relaxed);
        let backend = self.backend.take();
        // Closing writes too, and may fail as writing may.
        if let Err(error) = contained(|| {
            drop(backend);
            Ok(())
        }) {
            tracing::error!(%error, "the session store did not close in order");
        }
    }
}

/// A panic of the database is an error of the database.
fn contained<T>(operation: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(operation)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Err(StoreError::Damaged(format!(
            "the database panicked: {text}"
        )))
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::sync::atomic::AtomicUsize;

    use everline_protocol::{RequestId, SessionId};
    use tracing::subscriber::DefaultGuard;
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::super::buffer::RequestChange;
    use super::*;

    /// A database in memory whose next writes fail, by an error or a panic; what was written outlives it.
    #[derive(Clone, Default)]
    struct Flaky {
        rows: Arc<Mutex<HashMap<Msisdn, SessionChange>>>,
        failures: Arc<AtomicUsize>,
        panics: bool,
        opened: Arc<AtomicUsize>,
    }

    impl Backend for Flaky {
        fn load(&mut self, each: &mut dyn FnMut(Msisdn, Row)) -> Result<u64, StoreError> {
            for (msisdn, change) in self.rows.lock().expect("no panic inside").iter() {
                each(*msisdn, row_of(change));
            }
            Ok(0)
        }

        fn clear_requests(&mut self) -> Result<u64, StoreError> {
            Ok(0)
        }

        fn write(
            &mut self,
            sessions: &[(Msisdn, SessionChange)],
            _requests: &[(RequestId, RequestChange)],
            replaced: &mut dyn FnMut(Row, &SessionChange),
        ) -> Result<(), StoreError> {
            let fails = self
                .failures
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                });
            if fails.is_ok() {
                assert!(!self.panics, "as sled does on garbage");
                return Err(StoreError::Unavailable("no room".into()));
            }
            let mut rows = self.rows.lock().expect("no panic inside");
            for (msisdn, change) in sessions {
                if let Some(before) = rows.insert(*msisdn, *change) {
                    replaced(row_of(&before), change);
                }
            }
            Ok(())
        }

        fn row(&mut self, _msisdn: Msisdn) -> Result<Option<Row>, StoreError> {
            Ok(None)
        }
    }

    fn row_of(change: &SessionChange) -> Row {
        Row {
            session: change.session,
            since: change.since.unwrap_or(change.seen),
            last_seen: change.seen,
            left: change.left,
        }
    }

    fn handset(number: u64) -> Msisdn {
        Msisdn::from_u64(number).expect("a valid number")
    }

    fn started(flaky: &Flaky) -> (StoreHandle, StoreThread) {
        started_with(flaky, RETURN_WITHIN)
    }

    fn options() -> Options {
        Options {
            path: Some("/nowhere/at/all".into()),
            flush_interval: Duration::from_millis(1),
            pending_rows_max: 100,
            cache_bytes: 0,
            recent: Duration::from_secs(60),
            departures_max: 100,
        }
    }

    fn impatient(return_within: Duration) -> Patience {
        Patience {
            retry_after: Duration::from_millis(1),
            return_within,
        }
    }

    fn started_with(flaky: &Flaky, return_within: Duration) -> (StoreHandle, StoreThread) {
        let opened = flaky.clone();
        let open: Open = Box::new(move || {
            opened.opened.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(opened.clone()))
        });
        start_with(options(), open, impatient(return_within)).expect("a thread")
    }

    fn until(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !condition() {
            assert!(Instant::now() < deadline, "waited for {what}");
            thread::yield_now();
        }
    }

    #[test]
    fn rows_that_could_not_be_written_are_written_when_the_database_is_back() {
        for panics in [false, true] {
            let flaky = Flaky {
                panics,
                ..Flaky::default()
            };
            flaky.failures.store(3, Ordering::SeqCst);
            let (store, thread) = started(&flaky);
            store.registered(handset(34_600_000_001), SessionId(1));
            until("the row", || {
                flaky.rows.lock().expect("no panic inside").len() == 1
            });
            until("the database to be back", || {
                store.up() && store.lag().is_zero()
            });
            assert_eq!(
                flaky.opened.load(Ordering::SeqCst),
                4,
                "opened anew after each failure"
            );
            assert!(thread.stop(Duration::from_secs(30)));
        }
    }

    #[test]
    fn a_database_that_opens_and_takes_no_rows_is_told_of_once_and_so_is_its_return() {
        thread_local! {
            static LOG: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
        }
        let flaky = Flaky::default();
        flaky.failures.store(5, Ordering::SeqCst);
        let told = Told::default();
        let (opened, teller) = (flaky.clone(), told.clone());
        let open: Open = Box::new(move || {
            // On the store's own thread, for as long as it lives.
            let log = || tracing_subscriber::registry().with(teller.clone());
            LOG.with_borrow_mut(|guard| {
                guard.get_or_insert_with(|| tracing::subscriber::set_default(log()));
            });
            Ok(Box::new(opened.clone()))
        });
        let (store, thread) =
            start_with(options(), open, impatient(RETURN_WITHIN)).expect("a thread");
        store.registered(handset(34_600_000_001), SessionId(1));
        until("the row", || {
            flaky.rows.lock().expect("no panic inside").len() == 1
        });
        assert!(thread.stop(Duration::from_secs(30)));
        let told = told.0.lock().expect("no panic inside");
        let times = |part: &str| told.iter().filter(|line| line.contains(part)).count();
        assert_eq!(times("runs without its session store"), 1, "{told:?}");
        assert_eq!(times("is written again"), 1, "{told:?}");
    }

    /// What was logged.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Told {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().expect("no panic inside").push(line.0);
        }
    }

    struct Line(String);

    impl tracing::field::Visit for Line {
        fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
            self.0 += &format!("{value:?} ");
        }
    }

    #[test]
    fn those_who_were_connected_are_expected_and_count_as_having_left_at_the_start() {
        let flaky = Flaky::default();
        let (store, thread) = started(&flaky);
        store.registered(handset(34_600_000_001), SessionId(1));
        store.registered(handset(34_600_000_002), SessionId(2));
        store.left(handset(34_600_000_002), SessionId(2), Cause::Bye);
        assert!(
            thread.stop(Duration::from_secs(30)),
            "stopping writes what waits"
        );

        let (store, thread) = started(&flaky);
        let minute = Duration::from_secs(60);
        assert_eq!(store.expected(), 1);
        assert!(store.left_recently(handset(34_600_000_001), minute));
        assert!(
            !store.left_recently(handset(34_600_000_002), minute),
            "it left on purpose"
        );
        store.registered(handset(34_600_000_001), SessionId(3));
        assert!(
            !store.left_recently(handset(34_600_000_001), minute),
            "it is back"
        );
        assert!(thread.stop(Duration::from_secs(30)));
    }

    #[test]
    fn those_of_the_expected_who_are_back_are_counted_once() {
        let flaky = Flaky::default();
        let (store, thread) = started(&flaky);
        for nth in 1..=3 {
            store.registered(handset(34_600_000_000 + nth), SessionId(nth));
        }
        store.left(handset(34_600_000_003), SessionId(3), Cause::Bye);
        assert!(thread.stop(Duration::from_secs(30)));

        let (store, thread) = started(&flaky);
        until("the rows", || store.expected() == 2);
        // Failures of the database neither lose nor double anybody.
        flaky.failures.store(2, Ordering::SeqCst);
        store.registered(handset(34_600_000_001), SessionId(11));
        until("the first to be counted", || store.returned() == 1);
        // Not expected: one that had left, and one that was never seen.
        store.registered(handset(34_600_000_003), SessionId(13));
        store.registered(handset(34_600_000_004), SessionId(14));
        // Again, and gone again: still one of those who came back.
        store.registered(handset(34_600_000_001), SessionId(21));
        store.left(handset(34_600_000_001), SessionId(21), Cause::Lost);
        store.registered(handset(34_600_000_002), SessionId(12));
        until("the second to be counted", || store.returned() == 2);
        assert!(thread.stop(Duration::from_secs(30)));
        assert_eq!((store.expected(), store.returned()), (2, 2));
    }

    /// A database so slow that it writes one row while thousands register.
    #[test]
    fn a_slow_database_holds_up_nobody_and_takes_no_more_than_its_bound() {
        let slow = Slow::default();
        let opened = slow.clone();
        let open: Open = Box::new(move || Ok(Box::new(opened.clone())));
        let (store, thread) =
            start_with(options(), open, impatient(RETURN_WITHIN)).expect("a thread");
        store.registered(handset(34_600_000_000), SessionId(0));
        until("the write to hang", || slow.writing.load(Ordering::SeqCst));
        // Every call returns though nothing is written; each handset registers twice, and one row of it waits.
        for session in 1..=2 {
            for nth in 1..=1_000 {
                store.registered(handset(34_600_000_000 + nth), SessionId(session));
            }
        }
        assert!(slow.writing.load(Ordering::SeqCst) && !store.lag().is_zero());
        slow.go_on.store(true, Ordering::SeqCst);
        until("the rest", || store.lag().is_zero());
        assert!(thread.stop(Duration::from_secs(30)));
        let batches = slow.batches.lock().expect("no panic inside");
        assert_eq!(
            batches.iter().map(Vec::len).sum::<usize>(),
            1 + 100,
            "the first, and as many as may wait"
        );
        assert!(
            batches.iter().all(|batch| batch.is_sorted()),
            "each batch by number"
        );
    }

    /// Hangs in its writes until it is told to go on.
    #[derive(Clone, Default)]
    struct Slow {
        writing: Arc<AtomicBool>,
        go_on: Arc<AtomicBool>,
        batches: Arc<Mutex<Vec<Vec<Msisdn>>>>,
    }

    impl Backend for Slow {
        fn load(&mut self, _each: &mut dyn FnMut(Msisdn, Row)) -> Result<u64, StoreError> {
            Ok(0)
        }

        fn clear_requests(&mut self) -> Result<u64, StoreError> {
            Ok(0)
        }

        fn write(
            &mut self,
            sessions: &[(Msisdn, SessionChange)],
            _requests: &[(RequestId, RequestChange)],
            _replaced: &mut dyn FnMut(Row, &SessionChange),
        ) -> Result<(), StoreError> {
            self.writing.store(true, Ordering::SeqCst);
            until("the word to go on", || self.go_on.load(Ordering::SeqCst));
            let batch = sessions.iter().map(|(msisdn, _)| *msisdn).collect();
            self.batches.lock().expect("no panic inside").push(batch);
            Ok(())
        }

        fn row(&mut self, _msisdn: Msisdn) -> Result<Option<Row>, StoreError> {
            Ok(None)
        }
    }

    #[test]
    fn those_who_do_not_come_back_are_expected_once() {
        let flaky = Flaky::default();
        let (store, thread) = started(&flaky);
        store.registered(handset(34_600_000_001), SessionId(1));
        assert!(thread.stop(Duration::from_secs(30)));

        let (store, thread) = started_with(&flaky, Duration::ZERO);
        assert_eq!(store.expected(), 1);
        let left = || {
            flaky
                .rows
                .lock()
                .expect("no panic inside")
                .values()
                .next()
                .and_then(|row| row.left)
        };
        until("it to be written off", || left() == Some(Cause::Lost));
        assert!(thread.stop(Duration::from_secs(30)));

        let (store, thread) = started(&flaky);
        assert_eq!(store.expected(), 0);
        assert!(thread.stop(Duration::from_secs(30)));
    }
}
