//! The `requests` table of a phase: how callers request handsets in it. Its keys are described in
//! `docs/loadgen-scenarios.md`; the flags of the command line fill the same table.
//!
//! [`RequestsTable::plan`] is the one check of it. It reports everything that is wrong at once, and each key by name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use everline_protocol::Msisdn;
use http::Method;
use serde::Deserialize;

use crate::answer::ANSWER_BYTES_MAX;
use crate::caller::{AnswerSize, CallPlan, Methods, Pace, Spread, Whom};
use crate::scenario::Wrong;

/// More callers, or more requests in flight, than this process could have connections are no use.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;
const PER_SECOND: std::ops::RangeInclusive<f64> = 0.001..=10_000_000.0;
const TIMEOUT_S: std::ops::RangeInclusive<f64> = 0.001..=86_400.0;
const SKEW: std::ops::RangeInclusive<f64> = 0.1..=10.0;
const THINK_TIME_MS_MAX: u64 = 86_400_000;
const WEIGHT_MAX: u32 = 1_000_000;
const METHODS_MAX: usize = 16;

/// The table as it is written. [`RequestsTable::default`] requests nothing yet: a pace must be given.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a table such as { per_second = 100 }"
)]
pub struct RequestsTable {
    /// Open loop: so many requests are due each second, whatever became of those before.
    pub per_second: Option<f64>,
    /// Closed loop: so many callers, one request each at a time.
    pub concurrency: Option<u32>,
    /// `uniform`, `skewed`, or the number of the one handset to request.
    pub targets: String,
    /// Of skewed targets: the handset of rank `r` is requested in proportion to `1 / r^skew` [default: 1].
    pub skew: Option<f64>,
    /// How often each method is used, by weight [default: POST if there is an upload, else GET].
    pub methods: BTreeMap<String, u32>,
    /// Size of the bodies of POST, PUT, PATCH and methods that this program does not know.
    pub upload_bytes: Size,
    /// Size of the answers' bodies; handsets are told with each request [default: what the fleet answers by itself].
    pub answer_bytes: Option<Size>,
    /// Closed loop: for how long a caller waits after each answer.
    pub think_time_ms: Option<Size>,
    /// Whether connections to the ingress are used again.
    pub keep_alive: bool,
    /// `<msisdn>.<domain>/path` in place of `<domain>/<msisdn>/path`.
    pub host_form: bool,
    /// Path, and maybe query.
    pub path: String,
    /// The longest time from the sending of a request to the last byte of its answer, seconds.
    pub timeout_s: f64,
    /// Open loop: most requests in flight; those beyond are counted as not sent.
    pub in_flight_max: u64,
    /// Whether bodies of good answers must be those that handsets of this program give.
    pub verify: bool,
}

impl Default for RequestsTable {
    fn default() -> Self {
        Self {
            per_second: None,
            concurrency: None,
            targets: "uniform".into(),
            skew: None,
            methods: BTreeMap::new(),
            upload_bytes: Size::Fixed(0),
            answer_bytes: None,
            think_time_ms: None,
            keep_alive: true,
            host_form: false,
            path: "/".into(),
            timeout_s: 30.0,
            in_flight_max: 8192,
            verify: true,
        }
    }
}

/// A number, or a range from which one is drawn for each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a whole number, or a range such as { min = 100, max = 10000 }"
)]
pub enum Size {
    /// Always this.
    Fixed(u64),
    /// Small ones as often as large ones: every doubling between the ends is as likely as the others.
    Range(Range),
}

/// The ends of a [`Size`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
}

/// What [`RequestsTable::plan`] has to know of the run.
#[derive(Debug, Clone)]
pub struct CallSetting {
    /// The gateway's ingress.
    pub ingress: SocketAddr,
    /// The domain under which handsets are addressed.
    pub domain: String,
    /// Length of the phase.
    pub duration: Duration,
    /// The first handset of the run; the others follow it.
    pub first: Msisdn,
    /// How many handsets the run has, those of its other processes included.
    pub handsets: u32,
    /// Size of the answers that its handsets give by themselves.
    pub answer_bytes: u64,
    /// Descriptors that this process may have.
    pub descriptors_max: u64,
}

impl RequestsTable {
    /// What the callers are to do in this setting; or everything that is wrong with the table.
    pub fn plan(&self, setting: &CallSetting) -> Result<CallPlan, Vec<Wrong>> {
        let mut misfits = Misfits::default();
        let pace = self.pace(setting.descriptors_max, &mut misfits);
        let whom = self.whom(&mut misfits);
        let upload_bytes = misfits.spread("upload_bytes", self.upload_bytes, ANSWER_BYTES_MAX);
        let methods = self.methods(upload_bytes, &mut misfits);
        let answer = match self.answer_bytes {
            None => AnswerSize::HandsetsOwn(setting.answer_bytes),
            Some(size) => AnswerSize::Asked(misfits.spread("answer_bytes", size, ANSWER_BYTES_MAX)),
        };
        let fit =
            self.path.starts_with('/') && self.path.parse::<http::uri::PathAndQuery>().is_ok();
        misfits.unless(fit, "path", || {
            format!("{:?} is no path that begins with /", self.path)
        });
        misfits.unless(TIMEOUT_S.contains(&self.timeout_s), "timeout_s", || {
            format!("{} is not from 0.001 to 86400", self.timeout_s)
        });
        if !misfits.0.is_empty() {
            return Err(misfits.0);
        }
        let first = setting.first.as_u64();
        let of_this_run = |msisdn: Msisdn| {
            (first..first + u64::from(setting.handsets)).contains(&msisdn.as_u64())
        };
        Ok(CallPlan {
            ingress: setting.ingress,
            domain: setting.domain.clone(),
            duration: setting.duration,
            pace,
            whom,
            methods,
            upload_bytes,
            answer,
            host_form: self.host_form,
            path: self.path.clone(),
            keep_alive: self.keep_alive,
            timeout: Duration::from_secs_f64(self.timeout_s),
            // Another's handset answers whatever it likes.
            verify: self.verify && !matches!(whom, Whom::One(msisdn) if !of_this_run(msisdn)),
        })
    }

    fn pace(&self, descriptors_max: u64, misfits: &mut Misfits) -> Pace {
        let connections_max = (descriptors_max / DESCRIPTORS_PER_CONNECTION).max(1);
        misfits.unless(self.in_flight_max > 0, "in_flight_max", || {
            "with 0 nothing is ever sent".into()
        });
        misfits.unless(
            self.think_time_ms.is_none() || self.per_second.is_none(),
            "think_time_ms",
            || "goes with concurrency only: at a rate nobody waits for an answer".into(),
        );
        let think = self.think_time_ms.unwrap_or(Size::Fixed(0));
        let think_ms = misfits.spread("think_time_ms", think, THINK_TIME_MS_MAX);
        match (self.per_second, self.concurrency) {
            (Some(rate), None) => {
                misfits.unless(PER_SECOND.contains(&rate), "per_second", || {
                    format!("{rate} is not from 0.001 to 10000000")
                });
                Pace::PerSecond {
                    rate,
                    in_flight_max: self.in_flight_max.min(connections_max),
                }
            }
            (None, Some(callers)) => {
                let fit = callers > 0 && u64::from(callers) <= connections_max;
                misfits.unless(fit, "concurrency", || {
                    format!("{callers} is not from 1 to {connections_max}, half of the descriptors that this process may have")
                });
                Pace::Concurrency { callers, think_ms }
            }
            (one, other) => {
                let both = one.is_some() && other.is_some();
                misfits.unless(false, "per_second", || {
                    let found = if both {
                        "both are given"
                    } else {
                        "neither is given"
                    };
                    format!("give either per_second or concurrency; {found}")
                });
                Pace::Concurrency {
                    callers: 1,
                    think_ms,
                }
            }
        }
    }

    fn whom(&self, misfits: &mut Misfits) -> Whom {
        let exponent = self.skew.unwrap_or(1.0);
        misfits.unless(
            self.skew.is_none() || self.targets == "skewed",
            "skew",
            || "goes with targets = \"skewed\" only".into(),
        );
        misfits.unless(SKEW.contains(&exponent), "skew", || {
            format!("{exponent} is not from 0.1 to 10")
        });
        match self.targets.as_str() {
            "uniform" => Whom::Uniform,
            "skewed" => Whom::Skewed { exponent },
            one => match Msisdn::parse(one.as_bytes()) {
                Ok(msisdn) => Whom::One(msisdn),
                Err(_bad) => {
                    misfits.unless(false, "targets", || {
                        "is neither \"uniform\" nor \"skewed\" nor an MSISDN of 5 to 15 digits"
                            .into()
                    });
                    Whom::Uniform
                }
            },
        }
    }

    fn methods(&self, upload_bytes: Spread, misfits: &mut Misfits) -> Methods {
        if self.methods.is_empty() {
            let uploads = upload_bytes.max() > 0;
            return Methods::one(if uploads { Method::POST } else { Method::GET });
        }
        misfits.unless(self.methods.len() <= METHODS_MAX, "methods", || {
            format!("more than {METHODS_MAX} of them")
        });
        let mut weighted = Vec::new();
        for (name, weight) in &self.methods {
            let key = format!("methods.{name}");
            misfits.unless((1..=WEIGHT_MAX).contains(weight), &key, || {
                format!("{weight} is no weight from 1 to {WEIGHT_MAX}")
            });
            match Method::from_bytes(name.as_bytes()) {
                Ok(Method::CONNECT) => misfits.unless(false, &key, || {
                    "CONNECT asks for a tunnel, which no gateway opens".into()
                }),
                Ok(method) => weighted.push((method, *weight)),
                Err(_bad) => misfits.unless(false, &key, || "is no name of a method".into()),
            }
        }
        let methods = Methods::new(weighted);
        misfits.unless(
            upload_bytes.max() == 0 || methods.any_uploads(),
            "upload_bytes",
            || "none of the methods has a body: add POST, PUT or PATCH".into(),
        );
        methods
    }
}

/// What is wrong so far.
#[derive(Default)]
struct Misfits(Vec<Wrong>);

impl Misfits {
    fn unless(&mut self, fit: bool, key: &str, why: impl FnOnce() -> String) {
        if !fit {
            self.0.push(Wrong::new(key, why()));
        }
    }

    fn spread(&mut self, key: &str, size: Size, limit: u64) -> Spread {
        let (min, max) = match size {
            Size::Fixed(size) => (size, size),
            Size::Range(Range { min, max }) => (min, max),
        };
        self.unless(min <= max, key, || format!("min {min} is above max {max}"));
        self.unless(max <= limit, key, || {
            format!("{max} is above {limit}, the most")
        });
        Spread::new(min, max.max(min))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> CallSetting {
        CallSetting {
            ingress: "127.0.0.1:8080".parse().unwrap(),
            domain: "localhost".into(),
            duration: Duration::from_secs(60),
            first: Msisdn::from_u64(34_700_000_000).unwrap(),
            handsets: 1000,
            answer_bytes: 64,
            descriptors_max: 20_000,
        }
    }

    fn table(text: &str) -> RequestsTable {
        toml::from_str(text).unwrap()
    }

    /// The keys that are wrong, in the order of the check.
    fn wrong(text: &str) -> Vec<String> {
        let wrong = table(text).plan(&setting()).unwrap_err();
        wrong.into_iter().map(|wrong| wrong.key).collect()
    }

    #[test]
    fn every_key_is_read() {
        let table = table(
            "concurrency = 5\n targets = \"skewed\"\n skew = 1.5\n methods = { GET = 9, POST = 1 }\n \
             upload_bytes = { min = 10, max = 1000 }\n answer_bytes = 4096\n think_time_ms = { min = 1, max = 5 }\n \
             keep_alive = false\n host_form = true\n path = \"/contacts?all\"\n timeout_s = 2.5\n verify = false",
        );
        let plan = table.plan(&setting()).unwrap();
        assert_eq!(
            plan.pace,
            Pace::Concurrency {
                callers: 5,
                think_ms: Spread::new(1, 5)
            }
        );
        assert_eq!(plan.whom, Whom::Skewed { exponent: 1.5 });
        assert_eq!(
            plan.methods,
            Methods::new(vec![(Method::GET, 9), (Method::POST, 1)])
        );
        assert_eq!(plan.upload_bytes, Spread::new(10, 1000));
        assert_eq!(plan.answer, AnswerSize::Asked(Spread::fixed(4096)));
        assert_eq!((plan.keep_alive, plan.host_form), (false, true));
        assert_eq!(plan.path, "/contacts?all");
        assert_eq!(plan.timeout, Duration::from_millis(2500));
        assert!(!plan.verify);
    }

    #[test]
    fn a_rate_is_all_that_must_be_given() {
        let plan = table("per_second = 50").plan(&setting()).unwrap();
        assert_eq!(
            plan.pace,
            Pace::PerSecond {
                rate: 50.0,
                in_flight_max: 8192
            }
        );
        assert_eq!(plan.whom, Whom::Uniform);
        assert_eq!(plan.methods, Methods::one(Method::GET));
        assert_eq!(plan.answer, AnswerSize::HandsetsOwn(64));
        assert!(plan.verify && plan.keep_alive);
        let uploads = table("per_second = 50\n upload_bytes = 1").plan(&setting());
        assert_eq!(uploads.unwrap().methods, Methods::one(Method::POST));
    }

    #[test]
    fn no_more_is_in_flight_than_there_are_descriptors_for() {
        let small = CallSetting {
            descriptors_max: 1000,
            ..setting()
        };
        let plan = table("per_second = 50").plan(&small).unwrap();
        assert_eq!(
            plan.pace,
            Pace::PerSecond {
                rate: 50.0,
                in_flight_max: 500
            }
        );
        assert!(table("concurrency = 501").plan(&small).is_err());
    }

    #[test]
    fn only_handsets_of_the_run_are_held_to_its_answers() {
        for (msisdn, verify) in [("34700000999", true), ("34700001000", false)] {
            let text = format!("per_second = 1\n targets = \"{msisdn}\"");
            let plan = table(&text).plan(&setting()).unwrap();
            assert_eq!(plan.verify, verify);
            assert!(matches!(plan.whom, Whom::One(one) if one.digits().to_string() == msisdn));
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_key() {
        let all = "per_second = 0\n in_flight_max = 0\n think_time_ms = 5\n targets = \"+34\"\n skew = 11\n \
                   upload_bytes = { min = 5, max = 4 }\n answer_bytes = 1099511627777\n path = \"x\"\n timeout_s = 0\n \
                   methods = { CONNECT = 1, \"G T\" = 1, GET = 0 }";
        assert_eq!(
            wrong(all),
            [
                "in_flight_max",
                "think_time_ms",
                "per_second",
                "skew",
                "skew",
                "targets",
                "upload_bytes",
                "methods.CONNECT",
                "methods.G T",
                "methods.GET",
                "upload_bytes",
                "answer_bytes",
                "path",
                "timeout_s"
            ]
        );
        for (text, key) in [
            ("", "per_second"),
            ("per_second = 1\n concurrency = 1", "per_second"),
            ("per_second = nan", "per_second"),
            ("concurrency = 0", "concurrency"),
            ("concurrency = 10001", "concurrency"),
            ("concurrency = 1\n skew = 1", "skew"),
            (
                "concurrency = 1\n think_time_ms = 86400001",
                "think_time_ms",
            ),
            (
                "per_second = 1\n upload_bytes = 1\n methods = { GET = 1 }",
                "upload_bytes",
            ),
            ("per_second = 1\n path = \"/a b\"", "path"),
            ("per_second = 1\n timeout_s = inf", "timeout_s"),
        ] {
            assert_eq!(wrong(text), [key], "{text}");
        }
    }

    #[test]
    fn what_is_no_key_or_no_size_is_refused() {
        for (text, why) in [
            ("per_minute = 5", "unknown field `per_minute`"),
            (
                "upload_bytes = { min = 1 }",
                "expected a whole number, or a range",
            ),
            ("upload_bytes = -1", "expected a whole number, or a range"),
            (
                "answer_bytes = \"1k\"",
                "expected a whole number, or a range",
            ),
            ("methods = { GET = -1 }", "invalid value"),
        ] {
            let error = toml::from_str::<RequestsTable>(text).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
