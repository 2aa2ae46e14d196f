//! The sums that must come out in every report.

use serde_json::Value;

fn sum(tally: &Value) -> u64 {
    tally
        .as_object()
        .unwrap()
        .values()
        .map(|times| times.as_u64().unwrap())
        .sum()
}

/// Every session, wake, channel and request is accounted for exactly once.
pub(crate) fn assert_balanced(report: &Value) {
    let number = |path: &str| {
        report
            .pointer(path)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("{path}"))
    };
    let tally = |path: &str| sum(report.pointer(path).unwrap_or_else(|| panic!("{path}")));
    assert_eq!(
        number("/registrations/attempts"),
        number("/registrations/registered")
            + tally("/registrations/not_registered")
            + number("/registrations/abandoned")
            + number("/registrations/connecting")
    );
    assert_eq!(
        number("/registrations/registered"),
        number("/sessions/open")
            + number("/sessions/left")
            + tally("/sessions/dropped")
            + number("/sessions/moved")
            + tally("/sessions/lost")
    );
    assert_eq!(
        number("/channels/wakes"),
        number("/channels/opened") + tally("/channels/not_opened") + number("/channels/queued")
    );
    assert_eq!(
        number("/channels/opened"),
        number("/channels/open") + number("/channels/ended") + tally("/channels/failed")
    );
    if !report["requests"].is_null() {
        assert_eq!(
            number("/requests/due"),
            number("/requests/sent") + tally("/requests/not_sent")
        );
        assert_eq!(
            number("/requests/sent"),
            tally("/requests/answered") + tally("/requests/failed") + number("/requests/in_flight")
        );
    }
    assert_eq!(
        number("/registrations/latency_us/count"),
        number("/registrations/registered")
    );
}
