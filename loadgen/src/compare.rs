//! `loadgen compare`: two reports side by side, figure by figure, and what makes them hard to compare.

use std::fmt;

use crate::report::figures::{Better, FIGURES, Figure};
use crate::report::shown::{figure, shown};
use crate::report::{PhaseReport, Report};

/// Two runs of the same differ by so much all the same.
const SAME: f64 = 0.05;
/// The figures that are shown of each phase.
const OF_PHASE: [&str; 11] = [
    "registrations_per_s",
    "not_registered",
    "lost",
    "back_s",
    "requests_per_s",
    "bad",
    "p50_ms",
    "p99_ms",
    "p99_9_ms",
    "gateway_cores",
    "gateway_rss_mb",
];

/// Displays how run B did beside run A.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// The first, that the second is held against.
    pub a: &'a Report,
    /// The second.
    pub b: &'a Report,
}

/// How B did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    Better,
    Worse,
    /// Measured in one of them only.
    Unknown,
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, report) in [("A", self.a), ("B", self.b)] {
            writeln!(f, "{name}  {}", headline(report))?;
        }
        self.differences(f)?;
        writeln!(f, "\n{:<36}{:>14}{:>14}{:>10}", "the run", "A", "B", "B/A")?;
        for row in FIGURES {
            line(f, row, (row.of_run)(self.a), (row.of_run)(self.b))?;
        }
        for phase in &self.a.phases {
            let same = self.b.phases.iter().find(|other| other.name == phase.name);
            if let Some(other) = same.filter(|other| other.kind != "finish") {
                self.phase(f, phase, other)?;
            }
        }
        self.phases_of_one(f)
    }
}

impl Comparison<'_> {
    /// What ran, and where: figures of different machines say little about either gateway.
    fn differences(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (a, b) = (traits(self.a), traits(self.b));
        let mut different = a
            .iter()
            .zip(&b)
            .filter(|((_, a), (_, b))| a != b)
            .peekable();
        if different.peek().is_some() {
            writeln!(f, "\nThe two runs differ in more than their figures:")?;
        }
        different.try_for_each(|((name, a), (_, b))| {
            writeln!(f, "  {name:<12}{} | {}", shown(a), shown(b))
        })
    }

    fn phase(&self, f: &mut fmt::Formatter<'_>, a: &PhaseReport, b: &PhaseReport) -> fmt::Result {
        writeln!(
            f,
            "\n{:<36}{:>14}{:>14}{:>10}",
            format!("phase {}", shown(&a.name)),
            "A",
            "B",
            "B/A"
        )?;
        OF_PHASE
            .iter()
            .filter_map(|name| Figure::named(name))
            .filter_map(|row| Some((row, row.of_phase?)))
            .try_for_each(|(row, of)| line(f, row, of(self.a, a), of(self.b, b)))
    }

    fn phases_of_one(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, report, other) in [("A", self.a, self.b), ("B", self.b, self.a)] {
            let missing =
                |phase: &&PhaseReport| other.phases.iter().all(|known| known.name != phase.name);
            let names: Vec<_> = report
                .phases
                .iter()
                .filter(missing)
                .map(|phase| shown(&phase.name))
                .collect();
            if !names.is_empty() {
                writeln!(f, "\nOnly {name} has the phases {}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

fn headline(report: &Report) -> String {
    let met = match report.thresholds.len() {
        0 => String::new(),
        all => format!(", {} of {all} thresholds met", report.met()),
    };
    format!(
        "{}, {} handsets, {}{met}",
        shown(report.scenario.as_deref().unwrap_or("by flags")),
        report.registrations.handsets,
        if report.ok { "well" } else { "not well" },
    )
}

/// What should be the same in both.
fn traits(report: &Report) -> Vec<(&'static str, String)> {
    let (build, machine) = (&report.build, &report.machine);
    let unknown = || "unknown".to_owned();
    vec![
        (
            "scenario",
            report.scenario.clone().unwrap_or_else(|| "by flags".into()),
        ),
        ("handsets", report.registrations.handsets.to_string()),
        ("version", build.version.clone()),
        ("build", build.profile.clone()),
        ("commit", build.commit.clone().unwrap_or_else(unknown)),
        ("target", build.target.clone()),
        ("processor", machine.cpu.clone()),
        ("cores", machine.cores.to_string()),
        ("memory", format!("{} GiB", machine.memory_bytes >> 30)),
        ("kernel", machine.kernel.clone()),
        ("descriptors", machine.descriptors_max.to_string()),
    ]
}

/// One figure of both; nothing if neither has it.
fn line(f: &mut fmt::Formatter<'_>, row: &Figure, a: Option<f64>, b: Option<f64>) -> fmt::Result {
    if a.is_none() && b.is_none() {
        return Ok(());
    }
    let show = |value: Option<f64>| value.map_or_else(|| "-".into(), figure);
    let ratio = match (a, b) {
        (Some(a), Some(b)) if a > 0.0 => format!("{:.3}", b / a),
        _ => "-".into(),
    };
    let word = match verdict(row.better, a, b) {
        Verdict::Better => "  better",
        Verdict::Worse => "  worse",
        Verdict::Same | Verdict::Unknown => "",
    };
    writeln!(
        f,
        "  {:<34}{:>14}{:>14}{ratio:>10}{word}",
        row.name,
        show(a),
        show(b)
    )
}

fn verdict(better: Better, a: Option<f64>, b: Option<f64>) -> Verdict {
    let (Some(a), Some(b)) = (a, b) else {
        return Verdict::Unknown;
    };
    if (b - a).abs() <= a.abs() * SAME {
        return Verdict::Same;
    }
    if (b > a) == (better == Better::More) {
        Verdict::Better
    } else {
        Verdict::Worse
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::material;

    #[test]
    fn figures_stand_side_by_side_with_their_ratio() {
        let a = Report::new(material(20, "eof"));
        let mut b = a.clone();
        b.build.version = "9.9.9".into();
        b.machine.cores += 2;
        b.registrations.per_second *= 2.0;
        b.sessions.lost.insert("reset".into(), 8);
        let noon = b
            .phases
            .iter_mut()
            .find(|phase| phase.name == "noon")
            .unwrap();
        noon.requests.as_mut().unwrap().latency_us.p99 *= 3;
        b.phases.last_mut().unwrap().name = "evening".into();
        let text = Comparison { a: &a, b: &b }.to_string();
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let rows: Vec<_> = text.lines().map(words).collect();
        let has = |row: &[&str]| rows.iter().any(|words| words == row);
        assert!(
            has(&["registrations_per_s", "1,000", "2,000", "2.000", "better"]),
            "{text}"
        );
        assert!(has(&["lost", "2", "10", "5.000", "worse"]), "{text}");
        assert!(
            has(&[
                "cores",
                &a.machine.cores.to_string(),
                "|",
                &b.machine.cores.to_string()
            ]),
            "{text}"
        );
        assert!(has(&["version", "0.1.0", "|", "9.9.9"]), "{text}");
        let (_, noon) = text.split_once("phase noon").unwrap();
        assert!(
            noon.contains("p99_ms") && noon.contains("3.000  worse"),
            "{noon}"
        );
        assert!(text.contains("Only B has the phases evening"), "{text}");
        assert!(
            !text.contains("kernel"),
            "what is the same is not a difference"
        );
    }

    #[test]
    fn a_run_is_as_good_as_itself() {
        let a = Report::new(material(20, "\u{1b}[31m"));
        let text = Comparison { a: &a, b: &a }.to_string();
        assert!(
            !text.contains("better") && !text.contains("worse") && !text.contains("differ"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn only_what_was_measured_in_both_is_better_or_worse() {
        for (a, b, expected) in [
            (Some(100.0), Some(104.0), Verdict::Same),
            (Some(100.0), Some(106.0), Verdict::Worse),
            (Some(100.0), Some(90.0), Verdict::Better),
            (Some(0.0), Some(0.0), Verdict::Same),
            (Some(0.0), Some(1.0), Verdict::Worse),
            (None, Some(1.0), Verdict::Unknown),
        ] {
            assert_eq!(verdict(Better::Less, a, b), expected, "{a:?} {b:?}");
        }
    }
}
