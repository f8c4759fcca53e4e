//! The sections `nics` and `embeddedSwitch`: as written, and as meant.

use super::pools::{driver, values};
use super::yaml::{Checker, Text, boolean, number, one_of};
use offramp_core::IfName;
use offramp_core::nic::Eswitch;
use offramp_core::pool::{NicRule, PortSelector};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawNic {
    pf_names: Option<Vec<Text>>,
    pci_addresses: Option<Vec<Text>>,
    drivers: Option<Vec<Text>>,
    num_vfs: Option<Text>,
    eswitch: Option<Text>,
    manage: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawEmbeddedSwitch {
    sync: Option<Text>,
    sync_bridges: Option<Vec<Text>>,
}

/// How the NICs' embedded switches are kept informed of what is behind bridges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedSwitch {
    /// MACs behind a bridge that has a PF as a port are entered in the PF's filter: without that its VFs cannot reach
    /// them.
    pub sync: bool,
    /// Bridges that are not Offramp's own, for which this is done too.
    pub bridges: Vec<IfName>,
}

pub(super) fn nics(check: &mut Checker, raw: &[RawNic]) -> Vec<NicRule> {
    raw.iter().enumerate().map(|(i, raw)| nic(check, &format!("nics[{i}]"), raw)).collect()
}

fn nic(check: &mut Checker, key: &str, raw: &RawNic) -> NicRule {
    let RawNic { pf_names, pci_addresses, drivers, num_vfs, eswitch, manage } = raw;
    let of = |name: &str| format!("{key}.{name}");
    let at = num_vfs.as_ref().or(eswitch.as_ref());
    if [pf_names, pci_addresses, drivers].iter().all(|l| l.as_ref().is_none_or(Vec::is_empty)) {
        check.fault(key, at, "it names no port: pfNames, pciAddresses or drivers is needed");
    }
    if at.is_none() {
        check.fault(key, manage.as_ref(), "it wants nothing: numVfs or eswitch is needed");
    }
    let modes = [("legacy", Eswitch::Legacy), ("switchdev", Eswitch::Switchdev)];
    NicRule {
        ports: PortSelector {
            pf_names: values(check, &of("pfNames"), pf_names.as_ref(), str::parse),
            pci_addresses: values(check, &of("pciAddresses"), pci_addresses.as_ref(), str::parse),
            drivers: values(check, &of("drivers"), drivers.as_ref(), driver),
        },
        num_vfs: check
            .opt(&of("numVfs"), num_vfs.as_ref(), number(0, u64::from(u16::MAX)))
            .and_then(|n| u16::try_from(n).ok()),
        eswitch: check.opt(&of("eswitch"), eswitch.as_ref(), one_of(&modes)),
        manage: check.opt(&of("manage"), manage.as_ref(), boolean).unwrap_or(false),
    }
}

pub(super) fn embedded_switch(check: &mut Checker, raw: &RawEmbeddedSwitch) -> EmbeddedSwitch {
    let RawEmbeddedSwitch { sync, sync_bridges } = raw;
    let bridges = values(check, "embeddedSwitch.syncBridges", sync_bridges.as_ref(), str::parse);
    let wanted = check.opt("embeddedSwitch.sync", sync.as_ref(), boolean).unwrap_or(true);
    if !wanted && !bridges.is_empty() {
        check.fault("embeddedSwitch.syncBridges", sync.as_ref(), "there are bridges, but sync is false");
    }
    EmbeddedSwitch { sync: wanted, bridges }
}
