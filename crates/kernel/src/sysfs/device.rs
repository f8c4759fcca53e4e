//! Devices in sysfs (Documentation/ABI/testing/sysfs-bus-pci, sysfs-class-net).

use crate::link::Parent;
use offramp_core::nic::{PciAddr, PciId};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where sysfs is mounted. It shows the links of the network namespace that it was mounted in, and all devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysfs {
    root: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self::at("/sys")
    }
}

impl Sysfs {
    /// Mounted there.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A path below it.
    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join(below)
    }

    /// A device of a bus; none if it is not there.
    pub(crate) fn device(&self, device: &Parent) -> Option<Device> {
        self.on_bus(&device.bus, &device.device)
    }

    /// A PCI function.
    pub(crate) fn pci(&self, pci: PciAddr) -> Option<Device> {
        self.on_bus("pci", &pci.to_string())
    }

    fn on_bus(&self, bus: &str, name: &str) -> Option<Device> {
        follow(self.path("bus").join(bus).join("devices").join(name)).map(|path| Device { path })
    }
}

/// A device's folder. What cannot be read counts as absent: devices go while one looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    path: PathBuf,
}

impl Device {
    /// The device, or anything else, whose folder this is.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { path: folder.to_owned() }
    }

    pub(crate) fn path(&self, file: impl AsRef<Path>) -> PathBuf {
        self.path.join(file)
    }

    /// Its name on its bus.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// An attribute.
    pub(crate) fn text(&self, file: impl AsRef<Path>) -> Option<String> {
        std::fs::read_to_string(self.path(file)).ok().map(|text| text.trim().to_owned())
    }

    /// An attribute that is a decimal number; what does not fit its type (-1) is none.
    pub(crate) fn number<T: FromStr>(&self, file: impl AsRef<Path>) -> Option<T> {
        self.text(file)?.parse().ok()
    }

    /// What a symbolic link leads to, the last part of it.
    pub(crate) fn link(&self, name: &str) -> Option<String> {
        let target = std::fs::read_link(self.path(name)).ok()?;
        target.file_name().map(|name| name.to_string_lossy().into_owned())
    }

    /// The device that a symbolic link leads to.
    pub(crate) fn other(&self, link: &str) -> Option<Self> {
        follow(self.path(link)).map(|path| Self { path })
    }

    pub(crate) fn driver(&self) -> Option<String> {
        self.link("driver")
    }

    pub(crate) fn id(&self) -> Option<PciId> {
        let part = |file| u16::from_str_radix(self.text(file)?.strip_prefix("0x")?, 16).ok();
        Some(PciId { vendor: part("vendor")?, device: part("device")? })
    }

    /// Its VFs with their numbers, in the order of these. Their addresses follow no rule that holds for all (ARI,
    /// stride), so `virtfnN` is asked.
    pub(crate) fn vfs(&self) -> Vec<(u16, Self)> {
        let mut vfs: Vec<(u16, Self)> = entries(&self.path)
            .iter()
            .filter_map(|name| Some((name.strip_prefix("virtfn")?.parse().ok()?, self.other(name)?)))
            .collect();
        vfs.sort_by_key(|(number, _)| *number);
        vfs
    }

    /// How many VFs it has; none: it has no SR-IOV. Of a PCI function its VFs are counted: to read `sriov_numvfs`
    /// waits for whoever writes it (`sriov_numvfs_show`, drivers/pci/iov.c), who may hang.
    pub(crate) fn num_vfs(&self) -> Option<u16> {
        if self.link("subsystem").as_deref() != Some("pci") {
            return self.number("sriov_numvfs");
        }
        self.number::<u16>("sriov_totalvfs")?;
        u16::try_from(self.vfs().len()).ok()
    }

    /// The device of the function's own kind: a virtio device is the only child of its PCI function.
    pub(crate) fn function(self) -> Self {
        match (self.link("subsystem").as_deref(), self.path.parent()) {
            (Some("virtio"), Some(parent)) => Self { path: parent.to_owned() },
            _ => self,
        }
    }

    /// The device and its children that may have links in its stead. Only virtio's have such: to list a device's folder
    /// for nothing takes longer than all else that is read of it.
    fn link_devices(&self) -> Vec<Self> {
        let virtio = |name: &String| name.strip_prefix("virtio").is_some_and(|n| n.parse::<u32>().is_ok());
        let is_virtio = self.driver().as_deref() == Some("virtio-pci");
        let names = if is_virtio { entries(&self.path) } else { Vec::new() };
        let children = names.into_iter().filter(virtio).map(|name| Self { path: self.path(name) });
        std::iter::once(self.clone()).chain(children).collect()
    }

    /// Whom its links name as parent (`IFLA_PARENT_DEV_NAME`).
    pub(crate) fn link_parents(&self) -> Vec<String> {
        self.link_devices().iter().map(Self::name).collect()
    }

    /// The folders of its links in the namespace that sysfs was mounted in, sorted.
    pub(crate) fn links(&self) -> Vec<Self> {
        let folders = self.link_devices().into_iter().map(|device| device.path("net"));
        folders
            .flat_map(|net| entries(&net).into_iter().map(move |name| Self { path: net.join(name) }))
            .collect()
    }
}

/// The folder that a symbolic link leads to, under its own name. Only the last link is followed: to have all of a path
/// resolved takes a system call for each part of it, ten for a VF.
fn follow(link: PathBuf) -> Option<PathBuf> {
    match std::fs::read_link(&link) {
        Ok(target) => Some(link.parent()?.join(target)),
        Err(_) => link.canonicalize().ok(),
    }
}

/// The names in a folder, sorted.
pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
