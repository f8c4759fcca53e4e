//! A pod that is not on the bridge: without the node's route to it nothing reaches it. The daemon puts it back, so it is away.

use crate::site::Site;
use offramp_tests::until;
use serde_json::json;

pub const ID: &str = "pod-cut-off";

#[test]
fn a_pod_whose_route_is_gone_is_found() {
    let site = Site::new();
    let conf = site.conf(json!({"path": "netkit-l3-required"}));
    let daemon = site.node.daemon(conf.clone());
    site.add(&site.pod);
    site.doctor(|d| d.finds_nothing("a pod without a bridge"));
    daemon.kill();
    for (ip, prefix) in [("10.244.1.2", "10.244.1.2/32"), ("fd00:244:1::2", "fd00:244:1::2/128")] {
        site.node.ip(&format!("route del {prefix}"));
        site.doctor(|d| d.finds(&[ID, "daemon-away"], &[&format!("eth0: no route to {ip}")]));
    }
    let _daemon = site.node.daemon(conf);
    until("the routes to be back", || site.doctor(|d| !d.look().ids().contains(ID)));
    site.doctor(|d| d.finds_nothing("a daemon that is back"));
    site.del(&site.pod);
    site.doctor(|d| d.finds_nothing("a pod that is gone"));
}

/// By its own link, its group or its address: of a pod that is routed these are what rules see.
#[test]
fn foreign_rules_that_drop_a_routed_pods_packets_are_found() {
    let site = Site::new();
    let _daemon = site.node.daemon(site.conf(json!({"path": "netkit-l3-required"})));
    let result = site.node.add(&site.pod, &site.node.conf(json!({}))).ok();
    let host = result["interfaces"][0]["name"].as_str().unwrap();
    let dropped = |rule: &str, evidence: &[&str]| {
        let chain = "type filter hook forward priority 0; policy";
        let file = site.node.dir().join("planted.nft");
        std::fs::write(&file, format!("table inet site {{ chain f {{ {chain} {rule}; }}; }}")).unwrap();
        site.node.run(&format!("nft -f {}", file.display()));
        site.doctor(|d| d.finds(&["pod-traffic-dropped"], evidence));
        site.node.run("nft delete table inet site");
        site.doctor(|d| d.finds_nothing(rule));
    };
    let chain = "chain f of table inet site: a rule in f says drop";
    dropped(&format!("accept; iifname {host} drop"), &[chain, "(10.244.1.2) to the outside"]);
    dropped("accept; oifgroup 214 drop", &[chain, "by up0 to", "iifgroup 214 accept"]);
    dropped("accept; ip6 saddr fd00:244:1::2 drop", &[chain, "(fd00:244:1::2) to other nodes' by"]);
    let for_the_bridge = "drop; iifname offramp0 accept; oifname offramp0 accept";
    dropped(for_the_bridge, &["its policy is drop, and no rule accepts it", "oifgroup 214 accept"]);
}
