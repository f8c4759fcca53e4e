//! Rules of others that pods' packets, and those of the tunnel, have to pass.

mod legacy;
mod ruleset;

pub use legacy::{LegacyTable, legacy_listing};

use super::{Attached, Facts, Finding, Kind, Rules, Severity, some};
use crate::net::Family;
use crate::overlay::{Dev, Route};
use crate::pair::ROUTED_GROUP;
use ipnetwork::IpNetwork;
use ruleset::{ChainName, Packet, Port, Ruleset, Verdict};
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

/// A pod, or any of many, as rules may know it.
struct Pod<'a> {
    /// Whom the user knows it by.
    who: String,
    ip: IpAddr,
    /// By which its packets come and go.
    link: Port<'a>,
    /// That link is its own: it is no port of a bridge.
    is_routed: bool,
}

/// Of those on the bridge one stands for a network's. Of those that are routed to each has another link; where they are all,
/// nobody need let the bridge pass.
fn senders(facts: &Facts) -> Vec<Pod<'_>> {
    /// As many as a node may have.
    const TRIED: usize = 256;
    let records = facts.records.as_ref().map(|all| all.records.as_slice()).unwrap_or_default();
    let pods = || records.iter().filter(|r| r.by_daemon && r.lives());
    let routed = pods().filter(|r| r.is_routed);
    let mut all: Vec<Pod<'_>> = routed.take(TRIED).flat_map(|r| routed_pod(facts, r)).collect();
    if all.is_empty() || pods().any(|r| !r.is_routed) {
        all.extend(bridge_pods(facts));
    }
    all
}

fn routed_pod<'a>(facts: &'a Facts, attached: &'a Attached) -> impl Iterator<Item = Pod<'a>> {
    let link = attached.host_link.as_deref().and_then(|name| port(facts, name));
    let pod = |(ip, link): (&IpAddr, _)| Pod {
        who: format!("{} ({ip})", attached.who),
        ip: *ip,
        link,
        is_routed: true,
    };
    attached.ips.iter().zip(link.into_iter().cycle()).map(pod)
}

fn bridge_pods(facts: &Facts) -> impl Iterator<Item = Pod<'_>> {
    let link = facts.bridge().and_then(|bridge| port(facts, &bridge.name));
    let pod = |(net, link): (IpNetwork, _)| Pod {
        who: format!("pods ({net})"),
        ip: nth(net.network(), 10),
        link,
        is_routed: false,
    };
    facts.pod_networks().into_iter().zip(link.into_iter().cycle()).map(pod)
}

fn port<'a>(facts: &'a Facts, name: &str) -> Option<Port<'a>> {
    facts.link(name).map(|link| Port { name: &link.name, group: link.group })
}

/// Packets as a pod sends and gets them, with what each is for.
fn packets<'a>(facts: &'a Facts, pod: &Pod<'a>) -> Vec<(String, Packet<'a>)> {
    let uplink = facts.uplink().and_then(|u| port(facts, &u.name));
    let tunnel = facts.tunnel().and_then(|t| port(facts, &t.name));
    let (family, who) = (Family::of(pod.ip), &pod.who);
    let outside: IpAddr = match family {
        Family::V4 => [192, 0, 2, 254].into(),
        Family::V6 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe].into(),
    };
    let send =
        |to, out| Packet { from: pod.ip, to, into: pod.link, out: Some(out), answer: false, port: None };
    let get = |from, into| Packet { from, to: pod.ip, into, out: Some(pod.link), answer: false, port: None };
    let mut all = Vec::new();
    if let Some(uplink) = uplink {
        all.push((format!("from {who} to the outside"), send(outside, uplink)));
        let back = Packet { answer: true, ..get(outside, uplink) };
        all.push((format!("answers from the outside to {who}"), back));
    }
    for (way, dev) in [(tunnel, Dev::Tunnel), (uplink, Dev::Uplink)] {
        let leads = |r: &&Route| r.dev == dev && Family::of(r.dst.ip()) == family;
        let remote = facts.ways().and_then(|ways| ways.routes.iter().find(leads));
        let (Some(way), Some(remote)) = (way, remote.map(|r| nth(r.dst.network(), 10))) else { continue };
        all.push((format!("from {who} to other nodes' by {}", way.name), send(remote, way)));
        all.push((format!("from other nodes' pods by {} to {who}", way.name), get(remote, way)));
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
    judged.into_iter().map(|(chain, packets)| format!("{chain}: {}", some(packets).join("; ")))
}

fn pods(facts: &Facts, rulesets: &[Ruleset<'_>]) -> Vec<Finding> {
    let (mut dropped, mut unclear) = (Judged::new(), Judged::new());
    let mut chains = BTreeSet::new();
    let hooks = ["prerouting", "forward", "postrouting"];
    for pod in senders(facts) {
        for (what, packet) in packets(facts, &pod) {
            for (chain, verdict) in rulesets.iter().flat_map(|rules| rules.judge(&hooks, &packet)) {
                match verdict {
                    Verdict::Accept => {}
                    Verdict::Drop(why) => {
                        dropped.entry(format!("{chain}: {why}")).or_default().push(what.clone());
                        chains.insert((chain, pod.is_routed));
                    }
                    Verdict::Unclear(why) => {
                        unclear.entry(format!("{chain}: {why}")).or_default().push(what.clone());
                    }
                }
            }
        }
    }
    let bridge = facts.bridge().map(|b| b.name.as_str()).unwrap_or_default();
    let insert = |(chain, is_routed): &(ChainName, bool)| {
        let_pass(chain, if *is_routed { None } else { Some(bridge) })
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

/// What lets pods on this bridge pass, or those that are routed to.
fn let_pass(chain: &ChainName, bridge: Option<&str>) -> String {
    let ChainName { family, table, chain, legacy } = chain;
    if *legacy {
        let program = if family == "ip" { "iptables-legacy" } else { "ip6tables-legacy" };
        let (insert, link) = (format!("{program} -t {table} -I {chain}"), bridge.unwrap_or("of+"));
        return format!("{insert} -i {link} -j ACCEPT; {insert} -o {link} -j ACCEPT");
    }
    let insert = format!("nft insert rule {family} {table} {chain}");
    match bridge {
        Some(bridge) => format!("{insert} iifname {bridge} accept; {insert} oifname {bridge} accept"),
        None => format!("{insert} iifgroup {ROUTED_GROUP} accept; {insert} oifgroup {ROUTED_GROUP} accept"),
    }
}

fn tunnel(facts: &Facts, rulesets: &[Ruleset<'_>]) -> Option<Finding> {
    let (overlay, tunnel, uplink) = (facts.overlay.as_ref().ok()?, facts.tunnel()?, facts.uplink()?);
    let peers = overlay.tables.fdb.iter().filter_map(|entry| entry.endpoint);
    let uplink = port(facts, &uplink.name)?;
    let mut dropped = Vec::new();
    for peer in peers.take(64) {
        let packet = Packet {
            from: peer,
            to: tunnel.local?,
            into: uplink,
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

#[cfg(test)]
mod tests;
