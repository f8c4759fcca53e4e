//! The node's NICs as they are now: looked at anew whenever a device or its link changes.

pub mod bell;
pub mod manage;
mod port;

use crate::calls::Calls;
use crate::node::Node;
use bell::Bell;
use offramp_core::ids::PoolName;
use offramp_core::lend::{PoolQueue, Taken};
use offramp_core::nic::{Change, Inventory, PciAddr, VfNetdev, changes};
use offramp_core::offload::Offloads;
use offramp_core::pool::{Pool, resolve};
use offramp_core::vf::{Claim, Claimed};
use offramp_kernel::sysfs::{Monitor, Sysfs, read};
use offramp_ledger::Store;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Events come in swarms, a VF makes a dozen; what follows within this is one.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// What `offrampd nics` shows, and with `-o json` prints. Keys are only ever added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nics {
    /// Ports and VFs.
    #[serde(flatten)]
    pub inventory: Inventory,
    /// The VFs that are not free, and what of them: the first word is `lent`, `quarantine` or `unreadable`.
    #[serde(default)]
    pub claims: BTreeMap<PciAddr, String>,
    /// The pools that VFs are in; without the daemon, those that they were lent from.
    #[serde(default)]
    pub pools: BTreeMap<PciAddr, PoolName>,
    /// The queues of pools; empty without the daemon.
    #[serde(default)]
    pub queues: Vec<PoolQueue>,
    /// What NICs and kernel can take off the CPU.
    #[serde(default)]
    pub offload: Offloads,
}

impl Nics {
    /// An inventory with what claims, records and pools say of its VFs.
    pub fn new(inventory: Inventory, offload: Offloads, store: &Store, pools: &[Pool]) -> Self {
        let claims = store.claims();
        let (mut states, mut of, mut held) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (_, vf) in inventory.vfs() {
            match claims.read(vf.pci) {
                Ok(None) => {}
                Ok(Some(claim)) => {
                    of.extend(claim.pool.as_ref().and_then(|p| Some((vf.pci, p.parse().ok()?))));
                    states.insert(vf.pci, state(&claim, store));
                    held.push(claim);
                }
                Err(e) => drop(states.insert(vf.pci, format!("unreadable: {e}"))),
            }
        }
        let taken: Taken = held.iter().collect();
        let resolved = resolve(pools, &inventory, &taken).pool_of;
        of.extend(resolved.into_iter().map(|(pci, pool)| (pci, pools[pool].name.clone())));
        Self { inventory, claims: states, pools: of, queues: Vec::new(), offload }
    }

    /// What is of one netdev, by its name or a port's key; none if there is none.
    pub fn only(mut self, name: &str) -> Option<Self> {
        let Self { inventory, claims, pools, queues, offload } = &mut self;
        inventory.ports.retain(|port| port.netdev.as_str() == name || port.key.to_string() == name);
        let netdevs: Vec<_> = inventory.ports.iter().map(|port| port.netdev.clone()).collect();
        offload.devices.retain(|netdev, _| netdev.as_str() == name || netdevs.contains(netdev));
        claims.retain(|pci, _| inventory.vf(*pci).is_some());
        pools.retain(|pci, _| inventory.vf(*pci).is_some());
        queues.retain(|queue| netdevs.contains(&queue.nic));
        (!inventory.ports.is_empty() || !offload.devices.is_empty()).then_some(self)
    }
}

fn state(claim: &Claim, store: &Store) -> String {
    match &claim.state {
        Claimed::Lent => format!("lent to {}", holder(claim, store)),
        Claimed::Quarantine { reason, .. } if reason.is_empty() => "quarantine".into(),
        Claimed::Quarantine { reason, .. } => format!("quarantine: {reason}"),
    }
}

/// `NAMESPACE/POD@IFNAME`, the interface being the VF itself; without a pod, as much of the container's ID as tools of
/// container runtimes show: `explain` takes it.
fn holder(claim: &Claim, store: &Store) -> String {
    let record = store.read(&claim.holder).ok().flatten();
    let interface = record.as_ref().and_then(|r| r.plan.interface_of(claim.vf.pci));
    let ifname = interface.map_or(claim.holder.ifname.as_str(), |i| &i.name);
    let pod = record.as_ref().and_then(|r| r.pod.as_ref()).or(claim.pod.as_ref());
    match pod {
        Some(pod) => format!("{pod}@{ifname}"),
        None => format!("{}@{ifname}", claim.holder.container.as_str().chars().take(13).collect::<String>()),
    }
}

/// The last look.
pub struct NicWatch {
    /// Rung when something changed that [`manage`] should see.
    pub bell: Bell,
    sysfs: Sysfs,
    last: Mutex<Option<Arc<Inventory>>>,
}

impl NicWatch {
    /// One that has not looked yet.
    pub fn new(sysfs: Sysfs) -> Self {
        Self { bell: Bell::default(), sysfs, last: Mutex::default() }
    }

    /// What the last look found; empty before the first.
    pub fn inventory(&self) -> Arc<Inventory> {
        self.seen().unwrap_or_default()
    }

    /// What the last look found; none before the first.
    pub fn seen(&self) -> Option<Arc<Inventory>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks, and logs what changed.
    pub fn look(&self, node: &Node) {
        let outcome = self.refresh();
        for change in outcome.iter().flatten() {
            let Change { what, how, severe } = change;
            match severe {
                true => tracing::warn!(nic = %what, change = %how.join(", "), "a NIC changed"),
                false => tracing::info!(nic = %what, change = %how.join(", "), "a NIC changed"),
            }
        }
        // One that somebody took from its pod, or that came back, is for the cleaner to tell.
        if outcome.as_ref().is_ok_and(|changes| !changes.is_empty()) {
            node.bench.ring();
        }
        node.ran("nics", outcome.map(|_| 0).map_err(|e| e.to_string()));
        self.bell.ring();
        node.offloads.bell.ring();
        node.devices.bell.ring();
    }

    /// What changed; a failed look leaves the last good one. At first, the ports that are there.
    fn refresh(&self) -> offramp_kernel::Result<Vec<Change>> {
        let before = self.inventory();
        let now = read(&self.sysfs, &whereabouts(&before))?;
        let mut changes = changes(&before, &now);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none() {
            changes.truncate(now.ports.len());
        }
        *last = Some(Arc::new(now));
        Ok(changes)
    }
}

/// Where netdevs of VFs were at the last look: most still are there.
fn whereabouts(inventory: &Inventory) -> Vec<PathBuf> {
    let netns = inventory.vfs().filter_map(|(_, vf)| match &vf.netdev {
        VfNetdev::Elsewhere { netns, .. } => netns.as_ref().map(PathBuf::from),
        VfNetdev::None | VfNetdev::Host { .. } => None,
    });
    netns.collect()
}

/// Hears of changes.
pub struct NicEvents(Option<Monitor>);

impl NicEvents {
    /// From now on, so: first this, then a look.
    pub fn open() -> Self {
        Self(Monitor::open().inspect_err(|e| tracing::warn!(error = %e, "no events of NICs")).ok())
    }

    /// Until a NIC may have changed, or `patience` ends. What a call does to NICs is looked at after it.
    pub fn wait(&mut self, patience: Duration, calls: &Calls) {
        let Some(monitor) = &mut self.0 else { return std::thread::sleep(patience) };
        let due = Instant::now() + patience;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if !left.is_zero() && monitor.wait(left) {
                std::thread::sleep(DEBOUNCE);
                calls.let_pass();
            }
            match monitor.drain() {
                Ok(false) if !left.is_zero() => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "no more events of NICs");
                    self.0 = None;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "nics_tests.rs"]
mod tests;
