//! The state directory.

use super::text;
use crate::reclaim::is_dead;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use offramp_core::doctor::{Attached, Look, Records, Space};
use offramp_core::record::{Mode, Record, who};
use offramp_core::step::{HostRoute, Step};
use offramp_core::vf::ROUTE_PROTOCOL;
use offramp_kernel::netlink::Socket;
use offramp_kernel::{link, route};
use offramp_ledger::{Listing, Store};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
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
    let ways = Ways::look(&listing.records).map_err(text);
    Records {
        records: listing.records.iter().map(|record| attached(store, record, &ways)).collect(),
        unreadable: listing.unreadable.iter().map(text).chain(of_vfs).chain(of_queues).collect(),
    }
}

/// The node's routes to its pods that are not on the bridge.
#[derive(Default)]
struct Ways {
    links: HashMap<String, u32>,
    routes: HashSet<(IpAddr, u32)>,
}

impl Ways {
    /// Only where there are such pods.
    fn look(records: &[Record]) -> offramp_kernel::Result<Self> {
        if !records.iter().any(|r| host_routes(r).next().is_some()) {
            return Ok(Self::default());
        }
        let socket = &mut Socket::open()?;
        let routes = route::hosts_of(socket, ROUTE_PROTOCOL)?.into_iter().collect();
        Ok(Self { links: link::list(socket)?.into_iter().map(|l| (l.name, l.index)).collect(), routes })
    }

    fn missing(&self, record: &Record) -> Vec<IpAddr> {
        let lost = |wanted: &HostRoute| {
            let link = self.links.get(wanted.link.as_str());
            let there = |ip: &IpAddr| link.is_some_and(|link| self.routes.contains(&(*ip, *link)));
            wanted.ips.iter().copied().filter(|ip| !there(ip)).collect::<Vec<_>>()
        };
        host_routes(record).flat_map(lost).collect()
    }
}

fn host_routes(record: &Record) -> impl Iterator<Item = &HostRoute> {
    record.plan.steps.iter().filter_map(|s| if let Step::HostRoute(route) = s { Some(route) } else { None })
}

fn attached(store: &Store, record: &Record, ways: &Look<Ways>) -> Attached {
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
        is_routed: record.plan.steps.iter().any(|s| matches!(s, Step::AttachRouted(_))),
        mtu: own.and_then(|i| i.mtu),
        ips: record.ips().collect(),
        unrouted: ways.as_ref().map(|ways| ways.missing(record)).map_err(Clone::clone),
    }
}
