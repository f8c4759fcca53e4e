//! Who computes checksums and cuts large packets up: devices on the way, as far as they can.

use super::links::{Link, Off, ends, names};
use super::{Decision, Facts, Scope, Topic};

const CHECKSUM: &str = "tx-checksum-ip-generic";
const FAMILIES: [&str; 2] = ["tx-checksum-ipv4", "tx-checksum-ipv6"];
const TCP: [&str; 2] = ["tx-tcp-segmentation", "tx-tcp6-segmentation"];
/// Of what is below it. Outer packets have UDP checksums, so that the plain `tx-udp_tnl-segmentation` will not do.
const BELOW: [&str; 1] = ["tx-udp_tnl-csum-segmentation"];

pub(super) fn of_vxlan(facts: &Facts) -> Vec<Decision> {
    let (Some(tunnel), below) = (facts.tunnel(), facts.below()) else { return Vec::new() };
    if below.is_empty() {
        return Vec::new();
    }
    let checksums = facts.off(tunnel, CHECKSUM).or_else(|| unsummed(facts, &below));
    // First: who needs a checksum to cut a packet up says no more than that.
    let cuts = facts
        .off(tunnel, CHECKSUM)
        .or_else(|| any_off(facts, tunnel, &TCP))
        .or_else(|| below.iter().find_map(|link| any_off(facts, *link, &BELOW)));
    vec![
        decision(Scope::Vxlan, Topic::Checksums, &below, checksums),
        decision(Scope::Vxlan, Topic::Segmentation, &below, cuts),
    ]
}

pub(super) fn of_direct(facts: &Facts) -> Vec<Decision> {
    let below = facts.below();
    if below.is_empty() {
        return Vec::new();
    }
    let cuts = below.iter().find_map(|link| any_off(facts, *link, &TCP));
    vec![
        decision(Scope::Direct, Topic::Checksums, &below, unsummed(facts, &below)),
        decision(Scope::Direct, Topic::Segmentation, &below, cuts),
    ]
}

fn any_off(facts: &Facts, link: Link, features: &[&str]) -> Option<Off> {
    features.iter().find_map(|feature| facts.off(link, feature))
}

/// The first that leaves checksums to the CPU. Drivers have one feature for all, or one for each family.
fn unsummed(facts: &Facts, below: &[Link]) -> Option<Off> {
    let off = |link: &Link| {
        let can = |feature: &&str| link.device.features.get(feature).is_some_and(|f| f.on || !f.fixed);
        let features = if FAMILIES.iter().any(can) { &FAMILIES[..] } else { &[CHECKSUM] };
        any_off(facts, *link, features)
    };
    below.iter().find_map(off)
}

fn decision(scope: Scope, topic: Topic, below: &[Link], off: Option<Off>) -> Decision {
    match off {
        Some(Off { at, why, todo }) => {
            scope.decision(topic, format!("by the CPU, before {at}"), why).todo(todo)
        }
        None => {
            let is = format!("left to {}", names(&ends(below)));
            scope.decision(topic, is, "the features for it are on, all the way")
        }
    }
}
