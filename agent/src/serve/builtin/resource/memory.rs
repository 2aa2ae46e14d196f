//! Where items can be: the phone's memory and the SIM card, as far as a description knows them (R31).

use super::{FieldError, Item, Resource};
use crate::device::SimCard;

/// One of the handset's memories, as far as it holds items of one resource (R31).
#[derive(Debug)]
pub struct Memory {
    /// [`PHONE`] or [`SIM`].
    pub name: &'static str,
    /// Items that it holds at most; one more is answered 507.
    pub items_max: u64,
    /// Whether the oldest item goes when one comes that there is no room for, as in a log of calls.
    pub rolls: bool,
    /// What the card has to say, for a memory that is on it.
    pub sim: Option<Sim>,
}

/// The memory that is always there.
pub const PHONE: &str = "phone";

/// The memory of the card.
pub const SIM: &str = "sim";

/// How items of one resource lie on a SIM card. Only the card in the handset knows its limits.
#[derive(Debug, Clone, Copy)]
pub struct Sim {
    /// Items that this card has room for.
    pub items_max: fn(&SimCard) -> u64,
    /// Whether an item that is right in itself fits onto it, and if not why and what would.
    pub fits: Fits,
    /// What becomes of what was sent in a form that is kept.
    pub kept: OnCard,
}

/// What a card does with what an item was sent as.
#[derive(Debug, Clone, Copy)]
pub enum OnCard {
    /// It lies there too.
    Keeps,
    /// The fields alone lie there; what has nothing else in it passes, by its media type and its bytes.
    FieldsAlone(fn(&str, &[u8]) -> Result<(), FieldError>),
}

/// Holds an item against the limits of a card.
pub type Fits = fn(&Resource, &Item, &SimCard) -> Result<(), FieldError>;

impl Memory {
    /// The phone's, with room for so many.
    pub const fn phone(items_max: u64) -> Self {
        Self {
            name: PHONE,
            items_max,
            rolls: false,
            sim: None,
        }
    }

    /// The phone's, in which the oldest item makes room for a new one.
    pub const fn log(items_max: u64) -> Self {
        Self {
            name: PHONE,
            items_max,
            rolls: true,
            sim: None,
        }
    }

    /// The card's.
    pub const fn card(sim: Sim) -> Self {
        Self {
            name: SIM,
            items_max: u64::MAX,
            rolls: false,
            sim: Some(sim),
        }
    }

    /// Items that it holds at most, with this card in the handset.
    pub fn items_max(&self, card: Option<&SimCard>) -> u64 {
        match (&self.sim, card) {
            (Some(sim), Some(card)) => (sim.items_max)(card).min(self.items_max),
            (Some(_), None) => 0,
            (None, _) => self.items_max,
        }
    }
}
