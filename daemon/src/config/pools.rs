//! The section `pools`: as written, and as meant.

mod queues;

use super::yaml::{Checker, Text, boolean, number, one_of};
use offramp_core::ids::{Invalid, Mtu, PoolName, ResourceName, VlanId};
use offramp_core::pool::{Policy, Pool, QueuePool, Selector};
use offramp_core::vf::{LinkState, VfMode, VfSettings, VlanProto, VlanTag};
use serde::Deserialize;
use std::fmt::Display;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawPool {
    name: Option<Text>,
    selectors: Option<Vec<RawSelector>>,
    mode: Option<Text>,
    device_plugin: Option<RawDevicePlugin>,
    bridge: Option<Text>,
    defaults: Option<RawDefaults>,
    policy: Option<RawPolicy>,
    queues: Option<queues::RawQueues>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct RawSelector {
    pf_names: Option<Vec<Text>>,
    root_devices: Option<Vec<Text>>,
    vendors: Option<Vec<Text>>,
    devices: Option<Vec<Text>>,
    drivers: Option<Vec<Text>>,
    pci_addresses: Option<Vec<Text>>,
    numa: Option<Vec<Text>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct RawDevicePlugin {
    resource_name: Option<Text>,
    cdi: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct RawDefaults {
    vlan: Option<Text>,
    qos: Option<Text>,
    proto: Option<Text>,
    trust: Option<Text>,
    spoofchk: Option<Text>,
    link_state: Option<Text>,
    min_tx_rate: Option<Text>,
    max_tx_rate: Option<Text>,
    mtu: Option<Text>,
    allmulticast: Option<Text>,
    queues: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct RawPolicy {
    namespaces: Option<Vec<Text>>,
    eth0: Option<Text>,
    allow_bond: Option<Text>,
    vlans: Option<Vec<Text>>,
    max_qos: Option<Text>,
    vlan_protocols: Option<Vec<Text>>,
    mac: Option<Text>,
    trust: Option<Text>,
    spoofchk_off: Option<Text>,
    link_state: Option<Text>,
    allmulticast: Option<Text>,
    min_tx_rate: Option<Text>,
    max_tx_rate: Option<Text>,
    max_mtu: Option<Text>,
    max_queues: Option<Text>,
}

const PROTOCOLS: [(&str, VlanProto); 2] = [("802.1q", VlanProto::Q), ("802.1ad", VlanProto::Ad)];

const NO_NAMESPACES: &str =
    "it must be said which namespaces may use the pool, such as [team-a, \"team-b-*\"]; [\"*\"]: all";

/// The pools of VFs, and those of queues.
pub(super) fn pools(check: &mut Checker, raw: &[RawPool]) -> (Vec<Pool>, Vec<QueuePool>) {
    let (mut pools, mut of_queues): (Vec<Pool>, Vec<QueuePool>) = (Vec::with_capacity(raw.len()), Vec::new());
    for (i, raw) in raw.iter().enumerate() {
        let key = format!("pools[{i}]");
        let before = (pools.len(), of_queues.len());
        match &raw.queues {
            Some(queues) => of_queues.extend(queues::pool(check, &key, raw, queues)),
            None => pools.extend(pool(check, &key, raw)),
        }
        let earlier =
            || pools[..before.0].iter().map(|p| &p.name).chain(of_queues[..before.1].iter().map(|p| &p.name));
        let new = pools.get(before.0).map(|p| &p.name).or(of_queues.get(before.1).map(|p| &p.name));
        if let Some(name) = new.filter(|name| earlier().any(|n| n == *name)) {
            check.fault(&format!("{key}.name"), raw.name.as_ref(), format!("{name} is there twice"));
        }
        same_resource(check, &key, raw, &pools, before.0);
    }
    queues::overlaps(check, &of_queues);
    (pools, of_queues)
}

/// Two pools that kubelet could not tell apart; `at` is the place of the new one.
fn same_resource(check: &mut Checker, key: &str, raw: &RawPool, pools: &[Pool], at: usize) {
    if let Some(resource) = pools.get(at).and_then(|pool| pool.resource.as_ref())
        && let Some(other) = pools[..at].iter().find(|p| p.resource.as_ref() == Some(resource))
    {
        let at = raw.device_plugin.as_ref().and_then(|d| d.resource_name.as_ref());
        let why = format!("{resource} is that of pool {} too", other.name);
        check.fault(&format!("{key}.devicePlugin.resourceName"), at, why);
    }
}

/// None if it has no name; then a fault is noted.
fn pool(check: &mut Checker, key: &str, raw: &RawPool) -> Option<Pool> {
    let RawPool { name, selectors, mode, device_plugin, bridge, defaults, policy, queues: _ } = raw;
    let of = |name: &str| format!("{key}.{name}");
    if name.is_none() {
        check.fault(&of("name"), None, "it is missing");
    }
    let parsed_name = check.opt(&of("name"), name.as_ref(), str::parse::<PoolName>);
    let list = selectors.as_deref().unwrap_or_default();
    if list.is_empty() {
        let why = "at least one is needed, such as {pfNames: [ens1f0]}";
        check.fault(&of("selectors"), name.as_ref(), why);
    }
    let mut selectors = Vec::with_capacity(list.len());
    for (i, raw) in list.iter().enumerate() {
        let key = of(&format!("selectors[{i}]"));
        if raw.is_empty() {
            check.fault(&key, name.as_ref(), "it has no criterion: it would select every VF");
        }
        selectors.push(selector(check, &key, raw));
    }
    let modes = [("netdev", VfMode::Netdev), ("vfio", VfMode::Vfio)];
    let mode = check.opt(&of("mode"), mode.as_ref(), one_of(&modes)).unwrap_or_default();
    let key = of("devicePlugin");
    let (resource, cdi) = lent_by_kubelet(check, &key, device_plugin.as_ref(), name.as_ref(), mode);
    let none = RawDefaults::default();
    let defaults = self::defaults(check, &of("defaults"), defaults.as_ref().unwrap_or(&none), mode);
    let none = RawPolicy::default();
    let policy = self::policy(check, &of("policy"), policy.as_ref().unwrap_or(&none), name.as_ref(), mode);
    let bridge = check.opt(&of("bridge"), bridge.as_ref(), str::parse);
    Some(Pool { name: parsed_name?, selectors, mode, resource, cdi, defaults, bridge, policy })
}

/// Kubelet's name of the pool, if it is to lend it, and whether it gets names in place of device nodes.
fn lent_by_kubelet(
    check: &mut Checker,
    key: &str,
    raw: Option<&RawDevicePlugin>,
    pool: Option<&Text>,
    mode: VfMode,
) -> (Option<ResourceName>, bool) {
    let Some(RawDevicePlugin { resource_name, cdi }) = raw else { return (None, false) };
    let of = |name: &str| format!("{key}.{name}");
    if resource_name.is_none() {
        let why = "it is missing: what containers request, such as offramp.dev/fast";
        check.fault(&of("resourceName"), pool, why);
    }
    let by_cdi = check.opt(&of("cdi"), cdi.as_ref(), boolean).unwrap_or(false);
    if by_cdi && mode == VfMode::Netdev {
        check.fault(&of("cdi"), cdi.as_ref(), "a VF in mode netdev has no device node that it could name");
    }
    (check.opt(&of("resourceName"), resource_name.as_ref(), str::parse), by_cdi)
}

impl RawPolicy {
    /// The fields that are given and mean something of VFs only.
    fn of_vfs(&self) -> impl Iterator<Item = &'static str> {
        let given = |field: &Option<Text>| field.is_some();
        let all = [
            ("eth0", given(&self.eth0)),
            ("allowBond", given(&self.allow_bond)),
            ("vlans", self.vlans.is_some()),
            ("maxQos", given(&self.max_qos)),
            ("vlanProtocols", self.vlan_protocols.is_some()),
            ("mac", given(&self.mac)),
            ("trust", given(&self.trust)),
            ("spoofchkOff", given(&self.spoofchk_off)),
            ("linkState", given(&self.link_state)),
            ("allmulticast", given(&self.allmulticast)),
            ("minTxRate", given(&self.min_tx_rate)),
            ("maxTxRate", given(&self.max_tx_rate)),
            ("maxMtu", given(&self.max_mtu)),
        ];
        all.into_iter().filter(|(_, given)| *given).map(|(field, _)| field)
    }
}

impl RawSelector {
    fn is_empty(&self) -> bool {
        let Self { pf_names, root_devices, vendors, devices, drivers, pci_addresses, numa } = self;
        [pf_names, root_devices, vendors, devices, drivers, pci_addresses, numa]
            .iter()
            .all(|list| list.as_ref().is_none_or(Vec::is_empty))
    }
}

fn selector(check: &mut Checker, key: &str, raw: &RawSelector) -> Selector {
    let RawSelector { pf_names, root_devices, vendors, devices, drivers, pci_addresses, numa } = raw;
    Selector {
        pf_names: values(check, &format!("{key}.pfNames"), pf_names.as_ref(), str::parse),
        root_devices: values(check, &format!("{key}.rootDevices"), root_devices.as_ref(), str::parse),
        vendors: values(check, &format!("{key}.vendors"), vendors.as_ref(), hex),
        devices: values(check, &format!("{key}.devices"), devices.as_ref(), hex),
        drivers: values(check, &format!("{key}.drivers"), drivers.as_ref(), driver),
        pci_addresses: values(check, &format!("{key}.pciAddresses"), pci_addresses.as_ref(), str::parse),
        numa: values(check, &format!("{key}.numa"), numa.as_ref(), small(0, 1023)),
    }
}

/// The values of a list that may be missing.
pub(super) fn values<T, E: Display>(
    check: &mut Checker,
    key: &str,
    raw: Option<&Vec<Text>>,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    let list = raw.map(Vec::as_slice).unwrap_or_default();
    check.list(key, list, parse).into_iter().map(|(_, value)| value).collect()
}

/// Four digits, as lspci and sysfs have them.
fn hex(text: &str) -> Result<u16, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let fits = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16)
        .ok()
        .filter(|_| fits)
        .ok_or_else(|| format!("{text:?} is not allowed; allowed: four hexadecimal digits, such as \"8086\""))
}

/// A driver's name is one of a directory in sysfs.
pub(super) fn driver(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if fits { Ok(text.to_owned()) } else { Err(format!("{text:?} is not the name of a driver")) }
}

/// A whole number of 32 bits.
fn small(min: u32, max: u32) -> impl Fn(&str) -> Result<u32, String> {
    let parse = number(u64::from(min), u64::from(max));
    move |text| parse(text).map(|n| n as u32)
}

fn switch(text: &str) -> Result<bool, String> {
    one_of(&[("on", true), ("off", false), ("true", true), ("false", false)])(text)
}

fn defaults(check: &mut Checker, key: &str, raw: &RawDefaults, mode: VfMode) -> VfSettings {
    let of = |name: &str| format!("{key}.{name}");
    let RawDefaults {
        vlan,
        qos,
        proto,
        trust,
        spoofchk,
        link_state,
        min_tx_rate,
        max_tx_rate,
        mtu,
        allmulticast,
        queues,
    } = raw;
    let states = [("auto", LinkState::Auto), ("enable", LinkState::Enable), ("disable", LinkState::Disable)];
    if mode == VfMode::Vfio {
        for (name, of_netdev) in [("mtu", mtu), ("allmulticast", allmulticast), ("queues", queues)] {
            if of_netdev.is_some() {
                check.fault(&of(name), of_netdev.as_ref(), "a VF in mode vfio has no netdev");
            }
        }
    }
    let settings = VfSettings {
        // Two VFs with one MAC are none.
        mac: None,
        vlan: vlan_tag(check, key, vlan.as_ref(), qos.as_ref(), proto.as_ref()),
        trust: check.opt(&of("trust"), trust.as_ref(), switch),
        spoofchk: check.opt(&of("spoofchk"), spoofchk.as_ref(), switch),
        link_state: check.opt(&of("linkState"), link_state.as_ref(), one_of(&states)),
        min_tx_rate: check.opt(&of("minTxRate"), min_tx_rate.as_ref(), small(0, u32::MAX)),
        max_tx_rate: check.opt(&of("maxTxRate"), max_tx_rate.as_ref(), small(0, u32::MAX)),
        mtu: check.opt(&of("mtu"), mtu.as_ref(), mtu_value),
        allmulticast: check.opt(&of("allmulticast"), allmulticast.as_ref(), switch),
        queues: check.opt(&of("queues"), queues.as_ref(), small(1, 1024)),
    };
    if let (Some(min), Some(max @ 1..)) = (settings.min_tx_rate, settings.max_tx_rate)
        && min > max
    {
        check.fault(&of("minTxRate"), min_tx_rate.as_ref(), format!("{min} is above maxTxRate, {max}"));
    }
    settings
}

fn mtu_value(text: &str) -> Result<Mtu, String> {
    Mtu::try_from(number(68, 65535)(text)?).map_err(|e: Invalid| e.to_string())
}

fn vlan_tag(
    check: &mut Checker,
    key: &str,
    vlan: Option<&Text>,
    qos: Option<&Text>,
    proto: Option<&Text>,
) -> Option<VlanTag> {
    let of = |name: &str| format!("{key}.{name}");
    let id = check.opt(&of("vlan"), vlan, number(0, 4094));
    let priority = check.opt(&of("qos"), qos, small(0, 7)).and_then(|n| u8::try_from(n).ok()).unwrap_or(0);
    let protocol = check.opt(&of("proto"), proto, one_of(&PROTOCOLS));
    let tagged = id.is_some_and(|id| id > 0);
    for (name, given, text) in [("qos", priority > 0, qos), ("proto", protocol.is_some(), proto)] {
        if given && !tagged {
            check.fault(&of(name), text, "it needs a vlan from 1 to 4094");
        }
    }
    let tag =
        |id| VlanTag { id: VlanId::try_from(id).ok(), qos: priority, proto: protocol.unwrap_or_default() };
    id.map(tag)
}

fn policy(check: &mut Checker, key: &str, raw: &RawPolicy, pool: Option<&Text>, mode: VfMode) -> Policy {
    let of = |name: &str| format!("{key}.{name}");
    let RawPolicy {
        namespaces,
        eth0,
        allow_bond,
        vlans,
        max_qos,
        vlan_protocols,
        mac,
        trust,
        spoofchk_off,
        link_state,
        allmulticast,
        min_tx_rate,
        max_tx_rate,
        max_mtu,
        max_queues,
    } = raw;
    if namespaces.as_ref().is_none_or(Vec::is_empty) {
        check.fault(&of("namespaces"), pool, NO_NAMESPACES);
    }
    let mut allow =
        |name: &str, raw: &Option<Text>| check.opt(&of(name), raw.as_ref(), boolean).unwrap_or(false);
    let policy = Policy {
        eth0: allow("eth0", eth0),
        allow_bond: allow("allowBond", allow_bond),
        mac: allow("mac", mac),
        trust: allow("trust", trust),
        spoofchk_off: allow("spoofchkOff", spoofchk_off),
        link_state: allow("linkState", link_state),
        allmulticast: allow("allmulticast", allmulticast),
        ..Policy::default()
    };
    if policy.eth0 && mode == VfMode::Vfio {
        check.fault(&of("eth0"), eth0.as_ref(), "a VF in mode vfio cannot be eth0");
    }
    let mut most =
        |name: &str, raw: &Option<Text>, max: u32| check.opt(&of(name), raw.as_ref(), small(0, max));
    let policy = Policy {
        max_qos: most("maxQos", max_qos, 7).and_then(|n| u8::try_from(n).ok()).unwrap_or(0),
        min_tx_rate: most("minTxRate", min_tx_rate, u32::MAX).unwrap_or(0),
        max_mtu: most("maxMtu", max_mtu, 65535).unwrap_or(0),
        max_queues: most("maxQueues", max_queues, 1024).unwrap_or(0),
        ..policy
    };
    Policy {
        namespaces: values(check, &of("namespaces"), namespaces.as_ref(), str::parse),
        vlans: values(check, &of("vlans"), vlans.as_ref(), str::parse),
        vlan_protocols: values(check, &of("vlanProtocols"), vlan_protocols.as_ref(), one_of(&PROTOCOLS)),
        max_tx_rate: check.opt(&of("maxTxRate"), max_tx_rate.as_ref(), small(1, u32::MAX)),
        ..policy
    }
}

#[cfg(test)]
#[path = "pools_tests.rs"]
mod tests;
