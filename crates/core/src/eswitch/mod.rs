//! Keeping a NIC's embedded switch informed: it drops what a VF sends to a MAC that it does not know to be behind the
//! PF, and of a bridge that the PF is a port of it knows nothing by itself.

mod desired;
mod settle;

pub use desired::{Bridge, Learned, Pod, Reason, Uplink, Wanted, desired};
pub use settle::{Change, Filter, Outcome, Settled, settle};

use crate::ids::{IfName, MacAddr};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What the daemon tells whoever attaches pods to a bridge: a file a bridge, there only if a PF with VFs is behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Informed {
    /// The PFs behind the bridge.
    pub ports: Vec<Port>,
}

/// See [`Informed::ports`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The PF's netdev.
    pub name: IfName,
    /// What its filter holds by somebody else's doing, who also takes it out.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub foreign: BTreeSet<MacAddr>,
}

impl Informed {
    /// The PFs that a new pod must be made known to.
    pub fn ports_for(&self, mac: MacAddr) -> Vec<IfName> {
        self.ports.iter().filter(|p| !p.foreign.contains(&mac)).map(|p| p.name.clone()).collect()
    }
}

/// What the daemon has added to one PF's filter, whose entries have no owner. It is written before they are added and
/// after they are removed: what is in the filter and not here is somebody else's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// The addresses.
    pub macs: BTreeSet<MacAddr>,
}

#[cfg(test)]
mod tests;
