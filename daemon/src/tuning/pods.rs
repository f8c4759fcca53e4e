//! The sizes of pods' pairs. Either end is Offramp's: what it was before is the kernel's default. The pod's end comes first,
//! so that a node's end that is larger tells that both are. One that is as it was before tells nothing: a daemon may have been
//! killed between the two.

use super::Tuned;
use crate::node::Node;
use offramp_core::offload::Sizes;
use offramp_core::overlay::big_tcp::{Allowed, USUAL};
use offramp_core::record::{NetnsRef, Record, State};
use offramp_core::traffic::{Meter, Metered, metered};
use offramp_kernel::netlink::Socket;
use offramp_kernel::offload::{Sized, set_sizes, sizes_by_name, sizes_of};
use offramp_kernel::{Error, Netns, Result, crash};
use std::collections::HashMap;

/// Has all pods' pairs carry what is allowed, and no more; how many are otherwise now.
pub(super) fn follow(node: &Node, allowed: &Allowed, tuned: &mut Tuned) -> Result<u64> {
    let usual = Sizes { gso_max_size: Some(USUAL), gso_ipv4_max_size: Some(USUAL), ..Sizes::default() };
    let wanted = Sizes {
        gso_max_size: allowed.v6.clone().ok().or(Some(USUAL)),
        gso_ipv4_max_size: allowed.v4.clone().ok().or(Some(USUAL)),
        ..Sizes::default()
    };
    if wanted == usual && !tuned.pods {
        return Ok(0);
    }
    if !tuned.pods {
        tuned.pods = true;
        tuned.keep(node)?;
    }
    let mut socket = Socket::open()?;
    let links = sizes_by_name(&mut socket)?;
    let failed =
        |e: offramp_ledger::Error| Error::Unfit { what: "read the records".into(), why: e.to_string() };
    // One pod's fault is not the others'.
    let (mut changed, mut outcome) = (0, Ok(()));
    for record in node.store.list().map_err(failed)?.records {
        for pair in pairs(&record) {
            match of_pair(&mut socket, &links, &record.netns, &pair, &wanted) {
                Ok(otherwise) => changed += u64::from(otherwise),
                Err(e) => outcome = Err(e),
            }
        }
    }
    outcome?;
    if wanted == usual {
        tuned.pods = false;
        tuned.keep(node)?;
    }
    Ok(changed)
}

/// Those that a pod has in use.
fn pairs(record: &Record) -> Vec<Metered> {
    let is_pair = |m: &Metered| matches!(m.meter, Meter::HostEnd { .. });
    let ready = record.state == State::Ready;
    if ready { metered(record).into_iter().filter(is_pair).collect() } else { Vec::new() }
}

/// Whether anything was changed. A pod that is being deleted is nobody's fault.
fn of_pair(
    host: &mut Socket,
    links: &HashMap<String, Sized>,
    netns: &NetnsRef,
    pair: &Metered,
    wanted: &Sizes,
) -> Result<bool> {
    let Meter::HostEnd { link, mac } = &pair.meter else { return Ok(false) };
    let Some(end) = links.get(link.as_str()).filter(|end| end.link.is_host_end(*mac)) else {
        return Ok(false);
    };
    let is_larger = [wanted.gso_max_size, wanted.gso_ipv4_max_size].iter().any(|size| *size > Some(USUAL));
    let node_is_so = is_so(&end.sizes, wanted);
    if node_is_so && is_larger {
        return Ok(false);
    }
    let Some(pod) = Netns::open(&netns.path).ok().filter(|pod| pod.inode() == netns.inode) else {
        return Ok(false);
    };
    let mut inside = Socket::open_in(&pod)?;
    // A pod author with NET_ADMIN may have renamed it: then it is the author's.
    let there = sizes_of(&mut inside, &pair.ifname)?.filter(|(_, sizes)| !is_so(sizes, wanted));
    if let Some((index, _)) = there {
        gone_is_well(inside.batch(vec![set_sizes(pair.ifname.as_str(), index, wanted)]))?;
        crash::point("tuning.pod-end");
    }
    if !node_is_so {
        gone_is_well(host.batch(vec![set_sizes(link.as_str(), end.link.index, wanted)]))?;
        crash::point("tuning.host-end");
    }
    Ok(there.is_some() || !node_is_so)
}

fn is_so(sizes: &Sizes, wanted: &Sizes) -> bool {
    // Before Linux 6.3 one size is for both families.
    let v4 = sizes.gso_ipv4_max_size.is_none() || sizes.gso_ipv4_max_size == wanted.gso_ipv4_max_size;
    sizes.gso_max_size == wanted.gso_max_size && v4
}

fn gone_is_well(outcome: Result<()>) -> Result<()> {
    const ENODEV: i32 = 19;
    outcome.or_else(|e| if e.errno() == Some(ENODEV) { Ok(()) } else { Err(e) })
}
