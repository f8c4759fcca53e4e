//! Packets of more than 64 KiB inside the host (BIG TCP): on all devices that pods' packets pass, or on none.

use super::{Tuned, number, pods};
use crate::node::Node;
use offramp_core::ids::IfName;
use offramp_core::offload::{Offloads, Sizes};
use offramp_core::overlay::big_tcp::{Allowed, Shown, allowed};
use offramp_core::overlay::decisions::{Link, below, named};
use offramp_kernel::netlink::Socket;
use offramp_kernel::offload::set_sizes;
use offramp_kernel::{Result, crash, link};
use serde::{Deserialize, Serialize};

/// A device whose sizes are larger than they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Raised {
    /// Which.
    pub device: IfName,
    /// Its number: another one of its name is as its driver made it.
    pub number: u32,
    /// Those that were changed, as they were.
    pub before: Sizes,
    /// As they are to be.
    pub to: Sizes,
}

/// How many are otherwise now.
pub(super) fn tune(node: &Node, offloads: &Offloads, shown: &Shown, tuned: &mut Tuned) -> Result<u64> {
    if node.config.offloads.big_tcp && shown.is_empty() {
        // A former daemon may have had them raised: that is not put back to be raised again.
        node.view().big_tcp =
            Some(Allowed::neither("whether this kernel carries larger ones is being tried"));
        return Ok(0);
    }
    let Some((allowed, path)) = decide(node, offloads, shown)? else { return Ok(0) };
    let of_path = |raised: &Raised| path.iter().any(|(link, _)| *link.name == raised.device);
    let is_over = |raised: &Raised| !of_path(raised) || !covers(&allowed, &raised.to);
    if tuned.sizes.iter().any(is_over) {
        // Pods come first: no device is to cut up what they send. What was looked at is not so then: the next look goes on.
        let pods = pods::follow(node, &Allowed::neither("devices are put back"), tuned);
        let back = put_back(node, tuned, is_over);
        return Ok(pods? + back?);
    }
    // All devices, and pods last, or none.
    let raised = raise_all(node, tuned, &path, &allowed);
    let carried = raised.as_ref().map_or_else(|e| Allowed::neither(&e.to_string()), |_| allowed);
    node.view().big_tcp = node.config.offloads.big_tcp.then(|| carried.clone());
    let pods = pods::follow(node, &carried, tuned);
    Ok(raised? + pods?)
}

/// How many were not as they should be.
fn raise_all(node: &Node, tuned: &mut Tuned, path: &Path, allowed: &Allowed) -> Result<u64> {
    let mut raised = 0;
    for (link, joins) in path {
        if let Some(to) = allowed.raise(&link.device.sizes, *joins) {
            raise(node, tuned, *link, to)?;
            raised += 1;
        }
    }
    Ok(raised)
}

/// What pods may send, and the node's devices on its way, and whether they join what they receive; none: not known yet.
fn decide<'a>(node: &Node, offloads: &'a Offloads, shown: &Shown) -> Result<Option<(Allowed, Path<'a>)>> {
    let nothing = |why| Ok(Some((Allowed::neither(why), Vec::new())));
    if !node.config.offloads.big_tcp {
        return nothing("offloads.bigTcp is off");
    }
    let Some(seen) = node.view().overlay.clone() else { return Ok(None) };
    let Some(links) = seen.links() else { return nothing("no uplink was found") };
    let devices = &offloads.devices;
    let tunnel = links.tunnel.as_ref().map(|(tunnel, _)| tunnel);
    // Of a device that the look did not see, as an uplink that is another one since, nobody knows what it takes.
    let below = below(devices, links.uplink.0.as_str());
    let tunnel = tunnel.map_or(Some(None), |tunnel| named(devices, tunnel).map(Some));
    let Some(tunnel) = tunnel.filter(|_| !below.is_empty()) else { return Ok(None) };
    let mut path: Path = below.into_iter().chain(tunnel).map(|link| (link, true)).collect();
    if has_ports(&node.config.bridge.name)? {
        let Some(bridge) = named(devices, &node.config.bridge.name) else { return Ok(None) };
        path.push((bridge, false));
    }
    let all: Vec<Link> = path.iter().map(|(link, _)| *link).collect();
    Ok(Some((allowed(&all, seen.outer(), shown), path)))
}

/// Devices, and whether they join what they receive.
type Path<'a> = Vec<(Link<'a>, bool)>;

/// What a bridge can have is what its ports can (`br_set_gso_limits`, net/bridge/br_if.c): one without any passes nothing, and
/// says 64 KiB.
fn has_ports(bridge: &IfName) -> Result<bool> {
    let links = link::list(&mut Socket::open()?)?;
    let bridge = links.iter().find(|link| link.name == bridge.as_str()).map(|bridge| bridge.index);
    Ok(bridge.is_some() && links.iter().any(|link| link.controller == bridge))
}

/// Whether all that was raised is to be as it is.
fn covers(allowed: &Allowed, to: &Sizes) -> bool {
    let is = |wanted: &std::result::Result<u32, String>, size: Option<u32>| {
        size.is_none_or(|size| wanted.as_ref() == Ok(&size))
    };
    let Sizes { gso_max_size, gro_max_size, gso_ipv4_max_size, gro_ipv4_max_size, .. } = to;
    is(&allowed.v6, *gso_max_size)
        && is(&allowed.v6, *gro_max_size)
        && is(&allowed.v4, *gso_ipv4_max_size)
        && is(&allowed.v4, *gro_ipv4_max_size)
}

fn raise(node: &Node, tuned: &mut Tuned, link: Link, to: Sizes) -> Result<()> {
    let Some(number) = number(link.name)? else { return Ok(()) };
    let is_it = |raised: &Raised| raised.device == *link.name && raised.number == number;
    // What was raised before keeps what it was before that, whoever changed it since.
    let known = tuned.sizes.iter().find(|raised| is_it(raised)).cloned();
    let raised = Raised {
        device: link.name.clone(),
        number,
        before: overlaid(&of(&to, &link.device.sizes), known.as_ref().map(|known| &known.before)),
        to: overlaid(&to, known.as_ref().map(|known| &known.to)),
    };
    if known.as_ref() != Some(&raised) {
        tuned.sizes.retain(|other| other.device != *link.name);
        tuned.sizes.push(raised);
        tuned.keep(node)?;
    }
    tracing::info!(device = %link.name, ?to, "sizes of packets are raised (BIG TCP)");
    Socket::open()?.batch(vec![set_sizes(link.name.as_str(), number, &to)])?;
    crash::point("tuning.raised");
    Ok(())
}

/// Of `all` those that `which` has.
fn of(which: &Sizes, all: &Sizes) -> Sizes {
    Sizes {
        gso_max_size: which.gso_max_size.and(all.gso_max_size),
        gso_ipv4_max_size: which.gso_ipv4_max_size.and(all.gso_ipv4_max_size),
        gro_max_size: which.gro_max_size.and(all.gro_max_size),
        gro_ipv4_max_size: which.gro_ipv4_max_size.and(all.gro_ipv4_max_size),
        ..Sizes::default()
    }
}

/// `sizes`, under those of `over`.
fn overlaid(sizes: &Sizes, over: Option<&Sizes>) -> Sizes {
    let Some(over) = over else { return *sizes };
    Sizes {
        gso_max_size: over.gso_max_size.or(sizes.gso_max_size),
        gso_ipv4_max_size: over.gso_ipv4_max_size.or(sizes.gso_ipv4_max_size),
        gro_max_size: over.gro_max_size.or(sizes.gro_max_size),
        gro_ipv4_max_size: over.gro_ipv4_max_size.or(sizes.gro_ipv4_max_size),
        ..Sizes::default()
    }
}

/// Puts back what was raised of those for which `which` holds; how many.
pub(super) fn put_back(node: &Node, tuned: &mut Tuned, which: impl Fn(&Raised) -> bool) -> Result<u64> {
    let (goes, stays): (Vec<_>, Vec<_>) = std::mem::take(&mut tuned.sizes).into_iter().partition(which);
    tuned.sizes = stays;
    if goes.is_empty() {
        return Ok(0);
    }
    let (mut failed, mut count) = (Ok(()), 0);
    for raised in goes {
        match lower(&raised) {
            Ok(()) => count += 1,
            Err(e) => {
                failed = Err(e);
                tuned.sizes.push(raised);
            }
        }
    }
    tuned.keep(node).and(failed).map(|()| count)
}

/// What somebody has changed since is left, and a device that is gone.
fn lower(raised: &Raised) -> Result<()> {
    let Raised { device, number: was, before, to } = raised;
    let mut socket = Socket::open()?;
    let Some((number, now)) = offramp_kernel::offload::sizes_of(&mut socket, device)? else { return Ok(()) };
    let same = |to: Option<u32>, now: Option<u32>, before| if to == now { before } else { None };
    let mut back = Sizes {
        gso_max_size: same(to.gso_max_size, now.gso_max_size, before.gso_max_size),
        gso_ipv4_max_size: same(to.gso_ipv4_max_size, now.gso_ipv4_max_size, before.gso_ipv4_max_size),
        gro_max_size: same(to.gro_max_size, now.gro_max_size, before.gro_max_size),
        gro_ipv4_max_size: same(to.gro_ipv4_max_size, now.gro_ipv4_max_size, before.gro_ipv4_max_size),
        ..Sizes::default()
    };
    if number != *was || back == Sizes::default() {
        return Ok(());
    }
    // IPv6's sets IPv4's too where it is small: that is to stay.
    back.gso_ipv4_max_size =
        back.gso_ipv4_max_size.or(now.gso_ipv4_max_size.filter(|_| back.gso_max_size.is_some()));
    back.gro_ipv4_max_size =
        back.gro_ipv4_max_size.or(now.gro_ipv4_max_size.filter(|_| back.gro_max_size.is_some()));
    tracing::info!(%device, ?back, "sizes of packets are as before");
    socket.batch(vec![set_sizes(device.as_str(), number, &back)])?;
    crash::point("tuning.lowered");
    Ok(())
}
