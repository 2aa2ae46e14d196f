//! Emails and multimedia messages: whatever bytes come, what is read of them fits the description.
#![no_main]

use everline_agent::serve::builtin::descriptions::{EMAILS, MMS};
use everline_agent::serve::builtin::mime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for resource in [&EMAILS, &MMS] {
        if let Ok(item) = mime::read(resource, bytes) {
            let item = resource.check(item).expect("a message is never refused for what is in it");
            let _ = mime::message(resource, &item, &[]);
        }
    }
    for number in 0..4 {
        let _ = mime::part(bytes, number);
    }
});
