//! The lines of the picture: a bar for each phase, then what the last second says. A line is never wider than the
//! terminal, and there are never more lines than it has.

use console::{measure_text_width, pad_str, truncate_str};

use super::course::{Course, Phase, State};
use super::terminal::{Size, Style};
use super::words::{Errors, Micros, clock, megabytes};
use crate::report::shown::grouped;
use crate::report::{Look, Second};

/// More phases than these are not shown at one time.
const PHASES_SHOWN: usize = 8;
const NAME_COLUMNS_MAX: usize = 16;
const BAR_COLUMNS_MAX: usize = 40;
const BAR_COLUMNS_MIN: usize = 6;
/// Of the words before the numbers.
const LABEL_COLUMNS: usize = 11;

/// What is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picture<'a> {
    pub(super) course: &'a Course,
    pub(super) handsets: u64,
    pub(super) look: Look<'a>,
    pub(super) second: &'a Second,
}

impl Picture<'_> {
    /// All of it, for a terminal of this size.
    pub(super) fn lines(&self, size: Size, style: Style) -> Vec<String> {
        let mut numbers = Vec::new();
        for (label, items) in self.numbers(style) {
            numbers.extend(wrapped(label, &items, size, style));
        }
        numbers.truncate(size.rows.saturating_sub(1));
        let room = Size {
            rows: size.rows - numbers.len(),
            ..size
        };
        let mut lines = phases(self.course, room, style);
        if lines.len() < room.rows {
            lines.push(String::new());
        }
        lines.extend(numbers);
        lines
    }

    fn numbers(&self, style: Style) -> Vec<(&'static str, Vec<String>)> {
        let (second, fleet) = (self.second, self.look.fleet);
        let mut handsets = vec![format!(
            "{} open of {}",
            grouped(second.open),
            grouped(self.handsets)
        )];
        for (number, what) in [
            (fleet.connecting, "connecting"),
            (fleet.away.storm + fleet.away.churn, "away"),
        ] {
            if number > 0 {
                handsets.push(format!("{} {what}", grouped(number)));
            }
        }
        let signaling = vec![
            format!("{} registrations/s", grouped(second.registered)),
            format!("{} keep-alives/s", grouped(second.keep_alives)),
        ];
        let mut rows = vec![("handsets", handsets), ("signaling", signaling)];
        if self.look.calls.is_some() {
            rows.push(("requests", self.requests()));
        }
        rows.push(("errors", self.errors(style)));
        rows.extend(self.processes());
        rows
    }

    fn requests(&self) -> Vec<String> {
        let second = self.second;
        let mut items = vec![
            format!("{}/s", grouped(second.good + second.bad)),
            format!("{} in flight", grouped(second.in_flight)),
        ];
        if second.good > 0 {
            items.push(format!("p50 {}", Micros(second.p50_us)));
            items.push(format!("p99 {}", Micros(second.p99_us)));
            items.push(format!("p99.9 {}", Micros(second.p99_9_us)));
        }
        items
    }

    fn errors(&self, style: Style) -> Vec<String> {
        let errors = Errors::of(self.look.fleet, self.look.calls);
        if errors.all == 0 {
            return vec!["none".into()];
        }
        let mut items = vec![style.bad(&grouped(errors.all))];
        items.extend(
            errors
                .kinds
                .iter()
                .map(|(kind, times)| format!("{kind} {}", grouped(*times))),
        );
        items
    }

    fn processes(&self) -> Vec<(&'static str, Vec<String>)> {
        let second = self.second;
        let row = |name, rss: Option<u64>, cores: Option<f64>| {
            let mut items = vec![megabytes(rss?)];
            items.extend(cores.map(|cores| format!("{cores:.2} cores")));
            Some((name, items))
        };
        let gateway = row("gateway", second.gateway_rss_bytes, second.gateway_cores);
        let loadgen = row("loadgen", second.loadgen_rss_bytes, second.loadgen_cores);
        gateway.into_iter().chain(loadgen).collect()
    }
}

/// The phases' lines; those nearest to the one that runs where there is no room for all.
pub(super) fn phases(course: &Course, size: Size, style: Style) -> Vec<String> {
    let all = course.phases();
    let shown = all.len().min(PHASES_SHOWN).min(size.rows);
    let first = course
        .current()
        .saturating_sub(shown / 2)
        .min(all.len() - shown);
    let window = &all[first..first + shown];
    let names = window.iter().map(|phase| measure_text_width(&phase.name));
    let name_columns = names.max().unwrap_or(0).min(NAME_COLUMNS_MAX);
    let line = |phase: &Phase| {
        truncate_str(
            &phase_line(phase, name_columns, size, style),
            size.columns,
            "",
        )
        .into_owned()
    };
    window.iter().map(line).collect()
}

fn phase_line(phase: &Phase, name_columns: usize, size: Size, style: Style) -> String {
    let name = truncate_str(&phase.name, name_columns, "");
    let name = pad_str(&name, name_columns, console::Alignment::Left, None);
    match phase.state {
        State::Over(seconds) => format!(
            "{} {name} {:>8}",
            style.well(style.signs().over),
            clock(seconds)
        ),
        State::Ahead => style.faint(format!("  {name}").trim_end()),
        State::Skipped => style.faint(&format!("{} {name}  skipped", style.signs().skipped)),
        State::Running(running) => {
            let begin = format!(
                "{} {} {:>8}",
                style.strong(style.signs().running),
                style.strong(&name),
                clock(running.elapsed_s())
            );
            let mut end = format!(" {:>4.0} %", (running.share * 100.0).floor());
            if let Some(left) = running.left_s() {
                end += &format!("  {} left", clock(left.round()));
            }
            let taken = measure_text_width(&begin) + 2 + end.len();
            let bar = size.columns.saturating_sub(taken).min(BAR_COLUMNS_MAX);
            if bar < BAR_COLUMNS_MIN {
                return begin + &end;
            }
            format!("{begin}  {}{end}", style.bar(running.share, bar))
        }
    }
}

/// A label and what it says, on as many lines as the width asks for.
fn wrapped(label: &str, items: &[String], size: Size, style: Style) -> Vec<String> {
    let indent = " ".repeat(LABEL_COLUMNS);
    let between = format!(" {} ", style.signs().between);
    let mut lines = Vec::new();
    let mut line = style.faint(&format!("{label:<LABEL_COLUMNS$}"));
    let mut is_first = true;
    for item in items {
        let width = measure_text_width(&line) + measure_text_width(item);
        if !is_first && width + measure_text_width(&between) > size.columns {
            lines.push(std::mem::replace(&mut line, indent.clone()));
            is_first = true;
        }
        if !is_first {
            line += &between;
        }
        line += item;
        is_first = false;
    }
    lines.push(line);
    lines
        .iter()
        .map(|line| truncate_str(line, size.columns, "").into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::books::{CallerBooks, FleetBooks};
    use crate::screen::course::Aim;

    fn course(names: &[&str]) -> Course {
        let aim = Aim::Time(Duration::from_secs(100));
        Course::new(names.iter().map(|name| (*name, aim)))
    }

    /// A run in its second phase, with everything that can be shown.
    fn draw(course: &mut Course, size: Size) -> Vec<String> {
        let mut fleet = FleetBooks {
            connecting: 3,
            ..FleetBooks::default()
        };
        fleet.away.churn = 1200;
        let current = course.phases()[1].name.clone();
        course.enter(&course.phases()[0].name.clone(), 0.0, &fleet);
        course.enter(&current, 12.0, &fleet);
        course.advance(53.0, &fleet);
        (0..2).for_each(|_| fleet.not_registered.count("refused:overloaded"));
        let mut calls = CallerBooks::default();
        calls.failed.count("timeout");
        let second = Second {
            at: 53,
            open: 9_998,
            registered: 1_500,
            keep_alives: 33,
            good: 1_990,
            bad: 10,
            in_flight: 12,
            p50_us: 840,
            p99_us: 12_345,
            p99_9_us: 40_000,
            gateway_rss_bytes: Some(281_000_000),
            gateway_cores: Some(0.451),
            loadgen_rss_bytes: Some(402_000_000),
            ..Second::default()
        };
        let look = Look {
            at_s: 53.0,
            fleet: &fleet,
            calls: Some(&calls),
            recent: None,
            gateway: None,
            loadgen: None,
        };
        Picture {
            course,
            handsets: 10_000,
            look,
            second: &second,
        }
        .lines(size, Style::PLAIN)
    }

    #[test]
    fn eighty_columns_show_all_of_it() {
        let size = Size {
            columns: 79,
            rows: 23,
        };
        let drawn = draw(&mut course(&["ramp", "noon", "finish"]), size);
        assert_eq!(
            drawn.join("\n"),
            "\
+ ramp       0:12
> noon       0:41  ################........................   41 %  0:59 left
  finish

handsets   9,998 open of 10,000 | 3 connecting | 1,200 away
signaling  1,500 registrations/s | 33 keep-alives/s
requests   2,000/s | 12 in flight | p50 840us | p99 12.3ms | p99.9 40.0ms
errors     3 | refused:overloaded 2 | timeout 1
gateway    281 MB | 0.45 cores
loadgen    402 MB"
        );
    }

    #[test]
    fn no_line_is_wider_and_no_picture_higher_than_the_terminal() {
        let names = [
            "ramp",
            "früher Morgen im Süden",
            "noon",
            "evening",
            "night",
            "a",
            "b",
            "c",
            "d",
            "finish",
        ];
        for columns in 1..100 {
            for rows in [1, 2, 5, 9, 40] {
                let lines = draw(&mut course(&names), Size { columns, rows });
                assert!(lines.len() <= rows, "{columns}x{rows}: {lines:#?}");
                for line in &lines {
                    assert!(measure_text_width(line) <= columns, "{columns}: {line:?}");
                }
            }
        }
        let lines = draw(
            &mut course(&names),
            Size {
                columns: 40,
                rows: 40,
            },
        );
        assert!(
            lines.iter().any(|line| line.contains("p99.9 40.0ms")),
            "wrapped, not cut: {lines:#?}"
        );
    }

    #[test]
    fn the_phase_that_runs_is_always_there() {
        let names: Vec<_> = (0..30).map(|number| format!("phase-{number}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let mut course = course(&names);
        for name in names {
            course.enter(name, 1.0, &FleetBooks::default());
            for rows in [1, 3, 20] {
                let lines = phases(&course, Size { columns: 79, rows }, Style::PLAIN);
                assert!(
                    lines
                        .iter()
                        .any(|line| line.starts_with(&format!("> {name} "))),
                    "{name}: {lines:#?}"
                );
            }
        }
    }
}
