//! From a scenario to what one process does: every check that needs more than one table, and the process's part of
//! handsets, rates and source addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;

use everline_protocol::Msisdn;

use super::fleet::FleetSetting;
use super::misbehaviour::RogueSetting;
use super::part::Part;
use super::phase::{Course, FINISH, PhaseTable, check_name};
use super::problems::{Problem, Problems, Wrong};
use super::requests::CallSetting;
use super::{MisbehaviourTable, RequestsTable, Scenario};
use crate::address::{Block, HANDSETS_PER_SOURCE, Sources, Targets};
use crate::caller::CallPlan;
use crate::fleet::DATA_SOURCES;
use crate::machine::descriptors_max;
use crate::orders::Churn;
use crate::rogue::{ROGUE_SOURCES, RoguePlan};
use crate::thresholds::Threshold;

const PHASES_MAX: usize = 1000;

/// Where a scenario is to be run, and which part of it by this process.
#[derive(Debug, Clone)]
pub struct Lab {
    /// The gateway's signaling address.
    pub signaling: SocketAddr,
    /// Where data channels go, unless the gateway says otherwise.
    pub data: SocketAddr,
    /// The gateway's ingress.
    pub ingress: SocketAddr,
    /// The domain under which the gateway addresses handsets.
    pub domain: String,
    /// Where connections may go at all.
    pub targets: Targets,
    /// Where loopback connections come from.
    pub sources: Block,
    /// Descriptors that this process may have.
    pub descriptors_max: u64,
    /// This process's part.
    pub part: Part,
}

/// A gateway on this machine with the ports of its example configuration, and the whole run in this process.
impl Default for Lab {
    fn default() -> Self {
        let local = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        Self {
            signaling: local(7000),
            data: local(7001),
            ingress: local(8080),
            domain: "localhost".into(),
            targets: Targets::default(),
            sources: Block::SOURCES,
            descriptors_max: descriptors_max(),
            part: Part::WHOLE,
        }
    }
}

/// A scenario that was checked, as far as it is this process's.
#[derive(Debug)]
pub struct ScenarioPlan {
    /// What the handsets of the whole run are like.
    pub fleet: FleetSetting,
    /// This process's first handset.
    pub first: Msisdn,
    /// How many it has.
    pub handsets: u32,
    /// How many of them are to have registered in the end.
    pub wanted: u32,
    /// Where they connect from, if that is to be chosen.
    pub sources: Option<Sources>,
    /// How many source addresses are taken by handsets and rogues.
    pub sources_taken: u32,
    /// What happens, in order.
    pub phases: Vec<PhasePlan>,
    /// What the run is to reach.
    pub thresholds: Vec<Threshold>,
}

/// One phase that was checked.
#[derive(Debug)]
pub struct PhasePlan {
    /// Its name.
    pub name: String,
    /// What drives it.
    pub course: Course,
    /// Handsets leave and come back meanwhile.
    pub churn: Option<Churn>,
    /// Callers request handsets meanwhile.
    pub calls: Option<CallPlan>,
    /// Rogues misbehave meanwhile.
    pub rogues: Option<RoguePlan>,
}

impl Scenario {
    /// What this process is to do in this lab; or everything that is wrong with the scenario.
    pub fn plan(&self, lab: &Lab) -> Result<ScenarioPlan, Problems> {
        let mut wrongs = Vec::new();
        let fleet = self.fleet_setting(&mut wrongs);
        let range = lab.part.range(fleet.handsets);
        let handset_sources = (range.end - range.start).div_ceil(HANDSETS_PER_SOURCE);
        let sources_taken = handset_sources + ROGUE_SOURCES;
        let sources = lab.sources(sources_taken + DATA_SOURCES, &mut wrongs);
        let place = Place {
            lab,
            fleet: &fleet,
            range: range.clone(),
            sources,
            first_rogue_source: handset_sources,
        };
        let mut phases = Vec::new();
        for (number, table) in self.phases.iter().enumerate() {
            let mut theirs = Vec::new();
            phases.extend(place.phase(table, &mut theirs));
            let around = format!("phase[{number}]");
            wrongs.extend(theirs.into_iter().map(|wrong| wrong.within(&around)));
        }
        self.check_texts(&mut wrongs);
        self.check_order(&fleet, &mut wrongs);
        let thresholds = self.thresholds(&mut wrongs);
        if !wrongs.is_empty() {
            return Err(self.problems(wrongs));
        }
        let wanted = phases.iter().filter_map(|phase| match phase.course {
            Course::Ramp { handsets, .. } => Some(handsets),
            _ => None,
        });
        Ok(ScenarioPlan {
            first: place.msisdn(range.start),
            handsets: range.end - range.start,
            wanted: wanted.max().unwrap_or(0),
            fleet,
            sources,
            sources_taken,
            phases,
            thresholds,
        })
    }

    fn fleet_setting(&self, wrongs: &mut Vec<Wrong>) -> FleetSetting {
        let mut theirs = Vec::new();
        let fleet = self.fleet.check(&mut theirs);
        wrongs.extend(theirs.into_iter().map(|wrong| wrong.within("fleet")));
        fleet
    }

    fn check_texts(&self, wrongs: &mut Vec<Wrong>) {
        if let Some(name) = &self.name {
            check_name(name, wrongs);
        }
        let odd = |c: char| c.is_control() && c != '\n';
        if self.description.contains(odd) {
            let why = "has characters that no terminal should be sent: write plain text";
            wrongs.push(Wrong::new("description", why));
        }
    }

    /// What no phase can say for itself.
    fn check_order(&self, fleet: &FleetSetting, wrongs: &mut Vec<Wrong>) {
        let mut names = BTreeSet::new();
        let mut ramped = None;
        for (number, phase) in self.phases.iter().enumerate() {
            let mut wrong = |key: &str, why: String| {
                let wrong = Wrong::new(key, why).within(&format!("phase[{number}]"));
                wrongs.push(wrong);
            };
            if !names.insert(&phase.name) {
                wrong(
                    "name",
                    format!("{:?} is taken by an earlier phase", phase.name),
                );
            }
            if let Some(ramp) = &phase.ramp {
                let handsets = ramp.handsets.unwrap_or(fleet.handsets);
                if ramped.is_some_and(|before| handsets <= before) && handsets > 0 {
                    wrong(
                        "ramp.handsets",
                        format!(
                            "{handsets} are no more than an earlier phase has registered: say how many there are at its end"
                        ),
                    );
                }
                let new = f64::from(handsets.saturating_sub(ramped.unwrap_or(0)));
                let takes_s = ramp.per_second.map_or(0.0, |rate| new / rate);
                if takes_s > ramp.limit_s {
                    wrong(
                        "ramp.limit_s",
                        format!(
                            "{new} handsets take {takes_s:.0} s at this rate, longer than the {} s that the ramp may last",
                            ramp.limit_s
                        ),
                    );
                }
                ramped = Some(handsets);
            }
            for (key, given) in [
                ("storm", phase.storm.is_some()),
                ("churn", phase.churn.is_some()),
            ] {
                if given && ramped.is_none() {
                    wrong(
                        key,
                        "nobody is registered yet: a phase with a ramp must come before".into(),
                    );
                }
                if given && !fleet.reconnect {
                    wrong(key, "handsets that do not reconnect could not come back: set fleet.reconnect to true".into());
                }
            }
            let registered = fleet.handsets > 0 || phase.misbehaviour.is_some();
            let foreign = phase.requests.as_ref().is_some_and(names_its_target);
            if !registered && phase.requests.is_some() && !foreign {
                wrong("requests.targets", "without handsets nobody is there to be requested: name one that somebody else runs".into());
            }
        }
        if self.phases.is_empty() || self.phases.len() > PHASES_MAX {
            wrongs.push(Wrong::new(
                "phase",
                format!("a scenario has 1 to {PHASES_MAX} phases"),
            ));
        } else if ramped.is_none() && fleet.handsets > 0 {
            wrongs.push(Wrong::new(
                "phase",
                "none has a ramp, so that no handset ever registers",
            ));
        }
        let something =
            |phase: &PhaseTable| phase.requests.is_some() || phase.misbehaviour.is_some();
        if fleet.handsets == 0 && !self.phases.iter().any(something) {
            wrongs.push(Wrong::new(
                "fleet.handsets",
                "0 leaves nothing to do without requests to a handset that somebody else runs",
            ));
        }
    }

    fn thresholds(&self, wrongs: &mut Vec<Wrong>) -> Vec<Threshold> {
        let mut thresholds = Vec::new();
        for (number, text) in self.thresholds.iter().enumerate() {
            let key = format!("thresholds[{number}]");
            match Threshold::parse(text) {
                Err(bad) => wrongs.push(Wrong::new(key, bad.to_string())),
                Ok(threshold) => {
                    let unknown = threshold
                        .phase()
                        .filter(|name| *name != FINISH)
                        .filter(|name| !self.phases.iter().any(|phase| phase.name == **name));
                    if let Some(name) = unknown {
                        let names = self.phases.iter().map(|phase| format!("{:?}", phase.name));
                        let names: Vec<_> = names.chain([format!("{FINISH:?}")]).collect();
                        let why = format!("there is no phase {name:?}, only {}", names.join(", "));
                        wrongs.push(Wrong::new(key, why));
                    }
                    thresholds.push(threshold);
                }
            }
        }
        thresholds
    }

    fn problems(&self, wrongs: Vec<Wrong>) -> Problems {
        let mut problems: Vec<_> = wrongs
            .into_iter()
            .map(|Wrong { key, why }| Problem {
                line: self.line(&key),
                place: self.place(&key),
                why,
            })
            .collect();
        problems.sort_by_key(|problem| problem.line);
        Problems(problems)
    }
}

impl Lab {
    /// This process's share of the source addresses, of which it needs so many.
    fn sources(&self, needs: u32, wrongs: &mut Vec<Wrong>) -> Option<Sources> {
        let loopback = |to: SocketAddr| to.ip().is_loopback() && matches!(to.ip(), IpAddr::V4(_));
        if !loopback(self.signaling) && !loopback(self.data) {
            return None;
        }
        let (index, count) = (self.part.index(), self.part.count());
        match Sources::new(self.sources, needs.saturating_mul(count)) {
            Ok(sources) => Some(sources.slice(index, count)),
            Err(bad) => {
                wrongs.push(Wrong::new("--sources", bad.to_string()));
                None
            }
        }
    }
}

/// One process's place in the run.
struct Place<'a> {
    lab: &'a Lab,
    fleet: &'a FleetSetting,
    /// Its handsets among those of the run.
    range: Range<u32>,
    sources: Option<Sources>,
    first_rogue_source: u32,
}

impl Place<'_> {
    fn phase(&self, table: &PhaseTable, wrongs: &mut Vec<Wrong>) -> Option<PhasePlan> {
        let course = table.course(self.fleet.handsets, wrongs);
        // Checked even where the phase has no course, so that all is told at once.
        let calls = self.call_setting(course);
        let lasts = calls.duration;
        let requests = self.requests(table.requests.as_ref(), &calls, wrongs);
        let rogues = self.rogues(table.misbehaviour.as_ref(), calls, wrongs);
        let mut theirs = Vec::new();
        let churn = table.churn.as_ref();
        let churn = churn.and_then(|churn| churn.churn(self.fleet.leave, lasts, &mut theirs));
        wrongs.extend(theirs.into_iter().map(|wrong| wrong.within("churn")));
        Some(PhasePlan {
            name: table.name.clone(),
            course: self.part_of(course?),
            churn,
            calls: requests,
            rogues,
        })
    }

    /// This process's part of a course.
    fn part_of(&self, course: Course) -> Course {
        match course {
            Course::Ramp {
                handsets,
                per_second,
                limit,
            } => Course::Ramp {
                handsets: proportion(handsets, self.fleet.handsets, &self.range),
                per_second: per_second.map(|rate| self.lab.part.rate(rate)),
                limit,
            },
            other => other,
        }
    }

    fn call_setting(&self, course: Option<Course>) -> CallSetting {
        CallSetting {
            ingress: self.lab.ingress,
            domain: self.lab.domain.clone(),
            duration: course.map(|course| course.limit()).unwrap_or_default(),
            first: self.fleet.first,
            handsets: self.fleet.handsets,
            answer_bytes: self.fleet.answer_bytes,
            descriptors_max: self.lab.descriptors_max,
        }
    }

    fn requests(
        &self,
        table: Option<&RequestsTable>,
        setting: &CallSetting,
        wrongs: &mut Vec<Wrong>,
    ) -> Option<CallPlan> {
        let mut table = table?.clone();
        let part = self.lab.part;
        table.per_second = table.per_second.map(|rate| part.rate(rate));
        let callers = table.concurrency;
        table.concurrency = callers.map(|callers| part.of(callers));
        if callers > Some(0) && table.concurrency == Some(0) {
            return None; // Fewer callers than processes: others have them.
        }
        take(table.plan(setting), "requests", wrongs)
    }

    fn rogues(
        &self,
        table: Option<&MisbehaviourTable>,
        calls: CallSetting,
        wrongs: &mut Vec<Wrong>,
    ) -> Option<RoguePlan> {
        let table = table?;
        let theirs = self.lab.part.range(table.rogues);
        if table.rogues > 0 && theirs.is_empty() {
            return None; // Fewer rogues than processes: others have them.
        }
        let setting = RogueSetting {
            signaling: self.lab.signaling,
            data: self.lab.data,
            targets: self.lab.targets.clone(),
            sources: self.sources,
            first_source: self.first_rogue_source,
            first: self.msisdn(self.fleet.handsets.saturating_add(theirs.start)),
            calls,
        };
        let table = MisbehaviourTable {
            rogues: theirs.end - theirs.start,
            requests_per_second: self.lab.part.rate(table.requests_per_second),
            ..table.clone()
        };
        take(table.plan(&setting), "misbehaviour", wrongs)
    }

    /// The number so many after the run's first.
    fn msisdn(&self, place: u32) -> Msisdn {
        // A range that leaves the numbers was noted before, and then no plan comes of this.
        let first = self.fleet.first;
        Msisdn::from_u64(first.as_u64() + u64::from(place)).unwrap_or(first)
    }
}

/// How many of a ramp to `target` of `whole` handsets fall to those in `range`; over all ranges it is `target`.
pub(crate) fn proportion(target: u32, whole: u32, range: &Range<u32>) -> u32 {
    let border = |place: u32| {
        let border = u64::from(target) * u64::from(place) / u64::from(whole.max(1));
        u32::try_from(border).unwrap_or(target)
    };
    border(range.end) - border(range.start)
}

fn names_its_target(requests: &RequestsTable) -> bool {
    Msisdn::parse(requests.targets.as_bytes()).is_ok()
}

fn take<T>(plan: Result<T, Vec<Wrong>>, table: &str, wrongs: &mut Vec<Wrong>) -> Option<T> {
    match plan {
        Ok(plan) => Some(plan),
        Err(theirs) => {
            wrongs.extend(theirs.into_iter().map(|wrong| wrong.within(table)));
            None
        }
    }
}
