//! Debian's Prometheus scrapes a live gateway under load, as the shipped scrape configuration says, and every panel's
//! query gives numbers.

mod lab;

use everline_grafana::board::{Board, Placed};
use everline_grafana::board_files;
use everline_grafana::query::{Choices, fill};
use lab::gateway::LiveGateway;
use lab::prometheus::Prometheus;

/// As in prometheus.yml, and what Grafana makes of its scrape interval: four scrapes.
const JOB: &str = "everline-gateway";
const RATE_INTERVAL: &str = "1m";
/// Of the scenario `smoke`.
const HANDSETS: u32 = 200;

fn queries() -> (Vec<Placed>, Vec<Placed>) {
    let (mut panels, mut marks) = (Vec::new(), Vec::new());
    for file in board_files().expect("a folder of dashboards") {
        let board = Board::read(&file).unwrap_or_else(|error| panic!("{error}"));
        panels.extend(board.panel_queries());
        marks.extend(board.annotation_queries());
    }
    (panels, marks)
}

#[test]
fn every_panel_shows_numbers_while_a_gateway_is_under_load() {
    let gateway = LiveGateway::start();
    let instance = gateway.admin().to_string();
    let prometheus = Prometheus::start(&instance);
    // Before the load, so that its beginning is seen: a rate is between two scrapes.
    prometheus.until("up == 1");
    let load = gateway.smoke();

    // The moment in which the load is well under way: everything is asked as of then, however long the asking takes.
    let moment = prometheus.until(&format!(
        r#"everline_sessions == {HANDSETS}
            and on () everline_requests_total{{outcome="answered"}} > 80
            and on () everline_keepalives_total{{result="answered"}} > 0"#
    ));
    let (panels, marks) = queries();
    // What the variables at the top are filled from.
    let offered = format!(r#"everline_build_info{{job="{JOB}", instance="{instance}"}}"#);
    assert_eq!(prometheus.query(&offered, moment), Ok(vec![1.0]));
    for choices in [
        Choices::one(JOB, &instance, RATE_INTERVAL),
        Choices::all(RATE_INTERVAL),
    ] {
        for panel in &panels {
            let query = fill(&panel.text, &choices);
            let values = prometheus.query(&query, moment);
            let values = values.unwrap_or_else(|error| panic!("{}: {error}", panel.place));
            assert!(
                values.iter().any(|value| value.is_finite()),
                "{} shows no number: {query} gives {values:?}",
                panel.place
            );
        }
        for mark in &marks {
            // A mark may find nothing, but it must be a question that Prometheus understands.
            let answer = prometheus.query(&fill(&mark.text, &choices), moment);
            assert!(answer.is_ok(), "{}: {answer:?}", mark.place);
        }
    }

    load.join();
    // What the load did is what the gateway tells of it.
    prometheus.until(&format!(
        r#"everline_departures_total{{cause="bye"}} == {HANDSETS}"#
    ));
}
