//! Neighbour entries.

use crate::addr::family;
use crate::message::{self, RTM_NEWNEIGH};
use crate::netlink::{Request, Socket};
use crate::{Error, Result};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE, Parseable};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use nix::errno::Errno;
use offramp_core::ids::MacAddr;
use offramp_core::net::Family;
use std::collections::HashSet;
use std::net::IpAddr;

fn message(link: u32, ip: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(Family::of(ip));
    message.header.ifindex = link;
    message.attributes.push(NeighbourAttribute::Destination(match ip {
        IpAddr::V4(a) => NeighbourAddress::Inet(a),
        IpAddr::V6(a) => NeighbourAddress::Inet6(a),
    }));
    message
}

/// Sets an entry in `state`, whatever was there. See [`hint`] for one that nothing depends on.
pub fn set(name: &str, link: u32, ip: IpAddr, mac: MacAddr, state: NeighbourState) -> Request {
    let mut message = message(link, ip);
    message.header.state = state;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec()));
    Request::new(format!("set neighbour {ip} {mac} on {name}"), message::new_neighbour(message))
        .flags(NLM_F_CREATE | NLM_F_REPLACE)
}

/// Sets an entry that the kernel neither confirms nor forgets.
pub fn set_permanent(name: &str, link: u32, ip: IpAddr, mac: MacAddr) -> Request {
    set(name, link, ip, mac, NeighbourState::Permanent)
}

/// Has the node answer for `ip` on a link, though it is elsewhere. IPv4 and IPv6 alike; the latter with the sysctl
/// `proxy_ndp` only.
pub fn answer_for(name: &str, link: u32, ip: IpAddr) -> Request {
    let mut message = message(link, ip);
    message.header.flags = NeighbourFlags::Proxy;
    Request::new(format!("answer for {ip} on {name}"), message::new_neighbour(message))
        .flags(NLM_F_CREATE | NLM_F_REPLACE)
}

/// Ends [`answer_for`].
pub fn answer_no_more(name: &str, link: u32, ip: IpAddr) -> Request {
    let mut message = message(link, ip);
    message.header.flags = NeighbourFlags::Proxy;
    Request::new(format!("answer for {ip} on {name} no more"), message::del_neighbour(message))
        .accept(&[Errno::ENOENT as i32, Errno::ENODEV as i32])
}

/// Sets an entry that spares the kernel a question. A table that is full (`gc_thresh3`, for all namespaces together; what
/// was used in the last five seconds is not collected, `neigh_forced_gc` in net/core/neighbour.c) does without.
pub fn hint(name: &str, link: u32, ip: IpAddr, mac: MacAddr) -> Request {
    set(name, link, ip, mac, NeighbourState::Stale).accept(&[Errno::ENOBUFS as i32])
}

/// Removes an entry; one that is not there is removed.
pub fn remove(name: &str, link: u32, ip: IpAddr) -> Request {
    Request::new(format!("remove neighbour {ip} from {name}"), message::del_neighbour(message(link, ip)))
        .accept(&[Errno::ENOENT as i32, Errno::ENODEV as i32])
}

/// For whom the node answers, and on the link of which number.
pub fn answered_for(socket: &mut Socket) -> Result<HashSet<(IpAddr, u32)>> {
    let mut message = NeighbourMessage::default();
    message.header.flags = NeighbourFlags::Proxy; // all other entries else (neigh_dump_info, net/core/neighbour.c)
    let replies = socket.dump_raw("list proxy neighbours", message::get_neighbour(message))?;
    let entry = |m: &message::Message| {
        let entry = NeighbourMessage::parse(&m.body).ok().filter(|_| m.kind == RTM_NEWNEIGH)?;
        let ip = entry.attributes.into_iter().find_map(|a| match a {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(ip.into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(ip.into()),
            _ => None,
        })?;
        entry.header.flags.contains(NeighbourFlags::Proxy).then_some((ip, entry.header.ifindex))
    };
    Ok(replies.iter().filter_map(entry).collect())
}

/// The MAC of an entry, empty if the entry has none (yet); none if there is no entry.
pub fn mac_of(socket: &mut Socket, name: &str, link: u32, ip: IpAddr) -> Result<Option<Vec<u8>>> {
    let what = format!("look up neighbour {ip} on {name}");
    let unreadable = |why: String| Error::Decode { what: what.clone(), why };
    match socket.get_raw(&what, message::get_neighbour(message(link, ip))) {
        Ok(reply) if reply.kind == RTM_NEWNEIGH => {
            let entry = NeighbourMessage::parse(&reply.body).map_err(|e| unreadable(e.to_string()))?;
            let mac = entry.attributes.into_iter().find_map(|a| match a {
                NeighbourAttribute::LinkLayerAddress(mac) => Some(mac),
                _ => None,
            });
            Ok(Some(mac.unwrap_or_default()))
        }
        Ok(_) => Err(unreadable("it is not a neighbour".into())),
        Err(e) if e.errno() == Some(Errno::ENOENT as i32) => Ok(None),
        Err(e) => Err(e),
    }
}
