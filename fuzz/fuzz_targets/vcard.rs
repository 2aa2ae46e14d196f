//! A vCard file under any bytes: every card is read or told as broken, in the order of their lines.
#![no_main]

use everline_agent::serve::builtin::vcard::cards;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    for card in cards(file) {
        let _read_or_told = card;
    }
});
