//! The lab itself: what its tests rest on.

use offramp_tests::{Lab, Snapshot, assert_same, traffic};
use serde_json::json;

#[test]
fn a_snapshot_tells_what_is_left() {
    let lab = Lab::new();
    let node = lab.node("node");
    node.ip("link add br0 type bridge");
    let before = node.snapshot();
    node.ip("link set br0 up");
    assert_same(&before, &node.snapshot()); // bridges are shared
    for (line, sign) in [
        ("ip link add d0 type veth peer name d1", "link d0"),
        ("ip neigh add 10.1.1.1 dev br0 lladdr 02:00:00:00:00:05", "neighbour dev=br0 dst=10.1.1.1"),
        ("nft add table inet foreign", "nft table"),
        ("ip link set d0 up", "link d0 kind=veth"),
        ("ip addr add 10.9.0.1/24 dev d0", "addresses d0 10.9.0.1/24"),
        ("ip route add 10.1.1.9/32 dev br0", "route dst=10.1.1.9 dev=br0"),
        ("bridge fdb add 02:00:00:00:00:06 dev d0 self", "fdb mac=02:00:00:00:00:06"),
    ] {
        let earlier = node.snapshot();
        node.run(line);
        let text = node.snapshot().text();
        assert!(text.contains(sign), "{line}: {text}");
        assert_ne!(earlier, node.snapshot(), "{line}");
    }
}

#[test]
fn inline_mode_and_node_mode_attach_and_leave_nothing() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let _daemon = node.daemon(json!({}));
    traffic::serve(&pod, "pod", 80);
    for conf in [node.inline(json!({"name": "inline"})), node.conf(json!({}))] {
        let (before, pod_before) = (node.snapshot(), Snapshot::take(&pod));
        let result = node.add(&pod, &conf).ok();
        assert_eq!(pod.ips().len(), 2);
        for v6 in [false, true] {
            assert!(traffic::udp(&node, traffic::at(&pod.address(v6), 80)).is_ok());
            assert!(traffic::ping(&pod, &pod.default_gateway(if v6 { "-6" } else { "-4" }).unwrap()));
        }
        node.check(&pod, &conf, &result).ok();
        assert_eq!(node.records().len(), 1);
        node.del(&pod, &conf).ok();
        assert_same(&before, &node.snapshot());
        assert_same(&pod_before, &Snapshot::take(&pod));
    }
}
