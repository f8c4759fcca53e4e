//! The network configuration of the running daemon.

use super::{as_a_runtime_reads_it, conflist, daemon, net_d, put_other};
use offramp_tests::{Lab, until};
use serde_json::json;
use std::os::unix::fs::MetadataExt;

#[test]
fn it_comes_when_the_daemon_serves_and_outlives_it() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let first = daemon(&node);
    until("the network configuration", || conflist(&node).exists());
    let conf = as_a_runtime_reads_it(&node);
    assert_eq!(conf["name"], "offramp");
    node.add(&pod, &conf).ok();
    node.status(&conf).ok();
    let inode = conflist(&node).metadata().unwrap().ino();

    first.stop();
    assert!(conflist(&node).exists(), "SIGTERM is no removal");
    daemon(&node).kill();
    assert_eq!(conflist(&node).metadata().unwrap().ino(), inode, "what is right is not written again");
    node.del(&pod, &as_a_runtime_reads_it(&node)).ok();
    assert!(node.records().is_empty());
}

#[test]
fn a_full_node_gets_it_too() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    std::fs::create_dir(net_d(&node)).unwrap();
    std::fs::write(conflist(&node), "of an older version").unwrap();
    // A range with one address, which is used.
    let more = || json!({"cni": {"confDir": net_d(&node)}, "cluster": {"podCIDRs": ["10.244.1.0/30"]}});
    let without = json!({"cluster": {"podCIDRs": ["10.244.1.0/30"]}});
    let only = node.daemon(without);
    node.add(&pod, &node.conf(json!({}))).ok();
    only.stop();
    let _full = node.daemon_unready(more(), |_| {});
    // It cannot serve, but the pod could not be deleted without it.
    until("the network configuration", || {
        std::fs::read_to_string(conflist(&node)).is_ok_and(|text| text.contains("cniVersions"))
    });
}

#[test]
fn it_comes_back_and_is_put_right() {
    let lab = Lab::new();
    let node = lab.node("node");
    let daemon = daemon(&node);
    until("the network configuration", || conflist(&node).exists());
    let text = std::fs::read_to_string(conflist(&node)).unwrap();
    std::fs::remove_file(conflist(&node)).unwrap();
    until("it is back", || conflist(&node).exists());
    std::fs::write(conflist(&node), "{").unwrap();
    until("it is mended", || std::fs::read_to_string(conflist(&node)).unwrap() == text);
    std::fs::remove_dir_all(net_d(&node)).unwrap();
    until("the folder is back", || conflist(&node).exists());
    drop(daemon);
}

#[test]
fn one_that_comes_before_it_is_told() {
    let lab = Lab::new();
    let node = lab.node("node");
    let daemon = daemon(&node);
    until("the network configuration", || conflist(&node).exists());
    let problems = || daemon.ask("status")["problems"].to_string();
    put_other(&node, "10-flannel.conflist", "flannel");
    assert!(!problems().contains("flannel"), "the first counts");
    put_other(&node, "00-multus.conf", "multus");
    until("the problem", || problems().contains("00-multus.conf comes before"));
    std::fs::remove_file(net_d(&node).join("00-multus.conf")).unwrap();
    until("no problem", || !problems().contains("multus"));
}

#[test]
fn without_a_folder_nothing_is_written() {
    let lab = Lab::new();
    let node = lab.node("node");
    let daemon = node.daemon(json!({}));
    node.status(&node.conf(json!({}))).ok();
    assert_eq!(daemon.ask("status")["problems"], json!([]));
    assert!(!net_d(&node).exists());
}
