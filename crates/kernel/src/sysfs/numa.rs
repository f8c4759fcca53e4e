//! CPUs, and the NUMA nodes that they are on.

use super::Sysfs;
use super::device::entries;
use crate::{Error, Result};
use offramp_core::nic::PciAddr;
use std::collections::BTreeSet;

/// The nodes that these CPUs are on; what sysfs does not tell is left out.
pub fn numa_nodes(sysfs: &Sysfs, cpus: &BTreeSet<u32>) -> BTreeSet<u32> {
    let nodes = sysfs.path("devices/system/node");
    let has_one = |node: &u32| {
        let list = std::fs::read_to_string(nodes.join(format!("node{node}/cpulist"))).unwrap_or_default();
        ranges(&list).any(|(first, last)| cpus.range(first..=last.max(first)).next().is_some())
    };
    let numbers = entries(&nodes).into_iter().filter_map(|name| name.strip_prefix("node")?.parse().ok());
    numbers.filter(has_one).collect()
}

/// The node that a device is on; none: it is on none, or the machine has but one.
pub fn numa_node(sysfs: &Sysfs, pci: PciAddr) -> Option<u32> {
    sysfs.pci(pci)?.number("numa_node")
}

/// How many CPUs are online: not those that this process may use.
pub fn online_cpus(sysfs: &Sysfs) -> Result<u32> {
    let path = sysfs.path("devices/system/cpu/online");
    let what = || format!("read {}", path.display());
    let list = std::fs::read_to_string(&path).map_err(|e| Error::io(what(), &e))?;
    let cpus = ranges(&list).map(|(first, last)| last.checked_sub(first).map_or(0, |more| more + 1)).sum();
    if cpus == 0 { Err(Error::Decode { what: what(), why: format!("it reads {list:?}") }) } else { Ok(cpus) }
}

/// `0-3,8` (Documentation/admin-guide/cputopology.rst).
fn ranges(list: &str) -> impl Iterator<Item = (u32, u32)> + '_ {
    list.trim().split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let cpu = dir.path().join("devices/system/cpu");
        std::fs::create_dir_all(&cpu).unwrap();
        let counted = ["0\n", "0-3\n", "0-3,8,10-11\n", "", "3-1\n"].map(|list| {
            std::fs::write(cpu.join("online"), list).unwrap();
            online_cpus(&Sysfs::at(dir.path())).ok()
        });
        assert_eq!(counted, [Some(1), Some(4), Some(7), None, None]);
    }

    #[test]
    fn cpus_are_found_on_their_nodes() {
        let root = tempfile::tempdir().unwrap();
        for (node, list) in [(0, "0-3,8-11\n"), (1, "4-7,12\n"), (2, "\n")] {
            let dir = root.path().join(format!("devices/system/node/node{node}"));
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("cpulist"), list).unwrap();
        }
        let sysfs = Sysfs::at(root.path());
        let of = |cpus: &[u32]| numa_nodes(&sysfs, &cpus.iter().copied().collect());
        assert_eq!(of(&[3, 9]), [0].into());
        assert_eq!(of(&[2, 12]), [0, 1].into());
        assert!(of(&[99]).is_empty() && of(&[]).is_empty());
        assert!(numa_nodes(&Sysfs::at("/nowhere"), &[0].into()).is_empty());
    }
}
