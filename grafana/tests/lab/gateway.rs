//! A gateway on free ports without a key, and the load generator's handsets and callers on it; both inside the test.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use clap::Parser as _;
use everline_gateway::config_file;
use everline_gateway::gateway::Gateway;
use everline_gateway::machine::Machine;
use everline_loadgen::cli::{Cli, Command};
use everline_loadgen::report::Report;
use tempfile::TempDir;

const CONFIG: &str = r#"
    auth = "none"
    [signaling]
    listen = "127.0.0.1:0"
    sessions_max = 1000
    shards = 2
    timeout_min_s = 1
    [data]
    listen = "127.0.0.1:0"
    [ingress]
    listen = "127.0.0.1:0"
    domains = ["localhost"]
    workers = 1
    [store]
    path = "sessions"
    flush_interval_ms = 20
    [admin]
    listen = "127.0.0.1:0"
"#;

/// Ends with the test.
pub(crate) struct LiveGateway {
    gateway: Gateway,
    _home: TempDir,
}

/// A load under way.
pub(crate) struct Load(JoinHandle<Report>);

impl LiveGateway {
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let config = config_file::parse(CONFIG, home.path(), &Machine::probe())
            .unwrap_or_else(|errors| panic!("the lab's configuration: {errors:?}"));
        let gateway = Gateway::start(config).unwrap_or_else(|error| panic!("{error}"));
        Self {
            gateway,
            _home: home,
        }
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.gateway.addresses().admin
    }

    /// The load generator's scenario `smoke`: some seconds of handsets, requests and a storm.
    pub(crate) fn smoke(&self) -> Load {
        let addresses = self.gateway.addresses();
        let words = format!(
            "loadgen run --scenario smoke --quiet --token none --table-slots 1024 --signaling {} --data {} --ingress {}",
            addresses.signaling, addresses.data, addresses.ingress
        );
        let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        let cli = Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{error}"));
        let Command::Run(arguments) = cli.command else {
            panic!("{words:?} is a run")
        };
        let plan = arguments
            .plan(&words)
            .unwrap_or_else(|error| panic!("{error}"));
        let run =
            move || everline_loadgen::run::run(plan).unwrap_or_else(|error| panic!("{error}"));
        Load(std::thread::spawn(run))
    }
}

impl Load {
    /// Waits for its end; fails the test if not all went well.
    pub(crate) fn join(self) {
        let report = self.0.join().expect("the load does not panic");
        assert!(report.ok, "{:?}", report.findings);
    }
}
