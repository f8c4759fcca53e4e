//! The claims: one file a VF, below `vfs/` in the state directory. A VF without one is free and clean.
//!
//! Who may change one: nobody's becomes lent by whoever makes its file first; lent becomes quarantine by whoever holds
//! its holder's lock; quarantine becomes nobody's by whoever holds the VF's lock.

use crate::files::{self, Lock};
use crate::{Error, Result};
use offramp_core::ids::AttachmentId;
use offramp_core::nic::{PciAddr, PortKey};
use offramp_core::vf::{CLAIM_FORMAT, Claim};
use offramp_kernel::sysfs::Sysfs;
use offramp_kernel::vf;
use serde::Deserialize;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The claims of a state directory.
#[derive(Debug, Clone)]
pub struct Claims {
    root: PathBuf,
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
        Self { root: root.to_owned(), sysfs }
    }

    /// Where their VFs are worked on.
    pub(crate) fn host(&self) -> vf::Host<'static> {
        vf::Host { sysfs: self.sysfs.clone(), ..vf::Host::default() }
    }

    /// Where they are.
    pub fn dir(&self) -> PathBuf {
        self.root.join("vfs")
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
        let path = self.path(claim.vf.pci);
        let temporary = format!(".{}.{:016x}", claim.vf.pci, random(&path)?);
        let content = encode(&path, claim)?;
        while !files::create(&self.dir(), &claim.vf.pci.to_string(), &temporary, &content)? {
            // None: it has become free in between.
            if let Some(other) = self.read(claim.vf.pci)? {
                return Err(Error::Claimed(Box::new(other)));
            }
        }
        Ok(())
    }

    /// Reads a claim; none: the VF is free and clean.
    pub fn read(&self, pci: PciAddr) -> Result<Option<Claim>> {
        let path = self.path(pci);
        match files::read(&path) {
            Ok(bytes) => decode(&path, pci, &bytes).map(Some),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", path)(e)),
        }
    }

    /// Replaces a claim as a whole. Who may, the module's head says.
    pub fn set(&self, claim: &Claim) -> Result<()> {
        let (path, pci) = (self.path(claim.vf.pci), claim.vf.pci);
        let temporary = format!(".{pci}.{:016x}", random(&path)?);
        files::replace(&self.dir(), &pci.to_string(), &temporary, &encode(&path, claim)?)
    }

    /// The VF is free and clean.
    pub fn remove(&self, pci: PciAddr) -> Result<()> {
        files::remove(&self.path(pci))
    }

    /// Reads all claims.
    pub fn list(&self) -> Result<Claimed> {
        let mut listing = Claimed::default();
        for pci in self.names()?.iter().filter_map(|n| n.parse().ok()) {
            match self.read(pci) {
                Ok(claim) => listing.claims.extend(claim),
                Err(e) => listing.unreadable.push(e),
            }
        }
        listing.claims.sort_by_key(|c| c.vf.pci);
        Ok(listing)
    }

    /// Those of one attachment.
    pub fn of(&self, id: &AttachmentId) -> Result<Vec<Claim>> {
        Ok(self.list()?.claims.into_iter().filter(|c| c.holder == *id).collect())
    }

    /// Removes what writers that died left behind.
    pub fn remove_torn(&self) -> Result<()> {
        const IN_USE: Duration = Duration::from_secs(60); // writing takes microseconds
        for name in self.names()?.iter().filter(|n| n.starts_with('.')) {
            let path = self.dir().join(name);
            let written = fs::metadata(&path).and_then(|m| m.modified());
            if written.is_ok_and(|t| SystemTime::now().duration_since(t).is_ok_and(|age| age > IN_USE)) {
                files::remove(&path)?;
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>> {
        match fs::read_dir(self.dir()) {
            Ok(entries) => Ok(entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(Error::io("list", self.dir())(e)),
        }
    }
}

/// Not the process's number: plugin and daemon may count theirs apart.
fn random(path: &Path) -> Result<u64> {
    offramp_kernel::random::bits64().map_err(|e| Error::io("write", path)(std::io::Error::other(e)))
}

fn encode(path: &Path, claim: &Claim) -> Result<Vec<u8>> {
    serde_json::to_vec(claim).map_err(|e| Error::io("encode", path)(e.into()))
}

fn decode(path: &Path, pci: PciAddr, bytes: &[u8]) -> Result<Claim> {
    #[derive(Deserialize)]
    struct OnlyFormat {
        format: u32,
    }
    let unreadable = |why: String| Error::Unreadable { path: path.to_owned(), why };
    let no_claim = |e| unreadable(format!("it is no claim: {e}"));
    let OnlyFormat { format } = serde_json::from_slice(bytes).map_err(no_claim)?;
    if format != CLAIM_FORMAT {
        return Err(unreadable(format!("its format is {format}, this Offramp reads {CLAIM_FORMAT}")));
    }
    let claim: Claim = serde_json::from_slice(bytes).map_err(no_claim)?;
    if claim.vf.pci != pci {
        return Err(unreadable(format!("it is of {}", claim.vf)));
    }
    Ok(claim)
}

#[cfg(test)]
#[path = "claims_tests.rs"]
pub(crate) mod tests;
