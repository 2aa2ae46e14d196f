//! The report as a page for a terminal: the same figures as the JSON, in the order in which a tester asks for them.

use std::collections::BTreeMap;
use std::fmt;

use crate::report::{Percentiles, Report};
use crate::screen::Micros;

/// Displays a report.
#[derive(Debug)]
pub struct Table<'a>(pub &'a Report);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let (build, machine) = (&report.build, &report.machine);
        writeln!(
            f,
            "loadgen {} ({}) on Linux {}, {} cores, {} GiB",
            build.version,
            build.profile,
            machine.kernel,
            machine.cores,
            machine.memory_bytes >> 30
        )?;
        self.phases(f)?;
        self.handsets(f)?;
        self.requests(f)?;
        if report.ok {
            writeln!(f, "\nAll well: nothing was lost, refused or failed.")
        } else {
            writeln!(f, "\nNot well:")?;
            report
                .faults
                .iter()
                .chain(&report.findings)
                .try_for_each(|finding| writeln!(f, "  {finding}"))
        }
    }
}

impl Table<'_> {
    fn phases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<12}{:>10}{:>16}{:>16}{:>16}{:>16}",
            "phase", "length", "gateway cpu", "gateway rss", "loadgen cpu", "loadgen rss"
        )?;
        for phase in &self.0.phases {
            writeln!(
                f,
                "{:<12}{:>9.1}s{:>16}{:>16}{:>16}{:>16}",
                phase.name,
                phase.seconds,
                cpu(phase.gateway_cpu_s),
                mib(phase.gateway_rss_bytes),
                cpu(phase.loadgen_cpu_s),
                mib(phase.loadgen_rss_bytes)
            )?;
        }
        for (name, process) in [
            ("gateway", self.0.gateway.as_ref()),
            ("loadgen", Some(&self.0.loadgen)),
        ] {
            let Some(process) = process else { continue };
            let (Some(cpu), Some(rss)) = (
                process.cpu_us_per_registration,
                process.rss_bytes_per_session,
            ) else {
                continue;
            };
            write!(
                f,
                "{name}: {cpu:.1} us of CPU a registration, {rss:.0} bytes of RSS a session"
            )?;
            match process.cores_in_hold {
                Some(cores) => writeln!(f, ", {:.1} % of a core in the hold", cores * 100.0)?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }

    fn handsets(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (registrations, sessions) = (&self.0.registrations, &self.0.sessions);
        writeln!(
            f,
            "\nhandsets    {} wanted, {} open at most, {} before the finish",
            registrations.handsets, sessions.open_max, sessions.open_before_finish
        )?;
        writeln!(
            f,
            "registered  {} of {} attempts, all tried after {:.2} s: {:.0}/s, best second {}/s",
            registrations.registered,
            registrations.attempts,
            registrations.seconds,
            registrations.per_second,
            registrations.per_second_max
        )?;
        writeln!(
            f,
            "  due to CONNREGISTERED  {}",
            Spread(&registrations.latency_us)
        )?;
        causes(f, "not registered", &registrations.not_registered)?;
        if registrations.abandoned + registrations.connecting > 0 {
            writeln!(
                f,
                "  given up at the end: {}",
                registrations.abandoned + registrations.connecting
            )?;
        }
        writeln!(
            f,
            "sessions    {} left, {} moved, {} open, {} lost; {} keep-alives, {} reconnects",
            sessions.left,
            sessions.moved,
            sessions.open,
            sessions.lost.values().sum::<u64>(),
            sessions.keep_alives,
            sessions.reconnects
        )?;
        causes(f, "lost", &sessions.lost)?;
        let channels = &self.0.channels;
        if channels.wakes > 0 {
            writeln!(
                f,
                "wakes       {}: {} data channels, {} requests served",
                channels.wakes, channels.opened, channels.served
            )?;
            causes(f, "not opened", &channels.not_opened)?;
            causes(f, "failed", &channels.failed)?;
        }
        Ok(())
    }

    fn requests(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(requests) = &self.0.requests else {
            return Ok(());
        };
        writeln!(
            f,
            "\nrequests    {} due, {} sent, {:.1}/s good, {} connections",
            requests.due, requests.sent, requests.per_second, requests.connections
        )?;
        writeln!(
            f,
            "  due to answered        {}",
            Spread(&requests.latency_us)
        )?;
        writeln!(
            f,
            "  sent to answered       {}",
            Spread(&requests.service_us)
        )?;
        if requests.latency_failed_us.count > 0 {
            writeln!(
                f,
                "  due to failed          {}",
                Spread(&requests.latency_failed_us)
            )?;
        }
        causes(f, "answered", &requests.answered)?;
        causes(f, "problem", &requests.problems)?;
        causes(f, "failed", &requests.failed)?;
        causes(f, "not sent", &requests.not_sent)
    }
}

struct Spread<'a>(&'a Percentiles);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Percentiles {
            count,
            p50,
            p90,
            p99,
            p99_9,
            max,
            ..
        } = *self.0;
        if count == 0 {
            return f.write_str("none");
        }
        let named = [
            ("p50", p50),
            ("p90", p90),
            ("p99", p99),
            ("p99.9", p99_9),
            ("max", max),
        ];
        named
            .iter()
            .try_for_each(|(name, micros)| write!(f, "{name} {:<9}", Micros(*micros)))
    }
}

fn causes(f: &mut fmt::Formatter<'_>, what: &str, causes: &BTreeMap<String, u64>) -> fmt::Result {
    causes
        .iter()
        .try_for_each(|(cause, times)| writeln!(f, "  {what:<15}{times:>12}  {cause}"))
}

fn cpu(seconds: Option<f64>) -> String {
    seconds.map_or("-".into(), |seconds| format!("{seconds:.2} s"))
}

fn mib(bytes: Option<u64>) -> String {
    bytes.map_or("-".into(), |bytes| {
        format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
    })
}
