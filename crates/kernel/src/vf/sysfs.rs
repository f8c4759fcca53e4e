//! What sysfs tells of a VF and its PF.

use super::Host;
use crate::{Error, Result};
use offramp_core::ids::IfName;
use offramp_core::nic::{PciAddr, PortKey};
use offramp_core::vf::VfRef;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A PF's netdev.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pf {
    /// Its name now.
    pub name: IfName,
    /// Its number.
    pub index: u32,
}

impl Host<'_> {
    /// The device's folder; an error if the device is gone.
    pub(crate) fn device(&self, pci: PciAddr) -> Result<PathBuf> {
        let path = self.sysfs.join("bus/pci/devices").join(pci.to_string());
        match path.try_exists() {
            Ok(true) => Ok(path),
            Ok(false) => Err(Error::Missing { what: format!("PCI device {pci}") }),
            Err(e) => Err(Error::io(format!("look for PCI device {pci}"), &e)),
        }
    }

    /// The driver that the device is bound to.
    pub fn driver(&self, pci: PciAddr) -> Result<Option<String>> {
        link_name(&self.device(pci)?.join("driver"))
    }

    /// The device's IOMMU group.
    pub fn iommu_group(&self, pci: PciAddr) -> Result<Option<u32>> {
        Ok(link_name(&self.device(pci)?.join("iommu_group"))?.and_then(|group| group.parse().ok()))
    }

    /// The names under which links tell of the device (`IFLA_PARENT_DEV_NAME`): a virtio netdev's parent is a device
    /// between it and the PCI function.
    pub(crate) fn parents(&self, pci: PciAddr) -> Result<Vec<String>> {
        let virtio = names_in(&self.device(pci)?)?.into_iter().filter(|name| is_virtio(name));
        Ok(std::iter::once(pci.to_string()).chain(virtio).collect())
    }

    /// The device's netdev in the namespace of this sysfs.
    pub(crate) fn netdev(&self, pci: PciAddr) -> Result<Option<Pf>> {
        let device = self.device(pci)?;
        Ok(netdevs(&device)?.into_iter().next())
    }

    /// The netdev of a VF's PF, by the port's key: `pf` in a [`VfRef`] may have been renamed since. That the VF still
    /// has this number there is checked too: VFs that are made anew are counted anew.
    pub fn pf(&self, vf: &VfRef) -> Result<Pf> {
        let device = self.sysfs.join("bus/pci/devices").join(&vf.port.device);
        let is = link_name(&device.join(format!("virtfn{}", vf.index)))?;
        if is.as_deref() != Some(vf.pci.to_string().as_str()) {
            let now = is.map_or_else(|| "there is no such VF".to_owned(), |pci| format!("it is {pci} now"));
            return Err(Error::Unfit { what: vf.to_string(), why: now });
        }
        self.port(&vf.port)
    }

    /// The netdev of a port.
    pub(crate) fn port(&self, key: &PortKey) -> Result<Pf> {
        for bus in ["pci", "netdevsim"] {
            let device = self.sysfs.join("bus").join(bus).join("devices").join(&key.device);
            for netdev in netdevs(&device)? {
                let attribute = self.sysfs.join("class/net").join(netdev.name.as_str()).join("dev_port");
                if number(&attribute)?.unwrap_or_default() == key.port {
                    return Ok(netdev);
                }
            }
        }
        Err(Error::Missing { what: format!("the netdev of port {key}") })
    }
}

fn is_virtio(name: &str) -> bool {
    name.strip_prefix("virtio").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The netdevs of a device, or of the virtio device on it.
fn netdevs(device: &Path) -> Result<Vec<Pf>> {
    let mut folders = vec![device.join("net")];
    folders.extend(names_in(device)?.iter().filter(|n| is_virtio(n)).map(|n| device.join(n).join("net")));
    let mut all = Vec::new();
    for folder in folders {
        for name in names_in(&folder)? {
            // A netdev that is just being renamed or removed is none.
            if let (Ok(name), Some(index)) = (name.parse(), number(&folder.join(&name).join("ifindex"))?) {
                all.push(Pf { name, index });
            }
        }
    }
    Ok(all)
}

/// A folder's entries, sorted; none if there is no folder.
pub(crate) fn names_in(folder: &Path) -> Result<Vec<String>> {
    let failed = |e: &std::io::Error| Error::io(format!("list {}", folder.display()), e);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(&e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(|e| failed(&e))?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// What a symbolic link leads to, its last part; none if there is no link.
fn link_name(path: &Path) -> Result<Option<String>> {
    match std::fs::read_link(path) {
        Ok(target) => Ok(target.file_name().map(|name| name.to_string_lossy().into_owned())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("read link {}", path.display()), &e)),
    }
}

/// An attribute's text, trimmed; none where the device has no such attribute, or its driver does not tell it.
pub(crate) fn text(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|t| !t.is_empty())),
        Err(e) if untold(&e) => Ok(None),
        Err(e) => Err(Error::io(format!("read {}", path.display()), &e)),
    }
}

fn untold(e: &std::io::Error) -> bool {
    use nix::libc::{EINVAL, ENODEV, EOPNOTSUPP};
    e.kind() == ErrorKind::NotFound || [EOPNOTSUPP, EINVAL, ENODEV].map(Some).contains(&e.raw_os_error())
}

/// An attribute that is a number.
fn number(path: &Path) -> Result<Option<u32>> {
    Ok(text(path)?.and_then(|t| t.parse().ok()))
}
