//! The protocol's page against the code: every verb, code and example line of docs/PROTOCOL.md is one that the code knows.

use everline_protocol::message::{Fault, Message};
use everline_protocol::{ErrorCode, RefusalCode};

const PAGE: &str = include_str!("../../docs/PROTOCOL.md");
const GOLDEN: &str = include_str!("golden.rs");

/// The lines of the page's dialogues: what stands behind `handset → ` or `gateway ⇒ (new connection) `.
fn said() -> Vec<&'static str> {
    PAGE.lines()
        .filter_map(|line| {
            let line = line.strip_prefix("    ")?;
            let (who, words) = line.split_once(" → ").or_else(|| line.split_once(" ⇒ "))?;
            let words = words.trim_start_matches("(new connection) ");
            let upper = words
                .split(' ')
                .next()?
                .bytes()
                .all(|byte| byte.is_ascii_uppercase());
            let http = words.contains("HTTP/1.1");
            (["handset", "gateway"].contains(&who) && upper && !http).then_some(words)
        })
        .collect()
}

#[test]
fn every_line_of_a_dialogue_has_a_verb_that_is_read() {
    let said = said();
    assert!(said.len() >= 16, "only {} lines were found", said.len());
    for line in said {
        let verb = line.split(' ').next().expect("a split has a first part");
        let read = Message::parse(verb.as_bytes());
        let unknown = matches!(&read, Err(Fault::Broken(ErrorCode::UnknownVerb)));
        assert!(!unknown, "{line}: {read:?}");
    }
}

#[test]
fn every_concrete_line_is_a_golden_one() {
    let concrete = said()
        .into_iter()
        .filter(|line| !line.contains(['<', '[', '…']));
    let mut checked = 0;
    for line in concrete {
        checked += 1;
        assert!(GOLDEN.contains(line), "{line} is no example of golden.rs");
    }
    assert!(checked >= 8, "only {checked} lines were found");
}

#[test]
fn every_code_stands_on_the_page() {
    let refusals = RefusalCode::ALL.iter().map(|code| code.name());
    for name in refusals.chain(ErrorCode::ALL.iter().map(|code| code.name())) {
        let told = [format!("`{name}`"), format!("code={name}`")];
        assert!(
            told.iter().any(|form| PAGE.contains(form.as_str())),
            "{name} is not on the page"
        );
    }
}
