//! VFs for userspace as container runtimes know them by name (Container Device Interface, SPEC.md of
//! cncf-tags/container-device-interface).

use super::allocation::{VFIO, group_node};
use crate::nic::PciAddr;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Vendor and class of the devices.
const KIND: &str = "offramp.dev/vf";
/// The first in which a device's name may begin with a digit, as PCI addresses do.
const VERSION: &str = "0.5.0";

/// What a file of these is called, in any of the runtime's folders: by vendor and class.
pub const FILE: &str = "offramp.dev-vf.json";

/// What kubelet passes to the runtime for a VF.
pub fn name(pci: PciAddr) -> String {
    format!("{KIND}={pci}")
}

/// The file's content, for VFs with their IOMMU groups. A file must have a device.
pub fn spec(vfs: &BTreeMap<PciAddr, u32>) -> Value {
    let node = |path: String| json!({"path": path, "permissions": "rw"});
    let device = |(pci, group): (&PciAddr, &u32)| {
        let nodes = [node(VFIO.to_owned()), node(group_node(*group))];
        json!({"name": pci.to_string(), "containerEdits": {"deviceNodes": nodes}})
    };
    let devices: Vec<Value> = vfs.iter().map(device).collect();
    json!({"cdiVersion": VERSION, "kind": KIND, "devices": devices})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_its_group_and_the_container_of_all() {
        let pci: PciAddr = "0000:01:10.3".parse().unwrap();
        let expected = json!({
            "cdiVersion": "0.5.0",
            "kind": "offramp.dev/vf",
            "devices": [{
                "name": "0000:01:10.3",
                "containerEdits": {"deviceNodes": [
                    {"path": "/dev/vfio/vfio", "permissions": "rw"},
                    {"path": "/dev/vfio/13", "permissions": "rw"},
                ]},
            }],
        });
        assert_eq!(spec(&[(pci, 13)].into()), expected);
        assert_eq!(name(pci), "offramp.dev/vf=0000:01:10.3");
    }
}
