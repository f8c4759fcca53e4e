//! The links that all pods' traffic passes: the uplink and the bridge.

use super::{Facts, Finding, Kind, Severity};
use crate::net::network_of;
use ipnetwork::IpNetwork;

const UPLINK_MISSING: Kind = Kind {
    id: "uplink-missing",
    severity: Severity::Fault,
    means: "the link to the other nodes is not found: their pods cannot be reached",
    docs: "docs/overlay.md",
};
const UPLINK_DOWN: Kind = Kind {
    id: "uplink-down",
    severity: Severity::Fault,
    means: "the link to the other nodes is down or has no carrier",
    docs: "docs/overlay.md",
};
const BRIDGE: Kind = Kind {
    id: "bridge-broken",
    severity: Severity::Fault,
    means: "the pods' bridge is not there, is down, or lacks a gateway's address",
    docs: "docs/architecture.md",
};

pub(super) const KINDS: &[Kind] = &[UPLINK_MISSING, UPLINK_DOWN, BRIDGE];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    uplink(facts).into_iter().chain(bridge(facts)).collect()
}

fn uplink(facts: &Facts) -> Option<Finding> {
    let underlay = match &facts.overlay.as_ref().ok()?.underlay {
        Ok(underlay) => underlay.as_ref()?,
        Err(why) => {
            let todo = "name it in the configuration (node.uplink), or give the node a default route";
            return Some(UPLINK_MISSING.found("The uplink is not found.", [why.clone()], todo));
        }
    };
    let link = facts.link(&underlay.name).filter(|link| !(link.up && link.carrier))?;
    let (name, state) = (&link.name, if link.up { "up, without carrier" } else { "down" });
    let todo = match link.up {
        true => format!("look at its cable and at the other end: ethtool {name}"),
        false => format!("ip link set {name} up"),
    };
    let text = format!("The uplink {name} carries nothing: no other node can be reached.");
    Some(UPLINK_DOWN.found(text, [format!("{name} is {state}")], todo))
}

fn bridge(facts: &Facts) -> Option<Finding> {
    let (wanted, _links) = (facts.wanted.as_ref().ok()?, facts.links.as_ref().ok()?);
    let name = &wanted.bridge;
    let evidence = match facts.link(name.as_str()) {
        None => vec![format!("there is no link {name}")],
        Some(link) if link.kind.as_deref() != Some("bridge") => {
            vec![format!("{name} is no bridge, but {}", link.kind.as_deref().unwrap_or("a physical link"))]
        }
        Some(link) if !link.up => vec![format!("{name} is down")],
        Some(link) => {
            let has = |net: &IpNetwork| link.addresses.iter().any(|a| network_of(*a) == *net);
            let lacks = facts.pod_networks().into_iter().filter(|net| !has(net));
            lacks.map(|net| format!("{name} has no address in {net}: pods there have no gateway")).collect()
        }
    };
    let todo = "the daemon puts it right by itself, within a second; if it does not, offrampd status and its log say why";
    (!evidence.is_empty()).then(|| BRIDGE.found("The pods' bridge is not as it should be.", evidence, todo))
}
