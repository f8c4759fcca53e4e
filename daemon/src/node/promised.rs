//! VFs that kubelet has promised to a pod. It promises one anew while an older sandbox still has it: the ledger decides,
//! and the newer one waits.

use super::{Caller, Node};
use offramp_core::ids::ResourceName;
use offramp_core::kubelet::PodDevices;
use offramp_core::lend::{Assigned, Lent};
use offramp_core::nic::PciAddr;
use offramp_core::vf::Claim;
use offramp_core::wire::Prepare;
use offramp_kernel::sysfs::numa_nodes;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long the older sandbox's DEL, and the cleaning after it, are waited for: the plugin waits four times as long, and
/// the runtime calls again after 11 s.
const HOLDER_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// What kubelet says of a pod.
#[derive(Default)]
pub(super) struct Promise {
    /// Its VFs of pools that have a resource.
    pub assigned: Assigned,
    /// Where its CPUs are, or else its devices.
    pub numa: BTreeSet<u32>,
}

impl Promise {
    /// Without devices that others get.
    pub fn without(mut self, handed: &BTreeSet<String>) -> Self {
        if let Assigned::Known(assigned) = &mut self.assigned {
            assigned.retain(|pci, _| !handed.contains(&pci.to_string()));
        }
        self
    }
}

impl Node {
    /// Asks kubelet.
    pub(super) fn promise(&self, ask: &Prepare) -> Promise {
        let ours: Vec<ResourceName> = self.config.pools.iter().filter_map(|p| p.resource.clone()).collect();
        let Some(pod) = &ask.pod else { return Promise::default() };
        match self.devices.of_pod(&self.config.paths.kubelet, pod) {
            Ok(devices) => Promise { numa: self.numa_of(&devices, &ours), assigned: devices.assigned() },
            Err(error) if ours.is_empty() => {
                tracing::debug!(%pod, %error, "its NUMA node is not known");
                Promise::default()
            }
            Err(error) => Promise { assigned: Assigned::Unknown(error), ..Promise::default() },
        }
    }

    fn numa_of(&self, devices: &PodDevices, ours: &[ResourceName]) -> BTreeSet<u32> {
        let of_cpus = numa_nodes(&self.sysfs(), &devices.cpus);
        if of_cpus.is_empty() { devices.numa_of_others(ours).collect() } else { of_cpus }
    }

    /// Waits until nobody has what was promised; who still has some of it.
    pub(super) fn await_holders(&self, promise: &Promise, caller: Caller) -> Option<Claim> {
        let ours = self.promised(&promise.assigned);
        let deadline = Instant::now() + HOLDER_PATIENCE;
        let claims = self.store.claims();
        let held = || ours.iter().find_map(|(pci, _)| claims.read(*pci).ok().flatten());
        let mut holder = held();
        if let Some(claim) = &holder {
            tracing::info!(%claim, "waits for a VF that kubelet has promised, and that somebody still has");
        }
        while let Some(claim) = &holder {
            if Instant::now() >= deadline || !caller() {
                tracing::warn!(%claim, "kubelet has promised a VF that somebody has");
                break;
            }
            std::thread::sleep(PAUSE);
            holder = held();
        }
        holder
    }

    /// Devices that no interface uses are not claimed: whoever requested them asked for no interface.
    pub(super) fn tell_unused<'a>(
        &self,
        ask: &Prepare,
        promise: &Promise,
        lent: impl Iterator<Item = &'a Lent>,
    ) {
        let used: BTreeSet<PciAddr> = lent.map(|lent| lent.vf.pci).collect();
        for (pci, resource) in self.promised(&promise.assigned) {
            if !used.contains(&pci) {
                let why = "no annotation asks for an interface of it";
                tracing::warn!(attachment = %ask.attachment, %pci, %resource, why, "a device is assigned in vain");
            }
        }
    }

    /// What is of our pools.
    fn promised(&self, assigned: &Assigned) -> Vec<(PciAddr, ResourceName)> {
        let Assigned::Known(all) = assigned else { return Vec::new() };
        let ours = |resource| self.config.pools.iter().any(|p| p.resource.as_ref() == Some(resource));
        all.iter().filter(|(_, r)| ours(*r)).map(|(pci, r)| (*pci, r.clone())).collect()
    }
}
