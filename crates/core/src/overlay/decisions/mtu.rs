//! How large packets may be.

use super::{Decision, Facts, Scope, Topic};
use crate::overlay::pod_mtu;

pub(super) fn of_pods(facts: &Facts) -> Option<Decision> {
    let Facts { settings, underlay, .. } = facts;
    let mtu = facts.pod_mtu?;
    let carried = pod_mtu(settings, underlay);
    let why = match facts.configured_mtu {
        Some(_) if mtu.get() > carried => {
            format!("bridge.mtu says so; not every path carries it ({carried}), and their routes say so")
        }
        Some(_) => "bridge.mtu says so".into(),
        None if settings.mode.tunnels() => "the tunnel's, the smallest of all paths'".into(),
        None => format!("that of {}: nothing is tunnelled", underlay.name),
    };
    Some(Scope::Pods.decision(Topic::Mtu, mtu.to_string(), why))
}

pub(super) fn of_direct(facts: &Facts) -> Decision {
    let mtu = facts.underlay.mtu;
    Scope::Direct.decision(Topic::Mtu, told_by_routes(facts, mtu), format!("that of {}", facts.underlay.name))
}

pub(super) fn of_vxlan(facts: &Facts) -> Decision {
    let Facts { settings, underlay, .. } = facts;
    let family = underlay.family(settings);
    let why =
        format!("{}'s {} - {} for VXLAN over {family}", underlay.name, underlay.mtu, family.vxlan_overhead());
    Scope::Vxlan.decision(Topic::Mtu, told_by_routes(facts, underlay.tunnel_mtu(settings)), why)
}

/// A path that carries less than pods send says so by its routes.
fn told_by_routes(facts: &Facts, mtu: u32) -> String {
    let is_less = facts.pod_mtu.is_some_and(|pods| mtu < pods.get());
    if is_less { format!("{mtu}, which its routes say") } else { mtu.to_string() }
}
