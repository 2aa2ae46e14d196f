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
#[serde(deny_unknown_fields, default)]
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
