//! The memories that an item can be in (R31): which of them are there now, which one a caller means, what fits.

use crate::device::{DeviceError, SimCard};
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::resource::{Item, Memory, OnCard, PHONE, Resource, SIM};

use super::query::bad;

/// The memories of one resource, as they are while one request is answered.
#[derive(Debug)]
pub(super) struct Memories {
    resource: &'static Resource,
    card: Option<SimCard>,
}

impl Memories {
    /// Asks the device for its SIM card, if the resource has anything on one.
    pub(super) async fn of(
        handset: &Handset,
        resource: &'static Resource,
    ) -> Result<Self, Problem> {
        let card = match resource.memory(SIM) {
            None => None,
            Some(_) => match handset.device.sim().await {
                Ok(card) => card,
                Err(DeviceError::Unsupported(_)) => None,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(Self { resource, card })
    }

    /// The memory that a caller names, if it is there.
    pub(super) fn named(&self, name: &str) -> Result<&'static Memory, Problem> {
        let Some(memory) = self.resource.memory(name) else {
            let known: Vec<_> = self.resource.memories.iter().map(|m| m.name).collect();
            let (name, known) = (self.resource.name, known.join(" and "));
            return Err(bad(format!("store: {name} are kept in {known} alone.")));
        };
        match (&memory.sim, &self.card) {
            (Some(_), None) => Err(no_sim()),
            _ => Ok(memory),
        }
    }

    /// Where an added item goes.
    pub(super) fn to(&self, name: Option<&str>) -> Result<&'static Memory, Problem> {
        self.named(name.unwrap_or(PHONE))
    }

    /// Which items a list has: those of the memory that a caller names, or of all that are there; `None`: no other is.
    pub(super) fn listed(&self, name: Option<&str>) -> Result<Option<&'static str>, Problem> {
        match name {
            Some(name) => Ok(Some(self.named(name)?.name)),
            None if self.resource.memory(SIM).is_some() && self.card.is_none() => Ok(Some(PHONE)),
            None => Ok(None),
        }
    }

    /// Whether what this memory holds can be reached.
    pub(super) fn is_there(&self, name: &str) -> bool {
        name != SIM || self.card.is_some()
    }

    /// Items that a memory holds at most.
    pub(super) fn items_max(&self, memory: &Memory) -> u64 {
        memory.items_max(self.card.as_ref())
    }

    /// Refuses an item that this memory has no form for, and says what would fit.
    pub(super) fn fits(
        &self,
        memory: &Memory,
        item: &Item,
        kept: Option<(&str, &[u8])>,
    ) -> Result<(), Problem> {
        let (Some(sim), Some(card)) = (&memory.sim, &self.card) else {
            return Ok(());
        };
        let fits = (sim.fits)(self.resource, item, card).and_then(|()| match (sim.kept, kept) {
            (OnCard::FieldsAlone(says_no_more), Some((kind, bytes))) => says_no_more(kind, bytes),
            _ => Ok(()),
        });
        fits.map_err(|error| Problem::of_field(Kind::DoesNotFit, error))
    }

    /// What is said of a memory that is full.
    pub(super) fn full(&self, memory: &Memory) -> Problem {
        let (name, most) = (self.resource.name, self.items_max(memory));
        let place = match memory.name {
            SIM => "The SIM card has room",
            _ => "The phone has room",
        };
        let detail = format!(
            "{place} for {most} {name}, and for so many bytes as its files may have. Delete something, then add it again."
        );
        Problem::new(Kind::StoreFull, detail)
    }
}

/// The card is not in the handset.
pub(super) fn no_sim() -> Problem {
    Problem::new(
        Kind::NoSim,
        "Put one in, or keep to what is in the phone: ?store=phone.",
    )
}
