//! What the books say was not well, in sentences.

use super::material::Material;
use crate::books::{CallerBooks, Tally};
use crate::rogue::RogueBooks;

/// What kept the run from doing what it was told, or does not add up: such a run says nothing, whatever its figures.
pub(super) fn faults(material: &Material) -> Vec<String> {
    let calls = material.calls.as_ref().and_then(CallerBooks::imbalance);
    let rogues = material.rogues.as_ref().and_then(RogueBooks::imbalance);
    let sums = material.fleet.imbalance().into_iter();
    let sums = sums.chain(calls).chain(rogues);
    let sums = sums.map(|sum| format!("the books do not balance: {sum}"));
    material.faults.iter().cloned().chain(sums).collect()
}

/// What was lost, refused or failed.
pub(super) fn findings(material: &Material) -> Vec<String> {
    let Material { fleet, calls, .. } = material;
    let mut findings = Vec::new();
    let mut note = |times: u64, what: &str, causes: &Tally| {
        if times > 0 {
            let causes: Vec<_> = causes
                .iter()
                .map(|(cause, times)| format!("{cause} {times}"))
                .collect();
            findings.push(format!("{times} {what}: {}", causes.join(", ")));
        }
    };
    note(
        fleet.not_registered.total(),
        "attempts to register failed",
        &fleet.not_registered,
    );
    note(fleet.lost.total(), "sessions were lost", &fleet.lost);
    note(
        fleet.channels.not_opened.total(),
        "data channels were not opened",
        &fleet.channels.not_opened,
    );
    note(
        fleet.channels.failed.total(),
        "data channels failed",
        &fleet.channels.failed,
    );
    if let Some(calls) = calls {
        note(
            calls.not_sent.total(),
            "requests were not sent",
            &calls.not_sent,
        );
        note(
            calls.answered_otherwise(),
            "requests were answered otherwise than 2xx",
            &calls.answered,
        );
        note(calls.failed.total(), "requests failed", &calls.failed);
    }
    for (kind, books) in material.rogues.iter().flat_map(|books| &books.kinds) {
        note(
            books.otherwise.total(),
            &format!("misdeeds of kind {kind} were met otherwise than they must be"),
            &books.otherwise,
        );
    }
    if let Some(books) = &material.rogues {
        note(
            books.requests_otherwise(),
            "requests to handsets that misbehave ended otherwise than they must",
            &books.requests.answered,
        );
    }
    let wanted = material.handsets;
    for (open, when) in [
        (material.open_max, "at one time"),
        (material.settled_before_finish(), "before the finish"),
    ] {
        if open < wanted {
            findings.push(format!(
                "no more than {open} of {wanted} handsets were registered {when}"
            ));
        }
    }
    findings
}
