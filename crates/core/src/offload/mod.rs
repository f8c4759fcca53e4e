//! What netdevs, embedded switches and the kernel can take off the CPU: the model. `offramp-kernel` fills it. What a
//! kernel or a driver does not tell is absent; nothing here is guessed.

mod device;
mod feature;
mod flows;
mod kernel;
mod summary;
mod switch;

pub use device::{
    Channels, CpuSteering, Device, Ntuple, Queues, Ring, Rings, Rss, Sizes, TunnelPort, TunnelTable, Xdp,
};
pub use feature::{Feature, Features, Group};
pub use flows::{FlowRule, FlowTo, Flows};
pub use kernel::{Abilities, Ability, Answer};
pub use summary::{Offload, Summary};
pub use switch::Switch;

use crate::ids::IfName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All of a node. Pods' netdevs are not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Offloads {
    /// The kernel's, whatever the NICs are.
    pub kernel: Abilities,
    /// NICs' ports, what is on them, and the overlay's device.
    pub devices: BTreeMap<IfName, Device>,
    /// Devices that devlink knows, by `BUS/DEVICE`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub switches: BTreeMap<String, Switch>,
}
