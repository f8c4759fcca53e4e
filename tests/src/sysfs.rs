//! A tree as sysfs shows it, after an Intel 82576 (igb), for a node in a namespace: its links are veths, which the
//! kernel gives no device.

use crate::node::Node;
use std::fs::{create_dir_all, write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A node's; in its directory.
pub struct Sysfs<'a> {
    node: &'a Node,
    root: PathBuf,
}

impl<'a> Sysfs<'a> {
    /// An empty one.
    pub fn new(node: &'a Node) -> Self {
        Self { node, root: node.dir().join("sys") }
    }

    /// `paths.sysfs`
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The PCI address of a VF of the NIC on a bus.
    pub fn vf(bus: u8, index: u8) -> String {
        format!("0000:{bus:02x}:10.{index}")
    }

    /// A PF `name` on a PCI bus and a NUMA node, with at most 8 VFs, whose netdevs are `name`v0 and on; each is alone in
    /// IOMMU group 10 * bus + its number.
    pub fn nic(&self, name: &str, bus: u8, numa: u32, vfs: u8) {
        let pf = self.device(&format!("0000:{bus:02x}:00.0"), "igb", "0x10c9", numa);
        write(pf.join("sriov_totalvfs"), "8\n").unwrap();
        write(pf.join("sriov_numvfs"), format!("{vfs}\n")).unwrap();
        self.link(name, &pf);
        for index in 0..vfs {
            let vf = self.device(&Self::vf(bus, index), "igbvf", "0x10ca", numa);
            symlink(&pf, vf.join("physfn")).unwrap();
            symlink(&vf, pf.join(format!("virtfn{index}"))).unwrap();
            let group = u32::from(bus) * 10 + u32::from(index);
            symlink(self.root.join(format!("kernel/iommu_groups/{group}")), vf.join("iommu_group")).unwrap();
            self.link(&format!("{name}v{index}"), &vf);
        }
    }

    /// The CPUs of a NUMA node, such as `0-3,8`.
    pub fn cpus(&self, numa: u32, list: &str) {
        let node = self.root.join(format!("devices/system/node/node{numa}"));
        create_dir_all(&node).unwrap();
        write(node.join("cpulist"), format!("{list}\n")).unwrap();
    }

    /// A VF goes, as when somebody lowers `sriov_numvfs`.
    pub fn remove_last_vf(&self, name: &str, bus: u8, index: u8) {
        let devices = self.root.join("bus/pci/devices");
        std::fs::remove_file(devices.join(format!("0000:{bus:02x}:00.0/virtfn{index}"))).unwrap();
        std::fs::remove_file(devices.join(Self::vf(bus, index))).unwrap();
        std::fs::remove_dir_all(self.root.join(format!("class/net/{name}v{index}"))).unwrap();
        // The event comes last, as from a driver.
        self.node.ip(&format!("link del {name}v{index}"));
    }

    /// It comes back.
    pub fn add_last_vf(&self, name: &str, bus: u8, index: u8) {
        let (devices, address) = (self.root.join("bus/pci/devices"), Self::vf(bus, index));
        let vf = self.root.join("devices/pci0000:00").join(&address);
        symlink(&vf, devices.join(&address)).unwrap();
        symlink(&vf, devices.join(format!("0000:{bus:02x}:00.0/virtfn{index}"))).unwrap();
        self.link(&format!("{name}v{index}"), &vf);
    }

    /// Plugs the cable of a link in, or pulls it out.
    pub fn cable(&self, name: &str, plugged: bool) {
        self.node.ip(&format!("link set {name}-wire {}", if plugged { "up" } else { "down" }));
    }

    fn device(&self, address: &str, driver: &str, id: &str, numa: u32) -> PathBuf {
        let (folder, bus) = (self.root.join("devices/pci0000:00").join(address), self.root.join("bus/pci"));
        create_dir_all(&folder).unwrap();
        create_dir_all(bus.join("devices")).unwrap();
        symlink(&folder, bus.join("devices").join(address)).unwrap();
        symlink(&bus, folder.join("subsystem")).unwrap();
        symlink(bus.join("drivers").join(driver), folder.join("driver")).unwrap();
        for (file, text) in [("vendor", "0x8086"), ("device", id), ("numa_node", &numa.to_string())] {
            write(folder.join(file), format!("{text}\n")).unwrap();
        }
        folder
    }

    fn link(&self, name: &str, device: &Path) {
        let (net, class) = (device.join("net").join(name), self.root.join("class/net").join(name));
        create_dir_all(&net).unwrap();
        write(net.join("dev_port"), "0\n").unwrap();
        create_dir_all(&class).unwrap();
        symlink(device, class.join("device")).unwrap();
        self.node.ip(&format!("link add {name} type veth peer name {name}-wire"));
        // Addresses that the kernel makes when it comes to it would change snapshots.
        self.node.ip(&format!("link set {name} addrgenmode none up"));
        self.node.ip(&format!("link set {name}-wire addrgenmode none"));
        self.cable(name, true);
    }
}
