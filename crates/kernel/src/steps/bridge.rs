//! The bridge: in inline mode the plugin makes it, in node mode the daemon does, both with this code.

use crate::executor::Executor;
use crate::link::{self, Link, info, named, numbered};
use crate::netlink::Socket;
use crate::{Error, Result, addr, neigh, random};
use ipnetwork::IpNetwork;
use netlink_packet_route::link::{InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo};
use nix::errno::Errno;
use offramp_core::ids::{IfName, MacAddr};
use offramp_core::net::Family;
use offramp_core::spec::EnsureBridge;
use offramp_core::step::{Gateway, Neighbours};
use std::net::IpAddr;

impl Executor<'_> {
    /// The index of a link that must be a bridge; looked up once, since the kernel's lock is busy in a burst.
    pub(crate) fn bridge(&mut self, name: &IfName) -> Result<u32> {
        match &self.bridge {
            Some((known, index)) if known == name => Ok(*index),
            _ => {
                let index = fit(name, link::require(&mut self.host, name)?)?.index;
                self.bridge = Some((name.clone(), index));
                Ok(index)
            }
        }
    }
}

fn fit(name: &IfName, link: Link) -> Result<Link> {
    match link.kind.as_deref() {
        Some("bridge") => Ok(link),
        kind => {
            let is = kind.map_or_else(|| "a physical link".to_owned(), |k| format!("of kind {k}"));
            Err(Error::Unfit { what: format!("link {name}"), why: format!("it is {is}, not a bridge") })
        }
    }
}

/// Makes the bridge, or corrects the one that is there. Eight plugins may do that at once.
pub(crate) fn ensure(executor: &mut Executor, want: &EnsureBridge) -> Result<()> {
    let socket = &mut executor.host;
    let found = match link::find(socket, &want.name)? {
        Some(link) => link,
        None => {
            create(socket, want)?;
            link::require(socket, &want.name)?
        }
    };
    let bridge = fit(&want.name, found)?;
    correct(socket, want, &bridge)?;
    executor.bridge = Some((want.name.clone(), bridge.index));
    Ok(())
}

fn create(socket: &mut Socket, want: &EnsureBridge) -> Result<()> {
    let mut message = named(&want.name);
    // A bridge without a MAC of its own takes the lowest of its ports', anew with every pod: caches would go stale.
    let mac = want.mac.map_or_else(|| random::bits64().map(MacAddr::local), Ok)?;
    message.attributes.push(LinkAttribute::Address(mac.octets().to_vec()));
    message.attributes.extend(want.mtu.map(|m| LinkAttribute::Mtu(m.get())));
    message.attributes.push(info(InfoKind::Bridge, None));
    let request = link::create(format!("create bridge {}", want.name), message);
    socket.batch(vec![request.accept(&[Errno::EEXIST as i32])])
}

/// Sends only what differs.
fn correct(socket: &mut Socket, want: &EnsureBridge, is: &Link) -> Result<()> {
    let (name, mut requests) = (want.name.as_str(), Vec::new());
    if want.vlan_filtering && !is.vlan_filtering {
        let data = InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)]);
        let infos = vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(data)];
        requests.push(link::set_info(format!("set {name} vlan_filtering on"), numbered(is.index), infos));
    }
    if let Some(mtu) = want.mtu.filter(|m| m.get() != is.mtu) {
        requests.push(link::set_mtu(name, numbered(is.index), mtu.get()));
    }
    if want.promisc && !is.promisc {
        let mut message = numbered(is.index);
        message.header.flags = LinkFlags::Promisc;
        message.header.change_mask = LinkFlags::Promisc;
        requests.push(link::set(format!("set {name} promisc on"), message));
    }
    if !is.up {
        requests.push(link::set_up(name, numbered(is.index), true));
    }
    socket.batch(requests)
}

/// Whether somebody uses the bridge. Nobody is told of a port that comes in between: the caller keeps them away.
pub(crate) fn has_ports(executor: &mut Executor, name: &IfName) -> Result<bool> {
    let Some(bridge) = link::index_of(name)? else { return Ok(false) };
    Ok(link::list(&mut executor.host)?.iter().any(|l| l.controller == Some(bridge)))
}

/// Puts the gateways' addresses on the bridge and has the node forward.
pub(crate) fn gateway(executor: &mut Executor, want: &Gateway) -> Result<()> {
    let name = want.bridge.as_str();
    let bridge = executor.bridge(&want.bridge)?;
    let has = addr::list(&mut executor.host, bridge)?;
    let mut requests = Vec::new();
    for address in want.addresses.iter().filter(|a| !has.contains(a)) {
        for other in has.iter().filter(|h| in_the_way(**h, *address)) {
            if !want.force {
                let why = format!(
                    "it has address {other}, where the gateway {address} is wanted (forceAddress replaces it)"
                );
                return Err(Error::Unfit { what: format!("bridge {name}"), why });
            }
            requests.push(addr::remove(name, bridge, *other));
        }
        requests.push(addr::add(name, bridge, *address, false).accept(&[Errno::EEXIST as i32]));
    }
    executor.host.batch(requests)?;
    let ips: Vec<IpAddr> = want.addresses.iter().map(IpNetwork::ip).collect();
    addr::settle(&mut executor.host, name, &ips)?;
    for family in Family::ALL {
        if want.addresses.iter().any(|a| Family::of(a.ip()) == family) {
            executor.sysctl.forward(family)?;
        }
    }
    Ok(())
}

/// Whether an address of the bridge claims (part of) the gateway's subnet.
fn in_the_way(has: IpNetwork, want: IpNetwork) -> bool {
    let link_local = matches!(has.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    !link_local && offramp_core::net::overlaps(has, want)
}

/// Tells the node the pod's MAC. Not permanent: the kernel confirms it when it is used.
pub(crate) fn neighbours(executor: &mut Executor, want: &Neighbours) -> Result<()> {
    let bridge = executor.bridge(&want.bridge)?;
    let hint = |ip: &IpAddr| neigh::hint(want.bridge.as_str(), bridge, *ip, want.mac);
    executor.host.batch(want.ips.iter().map(hint).collect())
}
