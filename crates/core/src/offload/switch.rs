//! Embedded switches, as devlink tells of them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A device that devlink knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Switch {
    /// `legacy` or `switchdev`; none: the driver has no such thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// How much of a packet VFs must put into its descriptor: `none`, `link`, `network`, `transport`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline_mode: Option<String>,
    /// Whether the switch makes and ends tunnels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encap: Option<bool>,
    /// How many ports of each flavour it has: `physical`, `pcivf`, `pcisf`, ...
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u32>,
    /// How many rates can be set: those of ports, and those of groups.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rates: BTreeMap<String, u32>,
}
