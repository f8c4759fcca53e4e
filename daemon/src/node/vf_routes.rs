//! The node's routes to pods that are not on its bridge, since eth0 is a VF or netkit in L3 mode, and the next hop of the
//! former: both are mended when somebody breaks them, and follow the PF's MAC.

use super::Node;
use crate::reconcile::Wanted;
use offramp_core::cni::CniError;
use offramp_core::ids::IfName;
use offramp_core::record::{Mode, Record, State};
use offramp_core::step::{ConfigurePod, HostRoute, Step};
use offramp_core::vf::ROUTE_PROTOCOL;
use offramp_kernel::link::{self, Link};
use offramp_kernel::netlink::Socket;
use offramp_kernel::sysctl::Sysctl;
use offramp_kernel::{Executor, Netns, neigh, nft, route, uplink};
use offramp_ledger::detach::joined;
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

/// What a look works with.
struct Look {
    socket: Socket,
    links: Vec<Link>,
    routes: HashSet<(IpAddr, u32)>,
    /// For whom the node answers on the bridge.
    answers: HashSet<(IpAddr, u32)>,
}

impl Look {
    fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|l| l.name == name)
    }
}

impl Node {
    /// Says how much of what was there had vanished. `prepared` is what was made ready for such pods: whether the bridge,
    /// and the uplink for VFs.
    pub fn reconcile_vf_routes(
        &self,
        prepared: &mut Wanted<(bool, Option<IfName>)>,
    ) -> Result<u64, CniError> {
        let mut socket = Socket::open()?;
        let routes: HashSet<_> = route::hosts_of(&mut socket, ROUTE_PROTOCOL)?.into_iter().collect();
        let records = self.store.list()?.records;
        let all: Vec<(&Record, &HostRoute)> =
            records.iter().filter_map(|r| Some((r, host_route(r)?))).collect();
        let uplink = self.vf_uplink();
        let answers = uplink.is_some() || self.config.path.is_routed() || !all.is_empty();
        let mut amiss =
            if answers { uplink::answer_on(&self.sysctl(), &self.config.bridge.name)? } else { 0 };
        if let Some(link) = &uplink {
            amiss += uplink::forward_from(&self.sysctl(), link)?;
        }
        let mut repairs = prepared.repairs((answers, uplink), amiss);
        self.find_cut_off(&all.iter().map(|(r, _)| *r).collect::<Vec<_>>());
        if all.is_empty() && routes.is_empty() {
            return Ok(repairs);
        }
        let answers = neigh::answered_for(&mut socket)?;
        let mut look = Look { links: link::list(&mut socket)?, socket, routes, answers };
        let mut errors = Vec::new();
        for (record, wanted) in all.iter().filter(|(r, _)| r.state == State::Ready && r.mode == Mode::Node) {
            match self.mend(&mut look, record, wanted) {
                Ok(mended) => repairs += mended,
                Err(e) => errors.push(e.context(&record.attachment)),
            }
        }
        let wanted: HashSet<IpAddr> = all.iter().flat_map(|(_, w)| w.ips.iter().copied()).collect();
        if look.routes.iter().any(|(ip, _)| !wanted.contains(ip)) {
            repairs += self.remove_stray(&mut look)?;
        }
        joined(errors).map_or(Ok(repairs), Err)
    }

    fn mend(&self, look: &mut Look, record: &Record, wanted: &HostRoute) -> Result<u64, CniError> {
        // Whoever holds the lock is at work on it.
        let Ok(_lock) = self.store.lock(&record.attachment, Duration::ZERO) else { return Ok(0) };
        if self.store.read(&record.attachment)?.is_none_or(|r| r.state != State::Ready) {
            return Ok(0);
        }
        let Some(link) = look.link(wanted.link.as_str()).cloned() else {
            if wanted.mac.is_none() {
                // A pair's end has gone with the pod's: its DEL, or reclaim, sees to the rest.
                return Ok(0);
            }
            return Err(CniError::kernel(format!("link {}, which leads to it, is gone", wanted.link)));
        };
        let mut repairs = 0;
        let mut executor = Executor::new(None)?.with_sysctl(self.sysctl());
        let routed = record.plan.steps.iter().find(|s| matches!(s, Step::AttachRouted(_)));
        if let Some(attach) = routed.filter(|_| !link.is_routed()) {
            tracing::warn!(link = link.name, link.up, link.group, "somebody has changed a pod's link");
            executor.apply(attach)?;
            repairs += 1;
        }
        // What is down has lost its routes.
        if !is_in_place(look, &link, wanted)? {
            executor.apply(&Step::HostRoute(wanted.clone()))?;
            repairs += 1;
        }
        repairs += u64::from(open_loopback(&self.sysctl(), record, wanted)?);
        Ok(repairs + next_hops(record, &link)?)
    }

    /// Routes of ours that no record stands for.
    fn remove_stray(&self, look: &mut Look) -> Result<u64, CniError> {
        // An address may have a new holder by now. Records are written under this lock, and routes made after records.
        let _allocator = self.allocator();
        let records = self.store.list()?.records;
        let wanted: HashSet<IpAddr> =
            records.iter().filter_map(host_route).flat_map(|route| route.ips.iter().copied()).collect();
        let mut removed = 0;
        for (ip, index) in look.routes.iter().filter(|(ip, _)| !wanted.contains(ip)) {
            let Some(link) = look.links.iter().find(|l| l.index == *index) else { continue };
            let mut requests = vec![
                route::remove_to_host(&link.name, *index, *ip, ROUTE_PROTOCOL),
                neigh::remove(&link.name, *index, *ip),
            ];
            let bridge = look.link(self.config.bridge.name.as_str()).map(|b| b.index);
            requests.extend(bridge.map(|b| neigh::answer_no_more(self.config.bridge.name.as_str(), b, *ip)));
            look.socket.batch(requests)?;
            tracing::info!(%ip, link = link.name, "removed a route that no attachment has");
            removed += 1;
        }
        Ok(removed)
    }
}

pub(super) fn host_route(record: &Record) -> Option<&HostRoute> {
    record.plan.steps.iter().find_map(|s| if let Step::HostRoute(route) = s { Some(route) } else { None })
}

/// The pod's ports at the node's 127.0.0.1: the way there is another than the bridge. Only where there are ports, which is
/// after the rules that keep others out.
pub(super) fn open_loopback(sysctl: &Sysctl, record: &Record, route: &HostRoute) -> Result<bool, CniError> {
    if record.plan.firewall.host_ports.is_empty() {
        return Ok(false);
    }
    Ok(nft::enable_route_localnet(sysctl, &route.link)?)
}

fn is_in_place(look: &mut Look, link: &Link, wanted: &HostRoute) -> Result<bool, CniError> {
    let bridge = look.link(wanted.bridge.as_str()).map(|b| b.index);
    for ip in &wanted.ips {
        let known = match wanted.mac {
            Some(mac) => {
                let has = neigh::mac_of(&mut look.socket, &link.name, link.index, *ip)?;
                has.as_deref() == Some(&mac.octets())
            }
            None => true,
        };
        let answered = bridge.is_none_or(|bridge| look.answers.contains(&(*ip, bridge)));
        let routed = look.routes.contains(&(*ip, link.index));
        if !answered || !routed || !known {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The pod's next hop has the MAC that the node's link has now.
fn next_hops(record: &Record, link: &Link) -> Result<u64, CniError> {
    let Ok(mac) =
        <[u8; 6]>::try_from(link.mac.as_slice()).map_err(drop).and_then(|m| m.try_into().map_err(drop))
    else {
        return Ok(0);
    };
    let netns = match Netns::open(&record.netns.path) {
        Ok(netns) if netns.inode() == record.netns.inode => netns,
        _ => return Ok(0),
    };
    let mut socket = Socket::open_in(&netns)?;
    let mut mended = 0;
    for pod in pods_behind(record) {
        let name = pod.link.as_str();
        // A pod author with NET_ADMIN may have renamed it: then it is the author's.
        let Some(inside) = link::find(&mut socket, &pod.link)? else { continue };
        for hop in &pod.neighbours {
            if neigh::mac_of(&mut socket, name, inside.index, hop.ip)?.is_none_or(|m| m != link.mac) {
                socket.batch(vec![neigh::set_permanent(name, inside.index, hop.ip, mac)])?;
                mended += 1;
            }
        }
    }
    Ok(mended)
}

fn pods_behind(record: &Record) -> impl Iterator<Item = &ConfigurePod> {
    record.plan.steps.iter().filter_map(|s| match s {
        Step::ConfigurePod(pod) if !pod.neighbours.is_empty() => Some(pod),
        _ => None,
    })
}
