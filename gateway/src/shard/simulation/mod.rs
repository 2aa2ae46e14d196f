//! A gateway's signaling in a bottle: shards on simulated rings that share one listener, handsets as peers, a clock
//! that the test turns. Whatever a seed decides is decided the same again by the same seed.
#![expect(
    clippy::indexing_slicing,
    reason = "a test that indexes wrongly fails, as it should"
)]

mod meters;
mod phone;
mod pressure_test;
mod sessions_test;
mod storm_test;

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use everline_protocol::{Handset, HandsetOutput, Identity, Millis, Msisdn, Refusal, RequestId};
use everline_uring::{Faults, SimulatedConfig, SimulatedNet, SimulatedRing, Sockets as _};

use super::clock::Clock;
use super::mailbox::{Letter, Mailbox, MailboxFull, Shards};
use super::slots::Stage;
use super::turns::Turns;
use super::{Random, Shard};
use crate::config::Config;
use crate::directory::{Directory, Place};
use crate::limits::{Bounds, Limits};
use crate::machine::Machine;
use crate::pending::{Pending, Waiting};
use crate::registration::{Admission, Verifier};
use crate::shared::{PhaseCell, Shared};
use crate::store::StoreHandle;
use crate::stream::Handover;
use phone::Phone;

/// When the wall's clock stands at the simulation's start.
pub(super) const WALL_S: u64 = 1_800_000_000;
/// What a handset that stopped reading still takes, bytes.
const WINDOW_BYTES: usize = 256;

/// Time as the simulation turns it; clones are the same clock.
#[derive(Debug, Clone)]
pub(super) struct VirtualClock(Rc<Cell<u64>>, Instant);

impl VirtualClock {
    fn new() -> Self {
        Self(Rc::default(), Instant::now())
    }

    /// Now, as another thread would note it.
    fn moment(&self) -> Instant {
        self.1 + Duration::from_millis(self.0.get())
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Millis {
        Millis(self.0.get())
    }

    fn at(&self, moment: Instant) -> Millis {
        super::millis(moment.saturating_duration_since(self.1))
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(WALL_S) + Duration::from_millis(self.0.get())
    }
}

/// Shards, the handsets in front of them, and the workers behind them.
pub(super) struct World {
    pub(super) clock: VirtualClock,
    pub(super) net: SimulatedNet,
    pub(super) shards: Vec<Shard<SimulatedRing, VirtualClock>>,
    pub(super) shared: Arc<Shared>,
    phones: Vec<Phone>,
    pub(super) requests: Vec<Waiting<Handover>>,
    pub(super) dice: Random,
    /// Whether each shard still turns.
    running: Vec<bool>,
}

/// What a [`World`] is made of.
pub(super) struct Setting {
    pub(super) seed: u64,
    pub(super) shards: u32,
    pub(super) slots: u32,
    pub(super) faults: Faults,
    /// Lines of `[signaling]`.
    pub(super) signaling: &'static str,
    pub(super) verifier: Verifier,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            seed: 1,
            shards: 2,
            slots: 64,
            faults: Faults::NONE,
            signaling: "",
            verifier: Verifier::anyone(),
        }
    }
}

pub(super) fn number(nth: u64) -> Msisdn {
    Msisdn::from_u64(34_600_000_000 + nth).expect("a valid number")
}

/// A configuration with these lines in `[signaling]`.
pub(super) fn config(signaling: &str) -> Config {
    let text = format!(
        "auth = \"none\"\n[ingress]\ndomains = [\"handsets.example.net\"]\n[data]\nadvertise = \"192.0.2.7:7001\"\n\
         [signaling]\n{signaling}\n"
    );
    crate::config_file::parse(&text, Path::new(""), &Machine::UNBOUNDED).expect("a configuration")
}

/// What shards share, before the first of them turns.
pub(super) fn shared(config: Config, mailboxes: Vec<Mailbox>) -> Arc<Shared> {
    let bounds = Bounds {
        requests_max: 1000,
        per_handset_max: 1000,
        per_caller_max: 1000,
    };
    Arc::new(Shared {
        admission: Admission::new(config.signaling.registrations_per_s_max),
        config,
        directory: Directory::default(),
        pending: Pending::default(),
        limits: Limits::new(bounds),
        turns: Turns::new(mailboxes.len(), 1),
        shards: Shards::new(mailboxes),
        store: StoreHandle::none(),
        phase: PhaseCell::default(),
    })
}

impl World {
    pub(super) fn new(setting: Setting) -> Self {
        let config = config(setting.signaling);
        let clock = VirtualClock::new();
        let net = SimulatedNet::new();
        net.set_window_bytes(WINDOW_BYTES);
        let rings: Vec<SimulatedRing> = (0..setting.shards)
            .map(|shard| {
                let simulated = SimulatedConfig {
                    slots: setting.slots,
                    buffers: 4,
                    buffer_bytes: 2048,
                    seed: setting.seed.wrapping_add(u64::from(shard)),
                    faults: setting.faults,
                };
                SimulatedRing::on(simulated, &net)
            })
            .collect();
        let letters_max = config.signaling.mailbox_letters_max;
        let mailboxes: Vec<Mailbox> = rings
            .iter()
            .map(|ring| Mailbox::new(letters_max, ring.waker()))
            .collect();
        let shared = shared(config, mailboxes.clone());
        let verifier = Arc::new(setting.verifier);
        let shards: Vec<_> = rings
            .into_iter()
            .zip(mailboxes)
            .zip(0..)
            .map(|((ring, mailbox), shard)| {
                let (shared, verifier) = (Arc::clone(&shared), Arc::clone(&verifier));
                let seed = setting.seed.wrapping_add(100 + u64::from(shard));
                Shard::new(ring, mailbox, shard, shared, verifier, clock.clone(), seed)
            })
            .collect();
        Self {
            clock,
            net,
            running: vec![true; shards.len()],
            shards,
            shared,
            phones: Vec::new(),
            requests: Vec::new(),
            dice: Random(setting.seed),
        }
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.dice.next() % end as u64) as usize
    }

    /// A handset connects and sends its CONNECT; tells which phone it is.
    pub(super) fn dial(&mut self, msisdn: Msisdn, timeout_s: u32) -> usize {
        self.dial_with(msisdn, timeout_s, "a.b.c", &[])
    }

    /// As `dial`, with this token, and bytes before CONNECT.
    pub(super) fn dial_with(
        &mut self,
        msisdn: Msisdn,
        timeout_s: u32,
        token: &str,
        first: &[u8],
    ) -> usize {
        let port = 10_000 + u16::try_from(self.phones.len() % 50_000).expect("a port");
        let peer = self.net.dial(SocketAddr::from(([127, 0, 0, 1], port)));
        let identity = Identity {
            msisdn,
            token: token.to_owned(),
            timeout_s,
            linger_s: 5,
            agent: None,
        };
        let mut out = HandsetOutput::default();
        let machine = Handset::connect(&identity, self.clock.now(), Millis(10_000), &mut out);
        self.net.peer_send(peer, first);
        self.net.peer_send(peer, &out.wire);
        out.wire.clear();
        self.phones.push(Phone {
            peer,
            msisdn,
            machine,
            out,
            heard: Vec::new(),
            mute: false,
            open: true,
            reading: true,
        });
        self.phones.len() - 1
    }

    /// A handset that connects and has been heard.
    pub(super) fn registered(&mut self, msisdn: Msisdn, timeout_s: u32) -> usize {
        let phone = self.dial(msisdn, timeout_s);
        self.until("it registers", |world| world.phones[phone].is_registered());
        // WAITING is on its way.
        self.steps(5, 0);
        phone
    }

    pub(super) fn bye(&mut self, phone: usize) {
        let phone = &mut self.phones[phone];
        phone.machine.bye(&mut phone.out);
        self.net.peer_send(phone.peer, &phone.out.wire);
        phone.out.wire.clear();
    }

    pub(super) fn stop_reading(&mut self, phone: usize) {
        self.phones[phone].reading = false;
        self.net.peer_stop_reading(self.phones[phone].peer);
    }

    /// What a worker does for a request: opens it, looks for the handset, signals.
    pub(super) fn request(&mut self, msisdn: Msisdn) -> Result<RequestId, MailboxFull> {
        let id = RequestId(u128::from(self.dice.next()) << 64 | u128::from(self.dice.next()));
        self.requests.push(self.shared.pending.open(id, msisdn));
        match self.shared.directory.lookup(msisdn) {
            Some(place) => self
                .shared
                .shards
                .post(place, Letter::Signal { place, id })
                .map(|()| id),
            None => Ok(id),
        }
    }

    /// What a worker says when a handset has opened a data channel: no shard wakes for it.
    pub(super) fn data_channel(&self, msisdn: Msisdn) {
        let place = self.place(msisdn).expect("it is registered");
        let at = self.clock.moment();
        let opened = Letter::DataChannelOpened { place, at };
        self.shared.shards.leave(place, opened).expect("room");
    }

    pub(super) fn refusal(&self, phone: usize) -> Option<&Refusal> {
        self.phones[phone].refusal()
    }

    pub(super) fn place(&self, msisdn: Msisdn) -> Option<Place> {
        self.shared.directory.lookup(msisdn)
    }

    /// One turn of every shard, and every handset answers what it was sent.
    pub(super) fn step(&mut self, milliseconds: u64) {
        self.clock.0.set(self.clock.0.get() + milliseconds);
        for phone in &mut self.phones {
            phone.pump(&self.net, self.clock.now());
        }
        for (shard, running) in self.shards.iter_mut().zip(&mut self.running) {
            if *running {
                *running = shard.turn().expect("a simulated ring does not fail");
            }
        }
        self.audit();
    }

    pub(super) fn steps(&mut self, count: usize, milliseconds: u64) {
        for _ in 0..count {
            self.step(milliseconds);
        }
    }

    /// Steps until something holds; a second of the virtual clock is not to be enough only if time must pass.
    pub(super) fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..2000 {
            if holds(self) {
                return;
            }
            self.step(0);
        }
        panic!("waited in vain until {what}");
    }

    /// No more faults, and enough turns for what is under way.
    pub(super) fn come_to_rest(&mut self) {
        self.set_faults(Faults::NONE);
        self.steps(60, 0);
        // Accepts pause after a failure.
        self.steps(4, 100);
        self.steps(200, 0);
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        for shard in &mut self.shards {
            shard.sockets.set_faults(faults);
        }
    }

    pub(super) fn stopped(&self) -> bool {
        self.running.iter().all(|running| !running)
    }

    /// Connections that are open and not on their way out.
    pub(super) fn live(&self) -> usize {
        let live = |shard: &Shard<SimulatedRing, VirtualClock>| {
            (0..shard.slots.reach())
                .filter_map(|slot| shard.slots.get(shard.slots.key_at(slot)?))
                .filter(|slot| slot.stage != Stage::Leaving)
                .count()
        };
        self.shards.iter().map(live).sum()
    }

    /// What must hold between any two turns.
    pub(super) fn audit(&self) {
        let mut current = 0;
        for (shard, running) in self.shards.iter().zip(&self.running) {
            if !running {
                continue;
            }
            let open = shard.slots.len();
            assert_eq!(shard.sockets.leases_out(), 0, "a buffer leaked");
            assert_eq!(shard.sockets.in_use() as usize, open, "a socket leaked");
            assert_eq!(shard.sockets.closing(), shard.closing, "a close got lost");
            assert_eq!(
                shard.wheel.len(),
                open,
                "every connection has a timer, and nothing else"
            );
            assert!(
                shard.proxy_headers.len() <= open,
                "a header outlived its connection"
            );
            let mut lent = 0;
            for slot in 0..shard.slots.reach() {
                let Some(key) = shard.slots.key_at(slot) else {
                    continue;
                };
                let slot = shard.slots.get(key).expect("it was just found");
                lent += usize::from(slot.outbox.is_some());
                let Some(registered) = slot.registered else {
                    continue;
                };
                let place = Place::new(shard.number, key, u32::from(registered.linger_s));
                current += usize::from(self.place(registered.msisdn) == Some(place));
            }
            assert_eq!(shard.outboxes.lent(), lent, "an outbox leaked");
        }
        assert_eq!(
            self.shared.directory.sessions(),
            current,
            "the directory names sessions that live, and no others"
        );
    }
}
