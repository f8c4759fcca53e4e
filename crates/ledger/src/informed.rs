//! Who is told of pods: below `sync/` in the state directory. The daemon writes, the plugin reads.

use crate::files;
use crate::{Error, Result, Store};
use offramp_core::eswitch::{Added, Informed};
use offramp_core::ids::IfName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The kinds of files.
const BRIDGES: &str = "bridges";
const PORTS: &str = "ports";

impl Store {
    fn sync_dir(&self, kind: &str) -> PathBuf {
        self.root().join("sync").join(kind)
    }

    /// Whom a new pod on `bridge` must be made known to; none: nobody, as on most bridges.
    pub fn informed(&self, bridge: &IfName) -> Result<Option<Informed>> {
        read(&file(&self.sync_dir(BRIDGES), bridge))
    }

    /// Says whom.
    pub fn set_informed(&self, bridge: &IfName, informed: &Informed) -> Result<()> {
        write(&self.sync_dir(BRIDGES), bridge, informed)
    }

    /// What was added to a PF's filter.
    pub fn added(&self, port: &IfName) -> Result<Option<Added>> {
        read(&file(&self.sync_dir(PORTS), port))
    }

    /// Says what is about to be added, or was.
    pub fn set_added(&self, port: &IfName, added: &Added) -> Result<()> {
        write(&self.sync_dir(PORTS), port, added)
    }

    /// The bridges that [`Store::set_informed`] was called for.
    pub fn informed_bridges(&self) -> Result<Vec<IfName>> {
        names(&self.sync_dir(BRIDGES))
    }

    /// The PFs that [`Store::set_added`] was called for.
    pub fn added_ports(&self) -> Result<Vec<IfName>> {
        names(&self.sync_dir(PORTS))
    }

    /// Nobody is to be told of this bridge's pods any more.
    pub fn forget_informed(&self, bridge: &IfName) -> Result<()> {
        files::remove(&file(&self.sync_dir(BRIDGES), bridge))
    }

    /// Nothing of ours is in this PF's filter.
    pub fn forget_added(&self, port: &IfName) -> Result<()> {
        files::remove(&file(&self.sync_dir(PORTS), port))
    }
}

fn file(dir: &Path, name: &IfName) -> PathBuf {
    dir.join(format!("{name}.json"))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match files::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::io("read", path)(e.into())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path)(e)),
    }
}

fn write(dir: &Path, name: &IfName, content: &impl Serialize) -> Result<()> {
    let json = serde_json::to_vec(content).map_err(|e| Error::io("encode", file(dir, name))(e.into()))?;
    files::replace(dir, &format!("{name}.json"), &format!("{name}.new"), &json)
}

fn names(dir: &Path) -> Result<Vec<IfName>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("list", dir)(e)),
    };
    let name = |e: std::fs::DirEntry| e.file_name().to_str()?.strip_suffix(".json")?.parse().ok();
    Ok(entries.flatten().filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_not_there_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let (br0, nic0): (IfName, IfName) = ("br0".parse().unwrap(), "nic0".parse().unwrap());
        assert_eq!(store.informed(&br0).unwrap(), None);
        assert_eq!(store.added_ports().unwrap(), []);
        let added = Added { macs: ["02:00:00:00:00:01".parse().unwrap()].into() };
        let port = offramp_core::eswitch::Port { name: nic0.clone(), foreign: added.macs.clone() };
        let informed = Informed { ports: vec![port] };
        store.set_informed(&br0, &informed).unwrap();
        store.set_added(&nic0, &added).unwrap();
        assert_eq!(store.informed(&br0).unwrap(), Some(informed));
        assert_eq!(store.added(&nic0).unwrap(), Some(added));
        assert_eq!(
            (store.informed_bridges().unwrap(), store.added_ports().unwrap()),
            (vec![br0.clone()], vec![nic0.clone()])
        );
        store.forget_informed(&br0).unwrap();
        store.forget_added(&nic0).unwrap();
        assert_eq!((store.informed(&br0).unwrap(), store.added(&nic0).unwrap()), (None, None));
        std::fs::write(dir.path().join("sync/bridges/br0.json"), "{").unwrap();
        assert!(store.informed(&br0).unwrap_err().to_string().contains("sync/bridges/br0.json"));
    }
}
