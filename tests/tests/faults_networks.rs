//! The plugin is killed at every step boundary of ADD and DEL of a pod with further networks: the reference plugins, a
//! list, and our own. Whatever then comes leaves the node as it was before.

#[path = "faults/mod.rs"]
mod faults;

use faults::{Crash, Fault};
use offramp_tests::{Lab, Node, assert_same, wait_for};
use serde_json::{Value, json};

/// What comes after a kill. The daemon alone is not enough: it starts no plugins.
const WAYS: [(&str, faults::Way); 3] =
    [("DEL three times", faults::del_thrice), ("GC", faults::gc), ("the next ADD of the pod", next_add)];

fn next_add(fault: &mut Fault<'_>, conf: &Value) {
    // One that came through in all but its answer is there: the runtime, which does not know, calls DEL.
    if fault.record().contains(r#""state":"ready""#) {
        fault.del(conf);
    }
    fault.add_and_del(conf);
}

fn node_with_networks(lab: &Lab) -> (Node, Value, Value) {
    let node = lab.node("node");
    node.ip("link add ext0 address 02:00:00:00:ee:01 type veth peer name ext1");
    node.ip("link set ext0 addrgenmode none");
    node.run("sysctl -qw net.ipv6.conf.ext1.disable_ipv6=1");
    node.ip("link set ext0 up");
    let ipam = json!({"type": "host-local", "dataDir": node.state().join("host-local"), "ranges": [[{"subnet": "10.99.0.0/24"}]]});
    let list = json!({"cniVersion": "1.0.0", "plugins": [
        {"type": "macvlan", "master": "ext0", "ipam": ipam},
        {"type": "tuning", "mtu": 1400, "dataDir": node.state().join("tuning")},
    ]});
    let own = json!({"cniVersion": "1.1.0", "type": "offramp", "bridge": "own0",
        "ipam": {"type": "offramp", "ranges": [[{"subnet": "10.97.0.0/24"}]]}});
    let definition = |name: &str, config: Value| json!({"metadata": {"name": name}, "spec": {"config": config.to_string()}});
    let path = node.dir().join("networks.yaml");
    std::fs::write(&path, json!([definition("mac", list), definition("own", own)]).to_string()).unwrap();
    let networks = "default/mac,default/own";
    let conf = node.conf(json!({
        "capabilities": {"io.kubernetes.cri.pod-annotations": true},
        "runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"k8s.v1.cni.cncf.io/networks": networks}},
    }));
    (node, conf, json!({"networks": {"definitions": path}}))
}

fn at_every_point(verb: &str, ways: &[(&str, faults::Way)]) {
    let lab = Lab::new();
    let (node, conf, more) = node_with_networks(&lab);
    let mut fault = Fault::new(&lab, &node, true)
        .with_daemon_conf(more)
        .with_args("IgnoreUnknown=1;K8S_POD_NAMESPACE=team-a;K8S_POD_NAME=pod");
    fault.settle(&conf);
    let before = fault.node.snapshot();
    let mut at = 1;
    'points: loop {
        for (way, clean) in ways {
            if verb == "DEL" {
                fault.add(&conf);
            }
            let Crash::At(point) = fault.killed(verb, &conf, at) else { break 'points };
            clean(&mut fault, &conf);
            fault.assert_same_soon(&before, &format!("{verb} killed at {at} ({point}), then {way}"));
        }
        at += 1;
    }
    assert!(at > 20, "only {at} points: the plugin is built without the feature crash-points?");
    fault.del(&conf);
    wait_for("the records to go", || fault.node.records().is_empty().then_some(()));
    assert_same(&before, &fault.node.snapshot());
}

#[test]
fn add_then_del() {
    at_every_point("ADD", &WAYS[..1]);
}

#[test]
fn add_then_gc_or_another_add() {
    at_every_point("ADD", &WAYS[1..]);
}

#[test]
fn del_then_anything() {
    at_every_point("DEL", &WAYS);
}
