//! A vCard file under any bytes: every card is read or told as broken, in the order of their lines, and one that was read
//! can be read again as the 4.0 that is written of it.
#![no_main]

use everline_agent::serve::builtin::vcard::{cards, only, upgrade};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    for card in cards(file).flatten() {
        let mut out = Vec::new();
        upgrade::card(&card).write(&mut out);
        assert!(only(&out).expect("what is written can be read").is_version("4.0"));
    }
});
