//! What the node's NICs are: the inventory's model. `offramp-kernel` fills it.

mod change;
mod pci;

pub use change::{Change, changes};
pub use pci::PciAddr;

use crate::ids::{IfName, MacAddr};
use crate::vf::VfRef;
use serde::{Deserialize, Serialize};
use std::fmt;

/// All ports of all NICs, in the order of their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The ports.
    pub ports: Vec<Port>,
}

impl Inventory {
    /// The port of a key.
    pub fn port(&self, key: &PortKey) -> Option<&Port> {
        self.ports.iter().find(|p| p.key == *key)
    }

    /// A VF with its port.
    pub fn vf(&self, pci: PciAddr) -> Option<(&Port, &Vf)> {
        self.vfs().find(|(_, vf)| vf.pci == pci)
    }

    /// All VFs with their ports.
    pub fn vfs(&self) -> impl Iterator<Item = (&Port, &Vf)> {
        self.ports.iter().flat_map(|port| port.vfs.iter().map(move |vf| (port, vf)))
    }
}

/// What tells ports apart, whatever their netdevs are called: two may sit on one PCI function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortKey {
    /// The device's name on its bus: a PCI address, or such as `netdevsim10`.
    pub device: String,
    /// `dev_port` of the netdev (Documentation/ABI/testing/sysfs-class-net).
    #[serde(default)]
    pub port: u32,
}

impl fmt::Display for PortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            0 => f.write_str(&self.device),
            port => write!(f, "{}/{port}", self.device),
        }
    }
}

/// A physical port: a netdev that has a device, and is no VF and no representor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Its key.
    pub key: PortKey,
    /// Its netdev.
    pub netdev: IfName,
    /// The netdev's number in the host's namespace.
    pub ifindex: u32,
    /// The netdev's address.
    pub mac: Option<MacAddr>,
    /// The driver's name.
    pub driver: String,
    /// Vendor and device.
    pub id: Option<PciId>,
    /// Mbit/s; none without link.
    pub speed_mbps: Option<u32>,
    /// The NUMA node; none where the machine has one only or does not tell.
    pub numa: Option<u32>,
    /// Administratively up.
    pub up: bool,
    /// Has link.
    pub carrier: bool,
    /// Bytes.
    pub mtu: u32,
    /// The bridge or bond that it is a port of.
    pub controller: Option<IfName>,
    /// How many VFs it can have.
    pub total_vfs: u16,
    /// How many it has.
    pub num_vfs: u16,
    /// How its embedded switch is run.
    pub eswitch: Eswitch,
    /// `phys_switch_id`, which the port shares with its representors.
    pub switch_id: Option<String>,
    /// Its VFs, in the order of their indexes.
    pub vfs: Vec<Vf>,
}

impl Port {
    /// How plans and claims name one of its VFs.
    pub fn vf_ref(&self, vf: &Vf) -> VfRef {
        VfRef { pci: vf.pci, port: self.key.clone(), pf: self.netdev.clone(), index: vf.index }
    }
}

/// `VENDOR:DEVICE`, as lspci and peers write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PciId {
    /// Such as 0x8086.
    pub vendor: u16,
    /// Such as 0x10c9.
    pub device: u16,
}

impl fmt::Display for PciId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

/// How an embedded switch is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Eswitch {
    /// By MAC and VLAN filters of the PF; also where the driver has no devlink.
    #[default]
    Legacy,
    /// By representors.
    Switchdev,
}

impl fmt::Display for Eswitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy => "legacy",
            Self::Switchdev => "switchdev",
        })
    }
}

/// A virtual function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vf {
    /// Its number on its port: `virtfnN`.
    pub index: u16,
    /// Its PCI address, which `virtfnN` alone tells (ARI, stride).
    pub pci: PciAddr,
    /// Vendor and device.
    pub id: Option<PciId>,
    /// The driver it is bound to.
    pub driver: Option<String>,
    /// Its netdev.
    pub netdev: VfNetdev,
    /// Its IOMMU group: `/dev/vfio/N`.
    pub iommu_group: Option<u32>,
    /// The netdev that stands for it in switchdev mode.
    pub representor: Option<IfName>,
}

/// Where a VF's netdev is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "in")]
pub enum VfNetdev {
    /// It has none: no driver, or one such as vfio-pci.
    None,
    /// In the host's namespace.
    Host {
        /// Its name.
        name: IfName,
    },
    /// In another namespace: its driver is a network driver, and the host's namespace has no netdev of it.
    Elsewhere {
        /// Where, as a path that leads there, if it was looked for and found.
        netns: Option<String>,
        /// Its name there.
        name: Option<IfName>,
    },
}

impl VfNetdev {
    /// Its name in the host's namespace.
    pub fn on_host(&self) -> Option<&IfName> {
        match self {
            Self::Host { name } => Some(name),
            Self::None | Self::Elsewhere { .. } => None,
        }
    }
}
