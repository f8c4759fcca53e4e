//! Reading the overlay's routes, neighbours and forwarding entries. The kernel filters the dumps.

use super::apply::Links;
use crate::Result;
use crate::addr::family;
use crate::message;
use crate::netlink::Socket;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use offramp_core::ids::MacAddr;
use offramp_core::net::{Family, WithPrefix};
use offramp_core::overlay::{Actual, Dev, Fdb, ROUTE_PROTOCOL, Route};
use std::net::IpAddr;

/// What there is of the overlay's own.
pub fn read(socket: &mut Socket, links: &Links) -> Result<Actual> {
    let mut actual = Actual::default();
    for of in Family::ALL {
        actual.routes.extend(routes(socket, links, of)?);
    }
    if let Some(tunnel) = links.tunnel {
        actual.neighbours = neighbours(socket, tunnel)?;
        actual.fdb = fdb(socket, tunnel)?;
    }
    Ok(actual)
}

fn routes(socket: &mut Socket, links: &Links, of: Family) -> Result<Vec<Route>> {
    let mut message = RouteMessage::default();
    message.header.address_family = family(of);
    message.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    let ours = |m: RouteNetlinkMessage| match m {
        // A kernel without IPv6 answers for others.
        RouteNetlinkMessage::NewRoute(r)
            if r.header.address_family == family(of)
                && r.header.protocol == RouteProtocol::from(ROUTE_PROTOCOL) =>
        {
            Some(route(r, links, of))
        }
        _ => None,
    };
    socket.dump_map("list the overlay's routes", message::get_route(message), ours)
}

fn route(message: RouteMessage, links: &Links, of: Family) -> Route {
    let header = message.header;
    let mut route = Route {
        dst: of.default_route().with_prefix(header.destination_prefix_length),
        dev: Dev::Other(0),
        next_hop: None,
        onlink: header.flags.contains(RouteFlags::Onlink),
        source: None,
        mtu: None,
        // An IPv4 route of metric 0 does not say so.
        metric: 0,
        table: u32::from(header.table),
    };
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Destination(dst) => {
                route.dst = ip(dst).map_or(route.dst, |ip| {
                    ipnetwork::IpNetwork::from(ip).with_prefix(header.destination_prefix_length)
                });
            }
            // A route that drops has a link too.
            RouteAttribute::Oif(index) if header.kind == RouteType::Unicast => route.dev = links.dev(index),
            RouteAttribute::Gateway(hop) => route.next_hop = ip(hop),
            RouteAttribute::Via(RouteVia::Inet6(hop)) => route.next_hop = Some(hop.into()),
            RouteAttribute::PrefSource(source) => route.source = ip(source),
            RouteAttribute::Metrics(all) => route.mtu = all.iter().find_map(mtu),
            RouteAttribute::Priority(metric) => route.metric = metric,
            RouteAttribute::Table(table) => route.table = table,
            _ => {}
        }
    }
    route
}

fn ip(address: RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(a) => Some(a.into()),
        RouteAddress::Inet6(a) => Some(a.into()),
        _ => None,
    }
}

fn mtu(metric: &RouteMetric) -> Option<u32> {
    if let RouteMetric::Mtu(mtu) = metric { Some(*mtu) } else { None }
}

fn dump<T>(
    socket: &mut Socket,
    what: &str,
    of: AddressFamily,
    link: u32,
    take: impl Fn(&NeighbourMessage) -> Option<T>,
) -> Result<Vec<T>> {
    let mut message = NeighbourMessage::default();
    message.header.family = of;
    // The header's index is refused by strict checking (valid_neigh_dump_req, net/core/neighbour.c).
    message.attributes.push(NeighbourAttribute::IfIndex(link));
    socket.dump_map(what, message::get_neighbour(message), |m| match m {
        RouteNetlinkMessage::NewNeighbour(n) if n.header.ifindex == link => take(&n),
        _ => None,
    })
}

/// The permanent ones: the others are the kernel's own.
fn neighbours(socket: &mut Socket, tunnel: u32) -> Result<Vec<(IpAddr, Option<MacAddr>)>> {
    dump(socket, "list the tunnel's neighbours", AddressFamily::Unspec, tunnel, |n| {
        neighbour(n).filter(|_| n.header.state == NeighbourState::Permanent)
    })
}

/// A neighbour's address and MAC; none: it has no address.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<(IpAddr, Option<MacAddr>)> {
    let ip = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => Some(IpAddr::from(*a)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => Some(IpAddr::from(*a)),
        _ => None,
    })?;
    Some((ip, mac(message).and_then(|octets| MacAddr::try_from(octets).ok())))
}

fn mac(message: &NeighbourMessage) -> Option<[u8; 6]> {
    message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(octets) => octets.as_slice().try_into().ok(),
        _ => None,
    })
}

fn fdb(socket: &mut Socket, tunnel: u32) -> Result<Vec<Fdb>> {
    dump(socket, "list the tunnel's forwarding entries", AddressFamily::Bridge, tunnel, entry)
}

/// A forwarding entry; none: it has no MAC.
pub(super) fn entry(message: &NeighbourMessage) -> Option<Fdb> {
    Some(Fdb { mac: mac(message)?, endpoint: endpoint(message) })
}

/// Where an entry leads, if it is permanent and says nothing but an address.
fn endpoint(message: &NeighbourMessage) -> Option<IpAddr> {
    let mut endpoint = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
                let v4 = || <[u8; 4]>::try_from(bytes.as_slice()).ok().map(IpAddr::from);
                endpoint = v4().or_else(|| <[u8; 16]>::try_from(bytes.as_slice()).ok().map(IpAddr::from));
            }
            NeighbourAttribute::Port(_) | NeighbourAttribute::Vni(_) | NeighbourAttribute::IfIndex(_) => {
                return None;
            }
            _ => {}
        }
    }
    endpoint.filter(|_| message.header.state == NeighbourState::Permanent)
}
