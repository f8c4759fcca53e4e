//! What a VF was before it was lent: what its release puts back and compares with, field by field.

use super::settings::{LinkState, VlanTag};
use crate::ids::{IfName, MacAddr};
use serde::{Deserialize, Serialize};

/// The state of a VF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VfState {
    /// The driver it was bound to.
    pub driver: Option<String>,
    /// What its PF has set.
    pub pf_side: PfSide,
    /// Its netdev; none: it had none.
    pub netdev: Option<NetdevState>,
}

/// What a PF has set for a VF (`IFLA_VF_INFO`). None: the driver does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PfSide {
    /// None: all zero, no administrative MAC, the driver takes a random one.
    pub mac: Option<MacAddr>,
    /// VLAN.
    pub vlan: Option<VlanTag>,
    /// Trust.
    pub trust: Option<bool>,
    /// Check of source MACs.
    pub spoofchk: Option<bool>,
    /// Link state.
    pub link_state: Option<LinkState>,
    /// Mbit/s.
    pub min_tx_rate: Option<u32>,
    /// Mbit/s.
    pub max_tx_rate: Option<u32>,
}

/// What a VF's netdev was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetdevState {
    /// Name.
    pub name: IfName,
    /// Address.
    pub mac: MacAddr,
    /// Bytes.
    pub mtu: u32,
    /// `ifalias`
    pub alias: Option<String>,
    /// Alternative names, sorted.
    pub altnames: Vec<String>,
    /// Administratively promiscuous.
    pub promisc: bool,
    /// Receives all multicast, administratively.
    pub allmulticast: bool,
    /// Administratively up.
    pub up: bool,
}
