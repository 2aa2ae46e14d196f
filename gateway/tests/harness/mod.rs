//! The lab that the tests of the whole gateway use: a real gateway on free ports, handsets and callers over real sockets.
//!
//! [`Lab`] starts the gateway inside the test, [`process::Process`] as its users do; [`handset::TestHandset`] registers
//! and serves, [`http`] calls. Every wait has the same deadline: a test that hangs fails and says where.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file is its own crate and uses a part of the lab"
)]

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use everline_gateway::config::Config;
use everline_gateway::config_file;
use everline_gateway::gateway::{Addresses, Gateway};
use everline_gateway::machine::Machine;
use everline_gateway::registration::lab;
use everline_protocol::Msisdn;
use tempfile::TempDir;

pub mod handset;
pub mod http;
pub mod process;

/// Longer than anything that a passing test waits for, on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Two handsets of the tests.
pub const ONE: u64 = 34_600_000_001;
pub const TWO: u64 = 34_600_000_002;

/// Waits for `what`, or fails the test.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {DEADLINE:?} for {what}"),
    }
}

/// Looks again and again until `condition` gives something.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        loop {
            look.tick().await;
            if let Some(value) = condition().await {
                return value;
            }
        }
    })
    .await
}

pub fn msisdn(number: u64) -> Msisdn {
    Msisdn::from_u64(number).expect("a valid number")
}

/// A directory with a key set and a configuration on free ports.
pub struct Home {
    dir: TempDir,
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        lab::keygen(&dir.path().join("keys"), "EdDSA").expect("a key set");
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A configuration for tests: free ports, two domains, patience of seconds, a store.
    pub fn toml(&self) -> String {
        r#"
            [signaling]
            listen = "127.0.0.1:0"
            sessions_max = 1000
            shards = 2
            timeout_min_s = 1
            [data]
            listen = "127.0.0.1:0"
            [ingress]
            listen = "127.0.0.1:0"
            domains = ["localhost", "Handsets.Example."]
            connections_max = 256
            workers = 2
            [auth]
            jwks_file = "keys/jwks.json"
            [store]
            path = "sessions"
            flush_interval_ms = 20
            [admin]
            listen = "127.0.0.1:0"
            [drain]
            spread_ms = 200
            finish_ms = 2000
        "#
        .to_owned()
    }

    pub fn config(&self) -> Config {
        let parsed = config_file::parse(&self.toml(), self.path(), &Machine::probe());
        parsed.unwrap_or_else(|errors| panic!("the lab's configuration: {errors:?}"))
    }

    /// A token that the gateway of this home believes.
    pub fn token(&self, number: u64) -> String {
        self.token_for(number, None)
    }

    pub fn token_for(&self, number: u64, audience: Option<&str>) -> String {
        let key = self.path().join("keys").join(lab::PRIVATE_FILE);
        let hour = Duration::from_secs(3600);
        lab::mint(&key, msisdn(number), hour, audience, None).expect("a token")
    }
}

/// A running gateway and its home.
pub struct Lab {
    pub gateway: Gateway,
    pub home: Home,
}

impl Lab {
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// With the configuration changed.
    pub fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(Home::new(), change)
    }

    /// In a home that may have seen another gateway.
    pub fn start_in(home: Home, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = home.config();
        change(&mut config);
        let gateway = match Gateway::start(config) {
            Ok(gateway) => gateway,
            Err(error) => panic!("the gateway did not start: {error}"),
        };
        // REQUESTPENDING names the data port only if the operator says where it is, and on free ports nobody knows
        // before; the test's handsets are told by `addresses`.
        Self { gateway, home }
    }

    pub fn addresses(&self) -> Addresses {
        self.gateway.addresses()
    }

    /// A registered handset that answers 200 with its number and the path.
    pub async fn handset(&self, number: u64) -> handset::TestHandset {
        let options = handset::Options::new(number, self.home.token(number));
        handset::TestHandset::register(self.addresses(), options).await
    }

    /// Ends the gateway and gives its home back; fails the test if a thread broke.
    pub async fn stop(self) -> Home {
        let gateway = self.gateway;
        let stopped = tokio::task::spawn_blocking(move || gateway.stop()).await;
        stopped
            .expect("stopping does not panic")
            .expect("no thread broke");
        self.home
    }
}
