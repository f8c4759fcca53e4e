//! What links leave to their hardware.

use super::text;
use offramp_core::doctor::Look;
use offramp_core::ids::IfName;
use offramp_core::nic::Inventory;
use offramp_core::offload::Device;
use offramp_kernel::offload::Reader;
use offramp_kernel::sysfs::{Sysfs, online_cpus};
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

/// How many CPUs are online.
pub fn cpus(sysfs: &Path) -> Look<usize> {
    online_cpus(&Sysfs::at(sysfs)).map(|cpus| cpus as usize).map_err(text)
}
