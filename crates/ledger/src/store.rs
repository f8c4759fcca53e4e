//! The records: one file an attachment, below `attachments/` in the state directory.

use crate::addresses::Addresses;
use crate::files::{self, Lock};
use crate::{Error, Result};
use offramp_core::ids::{AttachmentId, NetworkName};
use offramp_core::record::{FORMAT, Record};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Locks are shared by hash: their number is bounded, and a lock file never needs removing, so that nobody
/// locks a file that another has just unlinked.
const LOCKS: u64 = 4096;

/// The state directory.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// All records, and the files that are none.
#[derive(Debug, Default)]
pub struct Listing {
    /// Records, in no order.
    pub records: Vec<Record>,
    /// What could not be read.
    pub unreadable: Vec<Error>,
}

impl Store {
    /// The state below `root`; directories are made when they are first needed.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The state directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the records are.
    pub fn attachments_dir(&self) -> PathBuf {
        self.root.join("attachments")
    }

    /// The record's file.
    pub fn path(&self, id: &AttachmentId) -> PathBuf {
        self.attachments_dir().join(file_name(id))
    }

    /// Address files of a network in inline mode, in `dir` if the configuration has one.
    pub fn addresses(&self, network: &NetworkName, dir: Option<&Path>) -> Addresses {
        let base = dir.map_or_else(|| self.root.join("ipam"), Path::to_owned);
        Addresses::at(base.join(network.as_str()), network.clone())
    }

    /// Makes the directories, so that they can be watched.
    pub fn create_dirs(&self) -> Result<()> {
        files::make_dir(&self.attachments_dir())?;
        files::make_dir(&self.root.join("locks"))
    }

    /// Locks an attachment: whoever changes it or its record holds this.
    pub fn lock(&self, id: &AttachmentId, patience: Duration) -> Result<Lock> {
        let name = format!("{:03x}", id.hash64() % LOCKS);
        files::lock(&self.root.join("locks"), &name, &format!("attachment {id}"), patience)
    }

    /// Locks nftables: whoever adds or removes elements, or replaces them by all records', holds this.
    pub fn lock_firewall(&self, patience: Duration) -> Result<Lock> {
        files::lock(&self.root.join("locks"), "firewall", "the firewall", patience)
    }

    /// Reads a record; none if there is none.
    pub fn read(&self, id: &AttachmentId) -> Result<Option<Record>> {
        let path = self.path(id);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", path)(e)),
        };
        let record = parse(&path, &bytes)?;
        if record.attachment != *id {
            return Err(Error::Unreadable { path, why: format!("it is of {}", record.attachment) });
        }
        Ok(Some(record))
    }

    /// Writes a record, as a whole.
    pub fn write(&self, record: &Record) -> Result<()> {
        let path = self.path(&record.attachment);
        let json = serde_json::to_vec(record).map_err(|e| Error::io("encode", &path)(e.into()))?;
        files::replace(&self.attachments_dir(), &file_name(&record.attachment), &json)
    }

    /// Removes a record; one that is not there is removed.
    pub fn remove(&self, id: &AttachmentId) -> Result<()> {
        files::remove(&self.path(id))
    }

    /// The attachments that have a record, readable or not, in no order.
    pub fn ids(&self) -> Result<Vec<AttachmentId>> {
        let dir = self.attachments_dir();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("list", dir)(e)),
        };
        let id = |name: std::ffi::OsString| name.to_str()?.strip_suffix(".json")?.parse().ok();
        Ok(entries.flatten().filter_map(|e| id(e.file_name())).collect())
    }

    /// Reads all records.
    pub fn list(&self) -> Result<Listing> {
        let mut listing = Listing::default();
        for id in self.ids()? {
            match self.read(&id) {
                Ok(record) => listing.records.extend(record),
                Err(e) => listing.unreadable.push(e),
            }
        }
        Ok(listing)
    }

    /// Removes what writers that died left behind: temporary files whose process is gone.
    pub fn remove_torn(&self) -> Result<usize> {
        let Ok(entries) = fs::read_dir(self.attachments_dir()) else { return Ok(0) };
        let mut removed = 0;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(writer) = name.to_str().filter(|n| n.starts_with('.')).and_then(|n| n.rsplit_once('.'))
            else {
                continue;
            };
            let alive = writer.1.parse::<u32>().is_ok_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
            // The daemon may live in another PID namespace than the writer: what is fresh is left.
            let old = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
            if !alive && old.is_some_and(|age| age > Duration::from_secs(60)) {
                files::remove(&entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn file_name(id: &AttachmentId) -> String {
    format!("{id}.json")
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Record> {
    #[derive(Deserialize)]
    struct OnlyFormat {
        format: u32,
    }
    let unreadable = |why: String| Error::Unreadable { path: path.to_owned(), why };
    let OnlyFormat { format } =
        serde_json::from_slice(bytes).map_err(|e| unreadable(format!("it is no record: {e}")))?;
    if format != FORMAT {
        return Err(unreadable(format!("its format is {format}, this Offramp reads {FORMAT}")));
    }
    serde_json::from_slice(bytes).map_err(|e| unreadable(format!("it is no record: {e}")))
}

#[cfg(test)]
#[path = "store_tests.rs"]
pub(crate) mod tests;
