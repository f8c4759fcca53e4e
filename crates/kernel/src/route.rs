//! Routes.

use crate::addr::family;
use crate::message::{self, RTM_NEWROUTE};
use crate::netlink::{Request, Socket};
use crate::{Error, Result};
use ipnetwork::IpNetwork;
use netlink_packet_core::NLM_F_CREATE;
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
