//! The harness's handset that anyone may call, through the gateway.

use everline_agent::serve::builtin::resource::{self, Item, PHONE, Resource};
use everline_agent::serve::builtin::store::{Store, StoreError, items};
use serde_json::Value as Json;

use super::inside::OPEN;
use super::{Agent, Answer, Gateway, Signaling};

pub(crate) const JSON: &str = "Content-Type: application/json\r\n";

/// A handset that anyone may call, registered.
pub(crate) struct Handset {
    gateway: Gateway,
    pub(crate) agent: Agent,
    signaling: Signaling,
}

impl Handset {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With what `fill` makes of the directory before the agent starts.
    pub(crate) async fn with(fill: impl FnOnce(&Agent)) -> Self {
        let gateway = Gateway::start().await;
        let mut agent = Agent::prepare(&[&gateway], OPEN);
        fill(&agent);
        agent.run();
        let signaling = gateway.registered().await;
        Self {
            gateway,
            agent,
            signaling,
        }
    }

    pub(crate) async fn get(&mut self, path: &str, headers: &str) -> Answer {
        self.gateway.get(&mut self.signaling, path, headers).await
    }

    pub(crate) async fn send(&mut self, start: &str, headers: &str, body: &str) -> Answer {
        let signaling = &mut self.signaling;
        self.gateway.send(signaling, start, headers, body).await
    }

    pub(crate) async fn add(&mut self, path: &str, body: &Json) -> Answer {
        let start = format!("POST {path}");
        self.send(&start, JSON, &body.to_string()).await
    }

    /// The ids that a list has.
    pub(crate) async fn ids(&mut self, path: &str) -> Vec<String> {
        let list = self.get(path, "").await;
        assert_eq!(list.status, 200, "{path}: {}", list.body);
        let name = path.split('?').next().unwrap().trim_start_matches('/');
        let list = list.json();
        let items = list[name].as_array().unwrap().iter();
        items
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// Fills a memory before the agent starts.
pub(crate) fn bulk(
    agent: &Agent,
    resource: &'static Resource,
    count: u32,
    make: impl Fn(u32) -> Item + Send + 'static,
) {
    let store = Store::open(&agent.path("handset.db"), resource::ALL).unwrap();
    let filled = async move {
        let fill = store.run(move |db| {
            db.transaction(|db| {
                let memory = resource.memory(PHONE).unwrap();
                for n in 1..=count {
                    let item = resource.check(make(n)).unwrap();
                    items::add(db, resource, memory, memory.items_max, item, None)?;
                }
                Ok(())
            })
        });
        fill.await
    };
    // A test waits for nothing else meanwhile; its own runtime must not be waited in.
    let done = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(filled)
    });
    let done: Result<(), StoreError> = done.join().unwrap();
    done.unwrap();
}

/// Whether `whole` says all that `part` says.
pub(crate) fn says(whole: &Json, part: &Json) -> bool {
    let fields = part.as_object().unwrap();
    fields.iter().all(|(name, value)| whole[name] == *value)
}
