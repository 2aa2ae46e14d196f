//! What an answer of the owner does (R54 to R59): to the requests that wait, to the access list, and to the audit log.
//!
//! The entry and the lines are one transaction, and those who wait are told from within the same job of the store: neither a
//! crash nor an owner who closes the page leaves half of it done.

use std::sync::Arc;

use rusqlite::Connection;
use serde_json::json;

use super::access::{self, Access, Subject};
use super::audit::Audit;
use super::notifier::{ListChanges, denied, denied_now, shut_out};
use super::prompts::{Prompt, Taken};
use super::{By, Moment, Permit};
use crate::serve::builtin::events::{Event, Events};
use crate::serve::builtin::problem::Problem;
use crate::serve::builtin::store::StoreError;

/// The owner's answer to a prompt (R54 to R59).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Now and from now on.
    Always,
    /// One act.
    Once,
    /// Now, and until then.
    ForATime(Moment),
    /// So many acts.
    ANumberOfTimes(i64),
    /// None of them.
    NotNow,
    /// Neither now nor from now on.
    Never,
}

/// What an answer did to the requests that waited for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// These go on.
    pub permitted: usize,
    /// These were denied.
    pub denied: usize,
}

/// Does what the owner answered, and tells those who wait. If it can't be kept, the prompt comes back.
pub(super) fn settle(
    connection: &mut Connection,
    audit: &Audit,
    taken: Taken,
    answer: Answer,
    events: &Events,
    list: &ListChanges,
) -> Result<Answered, StoreError> {
    let now = Moment::now();
    let Some(prompt) = taken.prompt() else {
        return Err(StoreError::Stopped);
    };
    let waiting = prompt.waiting.len();
    let transaction = connection.transaction()?;
    // The owner may have taken the user away in another window: then there is nobody to permit anything to.
    let admitted = access::admits(&transaction, &prompt.user)?;
    let (permitted, entry) = match admitted {
        true => effect(answer, waiting),
        false => (0, None),
    };
    let lines: Vec<_> = (0..waiting)
        .map(|at| audit.line(&prompt.act, at < permitted, By::Owner))
        .collect();
    if let Some(access) = entry {
        access::put(&transaction, now, &subject(prompt), access)?;
    }
    for line in &lines {
        Audit::write(&transaction, line)?;
    }
    transaction.commit()?;
    audit.written(&lines);
    let Some(prompt) = taken.settled() else {
        return Err(StoreError::Stopped);
    };
    events.tell(event(&prompt, permitted > 0));
    for (waiting, line) in prompt.waiting.into_iter().zip(lines) {
        let verdict = match line.is_open() {
            true => Ok(Permit(Some((audit.clone(), line.id)))),
            false if !admitted => Err(shut_out()),
            false => Err(not_permitted(answer)),
        };
        // A permit that nobody is there to take ends without an outcome.
        let _ = waiting.tell.send(verdict);
    }
    if entry.is_some() {
        list.changed();
    }
    Ok(Answered {
        permitted,
        denied: waiting - permitted,
    })
}

/// How many of those that wait it permits, and what stays of it in the access list.
fn effect(answer: Answer, waiting: usize) -> (usize, Option<Access>) {
    match answer {
        Answer::Always => (waiting, Some(Access::Unlimited)),
        Answer::Once => (1.min(waiting), None),
        Answer::ForATime(until) => (waiting, Some(Access::Temporary(until))),
        Answer::ANumberOfTimes(times) => {
            let permitted = usize::try_from(times).unwrap_or(usize::MAX).min(waiting);
            let left = times - i64::try_from(permitted).unwrap_or(times);
            (permitted, (left > 0).then_some(Access::NumberOfTimes(left)))
        }
        Answer::NotNow => (0, None),
        Answer::Never => (0, Some(Access::PermanentlyDenied)),
    }
}

fn subject(prompt: &Prompt) -> Subject {
    Subject {
        user: prompt.user.as_ref().to_owned(),
        resource: prompt.act.resource.to_owned(),
        action: prompt.act.action.name().to_owned(),
    }
}

fn event(prompt: &Prompt, permitted: bool) -> Event {
    let decision = if permitted { "allowed" } else { "denied" };
    Event {
        kind: "answer",
        data: json!({
            "resource": prompt.act.resource,
            "action": prompt.act.action.name(),
            "answer": decision,
        }),
        user: Some(Arc::clone(&prompt.user)),
    }
}

fn not_permitted(answer: Answer) -> Problem {
    match answer {
        Answer::Never => denied("The owner denied it for good. Asking again changes nothing."),
        Answer::NotNow => denied_now("The owner denied it this time."),
        _ => denied_now(
            "The owner permitted it to earlier requests of the same content, and not to this one.",
        ),
    }
}
