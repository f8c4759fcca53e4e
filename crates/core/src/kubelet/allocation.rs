//! What a container gets of its devices, as sriov-network-device-plugin gives it.

use super::cdi;
use crate::ids::ResourceName;
use crate::nic::PciAddr;
use crate::vf::VfMode;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The device that all of vfio's containers (`VFIO_SET_IOMMU`) are made by.
pub(super) const VFIO: &str = "/dev/vfio/vfio";

/// The device of an IOMMU group.
pub(super) fn group_node(group: u32) -> String {
    format!("/dev/vfio/{group}")
}

/// For one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocation {
    /// Variables of its environment.
    pub env: BTreeMap<String, String>,
    /// Device nodes, at the same path inside and outside; it may read and write them.
    pub nodes: BTreeSet<String>,
    /// The same in the runtime's words ([`super::cdi`]).
    pub cdi: Vec<String>,
}

impl Allocation {
    /// Of VFs with their IOMMU groups, in kubelet's order.
    ///
    /// `PCIDEVICE_DOMAIN_NAME` has the addresses, `PCIDEVICE_DOMAIN_NAME_INFO` what is known of each, as JSON.
    pub fn of(resource: &ResourceName, mode: VfMode, vfs: &[(PciAddr, Option<u32>)]) -> Self {
        let name = variable(resource);
        let addresses: Vec<String> = vfs.iter().map(|(pci, _)| pci.to_string()).collect();
        let (mut info, mut nodes) = (Map::new(), BTreeSet::new());
        for (pci, group) in vfs {
            let mut of = json!({"generic": {"deviceID": pci.to_string()}});
            if mode == VfMode::Vfio {
                of["vfio"] = json!({"mount": VFIO});
                nodes.insert(VFIO.to_owned());
                if let Some(group) = group {
                    let node = group_node(*group);
                    of["vfio"]["dev-mount"] = node.clone().into();
                    nodes.insert(node);
                }
            }
            info.insert(pci.to_string(), of);
        }
        let env = [(format!("{name}_INFO"), Value::Object(info).to_string()), (name, addresses.join(","))];
        Self { env: env.into(), nodes, cdi: Vec::new() }
    }

    /// With the VFs' names in place of device nodes.
    pub fn by_cdi(self, vfs: &[(PciAddr, Option<u32>)]) -> Self {
        let cdi = vfs.iter().map(|(pci, _)| cdi::name(*pci)).collect();
        Self { nodes: BTreeSet::new(), cdi, ..self }
    }
}

/// `PCIDEVICE_OFFRAMP_DEV_FAST`
fn variable(resource: &ResourceName) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("PCIDEVICE_{}", resource.as_str().chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_netdev_is_an_address_and_a_vfio_device_its_nodes_too() {
        let resource = "intel.com/sriov-net_A".parse().unwrap();
        let vfs = [("0000:01:10.1".parse().unwrap(), Some(7)), ("0000:01:10.0".parse().unwrap(), None)];
        let netdev = Allocation::of(&resource, VfMode::Netdev, &vfs);
        assert_eq!(netdev.env["PCIDEVICE_INTEL_COM_SRIOV_NET_A"], "0000:01:10.1,0000:01:10.0");
        let info: Value = serde_json::from_str(&netdev.env["PCIDEVICE_INTEL_COM_SRIOV_NET_A_INFO"]).unwrap();
        assert_eq!(info["0000:01:10.0"], json!({"generic": {"deviceID": "0000:01:10.0"}}));
        assert!(netdev.nodes.is_empty());
        let vfio = Allocation::of(&resource, VfMode::Vfio, &vfs);
        let info: Value = serde_json::from_str(&vfio.env["PCIDEVICE_INTEL_COM_SRIOV_NET_A_INFO"]).unwrap();
        assert_eq!(info["0000:01:10.1"]["vfio"], json!({"mount": VFIO, "dev-mount": "/dev/vfio/7"}));
        assert_eq!(info["0000:01:10.0"]["vfio"], json!({"mount": VFIO}));
        assert_eq!(vfio.nodes, ["/dev/vfio/7".to_owned(), VFIO.to_owned()].into());
        let named = vfio.clone().by_cdi(&vfs);
        assert_eq!((named.env, named.nodes.len()), (vfio.env, 0));
        assert_eq!(named.cdi, ["offramp.dev/vf=0000:01:10.1", "offramp.dev/vf=0000:01:10.0"]);
    }
}
