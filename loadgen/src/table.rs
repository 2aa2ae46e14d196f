//! The report as a page for a terminal: the same figures as the JSON, in the order in which a tester asks for them.

use std::collections::BTreeMap;
use std::fmt;

use crate::report::shown::{figure, grouped, shown};
use crate::report::{Percentiles, PhaseReport, Report};
use crate::screen::Micros;

/// Displays a report.
#[derive(Debug)]
pub struct Table<'a>(pub &'a Report);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let (build, machine) = (&report.build, &report.machine);
        if let Some(scenario) = &report.scenario {
            writeln!(f, "scenario {}", shown(scenario))?;
        }
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
        self.costs(f)?;
        self.handsets(f)?;
        self.requests(f)?;
        self.rogues(f)?;
        self.thresholds(f)?;
        self.verdict(f)
    }
}

impl Table<'_> {
    fn phases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phases = &self.0.phases;
        writeln!(
            f,
            "\n{:<14}{:>9}{:>11}{:>10}{:>11}{:>8}{:>8}",
            "phase", "length", "registered", "per s", "open", "lost", "back"
        )?;
        for phase in phases {
            let back = phase
                .back_s
                .map_or_else(|| "-".into(), |back_s| format!("{back_s:.1}s"));
            writeln!(
                f,
                "{:<14}{:>8.1}s{:>11}{:>10.0}{:>11}{:>8}{back:>8}",
                shown(&phase.name),
                phase.seconds,
                phase.registered,
                phase.registrations_per_s,
                phase.open_at_end,
                phase.lost,
            )?;
        }
        let asked = phases
            .iter()
            .filter_map(|phase| Some((phase, phase.requests.as_ref()?)));
        // With one such phase, what is below says the same.
        if asked.clone().count() < 2 {
            return Ok(());
        }
        writeln!(
            f,
            "\n{:<14}{:>10}{:>8}{:>10}{:>9}{:>9}{:>9}{:>9}",
            "requests in", "good", "bad", "per s", "p50", "p99", "p99.9", "max"
        )?;
        for (phase, requests) in asked {
            let spread = &requests.latency_us;
            writeln!(
                f,
                "{:<14}{:>10}{:>8}{:>10.1}{:>9}{:>9}{:>9}{:>9}",
                shown(&phase.name),
                requests.good,
                requests.bad,
                requests.per_second,
                Micros(spread.p50),
                Micros(spread.p99),
                Micros(spread.p99_9),
                Micros(spread.max)
            )?;
        }
        Ok(())
    }

    fn costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<14}{:>12}{:>8}{:>12}{:>14}{:>8}{:>12}",
            "cost in", "gateway cpu", "cores", "rss", "loadgen cpu", "cores", "rss"
        )?;
        for phase in &self.0.phases {
            let PhaseReport {
                gateway_cpu_s,
                gateway_cores,
                gateway_rss_bytes,
                loadgen_cpu_s,
                loadgen_cores,
                loadgen_rss_bytes,
                ..
            } = *phase;
            writeln!(
                f,
                "{:<14}{:>12}{:>8}{:>12}{:>14}{:>8}{:>12}",
                shown(&phase.name),
                cpu(gateway_cpu_s),
                cores(gateway_cores),
                mib(gateway_rss_bytes),
                cpu(loadgen_cpu_s),
                cores(loadgen_cores),
                mib(loadgen_rss_bytes)
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
        causes(f, "dropped for", &sessions.dropped)?;
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

    fn rogues(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(rogues) = &self.0.rogues else {
            return Ok(());
        };
        writeln!(
            f,
            "\nmisdeeds    of {} handsets, {} met otherwise than they must be; {} requests to them, {} ended otherwise",
            rogues.rogues, rogues.met_otherwise, rogues.requests_sent, rogues.requests_otherwise
        )?;
        for kind in &rogues.kinds {
            writeln!(
                f,
                "  {:<15}{:>8} begun{:>8} met{:>8} broken off, met within {}",
                shown(&kind.kind),
                kind.begun,
                kind.met,
                kind.cut,
                Micros(kind.met_us_max)
            )?;
            causes(f, "  otherwise", &kind.otherwise)?;
            causes(f, "  hindered", &kind.hindered)?;
        }
        Ok(())
    }

    fn thresholds(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.thresholds.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nthresholds")?;
        for verdict in &self.0.thresholds {
            writeln!(
                f,
                "  {:<8}{:<44}{:>14}",
                if verdict.met { "met" } else { "MISSED" },
                shown(&verdict.threshold),
                verdict.value.map_or_else(|| "not measured".into(), figure)
            )?;
        }
        Ok(())
    }

    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let sentences = |f: &mut fmt::Formatter<'_>, title: &str, sentences: &[String]| {
            if sentences.is_empty() {
                return Ok(());
            }
            writeln!(f, "\n{title}:")?;
            sentences
                .iter()
                .try_for_each(|sentence| writeln!(f, "  {}", shown(sentence)))
        };
        sentences(f, "The run is not valid", &report.faults)?;
        let title = if report.ok {
            "Not well, but within the thresholds"
        } else {
            "Not well"
        };
        sentences(f, title, &report.findings)?;
        let all = grouped(report.thresholds.len() as u64);
        match (report.ok, report.thresholds.is_empty()) {
            (true, true) => writeln!(f, "\nAll well: nothing was lost, refused or failed."),
            (true, false) => writeln!(f, "\nAll thresholds are met ({all})."),
            (false, true) => Ok(()),
            (false, false) => writeln!(f, "\n{} of {all} thresholds are met.", report.met()),
        }
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
        .try_for_each(|(cause, times)| writeln!(f, "  {what:<15}{times:>12}  {}", shown(cause)))
}

fn cpu(seconds: Option<f64>) -> String {
    seconds.map_or("-".into(), |seconds| format!("{seconds:.2} s"))
}

fn cores(cores: Option<f64>) -> String {
    cores.map_or("-".into(), |cores| format!("{cores:.2}"))
}

fn mib(bytes: Option<u64>) -> String {
    bytes.map_or("-".into(), |bytes| {
        format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::material;

    #[test]
    fn a_terminal_shows_every_part_and_obeys_nothing_from_outside() {
        let report = Report::new(material(20, "\u{1b}[2Jeof"));
        let text = Table(&report).to_string();
        for part in [
            "scenario example",
            "noon",
            "back",
            "10.0s",
            "cost in",
            "due to answered",
            "frozen",
            "MISSED  lost == 0",
            "met     noon: p99_ms < 50",
            "1 of 2 thresholds are met.",
            "2 sessions were lost",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\u{1b}'));
        assert!(
            text.lines().all(|line| line.chars().count() <= 110),
            "{text}"
        );
    }
}
