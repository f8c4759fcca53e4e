//! The overlay: how packets for pods of other nodes leave this one. What the kernel should have is computed from
//! the peers ([`desired()`]), compared with what it has ([`diff()`], [`device::Device::fix`]) and put right;
//! nothing is remembered between two looks, so whatever somebody broke is mended by the next.

pub mod big_tcp;
pub mod decisions;
mod desired;
pub mod device;
mod diff;
pub mod state;
mod why;

pub use desired::{desired, paths};
pub use diff::{Change, diff};
pub use state::{Actual, Desired, Dev, Fdb, Path, Route};
pub use why::{Reached, Why};

use crate::ids::{IfName, MacAddr, Mtu, NodeName, Vni};
use crate::net::Family;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// `rtm_protocol` of the overlay's routes. All routes with this number are the overlay's, and none else are.
/// The number is in nobody's list (include/uapi/linux/rtnetlink.h; iproute2 etc/iproute2/rt_protos).
pub const ROUTE_PROTOCOL: u8 = 213;

/// The UDP port that IANA gave to VXLAN, and that NICs parse. (The kernel's own default is 8472.)
pub const VXLAN_PORT: u16 = 4789;

/// By which path packets go to peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Direct routes to peers on a subnet of the uplink, VXLAN to the others.
    #[default]
    Auto,
    /// VXLAN to all.
    Vxlan,
    /// Direct routes; peers on other subnets cannot be reached.
    Direct,
    /// Somebody else's affair.
    None,
}

impl Mode {
    /// Whether some peer may be reached by the tunnel, or reach this node by it.
    pub fn tunnels(self) -> bool {
        matches!(self, Self::Auto | Self::Vxlan)
    }
}

/// What the operator chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// By which path.
    pub mode: Mode,
    /// The VXLAN device's name; it is the overlay's own, whoever made it.
    pub device: IfName,
    /// The VXLAN network identifier, the same on all nodes.
    pub vni: Vni,
    /// The UDP port of VXLAN, the same on all nodes.
    pub port: u16,
    /// What carries the tunnel; none: IPv4 if this node has it, else IPv6. It must come out the same on all
    /// nodes, since a VXLAN device sends and hears one family.
    pub family: Option<Family>,
}

/// What others, and its own pods, know of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// The MAC of its tunnel device; none: derived from its name.
    pub mac: Option<MacAddr>,
    /// Its addresses inside its podCIDRs, on its bridge: the source of packets from the node itself to remote
    /// pods, so that the answers find back. They must be there before the routes are.
    pub gateways: Vec<IpAddr>,
    /// The MTU of its pods; none: not known, and no route says how much its path carries.
    pub pod_mtu: Option<Mtu>,
}

/// What carries traffic between nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Underlay {
    /// The uplink's number.
    pub index: u32,
    /// The uplink's name.
    pub name: String,
    /// The uplink's MTU in bytes.
    pub mtu: u32,
    /// The uplink's addresses, the preferred first, without link-local ones.
    pub addresses: Vec<IpNetwork>,
}

impl Underlay {
    /// The family that carries the tunnel.
    pub fn family(&self, settings: &Settings) -> Family {
        let v4 = || if self.address(Family::V4).is_some() { Family::V4 } else { Family::V6 };
        settings.family.unwrap_or_else(v4)
    }

    /// This node's address of a family.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().map(IpNetwork::ip).find(|ip| Family::of(*ip) == family)
    }

    /// Whether `ip` can be reached without a router.
    pub fn on_link(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|net| net.contains(ip))
    }

    /// The MTU of the tunnel, in bytes.
    pub fn tunnel_mtu(&self, settings: &Settings) -> u32 {
        self.mtu.saturating_sub(self.family(settings).vxlan_overhead())
    }
}

/// The largest MTU in bytes that every path to a peer carries: what pods get unless somebody chose.
pub fn pod_mtu(settings: &Settings, underlay: &Underlay) -> u32 {
    if settings.mode.tunnels() { underlay.tunnel_mtu(settings) } else { underlay.mtu }
}

/// The MAC of a node's tunnel device where none is given: every node computes it for every other.
pub fn tunnel_mac(name: &NodeName) -> MacAddr {
    MacAddr::of_name(name.as_str())
}

#[cfg(test)]
#[path = "desired_tests.rs"]
mod desired_tests;
#[cfg(test)]
#[path = "diff_tests.rs"]
mod diff_tests;
