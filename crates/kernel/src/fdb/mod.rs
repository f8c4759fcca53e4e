//! Forwarding databases: what a bridge has learned, and the unicast filter of a NIC, which by `NTF_SELF` is one too.
//!
//! A NIC's entries have no VLAN: the kernel's `ndo_dflt_fdb_add` (net/core/rtnetlink.c), which legacy drivers share,
//! refuses any, and the filter passes the address in all of them.

mod monitor;

pub use monitor::{Interest, Monitor};

use crate::Result;
use crate::link::{self, attributes};
use crate::message::{self, Message, RTM_NEWNEIGH, half, word};
use crate::netlink::{Request, Socket};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use nix::errno::Errno;
use offramp_core::eswitch::Learned;
use offramp_core::ids::MacAddr;
use offramp_core::step::KnowMac;
use std::collections::BTreeSet;

/// struct ndmsg (include/uapi/linux/neighbour.h).
const HEADER: usize = 12;
const NDA_LLADDR: u16 = 2;
const NDA_CACHEINFO: u16 = 3;
const NTF_SELF: u8 = 1 << 1;
/// Of a bridge's entry: the address is the bridge's or its port's own.
const NUD_PERMANENT: u16 = 0x80;

/// An entry as the kernel tells it.
struct Entry {
    port: u32,
    mac: MacAddr,
    own: bool,
    permanent: bool,
    idle: u32,
}

impl Entry {
    /// None for multicast addresses.
    fn parse(message: &Message) -> Option<Self> {
        let body = message.body.as_slice();
        let (mut mac, mut idle) = (None, u32::MAX);
        for nla in attributes(body.get(HEADER..)?) {
            match nla.kind() {
                NDA_LLADDR => mac = <[u8; 6]>::try_from(nla.value()).ok(),
                // struct nda_cacheinfo: confirmed, used, updated: ticks ago (fdb_fill_info, net/bridge/br_fdb.c).
                NDA_CACHEINFO => idle = word(nla.value(), 4)?.min(word(nla.value(), 8)?),
                _ => {}
            }
        }
        Some(Self {
            port: word(body, 4)?,
            mac: mac?.try_into().ok()?,
            own: body.get(10)? & NTF_SELF != 0,
            permanent: half(body, 8)? & NUD_PERMANENT != 0,
            idle,
        })
    }
}

fn dump(socket: &mut Socket, what: &str, filter: NeighbourAttribute) -> Result<Vec<Entry>> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.attributes.push(filter);
    let replies = socket.dump_raw(what, message::get_neighbour(message))?;
    Ok(replies.iter().filter(|m| m.kind == RTM_NEWNEIGH).filter_map(Entry::parse).collect())
}

/// What a bridge has learned or was told: of addresses that are none of its own or its ports'. One in several VLANs is
/// told as often.
pub fn learned(socket: &mut Socket, bridge: &str, index: u32) -> Result<Vec<Learned>> {
    let what = format!("list the forwarding entries of bridge {bridge}");
    let all = dump(socket, &what, NeighbourAttribute::Controller(index))?;
    let learned = all.into_iter().filter(|e| !e.own && !e.permanent && e.port != index);
    Ok(learned.map(|e| Learned { mac: e.mac, port: e.port, idle: e.idle }).collect())
}

/// What a NIC's filter holds beside the NIC's own address.
pub fn filter(socket: &mut Socket, port: &str, index: u32) -> Result<BTreeSet<MacAddr>> {
    let all = dump(socket, &format!("list the filter of {port}"), NeighbourAttribute::IfIndex(index))?;
    Ok(all.into_iter().filter(|e| e.own && e.port == index).map(|e| e.mac).collect())
}

fn entry(port: u32, mac: MacAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = port;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec()));
    message
}

/// Adds an address to a NIC's filter; EEXIST: it holds it already; ENOMEM or ENOSPC: it is full, which may hide EEXIST
/// (`igb_ndo_fdb_add`, drivers/net/ethernet/intel/igb/igb_main.c).
pub fn add(port: &str, index: u32, mac: MacAddr) -> Request {
    let message = message::new_neighbour(entry(index, mac));
    Request::new(format!("add {mac} to the filter of {port}"), message).flags(NLM_F_CREATE | NLM_F_EXCL)
}

/// Removes an address from a NIC's filter; one that is not there is removed.
pub fn remove(port: &str, index: u32, mac: MacAddr) -> Request {
    let message = message::del_neighbour(entry(index, mac));
    Request::new(format!("remove {mac} from the filter of {port}"), message)
        .accept(&[Errno::ENOENT as i32, Errno::ENODEV as i32])
}

/// See [`offramp_core::step::Step::KnowMac`]. Without it the pod has its network all the same, but for VFs of this port:
/// a filter that is full, or a NIC that is gone or cannot, is the daemon's to report.
pub(crate) fn inform(socket: &mut Socket, know: &KnowMac) -> Result<()> {
    let Some(index) = link::index_of(&know.port)? else { return Ok(()) };
    let add = add(know.port.as_str(), index, know.mac).accept(&[
        Errno::EEXIST as i32,
        Errno::ENOMEM as i32,
        Errno::ENOSPC as i32,
        Errno::ENODEV as i32,
        Errno::EOPNOTSUPP as i32,
    ]);
    socket.batch(vec![add])
}

/// Takes it back.
pub(crate) fn forget(socket: &mut Socket, know: &KnowMac) -> Result<()> {
    let Some(index) = link::index_of(&know.port)? else { return Ok(()) };
    socket.batch(vec![remove(know.port.as_str(), index, know.mac)])
}
