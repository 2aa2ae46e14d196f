//! The ingress's judgement of an HTTP/1.1 head under any bytes: it finds the same end however much it had seen before,
//! and answers every whole head with a verdict.
#![no_main]

use everline_gateway::framing::{head_len, judge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((seen, bytes)) = data.split_first() else {
        return;
    };
    let whole = head_len(bytes, 0);
    let seen = usize::from(*seen).min(bytes.len());
    if head_len(&bytes[..seen], 0).is_none() {
        assert_eq!(head_len(bytes, seen), whole);
    }
    if let Some(head) = whole.and_then(|length| bytes.get(..length)) {
        let _verdict = judge(head, 100);
    }
});
