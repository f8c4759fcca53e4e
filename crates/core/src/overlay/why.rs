//! How a podCIDR of a peer is reached, with the reason.

use super::{Path, Underlay};
use crate::net::Family;
use ipnetwork::IpNetwork;

/// How a podCIDR is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The podCIDR.
    pub pod_cidr: IpNetwork,
    /// The way to it.
    pub path: Path,
    /// Why that one; none: there is no way, and the path says why.
    pub why: Option<Why>,
}

/// Why a way is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// No router is between.
    OnLink,
    /// A router is between.
    Beyond,
    /// No router is between, but pods of this family cannot be routed by the other family's next hop.
    OtherFamily(Family),
    /// The operator wants the tunnel for all.
    Mode,
}

impl Why {
    /// For people.
    pub fn tell(self, underlay: &Underlay) -> String {
        let uplink = &underlay.name;
        match self {
            Self::OnLink => format!("in a subnet of {uplink}"),
            Self::Beyond => format!("in no subnet of {uplink}"),
            Self::OtherFamily(family) => format!("in a subnet of {uplink}, but not by {family}"),
            Self::Mode => "overlay.mode is vxlan".into(),
        }
    }
}
