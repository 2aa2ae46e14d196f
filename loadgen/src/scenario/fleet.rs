//! The `fleet` table of a scenario: the handsets, and how they behave. The flags of the command line fill the same
//! table, and what they say goes before what the file says.

use std::time::Duration;

use clap::Args;
use everline_protocol::{Millis, Msisdn};
use serde::{Deserialize, Deserializer};

use super::problems::Wrong;
use crate::answer::ANSWER_BYTES_MAX;
use crate::cli::values::span;
use crate::orders::Leave;

const HANDSETS: u32 = 1000;
const FIRST_MSISDN: &str = "34700000000";
const TIMEOUT_S: u32 = 300;
const ANSWER_BYTES: u64 = 64;
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const CONNECTING: u32 = 512;
/// What PROTOCOL 3.1 allows for a timeout; a linger has the same upper end.
const SECONDS_MAX: u32 = 86_400;
const ANSWER_LIMIT_MAX: Duration = Duration::from_secs(3600);

/// The table as it is written; what is not is left to the default.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, begun by [fleet]")]
pub struct FleetTable {
    /// How many handsets to hold [default: 1000, or what the scenario says].
    #[arg(long, value_name = "N", help_heading = "Handsets")]
    pub handsets: Option<u32>,
    /// Number of the first handset; the others follow it [default: 34700000000].
    #[arg(long, value_name = "MSISDN", help_heading = "Handsets")]
    pub first_msisdn: Option<String>,
    /// Keep-alive timeout that the handsets ask for, in seconds (1 to 86400) [default: 300].
    #[arg(long = "timeout", value_name = "SECONDS", help_heading = "Handsets")]
    pub timeout_s: Option<u32>,
    /// Seconds for which handsets keep an idle data channel for the next request; 0: one channel a request [default: 0].
    #[arg(long = "linger", value_name = "SECONDS", help_heading = "Handsets")]
    pub linger_s: Option<u32>,
    /// Size of the handsets' answers. They begin with a line that names handset and request, and are never shorter [default: 64].
    #[arg(long, value_name = "BYTES", help_heading = "Handsets")]
    pub answer_bytes: Option<u64>,
    /// Whether handsets that were lost or refused come back; the flag for `false` is --no-reconnect.
    #[arg(skip)]
    pub reconnect: Option<bool>,
    /// How handsets leave at the end [default: bye].
    #[arg(long, value_enum, help_heading = "Handsets")]
    pub leave: Option<Leave>,
    /// How long a handset waits for a connection, for CONNREGISTERED, and for a KEEPALIVE that is overdue [default: 30s].
    #[arg(long = "answer-limit", value_name = "TIME", value_parser = span, help_heading = "Handsets")]
    #[serde(rename = "answer_limit_s", deserialize_with = "seconds")]
    pub answer_limit: Option<Duration>,
    /// Registrations under way at one time [default: 512].
    #[arg(long, value_name = "N", help_heading = "Ramp")]
    pub connecting: Option<u32>,
}

/// The handsets of a run, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetSetting {
    /// How many, those of the run's other processes included.
    pub handsets: u32,
    /// The first one's number.
    pub first: Msisdn,
    /// Keep-alive timeout to ask for, seconds.
    pub timeout_s: u32,
    /// Linger of data channels, seconds; 0: none.
    pub linger_s: u32,
    /// Size of the answers that are not asked for in another one.
    pub answer_bytes: u64,
    /// Whether lost handsets come back.
    pub reconnect: bool,
    /// How handsets leave.
    pub leave: Leave,
    /// Bounds a connect, the wait for CONNREGISTERED, and the lateness of a KEEPALIVE.
    pub answer_limit: Millis,
    /// Registrations under way at one time.
    pub connecting: u32,
}

impl FleetTable {
    /// This table, and `below` for whatever it does not say.
    pub fn over(self, below: Self) -> Self {
        Self {
            handsets: self.handsets.or(below.handsets),
            first_msisdn: self.first_msisdn.or(below.first_msisdn),
            timeout_s: self.timeout_s.or(below.timeout_s),
            linger_s: self.linger_s.or(below.linger_s),
            answer_bytes: self.answer_bytes.or(below.answer_bytes),
            reconnect: self.reconnect.or(below.reconnect),
            leave: self.leave.or(below.leave),
            answer_limit: self.answer_limit.or(below.answer_limit),
            connecting: self.connecting.or(below.connecting),
        }
    }

    /// The checked table. What is wrong is added to `wrongs`, and taken for its default meanwhile.
    pub(super) fn check(&self, wrongs: &mut Vec<Wrong>) -> FleetSetting {
        let mut within = |key: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                wrongs.push(Wrong::new(
                    key,
                    format!("{value} is not from {least} to {most}"),
                ));
            }
        };
        let timeout_s = self.timeout_s.unwrap_or(TIMEOUT_S);
        let linger_s = self.linger_s.unwrap_or(0);
        let answer_bytes = self.answer_bytes.unwrap_or(ANSWER_BYTES);
        let connecting = self.connecting.unwrap_or(CONNECTING);
        within("timeout_s", timeout_s.into(), 1, SECONDS_MAX.into());
        within("linger_s", linger_s.into(), 0, SECONDS_MAX.into());
        within("answer_bytes", answer_bytes, 0, ANSWER_BYTES_MAX);
        within("connecting", connecting.into(), 1, u32::MAX.into());
        let answer_limit = self.answer_limit.unwrap_or(ANSWER_LIMIT);
        if answer_limit < Duration::from_millis(1) || answer_limit > ANSWER_LIMIT_MAX {
            wrongs.push(Wrong::new(
                "answer_limit_s",
                "is not from 0.001 s to an hour",
            ));
        }
        let handsets = self.handsets.unwrap_or(HANDSETS);
        FleetSetting {
            handsets,
            first: self.first(handsets, wrongs),
            timeout_s,
            linger_s,
            answer_bytes,
            reconnect: self.reconnect.unwrap_or(true),
            leave: self.leave.unwrap_or_default(),
            answer_limit: Millis(u64::try_from(answer_limit.as_millis()).unwrap_or(u64::MAX)),
            connecting,
        }
    }

    fn first(&self, handsets: u32, wrongs: &mut Vec<Wrong>) -> Msisdn {
        let digits = self.first_msisdn.as_deref().unwrap_or(FIRST_MSISDN);
        match Msisdn::parse(digits.as_bytes()) {
            Ok(first) => {
                let last = first.as_u64() + u64::from(handsets.saturating_sub(1));
                if Msisdn::from_u64(last).is_err() {
                    wrongs.push(Wrong::new(
                        "first_msisdn",
                        format!("{handsets} numbers from there go beyond 999999999999999, the last MSISDN"),
                    ));
                }
                first
            }
            Err(error) => {
                wrongs.push(Wrong::new("first_msisdn", error.to_string()));
                Msisdn::parse(FIRST_MSISDN.as_bytes()).expect("the default is one")
            }
        }
    }
}

fn seconds<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    let seconds = f64::deserialize(value)?;
    Duration::try_from_secs_f64(seconds)
        .map(Some)
        .map_err(|_negative_or_huge| serde::de::Error::custom("expected a number of seconds"))
}
