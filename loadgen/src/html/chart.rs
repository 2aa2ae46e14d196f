//! One chart as SVG: lines over a horizontal axis, complete without a script.
//!
//! The drawing has no view box, so that its text and strokes keep their size at any width: across, everything stands
//! in percent. Only the lines are stretched, inside a plot with a view box of its own.

use std::fmt::Write as _;

use maud::{Markup, html};
use serde::Serialize;

use super::course::Range;
use super::unit::{Unit, linear_ticks, log_ticks};

/// Pixels: the names of the phases, then the plot, then the labels of the axis.
const BANDS_HEIGHT: f64 = 16.0;
const PLOT_TOP: f64 = 36.0;
const PLOT_HEIGHT: f64 = 176.0;
const HEIGHT: f64 = PLOT_TOP + PLOT_HEIGHT + 22.0;
/// Width of the plot in its own units.
const ACROSS: f64 = 1000.0;
const TICKS: f64 = 4.0;
const USUAL_WIDTH: f64 = 560.0;
const LETTER_WIDTH: f64 = 6.5;

/// A chart.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    /// Unique on the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// What it shows, for who can't see it.
    pub(super) says: String,
    pub(super) unit: Unit,
    pub(super) scale: Scale,
    pub(super) axis: &'a Axis,
    pub(super) lines: Vec<Line>,
    pub(super) bands: &'a [Band],
}

/// How values are spread upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Log,
}

/// What lies below a chart.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) name: &'static str,
    /// Where each column stands, from 0 to 1, and what it is called.
    pub(super) columns: Vec<(f64, String)>,
    /// The labels that are always seen.
    pub(super) ticks: Vec<(f64, String)>,
}

/// One line of a chart.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: &'static str,
    /// Its colour: a class of the style sheet.
    pub(super) colour: &'static str,
    pub(super) values: Vec<Range>,
    pub(super) is_filled: bool,
}

/// A phase behind a chart, from 0 to 1.
#[derive(Debug)]
pub(super) struct Band {
    pub(super) name: String,
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Band {
    /// Whether its name is seen whole in a chart of usual width; in a narrower one it is cut at the band's end.
    fn has_room(&self) -> bool {
        (self.to - self.from) * USUAL_WIDTH >= self.name.chars().count() as f64 * LETTER_WIDTH
    }
}

/// What the script shows at the pointer.
#[derive(Serialize)]
struct Readings<'a> {
    at: Vec<f64>,
    of: Vec<&'a str>,
    values: Vec<Vec<String>>,
}

impl Chart<'_> {
    /// The chart with its title and legend.
    pub(super) fn draw(&self) -> Markup {
        let ticks = self.ticks();
        let (low, high) = (
            ticks.first().copied().unwrap_or(0.0),
            ticks.last().copied().unwrap_or(1.0),
        );
        let height = |value: f64| PLOT_HEIGHT * (1.0 - self.share(value, low, high));
        let (title_id, says_id) = (format!("{}-title", self.id), format!("{}-says", self.id));
        let bottom = PLOT_TOP + PLOT_HEIGHT;
        html! {
            figure id=(self.id) data-readings=(self.readings()) {
                figcaption {
                    h3 { (self.title) }
                    (self.legend())
                }
                svg width="100%" height=(HEIGHT) role="img" aria-labelledby={ (title_id) " " (says_id) } {
                    title id=(title_id) { (self.title) }
                    desc id=(says_id) { (self.says) }
                    (self.behind())
                    @for tick in &ticks {
                        @let y = px(PLOT_TOP + height(*tick));
                        line.grid x1="0" x2="100%" y1=(y) y2=(y) {}
                    }
                    svg.plot x="0" y=(PLOT_TOP) width="100%" height=(PLOT_HEIGHT)
                        viewBox=(format!("0 0 {ACROSS} {PLOT_HEIGHT}")) preserveAspectRatio="none" {
                        @for line in &self.lines {
                            @let path = self.path(line, &height);
                            @if line.is_filled {
                                path class={ "area " (line.colour) } d=(closed(&path)) {}
                            }
                            path class={ "line " (line.colour) } d=(path.strokes) {}
                        }
                    }
                    @for (number, tick) in ticks.iter().enumerate() {
                        @let noun = if number + 1 == ticks.len() { self.unit.noun() } else { "" };
                        text x="2" y=(px(PLOT_TOP + height(*tick) - 4.0)) { (self.unit.show(*tick)) " " (noun) }
                    }
                    @for (at, label) in &self.axis.ticks {
                        @let x = percent(*at);
                        line.grid x1=(x) x2=(x) y1=(bottom) y2=(bottom + 4.0) {}
                        text x=(x) y=(bottom + 17.0) text-anchor=(anchor(*at)) { (label) }
                    }
                    line.cursor x1="0" x2="0" y1=(PLOT_TOP) y2=(bottom) visibility="hidden" {}
                }
                p.axis { (self.axis.name) }
            }
        }
    }

    /// The phases, and the names of those that are long enough for it.
    fn behind(&self) -> Markup {
        html! {
            @for (number, band) in self.bands.iter().enumerate() {
                @let (x, width) = (percent(band.from), percent((band.to - band.from).max(0.0)));
                @let parity = if number % 2 == 0 { "band even" } else { "band odd" };
                rect class=(parity) x=(x) width=(width) y="0" height=(PLOT_TOP + PLOT_HEIGHT) {}
                svg x=(x) width=(width) y="0" height=(BANDS_HEIGHT) {
                    @if band.has_room() { text.phase x="4" y="12" { (band.name) } }
                }
            }
        }
    }

    /// Each line's name, and the most it reached; the script puts the value at the pointer in its place.
    fn legend(&self) -> Markup {
        html! {
            ul.legend {
                @for line in &self.lines {
                    @let most = line.values.iter().flatten().map(|(_, most)| *most).max_by(f64::total_cmp);
                    li class=(line.colour) {
                        (line.name) " "
                        b { @if let Some(most) = most { "max " (self.unit.show(most)) } @else { "–" } }
                    }
                }
                li.at hidden { "at " b {} }
            }
        }
    }

    fn ticks(&self) -> Vec<f64> {
        let ranges = || {
            self.lines
                .iter()
                .flat_map(|line| line.values.iter().flatten())
        };
        let most = ranges().map(|(_, most)| *most).fold(0.0, f64::max);
        match self.scale {
            Scale::Linear => linear_ticks(most, TICKS),
            Scale::Log => {
                let above_zero = ranges()
                    .map(|(least, _)| *least)
                    .filter(|least| *least > 0.0);
                log_ticks(above_zero.fold(most, f64::min), most)
            }
        }
    }

    /// How far up a value stands, from 0 to 1.
    fn share(&self, value: f64, low: f64, high: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - low) / (high - low),
            Scale::Log => (value.max(low) / low).log10() / (high / low).log10(),
        };
        if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    fn path(&self, line: &Line, height: &impl Fn(f64) -> f64) -> Path {
        let mut path = Path::default();
        for (range, (at, _)) in line.values.iter().zip(&self.axis.columns) {
            // On a logarithmic scale there is no place for nothing.
            let drawn = range.filter(|(_, most)| self.scale == Scale::Linear || *most > 0.0);
            match drawn {
                Some((least, most)) => path.column(at * ACROSS, height(least), height(most)),
                None => path.gap(),
            }
        }
        path
    }

    fn readings(&self) -> String {
        let show = |range: &Range| match range {
            None => "–".to_owned(),
            Some((least, most)) if least == most => self.unit.show(*most),
            Some((least, most)) => {
                format!("{} … {}", self.unit.show(*least), self.unit.show(*most))
            }
        };
        let columns = &self.axis.columns;
        let readings = Readings {
            at: columns
                .iter()
                .map(|(at, _)| (at * 1e4).round() / 1e4)
                .collect(),
            of: columns.iter().map(|(_, label)| label.as_str()).collect(),
            values: self
                .lines
                .iter()
                .map(|line| line.values.iter().map(show).collect())
                .collect(),
        };
        serde_json::to_string(&readings).expect("readings are strings and finite numbers")
    }
}

/// A line as SVG draws it, while it is put together.
#[derive(Debug, Default)]
struct Path {
    strokes: String,
    last: Option<(f64, f64)>,
    first_x: Option<f64>,
}

impl Path {
    /// A column of its least and greatest value; the nearer one to where the line stands is drawn first.
    fn column(&mut self, x: f64, least_y: f64, most_y: f64) {
        let from = self.last.map_or(least_y, |(_, y)| y);
        let (near, far) = if (from - least_y).abs() <= (from - most_y).abs() {
            (least_y, most_y)
        } else {
            (most_y, least_y)
        };
        let begin = if self.last.is_some() { 'L' } else { 'M' };
        let _ = write!(self.strokes, "{begin}{} {}", short(x), short(near));
        if short(near) != short(far) {
            let _ = write!(self.strokes, "V{}", short(far));
        } else if self.last.is_none() {
            // A line that goes nowhere is still a dot.
            self.strokes.push_str("h0");
        }
        self.first_x.get_or_insert(x);
        self.last = Some((x, far));
    }

    fn gap(&mut self) {
        self.last = None;
    }
}

/// The line and what lies below it.
fn closed(path: &Path) -> String {
    match (path.first_x, path.last) {
        (Some(first_x), Some((last_x, _))) => format!(
            "{}L{} {PLOT_HEIGHT}L{} {PLOT_HEIGHT}Z",
            path.strokes,
            short(last_x),
            short(first_x)
        ),
        _ => String::new(),
    }
}

fn anchor(at: f64) -> &'static str {
    match at {
        ..0.04 => "start",
        0.96.. => "end",
        _ => "middle",
    }
}

fn percent(share: f64) -> String {
    format!("{}%", short(share * 100.0))
}

fn px(value: f64) -> String {
    short(value)
}

/// Two digits behind the point are finer than any screen.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
