//! How far each phase has come, and how long it has to go: worked out from the books, since a phase ends by them.

use std::time::Duration;

use crate::books::FleetBooks;
use crate::scenario::{self, FINISH, PhasePlan};

/// Before this share of a phase nobody can say how long the rest takes.
const SHARE_MIN: f64 = 0.02;

/// When a phase is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Aim {
    /// So many handsets have tried to register.
    Settled(u64),
    /// Everyone who was dropped is back.
    Back,
    /// So much time has passed.
    Time(Duration),
    /// Everyone has left.
    Gone,
}

/// All phases of a run.
#[derive(Debug)]
pub(super) struct Course {
    phases: Vec<Phase>,
    /// The one that runs, or the last that ran.
    current: Option<usize>,
}

/// One phase.
#[derive(Debug)]
pub(super) struct Phase {
    /// Its name.
    pub(super) name: String,
    aim: Aim,
    /// Where it stands.
    pub(super) state: State,
}

/// Where a phase stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum State {
    /// Not begun.
    Ahead,
    /// Under way.
    Running(Running),
    /// Over, after so many seconds.
    Over(f64),
    /// Never begun: the run was interrupted.
    Skipped,
}

/// A phase under way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Running {
    begun_s: f64,
    now_s: f64,
    /// What stood in the books when it began, or the most since, as its aim needs it.
    whole: u64,
    /// From 0 to 1.
    pub(super) share: f64,
}

impl Running {
    /// Seconds since it began.
    pub(super) fn elapsed_s(self) -> f64 {
        self.now_s - self.begun_s
    }

    /// Seconds that it will go on for, if that can be said.
    pub(super) fn left_s(self) -> Option<f64> {
        (self.share >= SHARE_MIN).then(|| self.elapsed_s() * (1.0 - self.share) / self.share)
    }
}

impl Course {
    /// Of a run with these phases, and then the finish.
    pub(super) fn of(phases: &[PhasePlan]) -> Self {
        let ahead = phases.iter().map(|phase| {
            let aim = match phase.course {
                scenario::Course::Ramp { handsets, .. } => Aim::Settled(handsets.into()),
                scenario::Course::Storm { .. } => Aim::Back,
                scenario::Course::Hold(span) => Aim::Time(span),
            };
            (phase.name.as_str(), aim)
        });
        Self::new(ahead.chain([(FINISH, Aim::Gone)]))
    }

    pub(super) fn new<'a>(phases: impl Iterator<Item = (&'a str, Aim)>) -> Self {
        let phase = |(name, aim): (&str, Aim)| Phase {
            name: name.to_owned(),
            aim,
            state: State::Ahead,
        };
        Self {
            phases: phases.map(phase).collect(),
            current: None,
        }
    }

    pub(super) fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// Which phase runs, or ran last.
    pub(super) fn current(&self) -> usize {
        self.current.unwrap_or(0)
    }

    /// Its name.
    pub(super) fn now(&self) -> &str {
        let current = self.current.and_then(|current| self.phases.get(current));
        current.map_or("", |phase| &phase.name)
    }

    pub(super) fn enter(&mut self, name: &str, at_s: f64, fleet: &FleetBooks) {
        self.end(at_s);
        let first = self.current.map_or(0, |current| current + 1);
        let Some(next) = (first..self.phases.len()).find(|at| self.phases[*at].name == name) else {
            return;
        };
        for skipped in &mut self.phases[first..next] {
            skipped.state = State::Skipped;
        }
        let phase = &mut self.phases[next];
        let whole = match phase.aim {
            Aim::Settled(_) => fleet.settled,
            Aim::Gone => fleet.open,
            Aim::Back | Aim::Time(_) => 0,
        };
        phase.state = State::Running(Running {
            begun_s: at_s,
            now_s: at_s,
            whole,
            share: 0.0,
        });
        self.current = Some(next);
    }

    pub(super) fn advance(&mut self, at_s: f64, fleet: &FleetBooks) {
        let current = self
            .current
            .and_then(|current| self.phases.get_mut(current));
        let Some(phase) = current else { return };
        let State::Running(running) = &mut phase.state else {
            return;
        };
        running.now_s = at_s;
        let part = |part: u64, whole: u64| {
            if whole == 0 {
                1.0
            } else {
                part as f64 / whole as f64
            }
        };
        let share = match phase.aim {
            Aim::Settled(aim) => part(
                fleet.settled.saturating_sub(running.whole),
                aim.saturating_sub(running.whole),
            ),
            Aim::Back => {
                // Most who were away at one time: while they are being dropped nobody counts as back.
                running.whole = running.whole.max(fleet.away.storm);
                let back = running.whole - fleet.away.storm;
                if running.whole == 0 {
                    0.0
                } else {
                    part(back, running.whole)
                }
            }
            Aim::Time(span) => running.elapsed_s() / span.as_secs_f64().max(0.001),
            Aim::Gone => part(running.whole.saturating_sub(fleet.open), running.whole),
        };
        running.share = share.clamp(0.0, 1.0);
    }

    pub(super) fn end(&mut self, at_s: f64) {
        let current = self
            .current
            .and_then(|current| self.phases.get_mut(current));
        if let Some(phase) = current
            && let State::Running(running) = phase.state
        {
            phase.state = State::Over(at_s - running.begun_s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course() -> Course {
        let phases = [
            ("ramp", Aim::Settled(1000)),
            ("storm", Aim::Back),
            ("noon", Aim::Time(Duration::from_secs(60))),
            ("finish", Aim::Gone),
        ];
        Course::new(phases.into_iter())
    }

    fn running(course: &Course) -> Running {
        match course.phases()[course.current()].state {
            State::Running(running) => running,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_phase_comes_on_by_its_own_measure() {
        let (mut course, mut books) = (course(), FleetBooks::default());
        assert_eq!(course.now(), "");
        course.enter("ramp", 0.0, &books);
        books.settled = 250;
        course.advance(5.0, &books);
        assert_eq!(
            (running(&course).share, running(&course).left_s()),
            (0.25, Some(15.0))
        );

        course.enter("storm", 20.0, &books);
        books.away.storm = 10;
        course.advance(21.0, &books);
        assert_eq!(
            (running(&course).share, running(&course).left_s()),
            (0.0, None)
        );
        books.away.storm = 4;
        course.advance(22.0, &books);
        assert_eq!(running(&course).share, 0.6);
        assert_eq!(course.phases()[0].state, State::Over(20.0));

        course.enter("noon", 30.0, &books);
        course.advance(45.0, &books);
        assert_eq!(
            (course.now(), running(&course).left_s()),
            ("noon", Some(45.0))
        );
        course.advance(99.0, &books);
        assert_eq!(
            running(&course).share,
            1.0,
            "what is in flight is waited for"
        );

        books.open = 8;
        course.enter("finish", 100.0, &books);
        books.open = 6;
        course.advance(101.0, &books);
        assert_eq!(running(&course).share, 0.25);
        course.end(103.0);
        assert_eq!(course.phases()[3].state, State::Over(3.0));
    }

    #[test]
    fn an_interrupted_run_skips_what_lay_ahead() {
        let (mut course, books) = (course(), FleetBooks::default());
        course.enter("ramp", 0.0, &books);
        course.enter("finish", 4.0, &books);
        let states: Vec<_> = course.phases().iter().map(|phase| phase.state).collect();
        assert_eq!(
            states[..3],
            [State::Over(4.0), State::Skipped, State::Skipped]
        );
        course.enter("no such phase", 5.0, &books);
        assert_eq!(course.now(), "finish");
    }

    #[test]
    fn nothing_to_do_is_all_done() {
        let books = FleetBooks::default();
        let mut course = Course::new([("ramp", Aim::Settled(0))].into_iter());
        course.enter("ramp", 0.0, &books);
        course.advance(0.1, &books);
        assert_eq!(running(&course).share, 1.0);
    }
}
