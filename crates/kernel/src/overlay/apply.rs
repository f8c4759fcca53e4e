//! Changes as requests, in batches.

use super::{Report, Tools};
use crate::netlink::Request;
use crate::{Error, neigh, route};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
    RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use offramp_core::net::Family;
use offramp_core::overlay::{Change, Dev, ROUTE_PROTOCOL, Route};
use std::net::IpAddr;

/// All acknowledgements of a batch wait in the socket's receive buffer, some 770 bytes each with the kernel's
/// bookkeeping; it holds 208 KiB by default (net.core.rmem_default).
const BATCH: usize = 200;

/// The numbers of the links that the overlay's routes lead to.
#[derive(Debug, Clone, Copy)]
pub struct Links {
    /// The VXLAN device's; none: there is none.
    pub tunnel: Option<u32>,
    /// The uplink's.
    pub uplink: Option<u32>,
}

impl Links {
    /// Which one a number is.
    pub fn dev(&self, index: u32) -> Dev {
        match Some(index) {
            i if i == self.tunnel => Dev::Tunnel,
            i if i == self.uplink => Dev::Uplink,
            _ => Dev::Other(index),
        }
    }

    fn index(&self, dev: Dev) -> Option<u32> {
        match dev {
            Dev::Tunnel => self.tunnel,
            Dev::Uplink => self.uplink,
            Dev::Other(index) => Some(index).filter(|i| *i != 0),
        }
    }
}

/// The requests for changes, in batches that are sent at once; without those that need a device that could not be made.
pub fn batches<'a>(
    device: &'a str,
    links: &'a Links,
    changes: impl Iterator<Item = Change<'a>>,
) -> impl Iterator<Item = Vec<(Change<'a>, Request)>> {
    let mut requests = changes.filter_map(move |change| Some((change, request(&change, device, links)?)));
    std::iter::from_fn(move || {
        let batch: Vec<_> = requests.by_ref().take(BATCH).collect();
        (!batch.is_empty()).then_some(batch)
    })
}

/// Applies all changes and goes on past failures. The monitor hears of each batch before the next: all of them would
/// not fit in its socket.
pub fn all<'a>(
    tools: &mut Tools<'_>,
    device: &'a str,
    links: &'a Links,
    changes: impl Iterator<Item = Change<'a>>,
    report: &mut Report,
) {
    for batch in batches(device, links, changes) {
        let (changes, requests): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        report.batches += 1;
        match tools.socket.batch_each(requests) {
            Ok(outcomes) => {
                for (change, outcome) in changes.into_iter().zip(outcomes) {
                    match outcome {
                        Ok(()) => report.changes.note(&change),
                        Err(e) => report.errors.push(explain(&change, e)),
                    }
                }
            }
            Err(e) => report.errors.push(e),
        }
        tools.monitor.iter_mut().for_each(|monitor| monitor.listen());
    }
}

fn explain(change: &Change<'_>, error: Error) -> Error {
    match change {
        Change::AddRoute(route) if error.errno() == Some(Errno::EEXIST as i32) => Error::Unfit {
            what: format!("route {}", route.dst),
            why: "somebody else's route to it is there, and stays".into(),
        },
        _ => error,
    }
}

/// The request for a change; none if it needs a device that could not be made.
fn request(change: &Change<'_>, device: &str, links: &Links) -> Option<Request> {
    Some(match change {
        Change::SetNeighbour(ip, mac) => {
            neigh::set(device, links.tunnel?, *ip, *mac, NeighbourState::Permanent)
        }
        Change::RemoveNeighbour(ip) => neigh::remove(device, links.tunnel?, *ip),
        Change::SetFdb(mac, ip) => {
            let mut message = fdb(links.tunnel?, mac.octets());
            let destination = match ip {
                IpAddr::V4(a) => NeighbourAddress::Inet(*a),
                IpAddr::V6(a) => NeighbourAddress::Inet6(*a),
            };
            message.attributes.push(NeighbourAttribute::Destination(destination));
            Request::new(format!("{change} on {device}"), RouteNetlinkMessage::NewNeighbour(message))
                .flags(NLM_F_CREATE | NLM_F_REPLACE)
        }
        Change::RemoveFdb(mac) => {
            let message = RouteNetlinkMessage::DelNeighbour(fdb(links.tunnel?, *mac));
            Request::new(format!("{change} from {device}"), message).accept(&[Errno::ENOENT as i32])
        }
        Change::RemoveRoute(route) => {
            let mut message = route_message(route, links.index(route.dev));
            // The kernel compares the type and scope that a deletion gives (fib_table_delete, net/ipv4/fib_trie.c).
            message.header.kind = RouteType::Unspec;
            message.header.scope = RouteScope::NoWhere;
            Request::new(change.to_string(), RouteNetlinkMessage::DelRoute(message))
                .accept(&[Errno::ESRCH as i32])
        }
        Change::AddRoute(route) => put_route(change, route, links)?.flags(NLM_F_CREATE | NLM_F_EXCL),
        Change::ReplaceRoute(route) => put_route(change, route, links)?.flags(NLM_F_CREATE | NLM_F_REPLACE),
    })
}

fn fdb(tunnel: u32, mac: [u8; 6]) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = tunnel;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    message
}

fn put_route(change: &Change<'_>, route: &Route, links: &Links) -> Option<Request> {
    let mut message = route_message(route, Some(links.index(route.dev)?));
    message.attributes.extend(route.source.map(|ip| RouteAttribute::PrefSource(route::address(ip))));
    message.attributes.extend(route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    let via = route.next_hop.map(|ip| format!(" via {ip}")).unwrap_or_default();
    Some(Request::new(format!("{change}{via}"), RouteNetlinkMessage::NewRoute(message)))
}

/// What tells a route from others.
fn route_message(route: &Route, link: Option<u32>) -> RouteMessage {
    let mut message =
        route::message(route.dst, link.unwrap_or_default(), RouteProtocol::from(ROUTE_PROTOCOL));
    if link.is_none() {
        message.attributes.retain(|a| !matches!(a, RouteAttribute::Oif(_)));
    }
    if route.onlink {
        message.header.flags |= RouteFlags::Onlink;
    }
    message.header.table = u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.attributes.push(RouteAttribute::Table(route.table));
    message.attributes.push(RouteAttribute::Priority(route.metric));
    message.attributes.extend(route.next_hop.map(|hop| next_hop(Family::of(route.dst.ip()), hop)));
    message
}

fn next_hop(of: Family, hop: IpAddr) -> RouteAttribute {
    match hop {
        IpAddr::V6(hop) if of == Family::V4 => RouteAttribute::Via(RouteVia::Inet6(hop)),
        _ => RouteAttribute::Gateway(route::address(hop)),
    }
}
