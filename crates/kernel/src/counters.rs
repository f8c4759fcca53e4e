//! How many bytes links have moved: by the kernel's own counters, by a PF's of its VFs, and by a representor's of what
//! took the CPU.

use crate::link::{Link, attributes, named};
use crate::message::{self, Message, RTM_GETLINK, RTM_NEWLINK, word};
use crate::netlink::Socket;
use crate::vf::attribute::attribute;
use crate::{Error, Result};
use netlink_packet_route::link::LinkMessage;
use nix::errno::Errno;
use offramp_core::ids::IfName;
use offramp_core::traffic::Bytes;
use std::collections::BTreeMap;

// include/uapi/linux/if_link.h
const IFLA_VFINFO_LIST: u16 = 22;
const IFLA_STATS64: u16 = 23;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const RTEXT_FILTER_VF: u32 = 1 << 0;
const IFLA_VF_MAC: u16 = 1;
const IFLA_VF_STATS: u16 = 8;
const IFLA_VF_STATS_RX_BYTES: u16 = 2;
const IFLA_VF_STATS_TX_BYTES: u16 = 3;
const RTM_NEWSTATS: u16 = 92;
const RTM_GETSTATS: u16 = 94;
const IFLA_STATS_LINK_OFFLOAD_XSTATS: u16 = 4;
const IFLA_OFFLOAD_XSTATS_CPU_HIT: u16 = 1;
/// struct ifinfomsg
const IFINFOMSG: usize = 16;
/// struct if_stats_msg
const IF_STATS_MSG: usize = 12;

/// A link, and what it has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The link.
    pub link: Link,
    /// As the link itself counts: what it receives is `rx`.
    pub bytes: Bytes,
    /// How many queues it was made with, to receive and to send: it may use fewer.
    pub queues: (u32, u32),
}

/// All links of the socket's namespace, by one dump.
pub fn list(socket: &mut Socket) -> Result<Vec<Counted>> {
    let replies =
        socket.dump_raw("list links with their counters", message::get_link(LinkMessage::default()))?;
    Ok(replies.iter().filter(|m| m.kind == RTM_NEWLINK).filter_map(|m| counted(&m.body)).collect())
}

/// One link; none if it is not there.
pub fn find(socket: &mut Socket, name: &IfName) -> Result<Option<Counted>> {
    let what = format!("read the counters of link {name}");
    match socket.get_raw(&what, message::get_link(named(name))) {
        Ok(reply) => {
            let why = || "it has none".into();
            counted(&reply.body).map(Some).ok_or_else(|| Error::Decode { what, why: why() })
        }
        Err(e) if e.errno() == Some(Errno::ENODEV as i32) => Ok(None),
        Err(e) => Err(e),
    }
}

fn counted(body: &[u8]) -> Option<Counted> {
    let stats = attributes(body.get(IFINFOMSG..)?).find(|nla| nla.kind() == IFLA_STATS64)?;
    let number = |kind| {
        let found = attributes(body.get(IFINFOMSG..).unwrap_or_default()).find(|nla| nla.kind() == kind);
        found.and_then(|nla| word(nla.value(), 0)).unwrap_or_default()
    };
    let queues = (number(IFLA_NUM_RX_QUEUES), number(IFLA_NUM_TX_QUEUES));
    Some(Counted { link: Link::parse(body), bytes: link_stats(stats.value())?, queues })
}

/// struct rtnl_link_stats64: packets received and sent, then bytes.
fn link_stats(stats: &[u8]) -> Option<Bytes> {
    Some(Bytes { rx: long(stats, 16)?, tx: long(stats, 24)? })
}

/// Not aligned to its size in a message.
fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// What the PF counts for each of its VFs, as the VF sees it. The kernel answers zeros for a driver that does not count
/// (`rtnl_fill_vfinfo`, net/core/rtnetlink.c), so that a VF with nothing but zeros is left out.
pub fn of_vfs(socket: &mut Socket, pf: &IfName) -> Result<BTreeMap<u16, Bytes>> {
    let what = format!("read the VFs' counters of {pf}");
    let mut request = message::get_link(named(pf));
    debug_assert_eq!(request.kind, RTM_GETLINK);
    request.body.extend(attribute(IFLA_EXT_MASK, &RTEXT_FILTER_VF.to_ne_bytes()));
    let reply = socket.get_raw(&what, request)?;
    Ok(vf_stats(&reply.body).into_iter().filter(|(_, bytes)| bytes.sum() > 0).collect())
}

fn vf_stats(body: &[u8]) -> Vec<(u16, Bytes)> {
    let lists =
        attributes(body.get(IFINFOMSG..).unwrap_or_default()).filter(|nla| nla.kind() == IFLA_VFINFO_LIST);
    let mut all = Vec::new();
    for list in lists {
        all.extend(attributes(list.value()).filter_map(|info| of_vf(info.value())));
    }
    all
}

fn of_vf(info: &[u8]) -> Option<(u16, Bytes)> {
    let (mut index, mut bytes) = (None, None);
    for nla in attributes(info) {
        match nla.kind() {
            IFLA_VF_MAC => index = word(nla.value(), 0),
            IFLA_VF_STATS => {
                let of = |kind| {
                    attributes(nla.value()).find(|n| n.kind() == kind).and_then(|n| long(n.value(), 0))
                };
                bytes = Some(Bytes { rx: of(IFLA_VF_STATS_RX_BYTES)?, tx: of(IFLA_VF_STATS_TX_BYTES)? });
            }
            _ => {}
        }
    }
    Some((u16::try_from(index?).ok()?, bytes?))
}

/// What of a representor's traffic took the CPU, as the representor sees it: it receives what the VF sends. None if its
/// driver does not count that.
pub fn cpu_hits(socket: &mut Socket, representor: &Link) -> Result<Option<Bytes>> {
    let mut body = vec![0; IF_STATS_MSG];
    body[4..8].copy_from_slice(&representor.index.to_ne_bytes());
    let filter = 1u32 << (IFLA_STATS_LINK_OFFLOAD_XSTATS - 1);
    body[8..12].copy_from_slice(&filter.to_ne_bytes());
    let what = format!("read what of {} took the CPU", representor.name);
    match socket.get_raw(&what, Message { kind: RTM_GETSTATS, body }) {
        Ok(reply) if reply.kind == RTM_NEWSTATS => Ok(cpu_hit(&reply.body)),
        Ok(_) => Ok(None),
        Err(e) if e.errno() == Some(Errno::EOPNOTSUPP as i32) => Ok(None),
        Err(e) => Err(e),
    }
}

fn cpu_hit(body: &[u8]) -> Option<Bytes> {
    let offload =
        attributes(body.get(IF_STATS_MSG..)?).find(|nla| nla.kind() == IFLA_STATS_LINK_OFFLOAD_XSTATS)?;
    let hit = attributes(offload.value()).find(|nla| nla.kind() == IFLA_OFFLOAD_XSTATS_CPU_HIT)?;
    link_stats(hit.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NESTED: u16 = 1 << 15;

    /// struct rtnl_link_stats64 begins so: packets received and sent, bytes received and sent, errors.
    fn stats64(rx: u64, tx: u64) -> Vec<u8> {
        [3, 4, rx, tx, 9, 9].into_iter().flat_map(u64::to_ne_bytes).collect()
    }

    fn link_message(attributes: &[Vec<u8>]) -> Vec<u8> {
        [vec![0; IFINFOMSG], attributes.concat()].concat()
    }

    #[test]
    fn a_links_bytes() {
        let name = attribute(crate::link::IFLA_IFNAME, b"veth0\0");
        let counters = attribute(IFLA_STATS64, &stats64(1 << 40, 7));
        let found = counted(&link_message(&[name.clone(), counters])).unwrap();
        assert_eq!((found.link.name.as_str(), found.bytes), ("veth0", Bytes { rx: 1 << 40, tx: 7 }));
        assert_eq!(counted(&link_message(std::slice::from_ref(&name))), None);
        assert_eq!(counted(&link_message(&[name, attribute(IFLA_STATS64, &[0; 20])])), None);
        assert_eq!(counted(&[]), None);
    }

    #[test]
    fn a_pfs_counters_of_its_vfs() {
        let vf = |index: u32, bytes: Option<(u64, u64)>| {
            let mut info = attribute(IFLA_VF_MAC, &[index.to_ne_bytes().as_slice(), &[0; 32]].concat());
            if let Some((rx, tx)) = bytes {
                let packets = attribute(0, &5u64.to_ne_bytes());
                let stats = [
                    packets,
                    attribute(IFLA_VF_STATS_RX_BYTES, &rx.to_ne_bytes()),
                    attribute(IFLA_VF_STATS_TX_BYTES, &tx.to_ne_bytes()),
                ];
                info.extend(attribute(IFLA_VF_STATS | NESTED, &stats.concat()));
            }
            attribute(1 | NESTED, &info)
        };
        let list = [vf(0, Some((10, 20))), vf(1, None), vf(255, Some((0, 0)))].concat();
        let body = link_message(&[attribute(IFLA_VFINFO_LIST | NESTED, &list)]);
        assert_eq!(vf_stats(&body), [(0, Bytes { rx: 10, tx: 20 }), (255, Bytes::default())]);
        assert!(vf_stats(&body[..40]).is_empty() && vf_stats(&[]).is_empty());
    }

    #[test]
    fn a_representors_cpu_hits() {
        let hit = attribute(IFLA_OFFLOAD_XSTATS_CPU_HIT, &stats64(100, 200));
        let body = |inside: &[u8]| {
            let offload = attribute(IFLA_STATS_LINK_OFFLOAD_XSTATS | NESTED, inside);
            [vec![0; IF_STATS_MSG], offload].concat()
        };
        assert_eq!(cpu_hit(&body(&hit)), Some(Bytes { rx: 100, tx: 200 }));
        assert_eq!(cpu_hit(&body(&[])), None);
        assert_eq!(cpu_hit(&[0; IF_STATS_MSG]), None);
    }
}
