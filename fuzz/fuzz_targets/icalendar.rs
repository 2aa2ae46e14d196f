//! An iCalendar file under any bytes: it is read or told as broken, what was read comes back from what is written of it,
//! and every moment in it is found or not.
#![no_main]

use everline_agent::serve::builtin::icalendar::zone::When;
use everline_agent::serve::builtin::icalendar::{Component, objects};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let Ok(read) = objects(file) else {
        return;
    };
    let mut out = Vec::new();
    for object in &read {
        object.write(&mut out);
        moments(object, object);
    }
    let again = objects(&out).expect("what is written can be read");
    assert_eq!(again.len(), read.len());
});

fn moments(object: &Component, component: &Component) {
    for property in &component.properties {
        if let Some(when) = When::of(property, object) {
            let _told = (when.text(), when.unix_s());
        }
    }
    for inner in &component.components {
        moments(object, inner);
    }
}
