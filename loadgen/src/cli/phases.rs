//! The flags that say what happens in a run without a scenario: a ramp, and a hold with or without callers.

use std::time::Duration;

use clap::Args;
use everline_protocol::Msisdn;

use super::values::{msisdn, path, rate, span};
use crate::scenario::{PhaseTable, RampTable, RequestsTable, Size};

/// See the module. A scenario says all of this by itself, so none of these goes with one.
#[derive(Debug, Args)]
pub struct PhaseFlags {
    /// Registrations begun each second [default: as fast as --connecting lets them].
    #[arg(long, value_name = "PER_SECOND", value_parser = rate, conflicts_with = "scenario", help_heading = "Ramp")]
    pub rate: Option<f64>,
    /// The ramp ends after this time even if handsets are missing.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = span, conflicts_with = "scenario", help_heading = "Ramp")]
    pub ramp_limit: Duration,

    /// Open loop: so many requests are due each second, whatever became of those before; latency counts from then.
    #[arg(long, value_name = "R", value_parser = rate, conflicts_with_all = ["concurrency", "scenario"], help_heading = "Callers")]
    pub requests_per_second: Option<f64>,
    /// Closed loop: so many callers, one request each at a time.
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "scenario", help_heading = "Callers")]
    pub concurrency: Option<u32>,
    /// Addresses handsets as MSISDN.DOMAIN/PATH (host form) instead of DOMAIN/MSISDN/PATH (path form).
    #[arg(long, conflicts_with = "scenario", help_heading = "Callers")]
    pub host_form: bool,
    /// Path to request.
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = path, conflicts_with = "scenario", help_heading = "Callers")]
    pub path: String,
    /// Method to request with [default: GET, or POST with --upload-bytes].
    #[arg(
        long,
        value_name = "METHOD",
        conflicts_with = "scenario",
        help_heading = "Callers"
    )]
    pub method: Option<http::Method>,
    /// Size of the requests' bodies.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 0,
        conflicts_with = "scenario",
        help_heading = "Callers"
    )]
    pub upload_bytes: u64,
    /// Requests only this handset, instead of any registered one.
    #[arg(long, value_name = "MSISDN", value_parser = msisdn, conflicts_with = "scenario", help_heading = "Callers")]
    pub target_msisdn: Option<Msisdn>,
    /// A new connection for each request.
    #[arg(long, conflicts_with = "scenario", help_heading = "Callers")]
    pub close: bool,
    /// Longest time from the sending of a request to the last byte of its answer.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = span, conflicts_with = "scenario", help_heading = "Callers")]
    pub request_timeout: Duration,
    /// Most requests in flight at a rate; those beyond are counted as not sent. At most half of this process's descriptors.
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "scenario", help_heading = "Callers")]
    pub in_flight: u64,
    /// Takes every answer as good, whatever its body; so it is with --target-msisdn for a handset not of this run.
    #[arg(long, conflicts_with = "scenario", help_heading = "Callers")]
    pub no_verify: bool,

    /// How long to hold the handsets, and to request them, after the ramp.
    #[arg(long, visible_alias = "duration", value_name = "TIME", default_value = "60s", value_parser = span, conflicts_with = "scenario", help_heading = "Run")]
    pub hold: Duration,
}

impl PhaseFlags {
    /// The phases as a scenario would have them.
    pub(super) fn tables(&self) -> Vec<PhaseTable> {
        let ramp = PhaseTable {
            name: "ramp".into(),
            ramp: Some(RampTable {
                per_second: self.rate,
                handsets: None,
                limit_s: self.ramp_limit.as_secs_f64(),
            }),
            ..PhaseTable::default()
        };
        let hold = PhaseTable {
            name: "hold".into(),
            duration_s: Some(self.hold.as_secs_f64()),
            requests: self.requests(),
            ..PhaseTable::default()
        };
        vec![ramp, hold]
    }

    fn requests(&self) -> Option<RequestsTable> {
        if self.requests_per_second.is_none() && self.concurrency.is_none() {
            return None;
        }
        let target = self.target_msisdn;
        let method = self.method.as_ref();
        Some(RequestsTable {
            per_second: self.requests_per_second,
            concurrency: self.concurrency,
            targets: target.map_or("uniform".into(), |one| one.digits().to_string()),
            methods: method
                .map(|method| (method.to_string(), 1))
                .into_iter()
                .collect(),
            upload_bytes: Size::Fixed(self.upload_bytes),
            keep_alive: !self.close,
            host_form: self.host_form,
            path: self.path.clone(),
            timeout_s: self.request_timeout.as_secs_f64(),
            in_flight_max: self.in_flight,
            verify: !self.no_verify,
            ..RequestsTable::default()
        })
    }
}

/// The flag that says the key at `path` of a scenario.
pub(super) fn flag(path: &str) -> String {
    let key = path.rsplit_once("].").map_or(path, |(_, key)| key);
    let key = key.split("methods.").next().unwrap_or(key);
    let flag = match key {
        "ramp.per_second" => "rate",
        "duration_s" => "hold",
        "requests.per_second" => "requests-per-second",
        "requests.targets" => "target-msisdn",
        "requests." => "method",
        "requests.timeout_s" => "request-timeout",
        "requests.in_flight_max" => "in-flight",
        "ramp.limit_s" => "ramp-limit",
        threshold if threshold.starts_with("thresholds") => "threshold",
        other if other.starts_with('-') => return other.to_owned(),
        other => {
            let key = other.rsplit('.').next().unwrap_or(other);
            return format!("--{}", key.trim_end_matches("_s").replace('_', "-"));
        }
    };
    format!("--{flag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_by_their_flags() {
        for (path, expected) in [
            ("fleet.first_msisdn", "--first-msisdn"),
            ("fleet.timeout_s", "--timeout"),
            ("fleet.answer_limit_s", "--answer-limit"),
            ("phase[1].requests.per_second", "--requests-per-second"),
            ("phase[1].requests.methods.CONNECT", "--method"),
            ("phase[1].requests.concurrency", "--concurrency"),
            ("phase[1].requests.upload_bytes", "--upload-bytes"),
            ("phase[0].ramp.limit_s", "--ramp-limit"),
            ("thresholds[0]", "--threshold"),
            ("--sources", "--sources"),
        ] {
            assert_eq!(flag(path), expected, "{path}");
        }
    }
}
