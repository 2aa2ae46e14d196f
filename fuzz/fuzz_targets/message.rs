//! Any bytes as one line: what can be read is written as one sound line, and that reads as itself again.
#![no_main]

use everline_protocol::{Fault, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    let Ok(message) = Message::parse(line) else {
        return;
    };
    let written = encoded(&message);
    // Free text that a peer sent may be longer than what we write, so the first writing may cut it; no later one does.
    let again = match Message::parse(&written) {
        Ok(again) => again,
        Err(fault) => panic!("{message:?} is written as what reads as {}", name(fault)),
    };
    assert_eq!(encoded(&again), written);
});

fn encoded(message: &Message) -> Vec<u8> {
    let mut line = Vec::new();
    message.encode(&mut line);
    assert_eq!(line.split_off(line.len().saturating_sub(2)), b"\r\n");
    assert!(
        line.iter()
            .all(|byte| *byte == b' ' || byte.is_ascii_graphic())
    );
    line
}

fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Refused(code) => code.name(),
        Fault::Broken(code) => code.name(),
    }
}
