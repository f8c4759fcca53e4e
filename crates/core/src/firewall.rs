//! What nftables holds for attachments, as data. Rendering and execution are `offramp-kernel`'s.

use crate::ids::{IfName, MacAddr};
use crate::spec::Protocol;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The rules of one attachment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// Ports of the node that lead to the pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<HostPortRule>,
    /// Addresses whose traffic is masqueraded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub masquerade: Vec<Masquerade>,
    /// Which MAC may send into the bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spoof_check: Option<SpoofCheck>,
}

impl Rules {
    /// Whether nothing needs to be done.
    pub fn is_empty(&self) -> bool {
        self.host_ports.is_empty() && self.masquerade.is_empty() && self.spoof_check.is_none()
    }
}

/// Destination NAT from a port of the node to a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPortRule {
    /// Protocol.
    pub protocol: Protocol,
    /// Only at this address of the node; none: at all of them, in the family of `to`.
    pub host_ip: Option<IpAddr>,
    /// The node's port.
    pub host_port: u16,
    /// The pod's address.
    pub to: IpAddr,
    /// The pod's port.
    pub to_port: u16,
    /// The pod's subnet: what comes from there, or from the node's loopback, must be masqueraded, else the
    /// answer goes back past the NAT.
    pub subnet: IpNetwork,
}

impl HostPortRule {
    /// Whether two mappings claim the same packets.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.host_port == other.host_port
            && self.to.is_ipv4() == other.to.is_ipv4()
            && self.host_ip == other.host_ip
    }
}

/// Source NAT for one pod: all but what goes to `exempt` or to multicast leaves with the node's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Masquerade {
    /// The pod's address.
    pub ip: IpAddr,
    /// Its subnet.
    pub exempt: IpNetwork,
}

/// Frames from `link` with another source than `mac` are dropped in the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoofCheck {
    /// The host end.
    pub link: IfName,
    /// The only source.
    pub mac: MacAddr,
}

/// What the daemon has nftables hold for the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeRules {
    /// The pods' subnets of this node: their traffic is masqueraded ...
    pub pod_subnets: Vec<IpNetwork>,
    /// ... unless it goes to these (the cluster's pod subnets, and what the operator exempts).
    pub no_masquerade: Vec<IpNetwork>,
    /// Links that lead to pods: the node sends no ICMP redirect there, which would lead past it.
    pub pod_links: Vec<IfName>,
}
