//! The records: one file an attachment, below `attachments/` in the state directory.

use crate::addresses::Addresses;
use crate::claims::Claims;
use crate::files::{self, Lock, Written};
use crate::queues::QueueClaims;
use crate::{Error, Result};
use offramp_core::ids::{AttachmentId, IfName, NetworkName};
use offramp_core::plan::Plan;
use offramp_core::record::{FORMAT, Record};
use offramp_kernel::sysfs::Sysfs;
use offramp_kernel::vf;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Locks are shared by hash: their number is bounded, and a lock file never needs removing, so that nobody
/// locks a file that another has just unlinked.
const LOCKS: u64 = 4096;

/// Drivers take milliseconds for a rule.
const FLOW_RULES_PATIENCE: Duration = Duration::from_secs(10);

/// The state directory.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    writer: Writer,
    sysfs: Sysfs,
}

/// Who writes a record. Plugin and daemon may both be at it, where one takes the other for dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    Plugin,
    Daemon,
}

impl Writer {
    const ALL: [Self; 2] = [Self::Plugin, Self::Daemon];

    /// Where it writes the record before it moves it in place.
    fn temporary(self, id: &AttachmentId) -> String {
        format!(".{}.{}", file_name(id), self.as_str())
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Daemon => "daemon",
        }
    }
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
    /// The state below `root`, as the plugin writes it; directories are made when they are first needed.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), writer: Writer::Plugin, sysfs: Sysfs::default() }
    }

    /// The state below `root`, as the daemon writes it.
    pub fn of_daemon(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), writer: Writer::Daemon, sysfs: Sysfs::default() }
    }

    /// VFs are looked up, and worked on, in this sysfs.
    pub fn with_sysfs(self, sysfs: Sysfs) -> Self {
        Self { sysfs, ..self }
    }

    /// The node whose VFs are lent.
    pub fn host(&self) -> vf::Host<'static> {
        self.claims().host()
    }

    /// The claims on queues.
    pub fn queue_claims(&self) -> QueueClaims {
        QueueClaims::at(&self.root)
    }

    /// The state directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The state directory's device and inode: what is the same by whichever path, and in whichever mount namespace.
    pub fn identity(&self) -> Result<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(&self.root).map_err(Error::io("look at", &self.root))?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// Locks the daemon's place: one serves a state directory.
    pub fn lock_daemon(&self, patience: Duration) -> Result<Lock> {
        files::lock(&self.root.join("locks"), "daemon", "the daemon's place", patience)
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

    /// The claims on VFs.
    pub fn claims(&self) -> Claims {
        Claims::at(&self.root, self.sysfs.clone())
    }

    /// Makes the directories, so that they can be watched.
    pub fn create_dirs(&self) -> Result<()> {
        files::make_dir(&self.attachments_dir())?;
        files::make_dir(&self.root.join("locks"))
    }

    /// Locks an attachment, and with it all of its container: whoever changes one or its record holds this. A pod's
    /// further networks may be attachments of their own, made within the call for its first one.
    pub fn lock(&self, id: &AttachmentId, patience: Duration) -> Result<Lock> {
        let name = format!("{:03x}", id.container.hash64() % LOCKS);
        files::lock(&self.root.join("locks"), &name, &format!("attachment {id}"), patience)
    }

    /// Locks nftables: whoever adds or removes elements, or replaces them by all records', holds this.
    pub fn lock_firewall(&self, patience: Duration) -> Result<Lock> {
        files::lock(&self.root.join("locks"), "firewall", "the firewall", patience)
    }

    /// Locks the flow rules of NICs: whoever makes or removes any holds this.
    pub fn lock_flow_rules(&self) -> Result<Lock> {
        files::lock(&self.root.join("locks"), "flow-rules", "the flow rules of NICs", FLOW_RULES_PATIENCE)
    }

    /// The same, if a plan has any.
    pub fn lock_flow_rules_of(&self, plan: &Plan) -> Result<Option<Lock>> {
        plan.steering().map(|_| self.lock_flow_rules()).transpose()
    }

    /// Keeps a bridge while something is added to it, beside others who do the same.
    pub fn share_bridge(&self, bridge: &IfName, patience: Duration) -> Result<Lock> {
        let (name, what) = bridge_lock(bridge);
        files::lock_shared(&self.root.join("locks"), &name, &what, patience)
    }

    /// Keeps everybody from adding to a bridge.
    pub fn lock_bridge(&self, bridge: &IfName, patience: Duration) -> Result<Lock> {
        let (name, what) = bridge_lock(bridge);
        files::lock(&self.root.join("locks"), &name, &what, patience)
    }

    /// Reads a record; none if there is none.
    pub fn read(&self, id: &AttachmentId) -> Result<Option<Record>> {
        let path = self.path(id);
        let bytes = match files::read(&path) {
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

    /// Whether its record tells of further networks; false if it cannot be read.
    pub fn has_networks(&self, id: &AttachmentId) -> bool {
        #[derive(Deserialize)]
        struct OnlyNetworks {
            #[serde(default)]
            networks: Vec<IgnoredAny>,
        }
        let bytes = files::read(&self.path(id)).unwrap_or_default();
        serde_json::from_slice(&bytes).is_ok_and(|only: OnlyNetworks| !only.networks.is_empty())
    }

    /// Writes a record, as a whole.
    pub fn write(&self, record: &Record) -> Result<()> {
        self.write_kept(record).map(drop)
    }

    /// The same, and keeps its file open: so [`Store::has`] can tell it from any other.
    pub fn write_kept(&self, record: &Record) -> Result<Written> {
        let path = self.path(&record.attachment);
        let json = serde_json::to_vec(record).map_err(|e| Error::io("encode", &path)(e.into()))?;
        let id = &record.attachment;
        files::replace_kept(&self.attachments_dir(), &file_name(id), &self.writer.temporary(id), &json)
    }

    /// Whether this is the attachment's record still: nobody has removed it or written another.
    pub fn has(&self, id: &AttachmentId, written: &Written) -> bool {
        written.is_at(&self.path(id))
    }

    /// Removes a record, and what writers of it that died left behind; one that is not there is removed.
    pub fn remove(&self, id: &AttachmentId) -> Result<()> {
        files::remove(&self.path(id))?;
        let dir = self.attachments_dir();
        Writer::ALL.into_iter().try_for_each(|w| files::remove(&dir.join(w.temporary(id))))
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

    /// Removes what writers that died left behind of attachments that have no record. Of others the next write
    /// or removal takes it along.
    pub fn remove_torn(&self) -> Result<usize> {
        let Ok(entries) = fs::read_dir(self.attachments_dir()) else { return Ok(0) };
        let torn = |name: std::ffi::OsString| -> Option<AttachmentId> {
            let (name, _writer) = name.to_str()?.strip_prefix('.')?.rsplit_once('.')?;
            name.strip_suffix(".json")?.parse().ok()
        };
        let mut removed = 0;
        for id in entries.flatten().filter_map(|e| torn(e.file_name())) {
            // Whoever holds the lock may be writing.
            let Ok(_lock) = self.lock(&id, Duration::ZERO) else { continue };
            if !self.path(&id).exists() {
                self.remove(&id)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn bridge_lock(bridge: &IfName) -> (String, String) {
    (format!("bridge-{bridge}"), format!("bridge {bridge}"))
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
    let of_format = |format: u32| match format {
        FORMAT => Ok(()),
        _ => Err(unreadable(format!("its format is {format}, this Offramp reads {FORMAT}"))),
    };
    match serde_json::from_slice::<Record>(bytes) {
        Ok(record) => of_format(record.format).map(|()| record),
        Err(e) => {
            // One of another format says so.
            serde_json::from_slice(bytes).map_or(Ok(()), |OnlyFormat { format }| of_format(format))?;
            Err(unreadable(format!("it is no record: {e}")))
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
pub(crate) mod tests;
