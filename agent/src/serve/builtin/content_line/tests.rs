//! Lines of every kind, there and back.

use proptest::prelude::*;

use super::*;

fn read(line: &str) -> Property {
    let mut lines = Lines::new(line.as_bytes());
    let read = lines.next().unwrap().property().unwrap();
    assert!(lines.next().is_none(), "more than one line: {line}");
    read
}

fn written(property: &Property) -> String {
    let mut out = Vec::new();
    property.write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn parameters_are_quoted_where_they_must_be() {
    let property = Property::of_text("ADR", "a;b").with("LABEL", "\"One\"\nTwo; ^3");
    let line = written(&property);
    assert_eq!(line, "ADR;LABEL=\"^'One^'^nTwo; ^^3\":a\\;b\r\n");
    assert_eq!(read(&line).params, property.params);
}

#[test]
fn a_bare_word_is_a_type_an_encoding_or_a_kind_of_value() {
    let property = read("PHOTO;JPEG;BASE64;URL:x");
    assert_eq!(property.types(), ["jpeg"]);
    assert!(property.says("ENCODING", "base64") && property.says("VALUE", "url"));
}

#[test]
fn line_breaks_of_any_system_are_escaped() {
    let note = read("NOTE;ENCODING=QUOTED-PRINTABLE:a=0D=0Ab=0Dc=0Ad");
    assert_eq!(note.text(), "a\nb\nc\nd");
    let raw = Property {
        params: Vec::new(),
        ..note
    };
    assert_eq!(written(&raw), "NOTE:a\\nb\\nc\\nd\r\n");
}

#[test]
fn only_a_value_in_quoted_printable_goes_on_behind_its_last_sign() {
    let file = "PHOTO;X-WAS=QUOTED-PRINTABLE:data:,=\nTEL:1\nNOTE;quoted-printable:a=\nb\n";
    let lines: Vec<_> = Lines::new(file.as_bytes())
        .map(|line| line.property().unwrap().value)
        .collect();
    assert_eq!(lines, ["data:,=", "1", "ab"]);
}

/// With a look at all that came for each piece, this would go on for minutes.
#[test]
fn a_long_value_in_many_short_pieces_is_read() {
    let file = format!(
        "NOTE;QUOTED-PRINTABLE:{}b\nX;QUOTED-PRINTABLE;{}b:c\n",
        "a=\n".repeat(300_000),
        "a=\n".repeat(300_000)
    );
    let lines: Vec<_> = Lines::new(file.as_bytes())
        .map(|line| line.property())
        .collect();
    let [Ok(note), Ok(x)] = lines.as_slice() else {
        panic!("{} lines", lines.len());
    };
    assert_eq!((note.value.len(), x.value.as_str()), (300_001, "c"));
}

#[test]
fn a_backslash_that_escapes_nothing_stays() {
    assert_eq!(unescape("C:\\data \\, \\\\ \\"), "C:\\data , \\ \\");
    assert_eq!(unescape("http\\://x"), "http://x");
}

#[test]
fn old_character_sets_are_read() {
    let mut line = b"N;CHARSET=Windows-1252;ENCODING=QUOTED-PRINTABLE:=80=DF".to_vec();
    assert_eq!(
        Lines::new(&line).next().unwrap().property().unwrap().value,
        "€ß"
    );
    line = b"N;CHARSET=SHIFT_JIS:\x8eR".to_vec();
    assert_eq!(
        Lines::new(&line).next().unwrap().property().unwrap().value,
        "山"
    );
    line = b"N;CHARSET=US-ASCII:\xc3\xa9".to_vec();
    assert_eq!(
        Lines::new(&line).next().unwrap().property().unwrap().value,
        "é"
    );
    line = b"N;CHARSET=EUC-JP:\xff".to_vec();
    assert!(Lines::new(&line).next().unwrap().property().is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for line in Lines::new(&bytes) {
            let _ = line.property();
        }
    }

    #[test]
    fn any_property_comes_back(
        group in prop::option::of("[a-zA-Z0-9-]{1,8}"),
        name in "[A-Z][A-Z0-9-]{0,12}",
        params in prop::collection::vec(("X-[A-Z0-9-]{1,6}", prop::collection::vec("([ -~à-ÿ𝄞\n]{0,20}[a-z]|)", 1..3)), 0..4),
        text in "[ -~à-ÿ𝄞\n\t]{0,300}",
    ) {
        let params: Vec<_> = params.into_iter().map(|(name, values)| Param {
            name,
            values: values.into_iter().map(|v| v.trim_matches(' ').to_owned()).collect(),
        }).collect();
        let property = Property { line: 1, group, name, params, value: escape(&text) };
        let line = written(&property);
        for physical in line.split("\r\n") {
            prop_assert!(physical.len() <= FOLD_BYTES);
        }
        let back = read(&line);
        prop_assert_eq!(back.text(), text);
        prop_assert_eq!(back, property);
    }
}
