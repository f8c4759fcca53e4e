//! Whose devices are, as kubelet says. It promises a device anew when it forgets a pod, whatever the pod's sandbox still
//! holds: the claims decide, and what a stranger holds must not be assigned.

use crate::ids::{AttachmentId, ResourceName};
use crate::lend::Assigned;
use crate::nic::PciAddr;
use crate::record::PodRef;
use crate::vf::Claim;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// What a pod has, by kubelet's pod-resources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodDevices {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The devices of its containers, of any plugin.
    pub devices: Vec<Promised>,
    /// The CPUs that its containers have to themselves; empty: they share some.
    pub cpus: BTreeSet<u32>,
}

/// A device that a pod has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promised {
    /// The resource it was requested as.
    pub resource: String,
    /// What its plugin calls it: of a VF, the PCI address.
    pub id: String,
    /// The NUMA nodes it is near to.
    pub numa: BTreeSet<u32>,
}

impl PodDevices {
    /// The VFs among the devices.
    pub fn assigned(&self) -> Assigned {
        let vf = |d: &Promised| Some((d.id.parse().ok()?, d.resource.parse().ok()?));
        Assigned::Known(self.devices.iter().filter_map(vf).collect())
    }

    /// Where devices of other plugins are: a VF should be near to a GPU.
    pub fn numa_of_others<'a>(&'a self, ours: &'a [ResourceName]) -> impl Iterator<Item = u32> + 'a {
        let others = self.devices.iter().filter(|d| !ours.iter().any(|r| r.as_str() == d.resource));
        others.flat_map(|d| d.numa.iter().copied())
    }
}

/// What kubelet's lists of pods tell, of which one alone tells nothing: the first ones after its start lack pods that run.
#[derive(Debug)]
pub struct Strangers {
    settling: Duration,
    /// Which kubelet, and since when it is seen.
    kubelet: Option<(u128, Instant)>,
    suspects: BTreeSet<(PciAddr, String)>,
    confirmed: BTreeMap<PciAddr, AttachmentId>,
    /// What pods have, by the last two lists that count.
    assigned: [Option<BTreeSet<String>>; 2],
    /// How many lists have counted.
    lists: u64,
    /// Devices that are gone, and how many lists had counted when that was seen.
    gone: BTreeMap<PciAddr, u64>,
}

impl Strangers {
    /// A kubelet's lists count from so long after its start on.
    pub fn new(settling: Duration) -> Self {
        Self {
            settling,
            kubelet: None,
            suspects: BTreeSet::new(),
            confirmed: BTreeMap::new(),
            assigned: [None, None],
            lists: 0,
            gone: BTreeMap::new(),
        }
    }

    /// Kubelet has listed all pods. `kubelet` tells one start of it from another. A holder is a stranger if two lists in a
    /// row lack it, both of a kubelet that was started a while ago.
    pub fn listed(&mut self, now: Instant, kubelet: u128, list: &[PodDevices], claims: &[Claim]) {
        if self.kubelet.is_none_or(|(known, _)| known != kubelet) {
            let (lists, gone) = (self.lists, std::mem::take(&mut self.gone));
            *self = Self { kubelet: Some((kubelet, now)), lists, gone, ..Self::new(self.settling) };
        }
        let settled = self.kubelet.is_some_and(|(_, since)| now.duration_since(since) >= self.settling);
        if !settled {
            return;
        }
        let assigned = list.iter().flat_map(|pod| &pod.devices).map(|d| d.id.clone()).collect();
        self.assigned = [self.assigned[1].take(), Some(assigned)];
        self.lists += 1;
        let lent = claims.iter().filter(|claim| !claim.in_quarantine());
        let unknown: Vec<&Claim> = lent.filter(|claim| !knows(list, claim)).collect();
        let suspect = |claim: &&Claim| (claim.vf.pci, claim.holder.to_string());
        let twice = unknown.iter().filter(|claim| self.suspects.contains(&suspect(claim)));
        self.confirmed = twice.map(|claim| (claim.vf.pci, claim.holder.clone())).collect();
        self.suspects = unknown.iter().map(suspect).collect();
    }

    /// The VFs that strangers hold still.
    pub fn of(&self, claims: &[Claim]) -> BTreeSet<PciAddr> {
        let still = |c: &&Claim| !c.in_quarantine() && self.confirmed.get(&c.vf.pci) == Some(&c.holder);
        claims.iter().filter(still).map(|claim| claim.vf.pci).collect()
    }

    /// Which of the devices that are `gone` no pod has, by two lists in a row, both made since they are: until then kubelet
    /// may have assigned one.
    pub fn nobodys_of(&mut self, gone: BTreeSet<PciAddr>) -> BTreeSet<PciAddr> {
        let since = |pci: &PciAddr| self.gone.get(pci).copied().unwrap_or(self.lists);
        self.gone = gone.iter().map(|pci| (*pci, since(pci))).collect();
        let old = gone.into_iter().filter(|pci| self.lists >= self.gone.get(pci).unwrap_or(&self.lists) + 2);
        old.filter(|pci| !self.has_a_pod(*pci)).collect()
    }

    /// By either of the last two lists, or for want of them.
    fn has_a_pod(&self, pci: PciAddr) -> bool {
        let id = pci.to_string();
        self.assigned.iter().any(|list| list.as_ref().is_none_or(|ids| ids.contains(&id)))
    }
}

/// A claim without a pod is anybody's that kubelet names.
fn knows(list: &[PodDevices], claim: &Claim) -> bool {
    let same = |pod: &PodDevices, of: &PodRef| pod.namespace == of.namespace && pod.name == of.name;
    let id = claim.vf.pci.to_string();
    list.iter()
        .filter(|pod| pod.devices.iter().any(|d| d.id == id))
        .any(|pod| claim.pod.as_ref().is_none_or(|of| same(pod, of)))
}

#[cfg(test)]
#[path = "promises_tests.rs"]
mod tests;
