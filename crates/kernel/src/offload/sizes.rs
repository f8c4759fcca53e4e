//! How large packets get inside the host, by rtnetlink.

use crate::Result;
use crate::link::{self, named};
use crate::message::{self, word};
use crate::netlink::Socket;
use nix::errno::Errno;
use offramp_core::ids::IfName;
use offramp_core::offload::Sizes;

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
pub(super) fn of(socket: &mut Socket, name: &IfName) -> Result<Option<(u32, Sizes)>> {
    let what = format!("read the sizes of {name}");
    let answer = match socket.get_raw(&what, message::get_link(named(name))) {
        Err(e) if e.errno() == Some(Errno::ENODEV as i32) => return Ok(None),
        other => other?,
    };
    Ok(Some((word(&answer.body, 4).unwrap_or_default(), parse(&answer.body))))
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
