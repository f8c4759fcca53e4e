//! What sysfs tells of a VF and its PF.

use super::Host;
use crate::sysfs::{Device, ports};
use crate::{Error, Result};
use offramp_core::ids::IfName;
use offramp_core::nic::{PciAddr, PortKey};
use offramp_core::vf::VfRef;

/// A PF's netdev.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pf {
    /// Its name now.
    pub name: IfName,
    /// Its number.
    pub index: u32,
}

impl Host<'_> {
    /// The device; an error if it is gone.
    pub(crate) fn device(&self, pci: PciAddr) -> Result<Device> {
        self.sysfs.pci(pci).ok_or_else(|| Error::Missing { what: format!("PCI device {pci}") })
    }

    /// The driver that the device is bound to.
    pub fn driver(&self, pci: PciAddr) -> Result<Option<String>> {
        Ok(self.device(pci)?.driver())
    }

    /// The only driver that the device may be bound to; none: any that fits.
    pub fn driver_override(&self, pci: PciAddr) -> Result<Option<String>> {
        // driver_override_show, drivers/base/driver.c, and before it each bus, print a null pointer so.
        let named = |text: &String| !text.is_empty() && text != "(null)";
        Ok(self.device(pci)?.text("driver_override").filter(named))
    }

    /// The device's IOMMU group.
    pub fn iommu_group(&self, pci: PciAddr) -> Result<Option<u32>> {
        Ok(self.device(pci)?.link("iommu_group").and_then(|group| group.parse().ok()))
    }

    /// Whether the link says that it is the device's.
    pub(crate) fn owns(&self, pci: PciAddr, link: &crate::link::Link) -> Result<bool> {
        let names = self.device(pci)?.link_parents();
        Ok(link.parent.as_ref().is_some_and(|parent| names.contains(&parent.device)))
    }

    /// The device's netdev in the namespace of this sysfs.
    pub(crate) fn netdev(&self, pci: PciAddr) -> Result<Option<Pf>> {
        Ok(self.device(pci)?.links().iter().find_map(netdev))
    }

    /// The netdev of a VF's PF, by the port's key: `pf` in a [`VfRef`] may have been renamed since. That the VF still
    /// has this number there is checked too: VFs that are made anew are counted anew.
    pub fn pf(&self, vf: &VfRef) -> Result<Pf> {
        let port = self.port_device(&vf.port)?;
        let is = port.link(&format!("virtfn{}", vf.index));
        if is.as_deref() != Some(vf.pci.to_string().as_str()) {
            let now = is.map_or_else(|| "there is no such VF".to_owned(), |pci| format!("it is {pci} now"));
            return Err(Error::Unfit { what: vf.to_string(), why: now });
        }
        let links = port.links();
        let name =
            ports(&links).into_iter().find(|(number, _)| *number == vf.port.port).map(|(_, name)| name);
        let link = name.and_then(|name| links.iter().find(|link| link.name() == name.as_str()));
        link.and_then(netdev)
            .ok_or_else(|| Error::Missing { what: format!("the netdev of port {}", vf.port) })
    }

    fn port_device(&self, key: &PortKey) -> Result<Device> {
        let device = key.device.parse().ok().and_then(|pci| self.sysfs.pci(pci));
        device.ok_or_else(|| Error::Missing { what: format!("PCI device {}", key.device) })
    }
}

/// One that is just being renamed or removed is none.
fn netdev(link: &Device) -> Option<Pf> {
    Some(Pf { name: link.name().parse().ok()?, index: link.number("ifindex")? })
}
