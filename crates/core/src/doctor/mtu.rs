//! The MTU along the ways of pods' packets: each link must carry what the ones before it let pass.

use super::{Facts, Finding, Kind, Severity, some};
use crate::net::Family;
use crate::overlay::{Dev, Route};

const TUNNEL: Kind = Kind {
    id: "mtu-tunnel",
    severity: Severity::Fault,
    means: "the tunnel takes packets that are too large for the uplink once they are wrapped: large packets are lost",
    docs: "docs/overlay.md",
};
const PATH: Kind = Kind {
    id: "mtu-path",
    severity: Severity::Fault,
    means: "the bridge takes packets that are too large for a way to another node, and no route says so",
    docs: "docs/overlay.md",
};
const PODS: Kind = Kind {
    id: "mtu-pods",
    severity: Severity::Warning,
    means: "pods have a larger MTU than their bridge: large packets to them or from them are lost",
    docs: "docs/overlay.md",
};

pub(super) const KINDS: &[Kind] = &[TUNNEL, PATH, PODS];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    tunnel(facts).into_iter().chain(path(facts)).chain(pods(facts)).collect()
}

fn tunnel(facts: &Facts) -> Option<Finding> {
    let (tunnel, uplink) = (facts.tunnel()?, facts.uplink()?);
    let overhead = Family::of(tunnel.local?).vxlan_overhead();
    let (device, most) = (&tunnel.name, uplink.mtu.saturating_sub(overhead));
    if tunnel.mtu <= most {
        return None;
    }
    let evidence = [
        format!("{device} has MTU {}", tunnel.mtu),
        format!("{} has MTU {}, less {overhead} bytes of outer headers: {most}", uplink.name, uplink.mtu),
    ];
    let text = "The tunnel takes larger packets than the uplink carries.";
    let todo = format!("ip link set {device} mtu {most}; the daemon does so by itself when it runs");
    Some(TUNNEL.found(text, evidence, todo))
}

/// A bridge without ports has the kernel's MTU, and nobody sends by it.
fn path(facts: &Facts) -> Option<Finding> {
    let (bridge, records) = (facts.bridge()?, facts.records.as_ref().ok()?);
    records.records.iter().find(|r| r.host_link.is_some() && r.dead != Ok(true))?;
    let carries = |dev: Dev| match dev {
        Dev::Tunnel => facts.tunnel().map(|t| (&t.name, t.mtu)),
        Dev::Uplink => facts.uplink().map(|u| (&u.name, u.mtu)),
        Dev::Other(_) => None,
    };
    let too_small = |route: &Route| {
        let (name, mtu) = carries(route.dev)?;
        let says = route.mtu.unwrap_or(mtu);
        // Without an MTU of its own, a route has its link's: the node tells senders by ICMP, which is often filtered.
        let lost = bridge.mtu > mtu && route.mtu.is_none_or(|_| says > mtu);
        lost.then(|| format!("{} by {name} with MTU {mtu}, route's MTU {}", route.dst, or_none(route.mtu)))
    };
    let small: Vec<String> = facts.ways()?.routes.iter().filter_map(too_small).collect();
    let mut evidence = vec![format!("{} has MTU {}", bridge.name, bridge.mtu)];
    let is_any = !small.is_empty();
    evidence.extend(some(small));
    let todo =
        "set bridge.mtu: auto in the configuration, or one that all ways carry, and make the pods anew";
    is_any.then(|| {
        PATH.found("Ways to other nodes carry smaller packets than the pods' bridge.", evidence, todo)
    })
}

fn or_none(value: Option<u32>) -> String {
    value.map_or("none".into(), |v| v.to_string())
}

fn pods(facts: &Facts) -> Option<Finding> {
    let (bridge, records) = (facts.bridge()?, facts.records.as_ref().ok()?);
    let larger = records.records.iter().filter_map(|r| {
        let (link, mtu) = (r.host_link.as_deref()?, r.mtu?);
        let on_host = facts.link(link)?.mtu;
        (r.by_daemon && mtu.max(on_host) > bridge.mtu)
            .then(|| format!("{}: MTU {mtu} in the pod, {on_host} at its link {link} on the node", r.who))
    });
    let larger: Vec<String> = larger.collect();
    let is_any = !larger.is_empty();
    let mut evidence = vec![format!("{} has MTU {}", bridge.name, bridge.mtu)];
    evidence.extend(some(larger));
    let todo = "pods keep the MTU that they were made with: make them anew (kubectl rollout restart, or delete them)";
    is_any.then(|| PODS.found("Pods have a larger MTU than the ways behind their bridge.", evidence, todo))
}
