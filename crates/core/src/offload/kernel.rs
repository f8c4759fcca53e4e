//! What the running kernel can do.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Something that kernels have or lack, whatever their version says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ability {
    /// Sockets that share memory with a driver.
    AfXdp,
    /// Packets of more than 64 KiB inside the host, over IPv6.
    BigTcp,
    /// The same over IPv4.
    BigTcpIpv4,
    /// Bridges that tell VLANs apart.
    BridgeVlan,
    /// Devices that configure their embedded switches.
    Devlink,
    /// Features of NICs told in full.
    EthtoolNetlink,
    /// Connections that pass the host by a short cut.
    Flowtable,
    /// What drivers do for XDP, and queues one by one.
    NetdevFamily,
    /// Pairs of links whose forwarding is a program's.
    Netkit,
    /// Packet filters.
    Nftables,
    /// Queues of a NIC inside a pod.
    QueueLease,
    /// Programs at links, several of them.
    Tcx,
    /// VLAN devices.
    Vlan,
    /// Tunnels to other nodes.
    Vxlan,
    /// What a newer daemon knows and this program does not.
    #[serde(other)]
    Unknown,
}

impl Ability {
    /// Its name, which is also the label's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AfXdp => "af-xdp",
            Self::BigTcp => "big-tcp",
            Self::BigTcpIpv4 => "big-tcp-ipv4",
            Self::BridgeVlan => "bridge-vlan",
            Self::Devlink => "devlink",
            Self::EthtoolNetlink => "ethtool-netlink",
            Self::Flowtable => "flowtable",
            Self::NetdevFamily => "netdev-family",
            Self::Netkit => "netkit",
            Self::Nftables => "nftables",
            Self::QueueLease => "queue-lease",
            Self::Tcx => "tcx",
            Self::Vlan => "vlan",
            Self::Vxlan => "vxlan",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Answer {
    /// It was tried, or the kernel says so.
    There,
    /// The kernel refused.
    Missing {
        /// In its words.
        why: String,
    },
    /// It could not be tried.
    Unknown {
        /// What stood in the way.
        why: String,
    },
}

/// The answers.
pub type Abilities = BTreeMap<Ability, Answer>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        for ability in
            [Ability::AfXdp, Ability::BigTcpIpv4, Ability::QueueLease, Ability::Tcx, Ability::Vxlan]
        {
            assert_eq!(serde_json::to_value(ability).unwrap(), ability.as_str());
        }
        let newer: Abilities = serde_json::from_str(r#"{"warp-drive": {"is": "there"}}"#).unwrap();
        assert_eq!(newer, [(Ability::Unknown, Answer::There)].into());
    }
}
