//! What was decided about the ways to other nodes is told with its reason, as it is now, and what is amiss with what to do.

use crate::nodes::Nodes;
use offramp_tests::{Daemon, Lab, binary, until};
use serde_json::{Value, json};

/// `IS (WHY)` of a decision; empty: there is none.
pub fn decided(status: &Value, scope: &str, topic: &str) -> String {
    let all = status["overlay"]["decisions"].as_array().unwrap();
    let found = all.iter().find(|d| d["scope"] == scope && d["topic"] == topic);
    let text = |d: &Value| format!("{} ({})", d["is"].as_str().unwrap(), d["why"].as_str().unwrap());
    found.map(text).unwrap_or_default()
}

fn todo(daemon: &Daemon<'_>, topic: &str) -> Option<String> {
    let status = daemon.ask("status");
    let found = status["overlay"]["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["topic"] == topic && d["scope"] == "vxlan");
    found.and_then(|d| Some(d["todo"].as_str()?.to_owned()))
}

#[test]
fn every_decision_is_told_with_its_reason() {
    let lab = Lab::new();
    let nodes = Nodes::new(&lab);
    nodes.bridge();
    let node = &nodes.all[0];
    let peer = |name: &str, endpoints: Value, net: u8| {
        let pods = [format!("10.244.{net}.0/24"), format!("fd00:244:{net}::/64")];
        json!({"name": name, "endpoints": endpoints, "podCIDRs": pods})
    };
    let peers = node.dir().join("three.yaml");
    let all = [
        peer("near", json!(["10.99.0.2", "fd99::2"]), 2),
        peer("half", json!(["10.99.0.3"]), 3),
        peer("far", json!(["198.51.100.4"]), 4),
    ];
    std::fs::write(&peers, json!(all).to_string()).unwrap();
    let conf =
        json!({"overlay": {"mode": "auto"}, "cluster": {"peersFile": peers}, "offloads": {"probe": false}});
    let daemon = nodes.daemon(1, conf);
    let of = |scope: &str, topic: &str| decided(&daemon.ask("status"), scope, topic);

    until("all is known", || of("vxlan", "checksums").starts_with("left to eth0 "));
    let ways = |name: &str| {
        let status = daemon.ask("status");
        let peer = status["overlay"]["peers"].as_array().unwrap().iter().find(|p| p["name"] == name).cloned();
        let way = |w: &Value| format!("{} {}", w["path"].as_str().unwrap(), w["why"].as_str().unwrap());
        peer.unwrap()["ways"].as_array().unwrap().iter().map(way).collect::<Vec<_>>()
    };
    assert_eq!(ways("near"), ["direct in a subnet of eth0"; 2]);
    assert_eq!(ways("half"), ["direct in a subnet of eth0", "vxlan in a subnet of eth0, but not by IPv6"]);
    assert_eq!(ways("far"), ["vxlan in no subnet of eth0"; 2]);
    assert!(of("direct", "ipv4").starts_with("2 peers (") && of("direct", "ipv6").starts_with("1 peer ("));
    assert!(of("vxlan", "ipv4").starts_with("1 peer (") && of("vxlan", "ipv6").starts_with("2 peers ("));
    assert_eq!(of("vxlan", "mtu"), "1450 (eth0's 1500 - 50 for VXLAN over IPv4)");
    assert_eq!(of("direct", "mtu"), "1500 (that of eth0)");
    assert!(of("vxlan", "port").starts_with("4789 (IANA's for VXLAN, which NICs parse; eth0: no table"));
    assert!(of("vxlan", "segmentation").starts_with("left to eth0 "));
    let usual = "GSO 65536, GRO 65536 (the kernel's for eth0, left alone";
    assert!(of("direct", "sizes").starts_with(usual), "{}", of("direct", "sizes"));

    // What somebody has turned off is named, and what it says can be done helps.
    node.run("ethtool -K offramp-vxlan tx-checksum-ip-generic off");
    let off = "tx-checksum-ip-generic of offramp-vxlan is off: somebody turned it off";
    let by_cpu = format!("by the CPU, before offramp-vxlan ({off})");
    assert_eq!([of("vxlan", "checksums"), of("vxlan", "segmentation")], [by_cpu.as_str(); 2]);
    assert!(of("direct", "checksums").starts_with("left to eth0 "));
    node.run(&todo(&daemon, "checksums").unwrap());
    assert!(of("vxlan", "checksums").starts_with("left to eth0 "));
    assert_eq!(todo(&daemon, "checksums"), None);
    node.ip("link set eth0 gso_max_size 40000");
    let set = "GSO 40000, GRO 65536 (somebody set them on eth0";
    assert!(of("direct", "sizes").starts_with(set), "{}", of("direct", "sizes"));

    // The uplink changes, and what follows from it.
    nodes.mtu(9000);
    until("the tunnel follows", || of("vxlan", "mtu") == "8950 (eth0's 9000 - 50 for VXLAN over IPv4)");
    until("pods follow", || of("pods", "mtu") == "8950 (the tunnel's, the smallest of all paths')");

    let mut command = node.command(binary("offrampd"));
    let told = command.args(["status", "--socket"]).arg(node.socket()).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let line = told.lines().find(|l| l.starts_with("vxlan    MTU ")).unwrap_or_else(|| panic!("{told}"));
    assert!(line.contains("8950") && line.ends_with("eth0's 9000 - 50 for VXLAN over IPv4"), "{line}");
}
