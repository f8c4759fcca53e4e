//! Finding the uplink and its addresses.

use crate::addr::family;
use crate::link::{self, Link};
use crate::netlink::Socket;
use crate::{Error, Result};
use ipnetwork::IpNetwork;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage};
use offramp_core::ids::IfName;
use offramp_core::net::Family;
use offramp_core::overlay::Underlay;
use std::net::IpAddr;

/// What the operator said about the node's place on the underlay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// The uplink; none: the link that has the first of `addresses`, or else that of the default route.
    pub uplink: Option<IfName>,
    /// The addresses that peers know this node by; empty: those of the uplink.
    pub addresses: Vec<IpAddr>,
}

/// Finds the uplink; the error names what was looked for.
pub fn find(socket: &mut Socket, choice: &Choice) -> Result<Underlay> {
    let uplink = match (&choice.uplink, choice.addresses.first()) {
        (Some(name), _) => link::require(socket, name)?,
        (None, Some(address)) => holder_of(socket, *address)?,
        (None, None) => of_default_route(socket)?,
    };
    let mut addresses =
        addresses(socket, Some(uplink.index))?.into_iter().map(|(_, net)| net).collect::<Vec<_>>();
    // Those that the operator named come first, in the operator's order.
    let rank = |net: &IpNetwork| choice.addresses.iter().position(|ip| *ip == net.ip()).unwrap_or(usize::MAX);
    addresses.sort_by_key(rank);
    Ok(Underlay { index: uplink.index, name: uplink.name, mtu: uplink.mtu, addresses })
}

fn holder_of(socket: &mut Socket, ip: IpAddr) -> Result<Link> {
    let what = || Error::Missing { what: format!("a link that has this node's address {ip}") };
    let all = addresses(socket, None)?;
    let index = all.iter().find(|(_, net)| net.ip() == ip).map(|(index, _)| *index).ok_or_else(what)?;
    link::find_index(socket, index)?.ok_or_else(what)
}

/// Usable addresses with their links' numbers. Not listed: those that only this link knows, those that the kernel
/// is still testing or about to give up, and temporary ones (RFC 8981), which no peer could know.
fn addresses(socket: &mut Socket, index: Option<u32>) -> Result<Vec<(u32, IpNetwork)>> {
    let mut message = AddressMessage::default();
    message.header.index = index.unwrap_or_default();
    let replies = socket.dump("list addresses", &RouteNetlinkMessage::GetAddress(message))?;
    let address = |m: RouteNetlinkMessage| match m {
        RouteNetlinkMessage::NewAddress(a) if index.is_none_or(|i| i == a.header.index) => usable(&a),
        _ => None,
    };
    Ok(replies.into_iter().filter_map(address).collect())
}

fn usable(message: &AddressMessage) -> Option<(u32, IpNetwork)> {
    // The header has room for the lower eight flags only.
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    let ip = local.or(address)?;
    let passing = AddressFlags::Tentative | AddressFlags::Deprecated | AddressFlags::Dadfailed;
    let useless = match ip {
        IpAddr::V4(a) => a.is_link_local(),
        // For IPv6 this bit says "temporary" (IFA_F_TEMPORARY, include/uapi/linux/if_addr.h).
        IpAddr::V6(a) => a.is_unicast_link_local() || flags.intersects(passing | AddressFlags::Secondary),
    };
    let net =
        IpNetwork::new(ip, message.header.prefix_len).ok().filter(|_| !(useless || ip.is_loopback()))?;
    Some((message.header.index, net))
}

/// The link of the default route with the lowest metric, IPv4's before IPv6's.
fn of_default_route(socket: &mut Socket) -> Result<Link> {
    for of in Family::ALL {
        let mut message = RouteMessage::default();
        message.header.address_family = family(of);
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        let replies = socket.dump("list routes", &RouteNetlinkMessage::GetRoute(message))?;
        let default = |m: RouteNetlinkMessage| match m {
            RouteNetlinkMessage::NewRoute(r) if r.header.address_family == family(of) => default_link(&r),
            _ => None,
        };
        if let Some((_, index)) = replies.into_iter().filter_map(default).min() {
            let what = || Error::Missing { what: format!("link {index} of the default route") };
            return link::find_index(socket, index)?.ok_or_else(what);
        }
    }
    let why = "there is no default route to tell it by, and node.uplink does not name it".into();
    Err(Error::Unfit { what: "the uplink".into(), why })
}

/// Metric and link of a default route.
fn default_link(route: &RouteMessage) -> Option<(u32, u32)> {
    if route.header.destination_prefix_length > 0 || route.header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let (mut metric, mut link) = (0, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Priority(p) => metric = *p,
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::MultiPath(hops) => link = link.or(hops.first().map(|hop| hop.interface_index)),
            _ => {}
        }
    }
    link.map(|index| (metric, index))
}
