//! What happens on the handset, for those who listen: state, new messages, calls, the owner's answers.
//!
//! Everybody may tell; [`Events::listen`] is for the stream at `/events` and for the owner's screen. An event names
//! what happened and where it can be read, and holds no personal data itself: reading it is asked for like any other.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Json;
use tokio::sync::broadcast;

/// Events that a listener may be behind by; one that is further behind is told that it lost some.
const BEHIND_MAX: usize = 256;

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// `battery`, `coverage`, `mode`, `call`, `sms`, `mms`, `email`, `task`, `answer`: docs/agent-api.md lists them.
    pub kind: &'static str,
    /// What there is to know; for an item its `href`.
    pub data: Json,
    /// The remote user whom alone it concerns; `None`: everybody who may listen.
    #[serde(skip)]
    pub user: Option<Arc<str>>,
}

/// Where events are told; a clone is the same one.
#[derive(Debug, Clone)]
pub struct Events(broadcast::Sender<Event>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND_MAX))
    }
}

impl Events {
    /// Tells all who listen; if nobody does, it is gone.
    pub fn tell(&self, event: Event) {
        let _ = self.0.send(event);
    }

    /// What is told from now on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}
