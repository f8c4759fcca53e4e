//! The other nodes, and which of them may be believed: a peer that claims what somebody else has would draw
//! that one's traffic to itself.

use crate::ids::{MacAddr, NodeName};
use crate::net::{network_of, overlaps};
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// Another node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its name.
    pub name: NodeName,
    /// Its underlay addresses.
    pub endpoints: Vec<IpAddr>,
    /// Its pods' subnets.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNetwork>,
    /// The MAC of its tunnel device; none: derived from its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
}

/// What this node has, which no peer may claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Its name.
    pub name: NodeName,
    /// Its underlay addresses, as far as they are known.
    pub addresses: Vec<IpAddr>,
    /// Its pods' subnets.
    pub pod_cidrs: Vec<IpNetwork>,
}

/// A peer that is left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The peer's name, or where it stands if it has none that is valid.
    pub peer: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {} is left out: {}", self.peer, self.reason)
    }
}

/// The peers that can be believed together, and the others with the reason. Where two claim the same, the
/// earlier one has it. This node itself may be in the list and is skipped, so that all nodes can share one list.
pub fn accept(own: &Own, peers: Vec<Peer>) -> (Vec<Peer>, Vec<Problem>) {
    let mut accepted: Vec<Peer> = Vec::with_capacity(peers.len());
    let mut problems = Vec::new();
    for peer in peers.into_iter().filter(|p| p.name != own.name) {
        let fault = fault_alone(&peer)
            .or_else(|| clash(&peer, &format!("this node ({})", own.name), &own.addresses, &own.pod_cidrs))
            .or_else(|| accepted.iter().find_map(|other| clash_of_peers(&peer, other)));
        match fault {
            None => accepted.push(peer),
            Some(reason) => problems.push(Problem { peer: peer.name.to_string(), reason }),
        }
    }
    (accepted, problems)
}

/// What is wrong with a peer whoever else there is.
fn fault_alone(peer: &Peer) -> Option<String> {
    if peer.endpoints.is_empty() {
        return Some("it has no endpoint".into());
    }
    if peer.pod_cidrs.is_empty() {
        return Some("it has no podCIDR".into());
    }
    if let Some(ip) = peer.endpoints.iter().find(|ip| !is_node_address(**ip)) {
        return Some(format!("endpoint {ip} is not an address that another node can have"));
    }
    if let Some(net) = peer.pod_cidrs.iter().find(|net| network_of(**net) != **net) {
        return Some(format!("podCIDR {net} has host bits set; its network is {}", network_of(*net)));
    }
    if let Some(net) = peer.pod_cidrs.iter().find(|net| !is_pod_network(**net)) {
        return Some(format!("podCIDR {net} is not a network that pods can have"));
    }
    for (i, a) in peer.pod_cidrs.iter().enumerate() {
        if let Some(b) = peer.pod_cidrs[i + 1..].iter().find(|b| overlaps(*a, **b)) {
            return Some(format!("its podCIDRs {a} and {b} overlap"));
        }
    }
    // The tunnel's own packets would be routed into the tunnel.
    inside(&peer.endpoints, &peer.pod_cidrs)
        .map(|(ip, net)| format!("its endpoint {ip} is inside of its own podCIDR {net}"))
}

fn clash_of_peers(peer: &Peer, other: &Peer) -> Option<String> {
    if peer.name == other.name {
        return Some("another peer has the same name".into());
    }
    let name = format!("peer {}", other.name);
    if let Some(mac) = peer.mac.filter(|mac| other.mac == Some(*mac)) {
        return Some(format!("its MAC {mac} is that of {name}"));
    }
    clash(peer, &name, &other.endpoints, &other.pod_cidrs)
}

/// What `peer` claims of somebody who has `addresses` and `pod_cidrs`.
fn clash(peer: &Peer, name: &str, addresses: &[IpAddr], pod_cidrs: &[IpNetwork]) -> Option<String> {
    for net in &peer.pod_cidrs {
        if let Some(theirs) = pod_cidrs.iter().find(|theirs| overlaps(*net, **theirs)) {
            return Some(format!("its podCIDR {net} overlaps {theirs} of {name}"));
        }
    }
    if let Some(ip) = peer.endpoints.iter().find(|ip| addresses.contains(ip)) {
        return Some(format!("its endpoint {ip} is that of {name}"));
    }
    if let Some((ip, net)) = inside(&peer.endpoints, pod_cidrs) {
        return Some(format!("its endpoint {ip} is inside of podCIDR {net} of {name}"));
    }
    inside(addresses, &peer.pod_cidrs).map(|(ip, net)| format!("its podCIDR {net} holds {ip} of {name}"))
}

fn inside(addresses: &[IpAddr], nets: &[IpNetwork]) -> Option<(IpAddr, IpNetwork)> {
    addresses.iter().find_map(|ip| nets.iter().find(|net| net.contains(*ip)).map(|net| (*ip, *net)))
}

/// Whether `ip` can be a node's address on the underlay. IPv6 link-local is not: it means nothing without a link.
pub fn is_node_address(ip: IpAddr) -> bool {
    let special = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
    let useless = match ip {
        IpAddr::V4(a) => a.is_broadcast(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    };
    !(special || useless)
}

/// Whether pods can have addresses of `net`: it touches neither loopback, link-local, multicast nor 0.0.0.0/8.
pub fn is_pod_network(net: IpNetwork) -> bool {
    const SPECIAL: [&str; 8] = [
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/3",
        "::/127",
        "::ffff:0:0/96",
        "fe80::/10",
        "ff00::/8",
    ];
    SPECIAL.iter().filter_map(|s| s.parse().ok()).all(|special| !overlaps(net, special))
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
