//! A pod with `hostUsers: false`: its network namespace belongs to a user namespace of its own.

use super::{annotation, call, cluster_and_node, put_pod, serving};
use offramp_tests::{Lab, assert_same, traffic, until};
use serde_json::json;
use std::process::{Command, Stdio};

#[test]
fn a_pod_with_users_of_its_own() {
    let lab = Lab::new();
    let (cluster, node) = cluster_and_node(&lab);
    let _daemon = serving(&cluster, &node, json!({}));
    let uid = put_pod(&cluster, "db", json!({"k8s.v1.cni.cncf.io/networks": "second"}));
    let config = json!({"cniVersion": "1.0.0", "type": "ptp", "ipam": {"type": "host-local",
        "dataDir": node.state().join("host-local"), "ranges": [[{"subnet": "10.98.0.0/24"}]]}});
    cluster.api.put(json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "second", "namespace": "team-a"}, "spec": {"config": config.to_string()},
    }));
    let (pod, conf) = (lab.pod("pod"), node.conf(json!({})));
    // The runtime makes it so, and bind-mounts it where the sandbox's namespace is looked for.
    pod.delete();
    let script = "ip link set lo up; echo ready; read -r _";
    let mut inside = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(inside.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    let attached =
        Command::new("ip").args(["netns", "attach", pod.name(), &inside.id().to_string()]).status().unwrap();
    assert!(attached.success());
    let before = node.snapshot().without("eth0");
    call(&node, "ADD", &pod, ("db", &uid), &conf).run().ok();
    until("the gateway answers", || traffic::ping(&pod, "10.244.1.1") && traffic::ping(&pod, "fd44:1::1"));
    assert!(traffic::ping(&pod, "10.98.0.1"));
    until("its status", || annotation(&cluster, "db", "k8s.v1.cni.cncf.io/network-status").is_some());
    call(&node, "DEL", &pod, ("db", &uid), &conf).run().ok();
    assert_same(&before, &node.snapshot().without("eth0"));
    drop(inside.stdin.take());
    inside.wait().unwrap();
}
