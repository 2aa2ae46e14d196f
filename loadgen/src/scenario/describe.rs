//! A scenario in words: what a run of it would do, for `loadgen check` and `loadgen scenarios`.

use std::fmt;
use std::time::Duration;

use super::phase::{Course, PhaseTable};
use super::plan::ScenarioPlan;
use super::{RequestsTable, Scenario, Size};
use crate::orders::Return;
use crate::report::shown::grouped;

/// A scenario that was checked, and its plan, in words.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a>(pub &'a Scenario, pub &'a ScenarioPlan);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(scenario, plan) = self;
        if let Some(name) = &scenario.name {
            let description = scenario.description.trim();
            let between = if description.is_empty() { "" } else { ": " };
            writeln!(f, "{name}{between}{description}")?;
        }
        let fleet = &plan.fleet;
        writeln!(
            f,
            "{} handsets, timeout {} s, linger {} s, answers of {} bytes",
            grouped(fleet.handsets.into()),
            fleet.timeout_s,
            fleet.linger_s,
            fleet.answer_bytes
        )?;
        if plan.handsets != fleet.handsets {
            writeln!(
                f,
                "of which this process has {}",
                grouped(plan.handsets.into())
            )?;
        }
        for (number, (phase, table)) in plan.phases.iter().zip(&scenario.phases).enumerate() {
            write!(f, "{:>3}. {}: ", number + 1, phase.name)?;
            describe_course(f, &phase.course)?;
            describe_beside(f, table)?;
            writeln!(f)?;
        }
        if !plan.thresholds.is_empty() {
            writeln!(f, "to be reached: {}", scenario.thresholds.join(", "))?;
        }
        writeln!(f, "lasts {}", Length::of(plan))
    }
}

fn describe_course(f: &mut fmt::Formatter<'_>, course: &Course) -> fmt::Result {
    match course {
        Course::Ramp {
            handsets,
            per_second,
            limit,
        } => {
            write!(
                f,
                "until {} handsets have registered, ",
                grouped((*handsets).into())
            )?;
            match per_second {
                Some(rate) => write!(f, "{rate} each second")?,
                None => f.write_str("as fast as it goes")?,
            }
            write!(f, " ({} at most)", Span(*limit))
        }
        Course::Storm { storm, limit } => {
            f.write_str("all are dropped")?;
            if !storm.over.is_zero() {
                write!(f, " over {}", Span(storm.over))?;
            }
            let back = match storm.back {
                Return::BackOff => "after their back-off",
                Return::AtOnce => "at once",
            };
            write!(f, " and come back {back} ({} at most)", Span(*limit))
        }
        Course::Hold(span) => write!(f, "{}", Span(*span)),
    }
}

fn describe_beside(f: &mut fmt::Formatter<'_>, phase: &PhaseTable) -> fmt::Result {
    if let Some(requests) = &phase.requests {
        f.write_str("; ")?;
        describe_requests(f, requests)?;
    }
    if let Some(churn) = &phase.churn {
        let (percent, gone) = (churn.percent_per_minute, churn.gone_s);
        write!(f, "; {percent} % leave each minute and stay away {gone} s")?;
    }
    if let Some(misbehaviour) = &phase.misbehaviour {
        write!(
            f,
            "; {} rogues misbehave",
            grouped(misbehaviour.rogues.into())
        )?;
    }
    Ok(())
}

fn describe_requests(f: &mut fmt::Formatter<'_>, requests: &RequestsTable) -> fmt::Result {
    match (requests.per_second, requests.concurrency) {
        (Some(rate), _) => write!(f, "{rate} requests each second")?,
        (None, callers) => write!(
            f,
            "requests of {} callers",
            grouped(callers.unwrap_or(0).into())
        )?,
    }
    match requests.targets.as_str() {
        "uniform" => f.write_str(" to any handset")?,
        "skewed" => f.write_str(" to a few handsets most")?,
        _ => f.write_str(" to one handset")?,
    }
    if requests.upload_bytes != Size::Fixed(0) {
        write!(f, ", {} bytes up", Bytes(requests.upload_bytes))?;
    }
    if let Some(size) = requests.answer_bytes {
        write!(f, ", {} bytes down", Bytes(size))?;
    }
    Ok(())
}

/// How long a plan takes: what it holds for certain, and whether ramps and storms come on top of that.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    held: Duration,
    open_ended: bool,
}

impl Length {
    /// Of this plan.
    pub fn of(plan: &ScenarioPlan) -> Self {
        let courses = || plan.phases.iter().map(|phase| &phase.course);
        let held = courses().map(|course| match course {
            Course::Hold(span) => *span,
            _ => Duration::ZERO,
        });
        Self {
            held: held.fold(Duration::ZERO, Duration::saturating_add),
            open_ended: courses().any(|course| !matches!(course, Course::Hold(_))),
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Span(self.held))?;
        if self.open_ended {
            f.write_str(" and the time that ramps and storms take")?;
        }
        Ok(())
    }
}

struct Bytes(Size);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Size::Fixed(size) => write!(f, "{size}"),
            Size::Range(range) => write!(f, "{} to {}", range.min, range.max),
        }
    }
}

/// `1 h 30 min`, `2 min`, `45 s`, `0.5 s`.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.as_secs();
        let seconds = (whole % 60) as f64 + f64::from(self.0.subsec_millis()) / 1000.0;
        let mut parts = Vec::new();
        for (count, unit) in [(whole / 3600, "h"), (whole / 60 % 60, "min")] {
            if count > 0 {
                parts.push(format!("{count} {unit}"));
            }
        }
        if seconds > 0.0 || parts.is_empty() {
            parts.push(format!("{seconds} s"));
        }
        f.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_as_people_read_them() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (0.5, "0.5 s"),
            (90.0, "1 min 30 s"),
            (5400.0, "1 h 30 min"),
        ] {
            assert_eq!(Span(Duration::from_secs_f64(seconds)).to_string(), text);
        }
    }
}
