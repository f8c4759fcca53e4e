//! Pools: named sets of VFs or receive queues with what pods may ask of them, and how NICs are to be set up for them.

mod nics;
mod policy;
mod queues;
mod resolve;
mod select;
mod settle;

pub use nics::{InUse, NicChange, NicObstacle, NicProblem, NicRule, PortSelector, nic_change, rule_of};
pub use policy::{Glob, Policy, VlanRange};
pub use queues::{FlowRules, QueueKind, QueuePool};
pub use resolve::{Overlap, Resolved, resolve};
pub use select::{Indexes, Numbered, Selector};
pub use settle::{Forbidden, settle};

use crate::ids::{IfName, PoolName, ResourceName};
use crate::vf::{VfMode, VfSettings};

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// A VF that any of these selects belongs to it.
    pub selectors: Vec<Selector>,
    /// What its VFs are to pods.
    pub mode: VfMode,
    /// They are lent by kubelet alone, as this resource; none: by annotation alone.
    pub resource: Option<ResourceName>,
    /// Kubelet gets VFs' names of the Container Device Interface in place of device nodes.
    pub cdi: bool,
    /// What a VF is set to where its pod asks for nothing else; none: it stays as it is.
    pub defaults: VfSettings,
    /// In switchdev mode, the bridge whose port a VF's representor is while the VF is another interface than eth0; none:
    /// the representor is left where it is.
    pub bridge: Option<IfName>,
    /// What pods may ask for.
    pub policy: Policy,
}

#[cfg(test)]
mod tests;
