//! Which CPUs work on packets (Documentation/networking/scaling.rst): told, and left alone.

use super::links::{Link, ends};
use super::{Decision, Facts, Scope, Topic};
use crate::offload::CpuSteering;

/// Of the NICs that packets leave by; none if they were not looked at.
pub(super) fn of(facts: &Facts) -> Option<Decision> {
    let below = facts.below();
    let all: Vec<(Link, CpuSteering)> =
        ends(&below).into_iter().filter_map(|nic| Some((nic, nic.device.cpus?))).collect();
    let told = |(nic, cpus): &(Link, CpuSteering)| match all.len() {
        1 => cpus.to_string(),
        _ => format!("{} {cpus}", nic.name),
    };
    let is = all.iter().map(told).collect::<Vec<_>>().join("; ");
    let any = all.iter().any(|(_, cpus)| cpus.xps + cpus.rps > 0);
    let why = if any { "set by the driver, or by somebody; left alone" } else { "left alone" };
    (!all.is_empty()).then(|| Scope::Uplink.decision(Topic::Cpus, is, why))
}
