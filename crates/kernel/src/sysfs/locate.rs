//! Where a VF's netdev is: in any network namespace, under any name, it tells the device that it is of.

use super::device::{Sysfs, entries};
use crate::link::Link;
use crate::netlink::Socket;
use crate::{Netns, Result, link};
use offramp_core::nic::PciAddr;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

/// A netdev.
#[derive(Debug)]
pub struct Location {
    /// Its namespace, kept open.
    pub netns: Arc<Netns>,
    /// What it is there.
    pub link: Link,
}

/// Where the machine's namespaces can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Folders of mounted namespaces.
    pub named: Vec<PathBuf>,
    /// procfs: the namespaces of processes.
    pub proc: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self { named: vec!["/run/netns".into()], proc: "/proc".into() }
    }
}

impl Places {
    /// Paths of namespaces, one path or more for each.
    fn paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let named = self.named.iter().flat_map(|dir| entries(dir).into_iter().map(|name| dir.join(name)));
        let processes = entries(&self.proc).into_iter().filter(|name| name.parse::<u32>().is_ok());
        named.chain(processes.map(|pid| self.proc.join(pid).join("ns/net")))
    }
}

/// Looks for the netdevs of VFs in `hints`, then in the calling thread's namespace, which may have thousands of links,
/// then in all others, until all are found. One that is in none of them is left out: it has none, or is in a namespace that only a descriptor holds.
///
/// # Errors
/// If the calling thread's namespace cannot be looked into; others may go at any time, and are passed over.
pub fn locate(
    sysfs: &Sysfs,
    places: &Places,
    vfs: &[PciAddr],
    hints: &[PathBuf],
) -> Result<BTreeMap<PciAddr, Location>> {
    let mut parents: BTreeMap<String, PciAddr> = BTreeMap::new();
    for vf in vfs {
        let names = sysfs.pci(*vf).map_or_else(Vec::new, |device| device.link_parents());
        parents.extend(names.into_iter().map(|name| (name, *vf)));
    }
    let mut found = BTreeMap::new();
    let home = Arc::new(Netns::current()?);
    let mut seen = HashSet::new();
    let hinted = hints.iter().cloned().map(Some);
    for path in hinted.chain([None]).chain(places.paths().map(Some)) {
        if found.len() == vfs.len() {
            break;
        }
        let Some(path) = path else {
            if seen.insert(home.inode()) {
                look_into(&home, &parents, &mut found)?;
            }
            continue;
        };
        let Ok(netns) = Netns::open(path) else { continue };
        if seen.insert(netns.inode()) {
            // It goes while we look, or is of a user namespace that keeps us out.
            let _ = look_into(&Arc::new(netns), &parents, &mut found);
        }
    }
    Ok(found)
}

fn look_into(
    netns: &Arc<Netns>,
    parents: &BTreeMap<String, PciAddr>,
    found: &mut BTreeMap<PciAddr, Location>,
) -> Result<()> {
    for link in link::list(&mut Socket::open_in(netns)?)? {
        let vf = link.parent.as_ref().and_then(|parent| parents.get(&parent.device));
        if let Some(vf) = vf {
            found.insert(*vf, Location { netns: netns.clone(), link });
        }
    }
    Ok(())
}
