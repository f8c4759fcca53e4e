//! Trees as sysfs shows them, captured from an Intel 82576 (igb) and shortened, built up in a temporary folder.

use super::inventory::{Facts, assemble};
use super::{Sysfs, read_vf};
use crate::link::{Link, Parent};
use offramp_core::nic::{Inventory, PciAddr, Vf};
use std::fs::{create_dir_all, write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The folder of all devices.
const BRIDGE: &str = "devices/pci0000:00/0000:00:05.0";

/// A machine.
pub struct Machine {
    root: tempfile::TempDir,
    pub facts: Facts,
}

impl Machine {
    pub fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), facts: Facts::default() }
    }

    pub fn sysfs(&self) -> Sysfs {
        Sysfs::at(self.root.path())
    }

    pub fn inventory(&self) -> Inventory {
        assemble(&self.sysfs(), &self.facts)
    }

    /// A device of a bus with a driver and attributes.
    pub fn device(&self, bus: &str, name: &str, driver: &str, attributes: &[(&str, &str)]) -> Device<'_> {
        let path = self.root.path().join(BRIDGE).join(name);
        self.device_at(path, bus, name, driver, attributes)
    }

    /// As [`Machine::device`], in another folder.
    pub fn device_at(
        &self,
        path: PathBuf,
        bus: &str,
        name: &str,
        driver: &str,
        attributes: &[(&str, &str)],
    ) -> Device<'_> {
        let devices = self.root.path().join("bus").join(bus).join("devices");
        create_dir_all(&path).unwrap();
        create_dir_all(&devices).unwrap();
        symlink(&path, devices.join(name)).unwrap();
        symlink(self.root.path().join("bus").join(bus), path.join("subsystem")).unwrap();
        if !driver.is_empty() {
            symlink(self.root.path().join("bus").join(bus).join("drivers").join(driver), path.join("driver"))
                .unwrap();
        }
        for (file, value) in attributes {
            write(path.join(file), format!("{value}\n")).unwrap();
        }
        Device { machine: self, path, bus: bus.into(), name: name.into() }
    }

    /// A PF of the card, which can have 7 VFs.
    pub fn pf(&self, name: &str) -> Device<'_> {
        let attributes = [
            ("vendor", "0x8086"),
            ("device", "0x10c9"),
            ("numa_node", "0"),
            ("sriov_totalvfs", "7"),
            ("sriov_numvfs", "0"),
        ];
        self.device("pci", name, "igb", &attributes)
    }

    /// A VF of a PF, bound to `driver`.
    pub fn vf(&self, pf: &Device<'_>, number: u16, name: &str, driver: &str) -> Device<'_> {
        let vf = self.device("pci", name, driver, &[("vendor", "0x8086"), ("device", "0x10ca")]);
        symlink(&pf.path, vf.path.join("physfn")).unwrap();
        symlink(&vf.path, pf.path.join(format!("virtfn{number}"))).unwrap();
        let count = std::fs::read_dir(&pf.path).unwrap().flatten();
        let count = count.filter(|e| e.file_name().to_string_lossy().starts_with("virtfn")).count();
        write(pf.path.join("sriov_numvfs"), format!("{count}\n")).unwrap();
        vf
    }

    /// A VF in the inventory, which must be what reading it alone says too.
    pub fn both_ways(&self, pci: &str) -> Vf {
        let pci: PciAddr = pci.parse().unwrap();
        let inventory = self.inventory();
        let (port, vf) = inventory.vf(pci).unwrap_or_else(|| panic!("{pci} is not in {inventory:?}"));
        let (name, alone) = read_vf(&self.sysfs(), pci).unwrap();
        assert_eq!(&alone, vf);
        assert_eq!((&name.port, &name.pf, name.index), (&port.key, &port.netdev, vf.index));
        alone
    }
}

/// A device of a machine.
pub struct Device<'a> {
    machine: &'a Machine,
    pub path: PathBuf,
    bus: String,
    name: String,
}

impl Device<'_> {
    pub fn parent(&self) -> Parent {
        Parent { bus: self.bus.clone(), device: self.name.clone() }
    }

    /// A link of the device, for the machine's facts; up, with carrier.
    pub fn link(&self, index: u32, name: &str, attributes: &[(&str, &str)]) -> Link {
        let folder = self.path.join("net").join(name);
        create_dir_all(&folder).unwrap();
        for (file, value) in [("dev_port", "0"), ("speed", "-1")].iter().chain(attributes) {
            write(folder.join(file), format!("{value}\n")).unwrap();
        }
        let told =
            |file| attributes.iter().find(|(name, _)| *name == file).map(|(_, value)| (*value).to_owned());
        Link {
            index,
            name: name.into(),
            mac: vec![2, 0, 0, 0, 0, u8::try_from(index).unwrap()],
            mtu: 1500,
            up: true,
            carrier: true,
            parent: Some(self.parent()),
            port_name: told("phys_port_name"),
            switch_id: told("phys_switch_id"),
            ..Link::default()
        }
    }

    pub fn set(&self, file: &str, value: &str) {
        write(self.path.join(file), format!("{value}\n")).unwrap();
    }

    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.path.join(file)).unwrap();
    }

    pub fn iommu_group(&self, number: u32) {
        let groups = Path::new(BRIDGE).join("iommu_groups").join(number.to_string());
        symlink(self.machine.root.path().join(groups), self.path.join("iommu_group")).unwrap();
    }
}
