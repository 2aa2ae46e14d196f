//! The plain lines, for output that goes to a file: what matters, in the same words each time.

use std::fmt::Write as _;

use super::words::{Errors, Micros};
use crate::report::{Look, Second};

/// A phase begins.
pub(super) fn beginning(phase: &str, at_s: f64) -> String {
    format!("{at_s:>4.0} s {phase:<6} begins")
}

/// What the last second says.
pub(super) fn line(phase: &str, handsets: u64, look: Look<'_>, second: &Second) -> String {
    let mut line = format!(
        "{:>4} s {phase:<6} open {}/{handsets}  reg {}/s  keep-alive {}/s",
        second.at, second.open, second.registered, second.keep_alives
    );
    // Writing to a String can't fail.
    if second.good > 0 {
        let _ = write!(
            line,
            "  ok {}/s p50 {} p99 {} p99.9 {}",
            second.good,
            Micros(second.p50_us),
            Micros(second.p99_us),
            Micros(second.p99_9_us)
        );
    }
    let errors = Errors::of(look.fleet, look.calls);
    let _ = write!(line, "  errors {}", errors.all);
    if let Some((kind, times)) = errors.kinds.first() {
        let _ = write!(line, " ({kind} {times})");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::FleetBooks;

    #[test]
    fn a_line_says_what_matters_and_no_more() {
        let mut fleet = FleetBooks::default();
        let second = Second {
            at: 7,
            registered: 1500,
            open: 9000,
            good: 50,
            p50_us: 840,
            p99_us: 12_345,
            p99_9_us: 40_000,
            ..Second::default()
        };
        (0..2).for_each(|_| fleet.not_registered.count("refused:overloaded"));
        let look = Look {
            at_s: 7.0,
            fleet: &fleet,
            calls: None,
            recent: None,
            gateway: None,
            loadgen: None,
        };
        let expected = "   7 s ramp   open 9000/10000  reg 1500/s  keep-alive 0/s  ok 50/s p50 840us p99 12.3ms \
                        p99.9 40.0ms  errors 2 (refused:overloaded 2)";
        assert_eq!(line("ramp", 10_000, look, &second), expected);
        let idle = Second { good: 0, ..second };
        assert!(!line("noon", 10_000, look, &idle).contains("p50"));
    }
}
