//! The `nics` of the configuration: ports get the VFs and the mode of the embedded switch that they are to have, while
//! nobody has a VF of them.
//!
//! Nobody lends meanwhile: the daemon by its own lock, inline plugins since each VF that goes is locked. One that waits
//! for that lock finds its VF gone, or a new one under the same address.

use super::port::{Work, whole};
use crate::node::Node;
use offramp_core::lend::Taken;
use offramp_core::nic::{Inventory, Port, PortKey};
use offramp_core::pool::{NicProblem, NicRule, nic_change, resolve, rule_of};
use offramp_kernel::sysfs::read;
use offramp_ledger::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

/// What the last look found, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Ports that are as a rule wants them.
    pub as_ruled: u64,
    /// Ports that are not.
    pub otherwise: u64,
    /// Why not, and what is wrong with pools.
    pub problems: Vec<String>,
}

/// What the loop knows from earlier looks.
#[derive(Default)]
pub struct Manager {
    /// Changes that hang in the kernel.
    stuck: BTreeMap<PortKey, String>,
    told: BTreeSet<String>,
    /// Ports that were as a rule wants them: what is changed of these was broken.
    settled: BTreeSet<PortKey>,
}

/// Why a port is not as it should be.
enum Failure {
    /// Something is in the way; it has been told who.
    Hindered(String),
    /// It was tried, and failed.
    Failed(String),
}

/// Looks for ever. `begun` is called when nobody can lend any more before the first look is over: pods that come with
/// the daemon find the VFs that their node is to have.
pub fn run(node: &Arc<Node>, begun: impl FnOnce()) {
    let mut manager = Manager::default();
    let lending = node.lending();
    begun();
    manager.pass(node, lending);
    loop {
        node.nics.bell.wait();
        manager.pass(node, node.lending());
    }
}

impl Manager {
    /// Looks once, while nobody lends.
    fn pass(&mut self, node: &Node, _lending: MutexGuard<'_, ()>) {
        let outcome = self.look(node);
        let (report, outcome) = match outcome {
            Ok((report, changes, failed)) if failed.is_empty() => (report, Ok(changes)),
            Ok((report, _, failed)) => (report, Err(failed.join("; "))),
            Err(e) => (node.view().nic_report.clone(), Err(e)),
        };
        for problem in report.problems.iter().filter(|p| !self.told.contains(*p)) {
            tracing::warn!(%problem, "NICs and pools");
        }
        self.told = report.problems.iter().cloned().collect();
        node.view().nic_report = report;
        node.ran("nic-rules", outcome);
    }

    /// The report, how many ports had to be put right again, and what failed.
    fn look(&mut self, node: &Node) -> Result<(Report, u64, Vec<String>), String> {
        let (inventory, pools) = (node.nics.inventory(), &node.config.pools);
        let claims = node.store.claims().list().map_err(|e| e.to_string())?;
        let taken: Taken = claims.claims.iter().collect();
        let (mut report, mut changes, mut failed) = (Report::default(), 0, Vec::new());
        self.settled.retain(|key| inventory.port(key).is_some());
        for port in &inventory.ports {
            let Some(rule) = rule_of(&node.config.nics, port) else { continue };
            match self.settle(node, rule, &inventory, &port.key, &taken) {
                Ok(changed) => {
                    report.as_ruled += 1;
                    let first = self.settled.insert(port.key.clone());
                    changes += u64::from(changed && !first);
                }
                Err(failure) => {
                    report.otherwise += 1;
                    match failure {
                        Failure::Hindered(why) => report.problems.push(why),
                        Failure::Failed(why) => failed.push(why),
                    }
                }
            }
        }
        report.problems.extend(resolve(pools, &inventory, &taken).problems(pools));
        Ok((report, changes, failed))
    }

    /// Whether the port had to be changed.
    fn settle(
        &mut self,
        node: &Node,
        rule: &NicRule,
        seen: &Inventory,
        key: &PortKey,
        taken: &Taken,
    ) -> Result<bool, Failure> {
        let hindered = |e: NicProblem| Failure::Hindered(e.to_string());
        // What hangs may look done.
        let hangs = self.stuck.contains_key(key);
        let differs = |port: &Port| nic_change(rule, port, taken, &[]);
        if !hangs && whole(seen, key).is_none_or(|port| matches!(differs(&port), Ok(None))) {
            return Ok(false);
        }
        // As it is now: what was seen may be old.
        let now = read(&node.sysfs(), &[]).map_err(|e| Failure::Failed(e.to_string()))?;
        let Some(port) = whole(&now, key) else { return Ok(false) };
        if differs(&port).map_err(hindered)?.is_none() && !hangs {
            return Ok(false);
        }
        let claims = node.store.claims();
        let lock = match claims.lock_port(key, Duration::ZERO) {
            Ok(lock) => lock,
            Err(Error::Locked { .. }) => {
                let stuck = || format!("{} is being changed by another process", port.netdev);
                return Err(Failure::Hindered(self.stuck.get(key).cloned().unwrap_or_else(stuck)));
            }
            Err(e) => return Err(Failure::Failed(e.to_string())),
        };
        self.stuck.remove(key);
        let work = Work::begin(node.sysfs(), &claims, lock, port);
        let Some(change) = nic_change(rule, &work.port, &work.taken(), &work.in_use).map_err(hindered)?
        else {
            return Ok(false);
        };
        tracing::info!(
            nic = %work.port.netdev,
            from = work.port.num_vfs,
            to = change.num_vfs,
            eswitch = change.eswitch.map(|mode| mode.to_string()),
            "changes its VFs"
        );
        match work.apply(&change) {
            Ok(()) => Ok(true),
            Err(e @ offramp_kernel::Error::Stuck { .. }) => {
                let why = format!("{e}; nothing is tried at {} beside it", work.port.netdev);
                self.stuck.insert(key.clone(), why.clone());
                Err(Failure::Hindered(why))
            }
            Err(e) => Err(Failure::Failed(e.to_string())),
        }
    }
}
