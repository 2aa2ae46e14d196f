//! The notifier (R50 to R64): it stands between the web server and the managers, and nothing is done without its permit.
//!
//! A manager's functions that read, change or execute take a [`Permit`]; only [`Gate::permit`] makes one. So whoever
//! adds a route and forgets to ask finds that it does not compile.
//!
//! | module | what it is |
//! |---|---|
//! | [`notifier`] | decides: the access list first, then the owner |
//! | [`answer`] | what an answer of the owner does |
//! | [`prompts`] | the prompts that are open, and who waits at each |
//! | [`access`] | the access list |
//! | [`audit`], [`log`] | who writes the audit log, and its table |
//! | [`own`] | `GET /audit`: a remote user's own part of it |
//! | [`mod@moment`], [`words`] | passive: the wall clock, and acts in words |

pub mod access;
pub mod answer;
pub mod audit;
pub mod log;
pub mod moment;
pub mod notifier;
pub mod own;
pub mod prompts;
pub mod words;

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use blake2::{Blake2s256, Digest as _};
use tokio::sync::{Notify, watch};

use super::authentication::Caller;
use super::events::Events;
use super::problem::Problem;
use super::resource::Action;
use super::store::{Store, StoreError};
pub use access::Standing;
use access::{Access, Subject};
use audit::Audit;
pub use moment::Moment;
use notifier::Notifier;

/// Parts of an act's content that the owner is shown at most; what is beyond is told by its number.
const DETAILS_MAX: usize = 16;

/// Characters of one part that the owner is shown at most; what is beyond is told by its number.
pub const DETAIL_CHARS_MAX: usize = 2_000;

/// What the owner said about consent in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentConfig {
    /// Whether the notifier is on.
    pub enabled: bool,
    /// How long a prompt waits for the owner.
    pub prompt_timeout: Duration,
    /// Lines of the audit log that are kept.
    pub audit_rows_max: u64,
    /// What is put into the access list, each once.
    pub grants: Vec<(Subject, Access)>,
}

impl Default for ConsentConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            prompt_timeout: Duration::from_secs(60),
            audit_rows_max: 50_000,
            grants: Vec::new(),
        }
    }
}

/// What a caller wants to do: what is looked up in the access list, and what the owner is shown.
#[derive(Debug, Clone)]
pub struct Act {
    /// Who (R49).
    pub caller: Caller,
    /// The name of the resource's description.
    pub resource: &'static str,
    /// Which of its actions.
    pub action: Action,
    /// The content of the act, for the owner to decide on: number, text, name. Empty for a list.
    pub content: Vec<Detail>,
    /// Told when the owner is being asked: the caller may rather not wait (`Prefer: respond-async`).
    pub asked: Option<Arc<Asking>>,
}

/// How far the asking about a request is, for who waits elsewhere.
#[derive(Debug, Default)]
pub struct Asking {
    begun: Notify,
    permitted: AtomicBool,
}

impl Asking {
    fn begin(&self) {
        self.permitted.store(false, Ordering::Relaxed);
        self.begun.notify_one();
    }

    /// Waits until the owner is being asked.
    pub async fn begun(&self) {
        self.begun.notified().await;
    }

    /// It is permitted.
    pub(super) fn permit(&self) {
        self.permitted.store(true, Ordering::Relaxed);
    }

    /// Whether what was asked last is permitted: then it is being done, and not to be taken back any more.
    pub fn is_permitted(&self) -> bool {
        self.permitted.load(Ordering::Relaxed)
    }
}

/// One part of an act's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// `to`, `text`, `name`…
    pub name: &'static str,
    /// As it was sent. The gate cuts it to what a screen can show.
    pub text: String,
}

/// Who decided about an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    /// The access list.
    List,
    /// The owner.
    Owner,
    /// Nobody within the prompt's time.
    NoAnswer,
    /// There were too many prompts.
    Limit,
    /// The owner had silenced the user.
    Silenced,
    /// The caller, who went away before the answer.
    Withdrawn,
    /// Nobody: the notifier is off.
    Off,
    /// Too many attempts to sign in had failed.
    Lockout,
}

impl By {
    /// Each of them.
    pub const ALL: [Self; 8] = [
        Self::List,
        Self::Owner,
        Self::NoAnswer,
        Self::Limit,
        Self::Silenced,
        Self::Withdrawn,
        Self::Off,
        Self::Lockout,
    ];

    /// `list`, `owner`, `no-answer`, `limit`, `silenced`, `withdrawn`, `off`, `lockout`.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Owner => "owner",
            Self::NoAnswer => "no-answer",
            Self::Limit => "limit",
            Self::Silenced => "silenced",
            Self::Withdrawn => "withdrawn",
            Self::Off => "off",
            Self::Lockout => "lockout",
        }
    }
}

/// The right to do one act, once. What became of it is written into the audit log when it is [`Permit::done`] or dropped.
#[derive(Debug)]
#[must_use = "a permit is given for an act that is then done"]
pub struct Permit(Option<(Audit, i64)>);

impl Permit {
    /// Tells how the act ended: `201 /contacts/7`, `failed: no-coverage`.
    pub fn done(mut self, outcome: &str) {
        if let Some((audit, line)) = self.0.take() {
            audit.outcome(line, outcome);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((audit, line)) = self.0.take() {
            audit.outcome(line, "ended without an outcome");
        }
    }
}

/// Decides about acts; a clone is the same one.
#[derive(Debug, Clone)]
pub struct Gate(Option<Arc<Notifier>>);

impl Gate {
    /// A gate that permits everything and writes nothing down.
    pub fn open() -> Self {
        Self(None)
    }

    /// The gate that the configuration describes: a notifier that asks, or, where that is off, one that only writes the
    /// audit log.
    pub async fn start(
        store: &Store,
        events: &Events,
        config: &ConsentConfig,
    ) -> Result<Self, StoreError> {
        let notifier = Notifier::start(store, events, config).await?;
        Ok(Self(Some(Arc::new(notifier))))
    }

    /// Waits for the right to do it: from the access list at once, from the owner within the prompt's time. Otherwise
    /// the problem that says why not (R62, R64).
    ///
    /// Whoever drops this future withdraws the request.
    pub async fn permit(&self, mut act: Act) -> Result<Permit, Problem> {
        let Some(notifier) = &self.0 else {
            return Ok(Permit(None));
        };
        let content = Digest::of(&act.content);
        cut(&mut act.content);
        let asked = act.asked.clone();
        let verdict = notifier.permit(act, content).await;
        if let (Some(asked), Ok(_)) = (asked, &verdict) {
            asked.permit();
        }
        verdict
    }

    /// What the access list says to each of these acts now; no use is taken. For who was permitted something that lasts.
    pub async fn standings(
        &self,
        caller: &Caller,
        acts: Vec<(&'static str, Action)>,
    ) -> Result<Vec<Standing>, StoreError> {
        match (&self.0, &caller.0) {
            (Some(notifier), Some(user)) => notifier.standings(user, acts).await,
            _ => Ok(vec![Standing::Nothing; acts.len()]),
        }
    }

    /// Told when [`Self::standings`] may say another thing than before; `None`: it never does.
    pub fn decisions(&self) -> Option<watch::Receiver<()>> {
        self.0.as_ref().map(|notifier| notifier.decisions())
    }

    /// The agent is ending: whoever waits for the owner is told so, and nobody is asked any more.
    pub fn leave(&self) {
        if let Some(notifier) = &self.0 {
            notifier.leave();
        }
    }

    /// Waits until everything told so far is in the audit log.
    pub async fn finish(&self) {
        if let Some(notifier) = &self.0 {
            notifier.finish().await;
        }
    }

    /// Writes into the audit log that a user is locked out: attempts to sign in with the name failed too often.
    pub fn locked_out(&self, user: &str) {
        if let Some(notifier) = &self.0 {
            notifier.locked_out(user);
        }
    }

    /// The notifier, for the owner's side; `None` for [`Gate::open`].
    pub fn notifier(&self) -> Option<&Arc<Notifier>> {
        self.0.as_ref()
    }
}

/// Of an act's whole content: two acts of one user are the same thing only if they are so to the last character, whatever
/// of it a screen can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Digest([u8; 32]);

impl Digest {
    /// Each part with its length before it, so that no two contents look alike.
    fn of(content: &[Detail]) -> Self {
        let mut digest = Blake2s256::new();
        for text in content
            .iter()
            .flat_map(|detail| [detail.name, &detail.text])
        {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        }
        Self(digest.finalize().into())
    }
}

/// Leaves of an act's content what a screen can show, and tells how much more there is.
fn cut(content: &mut Vec<Detail>) {
    let more = content.len().saturating_sub(DETAILS_MAX);
    content.truncate(DETAILS_MAX);
    for detail in content.iter_mut() {
        let Some((end, _)) = detail.text.char_indices().nth(DETAIL_CHARS_MAX) else {
            continue;
        };
        let beyond = detail.text.split_off(end).chars().count();
        let _ = write!(detail.text, "… ({beyond} more characters)");
    }
    if more > 0 {
        content.push(Detail {
            name: "more",
            text: format!("{more} more parts"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(name: &'static str, text: &str) -> Detail {
        Detail {
            name,
            text: text.to_owned(),
        }
    }

    #[test]
    fn r53_what_a_screen_can_not_show_is_told_and_still_counts() {
        let long = |end: &str| {
            vec![detail(
                "text",
                &format!("{}{end}", "ä".repeat(DETAIL_CHARS_MAX)),
            )]
        };
        let (mut first, second) = (long("one"), long("two"));
        assert_ne!(Digest::of(&first), Digest::of(&second));
        cut(&mut first);
        assert!(
            first[0].text.ends_with("ä… (3 more characters)"),
            "{first:?}"
        );
        let (ab, ba) = ([detail("a", "bc")], [detail("ab", "c")]);
        assert_ne!(Digest::of(&ab), Digest::of(&ba));
        let mut many: Vec<_> = (0..20).map(|_| detail("to", "1")).collect();
        cut(&mut many);
        assert_eq!(
            (many.len(), many.last()),
            (DETAILS_MAX + 1, Some(&detail("more", "4 more parts")))
        );
    }
}
