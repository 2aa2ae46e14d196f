//! How an action went: what a session remembers, and what the page after the action tells (requirement R75).

use crate::resource::Draft;
use crate::trouble::Trouble;

/// One action on one resource.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The resource's slug.
    pub resource: &'static str,
    /// What was to be done.
    pub action: Action,
    /// What the item is called.
    pub subject: String,
    /// How far it got.
    pub progress: Progress,
}

/// What can be done to an item (R29, R30).
#[derive(Debug, Clone)]
pub enum Action {
    /// Add what the form said; kept, so that a failure costs nobody their typing.
    Add(Draft),
    /// Delete the item of this id.
    Delete(String),
}

/// How far an action got.
#[derive(Debug, Clone)]
pub enum Progress {
    /// The handset has not answered yet.
    UnderWay,
    /// The handset did it.
    Done,
    /// It was not done, or nobody can tell.
    Failed(Trouble),
}
