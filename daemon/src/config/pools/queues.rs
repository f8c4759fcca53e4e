//! Pools of queues: entries of `pools` that have `queues` in place of `selectors`.

use super::{RawPolicy, RawPool, small, values};
use crate::config::yaml::{Checker, Text, one_of};
use offramp_core::IfName;
use offramp_core::ids::PoolName;
use offramp_core::pool::{FlowRules, Numbered, QueueKind, QueuePool};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawQueues {
    kind: Option<Text>,
    nics: Option<Vec<Text>>,
    rules: Option<Text>,
}

/// The most that the kernel gives room for beside a netkit link's own queue.
const MAX_QUEUES: u32 = 255;

/// None if it has no name; then a fault is noted.
pub(super) fn pool(check: &mut Checker, key: &str, raw: &RawPool, queues: &RawQueues) -> Option<QueuePool> {
    let RawPool { name, selectors, mode, device_plugin, bridge, defaults, policy, queues: _ } = raw;
    let of = |name: &str| format!("{key}.{name}");
    let of_vfs = [
        ("selectors", selectors.is_some()),
        ("mode", mode.is_some()),
        ("devicePlugin", device_plugin.is_some()),
        ("bridge", bridge.is_some()),
        ("defaults", defaults.is_some()),
    ];
    for (field, _) in of_vfs.into_iter().filter(|(_, given)| *given) {
        check.fault(&of(field), name.as_ref(), "a pool of queues has none: it is of pools of VFs");
    }
    if name.is_none() {
        check.fault(&of("name"), None, "it is missing");
    }
    let kinds = [("lease", QueueKind::Lease), ("steer", QueueKind::Steer)];
    let kind = check.opt(&of("queues.kind"), queues.kind.as_ref(), one_of(&kinds)).unwrap_or_default();
    let of_rules = [("quarantine", FlowRules::Quarantine), ("ignore", FlowRules::Ignore)];
    let rules = check.opt(&of("queues.rules"), queues.rules.as_ref(), one_of(&of_rules)).unwrap_or_default();
    let nics = nics(check, &of("queues.nics"), queues, name.as_ref());
    let none = RawPolicy::default();
    let policy = policy.as_ref().unwrap_or(&none);
    let (namespaces, max_queues) = policy_of(check, &of("policy"), policy, name.as_ref());
    let name = check.opt(&of("name"), name.as_ref(), str::parse::<PoolName>)?;
    Some(QueuePool { name, kind, nics, namespaces, max_queues, rules })
}

fn nics(check: &mut Checker, key: &str, raw: &RawQueues, pool: Option<&Text>) -> Vec<Numbered<IfName>> {
    let nics: Vec<Numbered<IfName>> = values(check, key, raw.nics.as_ref(), str::parse);
    if raw.nics.as_ref().is_none_or(Vec::is_empty) {
        check.fault(key, pool, "at least one is needed, with its queues, such as ens1f0#4-7");
    }
    if let Some(nic) = nics.iter().find(|nic| nic.numbers.is_none()) {
        let why = format!(
            "{} must be followed by its queues, such as {}#4-7: it needs some itself",
            nic.of, nic.of
        );
        check.fault(key, pool, why);
    }
    nics
}

fn policy_of(
    check: &mut Checker,
    key: &str,
    raw: &RawPolicy,
    pool: Option<&Text>,
) -> (Vec<offramp_core::pool::Glob>, u32) {
    let of = |name: &str| format!("{key}.{name}");
    let RawPolicy { namespaces, max_queues, .. } = raw;
    for field in raw.of_vfs() {
        check.fault(&of(field), pool, "it is of pools of VFs: a pool of queues has namespaces and maxQueues");
    }
    if namespaces.as_ref().is_none_or(Vec::is_empty) {
        check.fault(&of("namespaces"), pool, super::NO_NAMESPACES);
    }
    let namespaces = values(check, &of("namespaces"), namespaces.as_ref(), str::parse);
    let max_queues = check.opt(&of("maxQueues"), max_queues.as_ref(), small(1, MAX_QUEUES)).unwrap_or(1);
    (namespaces, max_queues)
}

/// Pools that name the same queues: who would have them is not said.
pub(super) fn overlaps(check: &mut Checker, pools: &[QueuePool]) {
    let nics = || pools.iter().flat_map(|p| p.nics.iter().map(move |nic| (&p.name, nic)));
    for (at, (pool, nic)) in nics().enumerate() {
        let same = |(_, other): &(_, &Numbered<IfName>)| {
            let both = nic.numbers.as_ref().zip(other.numbers.as_ref());
            both.filter(|_| nic.of == other.of)?.0.common(both?.1)
        };
        if let Some(((other, _), queue)) = nics().take(at).find_map(|entry| Some((entry, same(&entry)?))) {
            let why = format!("queue {queue} of {} is in the pools {other} and {pool}", nic.of);
            check.fault("pools", None, why);
        }
    }
}
