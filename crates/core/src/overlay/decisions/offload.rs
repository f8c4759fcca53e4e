//! Who computes checksums and cuts large packets up: devices on the way, as far as they can.

use super::links::{Link, Off, ends, names};
use super::{Decision, Facts, Scope, Topic};

const CHECKSUM: &str = "tx-checksum-ip-generic";
const FAMILIES: [&str; 2] = ["tx-checksum-ipv4", "tx-checksum-ipv6"];
/// TCP's features need the first: named first, it is told as the cause.
const TCP: [&str; 3] = ["tx-scatter-gather", "tx-tcp-segmentation", "tx-tcp6-segmentation"];
/// Outer packets have UDP checksums, so that the plain `tx-udp_tnl-segmentation` will not do to cut them up.
const CUTS_TUNNELS: &str = "tx-udp_tnl-csum-segmentation";
/// By which a NIC shows that it knows tunnels.
const TUNNELS: [&str; 2] = ["tx-udp_tnl-segmentation", CUTS_TUNNELS];

pub(super) fn of_vxlan(facts: &Facts) -> Vec<Decision> {
    let (Some(tunnel), below) = (facts.tunnel(), facts.below()) else { return Vec::new() };
    if below.is_empty() {
        return Vec::new();
    }
    let checksums =
        facts.off(tunnel, CHECKSUM).or_else(|| unsummed(facts, &below)).or_else(|| unsummed_inside(&below));
    // A device gets a packet whole if it can do all that the packet's type names, TCP's part and the tunnel's
    // (net_gso_ok, include/linux/netdevice.h).
    let uncut = |link: &Link| any_off(facts, *link, &TCP).or_else(|| any_off(facts, *link, &[CUTS_TUNNELS]));
    // First: who needs a checksum to cut a packet up says no more than that.
    let cuts = facts
        .off(tunnel, CHECKSUM)
        .or_else(|| any_off(facts, tunnel, &TCP))
        .or_else(|| below.iter().find_map(uncut));
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
        let generic = facts.off(*link, CHECKSUM)?;
        if FAMILIES.iter().any(|feature| can(*link, feature)) {
            any_off(facts, *link, &FAMILIES)
        } else {
            Some(generic)
        }
    };
    below.iter().find_map(off)
}

/// The first NIC that leaves those inside of tunnels to the CPU. What a device does there (`hw_enc_features`, which
/// netif_skb_features in net/core/dev.c goes by) the kernel tells nobody; drivers that have any of it have these features too.
fn unsummed_inside(below: &[Link]) -> Option<Off> {
    let nics = ends(below);
    let nic = nics.iter().find(|nic| !TUNNELS.iter().any(|feature| can(**nic, feature)))?;
    let why = format!("{} has no tx-udp_tnl-*segmentation, so that it seems to know no tunnels", nic.name);
    Some(Off { at: nic.name.clone(), why, todo: None })
}

/// It is on, or could be.
fn can(link: Link, feature: &str) -> bool {
    link.device.features.get(feature).is_some_and(|f| f.on || !f.fixed)
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
