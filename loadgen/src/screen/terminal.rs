//! Puts lines in the place of those before, on a terminal whose size may change meanwhile. The cursor is never hidden
//! and no mode is changed, so that nothing need be restored, however the run ends.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use console::Term;

/// Columns and lines that may be drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// Colours, and signs beyond ASCII, as far as the terminal is to have them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    has_colours: bool,
    signs: &'static Signs,
}

/// What stands for what.
#[derive(Debug)]
pub(super) struct Signs {
    pub(super) over: &'static str,
    pub(super) running: &'static str,
    pub(super) skipped: &'static str,
    pub(super) between: &'static str,
    done: &'static str,
    to_do: &'static str,
}

const ASCII: Signs = Signs {
    over: "+",
    running: ">",
    skipped: "-",
    between: "|",
    done: "#",
    to_do: ".",
};
const UNICODE: Signs = Signs {
    over: "✓",
    running: "▸",
    skipped: "–",
    between: "·",
    done: "━",
    to_do: "─",
};

impl Style {
    /// No colours, ASCII only.
    #[cfg(test)]
    pub(super) const PLAIN: Self = Self {
        has_colours: false,
        signs: &ASCII,
    };

    /// As the tester's environment asks for it.
    fn of_environment(has_colours: bool) -> Self {
        let speaks_utf8 = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .is_some_and(|locale| {
                let locale = locale.to_ascii_lowercase();
                locale.contains("utf-8") || locale.contains("utf8")
            });
        Self {
            has_colours,
            signs: if speaks_utf8 { &UNICODE } else { &ASCII },
        }
    }

    pub(super) fn signs(self) -> &'static Signs {
        self.signs
    }

    /// What went well.
    pub(super) fn well(self, text: &str) -> String {
        self.coloured(text, "32")
    }

    /// What did not.
    pub(super) fn bad(self, text: &str) -> String {
        self.coloured(text, "31")
    }

    /// What runs now.
    pub(super) fn strong(self, text: &str) -> String {
        self.coloured(text, "1")
    }

    /// What is not looked at first.
    pub(super) fn faint(self, text: &str) -> String {
        self.coloured(text, "2")
    }

    /// A bar of so many columns.
    pub(super) fn bar(self, share: f64, columns: usize) -> String {
        let done = ((share * columns as f64) as usize).min(columns);
        let (before, after) = (
            self.signs.done.repeat(done),
            self.signs.to_do.repeat(columns - done),
        );
        self.coloured(&before, "36") + &self.faint(&after)
    }

    fn coloured(self, text: &str, code: &str) -> String {
        if self.has_colours && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Where the picture goes; the tests have one of their own.
pub(super) trait Surface {
    /// Columns and rows of the whole terminal; `None`: it does not say.
    fn size(&self) -> Option<(usize, usize)>;
    /// Writes all of it at once.
    fn write(&mut self, text: &str) -> io::Result<()>;
}

/// The terminal on standard error.
#[derive(Debug)]
pub(super) struct Console(Term);

impl Surface for Console {
    fn size(&self) -> Option<(usize, usize)> {
        let (rows, columns) = self.0.size_checked()?;
        Some((usize::from(columns), usize::from(rows)))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        io::stderr().write_all(text.as_bytes())
    }
}

/// A picture that is redrawn in place.
#[derive(Debug)]
pub(super) struct Terminal<S> {
    surface: S,
    style: Style,
    /// Widths of the lines that stand there now, above the cursor.
    standing: Vec<usize>,
    /// There was a picture at some time.
    has_drawn: bool,
}

impl Terminal<Console> {
    /// `None` where standard error is no terminal, or one whose cursor can't be moved.
    pub(super) fn of_stderr() -> Option<Self> {
        let term = Term::stderr();
        let moves = term.is_term() && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb");
        // `console` looks at NO_COLOR, CLICOLOR and CLICOLOR_FORCE.
        let style = Style::of_environment(console::colors_enabled_stderr());
        moves.then(|| Self::new(Console(term), style))
    }
}

impl<S: Surface> Terminal<S> {
    pub(super) fn new(surface: S, style: Style) -> Self {
        Self {
            surface,
            style,
            standing: Vec::new(),
            has_drawn: false,
        }
    }

    /// Draws the lines in place of those before.
    pub(super) fn draw(&mut self, lines: impl FnOnce(Size, Style) -> Vec<String>) {
        let size = self.size();
        let lines = lines(size, self.style);
        let mut text = self.back_to_the_top(size);
        // Writing to a String can't fail.
        for line in &lines {
            let _ = write!(text, "\x1b[2K{line}\r\n");
        }
        text += "\x1b[J";
        self.standing = lines
            .iter()
            .map(|line| console::measure_text_width(line))
            .collect();
        self.has_drawn = true;
        self.put(&text);
    }

    /// Writes a sentence above the picture, which stands below it from the next second on.
    pub(super) fn say(&mut self, sentence: &str) {
        let mut text = self.back_to_the_top(self.size());
        let _ = write!(text, "\x1b[J{sentence}\r\n");
        self.standing.clear();
        self.put(&text);
    }

    /// Draws for the last time. What was never drawn is not drawn now either.
    pub(super) fn end(&mut self, lines: impl FnOnce(Size, Style) -> Vec<String>) {
        if self.has_drawn {
            self.draw(lines);
            self.standing.clear();
        }
    }

    /// One column and one row less than there are: a line that fills the last column wraps on some terminals, and the
    /// cursor stands in a row of its own.
    fn size(&self) -> Size {
        let (columns, rows) = self.surface.size().unwrap_or((80, 24));
        Size {
            columns: columns.saturating_sub(1).max(1),
            rows: rows.saturating_sub(1).max(1),
        }
    }

    /// A terminal that became narrower has wrapped what stood there: a line may now take several rows.
    fn back_to_the_top(&self, size: Size) -> String {
        let columns = size.columns + 1;
        let rows = |width: &usize| width.div_ceil(columns).max(1);
        let up = self.standing.iter().map(rows).sum::<usize>().min(size.rows);
        if up == 0 {
            "\r".into()
        } else {
            format!("\r\x1b[{up}A")
        }
    }

    fn put(&mut self, text: &str) {
        // A picture is not worth dying for: where nobody looks any more, the run goes on.
        let _ = self.surface.write(text);
    }
}

/// A line where there is no terminal.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    /// A terminal of the test's, which may change its size.
    struct Emulated(vt100::Parser);

    impl Emulated {
        fn resize(&mut self, columns: u16, rows: u16) {
            self.0.screen_mut().set_size(cells(rows), cells(columns));
        }

        fn rows(&self) -> Vec<String> {
            let (_, columns) = self.0.screen().size();
            let rows = self.0.screen().rows(0, columns.get());
            rows.map(|row| row.trim_end().to_owned()).collect()
        }
    }

    impl Surface for Emulated {
        fn size(&self) -> Option<(usize, usize)> {
            let (rows, columns) = self.0.screen().size();
            Some((columns.get().into(), rows.get().into()))
        }

        fn write(&mut self, text: &str) -> io::Result<()> {
            self.0.process(text.as_bytes());
            Ok(())
        }
    }

    fn cells(number: u16) -> NonZero<u16> {
        NonZero::new(number).expect("a terminal has some")
    }

    fn terminal(columns: u16, rows: u16) -> Terminal<Emulated> {
        let mut emulated = Emulated(vt100::Parser::new(cells(rows), cells(columns), 0));
        emulated.write("$ loadgen run\r\n").expect("it takes all");
        Terminal::new(emulated, Style::PLAIN)
    }

    fn lines(lines: &[&str]) -> impl FnOnce(Size, Style) -> Vec<String> {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        move |_, _| lines
    }

    #[test]
    fn a_picture_stands_in_the_place_of_the_one_before() {
        let mut terminal = terminal(20, 6);
        terminal.draw(lines(&["one", "two of them", "three"]));
        terminal.draw(lines(&["1", "2"]));
        assert_eq!(
            terminal.surface.rows(),
            ["$ loadgen run", "1", "2", "", "", ""]
        );
        terminal.draw(lines(&["uno", "dos", "tres"]));
        assert_eq!(
            terminal.surface.rows(),
            ["$ loadgen run", "uno", "dos", "tres", "", ""]
        );
    }

    #[test]
    fn a_sentence_stands_above_the_picture_and_stays() {
        let mut terminal = terminal(20, 6);
        terminal.say("a note");
        terminal.draw(lines(&["one", "two"]));
        terminal.say("another");
        terminal.draw(lines(&["one", "two"]));
        assert_eq!(
            terminal.surface.rows(),
            ["$ loadgen run", "a note", "another", "one", "two", ""]
        );
    }

    #[test]
    fn at_the_end_the_last_picture_stays_and_the_cursor_is_below() {
        let mut terminal = terminal(20, 6);
        terminal.draw(lines(&["one", "two"]));
        terminal.end(lines(&["over"]));
        terminal.surface.write("$ ").expect("it takes all");
        assert_eq!(
            terminal.surface.rows(),
            ["$ loadgen run", "over", "$", "", "", ""]
        );
        assert!(!terminal.surface.0.screen().hide_cursor());
        terminal.say("a note");
        terminal.end(lines(&["over"]));
        assert_eq!(
            terminal.surface.rows()[1..5],
            ["over", "a note", "over", ""],
            "under the last sentence too"
        );
    }

    #[test]
    fn what_was_never_drawn_is_not_drawn_at_the_end() {
        let mut terminal = terminal(20, 4);
        terminal.end(lines(&["over"]));
        assert_eq!(terminal.surface.rows(), ["$ loadgen run", "", "", ""]);
    }

    #[test]
    fn a_terminal_that_scrolls_keeps_one_picture() {
        let mut terminal = terminal(20, 4);
        for round in 0..9 {
            terminal.draw(lines(&[&format!("round {round}"), "two", "three"]));
        }
        assert_eq!(terminal.surface.rows(), ["round 8", "two", "three", ""]);
    }

    #[test]
    fn lines_that_a_narrower_terminal_wrapped_are_replaced_too() {
        let mut terminal = terminal(20, 8);
        terminal.draw(lines(&["0123456789abcde", "two"]));
        terminal.surface.resize(10, 8);
        // As terminals do that wrap anew what stands there.
        let size = terminal.size();
        assert_eq!(
            size,
            Size {
                columns: 9,
                rows: 7
            }
        );
        assert_eq!(terminal.back_to_the_top(size), "\r\x1b[3A");
    }

    #[test]
    fn a_bar_is_as_long_as_it_is_asked_to_be() {
        for share in [0.0, 0.014, 0.5, 0.999, 1.0] {
            assert_eq!(Style::PLAIN.bar(share, 10).len(), 10);
        }
        assert_eq!(Style::PLAIN.bar(0.999, 4), "###.");
        let coloured = Style {
            has_colours: true,
            signs: &UNICODE,
        };
        assert_eq!(coloured.bar(0.5, 2), "\x1b[36m━\x1b[0m\x1b[2m─\x1b[0m");
    }
}
