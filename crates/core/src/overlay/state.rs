//! What the kernel has, and what it should have.

use super::device::Device;
use crate::ids::MacAddr;
use crate::net::Family;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// `RT_TABLE_MAIN` (include/uapi/linux/rtnetlink.h).
pub const MAIN_TABLE: u32 = 254;

/// A link that a route leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dev {
    /// The VXLAN device.
    Tunnel,
    /// The uplink.
    Uplink,
    /// Another, by number; 0 if there are several or none.
    Other(u32),
}

/// A route of the overlay's protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Where to.
    pub dst: IpNetwork,
    /// By which link.
    pub dev: Dev,
    /// The next hop; of the other family where an IPv4 route has an IPv6 next hop.
    pub next_hop: Option<IpAddr>,
    /// The next hop is on the link although no subnet of the link says so.
    pub onlink: bool,
    /// The source of packets from the node itself.
    pub source: Option<IpAddr>,
    /// The path's MTU in bytes where it is less than the pods'.
    pub mtu: Option<u32>,
    /// Which of several routes to the same is taken: the lowest.
    pub metric: u32,
    /// The routing table.
    pub table: u32,
}

impl Route {
    /// The metric of a route that says none: 0 and `IP6_RT_PRIO_USER` (include/uapi/linux/ipv6_route.h).
    pub fn usual_metric(family: Family) -> u32 {
        match family {
            Family::V4 => 0,
            Family::V6 => 1024,
        }
    }

    /// What the kernel tells routes apart by.
    pub fn key(&self) -> (IpNetwork, u32, u32) {
        (self.dst, self.table, self.metric)
    }
}

/// An entry of the VXLAN device's forwarding database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fdb {
    /// Frames to this address; all zero is the default entry.
    pub mac: [u8; 6],
    /// go to this node; none if the entry says something that is not ours to say.
    pub endpoint: Option<IpAddr>,
}

/// What the kernel has of the overlay's own. (The device itself: [`super::device::Found`].)
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Actual {
    /// The routes of the overlay's protocol.
    pub routes: Vec<Route>,
    /// The permanent neighbours on the VXLAN device.
    pub neighbours: Vec<(IpAddr, Option<MacAddr>)>,
    /// The permanent entries of the VXLAN device's forwarding database.
    pub fdb: Vec<Fdb>,
}

/// What the kernel should have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// The VXLAN device; none: there should not be one.
    pub device: Option<Device>,
    /// The routes, by destination.
    pub routes: BTreeMap<IpNetwork, Route>,
    /// The permanent neighbours on the VXLAN device.
    pub neighbours: BTreeMap<IpAddr, MacAddr>,
    /// The VXLAN device's forwarding database.
    pub fdb: BTreeMap<MacAddr, IpAddr>,
}

impl From<Desired> for Actual {
    /// The tables as they are where all was done.
    fn from(desired: Desired) -> Self {
        let Desired { routes, neighbours, fdb, .. } = desired;
        let entry = |(mac, endpoint): (MacAddr, IpAddr)| Fdb { mac: mac.octets(), endpoint: Some(endpoint) };
        Self {
            routes: routes.into_values().collect(),
            neighbours: neighbours.into_iter().map(|(ip, mac)| (ip, Some(mac))).collect(),
            fdb: fdb.into_iter().map(entry).collect(),
        }
    }
}

/// A way to a peer's pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "by")]
pub enum Path {
    /// Through the tunnel.
    Vxlan {
        /// to this address of the peer.
        endpoint: IpAddr,
    },
    /// By a route on the uplink
    Direct {
        /// to this address of the peer.
        endpoint: IpAddr,
    },
    /// Not at all.
    Unreachable {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vxlan { endpoint } => write!(f, "vxlan to {endpoint}"),
            Self::Direct { endpoint } => write!(f, "direct to {endpoint}"),
            Self::Unreachable { reason } => write!(f, "unreachable: {reason}"),
        }
    }
}
