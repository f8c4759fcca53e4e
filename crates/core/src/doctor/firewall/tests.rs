//! For whom it is asked whether rules let pods pass.

use super::*;
use crate::doctor::{Link, Overlay, Records, Vxlan, Wanted, tests::blind};
use crate::overlay::{Actual, Underlay};
use crate::record::State;
use serde_json::{Value, json};

fn link(name: &str, group: u32) -> Link {
    Link { name: name.into(), group, up: true, carrier: true, ..Link::default() }
}

fn pod(is_routed: bool) -> Attached {
    Attached {
        id: "c1@eth0".parse().unwrap(),
        who: "default/web".into(),
        by_daemon: true,
        state: State::Ready,
        age: 1,
        dead: Ok(false),
        host_link: Some("of1".into()),
        is_routed,
        mtu: None,
        ips: vec!["10.244.1.2".parse().unwrap()],
        unrouted: Ok(Vec::new()),
    }
}

/// A node with these pods, of which a routed one's link is in this group.
fn node(records: Vec<Attached>, group: u32, accepted: &[(&str, Value)]) -> Facts {
    let underlay = Underlay { index: 2, name: "up0".into(), mtu: 1500, addresses: Vec::new() };
    let overlay = Overlay {
        underlay: Ok(Some(underlay)),
        tunnels: false,
        device: "vx0".into(),
        vni: 1,
        port: 4789,
        vxlans: Vec::<Vxlan>::new(),
        tables: Actual::default(),
        pod_networks: vec!["10.244.1.0/24".parse().unwrap()],
    };
    let wanted = Wanted { bridge: "offramp0".parse().unwrap(), nics: Vec::new(), pools: Vec::new() };
    let base = json!({"chain": {"family": "inet", "table": "site", "name": "f", "type": "filter",
        "hook": "forward", "prio": 0, "policy": "drop"}});
    let rule = |(key, value): &(&str, Value)| {
        json!({"rule": {"family": "inet", "table": "site", "chain": "f", "expr": [
            {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": value}}, {"accept": null}]}})
    };
    let all: Vec<Value> = [base].into_iter().chain(accepted.iter().map(rule)).collect();
    Facts {
        wanted: Ok(wanted),
        records: Ok(Records { records, unreadable: Vec::new() }),
        links: Ok(vec![link("offramp0", 0), link("up0", 0), link("of1", group)]),
        overlay: Ok(overlay),
        rules: Ok(Rules { nft: json!({"nftables": all}), legacy: Vec::new(), legacy_rules: json!({}) }),
        ..blind()
    }
}

fn found(facts: &Facts) -> Vec<(String, String)> {
    check(facts).into_iter().map(|f| (f.evidence.join("\n"), f.todo)).collect()
}

#[test]
fn pods_are_asked_for_by_the_links_that_they_have() {
    let bridge = [("iifname", json!("offramp0")), ("oifname", json!("offramp0"))];
    let routed = [("iifgroup", json!(214)), ("oifgroup", json!(214))];
    assert_eq!(found(&node(Vec::new(), 214, &bridge)), []);
    assert_eq!(found(&node(vec![pod(false)], 214, &bridge)), []);
    assert_eq!(found(&node(vec![pod(true)], 214, &routed)), []);
    let both = [bridge.as_slice(), &routed].concat();
    assert_eq!(found(&node(vec![pod(true), pod(false)], 214, &both)), []);

    let blamed = |facts: &Facts, who: &str, link: &str| {
        let [(evidence, todo)] = found(facts).try_into().unwrap();
        assert!(
            evidence.ends_with(&format!("from {who} to the outside; answers from the outside to {who}")),
            "{evidence}"
        );
        assert!(todo.contains(link), "{todo}");
        assert!(!todo.contains(if link.ends_with("214 accept") { "offramp0" } else { "214" }), "{todo}");
    };
    let (web, many) = ("default/web (10.244.1.2)", "pods (10.244.1.0/24)");
    blamed(&node(vec![pod(true)], 214, &bridge), web, "insert rule inet site f iifgroup 214 accept");
    blamed(&node(vec![pod(true)], 0, &routed), web, "oifgroup 214 accept");
    blamed(&node(vec![pod(true), pod(false)], 214, &routed), many, "iifname offramp0 accept");
    blamed(&node(Vec::new(), 214, &routed), many, "oifname offramp0 accept");
    // Who is not there any more needs no rule.
    let gone = Attached { dead: Ok(true), ..pod(true) };
    blamed(&node(vec![gone], 214, &routed), many, "iifname offramp0 accept");
}
