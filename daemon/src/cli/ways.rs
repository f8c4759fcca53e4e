//! The ways to the other nodes, as `offrampd status` shows them: who is reached how, what was decided, and why.

use super::status::health;
use super::table::table;
use super::units::join;
use crate::status::{Health, OverlayStatus, PeerPath, PeerStatus};
use ipnetwork::IpNetwork;
use offramp_core::overlay::decisions::Decision;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A line for each peer and way to it.
pub fn peers(o: &OverlayStatus) -> String {
    if o.peers.is_empty() {
        return "No peers.\n".into();
    }
    let rows: Vec<_> = o.peers.iter().flat_map(rows).collect();
    table("", ["PEER", "ENDPOINT", "PODCIDRS", "PATH", "WHY", "STATE"], &rows)
}

fn rows(peer: &PeerStatus) -> Vec<[String; 6]> {
    let name = || peer.name.clone();
    // Subnets that share a way are one line.
    let by: BTreeSet<(PeerPath, IpAddr)> = peer.ways.iter().map(|way| (way.path, way.endpoint)).collect();
    let row = |(path, endpoint)| {
        let ways = || peer.ways.iter().filter(move |way| (way.path, way.endpoint) == (path, endpoint));
        // In their order, each once.
        let mut seen = BTreeSet::new();
        let whys = join(ways().map(|way| &way.why).filter(|why| seen.insert(*why)));
        let pod_cidrs = join(ways().map(|way| way.pod_cidr));
        [name(), endpoint.to_string(), pod_cidrs, word(path).into(), whys, "ok".into()]
    };
    let mut rows: Vec<_> = by.into_iter().map(row).collect();
    if let Health::Failed { .. } = peer.health {
        let is_lost = |pod_cidr: &&IpNetwork| peer.ways.iter().all(|way| way.pod_cidr != **pod_cidr);
        let lost = join(peer.pod_cidrs.iter().filter(is_lost));
        rows.push([name(), String::new(), lost, String::new(), String::new(), health(&peer.health)]);
    }
    rows
}

fn word(path: PeerPath) -> &'static str {
    match path {
        PeerPath::Vxlan => "vxlan",
        PeerPath::Direct => "direct",
    }
}

/// A line for each decision, then what can be done about some of them. Empty before the first look.
pub fn decisions(all: &[Decision]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let row = |d: &Decision| [d.scope.to_string(), d.topic.to_string(), d.is.clone(), d.why.clone()];
    let rows: Vec<_> = all.iter().map(row).collect();
    let todo = |d: &Decision| Some(format!("  {} {}: {}\n", d.scope, d.topic, d.todo.as_ref()?));
    let todo: String = all.iter().filter_map(todo).collect();
    table("", ["PACKETS", "DECISION", "IS", "WHY"], &rows) + &todo
}
