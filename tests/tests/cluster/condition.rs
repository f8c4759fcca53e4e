//! NetworkUnavailable of a Node: when pods cannot be served, and when Offramp leaves the node.

use super::add;
use offramp_tests::{Cluster, Lab, Node, binary, until};
use serde_json::{Value, json};
use std::process::{Command, Output};

/// The Node's condition: status, and reason.
fn condition(cluster: &Cluster, name: &str) -> (Value, Value) {
    let node = cluster.api.get("nodes", None, name).unwrap();
    let all = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.into_iter().find(|c| c["type"] == "NetworkUnavailable").unwrap_or_default();
    (found["status"].clone(), found["reason"].clone())
}

#[test]
fn it_is_true_while_pods_cannot_be_served_for_long() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let node = cluster.machine(&lab, 1);
    // One pod has room in it.
    cluster.put_node(1, &["10.244.1.0/30"]);
    let config = |after: &str| cluster.conf(json!({"cluster": {"kubernetes": {"unavailableAfter": after}}}));
    let daemon = node.daemon(config("1h"));
    let told = || condition(&cluster, "n1");
    until("it can serve", || told() == (json!("False"), json!("OfframpReady")));
    let pod = lab.pod("pod");
    add(&node, &pod).ok();
    let conf = node.conf(json!({}));
    until("no address is left", || node.status(&conf).code != Some(0));
    // A look at it since then: nothing is said before its time.
    let mut object = cluster.api.get("nodes", None, "n1").unwrap();
    object["spec"]["podCIDRs"] = json!(["10.244.1.0/30", "fd44:1::/64"]);
    cluster.api.put(object);
    until("the Node's news is known", || daemon.ask("status")["ranges"].to_string().contains("fd44:1::"));
    assert_eq!(told(), (json!("False"), json!("OfframpReady")));
    daemon.kill();
    let _daemon = node.daemon(config("300ms"));
    until("it cannot serve for long", || told() == (json!("True"), json!("OfframpNotReady")));
    node.del(&pod, &conf).ok();
    until("it can serve again", || told() == (json!("False"), json!("OfframpReady")));
}

fn uninstall(node: &Node, more: &[&str]) -> Command {
    let mut command = node.command(binary("offrampd"));
    command.arg("uninstall").arg("--bin-dir").arg(node.dir().join("bin")).args(more);
    command.arg("--config").arg(node.dir().join("offrampd.yaml"));
    command
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_node_that_offramp_leaves_is_unavailable_until_another_serves_it() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let node = cluster.node(&lab, 1);
    let net_d = node.dir().join("net.d");
    let config = || cluster.conf(json!({"cni": {"confDir": net_d}}));
    let daemon = node.daemon(config());
    let told = || condition(&cluster, "n1");
    until("it can serve", || told().0 == "False");
    until("the network configuration", || net_d.join("05-offramp.conflist").exists());
    daemon.stop();
    let text = said(&uninstall(&node, &[]).output().unwrap());
    assert!(text.contains("set NetworkUnavailable of this node to true"), "{text}");
    assert_eq!(told(), (json!("True"), json!("OfframpRemoved")));
    // Again: nothing is written, and by another plugin's coming it is taken back.
    let patches = || cluster.api.requests().iter().filter(|r| r.short() == "patch nodes/status n1").count();
    let before = patches();
    said(&uninstall(&node, &[]).output().unwrap());
    assert_eq!(patches(), before);
    let next = json!({"cniVersion": "1.0.0", "name": "next", "plugins": [{"type": "bridge"}]});
    std::fs::write(net_d.join("10-next.conflist"), next.to_string()).unwrap();
    said(&uninstall(&node, &[]).output().unwrap());
    assert_eq!(told(), (json!("False"), json!("OfframpRemoved")));
    // That the API is away is told, and keeps nobody.
    cluster.api.outage(true);
    let text = said(&uninstall(&node, &[]).output().unwrap());
    assert!(text.contains("cannot set NetworkUnavailable of this node: "), "{text}");
    cluster.api.outage(false);
    // It comes back.
    std::fs::remove_file(net_d.join("10-next.conflist")).unwrap();
    let _daemon = node.daemon(config());
    until("the network configuration", || net_d.join("05-offramp.conflist").exists());
    until("it can serve", || told().0 == "False");
}
