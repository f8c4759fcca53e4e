//! Reads counters where they are: on the node's end of a pair, on a VF's netdev in its pod, at a PF.

use offramp_core::IfName;
use offramp_core::nic::PciAddr;
use offramp_core::record::NetnsRef;
use offramp_core::traffic::{Bytes, Meter, Metered};
use offramp_core::vf::VfRef;
use offramp_kernel::Netns;
use offramp_kernel::counters::{self, Counted};
use offramp_kernel::ethtool::Ethtool;
use offramp_kernel::netlink::Socket;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What was read of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// As the pod sees them.
    pub bytes: Bytes,
    /// What of it the node's CPU moved; none: nobody counts that.
    pub cpu: Option<Bytes>,
    /// Queues to receive and to send; none: not known.
    pub queues: Option<(u32, u32)>,
}

/// Reads in the node's network namespace, and from there in pods'.
#[derive(Default)]
pub struct Reader {
    with_queues: bool,
    host: Option<Socket>,
    links: Option<HashMap<String, Counted>>,
    pfs: BTreeMap<IfName, Result<BTreeMap<u16, Bytes>, String>>,
}

impl Reader {
    /// One that asks the drivers for numbers of queues too.
    pub fn with_queues() -> Self {
        Self { with_queues: true, ..Self::default() }
    }

    /// One that has read all links of the node at once, for a look at many interfaces.
    pub fn of_all_links() -> offramp_kernel::Result<Self> {
        let mut host = Socket::open()?;
        let links = counters::list(&mut host)?.into_iter().map(|c| (c.link.name.clone(), c)).collect();
        Ok(Self { host: Some(host), links: Some(links), ..Self::default() })
    }

    /// What an interface has moved, or why that is not known.
    pub fn read(&mut self, metered: &Metered, pod: &NetnsRef) -> Result<Reading, String> {
        match &metered.meter {
            Meter::HostEnd { link, mac } => {
                let found = self.link(link)?.filter(|c| c.link.is_host_end(*mac));
                let found = found.ok_or_else(|| format!("{link}, the node's end of it, is gone"))?;
                let bytes = found.bytes.from_the_other_end();
                let queues = if self.with_queues { queues(Ethtool::open(), &found) } else { None };
                Ok(Reading { bytes, cpu: Some(bytes), queues })
            }
            Meter::Netdev { vf, representor } => {
                let (netns, found) = in_pod(metered, vf, pod)?;
                let queues =
                    if self.with_queues { queues(netns.inside(Ethtool::open), &found) } else { None };
                let cpu = self.over_cpu(representor.as_ref())?;
                Ok(Reading { bytes: found.bytes, cpu, queues })
            }
            Meter::Function { vf, representor } => {
                let bytes = self.of_vf(vf)?;
                let cpu = self.over_cpu(representor.as_ref())?;
                Ok(Reading { bytes, cpu, queues: None })
            }
        }
    }

    /// A VF in legacy mode leads to the wire or to another port of the NIC. A representor's is forwarded by the NIC, or
    /// by the CPU behind it.
    fn over_cpu(&mut self, representor: Option<&IfName>) -> Result<Option<Bytes>, String> {
        let Some(name) = representor else { return Ok(Some(Bytes::default())) };
        let Some(found) = self.link(name)? else { return Ok(None) };
        let hits = counters::cpu_hits(self.host()?, &found.link).map_err(|e| e.to_string())?;
        Ok(hits.map(Bytes::from_the_other_end))
    }

    /// For a VF that no netdev counts for. Since the VF was made: earlier users' bytes are in it.
    fn of_vf(&mut self, vf: &VfRef) -> Result<Bytes, String> {
        if !self.pfs.contains_key(&vf.pf) {
            let read = counters::of_vfs(self.host()?, &vf.pf).map_err(|e| e.to_string());
            self.pfs.insert(vf.pf.clone(), read);
        }
        let counted = match self.pfs.get(&vf.pf) {
            Some(Ok(counted)) => counted.get(&vf.index).copied(),
            Some(Err(why)) => return Err(why.clone()),
            None => None,
        };
        counted.ok_or_else(|| {
            format!("userspace has the VF, and the driver of {} counts nothing of its VFs", vf.pf)
        })
    }

    fn link(&mut self, name: &IfName) -> Result<Option<Counted>, String> {
        match &self.links {
            Some(links) => Ok(links.get(name.as_str()).cloned()),
            None => counters::find(self.host()?, name).map_err(|e| e.to_string()),
        }
    }

    fn host(&mut self) -> Result<&mut Socket, String> {
        match &mut self.host {
            Some(socket) => Ok(socket),
            none => Ok(none.insert(Socket::open().map_err(|e| e.to_string())?)),
        }
    }
}

/// One link is read, by the name that the pod was given: whoever makes many in it, or gives that name to another, is
/// not to fill our memory, nor our counters.
fn in_pod(metered: &Metered, vf: &VfRef, pod: &NetnsRef) -> Result<(Netns, Counted), String> {
    let netns = Netns::open(&pod.path).map_err(|e| e.to_string())?;
    if netns.inode() != pod.inode {
        return Err(format!("{} is another pod's by now", pod.path.display()));
    }
    let mut socket = Socket::open_in(&netns).map_err(|e| e.to_string())?;
    let found = counters::find(&mut socket, &metered.ifname).map_err(|e| e.to_string())?;
    let pci = vf.pci.to_string();
    let is_it = |c: &Counted| c.link.parent.as_ref().is_some_and(|p| p.device == pci);
    let found = found.filter(is_it);
    let found = found.ok_or_else(|| format!("{}, the netdev of {vf}, is not in the pod", metered.ifname))?;
    Ok((netns, found))
}

/// What a VF's netdev has counted, if it is in this namespace.
pub fn netdev_bytes(sysfs: &Path, vf: PciAddr) -> Option<Bytes> {
    let netdevs = std::fs::read_dir(sysfs.join("bus/pci/devices").join(vf.to_string()).join("net"));
    let counters = netdevs.ok()?.flatten().next()?.path().join("statistics");
    let count = |name: &str| std::fs::read_to_string(counters.join(name)).ok()?.trim().parse().ok();
    Some(Bytes { rx: count("rx_bytes")?, tx: count("tx_bytes")? })
}

/// What its driver says, or with how many it was made.
fn queues(ethtool: offramp_kernel::Result<Option<Ethtool>>, counted: &Counted) -> Option<(u32, u32)> {
    let told = ethtool.ok()??.channels(&counted.link.name.parse().ok()?).ok()?;
    Some(told.map_or(counted.queues, |c| (c.rx + c.combined, c.tx + c.combined)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_netdev_on_the_node_tells_where_its_counters_stand() {
        let sysfs = tempfile::tempdir().unwrap();
        let vf: PciAddr = "0000:01:10.0".parse().unwrap();
        assert_eq!(netdev_bytes(sysfs.path(), vf), None);
        let counters = sysfs.path().join("bus/pci/devices/0000:01:10.0/net/nic0v0/statistics");
        std::fs::create_dir_all(&counters).unwrap();
        for (name, value) in [("rx_bytes", "1000\n"), ("tx_bytes", "500\n")] {
            std::fs::write(counters.join(name), value).unwrap();
        }
        assert_eq!(netdev_bytes(sysfs.path(), vf), Some(Bytes { rx: 1000, tx: 500 }));
    }
}
