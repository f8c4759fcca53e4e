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
