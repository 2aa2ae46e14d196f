//! The handset's machine under any bytes, cut as the first byte says: the outcome must not depend on the cuts.
#![no_main]

use everline_protocol::{
    Handset, HandsetEvent, HandsetOutput, Identity, LINE_BYTES_MAX, Millis, Msisdn,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((cut, stream)) = data.split_first() else {
        return;
    };
    let cut = usize::from(*cut).max(1);
    let whole = run(stream.chunks(stream.len().max(1)));
    assert_eq!(run(stream.chunks(cut)), whole);
});

fn run<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> (Vec<u8>, Vec<HandsetEvent>) {
    let identity = Identity {
        msisdn: Msisdn::parse(b"34610515151").expect("11 digits"),
        token: "t".into(),
        timeout_s: 60,
        linger_s: 0,
        agent: None,
    };
    let mut out = HandsetOutput::default();
    let mut handset = Handset::connect(&identity, Millis(0), Millis::from_secs(10), &mut out);
    for piece in pieces {
        handset.input(piece, Millis(1), &mut out);
        assert!(handset.heap_bytes() <= LINE_BYTES_MAX);
    }
    assert!(out.wire.ends_with(b"\r\n"));
    (out.wire, out.events)
}
