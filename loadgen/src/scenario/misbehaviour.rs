//! The `misbehaviour` table of a phase: handsets that misbehave beside the honest ones. Its keys are described in
//! `docs/loadgen-scenarios.md`.
//!
//! [`MisbehaviourTable::plan`] is the one check of it. It reports everything that is wrong at once, and each key by name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use everline_protocol::{Millis, Msisdn};
use serde::Deserialize;

use crate::address::{Sources, Targets};
use crate::caller::CallPlan;
use crate::rogue::{Limits, ROGUES_MAX, RogueKind, RoguePlan, kind::cast};
use crate::scenario::{CallSetting, RequestsTable, Wrong};

const WEIGHT_MAX: u32 = 1_000_000;
const LIMIT_MS: std::ops::RangeInclusive<u64> = 1..=3_600_000;
/// Requests to rogues hang for the wake timeout: more than this in flight would use up what one caller may have.
const IN_FLIGHT_MAX: u64 = 256;
const PER_SECOND: std::ops::RangeInclusive<f64> = 0.001..=1000.0;

/// The table as it is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a table such as { rogues = 100 }"
)]
pub struct MisbehaviourTable {
    /// How many rogues, each doing one kind of misbehaviour again and again.
    pub rogues: u32,
    /// How many do which, by weight [default: all kinds alike].
    pub kinds: BTreeMap<RogueKind, u32>,
    /// Requests to rogues that take any, over all of them; never-data, wrong-id and reset do nothing without.
    pub requests_per_second: f64,
    /// Between two acts of a rogue, on average.
    pub pause_ms: u64,
    /// The gateway's `signaling.connect_timeout_ms`, or its `data.bind_timeout_ms` if that is longer.
    pub connect_timeout_ms: u64,
    /// The gateway's `request.wake_timeout_ms`.
    pub wake_timeout_ms: u64,
    /// How much later than it must the gateway may do something before that counts as not done.
    pub slack_ms: u64,
}

impl Default for MisbehaviourTable {
    fn default() -> Self {
        Self {
            rogues: 200,
            kinds: RogueKind::ALL.map(|kind| (kind, 1)).into(),
            requests_per_second: 5.0,
            pause_ms: 1000,
            connect_timeout_ms: 10_000,
            wake_timeout_ms: 10_000,
            slack_ms: 5000,
        }
    }
}

/// What [`MisbehaviourTable::plan`] has to know of the run.
#[derive(Debug, Clone)]
pub struct RogueSetting {
    /// The gateway's signaling address.
    pub signaling: SocketAddr,
    /// Where data channels go unless REQUESTPENDING says otherwise.
    pub data: SocketAddr,
    /// Where the run may connect to.
    pub targets: Targets,
    /// Where loopback connections come from.
    pub sources: Option<Sources>,
    /// The first source address that no handset uses, with [`crate::rogue::ROGUE_SOURCES`] of them free.
    pub first_source: u32,
    /// The first number that no handset has.
    pub first: Msisdn,
    /// How requests reach the gateway; its handsets are the rogues, whatever it says of them.
    pub calls: CallSetting,
}

impl MisbehaviourTable {
    /// What the rogues are to do in this setting; or everything that is wrong with the table.
    pub fn plan(&self, setting: &RogueSetting) -> Result<RoguePlan, Vec<Wrong>> {
        let mut wrongs = self.wrongs(setting.first);
        // Casting costs time and memory, so only a sound number of rogues is cast.
        let kinds = if wrongs.is_empty() {
            cast(&self.kinds, self.rogues)
        } else {
            Vec::new()
        };
        let idle = self.wanted().find(|kind| !kinds.contains(kind));
        if let Some(idle) = idle.filter(|_| wrongs.is_empty()) {
            let why = format!(
                "{} are too few: by these weights nobody is {idle}",
                self.rogues
            );
            wrongs.push(Wrong::new("rogues", why));
        }
        let calls = self.calls(&setting.calls, &mut wrongs);
        if !wrongs.is_empty() {
            return Err(wrongs);
        }
        Ok(RoguePlan {
            signaling: setting.signaling,
            data: setting.data,
            targets: setting.targets.clone(),
            sources: setting.sources,
            first_source: setting.first_source,
            first: setting.first,
            kinds,
            limits: Limits {
                connect: Millis(self.connect_timeout_ms),
                wake: Millis(self.wake_timeout_ms),
                slack: Millis(self.slack_ms),
            },
            pause: Millis(self.pause_ms),
            calls,
        })
    }

    /// The kinds that somebody is to be.
    fn wanted(&self) -> impl Iterator<Item = RogueKind> {
        let some = self.kinds.iter().filter(|(_, weight)| **weight > 0);
        some.map(|(kind, _)| *kind)
    }

    fn wrongs(&self, first: Msisdn) -> Vec<Wrong> {
        let mut wrongs = Vec::new();
        let mut unless = |fit: bool, key: &str, why: String| {
            if !fit {
                wrongs.push(Wrong::new(key, why));
            }
        };
        let rogues = self.rogues;
        unless(
            (1..=ROGUES_MAX).contains(&rogues),
            "rogues",
            format!("{rogues} is not from 1 to {ROGUES_MAX}"),
        );
        let last = first.as_u64() + u64::from(rogues);
        unless(
            Msisdn::from_u64(last.saturating_sub(1)).is_ok(),
            "rogues",
            "their numbers follow those of the handsets, and go beyond 999999999999999, the last MSISDN: \
             begin with a lower first_msisdn"
                .into(),
        );
        for (kind, weight) in &self.kinds {
            unless(
                *weight <= WEIGHT_MAX,
                &format!("kinds.{kind}"),
                format!("{weight} is no weight from 0 to {WEIGHT_MAX}"),
            );
        }
        unless(
            self.wanted().next().is_some(),
            "kinds",
            "names no kind with a weight above 0: leave it out to have all".into(),
        );
        let rate = self.requests_per_second;
        unless(
            rate == 0.0 || PER_SECOND.contains(&rate),
            "requests_per_second",
            format!("{rate} is not from 0.001 to 1000, nor 0 for none"),
        );
        if let Some(kind) = self.wanted().find(|kind| kind.waits_for_a_request()) {
            unless(
                rate != 0.0,
                "requests_per_second",
                format!(
                    "with 0, {kind} never has a request to misbehave at: give a rate, or kinds without it"
                ),
            );
        }
        for (key, value) in [
            ("pause_ms", self.pause_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("wake_timeout_ms", self.wake_timeout_ms),
            ("slack_ms", self.slack_ms),
        ] {
            let (least, most) = (LIMIT_MS.start(), LIMIT_MS.end());
            unless(
                LIMIT_MS.contains(&value),
                key,
                format!("{value} is not from {least} to {most}"),
            );
        }
        wrongs
    }

    /// The trickle of requests to the rogues. They are not worth a keep-alive: most of them hang until the gateway
    /// gives them up, and the honest callers' connections are not to wait behind them.
    fn calls(&self, setting: &CallSetting, wrongs: &mut Vec<Wrong>) -> Option<CallPlan> {
        if self.requests_per_second == 0.0 {
            return None;
        }
        let table = RequestsTable {
            per_second: Some(self.requests_per_second),
            in_flight_max: IN_FLIGHT_MAX,
            timeout_s: (self.wake_timeout_ms.saturating_add(self.slack_ms) * 2) as f64 / 1000.0,
            keep_alive: false,
            verify: false,
            ..RequestsTable::default()
        };
        // They end before the phase by as long as a gateway may keep one, or the phase would wait for the last of them.
        let wake = Duration::from_millis(self.wake_timeout_ms);
        let duration = setting.duration;
        let setting = CallSetting {
            duration: duration.saturating_sub(wake).max(duration / 2),
            ..setting.clone()
        };
        match table.plan(&setting) {
            Ok(calls) => Some(calls),
            Err(theirs) => {
                // Its own keys are not the tester's, and what he wrote has been judged already.
                let what = theirs
                    .first()
                    .map_or_else(String::new, |wrong| wrong.why.clone());
                if wrongs.is_empty() {
                    wrongs.push(Wrong::new("requests_per_second", what));
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(first: u64) -> RogueSetting {
        let first = Msisdn::from_u64(first).unwrap();
        let address = "127.0.0.1:7000".parse().unwrap();
        RogueSetting {
            signaling: address,
            data: address,
            targets: Targets::default(),
            sources: None,
            first_source: 0,
            first,
            calls: CallSetting {
                ingress: address,
                domain: "localhost".into(),
                duration: Duration::from_secs(5),
                first,
                handsets: 0,
                answer_bytes: 0,
                descriptors_max: 1024,
            },
        }
    }

    fn table(text: &str) -> MisbehaviourTable {
        toml::from_str(text).unwrap()
    }

    fn keys(text: &str) -> Vec<String> {
        let wrongs = table(text).plan(&setting(34_700_000_000)).unwrap_err();
        wrongs.into_iter().map(|wrong| wrong.key).collect()
    }

    #[test]
    fn an_empty_table_is_every_kind_alike() {
        let plan = table("").plan(&setting(34_700_000_000)).unwrap();
        assert_eq!(plan.kinds.len(), 200);
        for kind in RogueKind::ALL {
            let count = plan.kinds.iter().filter(|one| **one == kind).count();
            assert_eq!(count, 20, "{kind}");
        }
        let calls = plan.calls.unwrap();
        assert!(calls.timeout > Duration::from_secs(10), "a wake's length");
    }

    #[test]
    fn requests_to_rogues_end_before_their_phase() {
        let table = table("");
        let mut setting = setting(34_700_000_000);
        for (phase_s, calls_s) in [(60, 50), (20, 10), (6, 3)] {
            setting.calls.duration = Duration::from_secs(phase_s);
            let calls = table.plan(&setting).unwrap().calls.unwrap();
            assert_eq!(calls.duration, Duration::from_secs(calls_s));
        }
    }

    #[test]
    fn a_table_says_who_does_what_and_when() {
        let plan = table(
            "rogues = 30\nkinds = { half-line = 2, garbage = 1 }\nrequests_per_second = 0\nslack_ms = 700",
        );
        let plan = plan.plan(&setting(34_700_000_000)).unwrap();
        let of = |kind| plan.kinds.iter().filter(|one| **one == kind).count();
        assert_eq!((of(RogueKind::HalfLine), of(RogueKind::Garbage)), (20, 10));
        assert!(plan.calls.is_none());
        assert_eq!(plan.limits.slack, Millis(700));
    }

    #[test]
    fn everything_that_is_wrong_is_told_by_key() {
        assert_eq!(
            keys("rogues = 0\nkinds = { flood = 9000000 }\nrequests_per_second = -1\npause_ms = 0"),
            ["rogues", "kinds.flood", "requests_per_second", "pause_ms"]
        );
        assert_eq!(keys("kinds = { flood = 0 }"), ["kinds"]);
        assert_eq!(keys("rogues = 1000000"), ["rogues"]);
        assert_eq!(keys("requests_per_second = 0"), ["requests_per_second"]);
        assert_eq!(keys("rogues = 5"), ["rogues"]);
        let beyond = table("rogues = 2\nkinds = { flood = 1 }");
        assert_eq!(
            beyond.plan(&setting(999_999_999_999_999)).unwrap_err()[0].key,
            "rogues"
        );
    }

    #[test]
    fn a_kind_or_key_that_nobody_knows_is_refused_with_those_that_there_are() {
        let refused = |text| {
            toml::from_str::<MisbehaviourTable>(text)
                .unwrap_err()
                .to_string()
        };
        assert!(refused("kinds = { halfline = 1 }").contains("half-line"));
        assert!(refused("rouges = 1").contains("rogues"));
    }
}
