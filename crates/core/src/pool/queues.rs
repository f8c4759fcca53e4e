//! Pools of receive queues.

use super::Glob;
use super::select::Numbered;
use crate::ids::{IfName, PoolName};

/// A set of receive queues that pods may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePool {
    /// Its name, which no pool of VFs has.
    pub name: PoolName,
    /// How pods have its queues.
    pub kind: QueueKind,
    /// Netdevs of NICs, each with the numbers of its queues that are meant: `ens1f0#4-7`.
    pub nics: Vec<Numbered<IfName>>,
    /// The namespaces whose pods may have queues.
    pub namespaces: Vec<Glob>,
    /// The most that one pod may have.
    pub max_queues: u32,
    /// Flow rules that lead to a queue when it comes back.
    pub rules: FlowRules,
}

/// How a pod has a queue of a NIC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum QueueKind {
    /// Its end of a netkit pair leases it.
    #[default]
    Lease,
    /// The NIC leads the pod's packets there, and the node's kernel takes them.
    Steer,
}

/// What a flow rule that leads to a queue means when a pod is done with the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum FlowRules {
    /// It may bring the next pod what was the last one's: the queue is not free as long as it is there.
    #[default]
    Quarantine,
    /// It is an operator's, for whoever has the queue.
    Ignore,
}

impl QueuePool {
    /// Whether pods of a namespace may have queues. None, a container that is no pod's, needs `*`.
    pub fn admits(&self, namespace: Option<&str>) -> bool {
        super::policy::admits(&self.namespaces, namespace)
    }
}
