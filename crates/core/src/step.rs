//! The steps of a plan. A step is data; `offramp-kernel` executes it, and every step knows its undo.
//! Undoing a step that was never executed, or was undone before, changes nothing.

use crate::cni::result::Route;
use crate::ids::{IfName, MacAddr, Mtu};
use crate::spec::{Address, Bandwidth, EnsureBridge, PortSpec};
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// The bridge is there, up, and has these settings. Shared, so never undone.
    EnsureBridge(EnsureBridge),
    /// A veth pair, its pod end made inside the pod's netns.
    CreateVeth(CreateVeth),
    /// The host end is a port of the bridge, without IPv6 of its own, up.
    AttachPort(AttachPort),
    /// Token buckets on the host end.
    Shape(Shape),
    /// The bridge has the gateways' addresses, and the node forwards. Shared, so never undone.
    Gateway(Gateway),
    /// The pod's end has its addresses and routes and is up.
    ConfigurePod(ConfigurePod),
    /// The node knows the pod's MAC: nothing stale of an earlier holder of the address is in the way.
    Neighbours(Neighbours),
    /// Both ends have carrier, the port forwards, the addresses are usable: the first packet will pass. Bounded.
    AwaitCarrier(AwaitCarrier),
    /// The neighbours hear of addresses that may have had another MAC before (gratuitous ARP, unsolicited NA).
    Announce(Announce),
}

/// See [`Step::CreateVeth`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateVeth {
    /// The host end.
    pub host: IfName,
    /// The host end's MAC, by which its undo knows it.
    pub host_mac: MacAddr,
    /// The pod's end.
    pub pod: IfName,
    /// The pod's MAC.
    pub pod_mac: MacAddr,
    /// Of both ends, in bytes.
    pub mtu: Option<Mtu>,
}

/// See [`Step::AttachPort`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachPort {
    /// The host end.
    pub link: IfName,
    /// The bridge.
    pub bridge: IfName,
    /// Settings.
    pub port: PortSpec,
}

/// See [`Step::Shape`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The host end; what it sends is the pod's ingress.
    pub link: IfName,
    /// The ifb that the pod's egress passes; made only if egress is limited.
    pub ifb: IfName,
    /// The ifb's MAC, by which its undo knows it.
    pub ifb_mac: MacAddr,
    /// Limits.
    pub bandwidth: Bandwidth,
    /// Of the ifb, in bytes.
    pub mtu: Option<Mtu>,
}

/// See [`Step::Gateway`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// The bridge.
    pub bridge: IfName,
    /// Gateway addresses with the pods' prefix lengths.
    pub addresses: Vec<IpNetwork>,
    /// Another address of the same subnet is replaced; else it is an error.
    pub force: bool,
}

/// See [`Step::ConfigurePod`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurePod {
    /// The pod's end.
    pub link: IfName,
    /// Its MAC, from which the IPv6 link-local address comes.
    pub mac: MacAddr,
    /// Addresses.
    pub addresses: Vec<Address>,
    /// Routes; one without next hop takes the gateway of its family, or is on-link if there is none.
    pub routes: Vec<Route>,
    /// IPv6 addresses go through duplicate address detection.
    pub dad: bool,
}

impl ConfigurePod {
    /// A route's next hop; none: it is on-link.
    pub fn next_hop(&self, route: &Route) -> Option<IpAddr> {
        let same_family = |a: &&Address| a.ip.is_ipv4() == route.dst.is_ipv4();
        route.gw.or_else(|| self.addresses.iter().filter(same_family).find_map(|a| a.gateway))
    }
}

/// See [`Step::Neighbours`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbours {
    /// The bridge.
    pub bridge: IfName,
    /// The pod's addresses.
    pub ips: Vec<IpAddr>,
    /// The pod's MAC.
    pub mac: MacAddr,
}

/// See [`Step::AwaitCarrier`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitCarrier {
    /// The host end.
    pub host: IfName,
    /// The pod's end.
    pub pod: IfName,
    /// The pod's addresses.
    pub ips: Vec<IpAddr>,
}

/// See [`Step::Announce`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// The pod's end.
    pub link: IfName,
    /// Its MAC.
    pub mac: MacAddr,
    /// Addresses of its own.
    pub ips: Vec<IpAddr>,
}

/// What takes a step back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo<'a> {
    /// Delete the host's link of this name, if it has this MAC: else it is somebody else's.
    DeleteLink {
        /// Its name.
        name: &'a IfName,
        /// Its MAC.
        mac: MacAddr,
    },
    /// Forget these neighbours, where they still have this MAC.
    ForgetNeighbours(&'a Neighbours),
}

impl Step {
    /// A short name for logs and timings.
    pub fn name(&self) -> &'static str {
        match self {
            Self::EnsureBridge(_) => "ensure-bridge",
            Self::CreateVeth(_) => "create-veth",
            Self::AttachPort(_) => "attach-port",
            Self::Shape(_) => "shape",
            Self::Gateway(_) => "gateway",
            Self::ConfigurePod(_) => "configure-pod",
            Self::Neighbours(_) => "neighbours",
            Self::AwaitCarrier(_) => "await-carrier",
            Self::Announce(_) => "announce",
        }
    }

    /// What takes it back; none where nothing of the attachment's own was made.
    pub fn undo(&self) -> Option<Undo<'_>> {
        match self {
            Self::CreateVeth(v) => Some(Undo::DeleteLink { name: &v.host, mac: v.host_mac }),
            Self::Shape(s) if s.bandwidth.egress.is_some() => {
                Some(Undo::DeleteLink { name: &s.ifb, mac: s.ifb_mac })
            }
            Self::Neighbours(n) => Some(Undo::ForgetNeighbours(n)),
            // The kernel takes these along with the link, or they are shared.
            Self::Shape(_)
            | Self::EnsureBridge(_)
            | Self::AttachPort(_)
            | Self::Gateway(_)
            | Self::ConfigurePod(_)
            | Self::AwaitCarrier(_)
            | Self::Announce(_) => None,
        }
    }
}
