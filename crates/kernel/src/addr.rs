//! Addresses of links.

use crate::message::{self, Message, RTM_NEWADDR};
use crate::netlink::{Request, Socket};
use crate::{Result, route, wait};
use ipnetwork::IpNetwork;
use netlink_packet_core::Parseable;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressHeaderFlags, AddressMessage, AddressScope,
};
use nix::errno::Errno;
use offramp_core::net::Family;
use std::net::{IpAddr, Ipv4Addr};

/// The address family on the wire.
pub fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

fn message(index: u32, ip: IpNetwork) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(Family::of(ip.ip()));
    message.header.prefix_len = ip.prefix();
    message.header.index = index;
    message.attributes.push(AddressAttribute::Address(ip.ip()));
    message.attributes.push(AddressAttribute::Local(ip.ip()));
    message
}

/// Adds an address; EEXIST if the link has it. An IPv6 one is usable at once unless it should go through
/// duplicate address detection, which takes more than a second.
pub fn add(name: &str, index: u32, ip: IpNetwork, dad: bool) -> Request {
    let mut message = message(index, ip);
    match ip {
        // As every tool does: hosts of the subnet hear its broadcasts.
        IpNetwork::V4(net) if net.prefix() < 31 => {
            message
                .attributes
                .push(AddressAttribute::Broadcast(Ipv4Addr::from_bits(net.broadcast().to_bits())));
        }
        IpNetwork::V6(net) => {
            if net.ip().is_unicast_link_local() {
                message.header.scope = AddressScope::Link;
            }
            if !dad {
                message.header.flags = AddressHeaderFlags::Nodad;
                message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            }
        }
        IpNetwork::V4(_) => {}
    }
    Request::new(format!("add address {ip} to {name}"), message::new_address(message))
        .flags(NLM_F_CREATE | NLM_F_EXCL)
}

/// Adds an address or keeps it.
pub fn ensure(name: &str, index: u32, ip: IpNetwork) -> Request {
    add(name, index, ip, false).flags(NLM_F_CREATE | NLM_F_REPLACE)
}

/// Removes an address; one that is not there is removed.
pub fn remove(name: &str, index: u32, ip: IpNetwork) -> Request {
    Request::new(format!("remove address {ip} from {name}"), message::del_address(message(index, ip)))
        .accept(&[Errno::EADDRNOTAVAIL as i32, Errno::ENODEV as i32])
}

/// Waits until packets to these addresses are taken in: IPv4 ones are with the acknowledgement. A worker puts an IPv6 address in the routing table some
/// time after the acknowledgement, be it `nodad` (`addrconf_dad_work`, net/ipv6/addrconf.c); after duplicate address
/// detection, otherwise.
pub fn settle(socket: &mut Socket, name: &str, ips: &[IpAddr]) -> Result<()> {
    for ip in ips.iter().filter(|ip| ip.is_ipv6()) {
        wait::until(|| format!("address {ip} usable on {name}"), || route::is_local(socket, *ip))?;
    }
    Ok(())
}

/// The addresses of a link.
pub fn list(socket: &mut Socket, index: u32) -> Result<Vec<IpNetwork>> {
    Ok(dump(socket, Some(index))?.into_iter().map(|(_, net)| net).collect())
}

/// Those that somebody gave the link: without link-local ones, and without IPv6 addresses that run out, which the
/// kernel makes of any router's advertisement.
pub fn given(socket: &mut Socket, index: u32) -> Result<Vec<IpNetwork>> {
    let stays = |h: &AddressHeader| {
        h.family == AddressFamily::Inet || h.flags.contains(AddressHeaderFlags::Permanent)
    };
    let link_local = |ip| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let ours = dump(socket, Some(index))?.into_iter().filter(|(h, net)| stays(h) && !link_local(net.ip()));
    Ok(ours.map(|(_, net)| net).collect())
}

/// All addresses of the namespace.
pub fn all(socket: &mut Socket) -> Result<Vec<IpAddr>> {
    Ok(dump(socket, None)?.into_iter().map(|(_, net)| net.ip()).collect())
}

/// Of one link: the kernel then looks at that alone, where a node with a thousand pods costs it a millisecond (`inet_dump_ifaddr`,
/// net/ipv4/devinet.c).
fn dump(socket: &mut Socket, link: Option<u32>) -> Result<Vec<(AddressHeader, IpNetwork)>> {
    let mut ask = AddressMessage::default();
    ask.header.index = link.unwrap_or_default();
    let replies = match socket.dump_raw("list addresses", message::get_address(ask)) {
        // The link is gone, and its addresses with it.
        Err(e) if link.is_some() && e.errno() == Some(Errno::ENODEV as i32) => Vec::new(),
        other => other?,
    };
    // A kernel before 5.0 knows no such filter.
    let is_of = |header: &AddressHeader| link.is_none_or(|link| header.index == link);
    Ok(replies.iter().filter_map(network).filter(|(header, _)| is_of(header)).collect())
}

fn network(message: &Message) -> Option<(AddressHeader, IpNetwork)> {
    let message = AddressMessage::parse(&message.body).ok().filter(|_| message.kind == RTM_NEWADDR)?;
    let find = |local: bool| -> Option<IpAddr> {
        message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Local(ip) if local => Some(*ip),
            AddressAttribute::Address(ip) if !local => Some(*ip),
            _ => None,
        })
    };
    let ip = find(true).or_else(|| find(false))?;
    let net = IpNetwork::new(ip, message.header.prefix_len).ok()?;
    Some((message.header, net))
}
