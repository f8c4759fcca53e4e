//! A node that was flannel's: its pods are deleted by Offramp's network configuration.

use super::{as_a_runtime_reads_it, conflist, daemon};
use offramp_tests::{Lab, Node, Pod, assert_same, over, until};
use serde_json::json;

/// A pod as flannel's bridge has made it, with another plugin's interface in it.
fn foreign_pod(lab: &Lab, node: &Node) -> Pod {
    let pod = lab.pod("old");
    node.ip("link add cni0 type bridge");
    node.ip(&format!("link add veth0 type veth peer name eth0 netns {}", pod.name()));
    node.ip("link set veth0 master cni0 up");
    pod.ip("addr add 10.244.1.7/24 dev eth0");
    pod
}

#[test]
fn del_of_anothers_pod_succeeds_and_touches_nothing() {
    let lab = Lab::new();
    let node = lab.node("node");
    let old = foreign_pod(&lab, &node);
    let running = daemon(&node);
    until("the network configuration", || conflist(&node).exists());
    let conf = as_a_runtime_reads_it(&node);
    let before = node.snapshot();
    let deleted = |node: &Node| {
        // By our name there is no cached result; should there be one, it is of no matter.
        let stale = json!({"prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "cni0"}, {"name": "veth0"}],
            "ips": [{"address": "10.244.1.7/24", "gateway": "10.244.1.1"}]}});
        node.del(&old, &conf).ok();
        node.del(&old, &over(conf.clone(), stale)).ok();
        node.call_for("DEL", &old).netns("").config(&conf).run().ok();
        node.call_for("DEL", &old).netns("/run/netns/gone").config(&conf).run().ok();
        assert_same(&before, &node.snapshot());
        assert_eq!(old.addresses("eth0"), ["10.244.1.7/24"], "it is the other's to delete");
    };
    deleted(&node);
    running.kill();
    deleted(&node);
}

#[test]
fn its_pods_beside_ours_are_no_matter() {
    let lab = Lab::new();
    let node = lab.node("node");
    let old = foreign_pod(&lab, &node);
    let _running = daemon(&node);
    until("the network configuration", || conflist(&node).exists());
    let conf = as_a_runtime_reads_it(&node);
    let new = lab.pod("new");
    node.add(&new, &conf).ok();
    node.gc(&conf, &[&new, &old]).ok();
    node.del(&old, &conf).ok();
    assert_eq!(node.records().len(), 1);
    assert!(offramp_tests::traffic::ping(&new, "10.244.1.1"));
    node.del(&new, &conf).ok();
}
