//! What the node's NICs and its kernel can take off the CPU, as it was last found. Read by a thread of its own: a driver
//! that takes its time must not keep VFs from being lent.

use crate::config::Config;
use crate::nics::bell::Bell;
use crate::node::Node;
use offramp_core::ids::IfName;
use offramp_core::nic::Inventory;
use offramp_core::offload::{Abilities, Answer, Offloads};
use offramp_kernel::netlink::Socket;
use offramp_kernel::offload::{Reader, abilities, switches, wanted};
use offramp_kernel::{Result, link};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long whoever asks waits for a look, which takes milliseconds unless a driver hangs.
const PATIENCE: Duration = Duration::from_secs(1);
/// So often it is tried what the kernel can do, where something stood in the way.
const TRIES: u32 = 5;

/// The last look.
#[derive(Default)]
pub struct OffloadWatch {
    /// Rung when a NIC may have changed.
    pub bell: Bell,
    last: Mutex<Last>,
    looked: Condvar,
}

#[derive(Default)]
struct Last {
    found: Arc<Offloads>,
    /// Looks so far.
    count: u64,
}

impl OffloadWatch {
    /// What the last look found; empty before the first.
    pub fn last(&self) -> Arc<Offloads> {
        self.lock().found.clone()
    }

    /// What the last look found; none before one that had the kernel's abilities.
    pub fn whole(&self) -> Option<Arc<Offloads>> {
        Some(self.last()).filter(|found| !found.kernel.is_empty())
    }

    /// Has the loop look, and waits for it, but not for long: what it finds, or has found last.
    pub fn soon(&self) -> Arc<Offloads> {
        let last = self.lock();
        let before = last.count;
        self.bell.ring();
        let waited = self.looked.wait_timeout_while(last, PATIENCE, |last| last.count == before);
        waited.unwrap_or_else(PoisonError::into_inner).0.found.clone()
    }

    /// Looks for ever: when the bell rings, and as often as the configuration says. What the kernel can do is tried once,
    /// but for what stays unknown: that makes a network namespace, and may have the kernel load modules, for which nobody is
    /// to wait.
    pub fn run(&self, node: &Node) {
        self.look(node, &Abilities::default());
        let interval = node.config.reconcile_interval;
        let (mut kernel, mut tried, mut tries) = (abilities(), Instant::now(), 1);
        loop {
            self.look(node, &kernel);
            self.bell.wait_for(interval);
            if has_unknown(&kernel) && tries < TRIES && tried.elapsed() >= interval {
                learn(&mut kernel, abilities());
                (tried, tries) = (Instant::now(), tries + 1);
            }
        }
    }

    /// A failed look leaves the last good one.
    fn look(&self, node: &Node, kernel: &Abilities) {
        let outcome = read(&node.nics.inventory(), &devices(node), kernel.clone());
        let changed = {
            let mut last = self.lock();
            last.count += 1;
            match &outcome {
                Ok(now) if *now != *last.found => {
                    last.found = Arc::new(now.clone());
                    true
                }
                _ => false,
            }
        };
        self.looked.notify_all();
        if changed {
            // What the other nodes are told may be otherwise.
            node.looked();
        }
        node.ran("offloads", outcome.map(|_| 0).map_err(|e| e.to_string()));
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_unknown(kernel: &Abilities) -> bool {
    kernel.values().any(|answer| matches!(answer, Answer::Unknown { .. }))
}

/// What was known once is not forgotten.
fn learn(kernel: &mut Abilities, again: Abilities) {
    for (ability, answer) in again {
        let known = kernel.get(&ability).is_some_and(|before| !matches!(before, Answer::Unknown { .. }));
        if !known {
            kernel.insert(ability, answer);
        }
    }
}

/// Our own devices, and the uplink, which are looked at besides NICs.
fn devices(node: &Node) -> Vec<IfName> {
    let uplink = node.view().uplink.as_ref().map(|uplink| uplink.name.clone());
    let Config { overlay, bridge, .. } = &node.config;
    [overlay.device.clone(), bridge.name.clone()].into_iter().chain(uplink).collect()
}

/// Of the calling thread's namespace.
pub fn read(inventory: &Inventory, ours: &[IfName], kernel: Abilities) -> Result<Offloads> {
    let links = link::list(&mut Socket::open()?)?;
    let ports = inventory.ports.iter().map(|port| &port.netdev).collect();
    let devices = Reader::open()?.devices(&wanted(&links, &ports, ours))?;
    Ok(Offloads { kernel, devices, switches: switches()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use offramp_core::offload::Ability::{Netkit, Tcx, Vlan};

    #[test]
    fn what_is_unknown_is_learnt_and_what_is_known_is_kept() {
        let (unknown, missing) =
            (|| Answer::Unknown { why: "x".into() }, || Answer::Missing { why: "y".into() });
        let mut kernel = Abilities::from([(Netkit, Answer::There), (Tcx, missing()), (Vlan, unknown())]);
        assert!(has_unknown(&kernel));
        learn(&mut kernel, [(Netkit, unknown()), (Tcx, unknown()), (Vlan, Answer::There)].into());
        assert_eq!(kernel, [(Netkit, Answer::There), (Tcx, missing()), (Vlan, Answer::There)].into());
        assert!(!has_unknown(&kernel));
    }
}
