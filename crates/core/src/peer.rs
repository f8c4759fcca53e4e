//! The other nodes, and which of them may be believed: a peer that claims what somebody else has would draw
//! that one's traffic to itself.

use crate::ids::{MacAddr, NodeName};
use crate::net::{network_of, overlaps};
use crate::overlay::tunnel_mac;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

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

impl Peer {
    /// The MAC of its tunnel device.
    pub fn tunnel_mac(&self) -> MacAddr {
        self.mac.unwrap_or_else(|| tunnel_mac(&self.name))
    }
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
    /// The peer that has the podCIDR which it claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<NodeName>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {} is left out: {}", self.peer, self.reason)
    }
}

/// The peers that can be believed together, and the others with the reason. Where two claim the same, the
/// earlier one has it. This node itself may be in the list and is skipped, so that all nodes can share one list.
///
/// What one of them needs in the kernel is no other one's then: the ways to each can be computed and changed alone.
pub fn accept<P: Borrow<Peer>>(own: &Own, peers: Vec<P>) -> (Vec<P>, Vec<Problem>) {
    let (good, problems) = judge(own, &peers);
    let accepted = peers.into_iter().zip(good).filter(|(_, good)| *good).map(|(peer, _)| peer).collect();
    (accepted, problems)
}

/// Of each in turn whether it can be believed.
fn judge<P: Borrow<Peer>>(own: &Own, peers: &[P]) -> (Vec<bool>, Vec<Problem>) {
    let mut taken = Taken::by(own);
    let mut problems = Vec::new();
    let mut good = vec![false; peers.len()];
    for (peer, good) in peers.iter().map(Borrow::borrow).zip(&mut good).filter(|(p, _)| p.name != own.name) {
        match fault_alone(peer).map(|why| (why, None)).or_else(|| taken.clash(peer)) {
            None => {
                taken.add(peer);
                *good = true;
            }
            Some((reason, against)) => {
                problems.push(Problem { peer: peer.name.to_string(), reason, against });
            }
        }
    }
    (good, problems)
}

/// Peers that many look at, and that most changes leave as they are.
pub type Peers = Arc<[Arc<Peer>]>;

/// Who of `before` is gone or was another, and who of `now` is new or is another.
pub fn difference(before: &[Arc<Peer>], now: &[Arc<Peer>]) -> (Vec<Arc<Peer>>, Vec<Arc<Peer>>) {
    let mut gone: HashMap<&NodeName, &Arc<Peer>> = before.iter().map(|peer| (&peer.name, peer)).collect();
    let is_known = |was: &Arc<Peer>, peer: &Arc<Peer>| Arc::ptr_eq(was, peer) || was == peer;
    let mut new = Vec::new();
    for peer in now {
        match gone.get(&peer.name) {
            Some(was) if is_known(was, peer) => drop(gone.remove(&peer.name)),
            _ => new.push(peer.clone()),
        }
    }
    (gone.into_values().cloned().collect(), new)
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

/// What is claimed until now, in order: networks do not overlap, so that each question looks at one entry, not at
/// thousands of peers.
struct Taken<'a> {
    own: &'a Own,
    /// By their first addresses; none: this node's.
    nets: BTreeMap<IpAddr, (IpNetwork, Option<&'a NodeName>)>,
    addresses: BTreeMap<IpAddr, Option<&'a NodeName>>,
    macs: HashMap<MacAddr, Option<&'a NodeName>>,
    names: HashSet<&'a NodeName>,
}

/// Why a peer is left out, and the peer whose podCIDR it claims.
type Clash = (String, Option<NodeName>);

impl<'a> Taken<'a> {
    fn by(own: &'a Own) -> Self {
        let nets = own.pod_cidrs.iter().map(|net| (net.network(), (*net, None))).collect();
        let addresses = own.addresses.iter().map(|ip| (*ip, None)).collect();
        Self { own, nets, addresses, macs: [(tunnel_mac(&own.name), None)].into(), names: HashSet::new() }
    }

    fn add(&mut self, peer: &'a Peer) {
        let name = Some(&peer.name);
        self.nets.extend(peer.pod_cidrs.iter().map(|net| (net.network(), (*net, name))));
        self.addresses.extend(peer.endpoints.iter().map(|ip| (*ip, name)));
        self.macs.insert(peer.tunnel_mac(), name);
        self.names.insert(&peer.name);
    }

    fn clash(&self, peer: &Peer) -> Option<Clash> {
        if self.names.contains(&peer.name) {
            return Some(("another peer has the same name".into(), None));
        }
        let mac = peer.tunnel_mac();
        if let Some(owner) = self.macs.get(&mac) {
            return Some((format!("its MAC {mac} is that of {}", self.describe(*owner)), None));
        }
        for net in &peer.pod_cidrs {
            if let Some((theirs, owner)) =
                self.nets_until(net.broadcast()).filter(|(n, _)| overlaps(*net, *n))
            {
                let why = format!("its podCIDR {net} overlaps {theirs} of {}", self.describe(owner));
                return Some((why, owner.cloned()));
            }
        }
        for ip in &peer.endpoints {
            if let Some(owner) = self.addresses.get(ip) {
                return Some((format!("its endpoint {ip} is that of {}", self.describe(*owner)), None));
            }
            if let Some((theirs, owner)) = self.nets_until(*ip).filter(|(n, _)| n.contains(*ip)) {
                let why =
                    format!("its endpoint {ip} is inside of podCIDR {theirs} of {}", self.describe(owner));
                return Some((why, None));
            }
        }
        for net in &peer.pod_cidrs {
            if let Some((ip, owner)) = self.addresses.range(net.network()..=net.broadcast()).next() {
                return Some((format!("its podCIDR {net} holds {ip} of {}", self.describe(*owner)), None));
            }
        }
        None
    }

    /// The last network that begins at `ip` or before it.
    fn nets_until(&self, ip: IpAddr) -> Option<(IpNetwork, Option<&'a NodeName>)> {
        self.nets.range(..=ip).next_back().map(|(_, (net, owner))| (*net, *owner))
    }

    fn describe(&self, owner: Option<&NodeName>) -> String {
        owner.map_or_else(|| format!("this node ({})", self.own.name), |name| format!("peer {name}"))
    }
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
    // Each of thousands of podCIDRs is asked about at each change.
    static PARSED: LazyLock<Vec<IpNetwork>> =
        LazyLock::new(|| SPECIAL.iter().filter_map(|s| s.parse().ok()).collect());
    !PARSED.iter().any(|special| overlaps(net, *special))
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
