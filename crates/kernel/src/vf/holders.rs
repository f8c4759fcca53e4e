//! Who holds a vfio device open. To unbind its driver would wait in the kernel until they let go.

use super::Host;
use crate::Result;
use crate::sysfs::entries;
use nix::sys::stat::{major, makedev, minor};
use offramp_core::nic::PciAddr;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub comm: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.comm)
    }
}

/// The processes that have the device's vfio files open: of its group, `/dev/vfio/N`, and of itself,
/// `/dev/vfio/devices/vfioN` (Documentation/driver-api/vfio.rst), whatever they call them.
pub fn holders(host: &Host<'_>, pci: PciAddr) -> Result<Vec<Holder>> {
    let files = files(host, pci)?;
    let mut holders = Vec::new();
    if files.is_empty() {
        return Ok(holders);
    }
    for name in entries(&host.places.proc) {
        let Ok(pid) = name.parse() else { continue };
        let process = host.places.proc.join(name);
        if holds(&process, &files, pci) {
            let comm = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
            holders.push(Holder { pid, comm: comm.trim().to_owned() });
        }
    }
    Ok(holders)
}

/// The device numbers of the vfio files.
fn files(host: &Host<'_>, pci: PciAddr) -> Result<Vec<u64>> {
    let device = host.device(pci)?;
    let group = host.iommu_group(pci)?.map(|group| host.sysfs.path(format!("class/vfio/{group}/dev")));
    let own = device.path("vfio-dev");
    let own = entries(&own).into_iter().map(|name| own.join(name).join("dev"));
    Ok(group.into_iter().chain(own).filter_map(|file| device_number(device.text(file)?.as_str())).collect())
}

/// `MAJOR:MINOR`
fn device_number(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
}

/// A process that ends meanwhile holds nothing.
fn holds(process: &Path, files: &[u64], pci: PciAddr) -> bool {
    let descriptors = process.join("fd");
    entries(&descriptors).iter().any(|fd| {
        let path = descriptors.join(fd);
        match std::fs::read_link(&path) {
            Ok(to) if to.starts_with("/") => {
                std::fs::metadata(&path).is_ok_and(|m| files.contains(&same(m.rdev())))
            }
            // Opened by the group, which may be closed since; newer kernels tell of what.
            Ok(to) if to.as_os_str() == "anon_inode:[vfio-device]" => {
                let told = std::fs::read_to_string(process.join("fdinfo").join(fd)).unwrap_or_default();
                told.lines().any(|line| line.ends_with(&format!("/{pci}")))
            }
            _ => false,
        }
    })
}

/// In the form that [`device_number`] has.
fn same(rdev: u64) -> u64 {
    makedev(major(rdev), minor(rdev))
}
