//! The devices that packets leave by, one on the other, and why one of them does not do a part.

use super::{Facts, TurnedOff};
use crate::ids::IfName;
use crate::offload::Device;
use std::collections::{BTreeMap, BTreeSet};

/// A device by which packets leave.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// Its name.
    pub name: &'a IfName,
    /// What it can do.
    pub device: &'a Device,
}

/// Why a device does not do a part, and what can be done about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Off {
    /// The device.
    pub(super) at: IfName,
    pub(super) why: String,
    pub(super) todo: Option<String>,
}

impl<'a> Facts<'a> {
    /// The tunnel device; none if it was not looked at yet.
    pub(super) fn tunnel(&self) -> Option<Link<'a>> {
        named(self.devices, &self.settings.device)
    }

    /// The uplink, and what it is on. Empty: it was not looked at yet.
    pub(super) fn below(&self) -> Vec<Link<'a>> {
        below(self.devices, &self.underlay.name)
    }

    /// What a test had turned off of a feature.
    fn cured(&self, device: &IfName, feature: &str) -> Option<&TurnedOff> {
        let is_it = |off: &&TurnedOff| off.device == *device && off.features.iter().any(|f| f == feature);
        self.turned_off.iter().find(is_it)
    }

    /// Why a feature is not at work; none: it is.
    pub(super) fn off(&self, link: Link, feature: &str) -> Option<Off> {
        let name = link.name;
        let state = link.device.features.get(feature);
        if state.is_some_and(|state| state.on) {
            return None;
        }
        let is_off = format!("{feature} of {name} is off");
        let off = |why: &str, todo| Some(Off { at: name.clone(), why: format!("{is_off}: {why}"), todo });
        match (self.cured(name, feature), state) {
            (Some(cure), _) => off(&cure.why, Some("offrampd probe --undo turns it on again".into())),
            (None, None) => off("it has no such feature", None),
            (None, Some(state)) if state.fixed => off("it cannot have it", None),
            (None, Some(state)) if state.wanted => off("it needs another one that is off", None),
            (None, Some(_)) => off("somebody turned it off", Some(format!("ethtool -K {name} {feature} on"))),
        }
    }
}

/// A device, and what it is on (a VLAN is on a bond, which has ports), the uppermost first; as far as they were looked at.
pub fn below<'a>(devices: &'a BTreeMap<IfName, Device>, uplink: &str) -> Vec<Link<'a>> {
    let uplink = uplink.parse().ok();
    let mut chain: Vec<Link> = uplink.and_then(|name| named(devices, &name)).into_iter().collect();
    let mut seen: BTreeSet<&IfName> = chain.iter().map(|link| link.name).collect();
    let mut at = 0;
    while let Some(upper) = chain.get(at) {
        let next = upper.device.on.iter().filter_map(|name| named(devices, name));
        let next: Vec<Link> = next.filter(|link| seen.insert(link.name)).collect();
        chain.extend(next);
        at += 1;
    }
    chain
}

/// A device, if it was looked at.
pub fn named<'a>(devices: &'a BTreeMap<IfName, Device>, name: &IfName) -> Option<Link<'a>> {
    devices.get_key_value(name).map(|(name, device)| Link { name, device })
}

/// The last of them: NICs, where there are any.
pub(super) fn ends<'a>(chain: &[Link<'a>]) -> Vec<Link<'a>> {
    let is_end = |link: &&Link| !chain.iter().any(|other| link.device.on.contains(other.name));
    chain.iter().filter(is_end).copied().collect()
}

/// Their names.
pub(super) fn names(links: &[Link]) -> String {
    links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>().join(", ")
}
