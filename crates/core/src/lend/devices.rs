//! The VFs of pools that kubelet lends, as it is told of them.

use super::candidates::{Fit, fit, linkless};
use super::{Hints, Node, Taken};
use crate::ids::PoolName;
use crate::nic::{Inventory, PciAddr};
use crate::pool::{Pool, resolve};
use std::collections::{BTreeMap, BTreeSet};

/// A VF that kubelet may assign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The VF, which is the device's ID too.
    pub pci: PciAddr,
    /// Its NUMA node; none: not known.
    pub numa: Option<u32>,
    /// Why it must not be assigned now; none: it is healthy. One that its pod has is.
    pub fault: Option<String>,
}

/// Of each pool that has a resource, in the order of the PCI addresses. `strangers` are lent VFs whose holders kubelet
/// does not know: it would assign them again.
pub fn devices(
    pools: &[Pool],
    inventory: &Inventory,
    taken: &Taken,
    strangers: &BTreeSet<PciAddr>,
) -> BTreeMap<PoolName, Vec<Device>> {
    let (resolved, hints) = (resolve(pools, inventory, taken), Hints::default());
    let node = Node { pools, resolved: &resolved, inventory, taken, hints: &hints };
    let asked = pools.iter().filter(|p| p.resource.is_some());
    let mut all: BTreeMap<PoolName, Vec<Device>> = asked.map(|p| (p.name.clone(), Vec::new())).collect();
    for (port, vf) in inventory.vfs() {
        let Some(pool) = resolved.pool_of.get(&vf.pci).map(|index| &pools[*index]) else { continue };
        let Some(devices) = all.get_mut(&pool.name) else { continue };
        let why = match fit(&node, pool, false, &pool.defaults, (port, vf)) {
            _ if taken.is_lent(vf.pci) => linkless(port, &pool.defaults).map(|why| why.to_string()),
            Fit::Now => None,
            Fit::Later(why) | Fit::Never(why) => Some(why.to_string()),
        };
        let holder = taken.get(vf.pci).filter(|_| strangers.contains(&vf.pci));
        let stranger = holder.map(|h| format!("held by {}, which kubelet does not know", h.holder));
        devices.push(Device { pci: vf.pci, numa: port.numa, fault: stranger.or(why) });
    }
    all.values_mut().for_each(|devices| devices.sort_by_key(|d| d.pci));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lend::Hold;
    use crate::lend::fixture::{holding, inventory, pci, pool, port};
    use crate::nic::VfNetdev;

    fn resource(pool: Pool) -> Pool {
        Pool { resource: Some("offramp.dev/fast".parse().unwrap()), ..pool }
    }

    #[test]
    fn only_pools_with_a_resource_are_told_and_every_vf_of_them() {
        let pools =
            [resource(pool("fast", &["nic1"])), pool("slow", &["nic2"]), resource(pool("none", &["x"]))];
        let nics = inventory(vec![port(1, Some(1), 2), port(2, None, 2)]);
        let all = devices(&pools, &nics, &Taken::default(), &BTreeSet::new());
        let told = |index| Device { pci: pci(1, index), numa: Some(1), fault: None };
        let (fast, none) = ("fast".parse().unwrap(), "none".parse().unwrap());
        assert_eq!(all, [(fast, vec![told(0), told(1)]), (none, vec![])].into());
    }

    #[test]
    fn what_its_pod_has_is_healthy_and_what_must_not_be_assigned_is_not() {
        let mut nic = port(1, None, 6);
        nic.vfs[3].netdev = VfNetdev::Elsewhere { netns: None, name: None };
        nic.vfs[4].driver = None;
        let mut taken = Taken::default();
        taken.insert(pci(1, 0), holding(Hold::Lent));
        taken.insert(pci(1, 1), holding(Hold::Lent));
        taken.insert(pci(1, 2), holding(Hold::Quarantine(String::new())));
        let pools = [resource(pool("fast", &["nic1"]))];
        let strangers = [pci(1, 1), pci(1, 5)].into();
        let faults = |nic: &crate::nic::Port, taken: &Taken| {
            let all = devices(&pools, &inventory(vec![nic.clone()]), taken, &strangers);
            all.into_values().flatten().map(|d| d.fault.unwrap_or_default()).collect::<Vec<_>>()
        };
        let told = faults(&nic, &taken);
        assert_eq!((told[0].as_str(), told[5].as_str()), ("", ""), "{told:?}");
        for (index, word) in [(1, "other@net1"), (2, "quarantine"), (3, "namespace"), (4, "driver")] {
            assert!(told[index].contains(word), "{told:?}");
        }
        nic.carrier = false;
        let told = faults(&nic, &taken);
        assert!(told[0].contains("link") && told[5].contains("link"), "{told:?}");
    }
}
