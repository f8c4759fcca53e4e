//! Routes.

use crate::addr::family;
use crate::link::attributes;
use crate::message::{self, Message, RTM_NEWROUTE, half, word};
use crate::netlink::{Request, Socket};
use crate::{Error, Result};
use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope, RouteType,
};
use nix::errno::Errno;
use offramp_core::cni::result::Route;
use offramp_core::net::Family;
use std::net::IpAddr;

/// An address as a route attribute holds it.
pub fn address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(a) => RouteAddress::Inet(a),
        IpAddr::V6(a) => RouteAddress::Inet6(a),
    }
}

/// A unicast route to `dst` by a link.
pub fn message(dst: IpNetwork, link: u32, protocol: RouteProtocol) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(Family::of(dst.ip()));
    message.header.destination_prefix_length = dst.prefix();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = protocol;
    message.header.kind = RouteType::Unicast;
    if dst.prefix() > 0 {
        message.attributes.push(RouteAttribute::Destination(address(dst.network())));
    }
    message.attributes.push(RouteAttribute::Oif(link));
    message
}

/// One way to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The destination.
    pub dst: IpNetwork,
    /// The next hop; none: on-link.
    pub gateway: Option<IpAddr>,
}

// include/uapi/linux/rtnetlink.h
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
/// struct rtmsg
const HEADER: usize = 12;
/// struct rtnexthop
const NEXT_HOP: usize = 8;

/// The addresses that have a route of their own of this protocol, with their links' numbers.
pub fn hosts_of(socket: &mut Socket, protocol: u8) -> Result<Vec<(IpAddr, u32)>> {
    let mut hosts = Vec::new();
    for of in Family::ALL {
        let mut message = RouteMessage::default();
        message.header.address_family = family(of);
        message.header.protocol = RouteProtocol::from(protocol);
        let replies = socket.dump_raw("list routes", message::get_route(message))?;
        hosts.extend(replies.iter().filter_map(|m| host_of(m, of, protocol)));
    }
    Ok(hosts)
}

fn host_of(message: &Message, of: Family, protocol: u8) -> Option<(IpAddr, u32)> {
    let body = &message.body;
    // struct rtmsg: family, prefix length, ..., byte 5 the protocol. Older kernels pass over the dump's filter.
    let ours = message.kind == RTM_NEWROUTE
        && body.first() == Some(&u8::from(family(of)))
        && body.get(1) == Some(&of.host_prefix())
        && body.get(5) == Some(&protocol);
    let value =
        |kind| attributes(body.get(HEADER..)?).find(|nla| nla.kind() == kind).map(|nla| nla.value().to_vec());
    let dst = value(RTA_DST).filter(|_| ours)?;
    let ip = match of {
        Family::V4 => IpAddr::from(*dst.first_chunk::<4>()?),
        Family::V6 => IpAddr::from(*dst.first_chunk::<16>()?),
    };
    Some((ip, word(&value(RTA_OIF)?, 0)?))
}

/// The unicast routes by a link, in all tables.
pub fn list(socket: &mut Socket, link: u32) -> Result<Vec<Way>> {
    let mut ways = Vec::new();
    for of in Family::ALL {
        let mut message = RouteMessage::default();
        message.header.address_family = family(of);
        let replies = socket.dump_raw("list routes", message::get_route(message))?;
        ways.extend(replies.iter().filter_map(|m| ways_of(m, of, link)).flatten());
    }
    Ok(ways)
}

/// The ways of a route that lead by the link: IPv6 routes to one destination come as one with many next hops.
fn ways_of(message: &Message, of: Family, link: u32) -> Option<Vec<Way>> {
    let body = &message.body;
    let is_unicast = message.kind == RTM_NEWROUTE && *body.get(7)? == u8::from(RouteType::Unicast);
    // Without IPv6 the kernel answers with all other families' routes (rtnetlink_rcv_msg, net/core/rtnetlink.c).
    if !is_unicast || *body.first()? != u8::from(family(of)) {
        return None;
    }
    let ip = |value: &[u8]| match of {
        Family::V4 => Some(IpAddr::from(*value.first_chunk::<4>()?)),
        Family::V6 => Some(IpAddr::from(*value.first_chunk::<16>()?)),
    };
    let (mut dst, mut ways, mut oif, mut gateway) = (of.default_route().ip(), Vec::new(), None, None);
    for nla in attributes(body.get(HEADER..)?) {
        match nla.kind() {
            RTA_DST => dst = ip(nla.value())?,
            RTA_OIF => oif = word(nla.value(), 0),
            RTA_GATEWAY => gateway = ip(nla.value()),
            RTA_MULTIPATH => ways.extend(next_hops(nla.value(), ip)),
            _ => {}
        }
    }
    ways.extend(oif.map(|oif| (oif, gateway)));
    let dst = IpNetwork::new(dst, *body.get(1)?).ok()?;
    Some(ways.into_iter().filter(|(oif, _)| *oif == link).map(|(_, gateway)| Way { dst, gateway }).collect())
}

/// Link and gateway of each (struct rtnexthop, padded, with attributes behind it).
fn next_hops(mut rest: &[u8], ip: impl Fn(&[u8]) -> Option<IpAddr>) -> Vec<(u32, Option<IpAddr>)> {
    let mut all = Vec::new();
    while let (Some(len), Some(oif)) = (half(rest, 0).map(usize::from), word(rest, 4)) {
        let Some(inside) = rest.get(NEXT_HOP..len) else { break };
        let gateway =
            attributes(inside).find(|nla| nla.kind() == RTA_GATEWAY).and_then(|nla| ip(nla.value()));
        all.push((oif, gateway));
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

/// Whether the namespace takes in packets to `ip` itself.
pub fn is_local(socket: &mut Socket, ip: IpAddr) -> Result<bool> {
    let what = format!("look up the route to {ip}");
    let mut message = RouteMessage::default();
    message.header.address_family = family(Family::of(ip));
    message.header.destination_prefix_length = Family::of(ip).host_prefix();
    message.attributes.push(RouteAttribute::Destination(address(ip)));
    match socket.get_raw(&what, message::get_route(message)) {
        // struct rtmsg: the type is its eighth byte.
        Ok(route) if route.kind == RTM_NEWROUTE => Ok(route.body.get(7) == Some(&u8::from(RouteType::Local))),
        Ok(_) => Err(Error::Decode { what, why: "it is not a route".into() }),
        Err(e) if [Errno::ENETUNREACH, Errno::EHOSTUNREACH].map(|n| Some(n as i32)).contains(&e.errno()) => {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

/// The number of the link by which packets to `ip` leave; none: there is no way there.
pub fn link_to(socket: &mut Socket, ip: IpAddr) -> Result<Option<u32>> {
    let mut message = RouteMessage::default();
    message.header.address_family = family(Family::of(ip));
    message.header.destination_prefix_length = Family::of(ip).host_prefix();
    message.attributes.push(RouteAttribute::Destination(address(ip)));
    match socket.get_raw(&format!("look up the route to {ip}"), message::get_route(message)) {
        Ok(route) => {
            let oif =
                attributes(route.body.get(HEADER..).unwrap_or_default()).find(|nla| nla.kind() == RTA_OIF);
            Ok(oif.and_then(|nla| word(nla.value(), 0)))
        }
        Err(e) if NO_WAY.map(|n| Some(n as i32)).contains(&e.errno()) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The protocol of the route to `ip` alone, of those that packets would take; none: there is none, whatever wider route
/// there may be.
pub fn host_route(socket: &mut Socket, ip: IpAddr) -> Result<Option<u8>> {
    let of = Family::of(ip);
    let mut message = RouteMessage::default();
    message.header.address_family = family(of);
    message.header.destination_prefix_length = of.host_prefix();
    message.header.flags = RouteFlags::FibMatch;
    message.attributes.push(RouteAttribute::Destination(address(ip)));
    match socket.get_raw(&format!("look up the route to {ip}"), message::get_route(message)) {
        // struct rtmsg: family, prefix length, ..., byte 5 the protocol.
        Ok(route) => Ok(route.body.get(5).copied().filter(|_| route.body.get(1) == Some(&of.host_prefix()))),
        Err(e) if NO_WAY.map(|n| Some(n as i32)).contains(&e.errno()) => Ok(None),
        Err(e) => Err(e),
    }
}

/// What unreachable, prohibit and blackhole routes answer too (fib_props, net/ipv4/fib_semantics.c).
const NO_WAY: [Errno; 4] = [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EACCES, Errno::EINVAL];

/// The node's route to one address, on a link.
pub fn to_host(name: &str, link: u32, ip: IpAddr, protocol: u8) -> Request {
    let message = host_message(link, ip, protocol);
    Request::new(format!("set route {ip} dev {name}"), message::new_route(message))
        .flags(NLM_F_CREATE | NLM_F_REPLACE)
}

/// Removes [`to_host`]; one that is not there is removed, and one of another protocol stays.
pub fn remove_to_host(name: &str, link: u32, ip: IpAddr, protocol: u8) -> Request {
    let message = host_message(link, ip, protocol);
    Request::new(format!("remove route {ip} dev {name}"), message::del_route(message))
        .accept(&[Errno::ESRCH as i32, Errno::ENODEV as i32])
}

fn host_message(link: u32, ip: IpAddr, protocol: u8) -> RouteMessage {
    let mut message = message(IpNetwork::from(ip), link, RouteProtocol::from(protocol));
    message.header.scope = RouteScope::Link;
    message
}

/// A pod's route. `gateway` is its next hop; `on_link` says that the next hop is in no subnet of the link.
pub fn add_pod_route(
    name: &str,
    link: u32,
    route: &Route,
    gateway: Option<IpAddr>,
    on_link: bool,
) -> Request {
    let mut message = message(route.dst, link, RouteProtocol::Boot);
    match gateway {
        Some(ip) => message.attributes.push(RouteAttribute::Gateway(address(ip))),
        None => message.header.scope = RouteScope::Link,
    }
    if on_link {
        message.header.flags |= RouteFlags::Onlink;
    }
    if let Some(scope) = route.scope {
        message.header.scope = RouteScope::from(scope);
    }
    if let Some(table) = route.table {
        message.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
        message.attributes.push(RouteAttribute::Table(table));
    }
    message.attributes.extend(route.priority.map(RouteAttribute::Priority));
    let metrics: Vec<RouteMetric> =
        route.mtu.map(RouteMetric::Mtu).into_iter().chain(route.advmss.map(RouteMetric::Advmss)).collect();
    if !metrics.is_empty() {
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
    let via = gateway.map(|g| format!(" via {g}")).unwrap_or_default();
    // Not exclusive, as the reference plugins: a pod on two networks may get a default route from each.
    Request::new(format!("add route {}{via} dev {name}", route.dst), message::new_route(message))
        .flags(NLM_F_CREATE)
}
