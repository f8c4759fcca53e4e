//! The devices of each pool, as kubelet is told of them.

use super::Devices;
use crate::node::Node;
use offramp_core::ids::PoolName;
use offramp_core::lend::{Device, devices};
use offramp_core::nic::{Inventory, PciAddr};
use offramp_core::pool::Pool;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// By pool.
pub type Table = BTreeMap<PoolName, Vec<Device>>;

/// For what nobody rings of.
const INTERVAL: Duration = Duration::from_secs(10);

/// Looks for ever.
pub fn run(node: &Node) {
    loop {
        node.devices.bell.wait_for(INTERVAL);
        node.devices.look(node);
    }
}

impl Devices {
    /// Has kubelet told what is now.
    pub(super) fn look(&self, node: &Node) {
        let claims = match node.store.claims().list() {
            Ok(listing) => listing.claims,
            // What was told last is the best that is known.
            Err(error) => return tracing::warn!(%error, "kubelet is not told of its devices' health"),
        };
        let taken = match node.taken() {
            Ok(taken) => taken,
            Err(error) => return tracing::warn!(%error, "kubelet is not told of its devices' health"),
        };
        let Some(inventory) = node.nics.seen().or_else(|| node.config.pools.is_empty().then(Arc::default))
        else {
            // The runtime's file names VFs that containers need who start anew.
            return tracing::warn!("kubelet is told of no devices: NICs were not seen yet");
        };
        let strangers = self.strangers().of(&claims);
        let found = devices(&node.config.pools, &inventory, &taken, &strangers);
        // Before kubelet can assign one.
        let published = self.cdi.publish(by_cdi(&node.config.pools, &found, &inventory));
        if node.config.pools.iter().any(|p| p.cdi) || published.is_err() {
            node.ran("cdi", published.map(|()| 0));
        }
        let is_found = |pci: &PciAddr| found.values().flatten().any(|d| d.pci == *pci);
        let gone: BTreeSet<PciAddr> = self.told.borrow().values().flatten().map(|d| d.pci).collect();
        let gone = gone.into_iter().filter(|pci| !is_found(pci)).collect();
        let mut nobodys = self.strangers().nobodys_of(gone);
        nobodys.retain(|pci| taken.get(*pci).is_none());
        self.told.send_if_modified(|told| {
            let now = with_vanished(told, found, &nobodys);
            log_changes(told, &now);
            let changed = *told != now;
            *told = now;
            changed
        });
    }
}

/// The VFs that the runtime is to know by name, with their IOMMU groups.
fn by_cdi(pools: &[Pool], found: &Table, inventory: &Inventory) -> BTreeMap<PciAddr, u32> {
    let devices = pools.iter().filter(|p| p.cdi).filter_map(|p| found.get(&p.name)).flatten();
    let with_group = |d: &Device| Some((d.pci, inventory.vf(d.pci)?.1.iommu_group?));
    devices.filter_map(with_group).collect()
}

/// Kubelet forgets a device that is not listed, and with it that a pod has it: what was told of once stays, until it is
/// gone and nobody's.
fn with_vanished(told: &Table, mut now: Table, nobodys: &BTreeSet<PciAddr>) -> Table {
    for (pool, before) in told {
        let Some(devices) = now.get_mut(pool) else { continue };
        let gone =
            before.iter().filter(|b| !devices.iter().any(|d| d.pci == b.pci) && !nobodys.contains(&b.pci));
        let gone: Vec<Device> = gone
            .map(|d| Device { fault: Some("it is not in the pool any more".into()), ..d.clone() })
            .collect();
        devices.extend(gone);
        devices.sort_by_key(|d| d.pci);
    }
    now
}

fn log_changes(before: &Table, now: &Table) {
    for (pool, devices) in now {
        let known = |d: &Device| before.get(pool)?.iter().find(|b| b.pci == d.pci);
        for device in devices {
            match (known(device), &device.fault) {
                (Some(Device { fault: Some(_), .. }), None) => {
                    tracing::info!(%pool, device = %device.pci, "a device is healthy again");
                }
                (Some(before), Some(fault)) if before.fault.as_ref() == Some(fault) => {}
                (_, Some(fault)) => {
                    tracing::info!(%pool, device = %device.pci, %fault, "a device is unhealthy, and not assigned");
                }
                (_, None) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(pci: &str, fault: Option<&str>) -> Device {
        Device { pci: pci.parse().unwrap(), numa: Some(0), fault: fault.map(str::to_owned) }
    }

    #[test]
    fn what_is_gone_stays_unhealthy_until_it_is_back() {
        let pool: PoolName = "fast".parse().unwrap();
        let table = |devices: &[Device]| Table::from([(pool.clone(), devices.to_vec())]);
        let (a, b) = (device("0000:01:10.0", None), device("0000:01:10.2", None));
        let both = table(&[a.clone(), b.clone()]);
        let (only_b, nobodys) = (table(std::slice::from_ref(&b)), BTreeSet::new());
        let told = with_vanished(&both, only_b.clone(), &nobodys);
        assert_eq!(told[&pool].len(), 2);
        assert!(told[&pool][0].fault.is_some() && told[&pool][1] == b, "{told:?}");
        assert_eq!(with_vanished(&told, both.clone(), &nobodys), both, "it is back");
        assert_eq!(with_vanished(&Table::new(), both.clone(), &nobodys), both);
        // Nobody has it: it is told of no more.
        let nobodys = [a.pci, b.pci].into();
        assert_eq!(with_vanished(&told, only_b.clone(), &nobodys), only_b);
        assert_eq!(with_vanished(&only_b, both.clone(), &nobodys), both, "it is back");
    }
}
