//! The node's side of pods that are not on its bridge, whichever they are.

use crate::Result;
use crate::netlink::Socket;
use crate::sysctl::Sysctl;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBond, InfoData, InfoKind, InfoVlan, LinkAttribute, LinkInfo, LinkMessage,
};
use offramp_core::ids::{IfName, MacAddr};
use offramp_core::vf::uplink::{LinkKind, NodeLink};

/// Has the node forward what comes from `link`, which VFs of pods are behind. Says how many settings were otherwise.
pub fn forward_from(sysctl: &Sysctl, link: &IfName) -> Result<u64> {
    sysctl.set(&format!("ipv4/conf/{link}/forwarding"), "1").map(u64::from)
}

/// Has the node answer on the pods' bridge for pods that are elsewhere. Says how many settings were otherwise.
pub fn answer_on(sysctl: &Sysctl, bridge: &IfName) -> Result<u64> {
    let mut changed = 0;
    let mut set = |key: String, value| sysctl.set(&key, value).map(|was| changed += u64::from(was));
    // Else the kernel lets 0.8 s pass before it answers for somebody else (neigh_parms, net/ipv4/arp.c).
    set(format!("ipv4/neigh/{bridge}/proxy_delay"), "0")?;
    set(format!("ipv6/neigh/{bridge}/proxy_delay"), "0")?;
    // IPv4 heeds proxy entries without being told so.
    set(format!("ipv6/conf/{bridge}/proxy_ndp"), "1")?;
    // Else the kernel forgets all proxy entries at any change of a bridge without carrier, which it is while its last
    // pod is gone (arp_netdev_event and ndisc_netdev_event, since Linux 5.16).
    set(format!("ipv4/conf/{bridge}/arp_evict_nocarrier"), "0")?;
    set(format!("ipv6/conf/{bridge}/ndisc_evict_nocarrier"), "0")?;
    Ok(changed)
}

/// All links of the namespace, as far as they say what they are on.
pub fn node_links(socket: &mut Socket) -> Result<Vec<NodeLink>> {
    let all = socket.dump("list links", &RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let link = |m: RouteNetlinkMessage| match m {
        RouteNetlinkMessage::NewLink(link) => node_link(&link),
        _ => None,
    };
    Ok(all.into_iter().filter_map(link).collect())
}

/// None for what has no name that we could use.
fn node_link(message: &LinkMessage) -> Option<NodeLink> {
    let (mut name, mut mac, mut controller, mut on, mut infos) = (None, None, None, None, [].as_slice());
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = text.parse().ok(),
            LinkAttribute::Address(bytes) => mac = mac_of(bytes),
            LinkAttribute::Controller(index) => controller = Some(*index),
            LinkAttribute::Link(index) => on = Some(*index),
            LinkAttribute::LinkInfo(all) => infos = all.as_slice(),
            _ => {}
        }
    }
    Some(NodeLink { index: message.header.index, name: name?, mac, controller, kind: kind(infos, on) })
}

fn mac_of(bytes: &[u8]) -> Option<MacAddr> {
    MacAddr::try_from(<[u8; 6]>::try_from(bytes).ok()?).ok()
}

fn kind(infos: &[LinkInfo], on: Option<u32>) -> LinkKind {
    let data = infos.iter().find_map(|i| if let LinkInfo::Data(data) = i { Some(data) } else { None });
    let kind = infos.iter().find_map(|i| if let LinkInfo::Kind(kind) = i { Some(kind) } else { None });
    match (kind, data) {
        (None, _) => LinkKind::Device,
        (Some(InfoKind::Bridge), _) => LinkKind::Bridge,
        (Some(InfoKind::Bond), Some(InfoData::Bond(data))) => LinkKind::Bond {
            active: data.iter().find_map(|d| if let InfoBond::ActivePort(i) = d { Some(*i) } else { None }),
        },
        (Some(InfoKind::Vlan), Some(InfoData::Vlan(data))) => vlan(data, on),
        (Some(other), _) => LinkKind::Other(other.to_string()),
    }
}

fn vlan(data: &[InfoVlan], on: Option<u32>) -> LinkKind {
    let (mut id, mut ethertype) = (None, 0x8100);
    for d in data {
        match d {
            InfoVlan::Id(number) => id = u64::from(*number).try_into().ok(),
            InfoVlan::Protocol(protocol) => ethertype = u16::from(*protocol),
            _ => {}
        }
    }
    match (on, id) {
        (Some(on), Some(id)) => LinkKind::Vlan { on, id, ethertype },
        // VLAN 0 is for priorities only.
        _ => LinkKind::Other("VLAN without a number".into()),
    }
}
