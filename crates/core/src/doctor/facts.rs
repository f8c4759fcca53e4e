//! What was seen. Each source by itself: one that fails does not hide what another tells.

use crate::ids::{AttachmentId, IfName};
use crate::net::Family;
use crate::nic::{Inventory, PciAddr};
use crate::offload::Device;
use crate::overlay::{Actual, Underlay};
use crate::pool::{NicRule, Pool};
use crate::queue::QueueClaim;
use crate::record::State;
use crate::steer::SharedQueues;
use crate::vf::{Claim, VfState};
use ipnetwork::IpNetwork;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What a source says, or why it could not be asked.
pub type Look<T> = Result<T, String>;

/// All that was seen of a node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The version of the program that looks.
    pub version: String,
    /// The version of the plugin that the runtime starts; none: it is not to be seen from here.
    pub plugin: Look<Option<String>>,
    /// What the configuration wants.
    pub wanted: Look<Wanted>,
    /// Why the configuration does not load, though its file is there.
    pub broken_config: Option<String>,
    /// What the daemon says of itself.
    pub daemon: Reply,
    /// The runtime's network configurations; none: they are somebody else's affair.
    pub conflist: Look<Option<Conflist>>,
    /// The state directory.
    pub space: Look<Space>,
    /// The attachments.
    pub records: Look<Records>,
    /// The links of the host's namespace.
    pub links: Look<Vec<Link>>,
    /// The links' offloads, of those that carry much, by name.
    pub offloads: Look<BTreeMap<IfName, Device>>,
    /// How many CPUs are online.
    pub cpus: Look<usize>,
    /// The ways to other nodes.
    pub overlay: Look<Overlay>,
    /// Settings below `/proc/sys/net`, as far as they are there.
    pub sysctls: Look<BTreeMap<String, String>>,
    /// From where packets come in, and where answers to them leave.
    pub returns: Look<Returns>,
    /// The NICs and their VFs.
    pub nics: Look<Nics>,
    /// Queues to which pods' packets are led, and not theirs alone.
    pub shared_queues: Look<Vec<SharedQueues>>,
    /// The PFs that must know what is behind their bridges.
    pub filters: Look<Vec<Filter>>,
    /// The bridges' ports that are ones of embedded switches.
    pub representors: Look<Vec<Representor>>,
    /// The netfilter rules.
    pub rules: Look<Rules>,
}

impl Facts {
    /// The sources that could not be asked, with the reasons.
    pub fn unseen(&self) -> Vec<String> {
        let daemon = match &self.daemon {
            Reply::Unseen(why) => Some(why),
            _ => None,
        };
        let sources = [
            ("the plugin", self.plugin.as_ref().err()),
            ("the configuration", self.wanted.as_ref().err()),
            ("the daemon", daemon),
            ("the runtime's network configurations", self.conflist.as_ref().err()),
            ("the state directory", self.space.as_ref().err()),
            ("the attachments", self.records.as_ref().err()),
            ("links", self.links.as_ref().err()),
            ("offloads", self.offloads.as_ref().err()),
            ("CPUs", self.cpus.as_ref().err()),
            ("the overlay", self.overlay.as_ref().err()),
            ("sysctls", self.sysctls.as_ref().err()),
            ("routes", self.returns.as_ref().err()),
            ("NICs", self.nics.as_ref().err()),
            ("queues that are led to", self.shared_queues.as_ref().err()),
            ("PFs' filters", self.filters.as_ref().err()),
            ("representors", self.representors.as_ref().err()),
            ("netfilter rules", self.rules.as_ref().err()),
        ];
        let told = |(source, why): (&str, Option<&String>)| why.map(|why| format!("{source}: {why}"));
        let left_out = self.returns.as_ref().map_or(0, |r| r.left_out);
        let cut = (left_out > 0)
            .then(|| format!("routes: {left_out} of those back to peers and pods are too many"));
        sources.into_iter().filter_map(told).chain(cut).collect()
    }

    /// Whether a daemon should run here: there is a configuration for one, be it a broken one, or an attachment that one
    /// planned.
    pub fn expects_daemon(&self) -> bool {
        let planned = |r: &Records| r.records.iter().any(|r| r.by_daemon);
        self.wanted.is_ok() || self.broken_config.is_some() || self.records.as_ref().is_ok_and(planned)
    }

    /// What the daemon told.
    pub fn told(&self) -> Option<&Told> {
        if let Reply::Told(told) = &self.daemon { Some(told) } else { None }
    }

    /// A link by name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.as_ref().ok()?.iter().find(|l| l.name == name)
    }

    /// The uplink.
    pub fn uplink(&self) -> Option<&Underlay> {
        self.overlay.as_ref().ok()?.underlay.as_ref().ok()?.as_ref()
    }

    /// The VXLAN device of the overlay.
    pub fn tunnel(&self) -> Option<&Vxlan> {
        let overlay = self.overlay.as_ref().ok()?;
        overlay.vxlans.iter().find(|v| v.name == overlay.device)
    }

    /// The overlay's tables.
    pub fn ways(&self) -> Option<&Actual> {
        self.overlay.as_ref().ok().map(|o| &o.tables)
    }

    /// The pods' bridge.
    pub fn bridge(&self) -> Option<&Link> {
        self.link(self.wanted.as_ref().ok()?.bridge.as_str())
    }

    /// What a link leaves to its hardware, and its queues.
    pub fn offloads(&self, link: &str) -> Option<&Device> {
        let all = self.offloads.as_ref().ok()?;
        all.iter().find(|(name, _)| name.as_str() == link).map(|(_, device)| device)
    }

    /// A setting.
    pub fn sysctl(&self, key: &str) -> Option<&str> {
        self.sysctls.as_ref().ok()?.get(key).map(String::as_str)
    }

    /// The networks of this node's pods.
    pub fn pod_networks(&self) -> Vec<IpNetwork> {
        self.overlay.as_ref().map(|o| o.pod_networks.clone()).unwrap_or_default()
    }

    /// Whether pods have addresses of a family.
    pub fn has_family(&self, family: Family) -> bool {
        self.pod_networks().iter().any(|net| Family::of(net.ip()) == family)
    }
}

/// What of the configuration matters here.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// The pods' bridge.
    pub bridge: IfName,
    /// What is wanted of ports.
    #[serde(skip)]
    pub nics: Vec<NicRule>,
    /// Sets of VFs.
    #[serde(skip)]
    pub pools: Vec<Pool>,
}

/// What came of asking the daemon.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It answers.
    Told(Box<Told>),
    /// It does not; why that is known.
    Away(String),
    /// It is of another release, and this one does not understand it.
    Stranger(String),
    /// It cannot be asked from here.
    Unseen(String),
}

/// What the daemon tells of itself.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Its version.
    pub version: String,
    /// The other nodes that cannot be reached, and why.
    pub lost_peers: Vec<String>,
    /// What an offload that was tested does not do: where, and what.
    pub broken_offloads: Vec<String>,
    /// The links at which it turned something off, since a test showed that it is broken.
    pub turned_off: BTreeSet<String>,
    /// How full the ranges are that pods' addresses come from.
    pub ranges: Vec<Range>,
    /// All that it reports as problems.
    pub problems: Vec<String>,
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Range {
    /// The range.
    pub subnet: IpNetwork,
    /// How many addresses are held.
    pub used: u64,
    /// How many it can give out.
    pub capacity: u64,
}

/// The network configurations of the container runtime.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflist {
    /// Where ours is.
    pub path: String,
    /// Whether it is there.
    pub there: bool,
    /// Those that the runtime takes before it.
    pub before: Vec<String>,
}

/// What is left where the state is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Space {
    /// The state directory.
    pub path: String,
    /// Bytes.
    pub total: u64,
    /// Bytes that may be used.
    pub free: u64,
    /// Inodes; 0: without a limit.
    pub inodes: u64,
    /// Inodes that may be used.
    pub free_inodes: u64,
    /// It is in memory, and gone after a reboot.
    pub in_memory: bool,
}

/// The attachments of this node.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Records {
    /// Those that can be read.
    pub records: Vec<Attached>,
    /// Records and claims that cannot be read, and why.
    pub unreadable: Vec<String>,
}

/// An attachment.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attached {
    /// Its ID.
    pub id: AttachmentId,
    /// Its pod, if it is known, or the ID.
    pub who: String,
    /// The daemon planned it.
    pub by_daemon: bool,
    /// How far it is.
    pub state: State,
    /// Seconds since it was made.
    pub age: u64,
    /// Its namespace is gone, and so is its link or the netdev of its VF.
    pub dead: Look<bool>,
    /// Its link on the host, if it should have one.
    pub host_link: Option<String>,
    /// The node routes by that link: it is no port of a bridge.
    pub is_routed: bool,
    /// The MTU of its interface on the pod network in bytes.
    pub mtu: Option<u32>,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Those to which the node should have a route of their own, and has none by the link that leads to the pod.
    pub unrouted: Look<Vec<IpAddr>>,
}

impl Attached {
    /// Whether it is a pod's that lives, as far as is known.
    pub fn lives(&self) -> bool {
        self.state == State::Ready && self.dead != Ok(true)
    }
}

/// A link.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Its name.
    pub name: String,
    /// `bridge`, `veth`, `vxlan`, ...; none for physical links.
    pub kind: Option<String>,
    /// The group that it is in.
    pub group: u32,
    /// Bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Has carrier.
    pub carrier: bool,
    /// Its addresses with their subnets.
    pub addresses: Vec<IpNetwork>,
}

/// The ways to other nodes.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overlay {
    /// The uplink; none: nothing is to be carried.
    pub underlay: Look<Option<Underlay>>,
    /// There should be a tunnel device.
    pub tunnels: bool,
    /// The tunnel device's name, VNI and UDP port, as they should be.
    pub device: String,
    /// See [`Overlay::device`].
    pub vni: u32,
    /// See [`Overlay::device`].
    pub port: u16,
    /// All VXLAN devices.
    pub vxlans: Vec<Vxlan>,
    /// Routes, neighbours and forwarding entries of the overlay.
    pub tables: Actual,
    /// The networks of this node's pods.
    pub pod_networks: Vec<IpNetwork>,
}

/// A VXLAN device.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Vxlan {
    /// Its name.
    pub name: String,
    /// The network identifier.
    pub vni: Option<u32>,
    /// UDP port.
    pub port: Option<u16>,
    /// Source of what it sends.
    pub local: Option<IpAddr>,
    /// Bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// It takes all VNIs of its port (metadata mode).
    pub external: bool,
}

/// The routes back to those who send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Returns {
    /// Those that were looked up: pods' first.
    pub looked_up: Vec<Return>,
    /// How many were not.
    pub left_out: usize,
}

/// Packets that come in at one link; whether answers leave by the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Return {
    /// Who sends them.
    pub who: String,
    /// From this address.
    pub from: IpAddr,
    /// The link at which they come in.
    pub comes_in: String,
    /// The link by which the route leads back; none: there is no route.
    pub leaves: Option<String>,
}

/// The NICs, and who has what of them.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Nics {
    /// Ports and VFs.
    pub inventory: Inventory,
    /// Who has VFs.
    pub claims: Vec<Claim>,
    /// Who has queues.
    pub queue_claims: Vec<QueueClaim>,
    /// The state of VFs that nobody has.
    pub free: BTreeMap<PciAddr, Look<VfState>>,
}

/// A PF that must know what is behind a bridge.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// The PF.
    pub port: String,
    /// How many addresses it should know.
    pub wanted: usize,
    /// Those that it does not know, with their owners.
    pub missing: Vec<String>,
}

/// A bridge's port that is one of an embedded switch.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Representor {
    /// The port.
    pub port: String,
    /// What the daemon says of it too.
    pub problem: Option<String>,
}

/// Netfilter rules.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// What `nft -j list ruleset` prints. A bundle has it in a file of its own.
    #[serde(skip)]
    pub nft: Value,
    /// Tables of iptables-legacy.
    pub legacy: Vec<String>,
    /// What they do ([`super::legacy_listing`]).
    #[serde(skip)]
    pub legacy_rules: Value,
}
