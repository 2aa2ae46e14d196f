//! How long the handset may be silent on its signaling connection, learnt from what its network lets live.
//!
//! A network's address translation forgets a connection on which nothing passed for a while; the longest timeout that it
//! lets live costs the fewest packets. [`Learner`] finds it, as a plain function of what happened: it doubles while
//! timeouts survive, halves the distance between what survived and what did not, and rests a little below. A timeout that
//! was good and is not any more is halved at once; now and then what failed is tried again. Between two trials it rests on
//! what is proven, so that a handset is never out of reach twice in a row for the sake of learning.
//!
//! [`Lessons`] keeps one learner for each gateway and network. [`crate::connection`] asks and tells it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everline_protocol::HostPort;
use serde::{Deserialize, Serialize};

/// What is tried first where nothing is known.
const FIRST_S: u32 = 300;

/// Times that a timeout has to survive before a longer one is tried.
const SURVIVALS: u32 = 2;

/// What survived and what did not are near enough when their distance is this part of the former.
const NEAR_PARTS: u32 = 25;

/// The rest stays this part below what survived: networks are not punctual.
const MARGIN_PARTS: u32 = 20;

/// Times that the rest survives before what failed is tried again; doubled each time that it fails again.
const RETRY_FIRST: u32 = 64;

/// Where that doubling ends.
const RETRY_MAX: u32 = 1_024;

/// Gateways and networks that are remembered at most; the one that was used longest ago goes.
const NETWORKS_MAX: usize = 32;

/// Between which timeouts to learn, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Not shorter.
    pub min_s: u32,
    /// Not longer.
    pub max_s: u32,
}

/// What is known of one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learner {
    /// Survived; at first the lower bound, which is taken for granted.
    proven_s: u32,
    /// The shortest that did not survive.
    failed_s: Option<u32>,
    /// Being tried; `None`: it rests.
    trial_s: Option<u32>,
    /// Times that the timeout in use survived.
    survived: u32,
    /// Survivals of the rest after which what failed is tried again.
    retry_after: u32,
}

impl Learner {
    /// Knows nothing yet.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            proven_s: bounds.min_s,
            failed_s: None,
            trial_s: Some(FIRST_S.clamp(bounds.min_s, bounds.max_s)),
            survived: 0,
            retry_after: RETRY_FIRST,
        }
    }

    /// The timeout to ask for.
    pub fn timeout_s(&self, bounds: Bounds) -> u32 {
        let rest = match self.failed_s {
            Some(_) => self.proven_s - self.proven_s / MARGIN_PARTS,
            // It is the bound that ends it, not the network.
            None => self.proven_s,
        };
        self.trial_s
            .unwrap_or(rest)
            .clamp(bounds.min_s, bounds.max_s)
    }

    /// The longest silence that is known to survive.
    pub fn proven_s(&self) -> u32 {
        self.proven_s
    }

    /// Whether it rests on what it found.
    pub fn is_settled(&self, bounds: Bounds) -> bool {
        self.trial_s.is_none() && self.is_near(bounds)
    }

    /// A KEEPALIVE came through after this much silence.
    pub fn survived(&mut self, idle_s: u32, bounds: Bounds) {
        let timeout_s = self.timeout_s(bounds);
        // The first of a session may come early, and proves nothing about the timeout.
        if idle_s < timeout_s - timeout_s / 10 {
            return;
        }
        self.survived += 1;
        match self.trial_s {
            Some(_) if self.survived >= SURVIVALS => {
                self.proven_s = self.proven_s.max(timeout_s);
                if self.failed_s.is_some_and(|failed_s| failed_s <= timeout_s) {
                    // The network is another one, or has become better.
                    self.failed_s = None;
                    self.retry_after = RETRY_FIRST;
                }
                self.go_on(bounds);
            }
            None if !self.is_near(bounds) && self.survived >= SURVIVALS => self.go_on(bounds),
            None if self.survived >= self.retry_after => {
                self.trial_s = self.failed_s.filter(|failed_s| *failed_s <= bounds.max_s);
                self.survived = 0;
            }
            _ => {}
        }
    }

    /// The connection was found dead after a silence that this timeout should have ended.
    pub fn died(&mut self, bounds: Bounds) {
        let died_s = self.timeout_s(bounds);
        self.survived = 0;
        if self
            .trial_s
            .take()
            .is_some_and(|trial_s| trial_s > self.proven_s)
        {
            if self.failed_s == Some(died_s) {
                self.retry_after = (2 * self.retry_after).min(RETRY_MAX);
            }
            self.failed_s = Some(
                self.failed_s
                    .map_or(died_s, |failed_s| failed_s.min(died_s)),
            );
            return;
        }
        self.proven_s = (died_s / 2).max(bounds.min_s);
        self.failed_s = Some(died_s.max(bounds.min_s + 1));
        self.retry_after = RETRY_FIRST;
    }

    fn is_near(&self, bounds: Bounds) -> bool {
        let near_s = self.proven_s + (self.proven_s / NEAR_PARTS).max(1);
        self.proven_s >= bounds.max_s || self.failed_s.is_some_and(|failed_s| failed_s <= near_s)
    }

    /// To the next trial, or to rest.
    fn go_on(&mut self, bounds: Bounds) {
        self.survived = 0;
        self.trial_s = match self.failed_s {
            _ if self.is_near(bounds) => None,
            Some(failed_s) => Some(self.proven_s.midpoint(failed_s)),
            None => Some(self.proven_s.saturating_mul(2).min(bounds.max_s)),
        };
    }

    /// Of a file, which somebody may have written: nothing in it is out of bounds.
    fn within(self, bounds: Bounds) -> Self {
        let sane = |seconds: u32| seconds.clamp(bounds.min_s, bounds.max_s);
        Self {
            proven_s: sane(self.proven_s),
            failed_s: self.failed_s.filter(|failed_s| *failed_s > bounds.min_s),
            trial_s: self.trial_s.map(sane),
            survived: 0,
            retry_after: self.retry_after.clamp(RETRY_FIRST, RETRY_MAX),
        }
    }
}

/// Packets an hour that a timeout costs: KEEPALIVE, WAITING, and the acknowledgement of that.
pub fn packets_per_hour(timeout_s: u32) -> u32 {
    (3 * 3_600_u32).div_ceil(timeout_s.max(1))
}

impl Lesson {
    /// Those of the configuration, and what the gateway allows.
    fn bounds(&self, bounds: Bounds) -> Bounds {
        let max_s = self.allowed_s.unwrap_or(bounds.max_s).min(bounds.max_s);
        Bounds {
            max_s: max_s.max(bounds.min_s),
            ..bounds
        }
    }
}

/// What was learnt, by gateway and network; a clone is the same one.
#[derive(Debug, Clone)]
pub struct Lessons {
    bounds: Bounds,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    learners: Mutex<BTreeMap<String, Lesson>>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Lesson {
    learner: Learner,
    /// The higher, the later it was used.
    used: u64,
    /// What the gateway allows, where that is less than was asked for.
    #[serde(skip)]
    allowed_s: Option<u32>,
    /// What it will be if the network is found at fault for a connection that died.
    #[serde(skip)]
    suspect: Option<Learner>,
}

impl Lessons {
    /// Reads the file; without one it knows nothing yet.
    pub fn open(bounds: Bounds, path: &Path) -> Self {
        let learners = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "what was learnt of networks can't be read, and is learnt anew");
                BTreeMap::new()
            }),
            Err(_not_there) => BTreeMap::new(),
        };
        let sane =
            learners
                .into_iter()
                .take(NETWORKS_MAX)
                .map(|(key, lesson): (String, Lesson)| {
                    let learner = lesson.learner.within(bounds);
                    (key, Lesson { learner, ..lesson })
                });
        Self {
            bounds,
            shared: Arc::new(Shared {
                path: path.to_owned(),
                learners: Mutex::new(sane.collect()),
            }),
        }
    }

    /// The lesson of this gateway, from the network that this local address is of.
    pub fn of(&self, gateway: &HostPort, local: IpAddr) -> Learning {
        let network = match local.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                format!("{a}.{b}.{c}.0/24")
            }
            IpAddr::V6(address) => {
                let network = std::net::Ipv6Addr::from_bits(address.to_bits() >> 64 << 64);
                format!("{network}/64")
            }
        };
        let key = format!("{gateway} from {network}");
        let mut learners = self.learners();
        let used = learners
            .values()
            .map(|lesson| lesson.used)
            .max()
            .unwrap_or_default()
            .saturating_add(1);
        if learners.len() >= NETWORKS_MAX && !learners.contains_key(&key) {
            let oldest = learners.iter().min_by_key(|(_, lesson)| lesson.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                learners.remove(&oldest);
            }
        }
        let lesson = learners.entry(key.clone()).or_insert_with(|| Lesson {
            learner: Learner::new(self.bounds),
            used,
            allowed_s: None,
            suspect: None,
        });
        lesson.used = used;
        drop(learners);
        Learning {
            lessons: self.clone(),
            key,
        }
    }

    /// A gateway could not be reached: whatever died did so with its network.
    pub fn acquit(&self) {
        for lesson in self.learners().values_mut() {
            lesson.suspect = None;
        }
    }

    fn learners(&self) -> MutexGuard<'_, BTreeMap<String, Lesson>> {
        self.shared
            .learners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Written whole under another name first: a flat battery leaves the old file or the new one.
    fn save(&self) {
        let text = serde_json::to_vec_pretty(&*self.learners()).unwrap_or_default();
        let path = &self.shared.path;
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let saved: io::Result<()> =
            std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, path));
        if let Err(error) = saved {
            tracing::warn!(path = %path.display(), %error, "what was learnt of networks can't be kept");
        }
    }
}

/// One connection's part in it.
#[derive(Debug, Clone)]
pub struct Learning {
    lessons: Lessons,
    key: String,
}

impl Learning {
    /// The timeout to ask for.
    pub fn timeout_s(&self) -> u32 {
        let learners = self.lessons.learners();
        let bounds = self.lessons.bounds;
        let lesson = learners.get(&self.key);
        lesson.map_or(bounds.min_s, |lesson| {
            lesson
                .suspect
                .unwrap_or(lesson.learner)
                .timeout_s(lesson.bounds(bounds))
        })
    }

    /// The longest silence that survived, and whether the search is over.
    pub fn told(&self) -> (u32, bool) {
        let learners = self.lessons.learners();
        let Some(lesson) = learners.get(&self.key) else {
            return (self.lessons.bounds.min_s, false);
        };
        let bounds = lesson.bounds(self.lessons.bounds);
        (lesson.learner.proven_s(), lesson.learner.is_settled(bounds))
    }

    /// The gateway took the registration: the network works, so what died before died of its timeout. `timeout_s` is the
    /// one in force.
    pub fn registered(&self, timeout_s: u32) {
        let asked_s = self.timeout_s();
        let convicted = {
            let mut learners = self.lessons.learners();
            learners.get_mut(&self.key).and_then(|lesson| {
                lesson.allowed_s = (timeout_s < asked_s)
                    .then_some(timeout_s)
                    .or(lesson.allowed_s);
                lesson.learner = lesson.suspect.take()?;
                Some(())
            })
        };
        if convicted.is_some() {
            self.lessons.save();
        }
    }

    /// A KEEPALIVE came through; whether another timeout is wanted from now on.
    pub fn survived(&self, idle_s: u32) -> bool {
        let mut learners = self.lessons.learners();
        let Some(lesson) = learners.get_mut(&self.key) else {
            return false;
        };
        let bounds = lesson.bounds(self.lessons.bounds);
        let before = lesson.learner;
        lesson.learner.survived(idle_s, bounds);
        let (was, is) = (before.timeout_s(bounds), lesson.learner.timeout_s(bounds));
        drop(learners);
        if was != is {
            self.lessons.save();
        }
        was != is
    }

    /// The connection was found dead after a silence. Until the gateway is reached again it is only a suspicion.
    pub fn died(&self) {
        if let Some(lesson) = self.lessons.learners().get_mut(&self.key) {
            let mut learner = lesson.learner;
            learner.died(lesson.bounds(self.lessons.bounds));
            lesson.suspect = Some(learner);
        }
    }
}

#[cfg(test)]
mod tests;
