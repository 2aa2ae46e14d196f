//! The fleets' threads: how the handsets of this process are shared out among rings, and orders, books and ends of
//! all fleets together.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use everline_uring::{RingConfig, Wake as _, Waker};

use crate::books::FleetBooks;
use crate::fleet::{Fleet, FleetEnd, FleetPlan, Share};
use crate::orders::{Desk, Order, Ramp};
use crate::ring_thread::{self, NoRingThread};
use crate::roster::Roster;
use crate::scenario::proportion;
use crate::tokens::Mint;

/// Slots that a fleet keeps for data channels and for handsets on the move.
const SPARE_SLOTS_MAX: u32 = 1024;
/// Buffers of a ring, and their size: a fleet's transfers are short.
const BUFFERS: u32 = 256;
const BUFFER_BYTES: usize = 16 * 1024;
const ENTRIES: u32 = 2048;

/// What all fleets have in common.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) plan: Arc<FleetPlan>,
    pub(super) mint: Arc<Mint>,
    pub(super) roster: Arc<Roster>,
    /// The beginning of the run, on both clocks.
    pub(super) epoch: Instant,
    pub(super) epoch_unix_s: u64,
}

/// How many fleets there are, and how large.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Handsets of this process.
    pub(super) handsets: u32,
    /// How many fleets at least.
    pub(super) threads: u32,
    /// Slots of a ring's table at most.
    pub(super) table_slots: u32,
    /// Registrations under way at one time, in all fleets.
    pub(super) connecting: u32,
}

/// All fleets of the process.
pub(super) struct Crews {
    handsets: u32,
    crews: Vec<Crew>,
}

/// One fleet's thread.
struct Crew {
    share: Share,
    desk: Arc<Desk>,
    waker: Waker,
    thread: Option<JoinHandle<io::Result<FleetEnd>>>,
}

impl Crews {
    /// Starts the threads; nobody connects before the first order.
    pub(super) fn hire(layout: Layout, common: &Common) -> Result<Self, NoRingThread> {
        let crews = layout
            .shares()
            .into_iter()
            .map(|(share, slots)| Crew::hire(share, slots, common.clone()));
        Ok(Self {
            handsets: layout.handsets,
            crews: crews.collect::<Result<_, _>>()?,
        })
    }

    /// How many fleets there are.
    pub(super) fn count(&self) -> u64 {
        self.crews.len() as u64
    }

    /// The sum of all fleets' books, as of a moment ago.
    pub(super) fn books(&self) -> FleetBooks {
        let mut sum = FleetBooks::default();
        for crew in &self.crews {
            sum += &crew.desk.books();
        }
        sum
    }

    /// Gives every fleet the same order.
    pub(super) fn order(&self, order: Order) {
        for crew in &self.crews {
            crew.desk.order(order);
            crew.waker.wake();
        }
    }

    /// Orders a ramp to so many handsets in all, at such a rate in all.
    pub(super) fn ramp(&self, handsets: u32, per_second: Option<f64>) {
        for crew in &self.crews {
            let range = crew.share.first..crew.share.first + crew.share.handsets;
            let part = f64::from(crew.share.handsets) / f64::from(self.handsets.max(1));
            crew.desk.order(Order::Ramp(Ramp {
                handsets: proportion(handsets, self.handsets, &range),
                per_second: per_second.map(|rate| rate * part),
            }));
            crew.waker.wake();
        }
    }

    /// Whether every thread has ended.
    pub(super) fn are_gone(&self) -> bool {
        let ended = |crew: &Crew| crew.thread.as_ref().is_none_or(JoinHandle::is_finished);
        self.crews.iter().all(ended)
    }

    /// What remains of the fleets once they have ended, and a sentence for each that did not end well.
    pub(super) fn collect(&mut self) -> (Vec<FleetEnd>, Vec<String>) {
        let (mut ends, mut faults) = (Vec::new(), Vec::new());
        for crew in &mut self.crews {
            match crew.thread.take().map(JoinHandle::join) {
                Some(Ok(Ok(end))) => ends.push(end),
                Some(Ok(Err(error))) => faults.push(format!("a fleet's ring failed: {error}")),
                Some(Err(_panic)) => {
                    faults.push(
                        "a fleet's thread panicked; its handsets are missing here".to_owned(),
                    );
                }
                None => {}
            }
        }
        (ends, faults)
    }
}

impl Crew {
    fn hire(share: Share, slots: u32, common: Common) -> Result<Self, NoRingThread> {
        let desk = Arc::new(Desk::default());
        let theirs = desk.clone();
        let config = RingConfig {
            slots,
            buffers: BUFFERS,
            buffer_bytes: BUFFER_BYTES,
            entries: ENTRIES,
            listener: None,
        };
        let name = format!("fleet-{}", share.fleet);
        let (waker, thread) = ring_thread::start(name, config, move |ring| {
            let Common {
                plan,
                mint,
                roster,
                epoch,
                epoch_unix_s,
            } = common;
            let seed = rand::random();
            Fleet::new(ring, plan, share, mint, roster, epoch_unix_s, seed).run(epoch, &theirs)
        })?;
        Ok(Self {
            share,
            desk,
            waker,
            thread: Some(thread),
        })
    }
}

impl Layout {
    /// The handsets of each fleet, and the slots of its ring: as few fleets as their tables allow, but `threads` at
    /// least.
    fn shares(self) -> Vec<(Share, u32)> {
        let spare = (self.table_slots / 16).clamp(1, SPARE_SLOTS_MAX);
        let fleets = self
            .threads
            .min(self.handsets)
            .max(self.handsets.div_ceil((self.table_slots - spare).max(1)));
        let split = |number: u32, whole: u32| whole / fleets + u32::from(number < whole % fleets);
        let mut first = 0;
        (0..fleets)
            .map(|number| {
                let handsets = split(number, self.handsets);
                let share = Share {
                    fleet: number,
                    first,
                    handsets,
                    connecting_max: split(number, self.connecting).max(1),
                };
                first += handsets;
                // Twice the handsets: when the gateway drains, each has two connections for a while.
                let slots = self.table_slots.min(handsets * 2 + SPARE_SLOTS_MAX);
                (share, slots)
            })
            .collect()
    }
}
