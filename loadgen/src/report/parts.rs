//! The parts of a report that are of the whole run: registrations, sessions, data channels, requests, processes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::phase::used_s;
use super::spread::course;
use super::{Border, Material, Percentiles, PhaseMaterial, PhaseReport, Second, Step, map, ratio};
use crate::books::{CallerBooks, FleetBooks};
use crate::machine::ProcessSample;

/// Registration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registrations {
    /// Handsets that were to register.
    pub handsets: u64,
    /// Signaling connections begun.
    pub attempts: u64,
    /// CONNREGISTERED received, those after a reconnect included.
    pub registered: u64,
    /// Until every handset had registered, or failed to: the length of the ramps.
    pub seconds: f64,
    /// Registrations in the ramps, by these seconds.
    pub per_second: f64,
    /// The best whole second.
    pub per_second_max: u64,
    /// Attempts that ended before they were registered, by cause.
    pub not_registered: BTreeMap<String, u64>,
    /// Attempts under way when the run ended.
    pub abandoned: u64,
    /// Attempts of which nothing is known at the end of the report; not 0 only if the run was cut short.
    pub connecting: u64,
    /// From when a registration was due to CONNREGISTERED.
    pub latency_us: Percentiles,
    /// The same in full.
    pub latency_course: Vec<Step>,
}

/// What became of every session: registered = open + left + dropped + moved + lost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sessions {
    /// Most at one time.
    pub open_max: u64,
    /// When the last phase before the finish ended.
    pub open_before_finish: u64,
    /// At the end; not 0 only if the run was cut short.
    pub open: u64,
    /// Ended by the end of the run.
    pub left: u64,
    /// Dropped because the scenario wanted it, by kind.
    pub dropped: BTreeMap<String, u64>,
    /// Moved at the gateway's request.
    pub moved: u64,
    /// Ended otherwise, by cause.
    pub lost: BTreeMap<String, u64>,
    /// KEEPALIVE received and answered.
    pub keep_alives: u64,
    /// RECONNECT received.
    pub reconnects: u64,
}

/// What became of every REQUESTPENDING (`wakes` = not opened + opened + queued) and of every data channel
/// (`opened` = ended + failed + open).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Channels {
    /// REQUESTPENDING received.
    pub wakes: u64,
    /// Waiting for a slot at the end.
    pub queued: u64,
    /// No channel opened, by cause.
    pub not_opened: BTreeMap<String, u64>,
    /// Channels opened.
    pub opened: u64,
    /// Open at the end.
    pub open: u64,
    /// Ended in order.
    pub ended: u64,
    /// Ended otherwise, by cause.
    pub failed: BTreeMap<String, u64>,
    /// Requests that the handsets answered.
    pub served: u64,
    /// Bytes of request bodies.
    pub body_bytes_in: u64,
    /// Bytes of answers' bodies.
    pub body_bytes_out: u64,
}

/// What became of every request: due = sent + not sent; sent = answered + failed + in flight.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Requests {
    /// Requests that were due.
    pub due: u64,
    /// Never sent, by cause.
    pub not_sent: BTreeMap<String, u64>,
    /// Sent.
    pub sent: u64,
    /// By status code.
    pub answered: BTreeMap<String, u64>,
    /// By slug of `urn:everline:`.
    pub problems: BTreeMap<String, u64>,
    /// By cause.
    pub failed: BTreeMap<String, u64>,
    /// No outcome at the end; not 0 only if the run was cut short.
    pub in_flight: u64,
    /// Good answers (2xx, body verified) by the length of the phases in which requests were due.
    pub per_second: f64,
    /// Connections opened to the ingress.
    pub connections: u64,
    /// Bytes of answers' bodies.
    pub body_bytes_in: u64,
    /// Good answers, from when the request was due.
    pub latency_us: Percentiles,
    /// Good answers, from when the request was sent.
    pub service_us: Percentiles,
    /// All other outcomes, from when the request was due.
    pub latency_failed_us: Percentiles,
    /// `latency_us` in full.
    pub latency_course: Vec<Step>,
    /// `service_us` in full.
    pub service_course: Vec<Step>,
}

impl Requests {
    pub(super) fn new(books: &CallerBooks, phases: &[PhaseReport]) -> Self {
        let asked_s: f64 = phases
            .iter()
            .filter(|phase| phase.requests.is_some())
            .map(|phase| phase.seconds)
            .sum();
        Self {
            due: books.due,
            not_sent: map(&books.not_sent),
            sent: books.sent,
            answered: map(&books.answered),
            problems: map(&books.problems),
            failed: map(&books.failed),
            in_flight: books.in_flight,
            per_second: ratio(books.good() as f64, asked_s).unwrap_or(0.0),
            connections: books.connections,
            body_bytes_in: books.body_bytes_in,
            latency_us: Percentiles::of(&books.latency),
            service_us: Percentiles::of(&books.service),
            latency_failed_us: Percentiles::of(&books.latency_failed),
            latency_course: course(&books.latency),
            service_course: course(&books.service),
        }
    }

    /// Requests that were not sent, failed or answered otherwise than 2xx.
    pub fn bad(&self) -> u64 {
        let good = |status: &str| status.starts_with('2');
        let otherwise = self.answered.iter().filter(|(status, _)| !good(status));
        let kinds = otherwise.map(|(_, times)| times);
        kinds
            .chain(self.not_sent.values())
            .chain(self.failed.values())
            .sum()
    }
}

/// What a process used.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ProcessReport {
    /// CPU in the ramps by registrations in them, microseconds.
    pub cpu_us_per_registration: Option<f64>,
    /// Growth of memory until the last ramp's end by the sessions open then, bytes.
    pub rss_bytes_per_session: Option<f64>,
    /// CPU in the holds by their length: 1 is one core.
    pub cores_in_hold: Option<f64>,
    /// CPU of the whole run, seconds.
    pub cpu_s: Option<f64>,
    /// Most memory at the end of any second or phase, bytes.
    pub rss_bytes_max: Option<u64>,
}

impl Registrations {
    pub(super) fn new(material: &Material, phases: &[PhaseReport]) -> Self {
        let fleet = &material.fleet;
        let ramps = || phases.iter().filter(|phase| phase.kind == "ramp");
        let registered: u64 = ramps().map(|phase| phase.registered).sum();
        let seconds: f64 = ramps().filter_map(|phase| phase.settled_s).sum();
        Self {
            handsets: material.handsets,
            attempts: fleet.attempts,
            registered: fleet.registered,
            seconds,
            per_second: ratio(registered as f64, seconds).unwrap_or(0.0),
            per_second_max: material
                .seconds
                .iter()
                .map(|second| second.registered)
                .max()
                .unwrap_or(0),
            not_registered: map(&fleet.not_registered),
            abandoned: fleet.abandoned,
            connecting: fleet.connecting,
            latency_us: Percentiles::of(&material.register_latency),
            latency_course: course(&material.register_latency),
        }
    }
}

impl Sessions {
    pub(super) fn new(material: &Material) -> Self {
        let fleet = &material.fleet;
        Self {
            open_max: material.open_max,
            open_before_finish: material.open_before_finish(),
            open: fleet.open,
            left: fleet.left,
            dropped: map(&fleet.dropped),
            moved: fleet.moved,
            lost: map(&fleet.lost),
            keep_alives: fleet.keep_alives,
            reconnects: fleet.reconnects,
        }
    }
}

impl Channels {
    pub(super) fn new(fleet: &FleetBooks) -> Self {
        let books = &fleet.channels;
        Self {
            wakes: books.wakes,
            queued: books.queued,
            not_opened: map(&books.not_opened),
            opened: books.opened,
            open: books.open,
            ended: books.ended,
            failed: map(&books.failed),
            served: books.served,
            body_bytes_in: books.body_bytes_in,
            body_bytes_out: books.body_bytes_out,
        }
    }
}

impl ProcessReport {
    pub(super) fn new(
        material: &Material,
        of: impl Fn(&Border) -> Option<ProcessSample>,
        rss_bytes: impl Fn(&Second) -> Option<u64>,
    ) -> Self {
        let phases = &material.phases;
        // CPU and registrations, or CPU and seconds, of all phases of a kind that could be measured.
        let sum = |kind: &str, by: fn(&PhaseMaterial) -> f64| {
            phases
                .iter()
                .filter(|phase| phase.kind == kind)
                .filter_map(|phase| Some((used_s(of(&phase.from), of(&phase.to))?, by(phase))))
                .fold((0.0, 0.0), |(cpu_s, whole), (more, by)| {
                    (cpu_s + more, whole + by)
                })
        };
        let (ramps_cpu_s, registered) = sum("ramp", PhaseMaterial::registered);
        let (holds_cpu_s, holds_s) = sum("hold", |phase| phase.to.at_s - phase.from.at_s);
        let start = phases.first().and_then(|phase| of(&phase.from));
        let ramped = phases.iter().rfind(|phase| phase.kind == "ramp");
        let per_session = ramped.and_then(|ramp| {
            let grown = of(&ramp.to)?.rss_bytes as f64 - start?.rss_bytes as f64;
            ratio(grown, ramp.to.fleet.open as f64)
        });
        let cpu_s = phases.last().and_then(|phase| used_s(start, of(&phase.to)));
        let at_borders = phases.iter().filter_map(|phase| of(&phase.to));
        Self {
            cpu_us_per_registration: ratio(ramps_cpu_s * 1e6, registered),
            rss_bytes_per_session: per_session,
            cores_in_hold: ratio(holds_cpu_s, holds_s),
            cpu_s,
            rss_bytes_max: at_borders
                .map(|sample| sample.rss_bytes)
                .chain(material.seconds.iter().filter_map(rss_bytes))
                .max(),
        }
    }
}
