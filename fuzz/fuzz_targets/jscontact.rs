//! A JSContact card under any bytes: it is read or told as broken, and the vCard that it becomes can be read.
#![no_main]

use everline_agent::serve::builtin::jscontact::{from_card, to_card};
use everline_agent::serve::builtin::vcard;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Ok(card) = to_card(body) else {
        return;
    };
    let mut out = Vec::new();
    card.write(&mut out);
    let read = vcard::only(&out).expect("what is written can be read");
    let _json = from_card::json(&read, String::new);
});
