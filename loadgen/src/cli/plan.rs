//! From the arguments of `loadgen run` to the plan of a run: everything that cannot be seen from one flag alone.

use std::net::SocketAddr;
use std::path::Path;

use super::phases::flag;
use super::values::resolve;
use super::{LAB_KEYS, RunArgs};
use crate::address::{Forbidden, Targets};
use crate::fleet::FleetPlan;
use crate::machine::{ProcessSample, descriptors_max};
use crate::metrics::port::{BeyondLoopback, MetricsAddress};
use crate::roster::Roster;
use crate::run::RunPlan;
use crate::scenario::{FleetTable, Lab, NoScenario, Problems, Scenario};
use crate::tokens::{BadKey, Mint};

/// Arguments that are well-formed, but not together.
#[derive(Debug, thiserror::Error)]
pub enum Usage {
    /// A target that is not loopback.
    #[error("{0}")]
    Forbidden(#[from] Forbidden),
    /// A name that leads nowhere.
    #[error("{0}")]
    Unresolved(String),
    /// Key files.
    #[error("{0}")]
    Key(#[from] BadKey),
    /// No such scenario.
    #[error("--scenario: {0}")]
    Scenario(#[from] NoScenario),
    /// What is to happen.
    #[error("{0}")]
    Problems(#[from] Problems),
    /// Where Prometheus is to read.
    #[error("{0}")]
    Metrics(#[from] BeyondLoopback),
    /// Process to sample.
    #[error("--gateway-pid: there is no process {0} that can be looked at")]
    NoProcess(u32),
}

impl RunArgs {
    /// The plan, if the arguments fit together. `command` is the command line as it was typed.
    pub fn plan(self, command: &[String]) -> Result<RunPlan, Usage> {
        let scenario = self.scenario()?;
        let lab = self.lab()?;
        let plan = scenario
            .plan(&lab)
            .map_err(|problems| match &scenario.name {
                Some(name) => Usage::Scenario(NoScenario::Wrong(name.clone(), problems)),
                None => Usage::Problems(problems),
            })?;
        if plan.phases.iter().any(|phase| phase.calls.is_some()) {
            lab.targets.check(lab.ingress)?;
        }
        if let Some(pid) = self.gateway_pid {
            ProcessSample::of(pid).ok_or(Usage::NoProcess(pid))?;
        }
        let metrics = self
            .metrics
            .map(|address| MetricsAddress::check(address, self.metrics_beyond_loopback))
            .transpose()?;
        let (mint, token_note) = self.mint()?;
        let roster = Roster::new(plan.first, plan.handsets)
            .expect("the numbers of the whole run were checked with its plan");
        Ok(RunPlan {
            command: masked(command),
            scenario: scenario.name,
            phases: plan.phases,
            thresholds: plan.thresholds,
            wanted: plan.wanted,
            threads: self.threads.unwrap_or_else(half_the_cores),
            table_slots: self.table_slots,
            connecting: plan.fleet.connecting,
            caller_threads: self.caller_threads as usize,
            gateway_pid: self.gateway_pid,
            metrics,
            quiet: self.quiet,
            notes: token_note.into_iter().collect(),
            mint,
            roster,
            fleet: FleetPlan {
                signaling: lab.signaling,
                data: lab.data,
                targets: lab.targets,
                sources: plan.sources,
                sources_taken: plan.sources_taken,
                timeout_s: plan.fleet.timeout_s,
                linger_s: plan.fleet.linger_s,
                body_bytes: plan.fleet.answer_bytes,
                answer_limit: plan.fleet.answer_limit,
                reconnect: plan.fleet.reconnect,
                leave: plan.fleet.leave,
            },
        })
    }

    /// The scenario that is named, or the one that the flags make; with what flags say of the handsets.
    fn scenario(&self) -> Result<Scenario, NoScenario> {
        let mut scenario = match &self.scenario {
            Some(name) => Scenario::find(name)?,
            None => Scenario::of_flags(FleetTable::default(), self.phases.tables(), flag),
        };
        let flags = FleetTable {
            reconnect: self.no_reconnect.then_some(false),
            ..self.fleet.clone()
        };
        scenario.fleet = flags.over(scenario.fleet);
        scenario.thresholds.extend(self.threshold.iter().cloned());
        Ok(scenario)
    }

    fn lab(&self) -> Result<Lab, Usage> {
        let targets = Targets::new(self.allow_target.clone());
        // Of a name with several addresses the first is used, but none may be somebody else's.
        let allowed = |host_port: &str| {
            let addresses = resolve(host_port).map_err(Usage::Unresolved)?;
            for address in &addresses {
                targets.check(*address)?;
            }
            Ok::<_, Usage>(addresses[0])
        };
        let signaling = allowed(&self.signaling)?;
        let data = match &self.data {
            Some(data) => allowed(data)?,
            None => SocketAddr::new(signaling.ip(), self.data_port),
        };
        let ingress = resolve(&self.ingress).map_err(Usage::Unresolved)?[0];
        Ok(Lab {
            signaling,
            data,
            ingress,
            domain: self.domain.clone(),
            targets,
            sources: self.sources,
            descriptors_max: descriptors_max(),
            part: self.part,
        })
    }

    /// The mint, and what to tell the tester of a choice that was made for him.
    fn mint(&self) -> Result<(Mint, Option<String>), BadKey> {
        let (audience, valid_s) = (self.audience.clone(), self.token_valid.as_secs().max(1));
        if let Some(text) = &self.token {
            return Ok((Mint::Fixed(text.clone()), None));
        }
        if let Some(file) = &self.hs256_secret_file {
            return Ok((Mint::from_secret_file(file, audience, valid_s)?, None));
        }
        if let Some(file) = &self.key {
            return Ok((Mint::from_key_file(file, audience, valid_s)?, None));
        }
        if let Some(keys) = LAB_KEYS.into_iter().find(|keys| Path::new(keys).exists()) {
            let note = format!("tokens are signed with {keys}");
            return Ok((
                Mint::from_key_file(Path::new(keys), audience, valid_s)?,
                Some(note),
            ));
        }
        let places = LAB_KEYS.join(" or ");
        let note = format!(
            "no --key, and no {places} here: handsets register with token=none, which only a lab gateway takes"
        );
        Ok((Mint::Fixed("none".into()), Some(note)))
    }
}

/// The command line without what may be a secret or somebody's number.
fn masked(command: &[String]) -> Vec<String> {
    let secret = |flag: &str| flag == "--token" || flag == "--target-msisdn";
    let mut mask_next = false;
    let mut masked = Vec::with_capacity(command.len());
    for word in command {
        masked.push(match word.split_once('=') {
            _ if std::mem::take(&mut mask_next) && word != "none" => "***".to_owned(),
            Some((flag, value)) if secret(flag) && value != "none" => format!("{flag}=***"),
            _ => {
                mask_next = secret(word);
                word.clone()
            }
        });
    }
    masked
}

fn half_the_cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    u32::try_from(cores / 2).unwrap_or(1).max(1)
}
