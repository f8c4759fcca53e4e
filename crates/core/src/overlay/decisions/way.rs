//! Which packets take which path.

use super::{Decision, Facts, Scope, Topic};
use crate::net::Family;
use crate::overlay::Mode;
use crate::probe::{Kind, Way};

pub(super) fn of_pods(mode: Mode) -> Decision {
    let (is, why) = match mode {
        Mode::Auto => ("direct, else vxlan", "overlay.mode is auto: a tunnel only where a router is between"),
        Mode::Vxlan => ("vxlan", "overlay.mode is vxlan"),
        Mode::Direct => ("direct", "overlay.mode is direct"),
        Mode::None => ("none", "overlay.mode is none: they are somebody else's affair"),
    };
    Scope::Pods.decision(Topic::Ways, is, why)
}

pub(super) fn of_direct(facts: &Facts) -> Vec<Decision> {
    let uplink = &facts.underlay.name;
    let why = |_| match facts.settings.mode {
        Mode::Direct => "overlay.mode is direct".to_owned(),
        _ => format!("in a subnet of {uplink}: no tunnel is needed"),
    };
    those(facts, Way::Direct, Scope::Direct, why)
}

pub(super) fn of_vxlan(facts: &Facts) -> Vec<Decision> {
    let uplink = &facts.underlay.name;
    let why = |family| match (facts.settings.mode, family) {
        (Mode::Vxlan, _) => "overlay.mode is vxlan".to_owned(),
        // Routes of IPv4 may have a next hop of IPv6, but not the other way round.
        (_, Family::V4) => format!("in no subnet of {uplink}"),
        (_, Family::V6) => format!("in no subnet of {uplink}, or not by IPv6"),
    };
    let those = those(facts, Way::Vxlan, Scope::Vxlan, why);
    if !those.is_empty() {
        return those;
    }
    let why = "no peer needs the tunnel now; it is there for those to come";
    [Topic::Ipv4, Topic::Ipv6].map(|topic| Scope::Vxlan.decision(topic, "no peer", why)).into()
}

/// A line for each family that has peers.
fn those(facts: &Facts, way: Way, scope: Scope, why: impl Fn(Family) -> String) -> Vec<Decision> {
    let one = |family| {
        let count = *facts.peers.get(&Kind { way, family })?;
        let is = if count == 1 { "1 peer".into() } else { format!("{count} peers") };
        let topic = match family {
            Family::V4 => Topic::Ipv4,
            Family::V6 => Topic::Ipv6,
        };
        Some(scope.decision(topic, is, why(family)))
    };
    Family::ALL.into_iter().filter_map(one).collect()
}

/// The tunnel's outer family.
pub(super) fn outer(facts: &Facts) -> Decision {
    let Facts { settings, underlay, .. } = facts;
    let family = underlay.family(settings);
    let uplink = &underlay.name;
    let why = match (settings.family, family) {
        (Some(_), _) => format!("overlay.underlay is {}", family.to_string().to_lowercase()),
        (None, Family::V4) => format!("{uplink} has an IPv4 address, which comes first"),
        (None, Family::V6) => format!("{uplink} has no IPv4 address"),
    };
    let from = underlay.address(family).map(|ip| format!(", from {ip}")).unwrap_or_default();
    Scope::Vxlan.decision(Topic::Outer, format!("{family}{from}"), why)
}
