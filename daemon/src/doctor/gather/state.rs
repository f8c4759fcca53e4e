//! The state directory.

use super::text;
use crate::reclaim::is_dead;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use offramp_core::doctor::{Attached, Look, Records, Space};
use offramp_core::record::{Mode, Record, who};
use offramp_ledger::{Listing, Store};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is left of the file system.
pub fn space(dir: &Path) -> Look<Space> {
    let told = statfs(dir).map_err(|e| format!("ask for the room in {}: {e}", dir.display()))?;
    let block = u64::try_from(told.block_size()).unwrap_or_default();
    Ok(Space {
        path: dir.display().to_string(),
        total: told.blocks().saturating_mul(block),
        free: told.blocks_available().saturating_mul(block),
        inodes: told.files(),
        free_inodes: told.files_free(),
        in_memory: told.filesystem_type() == TMPFS_MAGIC,
    })
}

/// The attachments, and the claims that cannot be read.
pub fn records(store: &Store, listing: &Listing) -> Records {
    let of_vfs = match store.claims().list() {
        Ok(claimed) => claimed.unreadable.iter().map(text).collect(),
        Err(e) => vec![text(e)],
    };
    let of_queues = match store.queue_claims().list() {
        Ok(claimed) => claimed.unreadable.into_iter().map(|(_, _, why)| why).collect(),
        Err(e) => vec![text(e)],
    };
    Records {
        records: listing.records.iter().map(|record| attached(store, record)).collect(),
        unreadable: listing.unreadable.iter().map(text).chain(of_vfs).chain(of_queues).collect(),
    }
}

fn attached(store: &Store, record: &Record) -> Attached {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let ifname = &record.attachment.ifname;
    let own = record.plan.result.interfaces.iter().find(|i| i.sandbox.is_some() && i.name == ifname.as_str());
    Attached {
        id: record.attachment.clone(),
        who: who(&record.attachment, record.pod.as_ref()),
        by_daemon: record.mode == Mode::Node,
        state: record.state,
        age: now.saturating_sub(record.created),
        dead: is_dead(&store.host(), record).map_err(text),
        host_link: record.plan.host_link().map(|(name, _)| name.to_string()),
        mtu: own.and_then(|i| i.mtu),
        ips: record.ips().collect(),
    }
}
