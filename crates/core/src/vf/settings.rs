//! What can be set on a VF. What is none stays as it is.

use crate::ids::{MacAddr, Mtu, VlanId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Settings of a VF, by its PF and of its own netdev.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VfSettings {
    /// The administrative MAC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The VLAN that the PF puts the VF in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanTag>,
    /// May the VF change its MAC, and be promiscuous. What exactly, drivers differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<bool>,
    /// Frames with another source MAC are dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spoofchk: Option<bool>,
    /// What link the VF sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_state: Option<LinkState>,
    /// Guaranteed rate of sending, Mbit/s; 0 is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_tx_rate: Option<u32>,
    /// Limit on sending, Mbit/s; 0 is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tx_rate: Option<u32>,
    /// Of the VF's netdev.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
    /// Of the VF's netdev.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allmulticast: Option<bool>,
    /// Combined channels of the VF's netdev, where its driver can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<u32>,
}

/// A VLAN tag; VLAN 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VlanTag {
    /// The VLAN; none: untagged.
    pub id: Option<VlanId>,
    /// Priority, 0 to 7.
    #[serde(default)]
    pub qos: u8,
    /// The tag's protocol.
    #[serde(default)]
    pub proto: VlanProto,
}

impl fmt::Display for VlanTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vlan {}", self.id.map_or(0, VlanId::get))?;
        if self.qos != 0 {
            write!(f, " qos {}", self.qos)?;
        }
        if self.proto != VlanProto::default() {
            write!(f, " proto {}", self.proto)?;
        }
        Ok(())
    }
}

/// The protocol of a VLAN tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VlanProto {
    /// Customer tag.
    #[default]
    #[serde(rename = "802.1q", alias = "802.1Q")]
    Q,
    /// Service tag.
    #[serde(rename = "802.1ad", alias = "802.1AD")]
    Ad,
}

impl VlanProto {
    /// The EtherType (include/uapi/linux/if_ether.h).
    pub fn ethertype(self) -> u16 {
        match self {
            Self::Q => 0x8100,
            Self::Ad => 0x88a8,
        }
    }
}

impl fmt::Display for VlanProto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Q => "802.1q",
            Self::Ad => "802.1ad",
        })
    }
}

/// What link a VF sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// The PF's.
    #[default]
    Auto,
    /// Up, whatever the PF's is: VFs of one PF reach each other.
    Enable,
    /// Down.
    Disable,
}

impl LinkState {
    /// `IFLA_VF_LINK_STATE_*` (include/uapi/linux/if_link.h).
    pub fn number(self) -> u32 {
        match self {
            Self::Auto => 0,
            Self::Enable => 1,
            Self::Disable => 2,
        }
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Enable => "enable",
            Self::Disable => "disable",
        })
    }
}
