//! The ways to other nodes: tables that fit together, peers, and who else makes tunnels.

use super::{Facts, Finding, Kind, Overlay, Severity, Vxlan, some};
use crate::overlay::{Actual, Dev, Route};

const PEER: Kind = Kind {
    id: "peer-unreachable",
    severity: Severity::Fault,
    means: "a node is known, and there is no way to its pods",
    docs: "docs/overlay.md",
};
const DEVICE: Kind = Kind {
    id: "tunnel-down",
    severity: Severity::Fault,
    means: "the tunnel device is not there or is down, and pods of other nodes are to be reached by it",
    docs: "docs/overlay.md",
};
const FDB: Kind = Kind {
    id: "overlay-fdb-missing",
    severity: Severity::Fault,
    means: "a route leads into the tunnel, and the tunnel does not know where to: the peer's pods cannot be reached",
    docs: "docs/overlay.md",
};
const CONFLICT: Kind = Kind {
    id: "vxlan-conflict",
    severity: Severity::Fault,
    means: "another VXLAN device has the overlay's VNI and UDP port, or takes all VNIs of that port",
    docs: "docs/overlay.md",
};

pub(super) const KINDS: &[Kind] = &[PEER, DEVICE, FDB, CONFLICT];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut all: Vec<Finding> = peers(facts).into_iter().collect();
    if let Ok(overlay) = &facts.overlay {
        all.extend(device(facts, overlay).into_iter().chain(forwarding(overlay)).chain(conflict(overlay)));
    }
    all
}

fn peers(facts: &Facts) -> Option<Finding> {
    let lost = &facts.told()?.lost_peers;
    let todo = "offrampd status shows each peer with its path; the text says what it lacks";
    (!lost.is_empty())
        .then(|| PEER.found("Pods of some nodes cannot be reached.", some(lost.iter().cloned()), todo))
}

/// While the daemon lives it is made anew, unless something is in the way.
fn device(facts: &Facts, overlay: &Overlay) -> Option<Finding> {
    let name = &overlay.device;
    let state = match facts.tunnel() {
        Some(tunnel) if tunnel.up => return None,
        Some(_) => "down",
        None => "not there",
    };
    let text = format!("The tunnel device {name} is {state}.");
    let evidence = [format!("{name} (VNI {}, UDP port {}) is {state}", overlay.vni, overlay.port)];
    let todo = "the daemon makes it by itself; if it does not, offrampd status says what is in the way";
    overlay.tunnels.then(|| DEVICE.found(text, evidence, todo))
}

fn forwarding(overlay: &Overlay) -> Option<Finding> {
    let tunnelled = overlay.tables.routes.iter().filter(|r| r.dev == Dev::Tunnel);
    let broken: Vec<String> = tunnelled.filter_map(|route| why_broken(&overlay.tables, route)).collect();
    let text = "Routes lead into the tunnel to where it knows no way.";
    let todo = "the daemon mends it within a second; if it does not, somebody takes it away again: bridge monitor fdb";
    (!broken.is_empty()).then(|| FDB.found(text, some(broken), todo))
}

fn why_broken(tables: &Actual, route: &Route) -> Option<String> {
    let (dst, hop) = (route.dst, route.next_hop?);
    let Some(mac) = tables.neighbours.iter().find(|(ip, _)| *ip == hop).and_then(|(_, mac)| *mac) else {
        return Some(format!("{dst} via {hop}: there is no neighbour {hop}"));
    };
    let leads = |entry: &&crate::overlay::Fdb| entry.mac == mac.octets() && entry.endpoint.is_some();
    match tables.fdb.iter().find(leads) {
        Some(_) => None,
        None => Some(format!("{dst} via {hop} ({mac}): no forwarding entry says which node has {mac}")),
    }
}

fn conflict(overlay: &Overlay) -> Option<Finding> {
    let clashes = |v: &&Vxlan| {
        v.name != overlay.device && v.port == Some(overlay.port) && (v.external || v.vni == Some(overlay.vni))
    };
    let tell = |v: &Vxlan| match v.external {
        true => format!("{} takes all VNIs of UDP port {} (external)", v.name, overlay.port),
        false => format!("{} has VNI {} and UDP port {}", v.name, overlay.vni, overlay.port),
    };
    let others: Vec<String> = overlay.vxlans.iter().filter(clashes).map(tell).collect();
    let (device, names) = (&overlay.device, overlay.vxlans.iter().filter(clashes).map(|v| v.name.as_str()));
    let todo = format!(
        "remove what another plugin left (ip link del {}), or choose another overlay.vni or overlay.port, the same on all \
         nodes",
        names.collect::<Vec<_>>().join("; ip link del ")
    );
    let text = format!("Another VXLAN device has what {device} needs: the kernel makes only one of them.");
    (!others.is_empty()).then(|| CONFLICT.found(text, some(others), todo))
}
