//! What links leave to their hardware.

use super::text;
use offramp_core::doctor::Look;
use offramp_core::ids::IfName;
use offramp_core::nic::Inventory;
use offramp_core::offload::Device;
use offramp_kernel::offload::Reader;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Of these links, and of NICs' ports, as far as they are there.
pub fn read(links: &[String], inventory: Option<&Inventory>) -> Look<BTreeMap<IfName, Device>> {
    let ports = inventory.into_iter().flat_map(|i| &i.ports).map(|port| port.netdev.clone());
    let names: BTreeSet<IfName> = links.iter().filter_map(|l| l.parse().ok()).chain(ports).collect();
    let mut reader = Reader::open().map_err(text)?;
    let mut devices = BTreeMap::new();
    for name in names {
        let device = reader.device(&name, "link").map_err(text)?;
        devices.extend(device.map(|device| (name, device)));
    }
    Ok(devices)
}

/// How many CPUs are online: not those that this process may use.
pub fn cpus(sysfs: &Path) -> Look<usize> {
    let path = sysfs.join("devices/system/cpu/online");
    let list = std::fs::read_to_string(&path).map_err(|e| format!("read {}: {e}", path.display()))?;
    count(list.trim()).ok_or_else(|| format!("{} reads {list:?}", path.display()))
}

/// Of a list such as `0-3,8`.
fn count(list: &str) -> Option<usize> {
    let one = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.checked_sub(first)? + 1)
    };
    list.split(',').map(one).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn cpus_are_counted() {
        let counted = ["0", "0-3", "0-3,8,10-11", "", "3-1"].map(super::count);
        assert_eq!(counted, [Some(1), Some(4), Some(7), None, None]);
    }
}
