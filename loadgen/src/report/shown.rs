//! How figures and texts from outside are shown to a person, on a page as on a terminal.

/// A kind or name from outside is cut after so many characters.
const SHOWN_MAX: usize = 200;

/// A text from outside as a person may see it: nothing that acts on a terminal, is not seen or turns the text round,
/// and no more than fits.
pub fn shown(text: &str) -> String {
    let visible = text
        .chars()
        .map(|c| if is_hidden(c) { '\u{fffd}' } else { c });
    let mut shown: String = visible.take(SHOWN_MAX).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// A command line, word by word.
pub fn shown_words(words: &[String]) -> String {
    let words: Vec<_> = words.iter().map(|word| shown(word)).collect();
    words.join(" ")
}

/// A figure of any size, with digits enough to be compared.
pub fn figure(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 && value >= 0.0 => grouped(value as u64),
        1000.0.. => grouped(value.round().abs() as u64),
        100.0.. => format!("{value:.0}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_does_nothing_but_be_read() {
        assert_eq!(shown("error:flooding"), "error:flooding");
        assert_eq!(
            shown("\u{1b}[2Jcleared\n\u{202e}"),
            "\u{fffd}[2Jcleared\u{fffd}\u{fffd}"
        );
        let long = shown(&"é".repeat(10_000));
        assert_eq!(long.chars().count(), SHOWN_MAX + 1);
        let words = ["loadgen", "run\u{7}"].map(str::to_owned);
        assert_eq!(shown_words(&words), "loadgen run\u{fffd}");
    }

    #[test]
    fn figures_keep_the_digits_that_count() {
        for (value, text) in [
            (0.0, "0"),
            (1_000_000.0, "1,000,000"),
            (18_234.7, "18,235"),
            (432.1, "432"),
            (7.554, "7.55"),
            (0.0123, "0.0123"),
        ] {
            assert_eq!(figure(value), text);
        }
        assert_eq!(
            (grouped(12), grouped(1_234_567)),
            ("12".into(), "1,234,567".into())
        );
    }
}
