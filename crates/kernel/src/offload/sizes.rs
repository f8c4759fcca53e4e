//! How large packets get inside the host, by rtnetlink.

use crate::Result;
use crate::link::{self, Link, named};
use crate::message::{self, RTM_NEWLINK, word};
use crate::netlink::{Request, Socket};
use netlink_packet_core::DefaultNla;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use nix::errno::Errno;
use offramp_core::ids::IfName;
use offramp_core::offload::Sizes;
use std::collections::HashMap;

// include/uapi/linux/if_link.h
const IFLA_GSO_MAX_SEGS: u16 = 40;
const IFLA_GSO_MAX_SIZE: u16 = 41;
const IFLA_GRO_MAX_SIZE: u16 = 58;
const IFLA_TSO_MAX_SIZE: u16 = 59;
const IFLA_TSO_MAX_SEGS: u16 = 60;
const IFLA_GSO_IPV4_MAX_SIZE: u16 = 63;
const IFLA_GRO_IPV4_MAX_SIZE: u16 = 64;
/// struct ifinfomsg
const HEADER: usize = 16;

/// A link's number, and its sizes; none if it is not there.
pub fn of(socket: &mut Socket, name: &IfName) -> Result<Option<(u32, Sizes)>> {
    let what = format!("read the sizes of {name}");
    let answer = match socket.get_raw(&what, message::get_link(named(name))) {
        Err(e) if e.errno() == Some(Errno::ENODEV as i32) => return Ok(None),
        other => other?,
    };
    Ok(Some((word(&answer.body, 4).unwrap_or_default(), parse(&answer.body))))
}

/// A link and its sizes.
#[derive(Debug, Clone)]
pub struct Sized {
    /// The link.
    pub link: Link,
    /// Its sizes.
    pub sizes: Sizes,
}

/// Of all links, by their names.
pub fn by_name(socket: &mut Socket) -> Result<HashMap<String, Sized>> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let replies = socket.dump_raw("list the sizes of links", message::get_link(message))?;
    let links = replies.iter().filter(|reply| reply.kind == RTM_NEWLINK);
    let sized = links.map(|reply| Sized { link: Link::parse(&reply.body), sizes: parse(&reply.body) });
    Ok(sized.map(|sized| (sized.link.name.clone(), sized)).collect())
}

/// Sets those that are given.
pub fn set(name: &str, index: u32, sizes: &Sizes) -> Request {
    // IPv6's first: up to 64 KiB it sets IPv4's too (`do_setlink`, net/core/rtnetlink.c).
    let all = [
        (IFLA_GSO_MAX_SIZE, sizes.gso_max_size, "gso_max_size"),
        (IFLA_GRO_MAX_SIZE, sizes.gro_max_size, "gro_max_size"),
        (IFLA_GSO_IPV4_MAX_SIZE, sizes.gso_ipv4_max_size, "gso_ipv4_max_size"),
        (IFLA_GRO_IPV4_MAX_SIZE, sizes.gro_ipv4_max_size, "gro_ipv4_max_size"),
    ];
    let (mut message, mut what) = (link::numbered(index), format!("set {name}"));
    for (attribute, size, word) in all {
        let Some(size) = size else { continue };
        let value = DefaultNla::new(attribute, size.to_ne_bytes().to_vec());
        message.attributes.push(LinkAttribute::Other(value));
        what += &format!(" {word} {size}");
    }
    link::set(what, message)
}

/// Of a message about a link.
pub(super) fn parse(body: &[u8]) -> Sizes {
    let mut sizes = Sizes::default();
    for nla in link::attributes(body.get(HEADER..).unwrap_or_default()) {
        let field = match nla.kind() {
            IFLA_GSO_MAX_SEGS => &mut sizes.gso_max_segs,
            IFLA_GSO_MAX_SIZE => &mut sizes.gso_max_size,
            IFLA_GRO_MAX_SIZE => &mut sizes.gro_max_size,
            IFLA_TSO_MAX_SIZE => &mut sizes.tso_max_size,
            IFLA_TSO_MAX_SEGS => &mut sizes.tso_max_segs,
            IFLA_GSO_IPV4_MAX_SIZE => &mut sizes.gso_ipv4_max_size,
            IFLA_GRO_IPV4_MAX_SIZE => &mut sizes.gro_ipv4_max_size,
            _ => continue,
        };
        *field = word(nla.value(), 0);
    }
    sizes
}
