//! What the run orders its fleets to do, and how a fleet obeys: ramp, storm, churn, leave.
//!
//! An order is heard as soon as the ring is woken, and carried out in strides between the ring's turns: a fleet that
//! drops a whole table of handsets still answers those that it holds. What ends a session here was asked for by the
//! tester, so it is booked as `dropped` or `left`, never as `lost`.

use std::sync::Mutex;
use std::time::Duration;

use everline_protocol::Millis;
use everline_uring::Sockets;
use rand::{Rng as _, RngExt as _};
use serde::Deserialize;

use crate::books::FleetBooks;
use crate::fleet::{Conn, Fleet};
use crate::signaling::Purpose;

/// Connections ended in one step, so that the ring keeps turning meanwhile.
const STRIDE: u32 = 256;
/// How often churn looks for a registered handset before it lets one departure be.
const PICKS_MAX: u32 = 32;

/// One order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// Register more handsets.
    Ramp(Ramp),
    /// Drop every registered handset; all come back.
    Storm(Storm),
    /// Let some leave and come back, from now on; `None`: no more of that. Whoever is gone still comes back in time.
    Churn(Option<Churn>),
    /// End every connection in order, then the fleet.
    Leave,
    /// End at once.
    Stop,
}

/// See [`Order::Ramp`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    /// How many of the fleet's handsets have begun to register when it is carried out, those of earlier ramps included.
    pub handsets: u32,
    /// Registrations begun each second; `None`: as fast as they go.
    pub per_second: Option<f64>,
}

/// See [`Order::Storm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storm {
    /// From the first that is dropped to the last.
    pub over: Duration,
    /// When they come back.
    pub back: Return,
}

/// When a handset that a storm dropped dials again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Return {
    /// After its back-off (PROTOCOL 3.4).
    #[default]
    BackOff,
    /// As soon as there is room among those that are registering.
    AtOnce,
}

/// See [`Order::Churn`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    /// Share of the handsets that leaves each minute.
    pub percent_per_minute: f64,
    /// How long one stays away.
    pub gone: Duration,
    /// How they leave.
    pub leave: Leave,
    /// For how long, if it is not ended before: a phase that waits for its last requests is to have no more churn
    /// than it says.
    pub lasts: Duration,
}

/// How handsets leave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leave {
    /// With BYE.
    #[default]
    Bye,
    /// By closing the connection without a word.
    Drop,
}

/// What the run tells a fleet, and the fleet tells it.
#[derive(Debug, Default)]
pub struct Desk {
    orders: Mutex<Vec<Order>>,
    books: Mutex<FleetBooks>,
}

impl Desk {
    /// Gives the fleet an order; its ring must be woken to hear it at once.
    pub fn order(&self, order: Order) {
        self.orders
            .lock()
            .expect("no holder of this lock panics")
            .push(order);
    }

    /// The books as of a moment ago.
    pub fn books(&self) -> FleetBooks {
        self.books
            .lock()
            .expect("no holder of this lock panics")
            .clone()
    }

    pub(crate) fn take(&self) -> Vec<Order> {
        std::mem::take(&mut *self.orders.lock().expect("no holder of this lock panics"))
    }

    pub(crate) fn publish(&self, books: &FleetBooks) {
        self.books
            .lock()
            .expect("no holder of this lock panics")
            .clone_from(books);
    }
}

/// How far a fleet has carried out its orders.
#[derive(Debug, Default)]
pub(crate) struct Duty {
    ramp: Option<(Ramp, Since)>,
    storm: Option<(Storm, Since)>,
    churn: Option<(Churn, Since)>,
    /// Here the slots that have been looked at are what is done.
    leave: Option<(u32, Since)>,
    /// Told to stop.
    pub(crate) stopped: bool,
}

impl Duty {
    /// Since when the fleet leaves, and whether every connection has been told.
    pub(crate) fn leaving(&self) -> Option<(u64, bool)> {
        self.leave
            .map(|(slots, since)| (since.us, since.done >= slots))
    }
}

/// When an order was given, and how many handsets it has dealt with.
#[derive(Debug, Clone, Copy)]
struct Since {
    us: u64,
    done: u32,
}

impl Since {
    /// When number `number` of `whole`, evenly over `span`, is due.
    fn due_us(self, number: u32, whole: u32, span: Duration) -> u64 {
        let share = f64::from(number) / f64::from(whole.max(1));
        self.us + (span.as_micros() as f64 * share) as u64
    }
}

impl<S: Sockets> Fleet<S> {
    /// Hears an order; the steps that follow carry it out.
    pub fn obey(&mut self, order: Order) {
        let since = Since {
            us: self.now_us,
            done: 0,
        };
        match order {
            Order::Ramp(ramp) => {
                let handsets = ramp.handsets.min(self.share.handsets);
                let done = self.started;
                self.duty.ramp = Some((Ramp { handsets, ..ramp }, Since { done, ..since }));
            }
            Order::Storm(storm) => {
                // One that its time limit cut short is over for the run, and counted as every other.
                if self.duty.storm.replace((storm, since)).is_some() {
                    self.books.storms += 1;
                }
            }
            Order::Churn(churn) => self.duty.churn = churn.map(|churn| (churn, since)),
            Order::Leave if self.leaving => {}
            Order::Leave => {
                self.duty = Duty {
                    leave: Some((self.sockets.slots(), since)),
                    ..Duty::default()
                };
                self.forget_plans();
            }
            Order::Stop => self.duty.stopped = true,
        }
    }

    /// Ends some more of the connections that orders say are to end.
    pub(crate) fn carry_out(&mut self) {
        if let Some((slots, since)) = self.duty.leave {
            self.leave_some(slots, since);
        }
        if let Some((storm, since)) = self.duty.storm {
            self.storm_some(storm, since);
        }
        if let Some((churn, since)) = self.duty.churn {
            self.churn_some(churn, since);
        }
    }

    /// When [`Fleet::carry_out`] has something to do next; what is already due is due now.
    pub(crate) fn duty_due_us(&self) -> Option<u64> {
        let leave = self
            .duty
            .leave
            .and_then(|(slots, since)| (since.done < slots).then_some(self.now_us));
        let storm = self
            .duty
            .storm
            .map(|(storm, since)| since.due_us(since.done, self.share.handsets, storm.over));
        let churn = self
            .duty
            .churn
            .and_then(|(churn, since)| self.churn_due_us(churn, since));
        leave.into_iter().chain(storm).chain(churn).min()
    }

    /// When the next handset of the ramp is due to register; one that nobody timed is due when there is room for it.
    /// `None`: all that were ordered have begun.
    pub(crate) fn ramp_due_us(&self) -> Option<u64> {
        let (ramp, since) = self.duty.ramp?;
        (self.started < ramp.handsets).then(|| {
            let number = f64::from(self.started - since.done);
            ramp.per_second
                .map_or(self.now_us, |rate| since.us + (number * 1e6 / rate) as u64)
        })
    }

    fn leave_some(&mut self, slots: u32, since: Since) {
        let done = (since.done + STRIDE).min(slots);
        for slot in since.done..done {
            match self.conns[slot as usize] {
                Conn::Signaling(_) => self.leave_link(slot, Purpose::Finish, self.plan.leave),
                Conn::Data(_) => self.leave_channel(slot),
                Conn::Free => {}
            }
        }
        self.duty.leave = Some((slots, Since { done, ..since }));
    }

    fn storm_some(&mut self, storm: Storm, since: Since) {
        let handsets = self.share.handsets;
        let mut done = since.done;
        while done < handsets.min(since.done + STRIDE)
            && since.due_us(done, handsets, storm.over) <= self.now_us
        {
            if let Some(slot) = self.live_slot(done) {
                self.leave_link(slot, Purpose::Storm(storm.back), Leave::Drop);
            }
            done += 1;
        }
        self.duty.storm = (done < handsets).then_some((storm, Since { done, ..since }));
        if done == handsets {
            self.books.storms += 1;
        }
    }

    fn churn_some(&mut self, churn: Churn, mut since: Since) {
        for _ in 0..STRIDE {
            match self.churn_due_us(churn, since) {
                Some(due_us) if due_us <= self.now_us => since.done += 1,
                _ => break,
            }
            let slot = (0..PICKS_MAX).find_map(|_| {
                let phone = self.random.random_range(0..self.started);
                self.live_slot(phone)
            });
            if let Some(slot) = slot {
                self.leave_link(slot, Purpose::Churn(churn.gone), churn.leave);
            }
        }
        self.duty.churn = Some((churn, since));
    }

    /// `None`: nobody is there to leave, or it is over.
    fn churn_due_us(&self, churn: Churn, since: Since) -> Option<u64> {
        let per_second = f64::from(self.started) * churn.percent_per_minute / 100.0 / 60.0;
        let next_s = (f64::from(since.done) + 1.0) / per_second;
        (next_s <= churn.lasts.as_secs_f64()).then(|| since.us + (next_s * 1e6) as u64)
    }

    /// How long a handset that was dropped for `purpose` stays away; `None`: for good.
    pub(crate) fn away_for(&mut self, purpose: Purpose, phone: u32) -> Option<Millis> {
        if self.leaving {
            return None;
        }
        match purpose {
            Purpose::Finish => None,
            Purpose::Storm(Return::AtOnce) => Some(Millis(0)),
            Purpose::Storm(Return::BackOff) => {
                let random = self.random.next_u64();
                Some(self.phones[phone as usize].backoff.next(random, None))
            }
            Purpose::Churn(gone) => {
                Some(Millis(u64::try_from(gone.as_millis()).unwrap_or(u64::MAX)))
            }
        }
    }
}
