//! A PROXY protocol header under any bytes, cut as the first byte says: neither outcome nor length may depend on the cuts.
#![no_main]

use everline_gateway::proxy_header::{Addresses, ProxyHeader, ProxyStep};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((cut, stream)) = data.split_first() else {
        return;
    };
    let cut = usize::from(*cut).max(1);
    // A malformed header is told as soon as it is known, so only what is whole can be held against the cuts.
    if let Some(whole) = run(stream.chunks(stream.len().max(1))) {
        assert_eq!(run(stream.chunks(cut)), Some(whole));
    }
});

fn run<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> Option<(Option<Addresses>, usize)> {
    let (mut header, mut before) = (ProxyHeader::default(), 0);
    for piece in pieces {
        match header.input(piece) {
            ProxyStep::More => before += piece.len(),
            ProxyStep::Done { addresses, used } => {
                assert!(used <= piece.len());
                return Some((addresses, before + used));
            }
            ProxyStep::Malformed => return None,
        }
    }
    None
}
