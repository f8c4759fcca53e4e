//! Further networks of a pod, by the "Kubernetes Network Custom Resource Definition De-facto Standard" 1.3 of the Network
//! Plumbing Working Group (<https://github.com/k8snetworkplumbingwg/multi-net-spec>): which ones a pod's annotation
//! selects, what a NetworkAttachmentDefinition (NAD) says, what is to be executed for it, and what is told of it.

mod definition;
mod delegation;
mod device;
mod given;
mod lent;
mod outcome;
mod selection;
mod status;

pub use definition::{Definition, Kind, OFFRAMP, RESOURCE};
pub use delegation::{Delegation, Progress, delegation};
pub use device::{Device, DeviceInfo};
pub use given::Given;
pub use lent::pool_wish;
pub use selection::{Addresses, Selection, check_namespaces, parse};
pub use status::{Entry, network_status};

use crate::ids::{Namespace, ObjectName};
use std::fmt;

/// The annotation that selects networks.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// The annotation that tells of them; only ever written.
pub const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// Which NetworkAttachmentDefinition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NadRef {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
}

impl fmt::Display for NadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests;
