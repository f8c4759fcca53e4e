//! What is decided about packets to other nodes, and why, for the operator: computed from what the daemon knows, so that
//! nobody has to guess it from tables and features.

mod cpus;
mod links;
mod mtu;
mod offload;
mod port;
mod sizes;
#[cfg(test)]
mod tests;
mod way;

pub use links::{Link, below, named};
pub use port::{PORT_FEATURE, Untold, tellable, untold};

use super::big_tcp::Allowed;
use super::{Settings, Underlay};
use crate::ids::{IfName, Mtu};
use crate::offload::Device;
use crate::probe::{Kind, Way};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Which packets it is about.
    pub scope: Scope,
    /// What of them.
    pub topic: Topic,
    /// What was decided.
    pub is: String,
    /// Why.
    pub why: String,
    /// What the operator can do about it; none: nothing is amiss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}

/// Which packets a decision is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Those of pods, by whatever path.
    Pods,
    /// Those that leave by the uplink, by whatever path.
    Uplink,
    /// Those that are routed.
    Direct,
    /// Those that are tunnelled.
    Vxlan,
}

/// What a decision is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// By which ways other nodes are reached.
    Ways,
    /// Who gets IPv4 packets so.
    Ipv4,
    /// Who gets IPv6 packets so.
    Ipv6,
    /// The family of the tunnel's outer packets.
    Outer,
    /// The largest packet.
    Mtu,
    /// The tunnel's UDP port, and whether NICs were told of it.
    Port,
    /// Who computes checksums.
    Checksums,
    /// Who cuts large packets up.
    Segmentation,
    /// How large they get before.
    Sizes,
    /// Which CPUs work on them.
    Cpus,
}

/// What is known.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// As configured.
    pub settings: &'a Settings,
    /// What carries the traffic.
    pub underlay: &'a Underlay,
    /// Whether there is a tunnel device.
    pub has_tunnel: bool,
    /// How many peers are reached by each kind of path.
    pub peers: BTreeMap<Kind, usize>,
    /// Of pods and their bridge.
    pub pod_mtu: Option<Mtu>,
    /// As configured; none: computed.
    pub configured_mtu: Option<Mtu>,
    /// Netdevs, as far as they were looked at.
    pub devices: &'a BTreeMap<IfName, Device>,
    /// What was turned off since a test found it broken.
    pub turned_off: Vec<TurnedOff>,
    /// NICs that are told of tunnels' ports since this node wants it.
    pub turned_on: Vec<IfName>,
    /// How large packets may be; none: that is left alone.
    pub big_tcp: Option<Allowed>,
}

/// What was turned off since a test found it broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedOff {
    /// Of which device.
    pub device: IfName,
    /// Named as ethtool names them.
    pub features: Vec<String>,
    /// What did not arrive.
    pub why: String,
}

/// All that was decided. What is not known (yet) is left out.
pub fn decide(facts: &Facts) -> Vec<Decision> {
    let mut all = vec![way::of_pods(facts.settings.mode)];
    all.extend(mtu::of_pods(facts));
    all.extend(cpus::of(facts));
    if facts.peers.keys().any(|kind| kind.way == Way::Direct) {
        all.extend(way::of_direct(facts));
        all.push(mtu::of_direct(facts));
        all.extend(offload::of_direct(facts));
        all.extend(sizes::of(facts, Scope::Direct));
    }
    if facts.has_tunnel {
        all.extend(way::of_vxlan(facts));
        all.push(way::outer(facts));
        all.push(mtu::of_vxlan(facts));
        all.push(port::decision(facts));
        all.extend(offload::of_vxlan(facts));
        all.extend(sizes::of(facts, Scope::Vxlan));
    }
    all
}

impl Scope {
    fn decision(self, topic: Topic, is: impl Into<String>, why: impl Into<String>) -> Decision {
        Decision { scope: self, topic, is: is.into(), why: why.into(), todo: None }
    }
}

impl Decision {
    fn todo(self, todo: Option<String>) -> Self {
        Self { todo, ..self }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pods => "pods",
            Self::Uplink => "uplink",
            Self::Direct => "direct",
            Self::Vxlan => "vxlan",
        })
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ways => "ways",
            Self::Ipv4 => "IPv4 pods",
            Self::Ipv6 => "IPv6 pods",
            Self::Outer => "outer packets",
            Self::Mtu => "MTU",
            Self::Port => "UDP port",
            Self::Checksums => "checksums",
            Self::Segmentation => "segmentation",
            Self::Sizes => "packet sizes",
            Self::Cpus => "CPUs",
        })
    }
}
