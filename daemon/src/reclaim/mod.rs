//! Finishes what died half way and frees what is dead. Runtimes hardly ever call GC, so the daemon looks by itself:
//! at its start and regularly.

use crate::node::{Node, OURSELVES};
use offramp_core::cni::CniError;
use offramp_core::ids::AttachmentId;
use offramp_core::networks::Delegation;
use offramp_core::record::{Mode, Record, State};
use offramp_core::step::Step;
use offramp_kernel::netlink::Socket;
use offramp_kernel::vf::{self, Place};
use offramp_kernel::{Error, Netns, link};
use std::collections::HashSet;
use std::time::Duration;

/// What the last look found.
#[derive(Debug, Default)]
pub struct Reclaim {
    /// Dead at the last look: only what is dead at two looks is freed, since its DEL is probably on its way.
    dead: HashSet<AttachmentId>,
}

impl Reclaim {
    /// Looks once; returns how many attachments were freed.
    pub fn run(&mut self, node: &Node) -> Result<u64, CniError> {
        let (mut freed, mut errors, mut dead) = (0, Vec::new(), HashSet::new());
        let mut leftovers = Vec::new();
        for id in node.store.ids()? {
            // Whoever holds the lock works on it.
            let Ok(_lock) = node.store.lock(&id, Duration::ZERO) else { continue };
            let Ok(Some(record)) = node.store.read(&id) else { continue };
            let why = match (record.state, is_dead(&node.store.host(), &record)) {
                (State::Adding, _) => Some("its ADD died"),
                (State::Deleting, _) => Some("its DEL did not finish"),
                (State::Ready, Ok(false)) => None,
                (State::Ready, Ok(true)) if self.dead.contains(&id) => {
                    Some("its namespace and its interface are gone")
                }
                (State::Ready, Ok(true)) => {
                    dead.insert(id.clone());
                    None
                }
                (State::Ready, Err(e)) => {
                    errors.push(e);
                    None
                }
            };
            let Some(why) = why else { continue };
            match node.release(&id, OURSELVES) {
                Ok(()) => {
                    tracing::info!(attachment = %id, why, "reclaimed");
                    freed += 1;
                }
                // Its rest is for a plugin, which is in the node's mount namespace.
                Err(_) if has_networks(node, &id) => leftovers.push(id),
                Err(e) => errors.push(e),
            }
        }
        self.dead = dead;
        node.view().leftovers = leftovers;
        errors.extend(orphans(node).err());
        node.store.remove_torn()?;
        node.refresh()?;
        offramp_ledger::detach::joined(errors).map_or(Ok(freed), Err)
    }
}

fn has_networks(node: &Node, id: &AttachmentId) -> bool {
    let record = node.store.read(id).ok().flatten();
    record.is_some_and(|r| r.networks.iter().any(Delegation::is_begun))
}

/// Dead is what can serve nobody: the kernel takes a veth away with its namespace, and sends a VF's interface home. If
/// only one of the two is gone, somebody is at work, or it is for CHECK to tell.
pub fn is_dead(host: &vf::Host<'_>, record: &Record) -> Result<bool, CniError> {
    let unseen = match Netns::open(&record.netns.path) {
        Ok(netns) if netns.inode() == record.netns.inode => return Ok(false),
        Ok(_) | Err(Error::Netns { gone: true, .. }) => None,
        // A leftover of the runtime's, or a namespace that this process is not let near: the links tell.
        Err(e) => Some(e),
    };
    if let Some((name, mac)) = record.plan.host_link() {
        let found = link::find(&mut Socket::open()?, name)?;
        return Ok(!found.is_some_and(|l| l.is_host_end(mac)));
    }
    let places = places(host, record)?;
    if places.contains(&Place::In(record.netns.inode)) {
        return Ok(false);
    }
    match unseen {
        Some(e) if places.is_empty() || places.iter().any(|p| *p != Place::Home) => {
            Err(CniError::from(e).context(format!("whether {} is dead", record.attachment)))
        }
        _ => Ok(true),
    }
}

/// Where the netdevs of its VFs are.
fn places(host: &vf::Host<'_>, record: &Record) -> Result<Vec<Place>, CniError> {
    let moved = record.plan.steps.iter().filter_map(|step| match step {
        Step::MoveVf(moved) => Some(moved.vf.pci),
        _ => None,
    });
    Ok(moved.map(|pci| vf::place(host, pci)).collect::<Result<_, _>>()?)
}

/// Address files of inline networks that no record stands for.
fn orphans(node: &Node) -> Result<(), CniError> {
    let networks =
        node.store.list()?.records.into_iter().filter(|r| r.mode == Mode::Inline).map(|r| r.network);
    let on_disk = std::fs::read_dir(node.store.root().join("ipam")).into_iter().flatten().flatten();
    let on_disk = on_disk.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: HashSet<_> = networks.chain(on_disk).collect();
    for network in all {
        let addresses = node.store.addresses(&network, None);
        if addresses.dir().is_dir() {
            let removed = addresses.lock()?.remove_orphans(&node.store)?;
            if !removed.is_empty() {
                tracing::info!(%network, ?removed, "freed addresses that no attachment has");
            }
        }
    }
    Ok(())
}
