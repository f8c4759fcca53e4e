//! The file by which the container runtime knows VFs for userspace. It outlives the daemon: a container that starts anew
//! needs it.

use crate::install::files;
use offramp_core::kubelet::cdi::{FILE, spec};
use offramp_core::nic::PciAddr;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What it holds.
#[derive(Debug)]
pub struct Cdi {
    path: PathBuf,
    /// VFs with their IOMMU groups.
    published: Mutex<BTreeMap<PciAddr, u32>>,
}

impl Cdi {
    /// In a folder of the runtime's; nothing is written yet.
    pub fn new(dir: &Path) -> Self {
        Self { path: dir.join(FILE), published: Mutex::default() }
    }

    /// Has the file hold these VFs, and no others: without any it goes. The error names the file.
    pub fn publish(&self, vfs: BTreeMap<PciAddr, u32>) -> Result<(), String> {
        let mut published = self.published();
        // Until it is written, nothing is known of what it holds.
        published.clear();
        self.put(&vfs).map_err(|e| format!("write {}: {e}", self.path.display()))?;
        *published = vfs;
        Ok(())
    }

    /// Whether the runtime finds the VF there, in this group.
    pub fn has(&self, pci: PciAddr, group: u32) -> bool {
        self.published().get(&pci) == Some(&group) && self.path.is_file()
    }

    fn put(&self, vfs: &BTreeMap<PciAddr, u32>) -> std::io::Result<()> {
        if vfs.is_empty() {
            return files::remove(&self.path).map(drop);
        }
        if let Some(dir) = self.path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        files::put(&self.path, 0o644, format!("{:#}\n", spec(vfs)).as_bytes()).map(drop)
    }

    fn published(&self) -> MutexGuard<'_, BTreeMap<PciAddr, u32>> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_what_is_there_and_goes_with_the_last() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("cdi");
        let cdi = Cdi::new(&dir);
        cdi.publish(BTreeMap::new()).unwrap();
        assert!(!dir.exists(), "nobody asks for it");
        let (a, b): (PciAddr, PciAddr) = ("0000:01:10.0".parse().unwrap(), "0000:01:10.2".parse().unwrap());
        cdi.publish([(a, 7), (b, 8)].into()).unwrap();
        let text = std::fs::read_to_string(dir.join(FILE)).unwrap();
        assert_eq!(text, format!("{:#}\n", spec(&[(a, 7), (b, 8)].into())));
        assert!(cdi.has(a, 7) && !cdi.has(a, 8), "its group is another by now");
        cdi.publish([(b, 8)].into()).unwrap();
        assert!(!cdi.has(a, 7) && cdi.has(b, 8));
        std::fs::remove_file(dir.join(FILE)).unwrap();
        assert!(!cdi.has(b, 8), "somebody removed it");
        cdi.publish([(b, 8)].into()).unwrap();
        assert!(cdi.has(b, 8));
        cdi.publish(BTreeMap::new()).unwrap();
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_written_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("cdi"), "a file").unwrap();
        let (cdi, a) = (Cdi::new(&root.path().join("cdi")), "0000:01:10.0".parse().unwrap());
        let error = cdi.publish([(a, 7)].into()).unwrap_err();
        assert!(error.contains(FILE) && !cdi.has(a, 7), "{error}");
    }
}
