//! What every thread of the gateway holds one reference to: the tables, the mailboxes, the phase. Starts nothing.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::config::Config;
use crate::directory::Directory;
use crate::limits::Limits;
use crate::pending::Pending;
use crate::registration::Admission;
use crate::shard::mailbox::Shards;
use crate::shard::turns::Turns;
use crate::store::StoreHandle;
use crate::stream::Handover;

/// Behind one `Arc`, made by `gateway` before the first thread starts.
#[derive(Debug)]
pub struct Shared {
    /// Checked.
    pub config: Config,
    /// Who is reachable, and where.
    pub directory: Directory,
    /// Requests that wait for a data channel.
    pub pending: Pending<Handover>,
    /// Requests in flight.
    pub limits: Limits,
    /// How many registrations a second there may be, over all shards.
    pub admission: Admission,
    /// Which shards accept handsets.
    pub turns: Turns,
    /// The shards' mailboxes.
    pub shards: Shards,
    /// Where changes are noted for the time after a restart.
    pub store: StoreHandle,
    /// Whether we are leaving.
    pub phase: PhaseCell,
}

/// The gateway's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Threads are starting; not ready.
    Starting = 0,
    /// Ready.
    Serving = 1,
    /// Handsets are told to leave, new CONNECTs are refused, requests go on being served.
    Draining = 2,
    /// New requests are refused as `draining`; those in flight finish.
    Finishing = 3,
}

impl Phase {
    /// As the operator reads it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Finishing => "finishing",
        }
    }
}

/// A [`Phase`] that threads share; it only moves forward.
#[derive(Debug)]
pub struct PhaseCell(AtomicU8);

impl Default for PhaseCell {
    fn default() -> Self {
        Self(AtomicU8::new(Phase::Starting as u8))
    }
}

impl PhaseCell {
    /// The phase now.
    pub fn now(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            2 => Phase::Draining,
            _ => Phase::Finishing,
        }
    }

    /// Moves forward to `phase`; an earlier one is ignored.
    pub fn advance(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }
}
