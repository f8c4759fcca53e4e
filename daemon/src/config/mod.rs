//! The daemon's configuration: read once, checked completely, then immutable.
//! Every key is described in `docs/configuration.md`.

mod cni;
mod fault;
mod networks;
mod nics;
mod offloads;
pub mod peers;
mod pools;
mod raw;
mod source;
mod validate;
pub mod yaml;

pub use cni::{Cni, CniVersion};
pub use fault::{Fault, FileError};
pub use networks::{Networks, Source as NetworkSource};
pub use nics::EmbeddedSwitch;
pub use offloads::Offloads;
pub use source::range;

use ipnetwork::IpNetwork;
use offramp_core::ipam::Range;
use offramp_core::net::Family;
use offramp_core::pair::PairWish;
use offramp_core::pool::{NicRule, Pool, QueuePool};
use offramp_core::{IfName, Mtu, NodeName};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub node: Node,
    /// Where the cluster's state comes from.
    pub source: Source,
    /// Where pods' traffic goes unmasqueraded; none: the pods' subnets of this node and of its peers.
    pub cluster_cidrs: Option<Vec<IpNetwork>>,
    /// The pods' bridge.
    pub bridge: Bridge,
    /// What connects pods with the bridge.
    pub path: PairWish,
    /// How pods reach other nodes.
    pub overlay: Overlay,
    /// How pods reach the outside.
    pub masquerade: Masquerade,
    /// Places.
    pub paths: Paths,
    /// The network configuration that the daemon keeps; none: it is somebody else's affair.
    pub cni: Option<Cni>,
    /// Where health and metrics are served; none: nowhere.
    pub http: Option<SocketAddr>,
    /// What is logged.
    pub log: Log,
    /// How often all of the node's state is compared with what it should be. Events lead to repairs at once;
    /// this is for what no event tells.
    pub reconcile_interval: Duration,
    /// How often dead attachments are looked for.
    pub reclaim_interval: Duration,
    /// How kubelet's lists of pods are used.
    pub kubelet: Kubelet,
    /// Sets of VFs that pods may ask for; names are unique.
    pub pools: Vec<Pool>,
    /// Sets of queues, which no pool of VFs is called as either.
    pub queue_pools: Vec<QueuePool>,
    /// How many VFs ports are to have; the first that selects a port applies.
    pub nics: Vec<NicRule>,
    /// Further networks of pods.
    pub networks: Networks,
    /// What the NICs are told of bridges.
    pub embedded_switch: EmbeddedSwitch,
    /// What is done about what NICs promise.
    pub offloads: Offloads,
}

/// This node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its underlay addresses; empty: those of the uplink.
    pub addresses: Vec<IpAddr>,
    /// The link to the other nodes; none: that of the default route.
    pub uplink: Option<IfName>,
}

/// Where the cluster's state comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// From this configuration and a file of peers.
    Standalone(Standalone),
    /// From the Kubernetes API.
    Kubernetes(Kubernetes),
}

/// See [`Source::Standalone`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standalone {
    /// The ranges of this node's pods, at least one, none overlapping, in the order of the configuration.
    pub ranges: Vec<Range>,
    /// The other nodes; none: there are none.
    pub peers_file: Option<PathBuf>,
}

/// See [`Source::Kubernetes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// How to reach the API and who we are; none: as a pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// The API's URL in place of the one that kubeconfig or environment name: without kube-proxy the Service's
    /// address leads nowhere.
    pub api_server: Option<http::Uri>,
    /// How long pods cannot be served before the Node is called unavailable.
    pub unavailable_after: Duration,
    /// Whether the Node gets labels that say what it can offload.
    pub node_labels: bool,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            api_server: None,
            unavailable_after: Duration::from_secs(60),
            node_labels: false,
        }
    }
}

/// The pods' bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: IfName,
    /// Of bridge and pods; none: as large as the way to the peers allows.
    pub mtu: Option<Mtu>,
    /// Whether a port may send back what it received.
    pub hairpin: bool,
}

/// How pods reach other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// By which way.
    pub mode: OverlayMode,
    /// VXLAN network identifier, 1 to 2^24-1.
    pub vni: u32,
    /// VXLAN's UDP port.
    pub port: u16,
    /// The VXLAN device.
    pub device: IfName,
    /// The family of the tunnel's outer packets; none: one that all have, IPv4 first.
    pub underlay: Option<Family>,
}

/// By which way pods reach other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayMode {
    /// Direct to peers on the uplink's subnet, VXLAN to the others.
    Auto,
    /// VXLAN to all.
    Vxlan,
    /// Direct routes only: a peer beyond a router is a problem.
    Direct,
    /// Somebody else makes the routes.
    None,
}

/// How pods reach the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masquerade {
    /// Whether traffic that leaves the cluster gets the node's address.
    pub enabled: bool,
    /// Not towards these, besides the cluster's own.
    pub except: Vec<IpNetwork>,
}

/// Places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Records and locks; it must not outlive a reboot.
    pub state_dir: PathBuf,
    /// Where plugin and command line find the daemon.
    pub socket: PathBuf,
    /// Where kubelet has its sockets.
    pub kubelet: PathBuf,
    /// Where the container runtime finds what devices are (Container Device Interface).
    pub cdi: PathBuf,
    /// Where sysfs is mounted.
    pub sysfs: PathBuf,
    /// Where the settings of `/proc/sys/net` can be written: a container has its own `/proc/sys` read-only.
    pub sysctl: PathBuf,
}

/// How kubelet's lists of pods and their devices are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kubelet {
    /// Between two lists.
    pub interval: Duration,
    /// So long after kubelet's start its lists do not count: pods are missing from them.
    pub settling: Duration,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// This and what is more severe.
    pub level: tracing::Level,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl Config {
    /// Reads and checks a file. `hostname` is the node's name if the file names none.
    pub fn load(path: &Path, hostname: &str) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, hostname).map_err(|faults| FileError::Invalid { path: path.to_owned(), faults })
    }

    /// Checks a file's text; the error holds every mistake that was found.
    pub fn parse(text: &str, hostname: &str) -> Result<Self, Vec<Fault>> {
        validate::config(yaml::parse(text).map_err(|fault| vec![fault])?, hostname)
    }
}

/// The machine's hostname, as the kernel has it in this UTS namespace.
pub fn hostname() -> Result<String, FileError> {
    let path = Path::new("/proc/sys/kernel/hostname");
    let name =
        std::fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    // kubelet does the same: a node's name has no capitals.
    Ok(name.trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
