//! What was changed is put back, whenever the daemon is killed, and whatever became of the devices since.

use super::{BIG, USUAL, conf, ports, set, sizes, tried};
use crate::nodes::Nodes;
use offramp_core::offload::Sizes;
use offramp_tests::{Lab, Node, Pod, until};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;

/// Those that a daemon passes which raises sizes of uplink, bridge and a pod's pair, and one that puts them back.
const RAISING: [&str; 7] = [
    "tuning.kept:1",
    "tuning.raised:1",
    "tuning.kept:2",
    "tuning.raised:2",
    "tuning.kept:3",
    "tuning.pod-end:1",
    "tuning.host-end:1",
];
const PUTTING_BACK: [&str; 6] = [
    "tuning.pod-end:1",
    "tuning.host-end:1",
    "tuning.kept:1",
    "tuning.lowered:1",
    "tuning.lowered:2",
    "tuning.kept:2",
];

/// Of all devices on the pod's way.
fn all(node: &Node, pod: &Pod) -> Vec<Option<[u32; 4]>> {
    let ports = ports(node);
    let ours = ["eth0", "offramp0"].into_iter().chain(ports.iter().map(String::as_str));
    ours.map(|link| sizes(node, link)).chain([sizes(pod, &pod.ifname)]).collect()
}

/// All send IPv4 packets of more than 64 KiB. IPv6 ones depend on the kernel.
fn are_raised(node: &Node, pod: &Pod) -> bool {
    let all = all(node, pod);
    all.len() == 4 && all.iter().all(|sizes| sizes.is_some_and(|[_, gso_ipv4, ..]| gso_ipv4 == BIG))
}

/// What a daemon would put back: devices, and whether pods' pairs.
fn recorded(node: &Node) -> (Vec<String>, bool) {
    let file = node.state().join("cluster/tuned.json");
    let Ok(file) = std::fs::read(file) else { return (Vec::new(), false) };
    let tuned: Value = serde_json::from_slice(&file).unwrap();
    let devices = tuned["sizes"].as_array().unwrap().iter();
    let devices = devices.map(|raised| raised["device"].as_str().unwrap().to_owned());
    (devices.collect(), tuned["pods"] == true)
}

/// A daemon that dies at `point`.
fn killed(nodes: &Nodes, big_tcp: &str, point: &str) {
    let conf = nodes.conf(1, conf("direct", big_tcp));
    let mut daemon = nodes.all[0].daemon_unready(conf, |command| {
        command.env("OFFRAMP_CRASH_AT", point);
    });
    assert_eq!(daemon.wait().signal(), Some(9), "{big_tcp}, at {point}");
}

#[test]
fn a_daemon_killed_at_any_point_is_followed_by_one_that_has_all_as_it_is_wanted() {
    let lab = Lab::new();
    let nodes = Nodes::new(&lab);
    nodes.bridge();
    let (node, pod) = (&nodes.all[0], lab.pod("pod"));
    // Somebody's own choice.
    set(node, "eth0", Sizes { gro_ipv4_max_size: Some(32_768), ..Sizes::default() });
    let off = nodes.daemon(1, conf("direct", "off"));
    node.add(&pod, &node.conf(json!({}))).ok();
    off.stop();
    let before = all(node, &pod);
    assert!(before.len() == 4 && recorded(node) == (vec![], false), "{before:?}");

    let off = |after: &str| {
        let daemon = nodes.daemon(1, conf("direct", "off"));
        let is_back = || all(node, &pod) == before && recorded(node) == (vec![], false);
        until(&format!("all is as before, after {after}"), is_back);
        daemon.stop();
    };
    let auto = |after: &str| {
        let daemon = nodes.daemon(1, conf("direct", "auto"));
        let is_known = || recorded(node) == (vec!["eth0".to_owned(), "offramp0".to_owned()], true);
        until(&format!("all is raised, after {after}"), || are_raised(node, &pod) && is_known());
        daemon
    };
    // What the kernel carries is known to later ones.
    let first = nodes.daemon(1, conf("direct", "auto"));
    let (wanted, why) = tried(&first, "direct");
    assert_eq!(wanted[1], BIG, "{why}");
    first.stop();
    off("nothing");

    for (n, point) in RAISING.into_iter().enumerate() {
        killed(&nodes, "auto", point);
        if n % 2 == 0 {
            auto(point).stop();
        }
        off(point);
    }
    auto("nothing").stop();
    for (n, point) in PUTTING_BACK.into_iter().enumerate() {
        killed(&nodes, "off", point);
        if n % 2 == 0 {
            off(point);
        }
        auto(point).stop();
    }
    off("nothing");
}

#[test]
fn what_somebody_has_set_since_stays_and_another_uplink_of_the_name_gets_its_own_sizes_back() {
    let lab = Lab::new();
    let nodes = Nodes::new(&lab);
    nodes.bridge();
    let (node, pod) = (&nodes.all[0], lab.pod("pod"));
    set(node, "eth0", Sizes { gro_ipv4_max_size: Some(32_768), ..Sizes::default() });
    let auto = nodes.daemon(1, conf("direct", "auto"));
    tried(&auto, "direct");
    until("the uplink has them", || sizes(node, "eth0").unwrap()[1] == BIG);
    assert_eq!(sizes(node, "offramp0"), Some([USUAL; 4]), "a bridge without ports is none of pods' way");
    node.add(&pod, &node.conf(json!({}))).ok();
    until("the first pod's way has them", || are_raised(node, &pod));

    nodes.replace_uplink(1);
    until("the new uplink has them", || are_raised(node, &pod));
    // More than what was wanted is somebody's choice.
    let more = 256 << 10;
    set(node, "eth0", Sizes { gro_ipv4_max_size: Some(more), ..Sizes::default() });
    auto.stop();
    let _off = nodes.daemon(1, conf("direct", "off"));
    until("all is put back", || recorded(node) == (vec![], false));
    assert_eq!(sizes(node, "eth0"), Some([USUAL, USUAL, USUAL, more]));
    assert!(all(node, &pod)[1..].iter().all(|sizes| *sizes == Some([USUAL; 4])));
}
