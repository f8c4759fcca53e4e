//! Addresses of inline mode: one file an address, named after it, holding the attachment that holds it.
//!
//! Whoever picks or claims holds the directory's lock. The record is written between the two, so a file always
//! has its record: one without is left over, and is removed under the same lock.

use crate::files::{self, Lock, with_dir};
use crate::{Error, Result, Store};
use offramp_core::ids::{AttachmentId, NetworkName};
use offramp_core::ipam::{PickError, Range, pick_all};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file operation takes microseconds; somebody who keeps the lock this long is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// The address files of one network.
#[derive(Debug, Clone)]
pub struct Addresses {
    dir: PathBuf,
    network: NetworkName,
}

/// The directory, locked.
#[derive(Debug)]
pub struct Locked<'a> {
    addresses: &'a Addresses,
    _lock: Lock,
}

impl Addresses {
    pub(crate) fn at(dir: PathBuf, network: NetworkName) -> Self {
        Self { dir, network }
    }

    /// The directory as a record names it.
    pub fn of_dir(dir: &Path, network: &NetworkName) -> Self {
        Self::at(dir.to_owned(), network.clone())
    }

    /// For the record.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes the lock.
    pub fn lock(&self) -> Result<Locked<'_>> {
        let what = format!("addresses of network {}", self.network);
        Ok(Locked { addresses: self, _lock: files::lock(&self.dir, "lock", &what, PATIENCE)? })
    }

    /// Whether each set has a free address at this moment. It reads only and takes no lock, so it waits for nobody;
    /// whoever wants an address picks it under the lock.
    pub fn peek_free(&self, sets: &[Vec<Range>]) -> Result<()> {
        self.pick(sets, &[]).map(drop)
    }

    fn pick(&self, sets: &[Vec<Range>], wanted: &[IpAddr]) -> Result<Vec<(IpAddr, Range)>> {
        let last = |set: usize| fs::read_to_string(self.dir.join(last_name(set))).ok()?.trim().parse().ok();
        pick_all(sets, wanted, last, |ip| self.path(ip).exists())
            .map_err(|why: PickError| Error::Addresses { network: self.network.to_string(), why })
    }

    /// Gives back what `id` holds of `ips`; what a newer one holds is left.
    pub fn release(&self, id: &AttachmentId, ips: impl Iterator<Item = IpAddr>) -> Result<()> {
        if !self.dir.exists() {
            return Ok(());
        }
        let _locked = self.lock()?;
        for ip in ips {
            let path = self.path(ip);
            // Under the lock nobody is writing: what names no attachment was torn by a crash, and is nobody's.
            let is_others = |h: &str| h.parse().is_ok_and(|other: AttachmentId| other != *id);
            if holder(&path)?.is_some_and(|h| !is_others(&h)) {
                files::remove(&path)?;
                offramp_kernel::crash::point("addresses.released");
            }
        }
        Ok(())
    }

    /// Whether somebody else holds one of `ips` by now.
    pub fn held_by_another(&self, id: &AttachmentId, mut ips: impl Iterator<Item = IpAddr>) -> bool {
        let is_others = |h: String| h.parse().is_ok_and(|other: AttachmentId| other != *id);
        ips.any(|ip| holder(&self.path(ip)).ok().flatten().is_some_and(is_others))
    }

    fn path(&self, ip: IpAddr) -> PathBuf {
        self.dir.join(ip.to_string())
    }
}

impl Locked<'_> {
    /// Picks one free address of each set; see [`pick_all`].
    pub fn pick(&self, sets: &[Vec<Range>], wanted: &[IpAddr]) -> Result<Vec<(IpAddr, Range)>> {
        self.addresses.pick(sets, wanted)
    }

    /// Claims addresses that were picked under this lock; the record that names them must be written.
    pub fn claim(self, id: &AttachmentId, ips: &[IpAddr]) -> Result<()> {
        let a = self.addresses;
        for (set, ip) in ips.iter().enumerate() {
            let path = a.path(*ip);
            let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            let claim = || {
                let mut file = create()?;
                offramp_kernel::crash::point("addresses.created");
                file.write_all(id.to_string().as_bytes())
            };
            with_dir(&a.dir, claim).map_err(Error::io("claim address", &path))?;
            offramp_kernel::crash::point("addresses.claimed");
            let last = a.dir.join(last_name(set));
            fs::write(&last, ip.to_string()).map_err(Error::io("write", &last))?;
        }
        Ok(())
    }

    /// Removes files of attachments that have no record, and returns their addresses.
    pub fn remove_orphans(&self, store: &Store) -> Result<Vec<IpAddr>> {
        let a = self.addresses;
        let mut removed = Vec::new();
        for entry in fs::read_dir(&a.dir).map_err(Error::io("list", &a.dir))?.flatten() {
            let Some(ip) = entry.file_name().to_str().and_then(|n| n.parse::<IpAddr>().ok()) else {
                continue;
            };
            let holder = holder(&entry.path())?.unwrap_or_default();
            // What is no attachment was torn by a crash, before its record could be used.
            let held = holder.parse().is_ok_and(|id: AttachmentId| store.path(&id).exists());
            if !held {
                files::remove(&entry.path())?;
                removed.push(ip);
            }
        }
        Ok(removed)
    }
}

fn last_name(set: usize) -> String {
    format!("last.{set}")
}

fn holder(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path)(e)),
    }
}

#[cfg(test)]
#[path = "addresses_tests.rs"]
mod tests;
