//! The audit log: every decision of the notifier and what became of each permitted act, for the owner to read.
//!
//! A line that goes with a use that was taken, or with an act that changes something, is written in that transaction,
//! before anything is done. All others go to one writer that gathers them for a moment, so that reading costs the disk
//! one write for many requests; refusals and reads that are alike and came together are one line with a count.
//! `Audit::settle` waits until everything told before is readable. The table itself is in [`super::log`].
//!
//! When there are too many lines the oldest go, but light ones (reads and refusals) and weighty ones have half of the log
//! each before they drive out the others: nobody can ask away the line of what was changed before.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::log::{self, Line};
use super::{Act, By, Moment};
use crate::serve::builtin::store::{Store, StoreError};

/// Letters that wait for the writer at most; one beyond them is lost, and the agent's log says so.
const LETTERS_MAX: usize = 4_096;

/// Letters of one transaction at most.
const BATCH_MAX: usize = 512;

/// How long letters are gathered before they are written.
const GATHER: Duration = Duration::from_millis(50);

/// Characters of an outcome at most.
const OUTCOME_CHARS_MAX: usize = 200;

/// What is told to the writer.
enum Letter {
    Line(Box<Line>),
    Outcome(i64, Moment, String),
    Settle(oneshot::Sender<()>),
}

/// The log; a clone is the same one.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    letters: mpsc::Sender<Letter>,
    /// Ids are given here, so that a permit knows its line before that is written.
    last: Arc<AtomicI64>,
    rows: Arc<Rows>,
}

/// How many lines the table has.
#[derive(Debug)]
struct Rows {
    light: AtomicI64,
    weighty: AtomicI64,
}

impl Rows {
    fn of(&self, light: bool) -> &AtomicI64 {
        if light { &self.light } else { &self.weighty }
    }

    fn add<'a>(&self, lines: impl IntoIterator<Item = &'a Line>) {
        for line in lines {
            self.of(line.is_light()).fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many light and weighty lines go when these come.
    fn over(&self, lines: &[Line], rows_max: i64) -> (i64, i64) {
        let come = |light| lines.iter().filter(|line| line.is_light() == light).count();
        let there = |light| {
            let come = i64::try_from(come(light)).unwrap_or_default();
            self.of(light).load(Ordering::Relaxed) + come
        };
        let (light, weighty) = (there(true), there(false));
        let over = (light + weighty - rows_max).max(0);
        let of_light = over.min((light - rows_max / 2).max(0));
        (of_light, over - of_light)
    }
}

impl Audit {
    /// Closes what an ended agent left open, and starts the writer; it ends with the last clone.
    pub(super) async fn start(store: &Store, rows_max: u64) -> Result<Self, StoreError> {
        let (last, light, weighty) = store
            .run(|db| log::begin(db.connection(), Moment::now()))
            .await?;
        let (letters, queue) = mpsc::channel(LETTERS_MAX);
        let audit = Self {
            letters,
            last: Arc::new(AtomicI64::new(last)),
            rows: Arc::new(Rows {
                light: light.into(),
                weighty: weighty.into(),
            }),
        };
        let writer = Writer {
            store: store.clone(),
            rows: Arc::clone(&audit.rows),
            rows_max: i64::try_from(rows_max).unwrap_or(i64::MAX),
        };
        tokio::spawn(writer.run(queue));
        Ok(audit)
    }

    /// A line about an act, not yet written.
    pub(super) fn line(&self, act: &Act, permitted: bool, by: By) -> Line {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        Line::new(id, Moment::now(), act, permitted, by)
    }

    /// Writes a line into the caller's transaction; to be told with [`Self::written`] once that has committed.
    pub(super) fn write(connection: &Connection, line: &Line) -> Result<(), StoreError> {
        log::insert(connection, line)
    }

    /// These lines were committed by [`Self::write`].
    pub(super) fn written<'a>(&self, lines: impl IntoIterator<Item = &'a Line>) {
        self.rows.add(lines);
    }

    /// Leaves a line to the writer.
    pub(super) fn later(&self, line: Line) {
        self.tell(Letter::Line(Box::new(line)));
    }

    /// How the act of a line ended.
    pub(super) fn outcome(&self, id: i64, outcome: &str) {
        let outcome = outcome.chars().take(OUTCOME_CHARS_MAX).collect();
        self.tell(Letter::Outcome(id, Moment::now(), outcome));
    }

    /// Waits until all that was told before can be read.
    pub(crate) async fn settle(&self) {
        let (told, written) = oneshot::channel();
        if self.letters.send(Letter::Settle(told)).await.is_ok() {
            let _ = written.await;
        }
    }

    /// Never waits: whoever decides or acts must not be held up by the log.
    fn tell(&self, letter: Letter) {
        if self.letters.try_send(letter).is_err() {
            tracing::warn!("the audit log can't keep up, and misses a line");
        }
    }
}

/// Writes what was told, batch by batch.
struct Writer {
    store: Store,
    rows: Arc<Rows>,
    rows_max: i64,
}

#[derive(Default)]
struct Batch {
    lines: Vec<Line>,
    outcomes: Vec<(i64, Moment, String)>,
    settled: Vec<oneshot::Sender<()>>,
}

impl Writer {
    async fn run(self, mut queue: mpsc::Receiver<Letter>) {
        while let Some(first) = queue.recv().await {
            let batch = gather(first, &mut queue).await;
            self.write(batch).await;
        }
    }

    async fn write(&self, batch: Batch) {
        let Batch {
            mut lines,
            outcomes,
            settled,
        } = batch;
        let outcomes = join(&mut lines, outcomes);
        let lines = alike(lines);
        let rows = Arc::clone(&self.rows);
        let rows_max = self.rows_max;
        let written = self.store.run(move |db| {
            let transaction = db.connection().transaction()?;
            for line in &lines {
                log::insert(&transaction, line)?;
            }
            for (id, at, outcome) in &outcomes {
                log::end(&transaction, *id, *at, outcome)?;
            }
            let (light, weighty) = rows.over(&lines, rows_max);
            let light = log::prune(&transaction, true, light)?;
            let weighty = log::prune(&transaction, false, weighty)?;
            transaction.commit()?;
            rows.add(&lines);
            rows.light.fetch_sub(light, Ordering::Relaxed);
            rows.weighty.fetch_sub(weighty, Ordering::Relaxed);
            Ok(())
        });
        if let Err(error) = written.await {
            tracing::error!(%error, "the audit log can't be written");
        }
        for told in settled {
            let _ = told.send(());
        }
    }
}

/// What comes within [`GATHER`], or until somebody waits for it.
async fn gather(first: Letter, queue: &mut mpsc::Receiver<Letter>) -> Batch {
    let until = Instant::now() + GATHER;
    let mut batch = Batch::default();
    let mut letter = Some(first);
    let mut count = 0;
    while let Some(next) = letter {
        count += 1;
        match next {
            Letter::Line(line) => batch.lines.push(*line),
            Letter::Outcome(id, at, outcome) => batch.outcomes.push((id, at, outcome)),
            Letter::Settle(told) => {
                batch.settled.push(told);
                break;
            }
        }
        if count == BATCH_MAX {
            break;
        }
        letter = timeout_at(until, queue.recv()).await.unwrap_or(None);
    }
    batch
}

/// Gives the outcomes to their lines of the same batch; those of earlier lines are left.
fn join(lines: &mut [Line], outcomes: Vec<(i64, Moment, String)>) -> Vec<(i64, Moment, String)> {
    let places: HashMap<i64, usize> = lines.iter().enumerate().map(|(at, l)| (l.id, at)).collect();
    let mut left = Vec::new();
    for (id, ended, outcome) in outcomes {
        match places.get(&id).and_then(|at| lines.get_mut(*at)) {
            Some(line) => line.ended = Some((ended, outcome)),
            None => left.push((id, ended, outcome)),
        }
    }
    left
}

/// Lines that say the same, and whose end is known, as one with a count. What is still going on stays by itself.
fn alike(lines: Vec<Line>) -> Vec<Line> {
    let mut places = HashMap::new();
    let mut kept: Vec<Line> = Vec::new();
    for line in lines {
        if line.is_open() {
            kept.push(line);
            continue;
        }
        let at = *places.entry(line.sense()).or_insert(kept.len());
        match kept.get_mut(at) {
            Some(first) => first.times += 1,
            None => kept.push(line),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::builtin::authentication::Caller;
    use crate::serve::builtin::resource::Action;

    fn line(id: i64, resource: &'static str, permitted: bool) -> Line {
        line_of(id, (resource, Action::List), permitted)
    }

    fn line_of(id: i64, (resource, action): (&'static str, Action), permitted: bool) -> Line {
        let act = Act {
            caller: Caller(Some("alice".into())),
            resource,
            action,
            content: Vec::new(),
            asked: None,
        };
        Line::new(id, Moment(id), &act, permitted, By::List)
    }

    #[test]
    fn r63_what_was_only_asked_or_read_drives_out_no_more_than_its_half() {
        let rows = Rows {
            light: 40.into(),
            weighty: 60.into(),
        };
        let lines = |count, action, permitted| -> Vec<_> {
            let of = ("send-sms", action);
            (0..count).map(|id| line_of(id, of, permitted)).collect()
        };
        let over = |lines: &[Line]| rows.over(lines, 100);
        assert_eq!(over(&[]), (0, 0));
        assert_eq!(over(&lines(5, Action::List, true)), (0, 5));
        assert_eq!(over(&lines(15, Action::Execute, false)), (5, 10));
        assert_eq!(over(&lines(10, Action::Execute, true)), (0, 10));
        rows.add(&lines(10, Action::List, true));
        assert_eq!(over(&lines(3, Action::Get, true)), (3, 10));
    }

    #[test]
    fn lines_that_say_the_same_and_have_ended_are_one_with_a_count() {
        let mut lines: Vec<_> = (1..=3).map(|id| line(id, "notes", true)).collect();
        lines.extend((4..=6).map(|id| line(id, "notes", false)));
        lines.push(line(7, "sms", false));
        let ended = |id| (id, Moment(9), "200".to_owned());
        let left = join(&mut lines, vec![ended(1), ended(3), ended(99)]);
        assert_eq!(left.len(), 1, "of an earlier batch");
        let mut told: Vec<_> = alike(lines)
            .iter()
            .map(|line| (line.id, line.times))
            .collect();
        told.sort_unstable();
        // The second one goes on.
        assert_eq!(told, [(1, 2), (2, 1), (4, 3), (7, 1)]);
    }
}
