//! Features (`ethtool -k`, `-K`).

use super::{Ethtool, about, bitset, of};
use crate::generic::attribute;
use crate::message::Message;
use crate::{Error, Result};
use offramp_core::ids::IfName;
use offramp_core::offload::{Feature, Features};
use std::collections::BTreeMap;

const MSG_GET: u8 = 11;
const MSG_SET: u8 = 12;
const A_HW: u16 = 2;
const A_WANTED: u16 = 3;
const A_ACTIVE: u16 = 4;
const A_NOCHANGE: u16 = 5;
/// What `ethtool -K` calls `ntuple`.
const NTUPLE: &str = "rx-ntuple-filter";

/// What became of a change of a feature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switched {
    /// All features that are otherwise now, and how: one may bring others with it. Empty: it was so already.
    pub changed: BTreeMap<String, bool>,
}

impl Ethtool {
    /// All features of a device, by the kernel's names.
    pub fn features(&mut self, device: &IfName) -> Result<Option<Features>> {
        let answer = self.get("features", MSG_GET, device)?;
        Ok(answer.map(|answer| features(&answer)))
    }

    /// Whether its rules that steer flows are turned off, and can be turned on (`ethtool -K DEV ntuple on`).
    pub fn ntuple_is_off(&mut self, device: &IfName) -> Result<bool> {
        let ntuple = self.features(device)?.and_then(|all| all.get(NTUPLE));
        Ok(ntuple.is_some_and(|ntuple| !ntuple.on && !ntuple.fixed))
    }

    /// Why its driver may have refused a rule that steers flows; none: they are not turned off.
    pub fn without_ntuple(&mut self, device: &IfName) -> Option<String> {
        let off = self.ntuple_is_off(device).is_ok_and(|off| off);
        off.then(|| format!("flow rules are turned off: ethtool -K {device} ntuple on"))
    }

    /// Turns a feature on or off. `feature` is a name of [`Ethtool::features`]. If the device does not have it so then,
    /// that is an error, and what it was wished to be before is put back.
    pub fn set_feature(&mut self, device: &IfName, feature: &str, on: bool) -> Result<Switched> {
        let what = format!("turn {feature} of {device} {}", if on { "on" } else { "off" });
        let unfit = |why: &str| Error::Unfit { what: what.clone(), why: why.into() };
        let before = self.features(device)?.and_then(|all| all.get(feature));
        let before = before.ok_or_else(|| unfit("the kernel has no feature of that name"))?;
        match before {
            Feature { on: now, wanted, .. } if now == on && wanted == on => return Ok(Switched::default()),
            Feature { fixed: true, .. } => {
                return Err(unfit("it is fixed: nobody can change it on this device"));
            }
            _ => {}
        }
        let mut set = |on| {
            let message = about(device).nest(A_WANTED, bitset::change(feature, on));
            let message = self.family.message(MSG_SET, message);
            self.family.socket.get_raw(&what, message).map(Some)
        };
        let answer = set(on)?;
        // The bits that are not as they were wished, and those that changed.
        let unmet = bitset::bits(&of(&answer, A_WANTED));
        if unmet.iter().any(|bit| bit.name == feature) {
            set(before.wanted)?;
            return Err(unfit("the device does not take it"));
        }
        let changed = bitset::bits(&of(&answer, A_ACTIVE)).into_iter().map(|bit| (bit.name, bit.on));
        Ok(Switched { changed: changed.collect() })
    }
}

pub(super) fn features(answer: &Message) -> Features {
    let set = |kind| bitset::bits(&attribute(answer, kind).unwrap_or_default());
    let mut features: BTreeMap<String, Feature> = BTreeMap::new();
    // What the driver lets change is told with all the names.
    for bit in set(A_HW) {
        features.entry(bit.name).or_default().fixed = !bit.on;
    }
    for bit in set(A_NOCHANGE).into_iter().filter(|bit| bit.on) {
        features.entry(bit.name).or_default().fixed = true;
    }
    for bit in set(A_WANTED) {
        features.entry(bit.name).or_default().wanted = bit.on;
    }
    for bit in set(A_ACTIVE) {
        features.entry(bit.name).or_default().on = bit.on;
    }
    Features(features)
}
