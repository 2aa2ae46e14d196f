//! Who is signed in: a bounded table in memory from a random cookie to an account, with an idle limit and a lifetime.
//!
//! A session also remembers how its last few actions went, so that the page telling it can be loaded again and again
//! without anything being done twice. Nothing of this is ever written to disk or shown in a log.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use everline_protocol::{Millis, Msisdn};
use http::HeaderValue;

use crate::clock::Clock;
use crate::config::SessionLimits;
use crate::form::SubmissionId;
use crate::outcome::{Outcome, Progress};
use crate::visitor::VisitorId;

/// Actions that a session remembers; as many may be under way at once.
const OUTCOMES_MAX: usize = 4;
/// Sessions of one user of one handset; one more ends the one that was idle longest.
const PER_ACCOUNT_MAX: usize = 8;

/// A remote user of one handset, with what the handset asks of them.
pub struct Account {
    /// The handset.
    pub msisdn: Msisdn,
    /// The remote user's name there.
    pub user: String,
    /// `Basic …`; marked sensitive, so that nothing prints it.
    pub authorization: HeaderValue,
}

/// The table of sessions.
pub struct Sessions {
    table: Mutex<HashMap<VisitorId, Session>>,
    limits: SessionLimits,
    clock: Clock,
}

struct Session {
    account: Arc<Account>,
    outcomes: VecDeque<(SubmissionId, Outcome)>,
    since: Millis,
    used: Millis,
}

/// The table holds `sessions_max` live sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("every session is taken")]
pub struct Full;

/// What [`Sessions::begin`] says to an action that wants to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// Run it, then [`Sessions::finish`].
    Run,
    /// The very same submission is under way or has succeeded: show how it went, do nothing.
    Already,
    /// This session has too many actions under way.
    Busy,
    /// The session is over.
    Gone,
}

impl Account {
    /// `None` when user or password hold what Basic authentication cannot carry (RFC 7617 section 2).
    pub fn new(msisdn: Msisdn, user: &str, password: &str) -> Option<Self> {
        if user.is_empty()
            || user.contains(':')
            || user.chars().chain(password.chars()).any(char::is_control)
        {
            return None;
        }
        let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let mut authorization = HeaderValue::try_from(basic).ok()?;
        authorization.set_sensitive(true);
        Some(Self {
            msisdn,
            user: user.to_owned(),
            authorization,
        })
    }

    fn is_of(&self, other: &Self) -> bool {
        self.msisdn == other.msisdn && self.user == other.user
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("msisdn", &self.msisdn)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// An empty table.
    pub fn new(limits: SessionLimits, clock: Clock) -> Self {
        Self {
            table: Mutex::new(HashMap::new()),
            limits,
            clock,
        }
    }

    /// Signs an account in under `id`, which must be new.
    ///
    /// # Errors
    /// [`Full`], after the sessions that are over have been cleared away.
    pub fn open(&self, id: VisitorId, account: Account) -> Result<(), Full> {
        let now = self.clock.now();
        let mut table = self.lock();
        table.retain(|_, session| self.is_live(session, now));
        let own = table
            .iter()
            .filter(|(_, session)| session.account.is_of(&account));
        let idlest = own
            .clone()
            .min_by_key(|(_, session)| session.used)
            .map(|(id, _)| *id);
        if let Some(idlest) = idlest.filter(|_| own.count() >= PER_ACCOUNT_MAX) {
            table.remove(&idlest);
        }
        if table.len() >= self.limits.sessions_max {
            return Err(Full);
        }
        let account = Arc::new(account);
        table.insert(
            id,
            Session {
                account,
                outcomes: VecDeque::new(),
                since: now,
                used: now,
            },
        );
        Ok(())
    }

    /// The account that is signed in under `id`; looking counts as use.
    pub fn account(&self, id: &VisitorId) -> Option<Arc<Account>> {
        self.with(id, |session| Arc::clone(&session.account))
    }

    /// Signs out.
    pub fn close(&self, id: &VisitorId) {
        self.lock().remove(id);
    }

    /// Asks leave for an action.
    pub fn begin(&self, id: &VisitorId, submission: SubmissionId, outcome: Outcome) -> Begun {
        self.with(id, |session| {
            let outcomes = &mut session.outcomes;
            if let Some(at) = outcomes.iter().position(|(known, _)| *known == submission) {
                let failed = outcomes
                    .get(at)
                    .is_some_and(|(_, known)| matches!(known.progress, Progress::Failed(_)));
                if !failed {
                    return Begun::Already;
                }
                outcomes.remove(at);
            }
            if outcomes.len() >= OUTCOMES_MAX {
                let over = outcomes
                    .iter()
                    .position(|(_, known)| !matches!(known.progress, Progress::UnderWay));
                let Some(over) = over else { return Begun::Busy };
                outcomes.remove(over);
            }
            outcomes.push_back((submission, outcome));
            Begun::Run
        })
        .unwrap_or(Begun::Gone)
    }

    /// Records how an action went. The session may be over by now; then nobody is left to ask.
    pub fn finish(&self, id: &VisitorId, submission: SubmissionId, progress: Progress) {
        self.with(id, |session| {
            if let Some((_, outcome)) = session
                .outcomes
                .iter_mut()
                .find(|(known, _)| *known == submission)
            {
                outcome.progress = progress;
            }
        });
    }

    /// How an action went, if the session still remembers it.
    pub fn outcome(&self, id: &VisitorId, submission: SubmissionId) -> Option<Outcome> {
        self.with(id, |session| {
            let known = session
                .outcomes
                .iter()
                .find(|(known, _)| *known == submission);
            known.map(|(_, outcome)| outcome.clone())
        })
        .flatten()
    }

    fn with<T>(&self, id: &VisitorId, act: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let now = self.clock.now();
        let mut table = self.lock();
        let session = table.get_mut(id)?;
        if !self.is_live(session, now) {
            table.remove(id);
            return None;
        }
        session.used = now;
        Some(act(session))
    }

    fn is_live(&self, session: &Session, now: Millis) -> bool {
        u128::from(now.since(session.used).0) < self.limits.idle_limit.as_millis()
            && u128::from(now.since(session.since).0) < self.limits.lifetime.as_millis()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<VisitorId, Session>> {
        // Nothing inside can panic half-way through a change, so a poisoned table is a whole one.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
