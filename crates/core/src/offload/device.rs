//! One netdev.

use super::{Answer, Features};
use crate::ids::IfName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What is known of a netdev.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    /// `port` for a NIC's, else the kind of link: `vlan`, `bond`, `bridge`, `vxlan`.
    pub kind: String,
    /// What it is on, of what was looked at: a bond's ports, a VLAN's link.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<IfName>,
    /// On and off by name.
    pub features: Features,
    /// Queues, and how many there can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// Descriptors of a queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rings: Option<Rings>,
    /// Interrupt coalescing, by the names of Documentation/netlink/specs/ethtool.yaml; those that the driver has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub coalescing: BTreeMap<String, u32>,
    /// Receive side scaling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss: Option<Rss>,
    /// Rules that steer flows to queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ntuple: Option<Ntuple>,
    /// The driver's own switches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub private_flags: BTreeMap<String, bool>,
    /// UDP ports behind which the NIC looks for packets within packets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tunnel_ports: Vec<TunnelTable>,
    /// How large packets get before they are cut up.
    pub sizes: Sizes,
    /// What its driver does for XDP and AF_XDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xdp: Option<Xdp>,
    /// Its queues one by one; only while it is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<Queues>,
    /// Which CPUs work on its packets; none: not looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<CpuSteering>,
    /// Whether its driver leases queues to pods; none: not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leases: Option<Answer>,
    /// What could not be read, and why; what a driver simply does not have is no such thing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// Numbers of queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Channels {
    /// For receiving only.
    pub rx: u32,
    /// For sending only.
    pub tx: u32,
    /// For both.
    pub combined: u32,
    /// For neither: link events and the like.
    pub other: u32,
    /// The most for receiving only.
    pub max_rx: u32,
    /// The most for sending only.
    pub max_tx: u32,
    /// The most for both.
    pub max_combined: u32,
}

impl Channels {
    /// Queues that receive, and the most there can be.
    pub fn receiving(&self) -> (u32, u32) {
        // Some drivers tell of one kind of two that exclude each other.
        (self.rx.saturating_add(self.combined), self.max_rx.max(self.max_combined))
    }
}

/// Descriptors a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rings {
    /// For receiving.
    pub rx: Ring,
    /// For sending.
    pub tx: Ring,
    /// Headers and data come in pages of their own, which receiving without copies needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_data_split: Option<bool>,
}

/// A number and its bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ring {
    /// As it is.
    pub now: u32,
    /// The most.
    pub max: u32,
}

/// Queues that are bound to CPUs in software (Documentation/networking/scaling.rst).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CpuSteering {
    /// Queues that send which CPUs choose (XPS).
    pub xps: u32,
    /// Queues that send.
    pub tx: u32,
    /// Queues whose packets are handed on to CPUs (RPS).
    pub rps: u32,
    /// Queues that receive.
    pub rx: u32,
}

impl fmt::Display for CpuSteering {
    /// `XPS on 4 of 4 queues, RPS off`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |set, all| if set == 0 { "off".to_owned() } else { format!("on {set} of {all} queues") };
        write!(f, "XPS {}, RPS {}", of(self.xps, self.tx), of(self.rps, self.rx))
    }
}

/// Receive side scaling.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rss {
    /// The hash: `toeplitz`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Bytes of its key.
    pub key_bytes: u32,
    /// Entries of the indirection table.
    pub table: u32,
    /// The queues that the table leads to.
    pub queues: Vec<u32>,
    /// Tables beside that one; none: the kernel does not tell (before 6.11).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contexts: Option<u32>,
}

/// Steering of flows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ntuple {
    /// Rules that there are.
    pub rules: u32,
    /// Room for rules in all; none: the driver does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<u32>,
}

/// A table of UDP ports of tunnels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TunnelTable {
    /// What tunnels it is for: `vxlan`, `geneve`, ...
    pub types: Vec<String>,
    /// How many ports it takes.
    pub size: u32,
    /// Those that it has.
    pub ports: Vec<TunnelPort>,
}

/// A UDP port that the NIC was told of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TunnelPort {
    /// What is behind it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The port.
    pub port: u16,
}

/// Bytes, and segments, that a packet may have inside the host; each as far as the kernel tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sizes {
    /// Of what is sent, over IPv6; before 6.3 over IPv4 too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gso_max_size: Option<u32>,
    /// Of what is sent over IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gso_ipv4_max_size: Option<u32>,
    /// Segments of what is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gso_max_segs: Option<u32>,
    /// Of what is received, over IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gro_max_size: Option<u32>,
    /// Of what is received over IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gro_ipv4_max_size: Option<u32>,
    /// The most that the NIC can cut up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tso_max_size: Option<u32>,
    /// Segments of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tso_max_segs: Option<u32>,
}

/// XDP and AF_XDP (Documentation/netlink/specs/netdev.yaml, whose names these are).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Xdp {
    /// `basic`, `redirect`, `ndo-xmit`, `xsk-zerocopy`, `rx-sg`, ...
    pub features: Vec<String>,
    /// Of received packets a program can learn these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rx_metadata: Vec<String>,
    /// Senders over AF_XDP can ask for these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub af_xdp: Vec<String>,
    /// Pieces that a packet sent without copies may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero_copy_segments: Option<u32>,
}

/// Queues one by one, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Queues {
    /// That receive.
    pub rx: u32,
    /// That send.
    pub tx: u32,
    /// That AF_XDP sockets have.
    #[serde(skip_serializing_if = "is_zero")]
    pub af_xdp: u32,
    /// That programs receive from without copies, into memory of their own or of another device.
    #[serde(skip_serializing_if = "is_zero")]
    pub bound: u32,
    /// That are leased to pods.
    #[serde(skip_serializing_if = "is_zero")]
    pub leased: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}
