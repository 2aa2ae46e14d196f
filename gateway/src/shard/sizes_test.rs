//! What a session costs in the tables, held against the page that adds it up.

use std::collections::BTreeMap;

use everline_protocol::{Msisdn, Session, Wheel};

use super::slots::Slot;
use crate::directory::Place;

/// Of the page's first table: what, and bytes.
fn told() -> BTreeMap<String, usize> {
    let page = include_str!("../../../docs/limits.md");
    let (_, table) = page
        .split_once("## One session, in the gateway's tables")
        .expect("the first table");
    let (table, _) = table.split_once("\n## ").expect("the next heading");
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let (what, bytes) = (cells.next()?, cells.next()?);
        Some((what.to_owned(), bytes.parse().ok()?))
    };
    table.lines().filter_map(row).collect()
}

/// The directory's entries lie in tables of powers of two that are at most 7/8 full; an entry has a byte of control.
fn directory_bytes(sessions: usize) -> usize {
    let entry = size_of::<(Msisdn, Place)>() + 1;
    let entries = (sessions * 8 / 7).next_power_of_two();
    (entry * entries).div_ceil(sessions)
}

#[test]
fn a_session_costs_what_the_page_says_and_at_most_128_bytes() {
    let session = size_of::<Session>();
    let sizes = [
        ("session", session),
        ("connection", size_of::<Option<Slot>>() - session),
        ("timer", Wheel::TIMER_BYTES),
        ("directory", directory_bytes(1_000_000)),
        ("ring's table", everline_uring::SLOT_BYTES),
    ];
    let sum: usize = sizes.iter().map(|(_, bytes)| bytes).sum();
    let sizes = sizes.into_iter().chain([("sum", sum)]);
    let known: BTreeMap<_, _> = sizes
        .map(|(what, bytes)| (what.to_owned(), bytes))
        .collect();
    assert_eq!(told(), known, "docs/limits.md and the program");
    // At a million, at two, and just behind the doubling of the directory, where it is dearest.
    for sessions in [1_000_000, 2_000_000, 917_505, 1_835_009] {
        let all = sum - directory_bytes(1_000_000) + directory_bytes(sessions);
        assert!(all <= 128, "{all} bytes at {sessions}");
    }
}
