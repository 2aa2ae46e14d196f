//! What a tester sees while a run goes on: on a terminal a picture that is redrawn in place once a second, elsewhere a
//! plain line now and then. `run` says which phase begins and what the books say; everything shown is made from that.
//!
//! | module | what it is |
//! |---|---|
//! | `course` | how far each phase has come, and how long it has to go |
//! | `picture` | the lines of the picture, for a width and a height |
//! | `plain` | the plain line |
//! | `terminal` | puts lines in the place of those before |
//! | `words` | numbers, spans and kinds of errors for people |

use std::fmt;

use crate::books::FleetBooks;
use crate::report::{Look, Second};
use crate::scenario::PhasePlan;

mod course;
mod picture;
mod plain;
mod terminal;
mod words;

pub use words::Micros;

use course::Course;
use picture::Picture;
use terminal::{Console, Terminal};

/// Without a terminal, one line in so many seconds.
const PLAIN_EVERY: u64 = 5;

/// The screen of one run, on standard error.
#[derive(Debug)]
pub struct Screen {
    output: Output,
    course: Course,
    handsets: u64,
}

#[derive(Debug)]
enum Output {
    /// Redrawn in place.
    Terminal(Terminal<Console>),
    /// To a file, a pipe, or a terminal that can't move its cursor.
    Plain,
    /// The tester wants nothing.
    Quiet,
}

impl Screen {
    /// For this process's standard error: a run of so many handsets with these phases, and then the finish.
    pub fn new(quiet: bool, handsets: u64, phases: &[PhasePlan]) -> Self {
        let output = match Terminal::of_stderr() {
            _ if quiet => Output::Quiet,
            Some(terminal) => Output::Terminal(terminal),
            None => Output::Plain,
        };
        Self {
            output,
            course: Course::of(phases),
            handsets,
        }
    }

    /// The next phase of this name begins; those before it that were not passed through are skipped.
    pub fn enter(&mut self, name: &str, at_s: f64, fleet: &FleetBooks) {
        self.course.enter(name, at_s, fleet);
        if matches!(self.output, Output::Plain) {
            terminal::say(&plain::beginning(name, at_s));
        }
    }

    /// The phase that runs; empty before the first.
    pub fn phase(&self) -> &str {
        self.course.now()
    }

    /// A second has passed.
    pub fn show(&mut self, look: Look<'_>, second: &Second) {
        self.course.advance(look.at_s, look.fleet);
        match &mut self.output {
            Output::Terminal(terminal) => {
                let picture = Picture {
                    course: &self.course,
                    handsets: self.handsets,
                    look,
                    second,
                };
                terminal.draw(|size, style| picture.lines(size, style));
            }
            Output::Plain if second.at.is_multiple_of(PLAIN_EVERY) => {
                let line = plain::line(self.course.now(), self.handsets, look, second);
                terminal::say(&line);
            }
            Output::Plain | Output::Quiet => {}
        }
    }

    /// Says a sentence on a line of its own.
    pub fn say(&mut self, text: impl fmt::Display) {
        match &mut self.output {
            Output::Terminal(terminal) => terminal.say(&text.to_string()),
            Output::Plain => terminal::say(&text.to_string()),
            Output::Quiet => {}
        }
    }

    /// The run is over: what stands there stays, and the cursor is below it.
    pub fn end(&mut self, at_s: f64) {
        self.course.end(at_s);
        if let Output::Terminal(terminal) = &mut self.output {
            terminal.end(|size, style| picture::phases(&self.course, size, style));
        }
    }
}
