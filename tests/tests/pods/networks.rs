//! NetworkAttachmentDefinitions of the API.

use super::{annotation, call, cluster_and_node, put_pod, serving};
use offramp_tests::{Cluster, Lab, assert_same, until};
use serde_json::{Value, json};

fn put_nad(cluster: &Cluster, namespace: &str, name: &str, config: &Value) {
    cluster.api.put(json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": namespace}, "spec": {"config": config.to_string()},
    }));
}

fn nad_gets(cluster: &Cluster) -> usize {
    let of = |resource: &str| resource.starts_with("network-attachment-definitions");
    cluster.api.requests().iter().filter(|r| r.verb == "get" && of(&r.resource)).count()
}

#[test]
fn a_definition_is_watched_or_asked_for_and_told_of() {
    let lab = Lab::new();
    let (cluster, node) = cluster_and_node(&lab);
    let bridge = json!({"cniVersion": "1.0.0", "type": "bridge", "bridge": "second0", "ipam": {"type": "host-local",
        "dataDir": node.state().join("host-local"), "ranges": [[{"subnet": "10.98.0.0/24"}]]}});
    put_nad(&cluster, "default", "second", &bridge);
    let _daemon = serving(&cluster, &node, json!({}));
    let networks =
        json!({"k8s.v1.cni.cncf.io/networks": "default/second@data0", "example.com/mine": "stays"});
    let uid = put_pod(&cluster, "db", networks);
    let (pod, conf) = (lab.pod("pod"), node.conf(json!({})));
    let before = node.snapshot();
    call(&node, "ADD", &pod, ("db", &uid), &conf).run().ok();
    until("the status to be written", || {
        annotation(&cluster, "db", "k8s.v1.cni.cncf.io/network-status").is_some()
    });
    let status = annotation(&cluster, "db", "k8s.v1.cni.cncf.io/network-status").unwrap();
    assert_eq!((status[0]["name"].clone(), status[0]["default"].clone()), (json!("pods"), json!(true)));
    assert_eq!(status[0]["ips"].as_array().unwrap().len(), 2);
    let mac = pod.link("data0").unwrap()["address"].clone();
    let second = json!({"name": "default/second", "interface": "data0", "ips": ["10.98.0.2"], "mac": mac, "default": false, "dns": {}, "gateway": ["10.98.0.1"]});
    assert_eq!(status[1], second);
    let own = annotation(&cluster, "db", "offramp.dev/status").unwrap();
    assert_eq!(own["interfaces"][0]["path"], "veth");
    assert_eq!(own["interfaces"][1], json!({"name": "data0", "path": "plugins", "plugins": ["bridge"]}));
    let stored = cluster.api.get("pods", Some("team-a"), "db").unwrap();
    assert_eq!(stored["metadata"]["annotations"]["example.com/mine"], "stays");
    // The pod ends, and the definition with it: the record is enough.
    cluster.api.delete("network-attachment-definitions.k8s.cni.cncf.io", Some("default"), "second");
    cluster.api.outage(true);
    call(&node, "DEL", &pod, ("db", &uid), &conf).run().ok();
    cluster.api.outage(false);
    let without = |s: &offramp_tests::Snapshot| s.clone().without("second0").without("eth0");
    assert_same(&without(&before), &without(&node.snapshot()));
    // What the watch has not told of yet is asked for; what is nowhere is told.
    cluster.api.forbid("watch", "network-attachment-definitions.k8s.cni.cncf.io");
    let other = put_pod(&cluster, "other", json!({"k8s.v1.cni.cncf.io/networks": "new"}));
    until("its end to be known", || {
        let words = ["no NetworkAttachmentDefinition team-a/new"];
        call(&node, "ADD", &pod, ("other", &other), &conf).run().failed(7, &words);
        true
    });
    put_nad(&cluster, "team-a", "new", &bridge);
    cluster.api.forget_requests();
    call(&node, "ADD", &pod, ("other", &other), &conf).run().ok();
    assert!(nad_gets(&cluster) <= 1, "{}", nad_gets(&cluster));
    call(&node, "DEL", &pod, ("other", &other), &conf).run().ok();
}
