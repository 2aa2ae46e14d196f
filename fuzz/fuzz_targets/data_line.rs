//! The DATA line under any bytes, cut as the first byte says: neither outcome nor length may depend on the cuts.
#![no_main]

use everline_protocol::{DataLine, DataStep, ErrorCode, LINE_BYTES_MAX, RequestId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((cut, stream)) = data.split_first() else {
        return;
    };
    let cut = usize::from(*cut).max(1);
    let whole = run(stream.chunks(stream.len().max(1)));
    assert_eq!(run(stream.chunks(cut)), whole);
    if let Some(Ok((_, used))) = whole {
        assert!(used <= LINE_BYTES_MAX && stream.get(used - 1) == Some(&b'\n'));
    }
});

fn run<'b>(
    pieces: impl Iterator<Item = &'b [u8]>,
) -> Option<Result<(RequestId, usize), ErrorCode>> {
    let (mut data, mut before) = (DataLine::default(), 0);
    for piece in pieces {
        match data.input(piece) {
            DataStep::More => before += piece.len(),
            DataStep::Bound { id, used } => return Some(Ok((id, before + used))),
            DataStep::Bad(code) => return Some(Err(code)),
        }
    }
    None
}
