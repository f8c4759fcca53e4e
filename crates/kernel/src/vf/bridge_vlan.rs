//! The VLAN that a bridge puts the frames of one of its ports in.

use super::attribute::attribute;
use crate::link::{Link, attributes};
use crate::message::{Message, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK, half, word};
use crate::netlink::{Request, Socket};
use crate::{Error, Result};
use nix::libc::AF_BRIDGE;
use offramp_core::ids::VlanId;
use offramp_core::vf::{VlanProto, VlanTag};

// include/uapi/linux/if_link.h, if_bridge.h, rtnetlink.h
const IFLA_AF_SPEC: u16 = 26;
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_BRVLAN: u32 = 1 << 1;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const PVID: u16 = 1 << 1;
const UNTAGGED: u16 = 1 << 2;
const NESTED: u16 = 1 << 15;

/// The VLAN of a port of a bridge that tells VLANs apart, else none.
pub(super) fn of_port(socket: &mut Socket, port: &Link) -> Result<Option<VlanTag>> {
    let Some(bridge) = port.controller else { return Ok(None) };
    if !crate::link::find_index(socket, bridge)?.is_some_and(|b| b.vlan_filtering) {
        return Ok(None);
    }
    Ok(Some(VlanTag { id: pvid(socket, port.index)?, ..VlanTag::default() }))
}

/// Has the bridge put the port's frames in this VLAN alone; none: in none.
pub(super) fn set(socket: &mut Socket, what: &str, port: u32, tag: VlanTag) -> Result<()> {
    let refuse = |why: &str| Err(Error::Unfit { what: what.to_owned(), why: why.to_owned() });
    let link = crate::link::find_index(socket, port)?;
    let Some(link) = link.filter(|l| l.controller.is_some()) else {
        return refuse("its representor is not a port of a bridge");
    };
    let Some(now) = of_port(socket, &link)? else {
        return refuse("the bridge of its representor does not tell VLANs apart");
    };
    if tag.qos != 0 || tag.proto != VlanProto::Q {
        return refuse("a bridge sets neither priorities nor service tags");
    }
    let mut requests = Vec::new();
    if let Some(old) = now.id.filter(|old| tag.id != Some(*old)) {
        requests.push(Request::new(what, message(RTM_DELLINK, port, 0, old)));
    }
    if let Some(new) = tag.id {
        requests.push(Request::new(what, message(RTM_SETLINK, port, PVID | UNTAGGED, new)));
    }
    socket.batch(requests)
}

fn message(kind: u16, port: u32, flags: u16, vlan: VlanId) -> Message {
    let mut info = flags.to_ne_bytes().to_vec();
    info.extend(vlan.get().to_ne_bytes());
    let vlan = attribute(IFLA_BRIDGE_VLAN_INFO, &info);
    about(kind, port, &attribute(IFLA_AF_SPEC | NESTED, &vlan))
}

fn about(kind: u16, port: u32, attributes: &[u8]) -> Message {
    // struct ifinfomsg
    let mut body = vec![0; 16];
    body[0] = AF_BRIDGE as u8;
    body[4..8].copy_from_slice(&port.to_ne_bytes());
    body.extend(attributes);
    Message { kind, body }
}

fn pvid(socket: &mut Socket, port: u32) -> Result<Option<VlanId>> {
    let ask = about(RTM_GETLINK, 0, &attribute(IFLA_EXT_MASK, &RTEXT_FILTER_BRVLAN.to_ne_bytes()));
    let ports = socket.dump_raw("list the VLANs of bridge ports", ask)?;
    let ours = ports.iter().filter(|p| word(&p.body, 4) == Some(port));
    Ok(ours.filter_map(|p| p.body.get(16..)).find_map(pvid_in))
}

fn pvid_in(port: &[u8]) -> Option<VlanId> {
    let spec = attributes(port).find(|nla| nla.kind() == IFLA_AF_SPEC)?;
    attributes(spec.value()).filter(|nla| nla.kind() == IFLA_BRIDGE_VLAN_INFO).find_map(|nla| {
        let (flags, vlan) = (half(nla.value(), 0)?, half(nla.value(), 2)?);
        VlanId::try_from(u64::from(vlan)).ok().filter(|_| flags & PVID != 0)
    })
}
