//! Pools of receive queues.

use super::Glob;
use super::select::Numbered;
use crate::ids::{IfName, PoolName};

/// A set of receive queues that pods may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePool {
    /// Its name, which no pool of VFs has.
    pub name: PoolName,
    /// Netdevs of NICs, each with the numbers of its queues that are meant: `ens1f0#4-7`.
    pub nics: Vec<Numbered<IfName>>,
    /// The namespaces whose pods may have queues.
    pub namespaces: Vec<Glob>,
    /// The most that one pod may have.
    pub max_queues: u32,
}

impl QueuePool {
    /// Whether pods of a namespace may have queues. None, a container that is no pod's, needs `*`.
    pub fn admits(&self, namespace: Option<&str>) -> bool {
        super::policy::admits(&self.namespaces, namespace)
    }
}
