//! One VF by its PCI address: all that a plugin needs without a daemon.

use super::device::{Device, Sysfs};
use crate::switchdev::PortName;
use crate::{Error, Result};
use offramp_core::ids::IfName;
use offramp_core::nic::{PciAddr, PortKey, Vf, VfNetdev};
use offramp_core::vf::VfRef;

/// Drivers that give a device to userspace, beside those with vfio in their names.
const USERSPACE_DRIVERS: [&str; 3] = ["uio_pci_generic", "igb_uio", "pci-stub"];

/// A VF, and what plans and claims call it.
///
/// # Errors
/// [`Error::Missing`] if there is no such device, [`Error::Unfit`] if it is no VF or its PF's link is not in the
/// namespace of this sysfs.
pub fn read_vf(sysfs: &Sysfs, pci: PciAddr) -> Result<(VfRef, Vf)> {
    let device = sysfs.pci(pci).ok_or_else(|| Error::Missing { what: format!("PCI device {pci}") })?;
    let unfit = |why: String| Error::Unfit { what: format!("PCI device {pci}"), why };
    let function = device.other("physfn").ok_or_else(|| unfit("it is not a VF: it has no physfn".into()))?;
    let mut numbered = function.vfs().into_iter();
    let (index, _) = numbered
        .find(|(_, vf)| vf.name() == device.name())
        .ok_or_else(|| unfit(format!("its PF {} has no virtfn that leads to it", function.name())))?;
    let links = function.links();
    let (number, pf) = ports(&links)
        .into_iter()
        .next()
        .ok_or_else(|| unfit(format!("its PF {} has no link in this namespace", function.name())))?;
    let representor = links.iter().find(|link| port_name(link) == PortName::Vf(index)).and_then(named);
    let netdev = device.links().first().and_then(named);
    let port = PortKey { device: function.name(), port: number };
    let vf =
        describe(&device, index, netdev, representor).ok_or_else(|| unfit("it has no PCI address".into()))?;
    Ok((VfRef { pci, port, pf, index }, vf))
}

/// Where a VF's netdev is, and nothing else: a fifth of what [`read_vf`] reads.
///
/// # Errors
/// [`Error::Missing`] if there is no such device.
pub fn vf_netdev(sysfs: &Sysfs, pci: PciAddr) -> Result<VfNetdev> {
    let device = sysfs.pci(pci).ok_or_else(|| Error::Missing { what: format!("PCI device {pci}") })?;
    Ok(whereabouts(device.links().first().and_then(named), device.driver().as_deref()))
}

fn whereabouts(netdev: Option<IfName>, driver: Option<&str>) -> VfNetdev {
    let userspace = |driver: &str| driver.contains("vfio") || USERSPACE_DRIVERS.contains(&driver);
    match (netdev, driver) {
        (Some(name), _) => VfNetdev::Host { name },
        (None, Some(driver)) if !userspace(driver) => VfNetdev::Elsewhere { netns: None, name: None },
        (None, _) => VfNetdev::None,
    }
}

fn named(link: &Device) -> Option<IfName> {
    link.name().parse().ok()
}

fn port_name(link: &Device) -> PortName {
    PortName::parse(link.text("phys_port_name").as_deref())
}

/// The ports among a device's links in sysfs, with their numbers.
pub(crate) fn ports(links: &[Device]) -> Vec<(u32, IfName)> {
    numbers(links.iter().filter_map(|link| Candidate::of(named(link)?, port_name(link), link)).collect())
}

/// A VF; none if its device is no PCI function.
pub(crate) fn describe(
    device: &Device,
    index: u16,
    netdev: Option<IfName>,
    representor: Option<IfName>,
) -> Option<Vf> {
    let driver = device.driver();
    let netdev = whereabouts(netdev, driver.as_deref());
    Some(Vf {
        index,
        pci: device.name().parse().ok()?,
        id: device.id(),
        driver,
        netdev,
        iommu_group: device.link("iommu_group").and_then(|group| group.parse().ok()),
        representor,
    })
}

/// A link that may be a port of its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) name: IfName,
    dev_port: u32,
    port_name: Option<u32>,
}

impl Candidate {
    /// `folder` is the link's in sysfs. None if it is a representor.
    pub(crate) fn of(name: IfName, port_name: PortName, folder: &Device) -> Option<Self> {
        let PortName::Physical(port_name) = port_name else { return None };
        Some(Self { name, dev_port: folder.number("dev_port").unwrap_or_default(), port_name })
    }
}

/// Ports by their numbers: `dev_port`; where a driver leaves that at 0 for all, the N of `phys_port_name` pN, or else
/// the order of the names. The first is the one that a device's VFs are listed with: no driver tells more in sysfs.
pub(crate) fn numbers(mut candidates: Vec<Candidate>) -> Vec<(u32, IfName)> {
    candidates.sort_by(|a, b| a.name.cmp(&b.name));
    let distinct = |numbers: &[Option<u32>]| {
        let mut sorted: Vec<_> = numbers.iter().flatten().collect();
        sorted.sort();
        sorted.dedup();
        sorted.len() == numbers.len()
    };
    let by_dev_port: Vec<_> = candidates.iter().map(|c| Some(c.dev_port)).collect();
    let by_name: Vec<_> = candidates.iter().map(|c| c.port_name).collect();
    let numbers = [by_dev_port, by_name].into_iter().find(|numbers| distinct(numbers));
    let numbers = numbers.unwrap_or_else(|| (0..).map(Some).take(candidates.len()).collect());
    let mut ports: Vec<_> =
        numbers.into_iter().flatten().zip(candidates.into_iter().map(|c| c.name)).collect();
    ports.sort();
    ports
}
