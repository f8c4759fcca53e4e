//! What a VF's netdev does for the host itself, which would end if a pod got it.

use super::Host;
use crate::netlink::Socket;
use crate::sysfs::{Device, entries};
use crate::{Result, addr};
use offramp_core::nic::PciAddr;

/// What the host uses the VF for, such as `10.0.0.5/24 on eth0` or `eth0 is below br0`; none if nothing is known.
pub fn host_use(host: &Host<'_>, pci: PciAddr) -> Result<Option<String>> {
    let device = host.device(pci)?;
    let Some(netdev) = host.netdev(pci)? else { return Ok(None) };
    let folder = device.links().into_iter().find(|link| link.name() == netdev.name.as_str());
    if let Some(upper) = folder.and_then(|folder| upper(&folder)) {
        return Ok(Some(format!("{} is below {upper}", netdev.name)));
    }
    let given = addr::given(&mut Socket::open()?, netdev.index)?;
    Ok(given.first().map(|ip| format!("{ip} is on {}", netdev.name)))
}

/// Bridges, bonds, VLANs and the like that are made of the link (Documentation/ABI/testing/sysfs-class-net).
fn upper(link: &Device) -> Option<String> {
    entries(&link.path("")).into_iter().find_map(|name| name.strip_prefix("upper_").map(str::to_owned))
}
