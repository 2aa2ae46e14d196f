//! Data channels between two requests, by the session that opened them; one table a worker (PROTOCOL 5.3).
//!
//! `relay` puts a channel in when an exchange has ended cleanly, `carry` takes one out for the same session. A channel
//! goes when its linger is over, or when there are too many: the one whose linger ends first. One that its handset
//! closed is worth nothing from then on, and is swept out with the others.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use crate::channel::Channel;
use crate::directory::Place;

/// How long a channel may take from the end of an exchange to its being ready for another.
const READY_TIMEOUT: Duration = Duration::from_millis(100);
/// How late, at most, a channel is closed after its linger; it is not used after its linger in any case.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The table; clones share it.
#[derive(Clone)]
pub struct IdleChannels(Rc<Inner>);

struct Inner {
    idle_max: usize,
    table: RefCell<Table>,
}

/// When a channel's linger ends, and a number that tells apart those that end at once.
type Key = (Instant, u64);

#[derive(Default)]
struct Table {
    next: u64,
    by_end: BTreeMap<Key, (Place, Channel)>,
    by_place: HashMap<Place, Vec<Key>>,
    sweeping: bool,
}

impl IdleChannels {
    /// An empty table that holds at most `idle_max`.
    pub fn new(idle_max: usize) -> Self {
        Self(Rc::new(Inner {
            idle_max,
            table: RefCell::default(),
        }))
    }

    /// Keeps a channel whose exchange has ended, for as long as its handset lingers.
    pub fn keep(&self, place: Place, channel: Channel) {
        let linger = Duration::from_secs(u64::from(place.linger_s()));
        if linger.is_zero() || self.0.idle_max == 0 || channel.sender.is_closed() {
            return;
        }
        let table = &mut *self.0.table.borrow_mut();
        while table.by_end.len() >= self.0.idle_max {
            table.pop_first();
        }
        let key = (Instant::now() + linger, table.next);
        table.next += 1;
        table.by_end.insert(key, (place, channel));
        table.by_place.entry(place).or_default().push(key);
        if !table.sweeping {
            table.sweeping = true;
            spawn_local(self.clone().sweep());
        }
    }

    /// The channel of this session that was idle for the shortest time; it may end at this very moment all the same.
    pub async fn take(&self, place: Place) -> Option<Channel> {
        if place.linger_s() == 0 {
            return None;
        }
        loop {
            let mut channel = self.0.table.borrow_mut().pop_newest(place)?;
            // hyper is told of the end of an exchange a moment after we are.
            if channel.sender.is_ready() || channel.ready(READY_TIMEOUT).await {
                return Some(channel);
            }
        }
    }

    /// Channels in the table.
    pub fn len(&self) -> usize {
        self.0.table.borrow().by_end.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    async fn sweep(self) {
        loop {
            let now = Instant::now();
            let next = {
                let mut table = self.0.table.borrow_mut();
                while table
                    .by_end
                    .first_key_value()
                    .is_some_and(|((end, _), _)| *end <= now)
                {
                    table.pop_first();
                }
                let Some(((end, _), _)) = table.by_end.first_key_value() else {
                    table.sweeping = false;
                    return;
                };
                *end
            };
            sleep_until(next.min(now + SWEEP_INTERVAL)).await;
        }
    }
}

impl Table {
    fn pop_first(&mut self) {
        if let Some((key, (place, _))) = self.by_end.pop_first() {
            self.forget(place, key);
        }
    }

    fn pop_newest(&mut self, place: Place) -> Option<Channel> {
        let now = Instant::now();
        loop {
            let key = *self.by_place.get(&place)?.last()?;
            self.forget(place, key);
            let (_, channel) = self.by_end.remove(&key)?;
            if key.0 > now && !channel.sender.is_closed() {
                return Some(channel);
            }
        }
    }

    fn forget(&mut self, place: Place, key: Key) {
        if let Some(keys) = self.by_place.get_mut(&place) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_place.remove(&place);
            }
        }
    }
}
