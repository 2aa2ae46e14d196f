//! What the managers of the embedded web server have in common: the store, the gate, the device, and who is told.

use std::sync::Arc;

use super::call_book::CallBook;
use super::consent::Gate;
use super::events::Events;
use super::idempotency::Keys;
use super::store::Store;
use super::tasks::Tasks;
use crate::device::Device;

/// One handset; a clone is the same one.
#[derive(Debug, Clone)]
pub struct Handset {
    /// Where data is kept.
    pub store: Store,
    /// Who decides.
    pub gate: Gate,
    /// The hardware.
    pub device: Arc<dyn Device>,
    /// Who is told what happens.
    pub events: Events,
    /// The idempotency keys whose requests are being done.
    pub keys: Keys,
    /// What takes time.
    pub tasks: Tasks,
    /// The calls that there are.
    pub calls: CallBook,
}
