//! The claims: one file a VF, below `vfs/` in the state directory. A VF without one is free and clean.
//!
//! Who may change one: nobody's becomes lent by whoever makes its file first; lent becomes quarantine by whoever holds
//! its holder's lock; quarantine becomes nobody's by whoever holds the VF's lock.

use crate::files::{self, Lock};
use crate::folder::{Entries, Entry, Folder};
use crate::{Error, Result};
use offramp_core::ids::AttachmentId;
use offramp_core::nic::{PciAddr, PortKey};
use offramp_core::vf::{CLAIM_FORMAT, Claim};
use offramp_kernel::sysfs::Sysfs;
use offramp_kernel::vf;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

impl Entry for Claim {
    const FORMAT: u32 = CLAIM_FORMAT;
    fn file_name(&self) -> String {
        self.vf.pci.to_string()
    }
    fn what(&self) -> String {
        self.vf.to_string()
    }
}

/// The claims of a state directory.
#[derive(Debug, Clone)]
pub struct Claims {
    root: PathBuf,
    files: Folder<Claim>,
    sysfs: Sysfs,
}

/// All claims, and the files that are none.
#[derive(Debug, Default)]
pub struct Claimed {
    /// Claims, in the order of the bus.
    pub claims: Vec<Claim>,
    /// What could not be read.
    pub unreadable: Vec<Error>,
}

/// The lock of whoever works on a VF or a port. A child that is forked with it, and hangs in the kernel, goes on holding it after
/// its parent's death: nothing is tried on the VF beside it.
#[derive(Debug)]
pub struct VfLock(Lock);

impl AsFd for VfLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Claims {
    /// Those below the state directory `root`.
    pub(crate) fn at(root: &Path, sysfs: Sysfs) -> Self {
        Self { root: root.to_owned(), files: Folder::at(root.join("vfs")), sysfs }
    }

    /// Where their VFs are worked on.
    pub(crate) fn host(&self) -> vf::Host<'static> {
        vf::Host { sysfs: self.sysfs.clone(), ..vf::Host::default() }
    }

    /// Where they are.
    pub fn dir(&self) -> PathBuf {
        self.files.dir().to_owned()
    }

    /// A claim's file.
    pub fn path(&self, pci: PciAddr) -> PathBuf {
        self.dir().join(pci.to_string())
    }

    /// Locks a VF, waiting at most `patience`.
    pub fn lock(&self, pci: PciAddr, patience: Duration) -> Result<VfLock> {
        let what = format!("VF {pci}");
        files::lock(&self.root.join("locks"), &format!("vf-{pci}"), &what, patience).map(VfLock)
    }

    /// Locks a port, for whoever changes how many VFs it has, or how its embedded switch is run. Likewise.
    pub fn lock_port(&self, port: &PortKey, patience: Duration) -> Result<VfLock> {
        let (what, name) = (format!("port {port}"), format!("port-{}", port.to_string().replace('/', "-")));
        files::lock(&self.root.join("locks"), &name, &what, patience).map(VfLock)
    }

    /// Claims a VF that nobody has; [`Error::Claimed`] names who has it. The file appears with its content, or not at
    /// all (link(2)), whoever else tries at the same time.
    pub fn take(&self, claim: &Claim) -> Result<()> {
        while !self.files.create(claim)? {
            // None: it has become free in between.
            if let Some(other) = self.read(claim.vf.pci)? {
                return Err(Error::Claimed(Box::new(other)));
            }
        }
        Ok(())
    }

    /// Reads a claim; none: the VF is free and clean.
    pub fn read(&self, pci: PciAddr) -> Result<Option<Claim>> {
        self.files.read(&pci.to_string())
    }

    /// Replaces a claim as a whole. Who may, the module's head says.
    pub fn set(&self, claim: &Claim) -> Result<()> {
        self.files.set(claim)
    }

    /// The VF is free and clean.
    pub fn remove(&self, pci: PciAddr) -> Result<()> {
        self.files.remove(&pci.to_string())
    }

    /// Reads all claims.
    pub fn list(&self) -> Result<Claimed> {
        let Entries { entries: mut claims, unreadable } =
            self.files.list(|name| name.parse::<PciAddr>().is_ok())?;
        claims.sort_by_key(|c| c.vf.pci);
        Ok(Claimed { claims, unreadable })
    }

    /// Those of one attachment.
    pub fn of(&self, id: &AttachmentId) -> Result<Vec<Claim>> {
        Ok(self.list()?.claims.into_iter().filter(|c| c.holder == *id).collect())
    }

    /// Removes what writers that died left behind.
    pub fn remove_torn(&self) -> Result<()> {
        self.files.remove_torn()
    }
}

#[cfg(test)]
#[path = "claims_tests.rs"]
pub(crate) mod tests;
