//! Pages are looked at as a browser and a hostile network would.

use super::page;
use crate::report::example::material;
use crate::report::{Material, Report, Second};

/// Elements that have no end.
const VOID: [&str; 1] = ["meta"];
/// As many rows as a report has at most.
const DAY_S: u64 = 86_400;
const PAGE_MAX: usize = 3_000_000;

/// Every element ends where it must, every attribute is quoted, and no value holds what would end it.
fn assert_well_formed(page: &str) {
    let mut open = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some((text, tag)) = rest.split_once('<') {
        let is_raw = matches!(open.last(), Some(&("style" | "script")));
        assert!(is_raw || !text.contains('>'), "a bare > in {text:?}");
        if is_raw && !tag.starts_with("/s") {
            rest = tag;
            continue;
        }
        let mut in_quotes = false;
        let end = tag
            .find(|c| {
                in_quotes ^= c == '"';
                c == '>' && !in_quotes
            })
            .unwrap();
        let (inside, after) = (&tag[..end], &tag[end + 1..]);
        assert!(!inside.contains('<'), "{inside}");
        rest = after;
        if let Some(name) = inside.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else {
            let name = inside.split_whitespace().next().unwrap();
            if !VOID.contains(&name) {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "{open:?} are left open");
}

#[test]
fn a_page_is_whole_and_fetches_nothing() {
    let page = page(&Report::new(material(60, "eof")));
    assert_well_formed(&page);
    for foreign in ["http://", "https://", "url(", "@import", "src=", "href="] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("default-src 'none'"));
    for part in [
        "example",
        "1 of 2 thresholds missed",
        "noon: p99_ms &lt; 50",
        "id=\"sessions\"",
        "id=\"latency\"",
        "id=\"request-spread\"",
        "id=\"register-spread\"",
        "id=\"memory\"",
        "<desc id=\"cpu-says\">",
        "refused:overloaded",
        "frozen",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn what_comes_from_outside_is_text_and_nothing_else() {
    for hostile in [
        "</script><script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "'onclick='x",
        "&lt;&#60;",
        "\u{0}\u{1b}[2J\u{202e}",
    ] {
        let mut material = material(10, hostile);
        material.scenario = Some(hostile.into());
        material.command.push(hostile.into());
        material.faults.push(hostile.into());
        for phase in &mut material.phases {
            phase.name = hostile.into();
        }
        let page = page(&Report::new(material));
        assert_well_formed(&page);
        assert!(
            !page.contains("<img") && !page.contains("<script>alert"),
            "{hostile}"
        );
        assert!(
            !page.contains(['\u{0}', '\u{1b}', '\u{202e}']),
            "{hostile:?}"
        );
    }
}

#[test]
fn a_page_of_a_whole_day_can_be_sent_by_mail() {
    let mut material = material(60, "eof");
    // No two columns alike, and none that a shorter text could tell.
    material.seconds = (1..=DAY_S)
        .map(|at| Second {
            at,
            registered: at * 7919 % 20_011,
            open: 1_000_000 - at * 104_729 % 1_009,
            keep_alives: at * 31 % 3_343,
            good: at * 17 % 2_003,
            bad: at % 11,
            failed: at % 11,
            in_flight: at % 97,
            p50_us: 900 + at * 13 % 501,
            p99_us: 9_000 + at * 37 % 50_021,
            p99_9_us: 90_000 + at * 41 % 700_001,
            gateway_cores: Some((at % 1_013) as f64 / 997.0),
            gateway_rss_bytes: Some(280_000_000 + at * 4_111),
            loadgen_cores: Some((at % 1_019) as f64 / 503.0),
            loadgen_rss_bytes: Some(450_000_000 + at * 2_111),
            ..Second::default()
        })
        .collect();
    let report = Report::new(material);
    let page = page(&report);
    assert!(page.len() < PAGE_MAX, "{} bytes", page.len());
    assert_well_formed(&page);
}

#[test]
fn a_run_of_which_nothing_is_known_has_a_page_all_the_same() {
    let nothing = Material {
        scenario: None,
        thresholds: Vec::new(),
        rogues: None,
        calls: None,
        phases: Vec::new(),
        seconds: Vec::new(),
        fleet: crate::books::FleetBooks::default(),
        register_latency: crate::books::histogram(),
        open_max: 0,
        handsets: 0,
        ..material(10, "eof")
    };
    let page = page(&Report::new(nothing));
    assert_well_formed(&page);
    assert!(!page.contains("<figure") && !page.contains("NaN") && !page.contains("inf%"));
}
