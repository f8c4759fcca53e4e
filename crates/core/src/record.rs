//! The record of one attachment: the only durable state. It is written before the first change and removed
//! after the last, and holds all that is needed to take the attachment back without anybody's help.

use crate::cni::result::Ip;
use crate::ids::{AttachmentId, NetworkName};
use crate::networks::Delegation;
use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

/// The version of the records' format; a record of another one is refused by name.
pub const FORMAT: u32 = 1;

/// One attachment, planned or made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`FORMAT`]
    pub format: u32,
    /// Whose it is.
    pub attachment: AttachmentId,
    /// The network's `name`; GC is by network.
    pub network: NetworkName,
    /// Who planned it.
    pub mode: Mode,
    /// How far it is.
    pub state: State,
    /// The pod's namespace.
    pub netns: NetnsRef,
    /// The pod, where the runtime told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    /// Who must be told that the addresses are free.
    pub ipam: IpamHold,
    /// What was decided.
    pub plan: Plan,
    /// The file that tells the pod of its device (`CNIDeviceInfoFile`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_info: Option<PathBuf>,
    /// Further networks, executed after the plan and undone before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Delegation>,
    /// What the pod asked for: the annotations that were read, as they were written. For people only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<String, String>,
    /// The NUMA nodes of the pod's CPUs, or else of devices of others that it has, as kubelet told when something was lent
    /// to it. For people only.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub numa: BTreeSet<u32>,
    /// When, in seconds since 1970.
    pub created: u64,
}

impl Record {
    /// The addresses of the attachment's own interface. Those of further interfaces are of other networks, and a pod's
    /// author chose them.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let result = &self.plan.result;
        let own = |ip: &&Ip| {
            let interface = ip.interface.and_then(|i| result.interfaces.get(i));
            interface.is_none_or(|i| i.name == self.attachment.ifname.as_str())
        };
        result.ips.iter().filter(own).map(|ip| ip.address.ip())
    }
}

/// Who planned an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The plugin, from its configuration.
    Inline,
    /// The daemon.
    Node,
}

/// How far an attachment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Steps may have been executed, or not.
    Adding,
    /// All steps were executed.
    Ready,
    /// Being taken back; the remains are nobody's.
    Deleting,
}

impl State {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adding => "adding",
            Self::Ready => "ready",
            Self::Deleting => "deleting",
        }
    }
}

/// A network namespace: its path and its identity, since a path can be used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetnsRef {
    /// As the runtime gave it.
    pub path: PathBuf,
    /// Inode on nsfs: unique among the namespaces that live.
    pub inode: u64,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    #[serde(default)]
    pub uid: String,
}

impl std::fmt::Display for PodRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Whose an attachment is, for people: `NAMESPACE/POD@IFNAME` where the pod is known, else `CONTAINER@IFNAME`.
pub fn who(attachment: &AttachmentId, pod: Option<&PodRef>) -> String {
    match pod {
        Some(pod) => format!("{pod}@{}", attachment.ifname),
        None => attachment.to_string(),
    }
}

/// Who gave the addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum IpamHold {
    /// Nobody.
    #[default]
    None,
    /// The daemon, which reads its records: the record itself is the hold.
    Daemon,
    /// Files in this directory.
    Files {
        /// One file an address.
        dir: PathBuf,
    },
    /// A delegated plugin, to be called with this configuration and environment.
    Delegate {
        /// Its file name.
        plugin: String,
        /// The complete configuration.
        config: serde_json::Value,
        /// `CNI_PATH`
        path: Vec<String>,
        /// `CNI_ARGS`
        args: String,
    },
}

impl IpamHold {
    /// Whether nobody need be told.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}
