//! What links leave to their hardware.

use super::text;
use offramp_core::doctor::Look;
use offramp_core::ids::IfName;
use offramp_core::nic::Inventory;
use offramp_core::offload::Device;
use offramp_kernel::link;
use offramp_kernel::netlink::Socket;
use offramp_kernel::offload::{Reader, wanted};
use offramp_kernel::sysfs::{Sysfs, online_cpus};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Of these links, of NICs' ports and of what is on these, as far as they are there: what the daemon looks at too.
pub fn read(links: &[String], inventory: Option<&Inventory>) -> Look<BTreeMap<IfName, Device>> {
    let ports: BTreeSet<&IfName> = inventory.into_iter().flat_map(|i| &i.ports).map(|p| &p.netdev).collect();
    let names: Vec<IfName> = links.iter().filter_map(|l| l.parse().ok()).collect();
    let all = Socket::open().and_then(|mut socket| link::list(&mut socket)).map_err(text)?;
    let mut reader = Reader::open().map_err(text)?;
    reader.devices(&wanted(&all, &ports, &names)).map_err(text)
}

/// How many CPUs are online.
pub fn cpus(sysfs: &Path) -> Look<usize> {
    online_cpus(&Sysfs::at(sysfs)).map(|cpus| cpus as usize).map_err(text)
}
