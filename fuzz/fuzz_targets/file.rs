//! Pictures, sounds and films: what a file says of itself, read from whatever bytes come.
#![no_main]

use everline_agent::serve::builtin::descriptions::{IMAGES, SOUNDS, VIDEOS};
use everline_agent::serve::builtin::media::{describe, sniff};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = sniff::told_by(bytes);
    for resource in [&IMAGES, &SOUNDS, &VIDEOS] {
        for media_type in resource.content.iter().flat_map(|content| content.media_types) {
            let item = describe(resource, media_type, bytes, None, None);
            resource.check(item).expect("what a file says of itself fits");
        }
    }
});
