//! What one attachment is to be: the input of [`crate::plan::plan`], the same from a network configuration
//! (inline mode) and from the daemon (node mode).

use crate::cni::result::{Dns, Route};
use crate::ids::{IfName, MacAddr, Mtu, VlanId};
use crate::net::Family;
use crate::pair::Chosen;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One attachment, wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The pod's interface.
    pub ifname: IfName,
    /// Its MAC.
    pub mac: MacAddr,
    /// The path of the pod's netns, for the result.
    pub sandbox: String,
    /// The host end's name.
    pub host_ifname: IfName,
    /// The host end's MAC: how it is known again as ours.
    pub host_mac: MacAddr,
    /// What connects the pod with the bridge.
    pub pair: Chosen,
    /// Of both ends; none: the kernel's default.
    pub mtu: Option<Mtu>,
    /// Where the host end is plugged in.
    pub bridge: BridgeSpec,
    /// Settings of the port.
    pub port: PortSpec,
    /// The pod's addresses.
    pub addresses: Vec<Address>,
    /// The pod's routes.
    pub routes: Vec<Route>,
    /// For the result.
    pub dns: Dns,
    /// IPv6 addresses go through duplicate address detection, which takes a second.
    pub enable_dad: bool,
    /// The pod's interface stays down.
    pub leave_down: bool,
    /// Limits on the traffic.
    pub bandwidth: Bandwidth,
    /// Ports of the node that lead to the pod.
    pub host_ports: Vec<HostPort>,
    /// Masquerade the pod's traffic to elsewhere, pod by pod (in node mode the daemon does it by subnet).
    pub masquerade: bool,
    /// Drop frames with another source than `mac`.
    pub mac_spoof_check: bool,
}

/// The bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeSpec {
    /// Its name.
    pub name: IfName,
    /// Made and kept by the plugin (inline mode); none: the daemon does that.
    pub ensure: Option<EnsureBridge>,
    /// The bridge holds the gateways' addresses.
    pub is_gateway: bool,
    /// A bridge address that is in the way is replaced.
    pub force_address: bool,
    /// PFs behind the bridge whose embedded switches must know the pod ([`crate::eswitch`]).
    pub inform: Vec<IfName>,
}

/// How the plugin makes a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnsureBridge {
    /// Its name.
    pub name: IfName,
    /// Of a bridge that is made, by which its undo knows it; none: a random one, and it stays. The pods know their
    /// gateway by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Bytes; none: the kernel's default.
    pub mtu: Option<Mtu>,
    /// Tells VLANs apart.
    pub vlan_filtering: bool,
    /// Is promiscuous.
    pub promisc: bool,
}

/// Settings of a bridge port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// May send back what it received.
    pub hairpin: bool,
    /// Cannot reach other isolated ports.
    pub isolated: bool,
    /// Untagged VLAN.
    pub vlan: Option<VlanId>,
    /// Tagged VLANs.
    pub trunk: Vec<VlanTrunk>,
    /// Stays in the bridge's default VLAN too.
    pub keep_default_vlan: bool,
}

/// Tagged VLANs from `min` to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VlanTrunk {
    /// First.
    pub min: VlanId,
    /// Last.
    pub max: VlanId,
}

/// An address of the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// With the prefix length.
    pub ip: IpNetwork,
    /// The gateway of its subnet.
    pub gateway: Option<IpAddr>,
}

/// Limits by direction, as the pod sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// To the pod.
    pub ingress: Option<Rate>,
    /// From the pod.
    pub egress: Option<Rate>,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Bytes a second.
    pub bytes_per_second: u64,
    /// Bytes that may go at once.
    pub burst_bytes: u32,
}

impl Rate {
    /// From bits, as CNI counts. A burst of 0, or of 2^32-1 bits, which containerd sends always, is no wish:
    /// then 50 ms of the rate, at least one 64 KiB segment, so that segmentation offload stays useful.
    pub fn new(bits_per_second: u64, burst_bits: u64) -> Self {
        let bytes_per_second = bits_per_second / 8;
        let burst = match burst_bits {
            0 => None,
            b if b >= u64::from(u32::MAX) => None,
            b => Some(b / 8),
        };
        let burst = burst.unwrap_or((bytes_per_second / 20).clamp(64 << 10, 32 << 20)).max(1600);
        Self { bytes_per_second, burst_bytes: u32::try_from(burst).unwrap_or(u32::MAX) }
    }
}

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// In any casing.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|p| p.as_str().eq_ignore_ascii_case(text))
    }

    /// Lower case, as nftables writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A port of the node that leads to the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    /// On the node.
    pub host_port: u16,
    /// In the pod.
    pub container_port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Only at this address of the node.
    pub host_ip: Option<IpAddr>,
    /// Only in this family: the runtime named `0.0.0.0` or `::`.
    pub only: Option<Family>,
}
