//! What no pod may have, whatever a pool's policy allows.

use crate::node::Node;
use offramp_core::cni::CniError;
use offramp_core::ids::MacAddr;
use offramp_core::nic::Inventory;
use offramp_core::vf::uplink::UplinkPath;
use offramp_core::wire::Prepare;
use offramp_core::wish::{INTERFACES, Offload, Wishes};
use offramp_kernel::addr;
use offramp_kernel::netlink::Socket;
use std::collections::HashSet;
use std::net::IpAddr;

/// A pod's author may not have the addresses of the node, of other nodes, or of the cluster's pods announced.
pub(super) fn check_addresses(node: &Node, wishes: &Wishes) -> Result<(), CniError> {
    let cluster = node.cluster_cidrs();
    if wishes.interfaces.iter().all(|wish| wish.addresses.is_empty()) {
        return Ok(());
    }
    let view = node.view();
    let local = addr::all(&mut Socket::open()?)?;
    let nodes: HashSet<IpAddr> =
        local.into_iter().chain(view.peers.iter().flat_map(|p| p.endpoints.clone())).collect();
    for wish in &wishes.interfaces {
        for ip in wish.addresses.iter().map(|a| a.ip.ip()) {
            let whose = match ip {
                // An IPv4 address that looks like none.
                IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "IPv4",
                _ if nodes.contains(&ip) => "a node",
                _ if cluster.iter().any(|net| net.contains(ip)) => "the cluster's pods",
                _ => continue,
            };
            let what = format!("annotation {INTERFACES}: {} cannot have {ip}", wish.name);
            return Err(CniError::forbidden(format!("{what}: it is an address of {whose}")));
        }
    }
    Ok(())
}

/// Nobody gets the MAC of a port or of the node's uplink.
pub(super) fn check_macs(
    ask: &Prepare,
    wishes: &Wishes,
    inventory: &Inventory,
    path: Option<&UplinkPath>,
) -> Result<(), CniError> {
    let own = |mac: &MacAddr| {
        path.is_some_and(|p| p.mac == *mac) || inventory.ports.iter().any(|p| p.mac == Some(*mac))
    };
    let eth0 = ask.mac.filter(|_| wishes.offload != Offload::None);
    match eth0.into_iter().chain(wishes.interfaces.iter().filter_map(|i| i.settings.mac)).find(own) {
        Some(mac) => Err(CniError::forbidden(format!("MAC {mac} is one of the node's own"))),
        None => Ok(()),
    }
}
