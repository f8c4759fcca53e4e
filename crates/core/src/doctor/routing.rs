//! Whether the kernel lets pods' packets pass: forwarding, and the check of where they come from.

use super::{Attached, Facts, Finding, Kind, Return, Severity, some};
use crate::net::Family;
use std::net::IpAddr;

const FORWARDING: Kind = Kind {
    id: "forwarding-off",
    severity: Severity::Fault,
    means: "the kernel does not forward packets: pods reach nothing beyond their node",
    docs: "docs/operations.md",
};
const RP_FILTER: Kind = Kind {
    id: "rp-filter-drops",
    severity: Severity::Fault,
    means: "packets come in at a link by which answers do not leave, and strict rp_filter drops them there",
    docs: "docs/operations.md",
};
const CUT_OFF: Kind = Kind {
    id: "pod-cut-off",
    severity: Severity::Fault,
    means: "the node lacks its route to a pod that is not on its bridge: nothing reaches it, and nothing that it sends passes",
    docs: "docs/operations.md",
};

pub(super) const KINDS: &[Kind] = &[FORWARDING, RP_FILTER, CUT_OFF];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    forwarding(facts).into_iter().chain(rp_filter(facts)).chain(cut_off(facts)).collect()
}

fn cut_off(facts: &Facts) -> Option<Finding> {
    let records = &facts.records.as_ref().ok()?.records;
    let lives = records.iter().filter(|r| r.lives());
    let lost = lives.filter_map(|r| Some((r, r.unrouted.as_ref().ok()?)));
    let tell = |(r, ips): (&Attached, &Vec<IpAddr>)| {
        let who = r.who.clone();
        ips.iter().map(move |ip| format!("{who}: no route to {ip}")).collect::<Vec<_>>()
    };
    let evidence = some(lost.flat_map(tell));
    let todo = "the daemon puts them back at its next look; if it does not, its log says why; and look who removes them: ip \
                monitor route";
    (!evidence.is_empty()).then(|| CUT_OFF.found("The node lacks routes to pods.", evidence, todo))
}

fn forwarding(facts: &Facts) -> Option<Finding> {
    let links = [
        facts.bridge().map(|b| b.name.as_str()),
        facts.uplink().map(|u| u.name.as_str()),
        facts.tunnel().map(|t| t.name.as_str()),
    ];
    let mut keys = Vec::new();
    if facts.has_family(Family::V4) {
        keys.push("ipv4/ip_forward".to_owned());
        // "all" is what was last set for all; each link has its own (Documentation/networking/ip-sysctl.rst).
        keys.extend(links.into_iter().flatten().map(|link| format!("ipv4/conf/{link}/forwarding")));
    }
    if facts.has_family(Family::V6) {
        keys.push("ipv6/conf/all/forwarding".to_owned());
    }
    keys.retain(|key| facts.sysctl(key) == Some("0"));
    let todo: Vec<String> = keys.iter().map(|key| format!("sysctl -w {}=1", dotted(key))).collect();
    let evidence: Vec<String> = keys.iter().map(|key| format!("{} = 0", dotted(key))).collect();
    let todo =
        format!("{}; and look who sets it: grep -r forward /etc/sysctl.d /etc/sysctl.conf", todo.join("; "));
    (!evidence.is_empty())
        .then(|| FORWARDING.found("The node does not forward packets of pods.", evidence, todo))
}

fn dotted(key: &str) -> String {
    format!("net.{}", key.replace('/', "."))
}

/// IPv6 has no such check.
fn rp_filter(facts: &Facts) -> Option<Finding> {
    let value = |link: &str| facts.sysctl(&format!("ipv4/conf/{link}/rp_filter"))?.parse::<u8>().ok();
    // The larger of the two counts: 1 is strict, 2 loose (Documentation/networking/ip-sysctl.rst).
    let strict = |link: &str| value("all").unwrap_or(0).max(value(link).unwrap_or(0)) == 1;
    let dropped = |r: &&Return| {
        r.from.is_ipv4() && r.leaves.as_deref() != Some(r.comes_in.as_str()) && strict(&r.comes_in)
    };
    let returns: Vec<&Return> = facts.returns.as_ref().ok()?.looked_up.iter().filter(dropped).collect();
    let tell = |r: &&Return| {
        let leaves = r
            .leaves
            .as_ref()
            .map_or("there is no route back".into(), |l| format!("the route back is by {l}"));
        format!("{} ({}) comes in at {}, where rp_filter is strict, and {leaves}", r.from, r.who, r.comes_in)
    };
    let evidence = some(returns.iter().map(tell));
    let mut links: Vec<&str> = returns.iter().map(|r| r.comes_in.as_str()).collect();
    links.sort_unstable();
    links.dedup();
    let loose: Vec<String> =
        links.iter().map(|link| format!("sysctl -w net.ipv4.conf.{link}.rp_filter=2")).collect();
    let text = "The kernel drops packets for the way they came.";
    let todo = format!("put the route right, or let the check be loose: {}", loose.join("; "));
    (!evidence.is_empty()).then(|| RP_FILTER.found(text, evidence, todo))
}
