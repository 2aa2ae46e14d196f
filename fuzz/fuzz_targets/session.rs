//! The gateway's machine under any bytes, any cuts, any times and any calls of its owner.
//!
//! Each step of the input is one byte that chooses the call and one that is its argument; input steps take as many
//! bytes as the argument says. After the end, nothing may come out.
#![no_main]

use everline_protocol::{
    Beat, ErrorCode, LINE_BYTES_MAX, Millis, Refusal, RefusalCode, RequestId, Rules, Session,
    SessionEvent, SessionId, SessionOutput,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let rules = Rules {
        timeout_s: 10..=3600,
        connect_limit: Millis::from_secs(10),
        grace_max: Millis::from_secs(30),
        beat: Beat::default(),
    };
    let mut session = Session::new(Millis(0), &rules);
    let (mut now, mut rest, mut ended) = (Millis(0), data, false);
    while let Some((&[call, argument], behind)) = rest.split_first_chunk::<2>() {
        rest = behind;
        let mut out = SessionOutput::default();
        match call % 9 {
            0 => session.admit(SessionId(1), now, &rules, &mut out),
            1 => session.refuse(&Refusal::new(RefusalCode::BadToken), &mut out),
            2 => {
                let ready = session.is_ready();
                assert_eq!(session.signal(RequestId(1), None, &mut out), ready);
            }
            3 => session.on_data_channel(now),
            4 => session.reconnect(Millis(5), None, &mut out),
            5 => session.end(ErrorCode::Revoked, &mut out),
            6 => {
                now = now + Millis::from_secs(u32::from(argument));
                session.on_deadline(now, &rules, &mut out);
            }
            _ => {
                let (piece, behind) = rest.split_at(usize::from(argument).min(rest.len()));
                rest = behind;
                session.input(piece, now, &rules, &mut out);
            }
        }
        assert!(session.heap_bytes() <= LINE_BYTES_MAX);
        assert!(
            !ended || (out.wire.is_empty() && out.events.is_empty()),
            "something came after the end"
        );
        assert!(out.wire.is_empty() || out.wire.ends_with(b"\r\n"));
        ended |= out.events.iter().any(|event| {
            matches!(
                event,
                SessionEvent::Refused(_)
                    | SessionEvent::Left
                    | SessionEvent::Broken(_)
                    | SessionEvent::Dead
            )
        });
        assert_eq!(session.deadline().is_none(), ended);
    }
});
