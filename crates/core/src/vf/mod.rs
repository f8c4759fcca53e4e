//! One VF: how it is named, what can be set, what it was before, and who has it.

mod claim;
mod plan;
mod settings;
mod state;
pub mod uplink;

pub use claim::{Claim, Claimed, FORMAT as CLAIM_FORMAT, Utc};
pub use plan::{Plug, PodBridge, ROUTE_PROTOCOL, Uplink, VfSpec, gateway, plan, routed_address};
pub use settings::{LinkState, VfSettings, VlanProto, VlanTag};
pub use state::{NetdevState, PfSide, RepresentorState, VfState, differences};

use crate::ids::IfName;
use crate::nic::{PciAddr, PortKey};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A VF, as plans and claims name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VfRef {
    /// Its PCI address: what finds it, wherever its netdev is and whatever that is called.
    pub pci: PciAddr,
    /// Its port.
    pub port: PortKey,
    /// The port's netdev when this was planned, for messages; who acts looks it up by the key.
    pub pf: IfName,
    /// Its number on the port.
    pub index: u16,
}

impl fmt::Display for VfRef {
    /// `VF 3 of ens1f0 (0000:02:10.6)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VF {} of {} ({})", self.index, self.pf, self.pci)
    }
}

/// What a VF is to its pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VfMode {
    /// A network interface.
    #[default]
    Netdev,
    /// A device for userspace, bound to vfio-pci.
    Vfio,
}

impl fmt::Display for VfMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Netdev => "netdev",
            Self::Vfio => "vfio",
        })
    }
}
