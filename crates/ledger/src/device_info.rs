//! The file that tells a pod of its device (`CNIDeviceInfoFile`; Network Plumbing Working Group, "Device Information
//! Specification" 1.1.0).

use crate::files;
use crate::{Error, Result};
use offramp_core::nic::PciAddr;
use offramp_core::vf::VfRef;
use serde_json::{Value, json};
use std::path::Path;

/// What is told of a VF.
fn content(vf: &VfRef) -> Value {
    let mut pci = json!({"pci-address": vf.pci.to_string()});
    if let Ok(pf) = vf.port.device.parse::<PciAddr>() {
        pci["pf-pci-address"] = pf.to_string().into();
    }
    json!({"type": "pci", "version": "1.1.0", "pci": pci})
}

/// Writes it, as a whole.
pub fn write(path: &Path, vf: &VfRef) -> Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Err(Error::io("write", path)(std::io::ErrorKind::InvalidFilename.into()));
    };
    files::replace(dir, name, &format!(".{name}.offramp"), content(vf).to_string().as_bytes())
}

/// Removes it; one that is not there is removed.
pub fn remove(path: &Path) -> Result<()> {
    files::remove(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::tests::vf;

    #[test]
    fn it_is_written_with_its_folder_and_removed_often() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("devinfo/cni/sriov-net");
        write(&path, &vf("0000:02:10.6")).unwrap();
        let told: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let pci = json!({"pci-address": "0000:02:10.6", "pf-pci-address": "0000:02:00.0"});
        assert_eq!(told, json!({"type": "pci", "version": "1.1.0", "pci": pci}));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(write(Path::new("/"), &vf("0000:02:10.6")).is_err());
    }
}
