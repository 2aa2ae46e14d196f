//! What a tester sees while a run goes on: one line a second, rewritten in place on a terminal, or a plain line now
//! and then where the output goes to a file.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use crate::report::Second;

/// Without a terminal, one line in so many seconds.
const PLAIN_EVERY: u64 = 5;

/// What one line says.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// `ramp`, `hold` or `finish`.
    pub phase: &'static str,
    /// Handsets of the run.
    pub handsets: u64,
    /// The last second.
    pub second: Second,
    /// Registrations that failed, sessions that were lost, requests that were not sent or not answered well, so far.
    pub errors: u64,
}

/// Writes lines to standard error.
#[derive(Debug)]
pub struct Progress {
    in_place: bool,
    quiet: bool,
    width: usize,
}

impl Progress {
    /// For this process's standard error. `quiet`: says nothing.
    pub fn new(quiet: bool) -> Self {
        Self {
            in_place: io::stderr().is_terminal(),
            quiet,
            width: 0,
        }
    }

    /// Shows a line.
    pub fn show(&mut self, line: &Line) {
        if self.quiet || (!self.in_place && !line.second.at.is_multiple_of(PLAIN_EVERY)) {
            return;
        }
        let text = line.to_string();
        // Progress is not worth dying for: where nobody listens any more, the run goes on.
        let _ = if self.in_place {
            // Spaces over what a longer line before left.
            let write = write!(io::stderr(), "\r{text:<width$}", width = self.width);
            self.width = text.len();
            write.and_then(|()| io::stderr().flush())
        } else {
            writeln!(io::stderr(), "{text}")
        };
    }

    /// Says a sentence on a line of its own.
    pub fn say(&mut self, text: impl fmt::Display) {
        self.end();
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Ends the line that is rewritten.
    pub fn end(&mut self) {
        if self.in_place && self.width > 0 {
            let _ = writeln!(io::stderr());
            self.width = 0;
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Second {
            at,
            registered,
            open,
            keep_alives,
            good,
            p50_us,
            p99_us,
            ..
        } = self.second;
        write!(
            f,
            "{at:>4} s {:<6} open {open}/{}  reg {registered}/s  keep-alive {keep_alives}/s",
            self.phase, self.handsets
        )?;
        if good > 0 {
            write!(
                f,
                "  ok {good}/s p50 {} p99 {}",
                Micros(p50_us),
                Micros(p99_us)
            )?;
        }
        write!(f, "  errors {}", self.errors)
    }
}

/// A span for people: `840us`, `12.3ms`, `4.20s`.
#[derive(Debug, Clone, Copy)]
pub struct Micros(pub u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 as f64;
        let text = match self.0 {
            0..1_000 => format!("{}us", self.0),
            1_000..100_000 => format!("{:.1}ms", micros / 1e3),
            100_000..1_000_000 => format!("{:.0}ms", micros / 1e3),
            _ => format!("{:.2}s", micros / 1e6),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_matters_and_no_more() {
        let second = Second {
            at: 7,
            registered: 1500,
            open: 9000,
            good: 50,
            p50_us: 840,
            p99_us: 12_345,
            ..Second::default()
        };
        let line = Line {
            phase: "ramp",
            handsets: 10_000,
            second,
            errors: 2,
        };
        let expected = "   7 s ramp   open 9000/10000  reg 1500/s  keep-alive 0/s  ok 50/s p50 840us p99 12.3ms  errors 2";
        assert_eq!(line.to_string(), expected);
        let idle = Line {
            second: Second { good: 0, ..second },
            ..line
        };
        assert!(!idle.to_string().contains("p50"));
    }
}
