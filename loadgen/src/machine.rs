//! What the report says of the machine, this build and the processes: read from `/proc`, never the host's name.

use std::fs;

use serde::{Deserialize, Serialize};

/// `/proc/PID/stat` counts CPU time in these, on every Linux that has io_uring (USER_HZ).
const TICKS_PER_S: f64 = 100.0;

/// What made a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Version of this program.
    pub version: String,
    /// `release` or `debug`: figures of a debug build are worth little.
    pub profile: String,
    /// The sources' commit, if `EVERLINE_COMMIT` named it when this was compiled: a source archive has none to ask.
    pub commit: Option<String>,
    /// Architecture and system it was compiled for.
    pub target: String,
}

impl Build {
    /// Of this program.
    pub fn this() -> Self {
        let profile = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            profile: profile.to_owned(),
            commit: option_env!("EVERLINE_COMMIT")
                .filter(|commit| !commit.is_empty())
                .map(str::to_owned),
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        }
    }
}

/// Where a run was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Kernel release.
    pub kernel: String,
    /// Processor model.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Descriptors that this process may have.
    pub descriptors_max: u64,
}

impl Machine {
    /// This machine; what can't be read is empty or 0.
    pub fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: cpu
                .map(|(_, model)| model.trim().to_owned())
                .unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            memory_bytes: kib_field(&read("/proc/meminfo"), "MemTotal:"),
            descriptors_max: descriptors_max(),
        }
    }
}

/// How many descriptors this process may have now (soft limit); 0 if unknown.
pub fn descriptors_max() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// What a process has used at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ProcessSample {
    /// CPU since its start, user and system, seconds.
    pub cpu_s: f64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
}

impl ProcessSample {
    /// Of process `pid`; `None` if there is no such process, or not one that we may look at.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Self::parse(&stat, &status)
    }

    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The second field is the command in parentheses, and may itself hold spaces and parentheses.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u32>().ok();
        let ticks = f64::from(ticks()?) + f64::from(ticks()?);
        Some(Self {
            cpu_s: ticks / TICKS_PER_S,
            rss_bytes: kib_field(status, "VmRSS:"),
        })
    }
}

fn kib_field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "42 (a) b) (c) S 1 42 42 0 -1 4194560 99 0 0 0 250 50 0 0 20 0 3 0 100 1 1";
        let sample = ProcessSample::parse(stat, "Name:\ta\nVmRSS:\t    2048 kB\n");
        assert_eq!(
            sample,
            Some(ProcessSample {
                cpu_s: 3.0,
                rss_bytes: 2 << 20
            })
        );
        assert_eq!(ProcessSample::parse("42", ""), None);
    }

    #[test]
    fn this_machine_and_process_can_be_read() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_bytes > 0 && machine.descriptors_max > 0);
        assert!(ProcessSample::of(std::process::id()).is_some_and(|sample| sample.rss_bytes > 0));
    }
}
