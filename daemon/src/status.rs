//! What `offrampd status` shows: filled by the daemon, read by the command line, and with `-o json` by others.
//! Keys are only ever added.

use crate::eswitch::PortOffload;
use ipnetwork::IpNetwork;
use offramp_core::lend::Usage;
use offramp_core::overlay::decisions::Decision;
use offramp_core::plan::Path;
use offramp_core::probe::{Kind, Stage, Verdict};
use offramp_core::queue::QueueClaim;
use offramp_core::record::State;
use offramp_core::vf::Claim;
use offramp_core::{IfName, Mtu, NodeName};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The node's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The node.
    pub node: NodeStatus,
    /// The pods' bridge.
    pub bridge: BridgeStatus,
    /// The ranges that pods' addresses come from.
    pub ranges: Vec<RangeStatus>,
    /// The ways to the other nodes.
    pub overlay: OverlayStatus,
    /// Nodes of the cluster that do not say how their pods are reached: Offramp does not run there (yet).
    #[serde(default)]
    pub silent: Vec<NodeName>,
    /// How many attachments there are of each kind.
    pub attachments: Vec<AttachmentCount>,
    /// How the pools stand, and what VFs are in none.
    #[serde(default)]
    pub pools: Vec<Usage>,
    /// The VFs that are lent or in quarantine.
    #[serde(default)]
    pub vfs: Vec<VfStatus>,
    /// How the pools of queues stand.
    #[serde(default)]
    pub queue_pools: Vec<Usage>,
    /// The queues that are lent or in quarantine.
    #[serde(default)]
    pub queues: Vec<QueueClaim>,
    /// The bridges' ports that are ones of embedded switches in switchdev mode.
    #[serde(default)]
    pub offload: Vec<PortOffload>,
    /// What was found out about what NICs promise.
    #[serde(default)]
    pub probes: ProbeStatus,
    /// What runs regularly.
    pub reconcile: Vec<LoopStatus>,
    /// What the Kubernetes API tells of by itself.
    #[serde(default)]
    pub watches: Vec<WatchStatus>,
    /// What the operator should know; empty if all is well.
    pub problems: Vec<String>,
}

/// The node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub name: NodeName,
    /// The daemon's version.
    pub version: String,
    /// Since when the daemon runs, in seconds since 1970.
    pub started: u64,
    /// The time of this status, in seconds since 1970.
    pub now: u64,
    /// Its addresses on the underlay.
    pub underlay: Vec<IpAddr>,
    /// The link to the other nodes; none: not found.
    pub uplink: Option<LinkStatus>,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkStatus {
    /// Its name.
    pub name: IfName,
    /// Bytes.
    pub mtu: u32,
}

/// The pods' bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BridgeStatus {
    /// Its name.
    pub name: IfName,
    /// Of bridge and pods, in bytes.
    pub mtu: Option<Mtu>,
    /// The gateways' addresses on it.
    pub gateways: Vec<IpNetwork>,
    /// What connects pods with it, and why not what is configured.
    #[serde(default)]
    pub path: String,
    /// Whether it is as it should be.
    pub health: Health,
}

/// A range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RangeStatus {
    /// The range.
    pub subnet: IpNetwork,
    /// Addresses that attachments hold.
    pub used: u64,
    /// Addresses that it can give out; 2^64-1 stands for that many or more.
    pub capacity: u64,
}

impl RangeStatus {
    /// From how much of a range is used one is warned, in percent.
    pub const WARN_PERCENT: u8 = 80;

    /// How much is used, in percent, rounded down.
    pub fn percent(&self) -> u8 {
        let percent = u128::from(self.used) * 100 / u128::from(self.capacity.max(1));
        u8::try_from(percent.min(100)).unwrap_or(100)
    }

    /// Whether it is nearly exhausted.
    pub fn is_short(&self) -> bool {
        self.percent() >= Self::WARN_PERCENT
    }

    /// What to tell of a range that is nearly exhausted.
    pub fn problem(&self) -> Option<String> {
        let free = self.capacity.saturating_sub(self.used);
        let addresses = if free == 1 { "address" } else { "addresses" };
        let text = || format!("range {} is at {}%: {free} {addresses} left", self.subnet, self.percent());
        self.is_short().then(text)
    }
}

/// The ways to the other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverlayStatus {
    /// As configured: `auto`, `vxlan`, `direct`, `none`.
    pub mode: String,
    /// The tunnel device; none: there is none.
    pub device: Option<DeviceStatus>,
    /// The other nodes, also those that are left out.
    pub peers: Vec<PeerStatus>,
    /// What was decided about packets to them, and why.
    #[serde(default)]
    pub decisions: Vec<Decision>,
}

/// The tunnel device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceStatus {
    /// Its name.
    pub name: IfName,
    /// VXLAN network identifier.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// Bytes.
    pub mtu: u32,
    /// The address that outer packets come from.
    pub local: IpAddr,
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// Its name, or where it stands in the file.
    pub name: String,
    /// Where it is reached; none: not at all.
    pub endpoint: Option<IpAddr>,
    /// Its pods' subnets.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNetwork>,
    /// The way that is taken; none: there is none.
    pub path: Option<PeerPath>,
    /// The way to each of its pods' subnets that can be reached.
    #[serde(default)]
    pub ways: Vec<WayStatus>,
    /// Whether kernel state for it is in place.
    pub health: Health,
}

/// The way to a subnet of another node's pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WayStatus {
    /// The subnet.
    #[serde(rename = "podCIDR")]
    pub pod_cidr: IpNetwork,
    /// The way.
    pub path: PeerPath,
    /// The address of the other node that it leads to.
    pub endpoint: IpAddr,
    /// Why this one.
    pub why: String,
}

/// What was found out about what NICs promise.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProbeStatus {
    /// Of each kind of path that there is.
    pub kinds: Vec<KindStatus>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
    /// What is turned off since it was found broken.
    pub cures: Vec<CureStatus>,
}

/// A kind of path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KindStatus {
    /// Which: its way, and the family of the pods' packets.
    #[serde(flatten)]
    pub kind: Kind,
    /// By which device packets leave.
    pub device: IfName,
    /// How many peers are reached so.
    pub peers: usize,
    /// What was asked, in order.
    pub stages: Vec<StageStatus>,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// What was asked of a kind of path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// What.
    pub stage: Stage,
    /// What it does.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What is turned off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CureStatus {
    /// Of which device.
    pub device: IfName,
    /// Named as ethtool names them.
    pub features: Vec<String>,
    /// What did not arrive.
    pub why: String,
    /// In seconds since 1970.
    pub since: u64,
}

/// The way to another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerPath {
    /// By a route on the uplink.
    Direct,
    /// Through the tunnel.
    Vxlan,
}

/// Whether something is as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Health {
    /// It is.
    Ok,
    /// It is not.
    Failed {
        /// Why.
        reason: String,
    },
}

/// How many attachments are of one path and state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentCount {
    /// How they are made.
    pub path: Path,
    /// How far they are.
    pub state: State,
    /// How many.
    pub count: u64,
}

/// A VF that is not free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VfStatus {
    /// Who has it, or what it waits for.
    #[serde(flatten)]
    pub claim: Claim,
    /// What the operator should know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Something that runs regularly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoopStatus {
    /// What: `overlay`, `bridge`, `reclaim`, ...
    pub name: String,
    /// When it last ran, in seconds since 1970; none: not yet.
    pub last_run: Option<u64>,
    /// What it repaired since the daemon started.
    pub repairs: u64,
    /// How the last run ended.
    pub health: Health,
}

/// A watch of the Kubernetes API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchStatus {
    /// Of what: `node`, `nodes`, `pods`, `networks`.
    pub name: String,
    /// Whether what changes is told.
    pub up: bool,
    /// When something was told last, in seconds since 1970; none: not yet.
    pub last_event: Option<u64>,
    /// Why nothing is told.
    pub health: Health,
}
