//! GC removes what the valid list does not name.

use crate::node_and_pod;
use offramp_core::ids::AttachmentId;
use offramp_ledger::Store;
use offramp_tests::{Lab, Node, assert_same, over, traffic};
use serde_json::{Value, json};
use std::time::Duration;

/// Three pods, one of them in another network: what is valid stays, the rest goes.
fn collects(lab: &Lab, node: &Node, conf: &Value, other: &Value) {
    let (kept, dead, foreign) = (lab.pod("kept"), lab.pod("dead"), lab.pod("foreign"));
    node.add(&kept, conf).ok();
    node.add(&foreign, other).ok();
    let before = node.snapshot();
    let ports = json!({"runtimeConfig": {"portMappings": [{"hostPort": 9090, "containerPort": 90}]}});
    node.add(&dead, &over(conf.clone(), ports)).ok();
    node.gc(conf, &[&kept, &dead]).ok();
    assert_eq!(node.records().len(), 3);
    node.gc(conf, &[&kept]).ok();
    assert_same(&before, &node.snapshot());
    assert_eq!(dead.link("eth0"), None);
    for pod in [&kept, &foreign] {
        assert!(traffic::ping(pod, &pod.default_gateway("-4").unwrap()));
    }
    node.gc(conf, &[]).ok();
    assert_eq!(node.records(), [format!("{}@eth0.json", foreign.container)]);
    assert!(traffic::ping(&foreign, &foreign.default_gateway("-4").unwrap()));
    node.gc(conf, &[]).ok();
    node.del(&foreign, other).ok();
}

#[test]
fn of_inline_mode() {
    let lab = Lab::new();
    let node = lab.node("node");
    let other = node.inline(
        json!({"name": "other", "bridge": "br1", "ipam": {"ranges": [[{"subnet": "10.89.0.0/24"}]]}}),
    );
    collects(&lab, &node, &node.inline(json!({})), &other);
}

#[test]
fn of_node_mode() {
    let lab = Lab::new();
    let node = lab.node("node");
    let _daemon = node.daemon(json!({}));
    collects(&lab, &node, &node.conf(json!({})), &node.conf(json!({"name": "other"})));
}

#[test]
fn needs_the_list() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let conf = node.inline(json!({}));
    node.add(&pod, &conf).ok();
    let before = node.snapshot();
    node.call("GC").config(&conf).run().failed(7, &["cni.dev/valid-attachments"]);
    let wrong = over(conf, json!({"cni.dev/valid-attachments": [{"containerID": "a"}]}));
    node.call("GC").config(&wrong).run().failed(7, &["cni.dev/valid-attachments"]);
    assert_same(&before, &node.snapshot());
}

#[test]
fn goes_on_past_what_it_cannot_read() {
    let lab = Lab::new();
    let (node, dead) = node_and_pod(&lab);
    let conf = node.inline(json!({}));
    node.add(&dead, &conf).ok();
    std::fs::write(node.state().join("attachments/broken@eth0.json"), "{\"format\": 1").unwrap();
    node.gc(&conf, &[]).failed(6, &["broken@eth0.json"]);
    assert_eq!(node.records(), ["broken@eth0.json"]);
    assert_eq!(dead.link("eth0"), None);
}

/// The daemon locks each attachment for its regular look.
#[test]
fn waits_for_who_looks_at_it() {
    let lab = Lab::new();
    let (node, dead) = node_and_pod(&lab);
    let conf = node.inline(json!({}));
    node.add(&dead, &conf).ok();
    let id: AttachmentId = format!("{}@eth0", dead.container).parse().unwrap();
    let looked_at = Store::at(node.state()).lock(&id, Duration::ZERO).unwrap();
    let look = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        drop(looked_at);
    });
    node.gc(&conf, &[]).ok();
    look.join().unwrap();
    assert!(node.records().is_empty(), "{:?}", node.records());
}

#[test]
fn frees_addresses_that_no_record_stands_for() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let conf = node.inline(json!({}));
    node.add(&pod, &conf).ok();
    let dir = node.state().join("ipam/pods");
    for (ip, holder) in [("10.88.0.200", "gone@eth0"), ("fd88::200", "")] {
        std::fs::write(dir.join(ip), holder).unwrap();
    }
    node.gc(&conf, &[&pod]).ok();
    assert!(dir.join("10.88.0.2").exists());
    assert!(!dir.join("10.88.0.200").exists() && !dir.join("fd88::200").exists());
}
