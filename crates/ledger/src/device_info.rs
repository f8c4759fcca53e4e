//! The file that tells a pod of its device (`CNIDeviceInfoFile`; Network Plumbing Working Group, "Device Information
//! Specification" 1.1.0).

use crate::files;
use crate::{Error, Result};
use offramp_core::nic::PciAddr;
use offramp_core::vf::VfRef;
use serde_json::{Value, json};
use std::io::Read;
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
    put(path, &content(vf))
}

fn put(path: &Path, content: &Value) -> Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Err(Error::io("write", path)(std::io::ErrorKind::InvalidFilename.into()));
    };
    files::replace(dir, name, &format!(".{name}.offramp"), content.to_string().as_bytes())
}

/// What a file of somebody else's says; none if it is not there, or is no such file.
pub fn read(path: &Path) -> Option<Value> {
    /// More is no such file.
    const MOST: u64 = 16 << 10;
    let mut text = Vec::new();
    std::fs::File::open(path).ok()?.take(MOST + 1).read_to_end(&mut text).ok()?;
    let small = u64::try_from(text.len()).is_ok_and(|len| len <= MOST);
    serde_json::from_slice(&text).ok().filter(|value: &Value| small && value.is_object())
}

/// Writes what a device plugin says of the device into the file of a network's plugins: they add to it. Without it they
/// begin a new one.
pub fn copy(source: &Path, path: &Path) -> Result<()> {
    let Some(told) = read(source) else { return remove(path) };
    put(path, &told)
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
        let other = dir.path().join("cni/other");
        copy(&path, &other).unwrap();
        assert_eq!(read(&other).unwrap(), told);
        remove(&path).unwrap();
        remove(&path).unwrap();
        copy(&path, &other).unwrap();
        assert_eq!(read(&other), None, "what was there is of somebody before");
        std::fs::write(&other, "[]").unwrap();
        assert_eq!(read(&other), None);
        assert!(write(Path::new("/"), &vf("0000:02:10.6")).is_err());
    }
}
