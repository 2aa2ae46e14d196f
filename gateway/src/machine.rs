//! What this machine gives the process: cores, file descriptors, slots of a ring's table. Asked once, at the start.
//!
//! The configuration is checked against it, and `gateway` sizes its threads by it.

use rustix::process::{Resource, getrlimit};

use crate::directory::SLOTS_MAX;

/// The bounds that the machine sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// File descriptors that this process may open.
    pub descriptors: u64,
    /// Slots of one ring's table of direct descriptors: the kernel bounds it by the limit of open files.
    pub table_slots: u32,
}

impl Machine {
    /// A machine that bounds nothing, for readers of a configuration who will not run it.
    pub const UNBOUNDED: Self = Self {
        cores: 1,
        descriptors: u64::MAX,
        table_slots: SLOTS_MAX,
    };

    /// Raises the limit of open files as far as the process may, and tells what there is.
    pub fn probe() -> Self {
        // Raises the soft limit to the hard one as well.
        let table_slots = everline_uring::table_slots_max().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot ask for the limit of open files");
            0
        });
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            descriptors,
            table_slots,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let machine = Machine::probe();
        assert_eq!(
            Some(machine.descriptors),
            getrlimit(Resource::Nofile).maximum.or(Some(u64::MAX))
        );
        assert!(machine.cores >= 1 && machine.table_slots >= 1);
    }
}
