//! Time as an argument: how sessions and sign-in limits know what time it is, so that tests can turn the clock.

use std::sync::Arc;
use std::time::Instant;

use everline_protocol::Millis;

/// Tells milliseconds since an epoch of its own. It never goes back.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Millis + Send + Sync>);

impl Clock {
    /// The machine's monotonic clock, counted from now.
    pub fn real() -> Self {
        let start = Instant::now();
        Self::from_fn(move || {
            Millis(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
        })
    }

    /// A clock that somebody else turns.
    pub fn from_fn(tell: impl Fn() -> Millis + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// What time it is.
    pub fn now(&self) -> Millis {
        (self.0)()
    }
}
