//! Rules of others that pods' packets, and those of the tunnel, have to pass.

mod legacy;
mod ruleset;

pub use legacy::{LegacyTable, legacy_listing};

use super::{Facts, Finding, Kind, Rules, Severity, some};
use crate::net::Family;
use crate::overlay::{Dev, Route};
use ruleset::{Packet, Ruleset, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

const DROPPED: Kind = Kind {
    id: "pod-traffic-dropped",
    severity: Severity::Fault,
    means: "netfilter rules of somebody else drop packets of pods",
    docs: "docs/nftables.md",
};
const UNCLEAR: Kind = Kind {
    id: "pod-traffic-unclear",
    severity: Severity::Hint,
    means: "a chain of somebody else drops what no rule accepts, and its rules for pods say more than is understood here",
    docs: "docs/nftables.md",
};
const TUNNEL: Kind = Kind {
    id: "tunnel-blocked",
    severity: Severity::Fault,
    means: "netfilter rules of somebody else drop the tunnel's packets as they come in",
    docs: "docs/nftables.md",
};
const MIXED: Kind = Kind {
    id: "iptables-mixed",
    severity: Severity::Warning,
    means: "iptables-legacy and iptables-nft are both in use: a packet must pass both, and each shows only its own rules",
    docs: "docs/nftables.md",
};

pub(super) const KINDS: &[Kind] = &[DROPPED, TUNNEL, MIXED, UNCLEAR];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Ok(rules) = &facts.rules else { return Vec::new() };
    // A packet must pass both.
    let both = [Ruleset::read(&rules.nft), Ruleset::read_legacy(&rules.legacy_rules)];
    let mut all = pods(facts, &both);
    all.extend(tunnel(facts, &both));
    all.extend(mixed(rules, &both[0]));
    all
}

/// Packets as pods send and get them, with what each is for.
fn packets(facts: &Facts) -> Vec<(String, Packet<'_>)> {
    let Some(bridge) = facts.bridge().map(|b| b.name.as_str()) else { return Vec::new() };
    let (uplink, tunnel) = (facts.uplink().map(|u| u.name.as_str()), facts.tunnel().map(|t| t.name.as_str()));
    let mut all = Vec::new();
    for pods in facts.pod_networks() {
        let family = Family::of(pods.ip());
        let pod = nth(pods.network(), 10);
        let outside: IpAddr = match family {
            Family::V4 => [192, 0, 2, 254].into(),
            Family::V6 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe].into(),
        };
        let from = |from, to, into, out| Packet { from, to, into, out: Some(out), answer: false, port: None };
        if let Some(uplink) = uplink {
            let out = from(pod, outside, bridge, uplink);
            all.push((format!("from pods ({pods}) to the outside"), out));
            let back = Packet { answer: true, ..from(outside, pod, uplink, bridge) };
            all.push((format!("answers from the outside to pods ({pods})"), back));
        }
        for (way, dev) in [(tunnel, Dev::Tunnel), (uplink, Dev::Uplink)] {
            let leads = |r: &&Route| r.dev == dev && Family::of(r.dst.ip()) == family;
            let remote = facts.ways().and_then(|ways| ways.routes.iter().find(leads));
            let (Some(way), Some(remote)) = (way, remote.map(|r| nth(r.dst.network(), 10))) else { continue };
            all.push((
                format!("from pods ({pods}) to other nodes' by {way}"),
                from(pod, remote, bridge, way),
            ));
            all.push((
                format!("from other nodes' pods by {way} to pods ({pods})"),
                from(remote, pod, way, bridge),
            ));
        }
    }
    all
}

/// The address `n` behind `ip`.
fn nth(ip: IpAddr, n: u128) -> IpAddr {
    crate::net::from_bits(Family::of(ip), crate::net::to_bits(ip).saturating_add(n))
}

/// What a chain says of which packets.
type Judged = BTreeMap<String, Vec<String>>;

fn tell(judged: Judged) -> impl Iterator<Item = String> {
    judged.into_iter().map(|(chain, packets)| format!("{chain}: {}", packets.join("; ")))
}

fn pods(facts: &Facts, rulesets: &[Ruleset<'_>]) -> Vec<Finding> {
    let (mut dropped, mut unclear) = (Judged::new(), Judged::new());
    let mut chains = BTreeSet::new();
    for (what, packet) in packets(facts) {
        let hooks = ["prerouting", "forward", "postrouting"];
        for (chain, verdict) in rulesets.iter().flat_map(|rules| rules.judge(&hooks, &packet)) {
            match verdict {
                Verdict::Accept => {}
                Verdict::Drop(why) => {
                    dropped.entry(format!("{chain}: {why}")).or_default().push(what.clone());
                    chains.insert(chain);
                }
                Verdict::Unclear(why) => {
                    unclear.entry(format!("{chain}: {why}")).or_default().push(what.clone());
                }
            }
        }
    }
    let bridge = facts.bridge().map(|b| b.name.clone()).unwrap_or_default();
    let insert = |chain: &ruleset::ChainName| {
        let ruleset::ChainName { family, table, chain, legacy } = chain;
        if *legacy {
            let program = if family == "ip" { "iptables-legacy" } else { "ip6tables-legacy" };
            let insert = format!("{program} -t {table} -I {chain}");
            return format!("{insert} -i {bridge} -j ACCEPT; {insert} -o {bridge} -j ACCEPT");
        }
        format!(
            "nft insert rule {family} {table} {chain} iifname {bridge} accept; nft insert rule {family} {table} {chain} \
             oifname {bridge} accept"
        )
    };
    let todo = format!(
        "have its owner let pods pass, such as: {}",
        chains.iter().map(insert).collect::<Vec<_>>().join("; ")
    );
    let text = "Netfilter rules of somebody else drop packets of pods.";
    let drops = (!dropped.is_empty()).then(|| DROPPED.found(text, some(tell(dropped)), todo));
    let text = "A chain of somebody else may drop packets of pods: whether a rule lets them pass is not clear from here.";
    let todo = "look at the chain: nft list ruleset; whether packets are lost, traffic between pods tells";
    let doubts = (!unclear.is_empty()).then(|| UNCLEAR.found(text, some(tell(unclear)), todo));
    drops.into_iter().chain(doubts).collect()
}

fn tunnel(facts: &Facts, rulesets: &[Ruleset<'_>]) -> Option<Finding> {
    let (overlay, tunnel, uplink) = (facts.overlay.as_ref().ok()?, facts.tunnel()?, facts.uplink()?);
    let peers = overlay.tables.fdb.iter().filter_map(|entry| entry.endpoint);
    let mut dropped = Vec::new();
    for peer in peers.take(64) {
        let packet = Packet {
            from: peer,
            to: tunnel.local?,
            into: &uplink.name,
            out: None,
            answer: false,
            port: Some(overlay.port),
        };
        for (chain, verdict) in
            rulesets.iter().flat_map(|rules| rules.judge(&["prerouting", "input"], &packet))
        {
            if let Verdict::Drop(why) = verdict {
                dropped.push(format!("UDP port {} from {peer}: {chain}: {why}", overlay.port));
            }
        }
    }
    let todo =
        format!("let UDP port {} in from other nodes, where the node's firewall is configured", overlay.port);
    let text = "The node's own firewall drops what other nodes send by the tunnel.";
    (!dropped.is_empty()).then(|| TUNNEL.found(text, some(dropped), todo))
}

fn mixed(rules: &Rules, ruleset: &Ruleset<'_>) -> Option<Finding> {
    let nft = ruleset.iptables_tables();
    if rules.legacy.is_empty() || nft.is_empty() {
        return None;
    }
    let evidence = [
        format!("iptables-legacy has the tables {}", rules.legacy.join(", ")),
        format!("iptables-nft has {}", nft.join(", ")),
    ];
    let todo = "find who uses which (iptables-legacy-save, iptables-nft-save), have all use one (update-alternatives --config \
                iptables), and restart the node";
    Some(MIXED.found("Two kinds of iptables are in use at the same time.", evidence, todo))
}
