//! The node's NICs as they are now: looked at anew whenever a device or its link changes.

use crate::node::Node;
use offramp_core::nic::{Change, Inventory, PciAddr, VfNetdev, changes};
use offramp_core::vf::{Claim, Claimed};
use offramp_kernel::sysfs::{Monitor, Sysfs, read};
use offramp_ledger::Claims;
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
}

impl Nics {
    /// An inventory with what the claims say of its VFs.
    pub fn new(inventory: Inventory, claims: &Claims) -> Self {
        let claims = inventory.vfs().filter_map(|(_, vf)| Some((vf.pci, state(claims.read(vf.pci))?)));
        Self { claims: claims.collect(), inventory }
    }
}

/// None: free.
fn state(claim: offramp_ledger::Result<Option<Claim>>) -> Option<String> {
    match claim {
        Ok(None) => None,
        Ok(Some(Claim { holder, state: Claimed::Lent, .. })) => {
            // As much of it as tools of container runtimes show; `explain` takes it.
            let container: String = holder.container.as_str().chars().take(13).collect();
            Some(format!("lent to {container}@{}", holder.ifname))
        }
        Ok(Some(Claim { state: Claimed::Quarantine { reason, .. }, .. })) if reason.is_empty() => {
            Some("quarantine".into())
        }
        Ok(Some(Claim { state: Claimed::Quarantine { reason, .. }, .. })) => {
            Some(format!("quarantine: {reason}"))
        }
        Err(e) => Some(format!("unreadable: {e}")),
    }
}

/// The last look.
#[derive(Default)]
pub struct NicWatch {
    sysfs: Sysfs,
    last: Mutex<Option<Arc<Inventory>>>,
}

impl NicWatch {
    /// What the last look found; empty before the first.
    pub fn inventory(&self) -> Arc<Inventory> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
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
        node.ran("nics", outcome.map(|_| 0).map_err(|e| e.to_string()));
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

    /// Until a NIC may have changed, or `patience` ends.
    pub fn wait(&mut self, patience: Duration) {
        let Some(monitor) = &mut self.0 else { return std::thread::sleep(patience) };
        let due = Instant::now() + patience;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if !left.is_zero() && monitor.wait(left) {
                std::thread::sleep(DEBOUNCE);
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
