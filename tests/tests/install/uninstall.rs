//! `offrampd uninstall`: no pod gets stuck, and nothing is left.

use super::{as_a_runtime_reads_it, conflist, daemon, net_d, put_other};
use offramp_tests::{Daemon, Lab, Node, Pod, Snapshot, assert_same, binary, until, wait_for};
use serde_json::{Value, json};
use std::process::{Child, Command, Output};
use std::time::Duration;

fn command(node: &Node) -> Command {
    let mut command = node.command(binary("offrampd"));
    command.arg("uninstall").arg("--bin-dir").arg(node.dir().join("bin"));
    command.arg("--config").arg(node.dir().join("offrampd.yaml"));
    command
}

fn uninstall(node: &Node) -> Output {
    command(node).output().unwrap()
}

fn refused(node: &Node) -> String {
    let output = uninstall(node);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn put_plugin(node: &Node) {
    std::fs::create_dir_all(node.dir().join("bin")).unwrap();
    std::fs::copy(binary("offramp"), node.dir().join("bin/offramp")).unwrap();
}

fn has_plugin(node: &Node) -> bool {
    node.dir().join("bin/offramp").exists()
}

/// With the pod shop/web, and the network configuration that it was added by.
fn serving<'a>(node: &'a Node, pod: &Pod) -> (Daemon<'a>, Value) {
    put_plugin(node);
    let running = daemon(node);
    until("the network configuration", || conflist(node).exists());
    let conf = as_a_runtime_reads_it(node);
    let pod_args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web";
    node.call_for("ADD", pod).args(pod_args).config(&conf).run().ok();
    (running, conf)
}

/// The node's state when it has come to rest. That it forwards is not taken back: others may need it.
fn forwarding(node: &Node) -> Snapshot {
    for key in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
        assert!(node.command("sysctl").args(["-qw", key]).status().unwrap().success());
    }
    wait_for("a node at rest", || {
        let first = node.snapshot();
        std::thread::sleep(Duration::from_millis(500));
        Some(node.snapshot()).filter(|second| first == *second)
    })
}

#[test]
fn of_a_node_without_pods_nothing_is_left() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let outside = lab.netns("outside");
    node.uplink(&outside);
    let before = forwarding(&node);
    put_plugin(&node);
    let peers = node.dir().join("peers.yaml");
    std::fs::write(&peers, "- {name: b, endpoints: [203.0.113.2], podCIDRs: [10.244.2.0/24]}\n").unwrap();
    let config = json!({
        "cni": {"confDir": net_d(&node)}, "node": {"uplink": "up0"}, "cluster": {"peersFile": peers},
    });
    let running = node.daemon(config);
    until("the network configuration", || conflist(&node).exists());
    until("the tunnel", || node.link("offramp-vxlan").is_some());
    let conf = as_a_runtime_reads_it(&node);
    node.add(&pod, &conf).ok();
    node.del(&pod, &conf).ok();

    let told = refused(&node);
    assert!(told.contains("offrampd runs here") && conflist(&node).exists(), "{told}");
    running.stop();
    let said = done(&uninstall(&node));
    assert!(said.contains("removed bridge offramp0") && said.ends_with("removed from this node\n"), "{said}");
    assert!(!conflist(&node).exists() && !has_plugin(&node));
    assert_same(&before, &node.snapshot());
    done(&uninstall(&node));
}

#[test]
fn the_only_network_configuration_stays_while_a_pod_is_attached() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let (running, conf) = serving(&node, &pod);
    running.stop();
    let told = refused(&node);
    assert!(told.contains("pod shop/web has eth0") && told.contains("05-offramp.conflist stays"), "{told}");
    assert!(conflist(&node).exists() && has_plugin(&node));
    assert!(offramp_tests::traffic::ping(&pod, "10.244.1.1"), "the pod keeps its network");
    // It can be deleted: nothing is stuck.
    node.del(&pod, &conf).ok();
    done(&uninstall(&node));
    assert!(!conflist(&node).exists() && !has_plugin(&node) && node.link("offramp0").is_none());
}

#[test]
fn by_force_pods_are_cut_off_and_named() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let (running, _) = serving(&node, &pod);
    let forced = || command(&node).arg("--force").output().unwrap();
    let told = String::from_utf8(forced().stderr).unwrap();
    assert!(told.contains("offrampd runs here") && conflist(&node).exists(), "{told}");
    running.stop();
    let said = done(&forced());
    assert!(said.contains("cut off: pod shop/web has eth0"), "{said}");
    assert!(!conflist(&node).exists() && !has_plugin(&node) && node.link("offramp0").is_none());
    assert!(pod.link("eth0").is_none() && node.records().is_empty());
    done(&forced());
}

/// Ended if the test fails.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_next_plugin_takes_over_pod_by_pod() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    put_plugin(&node);
    let running = daemon(&node);
    until("the network configuration", || conflist(&node).exists());
    node.add(&pod, &as_a_runtime_reads_it(&node)).ok();
    running.stop();
    put_other(&node, "10-next.conflist", "bridge");
    let log = node.dir().join("uninstall.log");
    let said = || std::fs::read_to_string(&log).unwrap();
    let file = std::fs::File::create(&log).unwrap();
    let mut child = Waiting(command(&node).args(["--wait", "--stay"]).stdout(file).spawn().unwrap());
    until("the next one's turn", || !conflist(&node).exists());
    assert!(has_plugin(&node) && node.link("offramp0").is_some(), "the pod is still there");
    assert!(offramp_tests::traffic::ping(&pod, "10.244.1.1"));

    // The runtime deletes it by the next plugin, which does not know it; the namespace goes.
    pod.delete();
    until("all is removed", || said().ends_with("Offramp is removed from this node\n"));
    assert!(!has_plugin(&node), "{}", said());
    assert!(node.link("offramp0").is_none() && node.records().is_empty());
    assert!(child.0.try_wait().unwrap().is_none(), "it stays until it is told to end");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.0.id() as i32), nix::sys::signal::SIGTERM)
        .unwrap();
    let status = child.0.wait().unwrap();
    assert!(status.success(), "{status}: {}", said());
}

#[test]
fn others_networks_keep_what_they_need() {
    let lab = Lab::new();
    let node = lab.node("node");
    put_plugin(&node);
    let running = daemon(&node);
    until("the network configuration", || conflist(&node).exists());
    running.stop();
    put_other(&node, "20-storage.conflist", "offramp");
    node.ip("link add mine0 type veth peer name mine1");
    node.ip("link set mine0 master offramp0");
    let said = done(&uninstall(&node));
    assert!(said.contains("20-storage.conflist calls") && has_plugin(&node), "{said}");
    assert!(said.contains("left bridge offramp0, which has the ports mine0"), "{said}");
    assert!(node.link("offramp0").is_some() && !conflist(&node).exists());
}

#[test]
fn features_that_were_turned_off_are_on_again_or_named() {
    let lab = Lab::new();
    let (node, outside) = (lab.node("node"), lab.netns("outside"));
    node.uplink(&outside);
    let running = daemon(&node);
    until("the network configuration", || conflist(&node).exists());
    running.stop();
    // Segmentation was turned off first: it cannot come back before checksums. One device is gone, one feature unknown.
    let number = &node.link("up0").unwrap()["ifindex"];
    let off = |device: &str, feature: &str| {
        json!({
            "rung": {"device": device, "features": [feature]}, "device": number, "uplink": number,
            "kind": {"way": "direct", "family": "ipv4"}, "stage": "tcp", "since": 1, "helps": true,
        })
    };
    let features = ["tx-tcp-segmentation", "tx-checksum-ip-generic"];
    features.iter().for_each(|feature| drop(node.run(&format!("ethtool -K up0 {feature} off"))));
    let all =
        json!([off("up0", "warp"), off("up0", features[0]), off("gone0", "warp"), off("up0", features[1])]);
    let cluster = node.state().join("cluster");
    std::fs::create_dir_all(&cluster).unwrap();
    std::fs::write(cluster.join("offloads.json"), all.to_string()).unwrap();

    let told = done(&uninstall(&node));
    for line in [
        "turned on tx-checksum-ip-generic of up0 again\nturned on tx-tcp-segmentation of up0 again\n",
        "turn warp of up0 on: the kernel has no feature of that name",
        "Offramp is removed from this node",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(!told.contains("gone0"), "{told}");
    let now = node.run("ethtool -k up0");
    features.iter().for_each(|feature| assert!(now.contains(&format!("{feature}: on")), "{now}"));
}
