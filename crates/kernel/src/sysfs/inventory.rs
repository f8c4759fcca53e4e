//! The inventory: facts are gathered first, then put together without any further look at the kernel but sysfs.

use super::device::{Device, Sysfs};
use super::locate::{Places, locate};
use super::vf::{Candidate, describe, numbers};
use crate::link::{Link, Parent};
use crate::netlink::Socket;
use crate::switchdev::{PortName, representors};
use crate::{Netns, Result, devlink, link};
use offramp_core::ids::IfName;
use offramp_core::nic::{Eswitch, Inventory, Port, PortKey, Vf, VfNetdev};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What netlink tells.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// All links of the host's namespace.
    pub links: Vec<Link>,
    /// The modes of embedded switches.
    pub eswitch: BTreeMap<Parent, Eswitch>,
}

impl Facts {
    /// Of the calling thread's namespace.
    pub fn gather() -> Result<Self> {
        Ok(Self { links: link::list(&mut Socket::open()?)?, eswitch: devlink::eswitch_modes()? })
    }
}

/// The node's NICs, with the whereabouts of VFs' netdevs that have left the calling thread's namespace. These are
/// looked for in `hints` first, which are paths of namespaces.
pub fn read(sysfs: &Sysfs, hints: &[PathBuf]) -> Result<Inventory> {
    let mut inventory = assemble(sysfs, &Facts::gather()?);
    let away = |vf: &&mut Vf| matches!(vf.netdev, VfNetdev::Elsewhere { .. });
    let mut vfs: Vec<&mut Vf> = inventory.ports.iter_mut().flat_map(|p| &mut p.vfs).filter(away).collect();
    if vfs.is_empty() {
        return Ok(inventory);
    }
    let wanted: Vec<_> = vfs.iter().map(|vf| vf.pci).collect();
    let home = Netns::current()?.inode();
    let mut found = locate(sysfs, &Places::default(), &wanted, hints)?;
    for vf in &mut vfs {
        let Some(location) = found.remove(&vf.pci) else { continue };
        let name = location.link.name.parse().ok();
        vf.netdev = match name {
            // It came home meanwhile.
            Some(name) if location.netns.inode() == home => VfNetdev::Host { name },
            name => VfNetdev::Elsewhere { netns: Some(location.netns.path().display().to_string()), name },
        };
    }
    Ok(inventory)
}

/// Puts the inventory together.
pub fn assemble(sysfs: &Sysfs, facts: &Facts) -> Inventory {
    let mut functions: BTreeMap<String, Function<'_>> = BTreeMap::new();
    let parents = parents(sysfs, &facts.links);
    for (link, parent) in facts.links.iter().zip(&parents).filter_map(|(l, p)| Some((l, p.as_ref()?))) {
        // Subfunctions sit on the auxiliary bus: they are made of a port, and are none.
        let Some(device) = sysfs.device(parent).filter(|_| parent.bus != "auxiliary") else { continue };
        let folder = device.path("net").join(&link.name);
        let function = device.function();
        let entry = functions.entry(function.name()).or_insert_with(|| Function::new(function, parent));
        entry.links.push((link, folder));
    }
    let host: BTreeMap<String, IfName> = functions
        .iter()
        .filter_map(|(name, f)| Some((name.clone(), f.links.first()?.0.name.parse().ok()?)))
        .collect();
    let mut ports: Vec<Port> = functions
        .values()
        .filter(|f| f.device.other("physfn").is_none())
        .flat_map(|f| f.ports(facts, &host))
        .collect();
    ports.sort_by(|a, b| a.key.cmp(&b.key));
    Inventory { ports }
}

/// The device of each link. Kernels before 5.14 tell of none by netlink, but sysfs knows.
fn parents(sysfs: &Sysfs, links: &[Link]) -> Vec<Option<Parent>> {
    if links.iter().any(|link| link.parent.is_some()) {
        return links.iter().map(|link| link.parent.clone()).collect();
    }
    let told = |link: &Link| {
        let device = Device::at(&sysfs.path("class/net").join(&link.name)).other("device")?;
        Some(Parent { bus: device.link("subsystem")?, device: device.name() })
    };
    links.iter().map(told).collect()
}

/// A device that has links.
struct Function<'a> {
    device: Device,
    parent: &'a Parent,
    /// With their folders.
    links: Vec<(&'a Link, PathBuf)>,
}

impl<'a> Function<'a> {
    fn new(device: Device, parent: &'a Parent) -> Self {
        Self { device, parent, links: Vec::new() }
    }

    /// `host` has the links of VFs by the names of their devices.
    fn ports(&self, facts: &Facts, host: &BTreeMap<String, IfName>) -> Vec<Port> {
        let candidates = self.links.iter().filter_map(|(link, folder)| {
            let port_name = PortName::parse(link.port_name.as_deref());
            Candidate::of(link.name.parse().ok()?, port_name, &Device::at(folder))
        });
        let mut vfs = self.vfs(facts, host);
        let ports = numbers(candidates.collect()).into_iter().filter_map(|(port, netdev)| {
            let (link, folder) = self.links.iter().find(|(link, _)| link.name == netdev.as_str())?;
            let key = PortKey { device: self.device.name(), port };
            Some(self.port(facts, key, netdev, link, &Device::at(folder), std::mem::take(&mut vfs)))
        });
        ports.collect()
    }

    fn port(
        &self,
        facts: &Facts,
        key: PortKey,
        netdev: IfName,
        link: &Link,
        folder: &Device,
        vfs: Vec<Vf>,
    ) -> Port {
        let controller = |index| facts.links.iter().find(|l| l.index == index)?.name.parse().ok();
        let mac: Option<[u8; 6]> = link.mac.as_slice().try_into().ok();
        Port {
            key,
            netdev,
            ifindex: link.index,
            mac: mac.and_then(|octets| octets.try_into().ok()),
            driver: self.device.driver().unwrap_or_default(),
            id: self.device.id(),
            // -1 without link, and 0 from drivers that do not know.
            speed_mbps: folder.number("speed").filter(|speed| *speed > 0),
            numa: self.device.number("numa_node"),
            up: link.up,
            carrier: link.carrier,
            mtu: link.mtu,
            controller: link.controller.and_then(controller),
            total_vfs: self.device.number("sriov_totalvfs").unwrap_or_default(),
            num_vfs: self.device.num_vfs().unwrap_or_default(),
            eswitch: facts.eswitch.get(self.parent).copied().unwrap_or_default(),
            switch_id: link.switch_id.clone(),
            vfs,
        }
    }

    fn vfs(&self, facts: &Facts, host: &BTreeMap<String, IfName>) -> Vec<Vf> {
        let representors: BTreeMap<u16, IfName> = representors(&facts.links, self.parent).collect();
        let vfs = self.device.vfs().into_iter().filter_map(|(index, device)| {
            let netdev = host.get(&device.name()).cloned();
            describe(&device, index, netdev, representors.get(&index).cloned())
        });
        vfs.collect()
    }
}
