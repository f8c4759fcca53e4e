//! The netlink requests of the floor.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask,
    LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::batch::Request;

const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// A veth pair whose peer is born in the pod's namespace; the host end is a port of the bridge.
pub fn create_pair(host: &str, bridge: u32, peer: &str, pod_netns: RawFd) -> Request {
    let mut peer_end = LinkMessage::default();
    peer_end.attributes = vec![LinkAttribute::IfName(peer.into()), LinkAttribute::NetNsFd(pod_netns)];
    let info = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer_end)))];
    let mut link = named(host);
    link.attributes.push(LinkAttribute::LinkInfo(info));
    link.attributes.push(LinkAttribute::Controller(bridge));
    Request { what: "create the veth pair", message: RouteNetlinkMessage::NewLink(link), flags: NEW }
}

/// No link-local address: no duplicate address detection and no multicast reports from this end.
pub fn no_link_local(mut link: LinkMessage) -> Request {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    link.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]));
    Request { what: "set addrgenmode none", message: RouteNetlinkMessage::SetLink(link), flags: 0 }
}

/// IFF_UP has to be a request of its own: within the creation of a veth it fails with ENOTCONN.
pub fn up(mut link: LinkMessage) -> Request {
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    Request { what: "set the link up", message: RouteNetlinkMessage::SetLink(link), flags: 0 }
}

/// An address, usable at once: IPv6 skips duplicate address detection.
pub fn address(index: u32, network: IpNetwork) -> Request {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = network.prefix();
    message.header.family = family(network.ip());
    message.attributes = vec![AddressAttribute::Local(network.ip()), AddressAttribute::Address(network.ip())];
    if network.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    Request { what: "add an address", message: RouteNetlinkMessage::NewAddress(message), flags: NEW }
}

/// A default route by `gateway`.
pub fn default_route(index: u32, gateway: IpAddr) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    let any = match gateway {
        IpAddr::V4(_) => RouteAddress::Inet(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => RouteAddress::Inet6(Ipv6Addr::UNSPECIFIED),
    };
    message.attributes = vec![
        RouteAttribute::Destination(any),
        RouteAttribute::Gateway(RouteAddress::from(gateway)),
        RouteAttribute::Oif(index),
    ];
    Request { what: "add the default route", message: RouteNetlinkMessage::NewRoute(message), flags: NEW }
}

/// The state of a link, without statistics.
pub fn get(mut link: LinkMessage) -> Request {
    link.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    Request { what: "read the link", message: RouteNetlinkMessage::GetLink(link), flags: 0 }
}

pub fn delete(host: &str) -> Request {
    Request { what: "delete the link", message: RouteNetlinkMessage::DelLink(named(host)), flags: 0 }
}

/// Names a link by its name.
pub fn named(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.into()));
    link
}

/// Names a link by its index.
pub fn indexed(index: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
