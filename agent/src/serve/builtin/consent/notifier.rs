//! Decides about acts: the access list first (R52, R60, R61), then the owner (R53 to R59), and nobody answers for long (R62).
//!
//! Also the owner's side of it: silences, the list manager (R66), and who reads the log. What an answer does is in
//! [`super::answer`].

use std::sync::Arc;
use std::time::Duration;

use http::header::RETRY_AFTER;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::access::{self, Access, Entry, Standing, Subject};
use super::answer::{Answer, Answered, settle};
use super::audit::Audit;
use super::log::{self, Filter, Line, Told};
use super::prompts::{Open, Prompt, Refusal, Table, Ticket, Verdict};
use super::{Act, By, ConsentConfig, Digest, Moment, Permit};
use crate::serve::builtin::authentication::Caller;
use crate::serve::builtin::authentication::users::NAME_CHARS_MAX;
use crate::serve::builtin::events::Events;
use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::resource::Action;
use crate::serve::builtin::store::{Store, StoreError};

/// The notifier.
#[derive(Debug)]
pub struct Notifier {
    store: Store,
    events: Events,
    audit: Audit,
    prompts: Arc<Table>,
    list: ListChanges,
    /// `None`: the notifier is off.
    prompt_timeout: Option<Duration>,
}

/// Who is told of the access list; a clone tells the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct ListChanges {
    /// What the list says to a request that waits may be another thing now.
    decides: watch::Sender<()>,
    /// What a screen shows of it is another thing now.
    shown: watch::Sender<()>,
}

impl ListChanges {
    /// An entry came, changed or went.
    pub(super) fn changed(&self) {
        self.decides.send_replace(());
        self.counted();
    }

    /// A use was taken: that permits no more to anybody than before.
    fn counted(&self) {
        self.shown.send_replace(());
    }
}

impl Notifier {
    pub(super) async fn start(
        store: &Store,
        events: &Events,
        config: &ConsentConfig,
    ) -> Result<Self, StoreError> {
        let grants = config.grants.clone();
        store
            .run(move |db| {
                let transaction = db.connection().transaction()?;
                access::tidy(&transaction, Moment::now())?;
                for (subject, access) in &grants {
                    access::grant(&transaction, Moment::now(), subject, *access)?;
                }
                Ok(transaction.commit()?)
            })
            .await?;
        Ok(Self {
            store: store.clone(),
            events: events.clone(),
            audit: Audit::start(store, config.audit_rows_max).await?,
            prompts: Table::new(),
            list: ListChanges::default(),
            prompt_timeout: config.enabled.then_some(config.prompt_timeout),
        })
    }

    pub(super) async fn permit(&self, act: Act, content: Digest) -> Result<Permit, Problem> {
        let Some(prompt_timeout) = self.prompt_timeout else {
            let line = self.audit.line(&act, true, By::Off);
            let permit = Permit(Some((self.audit.clone(), line.id)));
            self.audit.later(line);
            return Ok(permit);
        };
        // The configuration refuses a notifier without authentication (R50).
        let Some(user) = act.caller.0.clone() else {
            return Err(denied(
                "This handset permits nothing to callers without a name.",
            ));
        };
        let mut changes = self.list.decides.subscribe();
        if let Some(verdict) = self.look_up(&act, &user).await? {
            return verdict;
        }
        let until = Instant::now() + prompt_timeout;
        let ticket = match self.prompts.join(&user, (&act, content), until) {
            Ok(ticket) => ticket,
            Err(refusal) => return Err(self.refuse(&act, refusal)),
        };
        if let Some(asked) = &act.asked {
            asked.begin();
        }
        let mut wait = Wait {
            notifier: self,
            act: &act,
            ticket,
            ended: false,
        };
        loop {
            tokio::select! {
                biased;
                verdict = &mut wait.ticket.verdict => return wait.told(verdict),
                _ = changes.changed() => {
                    if let Some(verdict) = self.look_up(&act, &user).await? {
                        wait.ended = true;
                        return verdict;
                    }
                }
                () = sleep_until(until) => return wait.unanswered().await,
            }
        }
    }

    /// See [`super::Gate::standings`]. While the notifier is off, only who may not call any more is denied anything.
    pub(super) async fn standings(
        &self,
        user: &Arc<str>,
        acts: Vec<(&'static str, Action)>,
    ) -> Result<Vec<Standing>, StoreError> {
        let (user, off) = (Arc::clone(user), self.prompt_timeout.is_none());
        let looked = self.store.run(move |db| {
            let (connection, now) = (db.connection(), Moment::now());
            let gone = !access::admits(connection, &user)?;
            let says = |(resource, action): (&'static str, Action)| match (gone, off) {
                (true, _) => Ok(Standing::Denied),
                (false, true) => Ok(Standing::Nothing),
                (false, false) => {
                    access::standing(connection, now, (&*user, resource, action.name()))
                }
            };
            acts.into_iter().map(says).collect()
        });
        looked.await
    }

    /// See [`super::Gate::decisions`].
    pub(super) fn decisions(&self) -> watch::Receiver<()> {
        self.list.decides.subscribe()
    }

    /// See [`super::Gate::locked_out`].
    pub(super) fn locked_out(&self, user: &str) {
        let user: String = user.chars().take(NAME_CHARS_MAX).collect();
        let act = Act {
            caller: Caller(Some(user.into())),
            resource: "sign-in",
            action: Action::Execute,
            content: Vec::new(),
            asked: None,
        };
        self.audit.later(self.audit.line(&act, false, By::Lockout));
    }

    /// See [`super::Gate::leave`].
    pub(super) fn leave(&self) {
        self.deny(self.prompts.close(), By::NoAnswer, &ending());
    }

    /// See [`super::Gate::finish`].
    pub(super) async fn finish(&self) {
        self.audit.settle().await;
    }

    fn deny(&self, prompts: Vec<Prompt>, by: By, problem: &Problem) {
        for prompt in prompts {
            for waiting in prompt.waiting {
                self.audit.later(self.audit.line(&prompt.act, false, by));
                let _ = waiting.tell.send(Err(problem.clone()));
            }
        }
    }

    /// What the access list says (R52), with one use taken where they are counted; `None`: nothing.
    async fn look_up(&self, act: &Act, user: &Arc<str>) -> Result<Option<Verdict>, Problem> {
        let (user, resource, action) = (Arc::clone(user), act.resource, act.action);
        let line = self.audit.line(act, true, By::List);
        let audit = self.audit.clone();
        let found = self.store.run(move |db| {
            let transaction = db.connection().transaction()?;
            let of = (&*user, resource, action.name());
            let Some(kind) = access::take(&transaction, Moment::now(), of)? else {
                let gone = !access::admits(&transaction, &user)?;
                return Ok(gone.then_some(Found::Gone(line)));
            };
            if !kind.permits() {
                transaction.commit()?;
                return Ok(Some(Found::Denied(kind, line)));
            }
            let counted = kind.is_counted();
            if !counted && !changes_something(action) {
                return Ok(Some(Found::Permitted(line)));
            }
            Audit::write(&transaction, &line)?;
            transaction.commit()?;
            audit.written([&line]);
            // A permit that nobody is there to take any more ends without an outcome.
            let permit = Permit(Some((audit, line.id)));
            Ok(Some(Found::Taken { permit, counted }))
        });
        let Some(found) = found.await? else {
            return Ok(None);
        };
        Ok(Some(match found {
            Found::Taken { permit, counted } => {
                if counted {
                    self.list.counted();
                }
                Ok(permit)
            }
            Found::Permitted(line) => {
                let permit = Permit(Some((self.audit.clone(), line.id)));
                self.audit.later(line);
                Ok(permit)
            }
            Found::Denied(kind, line) => {
                self.audit.later(line.denied());
                Err(match kind {
                    access::Kind::OnceDenied => {
                        self.list.counted();
                        denied_now("The owner denied it this time.")
                    }
                    _ => denied("The owner denied it for good. Asking again changes nothing."),
                })
            }
            Found::Gone(line) => {
                self.audit.later(line.denied());
                Err(shut_out())
            }
        }))
    }

    /// By then every prompt that is open now has its answer, or is over.
    fn too_many(&self) -> Problem {
        let seconds = self.prompt_timeout.unwrap_or_default().as_secs();
        Problem::new(
            Kind::TooManyPrompts,
            "The owner is asked as much as can be answered. Try again when earlier requests have their answer.",
        )
        .with_header(RETRY_AFTER, seconds.into())
    }

    fn refuse(&self, act: &Act, refusal: Refusal) -> Problem {
        let (by, problem) = match refusal {
            Refusal::Silenced => (By::Silenced, silenced()),
            Refusal::Closed => (By::NoAnswer, ending()),
            Refusal::TooMany => (By::Limit, self.too_many()),
        };
        self.audit.later(self.audit.line(act, false, by));
        problem
    }
}

/// The owner's side.
impl Notifier {
    /// How long a prompt waits for an answer; `None`: the notifier is off.
    pub fn prompt_timeout(&self) -> Option<Duration> {
        self.prompt_timeout
    }

    /// The prompts that are open, the oldest first.
    pub fn prompts(&self) -> Vec<Open> {
        self.prompts.open()
    }

    /// Told when a prompt came, went, or is shared by more or fewer requests, and when a silence began or was ended.
    pub fn prompt_changes(&self) -> watch::Receiver<()> {
        self.prompts.changes()
    }

    /// Told when an entry of the access list came, changed or went, and when a use of one was taken.
    pub fn list_changes(&self) -> watch::Receiver<()> {
        self.list.shown.subscribe()
    }

    /// Answers a prompt; `None`: it is gone.
    pub async fn answer(&self, id: u64, answer: Answer) -> Result<Option<Answered>, StoreError> {
        let Some(taken) = self.prompts.take(id) else {
            return Ok(None);
        };
        let audit = self.audit.clone();
        // The job has all that it needs to end what it began, whether or not somebody still waits here for it.
        let (told, answered) = (self.events.clone(), self.list.clone());
        let answered = self
            .store
            .run(move |db| settle(db.connection(), &audit, taken, answer, &told, &answered))
            .await?;
        Ok(Some(answered))
    }

    /// Keeps a user from asking for a time; what waits is denied at once.
    pub fn silence(&self, user: &str, time: Duration) -> Moment {
        let until = Moment::now().after(time);
        self.prompts.silence(user, until);
        self.deny(self.prompts.take_all(user), By::Silenced, &silenced());
        until
    }

    /// Lets a user ask again; `false`: nothing kept the user from it.
    pub fn unsilence(&self, user: &str) -> bool {
        self.prompts.unsilence(user)
    }

    /// Who is silenced, and until when.
    pub fn silenced(&self) -> Vec<(Arc<str>, Moment)> {
        self.prompts.silenced()
    }

    /// Entries of the access list behind the id `after`, of one user or of all, and whether there are more.
    pub async fn entries(
        &self,
        user: Option<String>,
        after: i64,
        limit: u32,
    ) -> Result<(Vec<Entry>, bool), StoreError> {
        self.store
            .run(move |db| access::list(db.connection(), user.as_deref(), after, limit))
            .await
    }

    /// Puts an entry into the list, in the place of one for the same; whether it is a new one.
    pub async fn put(&self, subject: Subject, access: Access) -> Result<(Entry, bool), StoreError> {
        let put = self.store.run(move |db| {
            let transaction = db.connection().transaction()?;
            let put = access::put(&transaction, Moment::now(), &subject, access)?;
            transaction.commit()?;
            Ok(put)
        });
        let put = put.await?;
        self.list.changed();
        Ok(put)
    }

    /// Changes what an entry says; `None`: there is none of this id.
    pub async fn change(&self, id: i64, access: Access) -> Result<Option<Entry>, StoreError> {
        let changed = self
            .store
            .run(move |db| access::change(db.connection(), Moment::now(), id, access))
            .await?;
        self.list.changed();
        Ok(changed)
    }

    /// Deletes an entry; `false`: there is none of this id.
    pub async fn delete(&self, id: i64) -> Result<bool, StoreError> {
        let deleted = self
            .store
            .run(move |db| access::delete(db.connection(), id))
            .await?;
        self.list.changed();
        Ok(deleted)
    }

    /// A user may call no more: whoever waits under the name is denied.
    pub fn shut_out(&self, user: &str) {
        self.deny(self.prompts.take_all(user), By::Owner, &shut_out());
        // Who is on the way to a prompt looks again, and finds no such user.
        self.list.changed();
    }

    /// A user was taken away: the entries go with the user, and whoever waits under the name is denied.
    pub async fn forget_user(&self, user: &str) -> Result<(), StoreError> {
        self.shut_out(user);
        let name = user.to_owned();
        self.store
            .run(move |db| access::forget_user(db.connection(), &name))
            .await?;
        self.events.forget(user);
        self.list.changed();
        Ok(())
    }

    /// A page of the audit log, newest first: lines older than the id `before`, and whether there are more.
    pub async fn audit_page(
        &self,
        filter: Filter,
        before: i64,
        limit: u32,
    ) -> Result<(Vec<Told>, bool), StoreError> {
        self.audit.settle().await;
        self.store
            .run(move |db| log::page(db.connection(), &filter, before, limit))
            .await
    }

    /// A part of the audit log as a file has it, oldest first: lines newer than the id `after`, and whether there are more.
    pub async fn audit_file(
        &self,
        filter: Filter,
        after: i64,
        limit: u32,
    ) -> Result<(Vec<Told>, bool), StoreError> {
        self.audit.settle().await;
        self.store
            .run(move |db| log::file(db.connection(), &filter, after, limit))
            .await
    }
}

/// What the access list says.
enum Found {
    /// Permitted, and the line is written: a use was taken, or it changes something.
    Taken { permit: Permit, counted: bool },
    /// Permitted; the line may come later.
    Permitted(Line),
    /// Denied.
    Denied(access::Kind, Line),
    /// There is no such user any more.
    Gone(Line),
}

/// A request that waits for the owner, until it is told or gives up.
struct Wait<'a> {
    notifier: &'a Notifier,
    act: &'a Act,
    ticket: Ticket,
    /// Somebody decided: it is no withdrawal if this is dropped.
    ended: bool,
}

impl Wait<'_> {
    fn told(&mut self, verdict: Result<Verdict, oneshot::error::RecvError>) -> Verdict {
        match verdict {
            Ok(verdict) => {
                self.ended = true;
                verdict
            }
            // The answer could not be kept, and came back when the time was over.
            Err(_) => self.over(),
        }
    }

    async fn unanswered(&mut self) -> Verdict {
        if !self.ticket.leave() {
            // The owner was just in time: the answer is being written.
            let verdict = (&mut self.ticket.verdict).await;
            return self.told(verdict);
        }
        self.over()
    }

    fn over(&mut self) -> Verdict {
        self.ended = true;
        let audit = &self.notifier.audit;
        audit.later(audit.line(self.act, false, By::NoAnswer));
        Err(Problem::new(
            Kind::NoAnswer,
            "The owner was asked and did not answer in time; it was not done. Ask again later.",
        ))
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if !self.ended && self.ticket.leave() {
            let audit = &self.notifier.audit;
            audit.later(audit.line(self.act, false, By::Withdrawn));
        }
    }
}

/// Whether the line of such an act has to be on the disk before it is done, and not a moment later.
fn changes_something(action: Action) -> bool {
    !matches!(action, Action::List | Action::Get)
}

pub(super) fn denied(detail: &str) -> Problem {
    Problem::new(Kind::Denied, detail)
}

pub(super) fn denied_now(detail: &str) -> Problem {
    Problem::new(Kind::DeniedNow, detail)
}

/// To a user who was taken away or is kept out, while a request of theirs was on its way.
pub(super) fn shut_out() -> Problem {
    denied("The owner does not let this user in any more.")
}

fn silenced() -> Problem {
    denied_now("The owner does not want to be asked by this user for a while.")
}

fn ending() -> Problem {
    let detail = "The handset is being switched off; it was not done. Ask again when it is back.";
    Problem::new(Kind::NoAnswer, detail)
}

#[cfg(test)]
mod tests;
