//! Bytes to lines, lines to verb and keys, and back (PROTOCOL section 2).
//!
//! Both state machines and [`crate::DataLine`] read through [`LineReader`] and [`Line`], and write through
//! [`LineWriter`]. What the keys of a verb mean is the business of [`crate::message`].

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

use crate::{ErrorCode, LINE_BYTES_MAX, text};

/// Longest key in bytes (PROTOCOL section 2).
pub const KEY_BYTES_MAX: usize = 32;

/// With at most this many keys, comparing each with each is cheaper than sorting; a 2,048-byte line can hold hundreds.
const FEW_KEYS: usize = 16;

/// Cuts a stream into lines, whatever its fragmentation.
///
/// It owns memory only while a line is incomplete, so that an idle connection costs 8 bytes here and no heap.
#[derive(Debug, Default)]
pub struct LineReader {
    #[expect(
        clippy::box_collection,
        reason = "the vector's own 24 bytes are for the few connections that hold half a line, not for a million idle ones"
    )]
    partial: Option<Box<Vec<u8>>>,
}

impl LineReader {
    /// The next line of what was kept and `input`, without its ending; `input` is moved behind it. `None`: no line is
    /// whole yet, and all of `input` was kept. A line that lies whole in `input` is not copied.
    ///
    /// Fails with [`ErrorCode::LineTooLong`] once [`LINE_BYTES_MAX`] bytes without a line feed are followed by another
    /// one; the stream is then useless, and reading on is the caller's mistake (it would begin in the middle of a line).
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Cow<'i, [u8]>>, ErrorCode> {
        let room = self.room();
        let Some(end) = input.iter().take(room).position(|byte| *byte == b'\n') else {
            if input.len() > room {
                self.clear();
                return Err(ErrorCode::LineTooLong);
            }
            self.keep(input);
            *input = &[];
            return Ok(None);
        };
        let (line, rest) = input.split_at(end);
        *input = rest.get(1..).unwrap_or_default();
        if self.partial.is_none() {
            return Ok(Some(Cow::Borrowed(
                line.strip_suffix(b"\r").unwrap_or(line),
            )));
        }
        self.keep(line);
        let mut whole = self.take();
        if whole.last() == Some(&b'\r') {
            whole.pop();
        }
        Ok(Some(Cow::Owned(whole)))
    }

    /// Keeps `bytes` uncut for a later [`LineReader::take`]: input that may not be read yet. Nothing is kept and
    /// [`ErrorCode::LineTooLong`] is told when it would be more than [`LINE_BYTES_MAX`] bytes in all.
    pub fn hold(&mut self, bytes: &[u8]) -> Result<(), ErrorCode> {
        if bytes.len() > self.room() {
            return Err(ErrorCode::LineTooLong);
        }
        self.keep(bytes);
        Ok(())
    }

    /// Gives away all that is kept.
    pub fn take(&mut self) -> Vec<u8> {
        self.partial
            .take()
            .map_or_else(Vec::new, |partial| *partial)
    }

    /// Forgets what is kept, and frees its memory.
    pub fn clear(&mut self) {
        self.partial = None;
    }

    /// Bytes kept on the heap: 0 between lines, never more than [`LINE_BYTES_MAX`].
    pub fn heap_bytes(&self) -> usize {
        self.partial
            .as_ref()
            .map_or(0, |partial| partial.capacity())
    }

    /// How many bytes more may be kept.
    fn room(&self) -> usize {
        let kept = self.partial.as_ref().map_or(0, |partial| partial.len());
        LINE_BYTES_MAX.saturating_sub(kept)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let partial = self.partial.get_or_insert_default();
        let needed = partial.len().saturating_add(bytes.len());
        if needed > partial.capacity() {
            // Doubling is left to us because Vec's own would pass LINE_BYTES_MAX.
            let capacity = needed
                .next_power_of_two()
                .clamp(64, LINE_BYTES_MAX)
                .max(needed);
            partial.reserve_exact(capacity - partial.len());
        }
        partial.extend_from_slice(bytes);
    }
}

macro_rules! verbs {
    ($($variant:ident => $name:literal, $doc:literal;)*) => {
        /// The first word of a line.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Verb { $(#[doc = $doc] $variant,)* }

        impl Verb {
            /// Every verb of version 1.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The verb on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The verb of a received line; `None` if version 1 has no such verb.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

verbs! {
    Connect => "CONNECT", "Handset: registers (PROTOCOL 3.1).";
    ConnRegistered => "CONNREGISTERED", "Gateway: registered (PROTOCOL 3.1).";
    ConnRefused => "CONNREFUSED", "Gateway: not registered (PROTOCOL 3.1).";
    Waiting => "WAITING", "Handset: is there (PROTOCOL 3.2).";
    KeepAlive => "KEEPALIVE", "Gateway: asks whether the handset is there (PROTOCOL 3.2).";
    RequestPending => "REQUESTPENDING", "Gateway: a request waits for a data channel (PROTOCOL 3.3).";
    Reconnect => "RECONNECT", "Gateway: is leaving (PROTOCOL 3.4).";
    Bye => "BYE", "Handset: is leaving (PROTOCOL 3.4).";
    Error => "ERROR", "Either: closes for this reason (PROTOCOL sections 2 and 4).";
    Data => "DATA", "Handset: takes a request, first line of a data channel (PROTOCOL 5.1).";
}

/// A line of sound form: a known verb, well-formed keys and values, no key twice. Keys of no meaning are still in it.
#[derive(Clone, Copy)]
pub struct Line<'l> {
    verb: Verb,
    words: &'l str,
}

impl<'l> Line<'l> {
    /// Reads a line, given without its ending. Fails with [`ErrorCode::BadLine`] if its form is wrong, and with
    /// [`ErrorCode::UnknownVerb`] if only its verb is.
    pub fn parse(line: &'l [u8]) -> Result<Self, ErrorCode> {
        // Every byte that may stand in a line is ASCII, so nothing of a well-formed line is lost here.
        let line = std::str::from_utf8(line).map_err(|_utf8| ErrorCode::BadLine)?;
        let (verb, words) = line
            .split_once(' ')
            .map_or((line, None), |(verb, words)| (verb, Some(words)));
        if verb.is_empty() || !verb.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(ErrorCode::BadLine);
        }
        let mut count = 0usize;
        for word in words.into_iter().flat_map(|words| words.split(' ')) {
            let (key, value) = word.split_once('=').ok_or(ErrorCode::BadLine)?;
            if !is_key(key) || !is_value(value) {
                return Err(ErrorCode::BadLine);
            }
            count += 1;
        }
        let words = words.unwrap_or_default();
        if has_twice(words, count) {
            return Err(ErrorCode::BadLine);
        }
        let verb = Verb::parse(verb).ok_or(ErrorCode::UnknownVerb)?;
        Ok(Self { verb, words })
    }

    /// The verb.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// The value of `key`, never empty; `None` if the line has no such key.
    pub fn value(&self, key: &str) -> Option<&'l str> {
        pairs(self.words).find_map(|(known, value)| (known == key).then_some(value))
    }
}

// A CONNECT's words hold a token, so only the verb is shown.
impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("verb", &self.verb)
            .finish_non_exhaustive()
    }
}

/// Writes one line: a verb, then pairs, then [`LineWriter::end`].
///
/// No value can break out of its place: a byte that may not stand in a value is percent-encoded, and a pair whose
/// value would be empty is left out.
#[derive(Debug)]
pub struct LineWriter<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> LineWriter<'o> {
    /// Begins a line behind what `out` already holds.
    pub fn new(verb: Verb, out: &'o mut Vec<u8>) -> Self {
        out.extend_from_slice(verb.name().as_bytes());
        Self { out }
    }

    /// Adds `key=value`.
    pub fn pair(self, key: &'static str, value: impl Display) -> Self {
        debug_assert!(is_key(key), "{key} is no key");
        let before = self.out.len();
        self.out.push(b' ');
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'=');
        let empty = self.out.len();
        // Writing to a Vec does not fail; a Display that does leaves its pair cut short, which harms nobody.
        let _ = write!(Visible(self.out), "{value}");
        if self.out.len() == empty {
            self.out.truncate(before);
        }
        self
    }

    /// Adds `key=value` if there is a value.
    pub fn maybe(self, key: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.pair(key, value),
            None => self,
        }
    }

    /// Adds free text, percent-encoded and cut to [`text::ENCODED_BYTES_MAX`], if there is any.
    pub fn text(self, key: &'static str, value: Option<&str>) -> Self {
        self.maybe(key, value.map(text::encode))
    }

    /// Ends the line.
    pub fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Percent-encodes whatever may not stand in a value.
struct Visible<'o>(&'o mut Vec<u8>);

impl Write for Visible<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte.is_ascii_graphic() {
                self.0.push(byte);
            } else {
                self.0.extend_from_slice(&text::percent(byte));
            }
        }
        Ok(())
    }
}

fn is_key(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(allowed)
}

/// PROTOCOL is silent about a value of no bytes; it says nothing that an absent key would not, so it is malformed.
fn is_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic())
}

fn pairs(words: &str) -> impl Iterator<Item = (&str, &str)> {
    words.split(' ').filter_map(|word| word.split_once('='))
}

fn has_twice(words: &str, count: usize) -> bool {
    let keys = || pairs(words).map(|(key, _)| key);
    if count <= FEW_KEYS {
        return keys()
            .enumerate()
            .any(|(place, key)| keys().take(place).any(|earlier| earlier == key));
    }
    let mut sorted: Vec<&str> = keys().collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len() != count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(reader: &mut LineReader, mut input: &[u8]) -> Vec<Result<String, ErrorCode>> {
        let mut lines = Vec::new();
        while !input.is_empty() {
            match reader.next(&mut input) {
                Ok(None) => break,
                Ok(Some(line)) => lines.push(Ok(String::from_utf8_lossy(&line).into_owned())),
                Err(code) => {
                    lines.push(Err(code));
                    break;
                }
            }
        }
        lines
    }

    #[test]
    fn a_line_ends_in_crlf_or_lf_wherever_it_was_cut() {
        let mut reader = LineReader::default();
        assert_eq!(
            lines(&mut reader, b"ONE\r\nTWO\n\r\nTH"),
            [Ok("ONE".into()), Ok("TWO".into()), Ok(String::new())]
        );
        assert_eq!(lines(&mut reader, b"REE\r"), []);
        assert_eq!(
            lines(&mut reader, b"\nFOUR\n"),
            [Ok("THREE".into()), Ok("FOUR".into())]
        );
        assert_eq!(reader.heap_bytes(), 0);
    }

    #[test]
    fn a_whole_line_is_not_copied() {
        let input = b"WAITING\r\n".as_slice();
        let line = LineReader::default()
            .next(&mut &*input)
            .expect("not too long");
        assert!(matches!(line, Some(Cow::Borrowed(b"WAITING"))));
    }

    #[test]
    fn byte_2049_is_one_too_many_and_not_an_earlier_one() {
        let mut reader = LineReader::default();
        assert_eq!(lines(&mut reader, &[b'A'; LINE_BYTES_MAX]), []);
        assert_eq!(lines(&mut reader, b"A"), [Err(ErrorCode::LineTooLong)]);
        assert_eq!(reader.heap_bytes(), 0);

        let mut longest = vec![b'A'; LINE_BYTES_MAX - 1];
        longest.push(b'\n');
        let whole = lines(&mut LineReader::default(), &longest);
        assert_eq!(
            whole.first().map(|line| line.as_ref().map(String::len)),
            Some(Ok(2047))
        );
        longest.insert(0, b'A');
        assert_eq!(
            lines(&mut LineReader::default(), &longest),
            [Err(ErrorCode::LineTooLong)]
        );

        // Cut before the last byte: 2,047 are kept, and the line feed is byte 2,048 or byte 2,049.
        for (kept, end) in [(2047, Ok(())), (2048, Err(ErrorCode::LineTooLong))] {
            assert_eq!(lines(&mut reader, &vec![b'A'; kept]), []);
            let ended = lines(&mut reader, b"\n").remove(0);
            assert_eq!(ended.map(|_| ()), end, "{kept}");
        }
    }

    #[test]
    fn memory_for_a_partial_line_never_passes_the_limit() {
        let mut reader = LineReader::default();
        for _ in 0..LINE_BYTES_MAX {
            assert_eq!(lines(&mut reader, b"A"), []);
            assert!(reader.heap_bytes() <= LINE_BYTES_MAX);
        }
    }

    #[test]
    fn form_is_judged_strictly() {
        let parse = |line: &str| Line::parse(line.as_bytes()).map(|line| line.verb());
        assert_eq!(parse("WAITING"), Ok(Verb::Waiting));
        assert_eq!(parse("WAITING a-9=~ b=x=y=="), Ok(Verb::Waiting));
        assert_eq!(
            parse(&format!("WAITING {}=1", "k".repeat(32))),
            Ok(Verb::Waiting)
        );
        let long_key = format!("WAITING {}=1", "k".repeat(33));
        for bad in [
            "",
            " ",
            "waiting",
            "Waiting",
            " WAITING",
            "WAITING ",
            "WAITING  a=1",
            "WAITING a=1 ",
            "WAITING a",
            "WAITING =1",
            "WAITING a=",
            "WAITING A=1",
            "WAITING a_b=1",
            "WAITING a=1\tb=2",
            "WAITING a=\u{e9}",
            "WAITING a=\x7f",
            "WAITING a=\0",
            "WAITING\ta=1",
            "WAITING a=1\r",
            "WAIT-ING",
            "WAITING2",
            "a=1",
            &long_key,
        ] {
            assert_eq!(parse(bad), Err(ErrorCode::BadLine), "{bad:?}");
        }
        assert_eq!(
            Line::parse(b"WAITING a=\xff").map(|line| line.verb()),
            Err(ErrorCode::BadLine)
        );
        assert_eq!(parse("HELLO a=1"), Err(ErrorCode::UnknownVerb));
        assert_eq!(
            parse("HELLO a"),
            Err(ErrorCode::BadLine),
            "form comes before the verb"
        );
    }

    #[test]
    fn a_key_that_comes_twice_is_found_among_few_and_many() {
        for others in [0, 1, FEW_KEYS - 1, FEW_KEYS, FEW_KEYS + 1, 300] {
            let many: String = (0..others).map(|n| format!(" k{n}=v")).collect();
            let once = format!("WAITING twice=1{many}");
            assert!(Line::parse(once.as_bytes()).is_ok(), "{others}");
            let twice = format!("{once} twice=2");
            assert_eq!(
                Line::parse(twice.as_bytes()).err(),
                Some(ErrorCode::BadLine),
                "{others}"
            );
        }
    }

    #[test]
    fn values_are_found_by_whole_key() {
        let line = Line::parse(b"CONNECT xid=1 id=a=b idx=2").expect("well-formed");
        assert_eq!(line.value("id"), Some("a=b"));
        assert_eq!(line.value("i"), None);
        assert_eq!(format!("{line:?}"), "Line { verb: Connect, .. }");
    }

    #[test]
    fn no_value_breaks_out_of_its_place() {
        let mut wire = Vec::new();
        let writer = LineWriter::new(Verb::Connect, &mut wire);
        writer
            .pair("token", "a\r\nBYE b\u{e9}")
            .pair("agent", "")
            .text("reason", Some("100 %\n"))
            .end();
        assert_eq!(
            wire,
            b"CONNECT token=a%0D%0ABYE%20b%C3%A9 reason=100%20%25%0A\r\n"
        );
    }
}
