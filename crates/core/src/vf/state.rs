//! What a VF was before it was lent: what its release puts back and compares with, field by field.

use super::settings::{LinkState, VlanTag};
use crate::ids::{IfName, MacAddr};
use serde::{Deserialize, Serialize};

/// The state of a VF.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VfState {
    /// The driver it was bound to.
    pub driver: Option<String>,
    /// What its PF has set.
    pub pf_side: PfSide,
    /// The only driver that it may be bound to (`driver_override`); none: any that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver_override: Option<String>,
    /// Its netdev; none: it had none.
    pub netdev: Option<NetdevState>,
    /// Its representor; none: its embedded switch is in legacy mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub representor: Option<RepresentorState>,
    /// Its MSI-X vectors, where its PF's driver shares some out among VFs; none: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<u32>,
}

impl VfState {
    /// How many vectors the VF must get for `channels`, which its driver does not have; none: vectors are not what it lacks,
    /// or cannot be had. It needs one for each channel, and one for what is no packet. Drivers have no more channels than
    /// there are CPUs.
    pub fn vectors_for(&self, channels: u32, cpus: u32) -> Option<u32> {
        /// PCI knows no more of one function.
        const MOST: u32 = 2048;
        let wanted = channels.checked_add(1).filter(|wanted| channels <= cpus && *wanted <= MOST)?;
        self.vectors.filter(|now| *now < wanted).map(|_| wanted)
    }
}

/// What a VF's representor was. Whether it was up is the VF's link state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepresentorState {
    /// Name.
    pub name: IfName,
    /// Bytes.
    pub mtu: u32,
    /// The bridge or the like that it was a port of. One that was is left alone, wherever it is later.
    pub controller: Option<IfName>,
}

/// What a PF has set for a VF (`IFLA_VF_INFO`). None: the driver does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PfSide {
    /// None: all zero, no administrative MAC, the driver takes a random one.
    pub mac: Option<MacAddr>,
    /// VLAN.
    pub vlan: Option<VlanTag>,
    /// Trust.
    pub trust: Option<bool>,
    /// Check of source MACs.
    pub spoofchk: Option<bool>,
    /// Link state.
    pub link_state: Option<LinkState>,
    /// Mbit/s.
    pub min_tx_rate: Option<u32>,
    /// Mbit/s.
    pub max_tx_rate: Option<u32>,
}

/// What a VF's netdev was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetdevState {
    /// Name.
    pub name: IfName,
    /// Address.
    pub mac: MacAddr,
    /// Bytes.
    pub mtu: u32,
    /// `ifalias`
    pub alias: Option<String>,
    /// Alternative names, sorted.
    pub altnames: Vec<String>,
    /// Administratively promiscuous.
    pub promisc: bool,
    /// Receives all multicast, administratively.
    pub allmulticast: bool,
    /// Administratively up.
    pub up: bool,
}

/// What of a VF is not as it was: a line for each field, `mtu is 9000, was 1500`. A MAC that was not administrative
/// and is now, the netdev's own, is no difference: some drivers cannot take an administrative one back.
pub fn differences(before: &VfState, now: &VfState) -> Vec<String> {
    let mut all = Differences::default();
    all.field("driver", &before.driver, &now.driver);
    all.field("driver_override", &before.driver_override, &now.driver_override);
    let (was, is) = (&before.pf_side, &now.pf_side);
    let own = before.netdev.as_ref().map(|n| n.mac);
    if was.mac.is_some() || is.mac != own {
        all.field("the PF's mac", &was.mac, &is.mac);
    }
    all.field("vlan", &was.vlan, &is.vlan);
    all.field("trust", &was.trust, &is.trust);
    all.field("spoofchk", &was.spoofchk, &is.spoofchk);
    all.field("link state", &was.link_state, &is.link_state);
    all.field("min_tx_rate", &was.min_tx_rate, &is.min_tx_rate);
    all.field("max_tx_rate", &was.max_tx_rate, &is.max_tx_rate);
    match (&before.netdev, &now.netdev) {
        (Some(was), Some(is)) => {
            all.field("name", &was.name, &is.name);
            all.field("mac", &was.mac, &is.mac);
            all.field("mtu", &was.mtu, &is.mtu);
            all.field("alias", &was.alias, &is.alias);
            all.field("altnames", &was.altnames, &is.altnames);
            all.field("promisc", &was.promisc, &is.promisc);
            all.field("allmulticast", &was.allmulticast, &is.allmulticast);
            all.field("up", &was.up, &is.up);
        }
        (was, is) => {
            let name = |n: &Option<NetdevState>| n.as_ref().map(|n| n.name.clone());
            all.field("netdev", &name(was), &name(is));
        }
    }
    if let (Some(was), Some(is)) = (before.vectors, now.vectors) {
        all.field("number of MSI-X vectors", &was, &is);
    }
    if let Some(was) = &before.representor {
        all.representor(was, now.representor.as_ref());
    }
    all.0
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn representor(&mut self, was: &RepresentorState, is: Option<&RepresentorState>) {
        let Some(is) = is else {
            return self.field("representor", &Some(&was.name), &None);
        };
        self.field("the representor's mtu", &was.mtu, &is.mtu);
        if was.controller.is_none() {
            self.field("the representor's controller", &was.controller, &is.controller);
        }
    }

    /// As JSON has the values: that is how claims show them.
    fn field<T: Serialize + PartialEq>(&mut self, name: &str, was: &T, is: &T) {
        if was != is {
            let text = |value: &T| serde_json::to_string(value).unwrap_or_default();
            self.0.push(format!("{name} is {}, was {}", text(is), text(was)));
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
