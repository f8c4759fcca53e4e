//! What the API tells by itself: that it tells nothing is seen, and what it was told does not get lost.

use super::peers::{KIND, claim, routes};
use super::problems;
use offramp_tests::{Cluster, Daemon, Lab, Node, until};
use serde_json::{Value, json};

fn watch(daemon: &Daemon, name: &str) -> Value {
    let watches = daemon.ask("status")["watches"].as_array().unwrap().clone();
    watches.into_iter().find(|w| w["name"] == name).unwrap_or_default()
}

fn is_up(daemon: &Daemon, name: &str) -> bool {
    watch(daemon, name)["up"] == true
}

fn metrics(node: &Node) -> String {
    let output = node.command("curl").args(["-s", "http://127.0.0.1:9810/metrics"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn one_that_fails_is_told_of_and_pods_are_served() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let node = cluster.node(&lab, 1);
    let nads = cluster.api.undefine("network-attachment-definitions.k8s.cni.cncf.io");
    let daemon = node.daemon(cluster.conf(json!({"http": {"address": "127.0.0.1:9810"}})));
    let conf = node.conf(json!({}));
    until("it can serve", || node.status(&conf).code == Some(0));
    for name in ["node", "nodes", "pods"] {
        until(name, || is_up(&daemon, name));
    }
    until("nothing is wrong", || problems(&daemon) == "[]");
    until("a cluster without that kind to be as it should be", || watch(&daemon, "networks") == Value::Null);
    assert_eq!(problems(&daemon), "[]");
    let text = metrics(&node);
    assert!(text.contains("offramp_watch_up{watch=\"pods\"} 1\n"), "{text}");
    assert!(text.contains("offramp_watch_event_age_seconds{watch=\"nodes\"} "), "{text}");
    assert!(text.contains("offramp_outbox_waiting{what=\"event\"} 0\n"), "{text}");
    cluster.api.define(nads);
    until("the kind is there now", || is_up(&daemon, "networks"));

    cluster.api.forbid("watch", "pods");
    cluster.api.disconnect();
    let told = "watch of this node's pods: ";
    until("it is told", || problems(&daemon).contains(told) && problems(&daemon).contains("forbidden"));
    assert!(!is_up(&daemon, "pods") && watch(&daemon, "pods")["health"]["state"] == "failed");
    let text = metrics(&node);
    assert!(text.contains("offramp_watch_up{watch=\"pods\"} 0\n"), "{text}");
    assert!(text.contains("offramp_watch_faults_total{watch=\"pods\"} "), "{text}");
    node.status(&conf).ok();
    cluster.api.allow("watch", "pods");
    // Nothing in the cluster changes: that it is taken up again is seen all the same.
    until("it is taken up again", || is_up(&daemon, "pods") && problems(&daemon) == "[]");
}

#[test]
fn what_a_node_says_stays_as_it_says_it() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let node = cluster.node(&lab, 1);
    // A later version has run here, and was rolled back.
    let mut later = claim("n1", "10.99.0.77", "10.77.0.0/24");
    later["spec"]["endpoints"] = json!({"wire": ["10.99.0.77"]});
    cluster.api.put(later);
    let daemon = node.daemon(cluster.conf(json!({})));
    let spec = || cluster.api.get(KIND, None, "n1").map(|o| o["spec"].clone()).unwrap_or_default();
    let as_said = |spec: Value| {
        spec["endpoints"] == json!(["10.99.0.1", "fd99::1"])
            && spec["podCIDRs"] == json!(["10.244.1.0/24", "fd44:1::/64"])
    };
    until("it is said", || as_said(spec()));
    for changed in [
        claim("n1", "10.99.0.66", "10.244.1.0/24"),
        claim("n1", "10.99.0.1", "10.66.0.0/16"),
        json!({"apiVersion": "offramp.dev/v1alpha1", "kind": "OfframpNode", "metadata": {"name": "n1"}}),
    ] {
        cluster.api.put(changed);
        until("it is said again", || as_said(spec()));
    }
    let owner =
        || cluster.api.get(KIND, None, "n1").unwrap()["metadata"]["ownerReferences"][0]["name"].clone();
    until("whose it is", || owner() == "n1");
    cluster.api.delete(KIND, None, "n1");
    until("it is said again", || as_said(spec()));
    until("nothing is wrong", || problems(&daemon) == "[]");
}

#[test]
fn a_node_that_moves_is_heard_and_hears() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let node = cluster.node(&lab, 1);
    let daemon = node.daemon(cluster.conf(json!({"overlay": {"mode": "vxlan"}})));
    for name in ["node", "nodes", "pods"] {
        until(name, || is_up(&daemon, name));
    }
    // What is on its way to the old address gets lost: no connection is ever closed.
    node.ip("addr del 10.99.0.1/16 dev eth0");
    node.ip("addr add 10.99.0.111/16 dev eth0");
    let endpoints = || cluster.api.get(KIND, None, "n1").map(|o| o["spec"]["endpoints"].clone());
    until("its new address is said", || endpoints() == Some(json!(["10.99.0.111", "fd99::1"])));
    cluster.api.put(claim("n8", "10.99.0.8", "10.244.8.0/24"));
    until("who has come is known", || routes(&node).contains("10.244.8.0/24"));
    cluster.put_node(1, &["10.244.11.0/24"]);
    until("other podCIDRs are known", || {
        daemon.ask("status")["ranges"].to_string().contains("10.244.11.0/24")
    });
}
