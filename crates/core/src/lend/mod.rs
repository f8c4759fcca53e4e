//! Which VFs a pod gets: a pure function of what it asks for, the pools, the inventory and what is taken.

mod candidates;
mod devices;
mod eth0;
mod matching;
mod queues;
mod refusal;
mod taken;
mod usage;

pub use devices::{Device, devices};
pub use eth0::{Choice, Eth0, choose_eth0};
pub use queues::{Fault, LentQueues, Lessor, NodeQueues, PoolQueue, QueueWant, QueueWhy, QueuesTaken};
pub use refusal::{Reason, Refusal, Why};
pub use taken::{Hold, Holding, Taken};
pub use usage::{Usage, usage};

use crate::ids::{IfName, PoolName, ResourceName};
use crate::nic::{Inventory, PciAddr, PortKey};
use crate::pair::Pairs;
use crate::pool::{Pool, Resolved, resolve};
use crate::vf::{VfMode, VfRef, VfSettings};
use crate::wish::{InterfaceWish, Wishes};
use candidates::{Candidate, candidates};
use std::collections::{BTreeMap, BTreeSet};

/// What one pod asks for: all of it is lent, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LendRequest {
    /// The pod's namespace; none: a container that is no pod's.
    pub namespace: Option<String>,
    /// The interfaces; one that is named earlier is served first, but none at the cost of another.
    pub wants: Vec<Want>,
}

/// An interface that is to be a VF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Its name in the pod.
    pub ifname: IfName,
    /// It is on the pod network: what the pool says of `eth0` applies.
    pub eth0: bool,
    /// Only from this pool; none: any whose policy allows it, in the order of the configuration.
    pub pool: Option<PoolName>,
    /// This VF and no other (`deviceID`).
    pub device: Option<PciAddr>,
    /// What is asked for besides the pool's defaults.
    pub settings: VfSettings,
    /// The runtime's limit on sending (`runtimeConfig.bandwidth`), Mbit/s: it lowers the one of pool and wish.
    pub egress: Option<u32>,
}

impl LendRequest {
    /// The further interfaces of a pod.
    pub fn further(namespace: Option<String>, wishes: &Wishes) -> Self {
        Self { namespace, wants: wishes.interfaces.iter().map(Want::from).collect() }
    }
}

impl Want {
    /// Eth0, whatever it is called, as a VF.
    pub fn eth0(ifname: IfName, wishes: &Wishes) -> Self {
        let settings = VfSettings { queues: wishes.queues, ..VfSettings::default() };
        Self { ifname, eth0: true, pool: wishes.pool.clone(), device: None, settings, egress: None }
    }
}

impl From<&InterfaceWish> for Want {
    fn from(wish: &InterfaceWish) -> Self {
        let InterfaceWish { name, pool, device, settings, addresses: _, routes: _, default_route: _ } = wish;
        Self {
            ifname: name.clone(),
            eth0: false,
            pool: pool.clone(),
            device: *device,
            settings: settings.clone(),
            egress: None,
        }
    }
}

/// What the node knows besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// The NUMA nodes of the pod's CPUs; empty: not known, VFs are taken from all nodes evenly.
    pub numa: BTreeSet<u32>,
    /// The node's bonds ([`crate::nic::Port::controller`] does not tell them from bridges).
    pub bonds: BTreeSet<IfName>,
    /// Which ports the pod network is on.
    pub uplink: OnUplink,
    /// Why no VF can be this pod's eth0, whatever it is on.
    pub no_eth0: Option<String>,
    /// What kubelet has promised the pod of pools that have a resource.
    pub assigned: Assigned,
    /// Queues that eth0 may have where it is no VF.
    pub queues: NodeQueues,
    /// What eth0 may have where nothing is lent to it.
    pub pairs: Pairs,
    /// VFs whose drivers were asked for channels, and refused.
    pub few_channels: FewChannels,
}

/// For how many channels VFs' drivers were asked, and why they do not have them. Who refuses some refuses more.
pub type FewChannels = BTreeMap<PciAddr, (u32, String)>;

/// The VFs that kubelet has assigned to a pod, with the resources that they were requested as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assigned {
    /// These.
    Known(BTreeMap<PciAddr, ResourceName>),
    /// It could not be asked; why.
    Unknown(String),
}

impl Default for Assigned {
    fn default() -> Self {
        Self::Known(BTreeMap::new())
    }
}

/// The ports whose VFs reach the pod network, and so can be eth0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OnUplink {
    /// All.
    #[default]
    All,
    /// These.
    These(BTreeSet<PortKey>),
    /// None, and why.
    None(String),
    /// None now, and why: the uplink is not known while nothing leads to other nodes.
    NoneYet(String),
}

/// A VF that is lent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lent {
    /// The interface's name in the pod.
    pub ifname: IfName,
    /// The VF.
    pub vf: VfRef,
    /// The pool it is from.
    pub pool: PoolName,
    /// What it is to the pod.
    pub mode: VfMode,
    /// The pool's defaults and the pod's wish.
    pub settings: VfSettings,
    /// Its netdev's name on the host now; none: it has none, which vfio mode allows.
    pub netdev: Option<IfName>,
}

/// What a request is judged by.
#[derive(Clone, Copy)]
struct Node<'a> {
    pools: &'a [Pool],
    resolved: &'a Resolved,
    inventory: &'a Inventory,
    taken: &'a Taken,
    hints: &'a Hints,
}

/// Chooses a VF for each interface, in the order of the request, or refuses all with every reason.
///
/// A pool that is named earlier in the configuration is used first; then a VF near to the pod's CPUs; then the NUMA
/// node and the PF with the least part of its VFs lent; then the lowest PCI address. If one interface can only have
/// a VF that another one could do without, the other one moves: a request that can be fulfilled is fulfilled.
pub fn lend(
    request: &LendRequest,
    pools: &[Pool],
    inventory: &Inventory,
    taken: &Taken,
    hints: &Hints,
) -> Result<Vec<Lent>, Refusal> {
    let resolved = resolve(pools, inventory, taken);
    let node = Node { pools, resolved: &resolved, inventory, taken, hints };
    let all: Vec<_> = request
        .wants
        .iter()
        .map(|want| (want, candidates(&node, request.namespace.as_deref(), want)))
        .collect();
    let free: Vec<&[Candidate]> = all.iter().map(|(_, c)| c.free.as_slice()).collect();
    let (chosen, unserved) = matching::assign(&free, &node);
    if unserved.is_empty() {
        return Ok(all
            .iter()
            .zip(chosen)
            .filter_map(|((want, _), candidate)| Some(lent(&node, want, candidate?)))
            .collect());
    }
    // Would it do if all that is lent, being cleaned or without link became free?
    let hoped: Vec<Vec<Candidate>> =
        all.iter().map(|(_, c)| c.free.iter().chain(&c.awaited).cloned().collect()).collect();
    let hoped: Vec<&[Candidate]> = hoped.iter().map(Vec::as_slice).collect();
    let waiting_helps = matching::assign(&hoped, &node).1.is_empty();
    let mut reasons: Vec<Reason> = Vec::new();
    for index in unserved {
        let (want, found) = &all[index];
        reasons.extend(found.reasons.iter().cloned());
        reasons.extend(found.free_elsewhere(&node, want));
    }
    Err(Refusal { reasons, waiting_helps })
}

fn lent(node: &Node<'_>, want: &Want, candidate: &Candidate) -> Lent {
    let pool = &node.pools[candidate.pool];
    Lent {
        ifname: want.ifname.clone(),
        vf: candidate.vf.clone(),
        pool: pool.name.clone(),
        mode: pool.mode,
        settings: candidate.settings.clone(),
        netdev: candidate.netdev.clone(),
    }
}

#[cfg(test)]
mod cases;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod switchdev_tests;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;
